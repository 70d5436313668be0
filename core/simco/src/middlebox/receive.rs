//! What an agent's messages mean to a middlebox: the checks of RFC 4540 §6, then §7.2 to §7.4.

use machine::{Instant, Outbox};
use midcom::{Failure, Request};

use super::{Admission, Ending, Output, Session};
use crate::state::{Exchange, State};
use crate::wire::{AgentMessage, BasicType, Header, MiddleboxMessage, Opaque, RequestType, Version};

impl Session {
    /// Takes one whole message.
    pub(super) fn on_message(
        &mut self,
        now: Instant,
        header: Header,
        payload: &[u8],
        out: &mut Outbox<Output>,
    ) {
        //= RFC 4540 §6: step 1. With a TID that is still open neither reply could be told from the other.
        if self.open.contains_key(&header.tid) {
            return self.badly_formed(now, out);
        }
        let message =
            self.request_type(header).and_then(|request_type| AgentMessage::decode_as(request_type, payload));
        match message {
            Err(failure) => self.refuse_unread(header.tid, failure, out),
            Ok(AgentMessage::Establish { version, challenge }) => {
                self.on_establish(header.tid, version, challenge, out);
            }
            Ok(AgentMessage::Authenticate { token }) => self.on_authenticate(header.tid, token, out),
            Ok(AgentMessage::Terminate) => self.end_with(now, Ending::Reply { tid: header.tid }, out),
            Ok(AgentMessage::Rule(request)) => self.on_rule(header.tid, request, out),
        }
    }

    fn request_type(&self, header: Header) -> Result<RequestType, Failure> {
        //= RFC 4540 §6: step 3, the basic type must be that of a request.
        if header.basic_type != BasicType::Request.octet() {
            return Err(Failure::WrongMessageType);
        }
        //= RFC 4540 §6: step 4, the sub-type must be a request's that is possible now.
        let allowed = |request_type: &RequestType| match self.state {
            State::Closed => *request_type == RequestType::Establish,
            State::NoAuth => matches!(
                request_type,
                RequestType::Establish | RequestType::Authenticate | RequestType::Terminate
            ),
            State::Open => true,
        };
        RequestType::from_octet(header.sub_type).filter(allowed).ok_or(Failure::WrongMessageSubType)
    }

    /// Refuses what failed the checks of §6.
    fn refuse_unread(&mut self, tid: u32, failure: Failure, out: &mut Outbox<Output>) {
        MiddleboxMessage::Negative(failure).encode(tid, &mut self.outgoing);
        //= RFC 4540 §6: steps 3 to 5 close a connection on which no session is established.
        match self.state {
            State::Closed => self.close(Exchange::EstablishmentFailed, out),
            State::NoAuth => self.close(Exchange::AuthenticationFailed, out),
            State::Open => {}
        }
    }

    fn on_establish(
        &mut self,
        tid: u32,
        version: Version,
        challenge: Option<Opaque<'_>>,
        out: &mut Outbox<Output>,
    ) {
        //= RFC 4540 §7.2: SE is for sessions in CLOSED; elsewhere it changes nothing.
        if self.state != State::Closed {
            return MiddleboxMessage::Negative(Failure::NotApplicable).encode(tid, &mut self.outgoing);
        }
        if let Some(refusal) = self.refusal(version) {
            refusal.encode(tid, &mut self.outgoing);
            return self.close(Exchange::EstablishmentFailed, out);
        }
        //= RFC 4540 §7.2: SA is the reply if either side wants the other to authenticate itself.
        if challenge.is_some() || self.config.authentication.is_some() {
            return self.authenticate(tid, challenge);
        }
        self.open(tid, Exchange::Established, out);
    }

    /// The checks of SE in the order of RFC 4540 §7.2: the reply if one fails.
    fn refusal(&self, version: Version) -> Option<MiddleboxMessage<'static>> {
        //= RFC 4540 §7.2: resources, connection and its security come before the version, authorization after it.
        let spoken = version == Version::SIMCO_3_0;
        match self.config.admission {
            Admission::LackOfResources => Some(MiddleboxMessage::Negative(Failure::LackOfResources)),
            Admission::TransportProblem => Some(MiddleboxMessage::Negative(Failure::TransportProblem)),
            Admission::InsufficientSecurity => {
                Some(MiddleboxMessage::Negative(Failure::InsufficientSecurity))
            }
            Admission::Admitted | Admission::NotAuthorized if !spoken => {
                Some(MiddleboxMessage::VersionMismatch(Version::SIMCO_3_0))
            }
            Admission::NotAuthorized => Some(MiddleboxMessage::Negative(Failure::NoAuthorization)),
            Admission::Admitted => None,
        }
    }

    fn on_authenticate(&mut self, tid: u32, token: Option<Opaque<'_>>, out: &mut Outbox<Output>) {
        if self.state != State::NoAuth {
            //= RFC 4540 §7.3: SA is for sessions in NOAUTH; elsewhere it changes nothing.
            return MiddleboxMessage::Negative(Failure::NotApplicable).encode(tid, &mut self.outgoing);
        }
        if self.is_authenticated(token) {
            return self.open(tid, Exchange::Authenticated, out);
        }
        //= RFC 4540 §7.3: who is not sufficiently authenticated gets 0x0323, and the connection is closed.
        MiddleboxMessage::Negative(Failure::AuthenticationFailed).encode(tid, &mut self.outgoing);
        self.close(Exchange::AuthenticationFailed, out);
    }

    /// Answers SE or SA with the SE reply: the session is established.
    fn open(&mut self, tid: u32, exchange: Exchange, out: &mut Outbox<Output>) {
        MiddleboxMessage::Established(self.config.capabilities).encode(tid, &mut self.outgoing);
        self.advance(exchange);
        // The SE reply must be on its way before anything that the news sets off.
        self.flush(out);
        out.push(Output::Opened);
    }

    fn on_rule(&mut self, tid: u32, request: Request, out: &mut Outbox<Output>) {
        if self.open.len() >= self.config.open_requests_max {
            return MiddleboxMessage::Negative(Failure::NoResources).encode(tid, &mut self.outgoing);
        }
        let asked = self.asked(&request);
        self.open.insert(tid, asked);
        out.push(Output::Request { tid, request });
    }
}
