//! Peers are asked who they are: RFC 3261 §22.2, §22.3, RFC 7616, RFC 8760; `docs/registrations.md`.
//!
//! ```text
//!  request --no credentials, stale, wrong--> 401 or 407         --right, and From says the same--> goes on without them
//!             |--too many wrong ones--> 403                        |--right, but From says somebody else--> 403
//! ```
//!
//! Only requests that begin something are asked: what follows inside a call has its tags. Nothing is remembered of who was
//! asked, only of who has answered.

pub(crate) mod config;
mod guesses;

use std::net::IpAddr;

use machine::{Instant, Outbox, Rng};
use sip::digest::{Counts, Credentials, Nonces, Offered, Secret, Validity, limits, names};
use sip::message::{Message, Method, Name, NameAddr, Uri};

use crate::b2bua::B2bua;
use crate::call::Request;
use crate::config::RealmId;
use crate::context::{Context, Shared};
use crate::event::Event;
use crate::failure::{Verdict, phrase};
use crate::io::Output;
use crate::leg::body::Body;
use crate::limits::NONCE_LIFETIME;

use config::{Authentication, User, is_name};
use guesses::Guesses;

/// What is remembered of answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asking {
    /// Made with the first challenge.
    nonces: Option<Nonces>,
    counts: Counts,
    guesses: Guesses,
}

impl Asking {
    fn nonces(&mut self, rng: &mut Rng) -> &Nonces {
        self.nonces.get_or_insert_with(|| Nonces::new(rng, NONCE_LIFETIME))
    }
}

/// Why a request does not go on.
enum Refusal {
    /// It is to come again with credentials, or with fresh ones.
    Ask { stale: bool },
    /// The credentials are wrong.
    Wrong { user: String, why: &'static str },
    /// They are right, or nobody looks at them any more.
    Refuse { user: String, verdict: Verdict },
}

impl B2bua {
    /// The request, if its sender has shown who it is where that is asked for; otherwise it is answered.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        request: Request,
        out: &mut Outbox<Output>,
    ) -> Option<Request> {
        let method = request.message.method().clone();
        let Some((from, asks)) = self.asks(&request) else { return Some(request) };
        let asks = asks.clone();
        //= RFC 3261 §22.3: a proxy asks with 407; who takes a REGISTER itself asks with 401.
        let is_end = method == Method::Register
            && self.config.realm(from).is_some_and(|realm| realm.registrar.is_some());
        let status = if is_end { 401 } else { 407 };
        let (asking, answer) = names(status)?;
        let refusal = match self.check(now, &asks, &request, answer) {
            Ok(()) => return without_credentials(request, answer, &asks.realm),
            Err(refusal) => refusal,
        };
        let stale = matches!(refusal, Refusal::Ask { stale: true });
        let hop = request.hop;
        let mut ctx = self.context(now, out);
        match refusal {
            Refusal::Ask { .. } => {}
            Refusal::Wrong { user, why } => {
                ctx.shared.asking.guesses.note(now, hop.remote.ip(), &user);
                ctx.event(Event::NotAuthenticated {
                    hop,
                    realm: from,
                    user: user.into(),
                    method,
                    why: why.into(),
                });
            }
            Refusal::Refuse { user, verdict } => {
                let why = verdict.words();
                ctx.event(Event::NotAuthenticated { hop, realm: from, user: user.into(), method, why });
                ctx.refuse_alone(&request, &verdict);
                return None;
            }
        }
        ctx.challenge(&request, (status, asking), &asks.realm, stale);
        None
    }

    /// What a request's realm asks of it. Trunks are known by their addresses, but nobody registers here without a password.
    fn asks(&self, request: &Request) -> Option<(RealmId, &Authentication)> {
        let from = self.config.realm_of(request.hop.listener)?;
        let realm = self.config.realm(from)?;
        let asks = realm.authentication.as_ref()?;
        let method = request.message.method();
        let registers_here = *method == Method::Register && realm.registrar.is_some();
        let is_trunk = || !registers_here && self.trunk_of_caller(from, request).is_some();
        (asks.methods.contains(method) && !is_trunk()).then_some((from, asks))
    }

    fn check(
        &mut self,
        now: Instant,
        asks: &Authentication,
        request: &Request,
        name: Name,
    ) -> Result<(), Refusal> {
        let message = &request.message;
        let came = message.values(name).filter_map(|value| Credentials::parse(value).ok());
        let credentials = came.into_iter().find(|credentials| credentials.realm == asks.realm);
        let credentials = credentials.ok_or(Refusal::Ask { stale: false })?;
        let source = request.hop.remote.ip();
        let Shared { asking, rng, .. } = &mut self.shared;
        let nonces = asking.nonces(rng).clone();
        // First of all: a fresh nonce has been read at this address, so that nobody speaks in another's name here.
        let Validity::Fresh(id) = nonces.check(now, &credentials.nonce, &scope(&asks.realm, source)) else {
            return Err(Refusal::Ask { stale: true });
        };
        let user = credentials.username.clone().into_owned();
        if user.len() > limits::SECRET_LEN_MAX || asking.guesses.are_too_many(now, source, &user) {
            let verdict = Verdict::plain(403, "too many wrong passwords").later();
            return Err(Refusal::Refuse { user, verdict });
        }
        let known = self.config.users.get(&user);
        // Whether there is such a user shall not be told by how long it takes.
        let nobody = Secret::Password("nobody knows it".into());
        let secret = known.map_or(&nobody, |known| &known.secret);
        let is_right = secret.verifies(&credentials, message.method().text());
        let Some(known) = known.filter(|_| is_right) else {
            let why = if known.is_some() { "wrong password" } else { "unknown user" };
            return Err(Refusal::Wrong { user, why });
        };
        // Who counts nothing uses each nonce once.
        let count = credentials.counted.as_ref().map_or(1, |counted| counted.count);
        if let Some(oldest) = now.as_nanos().checked_sub(nonces.lifetime().as_nanos() as u64) {
            asking.counts.forget_before(Instant::from_nanos(oldest));
        }
        if !asking.counts.take(id, count, limits::COUNTED_MAX) {
            return Err(Refusal::Ask { stale: true });
        }
        let verdict = match speaks_for(message, &credentials, known) {
            Ok(()) => return Ok(()),
            Err(verdict) => verdict,
        };
        Err(Refusal::Refuse { user, verdict })
    }
}

/// Whether somebody who has shown who it is may say what a request says.
fn speaks_for(message: &Message, credentials: &Credentials<'_>, known: &User) -> Result<(), Verdict> {
    //= RFC 8760 §2.6 item 6: the URI of the credentials is that of somebody whom this request may be for.
    let is_same = |uri: &str| {
        Uri::parse(uri).is_ok_and(|uri| message.parsed_request_uri().is_ok_and(|own| own.is_equivalent(&uri)))
    };
    if *credentials.uri != *message.request_uri() && !is_same(&credentials.uri) {
        return Err(Verdict::plain(400, "the credentials are for another Request-URI"));
    }
    let user = |address: Result<NameAddr<'_>, _>| {
        let uri = address.ok().and_then(|address| Uri::parse(address.uri()).ok());
        uri.and_then(|uri| uri.user()).unwrap_or_default().to_owned()
    };
    //= RFC 3261 §22.1: who somebody is, is not yet whom he may speak for.
    if !known.may_say(&credentials.username, &user(message.from())) {
        return Err(Verdict::plain(403, "From names another user"));
    }
    //= RFC 3261 §10.3 step 3: nor whom he may register. Whoever may show other numbers is not called at them.
    if *message.method() == Method::Register && !is_name(&credentials.username, &user(message.to())) {
        return Err(Verdict::plain(403, "To names another user"));
    }
    Ok(())
}

/// For whom a nonce is: an address in a realm.
fn scope(realm: &str, source: IpAddr) -> String {
    format!("{} {realm}", source.to_canonical())
}

impl Context<'_> {
    fn challenge(&mut self, request: &Request, (status, name): (u16, Name), realm: &str, stale: bool) {
        let Shared { asking, rng, .. } = &mut *self.shared;
        let nonces = asking.nonces(rng).clone();
        let nonce = nonces.mint(self.now, rng, &scope(realm, request.hop.remote.ip()));
        let mut builder = self.response_alone(request, status, phrase(status));
        //= RFC 8760 §2.3: one field for each algorithm, the preferred one first.
        for hash in self.config.users.hashes().iter().copied() {
            let offered = Offered { realm, nonce: &nonce, hash, stale };
            builder = builder.header_fmt(name, format_args!("{offered}"));
        }
        self.respond_alone(request.key, builder);
    }
}

/// True if credentials for somebody else cover a body that we have to change.
//= RFC 7616 §3.4.3: `auth-int` takes the body into the digest, so that nobody could verify it any more.
pub(crate) fn protects_description(message: &Message) -> bool {
    let covers = |name: Name| {
        let mut all = message.values(name).filter_map(|value| Credentials::parse(value).ok());
        all.any(|credentials| credentials.covers_body)
    };
    matches!(Body::of(message), Body::Description(_))
        && (covers(Name::Authorization) || covers(Name::ProxyAuthorization))
}

/// What is said of such a request.
pub(crate) const PROTECTED: &str =
    "credentials with auth-int cover the session description, which has to be changed here";

/// The request as it goes on: what was for us stays here.
fn without_credentials(request: Request, name: Name, realm: &str) -> Option<Request> {
    let is_ours =
        |value: &[u8]| Credentials::parse(value).is_ok_and(|credentials| credentials.realm == realm);
    let message: Message = request.message.without(|header| header.name == name && is_ours(header.value))?;
    Some(Request { message, ..request })
}
