//! What a ledger is told about the world: realms, the middleboxes between them, lifetimes.

use std::sync::Arc;

use midcom::{Capabilities, Lifetime, MiddleboxId, Request, RequestId};
use sdp::{Media, MediaPolicy};
use smallvec::SmallVec;

use crate::config::{self, OnHold};
use crate::side::{Side, Sides};

/// From where a realm's phones may receive media, as soon as the peer's description is known
/// (`docs/pinholes.md`, "from SDP to rules").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourcePolicy {
    /// From the address and port in the peer's description.
    Strict,
    /// From the address in the peer's description, any port.
    Address,
    /// From any address of the peer realm's media networks.
    Realm,
}

/// What a ledger must know of a realm. Shared by all calls of the realm; a new configuration makes new values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// What may be opened toward this realm's phones.
    pub media: MediaPolicy,
    /// From where they may receive.
    pub source: SourcePolicy,
    /// Whether media may flow toward them before their peer's address is known. Without it the rule is reserved
    /// first and enabled on the answer.
    pub early_media: bool,
}

/// One middlebox on the path between the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    /// Which.
    pub middlebox: MiddleboxId,
    /// The side of the call that is inside of it.
    pub inside: Side,
    /// What it said of itself when its session opened.
    pub capabilities: Capabilities,
    /// False if it is away as the call begins. That is so only with a partner.
    pub up: bool,
    /// The position on the path of the other of a pair: packets cross one of the two.
    pub partner: Option<u8>,
}

impl Crossing {
    /// True if what `side` receives over UDP comes through outside addresses of this middlebox.
    #[must_use]
    pub fn hides(&self, side: Side) -> bool {
        self.capabilities.nat && self.inside == side
    }
}

/// The middleboxes on the path: none, one or several. A step succeeds only when every one has confirmed.
pub type MediaPath = SmallVec<[Crossing; 1]>;

/// What a ledger works with for its whole life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The middleboxes.
    pub path: MediaPath,
    /// The realm of each side.
    pub realms: Sides<Arc<Realm>>,
    /// Lifetime asked for each rule.
    pub rule_lifetime: Lifetime,
    /// Most rules one call may have, the closing ones included.
    pub rules_max: u16,
    /// Whether every middlebox reserves what the answer will need before the INVITE goes on.
    pub reserve: bool,
    /// Without which streams the call ends.
    pub crucial: Crucial,
    /// What happens to the rules of a silent direction.
    pub hold: OnHold,
}

/// The streams a call cannot live without: [`config::Crucial`] in few octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crucial {
    /// The first audio m-line; without audio every m-line.
    FirstAudio,
    /// Every m-line of these media types; without any of them every m-line.
    Media(MediaTypes),
    /// Every m-line.
    All,
}

/// A set of media types. All that have no name of their own in [`Media`] are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaTypes(u8);

impl MediaTypes {
    fn bit(media: Media) -> u8 {
        1 << media as u8
    }

    pub(super) fn contains(self, media: Media) -> bool {
        self.0 & Self::bit(media) != 0
    }
}

impl FromIterator<Media> for MediaTypes {
    fn from_iter<I: IntoIterator<Item = Media>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |set, media| set | Self::bit(media)))
    }
}

impl From<&config::Crucial> for Crucial {
    fn from(crucial: &config::Crucial) -> Self {
        match crucial {
            config::Crucial::FirstAudio => Self::FirstAudio,
            config::Crucial::Media(names) => {
                Self::Media(names.iter().map(|name| Media::from_word(name.as_bytes())).collect())
            }
            config::Crucial::All => Self::All,
        }
    }
}

impl Terms {
    /// What happens at a middlebox to rules toward a side when their direction falls silent. Behind a NAT they stay: a place
    /// without a rule has no outside port, and its description would tell of one that is not its own.
    pub(super) fn hold(&self, crossing: &Crossing, toward: Side) -> OnHold {
        if crossing.hides(toward) { OnHold::Keep } else { self.hold }
    }
}

/// Numbers for requests, one counter for all ledgers of a machine, so that a reply finds its call.
#[derive(Debug, Clone, Default)]
pub struct RequestIds(u64);

impl RequestIds {
    /// A counter that begins behind `last`.
    #[must_use]
    pub fn after(last: u64) -> Self {
        Self(last)
    }

    /// The next number.
    pub fn mint(&mut self) -> RequestId {
        self.0 += 1;
        RequestId(self.0)
    }
}

/// Something a ledger wants a middlebox to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRequest {
    /// Which middlebox.
    pub middlebox: MiddleboxId,
    /// Comes back with the reply.
    pub id: RequestId,
    /// What it is asked.
    pub request: Request,
}
