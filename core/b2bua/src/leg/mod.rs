//! A leg: our dialog with one peer, and what it looks like from there.

pub(crate) mod body;
pub(crate) mod carried;
pub(crate) mod description;
pub(crate) mod found;
pub(crate) mod headers;
pub(crate) mod requirement;
pub(crate) mod session_id;
pub(crate) mod session_timer;

use std::net::{IpAddr, Ipv4Addr};

use machine::TimerId;
use sdp::Session;
use sip::dialog::Dialog;
use sip::message::{Builder, Message, Method, Name};
use sip::transport::Hop;
use smallvec::SmallVec;

use crate::config::{Config, PreconditionType, RealmId};
use crate::leg::carried::Carried;
use crate::leg::description::Description;
use crate::leg::found::Found;
use crate::leg::session_timer::SessionTimer;
use crate::precondition::text;
use crate::tag::Tag;

/// Our dialog with one peer.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    /// The realm the peer is in.
    pub(crate) realm: RealmId,
    /// Where the peer was found first: its messages came from there, or the route says so.
    pub(crate) hop: Hop,
    /// Our tag.
    pub(crate) tag: Tag,
    /// The confirmed dialog (RFC 3261 §12); `None` until a 2xx.
    pub(crate) dialog: Option<Dialog>,
    /// What the peer has been told about media.
    pub(crate) description: Description,
    /// Streams that the peer's own offer has turned off: no answer to it turns them on.
    pub(crate) turned_off: Streams,
    /// How long the session lives without a refresh.
    pub(crate) session: SessionTimer,
    /// Runs until the session is refreshed or ends.
    pub(crate) session_wake: Option<TimerId>,
    /// True if the call was made with a SIPS URI: no hop of it is without TLS.
    pub(crate) is_sips: bool,
    /// A type of precondition that the other peer has been asked for by us: this one sees nothing of it.
    pub(crate) hides: Option<PreconditionType>,
}

/// Streams, by position of their m-lines.
type Streams = SmallVec<[u16; 4]>;

/// Whether a description may travel with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdp {
    /// Its pinholes are confirmed.
    Passes,
    /// It answers, and the pinholes of offer and answer are confirmed at every middlebox: a precondition is met.
    Answers,
    /// It has no meaning here, and passes only if the peer has just this already.
    Same,
    /// It has no meaning here: the body is left out.
    Stays,
}

impl Leg {
    /// Adds Contact: our own address and nothing else.
    pub(crate) fn contact(&self, config: &Config, builder: Builder) -> Builder {
        //= RFC 3261 §8.1.1.8: where the peer shall send requests inside the dialog.
        match config.listener(self.hop.listener) {
            Some(listener) => {
                builder.header_fmt(Name::Contact, format_args!("{}", listener.contact("", self.is_sips)))
            }
            None => builder,
        }
    }

    /// Our address on this leg, as `o=` names it.
    fn address(&self, config: &Config) -> IpAddr {
        config.listener(self.hop.listener).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |own| own.address.ip())
    }

    /// Adds what the other peer said: its header fields in order, and its body. Says whether a description travels.
    pub(crate) fn carry(
        &mut self,
        config: &Config,
        builder: Builder,
        carried: Carried<'_>,
        sdp: Sdp,
    ) -> (Builder, bool) {
        match carried.body() {
            body::Body::None => (carried.relay(builder, true), false),
            body::Body::Opaque(bytes) => (carried.relay(builder, true).body("", bytes), false),
            body::Body::Description(bytes) if matches!(sdp, Sdp::Passes | Sdp::Answers) => {
                let Ok(session) = Session::parse(bytes) else {
                    return (carried.relay(builder, false), false);
                };
                let text = self.write(config, &session, sdp);
                (carried.relay(builder, true).body("", text), true)
            }
            body::Body::Description(bytes) if sdp == Sdp::Same && self.has_sent(config, bytes) => {
                let text = self.description.sent().unwrap_or_default();
                (carried.relay(builder, true).body("", text), true)
            }
            body::Body::Description(_) | body::Body::Hidden => (carried.relay(builder, false), false),
        }
    }

    /// True if the peer has been told just this last.
    pub(crate) fn has_sent(&self, config: &Config, text: &[u8]) -> bool {
        let bare = self.hides.and_then(|of| Some(text::without(&Session::parse(text).ok()?, of.of())));
        let session = Session::parse(bare.as_deref().unwrap_or(text));
        session.is_ok_and(|session| self.description.is(&session, self.address(config)))
    }

    /// Adds a description of the other peer that came in another message.
    pub(crate) fn describe(
        &mut self,
        config: &Config,
        builder: Builder,
        text: &[u8],
        sdp: Sdp,
    ) -> (Builder, bool) {
        let Ok(session) = Session::parse(text) else { return (builder, false) };
        (builder.body("application/sdp", self.write(config, &session, sdp)), true)
    }

    /// The text for this leg, with what the firewall has to say about preconditions.
    fn write(&mut self, config: &Config, session: &Session<'_>, sdp: Sdp) -> &[u8] {
        let address = self.address(config);
        let other = match self.hides {
            Some(of) => Some(text::without(session, of.of())),
            None if sdp == Sdp::Answers => text::confirmed(session),
            None => None,
        };
        let other = other.as_deref().and_then(|text| Session::parse(text).ok());
        let session = other.as_ref().unwrap_or(session);
        let silenced = self.without_turned_off(session);
        let silenced = silenced.as_deref().and_then(|text| Session::parse(text).ok());
        self.description.write(silenced.as_ref().unwrap_or(session), address)
    }

    //= RFC 3264 §6: a stream that is offered with port 0 has port 0 in the answer. One that has another is corrected: nothing
    // was opened for it, and nobody has to lose the call for it.
    fn without_turned_off(&self, session: &Session<'_>) -> Option<Vec<u8>> {
        let off: Streams =
            if self.turned_off.is_empty() { Streams::new() } else { sdp::turned_off(session).collect() };
        let mut on = self.turned_off.iter().filter(|stream| !off.contains(stream)).peekable();
        on.peek()?;
        Some(on.fold(session.patch(), |patch, stream| patch.port(*stream, 0)).finish())
    }

    /// Adds the description that goes with a refusal because of a precondition (RFC 3312 §8): neither offer nor answer.
    pub(crate) fn describe_aside(&self, config: &Config, text: &[u8]) -> Option<Vec<u8>> {
        Some(self.description.aside(&Session::parse(text).ok()?, self.address(config)))
    }

    /// Adds a description of the other peer once more, as a new version.
    pub(crate) fn describe_again(
        &mut self,
        config: &Config,
        builder: Builder,
        session: &Session<'_>,
    ) -> Builder {
        let address = self.address(config);
        builder.body("application/sdp", self.description.write_again(session, address))
    }

    /// Adds an answer that declines every stream of an offer that came in a 2xx (RFC 3264 §6, RFC 6337 §3.1).
    pub(crate) fn decline(
        &mut self,
        config: &Config,
        builder: Builder,
        offer: Carried<'_>,
    ) -> (Builder, bool) {
        let body::Body::Description(text) = offer.body() else { return (builder, false) };
        let Ok(session) = Session::parse(text) else { return (builder, false) };
        let declined =
            (0..session.streams()).fold(session.patch(), |patch, stream| patch.port(stream, 0)).finish();
        let Ok(session) = Session::parse(&declined) else { return (builder, false) };
        let text = self.description.write(&session, self.address(config));
        (builder.body("application/sdp", text), true)
    }

    /// Where requests inside the dialog go.
    pub(crate) fn next_hop(&self, config: &Config) -> Hop {
        self.dialog.as_ref().map_or(self.hop, |dialog| self.hop_of(config, dialog))
    }

    /// The same for any dialog on this leg.
    pub(crate) fn hop_of(&self, config: &Config, dialog: &Dialog) -> Hop {
        Found { realm: self.realm, hop: self.hop, is_sips: self.is_sips }.hop_of(config, dialog)
    }

    /// A request inside the dialog; `passed_on` is the one that it passes on.
    pub(crate) fn request(&mut self, method: &Method, passed_on: Option<&Message>) -> Option<Builder> {
        let dialog = self.dialog.as_mut()?;
        //= RFC 7332 §5: hops are counted through a B2BUA for every request that it passes on.
        let builder = match passed_on {
            Some(request) => dialog.request_with_hops(method, headers::max_forwards(request)),
            None => dialog.request(method),
        };
        Some(self.session.ask(builder, method))
    }
}
