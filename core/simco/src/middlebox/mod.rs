//! The middlebox's end of a session: RFC 4540 §6 and §7.
//!
//! "Established" in §6 means the state OPEN, as §7.1 says. What arrives is checked in the order of §6:
//!
//! | step | check | CLOSED, NOAUTH | OPEN |
//! |---|---|---|---|
//! | 1 | length within our limit; TID not that of an open request | BFM, close | BFM, AST, close |
//! | 2 | the whole message is here; 60 s without an octet | BFM, close | BFM, AST, close |
//! | 3 | basic type is 0x01 | 0x0310, close | 0x0310 |
//! | 4 | sub-type is a request's, and allowed now | 0x0311, close | 0x0311 |
//! | 5 | types and number of attributes | 0x0312, close | 0x0312 |
//!
//! | request | CLOSED | NOAUTH | OPEN |
//! |---|---|---|---|
//! | SE | SE reply: OPEN; SA reply if we were challenged or challenge: NOAUTH; refused: close | 0x0320 | 0x0320 |
//! | SA | 0x0311, close | SE reply: OPEN; a wrong token: 0x0323, close | 0x0320 |
//! | ST | 0x0311, close | ST reply, close | open requests are answered, ST reply, close |
//! | about rules | 0x0311, close | 0x0311, close | handed on |

mod authenticate;
mod config;
mod receive;

use std::collections::BTreeMap;

use machine::{Instant, Outbox};
use midcom::{Failure, IpVersionChoice, IpVersions, Notification, Reply, Request, Tuple};

use crate::state::{Exchange, State};
use crate::stream::Framer;
use crate::wire::{IpVersion, MiddleboxMessage, Unassigned, encode_reply};

pub use self::config::{Admission, Authentication, Candidate, Config, Output};

/// The last TID for rule events; BFM and AST have those above.
const LAST_EVENT_TID: u32 = u32::MAX - 2;

/// What of a request its reply will need.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// What a reservation without an address says.
    Reserve(Unassigned),
    /// A3, which is A1 too unless the middlebox says otherwise.
    Enable(Tuple),
    /// Nothing.
    Other,
}

/// How a session ends once its open requests are answered.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// With the reply to ST.
    Reply { tid: u32 },
    /// With AST.
    Notification,
    /// With BFM, then AST.
    BadlyFormed,
}

/// The middlebox's end of one connection.
///
/// Messages of several calls are written together as long as they stand next to each other in the outbox, so an outbox
/// must not be shared between sessions without being drained in between.
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    /// The challenge that came with SE.
    challenge: Vec<u8>,
    /// Which of the candidates has proven itself.
    proven: Option<usize>,
    /// The session is ending; what still arrives is ignored.
    ending: Option<(Ending, Instant)>,
    /// The connection is closed or about to be.
    over: bool,
    open: BTreeMap<u32, Asked>,
    next_notification: u32,
    framer: Framer,
    accepted: Instant,
    last_octet: Instant,
    outgoing: Vec<u8>,
}

impl Session {
    /// A session for a connection accepted at `now`.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            framer: Framer::new(config.payload_len_max),
            config,
            state: State::Closed,
            challenge: Vec::new(),
            proven: None,
            ending: None,
            over: false,
            open: BTreeMap::new(),
            next_notification: 1,
            accepted: now,
            last_octet: now,
            outgoing: Vec::new(),
        }
    }

    /// Octets arrived.
    pub fn receive(&mut self, now: Instant, mut bytes: &[u8], out: &mut Outbox<Output>) {
        self.last_octet = now;
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(self.config.payload_len_max));
        //= RFC 4540 §7.4: what comes after ST is ignored.
        while !self.over && self.ending.is_none() {
            match framer.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some((header, payload))) => self.on_message(now, header, payload, out),
                Err(_) => self.badly_formed(now, out),
            }
        }
        self.framer = framer;
        self.flush(out);
    }

    /// The connection broke or the agent closed it.
    pub fn disconnected(&mut self, _now: Instant, out: &mut Outbox<Output>) {
        //= RFC 5189 §2.2.4: the session ends with its connection; rules live on.
        self.leave(Exchange::ConnectionLost, out);
    }

    /// Answers a request. A `tid` that is not open (the session ended meanwhile) is ignored.
    pub fn reply(
        &mut self,
        _now: Instant,
        tid: u32,
        result: Result<Reply, Failure>,
        out: &mut Outbox<Output>,
    ) {
        let Some(asked) = self.open.remove(&tid) else { return };
        match result {
            Ok(reply) => self.send_reply(tid, asked, reply),
            Err(failure) => MiddleboxMessage::Negative(failure).encode(tid, &mut self.outgoing),
        }
        self.finish_if_drained(out);
        self.flush(out);
    }

    /// Tells the agent something unasked, if the session is established.
    pub fn notify(&mut self, now: Instant, notification: Notification, out: &mut Outbox<Output>) {
        match notification {
            Notification::SessionTermination => self.end_with_notification(now, out),
            //= RFC 4540 §8.9: ARE goes to sessions in state OPEN.
            Notification::RuleEvent { .. } if self.state == State::Open => {
                self.send_unasked(&MiddleboxMessage::Notification(notification));
                //= RFC 4540 §4.2.5: no TID twice; when they are used up, the session is.
                if self.next_notification > LAST_EVENT_TID {
                    self.end_with_notification(now, out);
                }
            }
            Notification::RuleEvent { .. } => {}
        }
        self.flush(out);
    }

    /// Ends the session with AST, once every open request is answered.
    pub fn terminate(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.end_with_notification(now, out);
        self.flush(out);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if self.over {
            return;
        }
        if let Some((_, deadline)) = self.ending {
            if deadline <= now {
                self.finish(out);
            }
        } else if self.is_incomplete() && self.last_octet + self.config.incomplete_max <= now {
            //= RFC 4540 §6: step 2, a message that stands still for 60 s gets BFM and ends the connection.
            self.badly_formed(now, out);
        } else if self.state != State::Open && self.accepted + self.config.establishment_max <= now {
            // Whoever has begun a message is told so here, too, and does not have to guess why nobody listens any more.
            match self.is_incomplete() {
                true => self.badly_formed(now, out),
                false => self.end_with_notification(now, out),
            }
        }
        self.flush(out);
    }

    /// When [`Session::handle_timeout`] is next worth calling, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.over {
            return None;
        }
        if let Some((_, deadline)) = self.ending {
            return Some((deadline, "open requests of an ending session"));
        }
        let half = (self.last_octet + self.config.incomplete_max, "incomplete message");
        let late = (self.accepted + self.config.establishment_max, "session establishment");
        let half = self.is_incomplete().then_some(half);
        half.into_iter().chain((self.state != State::Open).then_some(late)).min()
    }

    /// True while the session is established.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Which of the candidates of [`Authentication`] the agent has proven to be, by position.
    #[must_use]
    pub fn proven(&self) -> Option<usize> {
        self.proven
    }

    /// The state of RFC 4540 §7.1.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    fn is_incomplete(&self) -> bool {
        self.framer.is_waiting()
    }

    fn send_reply(&mut self, tid: u32, asked: Asked, mut reply: Reply) {
        let mut unassigned = Unassigned { version: self.version_outside(), ..Unassigned::default() };
        match asked {
            Asked::Reserve(reserved) => unassigned = reserved,
            Asked::Enable(external) => {
                if let Reply::Enabled { inside, .. } = &mut reply {
                    //= RFC 4540 §5.3.10: A1 is in every PER reply; without twice NAT it is A3.
                    inside.get_or_insert(external);
                }
            }
            Asked::Other => {}
        }
        encode_reply(tid, &reply, unassigned, &mut self.outgoing);
    }

    /// What must be remembered of a request until its reply.
    fn asked(&self, request: &Request) -> Asked {
        match request {
            Request::Reserve { outside, protocol, .. } => {
                let version = match outside {
                    IpVersionChoice::Any => self.version_outside(),
                    IpVersionChoice::V4 => IpVersion::V4,
                    IpVersionChoice::V6 => IpVersion::V6,
                };
                Asked::Reserve(Unassigned { version, protocol: *protocol })
            }
            Request::Enable { external, .. } | Request::EnableReserved { external, .. } => {
                Asked::Enable(*external)
            }
            Request::Disable { .. }
            | Request::Lifetime { .. }
            | Request::Status { .. }
            | Request::List
            | Request::Count { .. } => Asked::Other,
        }
    }

    /// The IP version outside, where an agent left it to us.
    fn version_outside(&self) -> IpVersion {
        match self.config.capabilities.outside {
            IpVersions::V4 | IpVersions::Both => IpVersion::V4,
            IpVersions::V6 => IpVersion::V6,
        }
    }

    /// Sends BFM and ends the session: nobody knows where the next message would begin.
    fn badly_formed(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let exchange = match self.state {
            State::Closed => Exchange::EstablishmentFailed,
            State::NoAuth => Exchange::AuthenticationFailed,
            State::Open => return self.end_with(now, Ending::BadlyFormed, out),
        };
        self.send_unasked(&MiddleboxMessage::BadlyFormedMessage);
        self.close(exchange, out);
    }

    fn end_with_notification(&mut self, now: Instant, out: &mut Outbox<Output>) {
        match self.state {
            // No session, nothing to notify.
            State::Closed => self.close(Exchange::ConnectionLost, out),
            State::NoAuth | State::Open if self.ending.is_none() => {
                self.end_with(now, Ending::Notification, out);
            }
            State::NoAuth | State::Open => {}
        }
    }

    //= RFC 4540 §7.5: requests in work are answered first, so that the agent knows which rules there are. That holds for
    // BFM too: an agent gives up all open requests when it sees one.
    fn end_with(&mut self, now: Instant, ending: Ending, out: &mut Outbox<Output>) {
        self.framer.clear();
        self.ending = Some((ending, now + self.config.drain_max));
        self.finish_if_drained(out);
    }

    fn finish_if_drained(&mut self, out: &mut Outbox<Output>) {
        if self.open.is_empty() {
            self.finish(out);
        }
    }

    /// Sends the last message of an ending session.
    fn finish(&mut self, out: &mut Outbox<Output>) {
        let Some((ending, _)) = self.ending.take() else { return };
        match ending {
            Ending::Reply { tid } => {
                MiddleboxMessage::Terminated.encode(tid, &mut self.outgoing);
                return self.close(Exchange::Terminated, out);
            }
            //= RFC 4540 §6: where a session is established, AST follows BFM.
            Ending::BadlyFormed => self.send_unasked(&MiddleboxMessage::BadlyFormedMessage),
            Ending::Notification => {}
        }
        self.send_unasked(&MiddleboxMessage::Notification(Notification::SessionTermination));
        self.close(Exchange::Ended, out);
    }

    fn send_unasked(&mut self, message: &MiddleboxMessage<'_>) {
        //= RFC 4540 §4.2.5: the middlebox numbers its notifications itself.
        message.encode(self.next_notification, &mut self.outgoing);
        self.next_notification = self.next_notification.saturating_add(1);
    }

    /// Ends the session, if it lives, and closes the connection behind everything sent.
    fn close(&mut self, exchange: Exchange, out: &mut Outbox<Output>) {
        if !self.over {
            self.flush(out);
            self.leave(exchange, out);
            out.push(Output::Close);
        }
    }

    fn leave(&mut self, exchange: Exchange, out: &mut Outbox<Output>) {
        let was_open = self.is_open();
        if !self.over {
            self.advance(exchange);
        }
        self.over = true;
        self.ending = None;
        self.open.clear();
        self.framer.clear();
        if was_open {
            out.push(Output::Closed);
        }
    }

    fn advance(&mut self, exchange: Exchange) {
        let next = self.state.after(exchange);
        debug_assert!(next.is_some(), "{:?} has no arrow for {exchange:?}", self.state);
        self.state = next.unwrap_or(self.state);
    }

    /// Hands over what is to be sent, joined to what already waits in `out`.
    fn flush(&mut self, out: &mut Outbox<Output>) {
        if self.outgoing.is_empty() {
            return;
        }
        match out.last_mut() {
            Some(Output::Send(bytes)) => bytes.append(&mut self.outgoing),
            Some(Output::Opened | Output::Request { .. } | Output::Closed | Output::Close) | None => {
                out.push(Output::Send(std::mem::take(&mut self.outgoing)));
            }
        }
    }
}
