//! The agent's end of a session: RFC 4540 §7 from the side that asks.
//!
//! | what is sent | what comes | next |
//! |---|---|---|
//! | SE 3.0 | SE | OPEN, `Up`; with a challenge in SE: CLOSED, `Down(Unproven)` |
//! | | SA | NOAUTH; SA is sent, with a token if we were challenged |
//! | | SA, a challenge in SE and no good token | CLOSED, `Down(Unproven)` |
//! | | a negative reply, BFM | CLOSED, `Down(Refused)` |
//! | SA | SE | OPEN, `Up` |
//! | | a negative reply, BFM | CLOSED, `Down(Refused)` |
//! | any request about rules | its reply | `Reply` |
//! | | nothing in time | `Reply(Timeout)`; a rule made too late is ended at once |
//! | ST | ST | CLOSED, `Down(Closed)` |
//!
//! Whatever breaks the protocol ends the session: which rules exist is then learnt anew with PRL in the next one.

mod authenticate;
mod config;
mod receive;
mod requests;
mod strays;

use machine::{Instant, Outbox};
use midcom::{AgentEvent, DownReason, Failure, Request, RequestId};

use self::receive::misbehaved;
use self::requests::{Asked, Requests};
use self::strays::Strays;
use crate::state::{Exchange, State};
use crate::stream::Framer;
use crate::wire::{AgentMessage, Opaque, PAYLOAD_LEN_MAX, Version};

pub use self::config::{Config, Output, Proof};

/// The last TID for requests of the user; those above are for ending late rules and for ST.
const LAST_TID: u32 = u32::MAX - 0x0010_0000;

/// SE, SA or ST, waiting for its reply. There is never more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Establish,
    Authenticate,
    Terminate,
}

#[derive(Debug, Clone, Copy)]
struct Control {
    step: Step,
    tid: u32,
    deadline: Instant,
}

/// The agent's end of a session with one middlebox, over any number of successive connections.
///
/// Messages of several calls are written together as long as they stand next to each other in the outbox, so an outbox
/// must not be shared between sessions without being drained in between.
#[derive(Debug)]
pub struct Session {
    config: Config,
    connected: bool,
    state: State,
    control: Option<Control>,
    /// Of this connection.
    proof: Option<Proof>,
    next_tid: u32,
    requests: Requests,
    strays: Strays,
    framer: Framer,
    last_octet: Instant,
    outgoing: Vec<u8>,
}

impl Session {
    /// A session without a connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            connected: false,
            state: State::Closed,
            control: None,
            proof: None,
            next_tid: 1,
            requests: Requests::default(),
            strays: Strays::default(),
            framer: Framer::new(PAYLOAD_LEN_MAX),
            last_octet: Instant::ZERO,
            outgoing: Vec::new(),
        }
    }

    /// The connection is there, and vouches for the middlebox: SE goes out. A session that still had one is over first.
    pub fn connected(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.connected_with(now, None, out);
    }

    /// As [`Session::connected`]; with a proof the middlebox is challenged, and no session comes about with one that
    /// cannot show that it has the secret.
    pub fn connected_with(&mut self, now: Instant, proof: Option<Proof>, out: &mut Outbox<Output>) {
        self.disconnected(now, "replaced by a new connection", out);
        self.connected = true;
        self.next_tid = 1;
        self.proof = proof;
        let octets = self.challenge();
        //= RFC 4540 §5.2.1: SE names the version; with a challenge, the middlebox is to authenticate itself.
        let challenge = self.proof.as_ref().and_then(|_| Opaque::new(&octets));
        let message = AgentMessage::Establish { version: Version::SIMCO_3_0, challenge };
        self.step(now, Step::Establish, &message);
        self.flush(out);
    }

    /// Octets arrived.
    pub fn receive(&mut self, now: Instant, mut bytes: &[u8], out: &mut Outbox<Output>) {
        if !self.connected {
            return;
        }
        self.last_octet = now;
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(PAYLOAD_LEN_MAX));
        let end = loop {
            match framer.next(&mut bytes) {
                Ok(None) => break None,
                Ok(Some((header, payload))) => {
                    if let Err(reason) = self.on_message(now, header, payload, out) {
                        break Some(reason);
                    }
                }
                Err(_) => break Some(misbehaved("a message above the limit")),
            }
        };
        self.framer = framer;
        match end {
            Some(reason) => self.end(reason, out),
            None => self.close_if_used_up(now),
        }
        self.flush(out);
    }

    /// The connection broke; `why` is for people. Without a connection this does nothing.
    pub fn disconnected(&mut self, _now: Instant, why: &str, out: &mut Outbox<Output>) {
        if self.connected {
            //= RFC 4540 §7.6: an agent that finds the connection broken may end the session.
            let closing = matches!(self.control, Some(Control { step: Step::Terminate, .. }));
            let reason = if closing { DownReason::Closed } else { DownReason::Connection(why.to_owned()) };
            self.over(reason, out);
        }
    }

    /// Sends a request. Its reply comes as [`AgentEvent::Reply`] with the same `id`, exactly once.
    pub fn request(&mut self, now: Instant, id: RequestId, request: Request, out: &mut Outbox<Output>) {
        let refusal = if !self.is_open() {
            Some(Failure::NoSession)
        } else if self.requests.len() >= self.config.open_requests_max {
            Some(Failure::NoResources)
        } else {
            None
        };
        if let Some(failure) = refusal {
            out.push(Output::Event(AgentEvent::Reply(id, Err(failure))));
            self.close_if_used_up(now);
            return self.flush(out);
        }
        let tid = self.take_tid();
        self.requests.add(tid, id, Asked::of(&request), now);
        AgentMessage::Rule(request).encode(tid, &mut self.outgoing);
        self.flush(out);
    }

    /// Ends the session with ST; replies still due may come before its own. Rules live on.
    pub fn close(&mut self, now: Instant, out: &mut Outbox<Output>) {
        match (self.connected, self.state) {
            (false, _) => {}
            // Before a session is established there is nothing that ST would have to finish.
            (true, State::Closed | State::NoAuth) => self.end(DownReason::Closed, out),
            //= RFC 4540 §7.4: ST ends an open session.
            (true, State::Open) => self.terminate(now),
        }
        self.flush(out);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if !self.connected {
            return;
        }
        while self.requests.oldest_open().is_some_and(|sent| sent + self.config.reply_timeout <= now) {
            let Some(id) = self.requests.expire_oldest() else { break };
            out.push(Output::Event(AgentEvent::Reply(id, Err(Failure::Timeout))));
        }
        while let Some(prid) = self.strays.due(now) {
            self.end_stray(now, prid);
        }
        if let Some(reason) = self.overdue(now) {
            self.end(reason, out);
        }
        self.flush(out);
    }

    /// When [`Session::handle_timeout`] is next worth calling, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let control = self.control.map(|control| (control.deadline, "answer to SE, SA or ST"));
        let reply = self.requests.oldest_open().map(|sent| (sent + self.config.reply_timeout, "reply"));
        let silence = self.requests.oldest_late().map(|sent| (sent + self.config.silence_max, "silence"));
        let waiting = self.connected && self.framer.is_waiting();
        let half = waiting.then(|| (self.last_octet + self.config.incomplete_max, "incomplete message"));
        let stray = self.strays.next().map(|at| (at, "end of a rule that came late"));
        [control, reply, silence, half, stray].into_iter().flatten().min()
    }

    /// True while requests may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open && self.control.is_none() && self.next_tid <= LAST_TID
    }

    /// The state of RFC 4540 §7.1.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Why the session must end now, if it must.
    fn overdue(&self, now: Instant) -> Option<DownReason> {
        if let Some(Control { step, deadline, .. }) = self.control
            && deadline <= now
        {
            return Some(match step {
                Step::Terminate => DownReason::Closed,
                Step::Establish | Step::Authenticate => {
                    DownReason::Connection("the middlebox does not answer".to_owned())
                }
            });
        }
        if self.requests.oldest_late().is_some_and(|sent| sent + self.config.silence_max <= now) {
            return Some(misbehaved("a reply has been due for too long"));
        }
        let half = self.framer.is_waiting() && self.last_octet + self.config.incomplete_max <= now;
        half.then(|| misbehaved("the rest of a message does not come"))
    }

    /// Sends SE, SA or ST and waits for its reply.
    fn step(&mut self, now: Instant, step: Step, message: &AgentMessage<'_>) {
        let tid = self.take_tid();
        message.encode(tid, &mut self.outgoing);
        self.control = Some(Control { step, tid, deadline: now + self.config.reply_timeout });
    }

    fn terminate(&mut self, now: Instant) {
        if self.control.is_none() {
            self.step(now, Step::Terminate, &AgentMessage::Terminate);
        }
    }

    //= RFC 4540 §4.2.5: no TID twice in a session; when they are used up, the session is.
    fn close_if_used_up(&mut self, now: Instant) {
        if self.next_tid > LAST_TID && self.state == State::Open && self.requests.len() == 0 {
            self.terminate(now);
        }
    }

    fn take_tid(&mut self) -> u32 {
        let tid = self.next_tid;
        self.next_tid = tid.saturating_add(1);
        tid
    }

    fn advance(&mut self, exchange: Exchange) {
        let next = self.state.after(exchange);
        debug_assert!(next.is_some(), "{:?} has no arrow for {exchange:?}", self.state);
        self.state = next.unwrap_or(self.state);
    }

    /// Ends the session and closes the connection.
    fn end(&mut self, reason: DownReason, out: &mut Outbox<Output>) {
        self.flush(out);
        self.over(reason, out);
        out.push(Output::Close);
    }

    /// Answers what is open, then says that the session is gone.
    fn over(&mut self, reason: DownReason, out: &mut Outbox<Output>) {
        // Whatever the reason, on our side the connection is gone, and every state has an arrow for that.
        self.advance(Exchange::ConnectionLost);
        self.connected = false;
        self.control = None;
        self.framer.clear();
        self.outgoing.clear();
        self.strays.clear();
        for id in self.requests.clear() {
            out.push(Output::Event(AgentEvent::Reply(id, Err(Failure::SessionLost))));
        }
        out.push(Output::Event(AgentEvent::Down(reason)));
    }

    /// Hands over what is to be sent, joined to what already waits in `out`.
    fn flush(&mut self, out: &mut Outbox<Output>) {
        if self.outgoing.is_empty() {
            return;
        }
        match out.last_mut() {
            Some(Output::Send(bytes)) => bytes.append(&mut self.outgoing),
            Some(Output::Event(_) | Output::Close) | None => {
                out.push(Output::Send(std::mem::take(&mut self.outgoing)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HEADER_LEN, Header};

    fn types(out: Outbox<Output>) -> Vec<u16> {
        let mut types = Vec::new();
        for output in out {
            if let Output::Send(bytes) = output {
                types.extend(
                    bytes.chunks(HEADER_LEN).map(|header| {
                        Header::split(header).map(|(header, _)| header.message_type()).unwrap()
                    }),
                );
            }
        }
        types
    }

    //= test RFC 4540 §4.2.5: a TID is never used twice; the session ends before that.
    #[test]
    fn a_session_that_has_used_up_its_tids_ends() {
        let mut session = Session::new(Config::default());
        let mut out = Outbox::new();
        session.connected(Instant::ZERO, &mut out);
        let up = [2, 1, 0, 12, 0, 0, 0, 1, 0, 4, 0, 8, 0x90, 0xe5, 0, 0, 0, 0, 0x0e, 0x10];
        session.receive(Instant::ZERO, &up, &mut out);
        session.next_tid = LAST_TID;
        let mut out = Outbox::new();
        session.request(Instant::ZERO, RequestId(1), Request::List, &mut out);
        session.request(Instant::ZERO, RequestId(2), Request::List, &mut out);
        assert_eq!(out.len(), 2, "the second is refused, and what is open is not cut off");
        assert_eq!(types(out), [0x0122]);
        let mut out = Outbox::new();
        let reply = Header { basic_type: 2, sub_type: 0x22, length: 0, tid: LAST_TID };
        session.receive(Instant::ZERO, &reply.octets(), &mut out);
        assert_eq!(types(out), [0x0103]);
    }
}
