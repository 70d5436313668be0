//! From bytes to transactions: RFC 3261 §18.1.2, §18.2.1, §17.1.3, §17.2.3, and the checks of §8.2 and §16.3 that need
//! no transaction user. Every answer given here is one message without state, and no answer is ever answered.

use std::net::SocketAddr;

use bytes::Bytes;
use machine::{Instant, Outbox};

use super::branch::Fingerprint;
use super::server::{Given, Input, New};
use super::{Endpoint, Incoming, ServerKey, Transmit};
use crate::message::{Builder, Defect, Host, Message, Method, Name, ParseError, Scheme, Via};
use crate::stun;
use crate::transport::{Hop, Protocol};

/// A status code, its phrase and the loop mark of what passed.
type Refusal = (u16, &'static str);

impl Endpoint {
    pub(super) fn on_bytes(
        &mut self,
        now: Instant,
        hop: Hop,
        bytes: Bytes,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        if hop.protocol == Protocol::Udp && stun::is_stun(&bytes) {
            self.counters.keep_alives += 1;
            //= RFC 5626 §8: answered where SIP over UDP is, with the same addresses.
            let answer = stun::answer(&bytes, hop.remote);
            return out.extend(answer.map(|bytes| Transmit { hop, bytes }));
        }
        match Message::parse(bytes) {
            Ok(message) if message.is_request() => self.on_request(now, hop, message, out, tu),
            Ok(message) => self.on_response(now, hop, message, out, tu),
            Err(error) => self.on_defect(hop, error, out, tu),
        }
    }

    fn on_defect(
        &mut self,
        hop: Hop,
        error: ParseError,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        if error.what != Defect::Empty {
            tu.push(Incoming::Malformed { hop });
        }
        match (error.what, error.partial) {
            (Defect::Empty, _) => self.counters.keep_alives += 1,
            (what, Some(mut request)) => {
                self.counters.malformed_answered += 1;
                request.set_source(hop.remote);
                let phrase = what.to_string();
                self.answer(hop, &request, what.status(), &phrase, out);
            }
            //= RFC 3261 §18.3: a broken response is dropped.
            (_, None) => self.counters.malformed_dropped += 1,
        }
    }

    fn on_response(
        &mut self,
        now: Instant,
        hop: Hop,
        message: Message,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        let Some(number) = self.own_number(&message) else {
            self.counters.foreign_responses += 1;
            return;
        };
        match self.find_client(number, message.method()) {
            Some(key) => self.client_response(now, key, message, out, tu),
            None if message.method() == Method::Invite && (200..300).contains(&message.status()) => {
                tu.push(Incoming::Stray2xx { hop, message });
            }
            //= RFC 6026 §8.9: what matches no transaction is dropped.
            None => self.counters.stray_responses += 1,
        }
    }

    /// The random part of the branch, if the response has one Via and that is ours.
    fn own_number(&self, response: &Message) -> Option<u64> {
        //= RFC 3261 §8.1.3.3: more than one Via means that it was meant for somebody else.
        if response.values(Name::Via).nth(1).is_some() {
            return None;
        }
        let via = response.top_via().ok()?;
        //= RFC 3261 §18.1.2: sent-by must be one that we write.
        let is_ours =
            self.config.listeners.iter().any(|listener| listener.is_sent_by(via.host(), via.port()));
        via.branch().filter(|_| is_ours).and_then(|branch| self.branches.number(branch))
    }

    fn on_request(
        &mut self,
        now: Instant,
        hop: Hop,
        mut message: Message,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        message.set_source(hop.remote);
        if message.method() == Method::Ack {
            return self.on_ack(now, hop, message, out, tu);
        }
        let Some(request) = self.identify(&message, message.method()) else { return };
        if let Some(&key) = self.by_request.get(&request) {
            self.counters.repeated_requests += 1;
            return self.step_server(now, key, Input::Request, Given::default(), out, tu);
        }
        if message.method() == Method::Cancel {
            return self.on_cancel(now, hop, request, message, out, tu);
        }
        self.on_new_request(now, hop, request, message, out, tu);
    }

    fn on_new_request(
        &mut self,
        now: Instant,
        hop: Hop,
        request: Fingerprint,
        message: Message,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        if self.is_full(message.method()) {
            self.counters.overloaded += 1;
            return self.answer(hop, &message, 503, "Service Unavailable", out);
        }
        let is_in_dialog = message.to().is_ok_and(|to| to.tag().is_some());
        let mark = self.branches.mark(&message, hop.listener);
        let origin = if is_in_dialog { None } else { self.origin(&message) };
        if let Err((status, phrase)) = self.check(&message, is_in_dialog, mark, origin) {
            self.counters.refused += 1;
            return self.answer(hop, &message, status, phrase, out);
        }
        let return_hop = return_hop(hop, &message);
        let new = New { message: &message, request, origin, mark, hop: return_hop };
        let key = self.add_server(now, new, out);
        tu.push(Incoming::Request { key, hop, message });
    }

    /// True for a request that a transaction has taken: this one only repeats it.
    #[must_use]
    pub fn is_repeated(&self, request: &Message) -> bool {
        let request = self.identify(request, request.method());
        request.is_some_and(|request| self.by_request.contains_key(&request))
    }

    /// What every request must pass that no transaction knows.
    fn check(
        &self,
        message: &Message,
        is_in_dialog: bool,
        mark: u32,
        origin: Option<Fingerprint>,
    ) -> Result<(), Refusal> {
        let scheme = message.parsed_request_uri().map(|uri| uri.scheme());
        if !matches!(scheme, Ok(Scheme::Sip | Scheme::Sips | Scheme::Tel)) {
            //= RFC 3261 §8.2.2.1: a scheme we do not know.
            return Err((416, "Unsupported URI Scheme"));
        }
        if is_in_dialog {
            //= exception RFC 7332 §5: inside a dialog 0 is not refused: a BYE must end its call, and dialogs do not loop.
            return Ok(());
        }
        //= RFC 3261 §16.3: an OPTIONS at its last hop may be answered by whoever has it.
        if message.max_forwards() == Ok(Some(0)) && message.method() != Method::Options {
            return Err((483, "Too Many Hops"));
        }
        if self.branches.is_loop(message, mark) {
            return Err((482, "Loop Detected"));
        }
        //= RFC 3261 §8.2.2.2: the same request by another path.
        if origin.is_some_and(|origin| self.by_origin.contains_key(&origin)) {
            return Err((482, "Merged Request"));
        }
        Ok(())
    }

    fn is_full(&self, method: &Method) -> bool {
        let max = self.config.limits.transactions_max;
        let max = if *method == Method::Bye { max + max / 8 } else { max };
        self.clients.len() + self.servers.len() >= max
    }

    fn on_ack(
        &mut self,
        now: Instant,
        hop: Hop,
        message: Message,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        match self.find_acknowledged(&message) {
            Some(key) => {
                let given = Given { response: None, ack: Some((hop, message)) };
                self.step_server(now, key, Input::Ack, given, out, tu);
            }
            None => tu.push(Incoming::Ack { hop, message }),
        }
    }

    fn find_acknowledged(&self, ack: &Message) -> Option<ServerKey> {
        let key = *self.by_request.get(&self.identify(ack, &Method::Invite)?)?;
        let is_rfc3261 = ack.top_via().is_ok_and(|via| via.rfc3261_branch().is_some());
        if is_rfc3261 {
            return Some(key);
        }
        //= RFC 3261 §17.2.3: without the cookie an ACK must have the To tag of our response.
        let sent = self.servers.at(key.0)?.local_tag();
        let told = ack.to().ok()?.tag().map(str::to_owned);
        (sent.is_none() || sent == told).then_some(key)
    }

    fn on_cancel(
        &mut self,
        now: Instant,
        hop: Hop,
        request: Fingerprint,
        message: Message,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        //= RFC 3261 §9.2: matched as if it were the request itself. Only an INVITE can be cancelled with effect, so
        // only INVITEs are looked for.
        let invite = self.identify(&message, &Method::Invite);
        let Some(invite) = invite.and_then(|invite| self.by_request.get(&invite).copied()) else {
            self.counters.refused += 1;
            return self.answer(hop, &message, 481, "Call/Transaction Does Not Exist", out);
        };
        let Some(server) = self.servers.at(invite.0) else { return };
        let (is_open, mark) = (server.is_open_invite(), server.mark);
        //= RFC 3261 §9.2: the To tag should be that of the INVITE's responses.
        let tag = server.local_tag().unwrap_or_else(|| self.stateless_tag(&message));
        let hop = return_hop(hop, &message);
        let key = self.add_server(now, New { message: &message, request, origin: None, mark, hop }, out);
        let ok = Builder::response_to(&message, 200, "OK", Some(&tag)).finish();
        self.respond_bytes(now, key, ok, out);
        //= RFC 3261 §9.2: after a final response a CANCEL has no effect.
        if is_open {
            tu.push(Incoming::Cancel { invite, message });
        }
    }

    /// One answer without state; never to an ACK.
    fn answer(&mut self, hop: Hop, request: &Message, status: u16, phrase: &str, out: &mut Outbox<Transmit>) {
        if request.method() == Method::Ack {
            return;
        }
        let tag = self.stateless_tag(request);
        let mut builder = Builder::response_to(request, status, phrase, Some(&tag));
        if status == 503 {
            let seconds = self.config.limits.retry_after_s;
            builder = builder.header_fmt(Name::RetryAfter, format_args!("{seconds}"));
        }
        out.push(Transmit { hop: return_hop(hop, request), bytes: builder.finish() });
    }

    //= RFC 3261 §8.2.7: without state, the same request gets the same tag.
    fn stateless_tag(&self, request: &Message) -> String {
        let call_id = request.header(Name::CallId).unwrap_or_default();
        let via = request.header(Name::Via).unwrap_or_default();
        self.branches.fingerprint(&[call_id, via]).tag()
    }

    /// What a request is recognised by, as if its method were `method`. `None` never, for a parsed message.
    ///
    //= RFC 3261 §17.2.3: branch, sent-by and method.
    fn identify(&self, request: &Message, method: &Method) -> Option<Fingerprint> {
        let via = request.top_via().ok()?;
        let Some(branch) = via.rfc3261_branch() else { return self.identify_2543(request, method) };
        let default = Protocol::from_token(via.transport()).unwrap_or(Protocol::Udp).port();
        let port = via.port().unwrap_or(default).to_be_bytes();
        let mut octets = [0; 16];
        let mut name = String::new();
        let host: &[u8] = match via.host() {
            Host::Name(host) if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                name.push_str(&host.to_ascii_lowercase());
                name.as_bytes()
            }
            Host::Name(host) => host.as_bytes(),
            Host::V4(address) => {
                octets[..4].copy_from_slice(&address.octets());
                &octets[..4]
            }
            Host::V6(address) => {
                octets = address.octets();
                &octets
            }
        };
        Some(self.branches.fingerprint(&[method.text().as_bytes(), branch.as_bytes(), host, &port]))
    }

    //= RFC 3261 §17.2.3: without the cookie, by Request-URI, tags, Call-ID, CSeq and Via.
    //= exception RFC 3261 §17.2.3: the To tag is left out here, so that an ACK finds its INVITE; requests that differ
    // in nothing else are forks of one that met again.
    fn identify_2543(&self, request: &Message, method: &Method) -> Option<Fingerprint> {
        let from = request.from().ok()?;
        let via = request.values(Name::Via).next()?;
        Some(self.branches.fingerprint(&[
            method.text().as_bytes(),
            request.request_uri().as_bytes(),
            from.tag().unwrap_or_default().as_bytes(),
            request.call_id().ok()?.as_bytes(),
            &request.cseq().ok()?.number.to_be_bytes(),
            via,
        ]))
    }

    /// What two requests have in common that are one request by two paths.
    ///
    //= RFC 3261 §8.2.2.2: From tag, Call-ID and CSeq.
    //= exception RFC 3261 §8.2.2.2: and the Request-URI, since a proxy that forks to two phones behind us asks for two
    // different things.
    fn origin(&self, request: &Message) -> Option<Fingerprint> {
        let from = request.from().ok()?;
        Some(self.branches.fingerprint(&[
            from.tag().unwrap_or_default().as_bytes(),
            request.call_id().ok()?.as_bytes(),
            &request.cseq().ok()?.number.to_be_bytes(),
            request.method().text().as_bytes(),
            request.request_uri().as_bytes(),
        ]))
    }
}

/// Where responses to a request go: RFC 3261 §18.2.2, RFC 3581 §4.
fn return_hop(hop: Hop, request: &Message) -> Hop {
    let via = request.top_via().ok();
    let port = via.as_ref().and_then(Via::port).unwrap_or_else(|| hop.protocol.port());
    let wants_source_port = via.is_some_and(|via| via.rport().is_some());
    let port = match hop.protocol {
        //= RFC 3581 §4: to the source port if rport was asked for.
        Protocol::Udp if wants_source_port => hop.remote.port(),
        //= RFC 3261 §18.2.2: to the source address with the port of sent-by; over TCP only if the connection is closed.
        Protocol::Udp | Protocol::Tcp | Protocol::Tls | Protocol::Ws | Protocol::Wss => port,
    };
    Hop { remote: SocketAddr::new(hop.remote.ip(), port), ..hop }
}
