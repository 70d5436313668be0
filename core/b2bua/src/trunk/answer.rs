//! A trunk's challenge is answered, once, and once more if the nonce was stale: RFC 3261 §22.2, §22.3, RFC 8760 §2.4.
//!
//! ```text
//!  Sent --401, 407--> Sent again with credentials --accepted--> whatever it is goes on
//!                        |--stale, once--> Sent again          |--asked again--> 502: the secret is not the right one
//! ```

use machine::{Instant, Outbox, Text};
use sip::digest::{Challenge, Session};
use sip::endpoint::ClientKey;
use sip::message::{Builder, CSeq, Message, Method, Name};

use super::config::TrunkId;
use super::{Credential, Kind, Sent};
use crate::b2bua::B2bua;
use crate::context::Context;
use crate::event::Event;
use crate::failure::{Verdict, phrase};
use crate::io::Output;

const UNUSABLE: &str = "the trunk's challenge cannot be used";

/// Whose request a trunk asks about.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Call(crate::event::CallId),
    Alone,
    Registration,
}

impl B2bua {
    /// A response as those see it who wait for it; `None` if it was a trunk's challenge and has been answered.
    pub(crate) fn past_challenge(
        &mut self,
        now: Instant,
        key: ClientKey,
        message: Message,
        out: &mut Outbox<Output>,
    ) -> Option<Message> {
        if message.status() < 200 {
            return Some(message);
        }
        let Some(sent) = self.shared.trunks.sent.remove(&key) else { return Some(message) };
        let Some(kind) = Kind::of(message.status()) else {
            self.shared.trunks.taken(&sent, message.method());
            if message.method() == Method::Invite && message.status() < 300 {
                self.shared.trunks.keep_for_ack(&sent);
            }
            return Some(message);
        };
        let trunk = sent.trunk;
        match self.answer_challenge(now, (key, kind), sent, &message, out) {
            Ok(()) => None,
            // Who waited has given up: nobody hears of it.
            Err(None) => Some(message),
            Err(Some(why)) => {
                let method = message.method().clone();
                self.context(now, out).event(Event::TrunkRefused { trunk, method, why: why.into() });
                // What cannot be told from a failure of the trunk's own is handled like one.
                Some(refused(&message, &self.config.pseudonym, why).unwrap_or(message))
            }
        }
    }

    fn answer_challenge(
        &mut self,
        now: Instant,
        (key, kind): (ClientKey, Kind),
        sent: Sent,
        message: &Message,
        out: &mut Outbox<Output>,
    ) -> Result<(), Option<&'static str>> {
        let trunk = self.config.trunk(sent.trunk).ok_or(None)?;
        let (trunks, method) = (&self.shared.trunks, message.method());
        let is_meant = |challenge: &Challenge<'_>| trunks.answers(trunk, &sent, method, challenge);
        let challenge = Challenge::choose(message, is_meant);
        let challenge = challenge.ok_or(Some("the trunk asks for credentials that are not there"))?;
        let request = Message::parse(sent.bytes.0.clone()).map_err(|_| Some(UNUSABLE))?;
        let stale = may_answer(&sent, kind, &challenge);
        let stale =
            stale.inspect_err(|_| self.shared.trunks.drop_session(&sent, kind, method)).map_err(Some)?;
        let (owner, number) = self.next_number(key, &request)?;
        let session = Session::begin(&challenge, self.shared.rng.bits()).ok_or(Some(UNUSABLE))?;
        self.shared.trunks.asked_again(&sent, kind, &session, method);
        let mut ctx = self.context(now, out);
        if let Some(to) = sent.to {
            let message = crate::event::Sip::of(message);
            ctx.event(Event::Received { call: to.call, side: to.side, message });
        }
        let (builder, credentials) = ctx.again(&sent, &request, number, (kind, session, stale));
        let to = sent.to;
        let new = ctx.send_to_trunk(Sent { bytes: Text::default(), credentials, ..sent }, builder);
        if let Some(to) = to {
            ctx.sent(to, crate::event::Sip::of(&request));
        }
        self.rename(owner, key, new);
        Ok(())
    }

    /// Whose request it is, and the number that it has when it is sent again.
    //= RFC 3261 §22.2: the CSeq of a request with credentials is one higher.
    fn next_number(
        &mut self,
        key: ClientKey,
        request: &Message,
    ) -> Result<(Owner, u32), Option<&'static str>> {
        if let Some(id) = self.shared.clients.get(&key).copied() {
            let call = self.calls.get_mut(&id).ok_or(None)?;
            return Ok((Owner::Call(id), call.next_cseq(key)?));
        }
        if self.shared.alone.is_open(key) {
            let number = self.shared.alone.next_cseq(key, request);
            return Ok((Owner::Alone, number.ok_or(Some(UNUSABLE))?));
        }
        Ok((Owner::Registration, self.shared.trunks.next_cseq(key).ok_or(None)?))
    }

    fn rename(&mut self, owner: Owner, key: ClientKey, new: ClientKey) {
        match owner {
            Owner::Call(id) => {
                self.shared.clients.remove(&key);
                self.shared.clients.insert(new, id);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.rename(key, new);
                }
            }
            Owner::Alone => self.shared.alone.rename(key, new),
            Owner::Registration => self.shared.trunks.rename(key, new),
        }
    }
}

/// Whether a challenge may be answered in a request; true if it says that the last answer was only too old.
//= RFC 7616 §3.3: without `stale` the secret was wrong, and no other attempt would be better.
fn may_answer(sent: &Sent, kind: Kind, challenge: &Challenge<'_>) -> Result<bool, &'static str> {
    const WRONG: &str = "the trunk does not take the credentials";
    match sent.credentials.iter().find(|own| own.kind == kind) {
        None => Ok(false),
        // It was made for an earlier challenge: this is the first of this request.
        Some(own) if own.trying.is_none() => Ok(false),
        Some(own) if challenge.stale && !own.stale => Ok(true),
        Some(_) => Err(WRONG),
    }
}

impl Context<'_> {
    fn credential_of(
        &self,
        trunk: TrunkId,
        session: &mut Session,
        method: &Method,
        uri: &str,
    ) -> Option<String> {
        let trunk = self.config.trunk(trunk)?;
        session.answer(&trunk.auth_user, &trunk.secret, method.text(), uri)
    }

    /// The same request with another number and credentials for everybody in the trunk who has asked.
    fn again(
        &mut self,
        sent: &Sent,
        request: &Message,
        number: u32,
        (asks, session, stale): (Kind, Session, bool),
    ) -> (Builder, Vec<Credential>) {
        let method = request.method();
        let is_ours = |name: Name, value: &[u8]| {
            sent.credentials.iter().any(|own| own.kind.name() == name && own.value.as_bytes() == value)
        };
        let mut builder = Builder::request(method, request.request_uri());
        for header in request.headers() {
            builder = match header.name {
                // The endpoint and the builder write these.
                Name::Via | Name::ContentLength => builder,
                Name::CSeq => builder
                    .header_fmt(Name::CSeq, format_args!("{}", CSeq { number, method: method.clone() })),
                name if is_ours(name, header.value) => builder,
                _ => builder.copy_line(header),
            };
        }
        let mut credentials = Vec::new();
        for kind in [Kind::Agent, Kind::Proxy] {
            let before = sent.credentials.iter().find(|own| own.kind == kind);
            let (mut trying, stale) = match before {
                _ if kind == asks => (Some(session.clone()), stale),
                Some(own) => (own.trying.clone(), own.stale),
                None => continue,
            };
            let key: (TrunkId, Kind, bool) = (sent.trunk, kind, *method == Method::Register);
            let value = match &mut trying {
                Some(session) => self.credential_of(sent.trunk, session, method, request.request_uri()),
                None => self.credential(key, method, request.request_uri()),
            };
            let Some(value) = value else { continue };
            builder = builder.header(kind.name(), &value);
            credentials.push(Credential { kind, value: value.into(), trying, stale });
        }
        let builder = if request.body().is_empty() { builder } else { builder.body("", request.body()) };
        (builder, credentials)
    }
}

/// What becomes of a challenge that cannot be answered: nobody but us could, so nobody else gets to see it.
fn refused(challenge: &Message, pseudonym: &str, why: &str) -> Option<Message> {
    let mut builder = Builder::response(502, phrase(502));
    for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
        builder = builder.copy(challenge, name);
    }
    Message::parse(Verdict::plain(502, why).explain(builder, pseudonym).finish()).ok()
}
