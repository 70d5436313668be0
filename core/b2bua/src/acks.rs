//! The ACKs to 2xx responses, for as long as the peer may repeat its 2xx: RFC 3261 §13.2.2.4, RFC 6026 §7.2.
//!
//! They outlive their calls: a lost ACK is repeated even after BYE.

use std::collections::VecDeque;

use bytes::Bytes;
use machine::map::{Map, Seeded};
use machine::onlooker::{Onlooker, see_map};
use machine::{Instant, Rng, Text};
use sip::endpoint::ClientKey;
use sip::transport::Hop;

use crate::event::CallId;
use crate::side::Side;

/// An ACK that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    /// The call it was sent in.
    pub(crate) call: CallId,
    /// To which side.
    pub(crate) side: Side,
    /// Where to.
    pub(crate) hop: Hop,
    /// The whole message.
    pub(crate) bytes: Text<Bytes>,
    /// The To-tag of the 2xx it answers.
    pub(crate) remote_tag: Box<str>,
    /// How many 2xx responses of others have been ended since.
    pub(crate) strays: u8,
}

/// All ACKs that may have to be repeated, by the INVITE transaction they belong to.
#[derive(Debug, Clone)]
pub(crate) struct Acks {
    sent: Map<ClientKey, Ack>,
    /// In order, since every one is kept equally long.
    ends: VecDeque<(Instant, ClientKey)>,
}

impl Acks {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self { sent: Map::with_hasher(Seeded::new(rng)), ends: VecDeque::new() }
    }

    pub(crate) fn keep(&mut self, until: Instant, invite: ClientKey, ack: Ack) {
        self.sent.insert(invite, ack);
        self.ends.push_back((until, invite));
    }

    /// Everything, for an explorer.
    pub(crate) fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self { sent, ends } = self;
        onlooker.see(ends);
        see_map(sent, onlooker);
    }

    /// Another 2xx has come for this INVITE, in a dialog that nobody wants: the count to be raised.
    pub(crate) fn strays_of(&mut self, invite: ClientKey) -> Option<&mut u8> {
        self.sent.get_mut(&invite).map(|ack| &mut ack.strays)
    }

    /// What was sent for this INVITE.
    pub(crate) fn of(&self, invite: ClientKey) -> Option<&Ack> {
        self.sent.get(&invite)
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Forgets what no peer can ask for any more.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, invite)) = self.ends.pop_front() {
                self.sent.remove(&invite);
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.ends.front().map(|(at, _)| *at)
    }
}
