//! A 3xx that is followed: RFC 3261 §8.1.3.4, §16.7 step 6; `redirect = "follow"`.
//!
//! ```text
//!  Calling --3xx--> its contacts join the target set, each URI once
//!  Calling --3xx, failure, silence--> the best contact left is called      none left: A gets the best failure of all
//!  Calling --6xx--> none is called any more
//! ```
//!
//! The offer's pinholes stay as they are: they let media travel to A, from wherever in B's realm. So a contact is called
//! only where it is in that realm; any other is as good as none. What cannot be followed at all goes to A as it came.

use std::cmp::Reverse;
use std::collections::VecDeque;

use sip::message::{Message, NameAddr, Scheme, Uri};
use sip::transport::Protocol;

use super::Call;
use super::invite::{Client, Setup};
use super::offer::Stage;
use crate::admission;
use crate::config::{Config, Host, NextHop, RealmId, Redirect};
use crate::context::Context;
use crate::failure::{Reason, Verdict};
use crate::route::{self, Facts};

/// Contacts of one 3xx that are looked at.
const CONTACTS_MAX: usize = 32;

/// What has been called in place of the first target, and what is left to call.
#[derive(Debug, Clone)]
pub(super) struct Redirected {
    /// The target set: everything that has been or will be called; what is being called is at `current`.
    targets: Vec<Box<str>>,
    /// Not called yet, the best first.
    left: VecDeque<Contact>,
    /// Being called.
    current: Contact,
    /// The best of the failures so far.
    best: Option<Failure>,
    /// Those beside it that ask for credentials.
    challenges: Vec<Message>,
}

/// Somebody to call instead.
#[derive(Debug, Clone)]
pub(super) struct Contact {
    /// The Request-URI.
    uri: Box<str>,
    next_hop: NextHop,
    /// In thousandths.
    q: u16,
}

/// How a call to one target failed.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// It said so.
    Heard(Message),
    /// It said nothing.
    Silent(Verdict),
}

impl Failure {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Heard(message) => message.status(),
            Self::Silent(verdict) => verdict.code,
        }
    }

    /// The message, if it asks for credentials.
    fn challenge(self) -> Option<Message> {
        match self {
            Self::Heard(message) if matches!(message.status(), 401 | 407) => Some(message),
            Self::Heard(_) | Self::Silent(_) => None,
        }
    }

    //= RFC 3261 §16.7 step 6: 6xx first, then the lowest class, in it what tells the caller how to ask again; 503 last.
    fn rank(&self) -> (u16, bool, bool) {
        let status = self.status();
        let class = if status >= 600 { 0 } else { status / 100 };
        (class, status == 503, ![401, 407, 415, 420, 484].contains(&status))
    }
}

impl Redirected {
    /// The Request-URI of what is being called.
    pub(super) fn uri(&self) -> &str {
        &self.current.uri
    }

    /// Where to find it.
    pub(super) fn next_hop(&self) -> &NextHop {
        &self.current.next_hop
    }

    /// Adds contacts that are new, as many as may be called; false if there was none.
    //= RFC 3261 §8.1.3.4: no URI twice, so that two that redirect to each other are not called for ever.
    fn add(&mut self, contacts: Vec<Contact>, most: u8) -> bool {
        let before = self.targets.len();
        for contact in contacts {
            // The first target was not a contact.
            if self.targets.len() <= usize::from(most) && !self.knows(&contact.uri) {
                self.targets.push(contact.uri.clone());
                self.left.push_back(contact);
            }
        }
        self.left.make_contiguous().sort_by_key(|contact| Reverse(contact.q));
        self.targets.len() > before
    }

    fn knows(&self, uri: &str) -> bool {
        let Ok(uri) = Uri::parse(uri) else { return true };
        self.targets.iter().any(|known| Uri::parse(known).is_ok_and(|known| known.is_equivalent(&uri)))
    }

    fn note(&mut self, failure: Failure) {
        let is_better = self.best.as_ref().is_none_or(|best| failure.rank() < best.rank());
        let other = if is_better { self.best.replace(failure) } else { Some(failure) };
        self.challenges.extend(other.and_then(Failure::challenge));
    }
}

impl Call {
    /// A target of the first INVITE failed: true if another one is being called in its place.
    pub(super) fn try_another(&mut self, ctx: &mut Context<'_>, failure: &Failure) -> bool {
        let Redirect::Follow { most } = ctx.config.policy.redirect else { return false };
        let (realm, from, source) = (self.legs.b.realm, self.legs.a.realm, self.legs.a.hop.remote.ip());
        let Some(invite) = self.invite.as_deref_mut() else { return false };
        let (Some(request), Some(setup)) = (invite.server.request(), &mut invite.setup) else { return false };
        if setup.has_agreed() {
            if let Some(redirected) = &mut setup.redirected {
                redirected.note(failure.clone());
            }
            return false;
        }
        let contacts = match failure {
            Failure::Heard(message) if (300..400).contains(&message.status()) => {
                contacts(ctx, realm, message, &Facts::of(request, from, source))
            }
            Failure::Heard(_) | Failure::Silent(_) => Vec::new(),
        };
        if setup.redirected.is_none() {
            let Some(first) = contacts.first().cloned() else { return false };
            let called = setup.request_uri(ctx.config, request).into();
            let redirected = Redirected {
                targets: vec![called],
                left: VecDeque::new(),
                current: first,
                best: None,
                challenges: Vec::new(),
            };
            setup.redirected = Some(Box::new(redirected));
        }
        let Some(redirected) = &mut setup.redirected else { return false };
        if !redirected.add(contacts, most) {
            redirected.note(failure.clone());
        }
        //= RFC 3261 §16.7 step 5: after a 6xx nobody else is called.
        if failure.status() >= 600 {
            redirected.left.clear();
        }
        self.forget_early(ctx, failure.status());
        self.call_next(ctx)
    }

    /// Calls the best contact left; false if there is none.
    fn call_next(&mut self, ctx: &mut Context<'_>) -> bool {
        let realm = self.legs.b.realm;
        while let Some(redirected) = self.redirected() {
            let Some(contact) = redirected.left.pop_front() else { return false };
            let (next_hop, name) = (contact.next_hop.clone(), contact.next_hop.host.clone());
            redirected.current = contact;
            let listener = route::listener(ctx.config, realm, &next_hop);
            let hop = listener.and_then(|listener| route::hop(&next_hop, listener));
            if let Some(invite) = self.invite.as_deref_mut() {
                invite.client = Client::Idle;
                if let Some(setup) = &mut invite.setup {
                    // Who rang until now has declined.
                    setup.rang = false;
                }
            }
            self.keep_spare(VecDeque::new());
            self.offer_anew();
            match (hop, name) {
                (Some(hop), _) => {
                    self.call_again(ctx, hop);
                    return true;
                }
                (None, Host::Name(name)) if ctx.resolve(self.id, realm, &next_hop, &name) => return true,
                (None, _) => self.note_failure(Verdict::plain(500, "a contact cannot be called")),
            }
        }
        false
    }

    /// A contact that is a name has no address, or none where it may be called.
    pub(super) fn contact_not_found(&mut self, ctx: &mut Context<'_>) {
        let verdict = Verdict::plain(500, "a contact has no address in this realm");
        self.note_failure(verdict.clone());
        if !self.call_next(ctx) {
            self.fail_with(ctx, Failure::Silent(verdict));
        }
    }

    fn redirected(&mut self) -> Option<&mut Redirected> {
        self.invite.as_deref_mut()?.setup.as_deref_mut()?.redirected.as_deref_mut()
    }

    pub(super) fn note_failure(&mut self, verdict: Verdict) {
        if let Some(redirected) = self.redirected() {
            redirected.note(Failure::Silent(verdict));
        }
    }

    /// True if somebody else may be called in place of who is being called.
    pub(super) fn has_another(&self) -> bool {
        let Some(setup) = self.setup().filter(|setup| !setup.has_agreed()) else { return false };
        !setup.contacts.is_empty() || setup.redirected.as_deref().is_some_and(|all| !all.left.is_empty())
    }

    /// The best failure of all targets, with every challenge beside it if it is one; `None` if there was only one.
    //= RFC 3261 §16.7 step 7: the caller answers all challenges at once, or hears of the next each time.
    pub(super) fn best_failure(&mut self) -> Option<(Failure, Vec<Message>)> {
        let redirected = self.redirected()?;
        let best = redirected.best.take()?;
        let challenges = match matches!(best.status(), 401 | 407) {
            true => std::mem::take(&mut redirected.challenges),
            false => Vec::new(),
        };
        Some((best, challenges))
    }

    /// The early dialogs of a target that has failed are gone, and what was on the way from it.
    pub(super) fn forget_early(&mut self, ctx: &mut Context<'_>, status: u16) {
        self.drop_held_invite(ctx);
        self.stop_provisional(ctx);
        let Some(setup) = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut()) else {
            return;
        };
        for (number, early) in setup.early.iter_mut().enumerate().filter(|(_, early)| early.is_alive()) {
            self.ledger.shows_other(number);
            early.ended = Some(Reason { cause: status, text: "redirected" });
        }
        //= RFC 3261 §12.3: a final failure ends them; another target may choose the same tag.
        for early in &mut setup.early {
            early.dialogs.b = None;
        }
        self.move_exchanges(ctx, None);
        self.move_own(ctx, None);
    }
}

impl Setup {
    /// True once A has an answer, or an offer, in a reliable response.
    //= RFC 3262 §5: that is final; with somebody else A would have to agree anew.
    pub(super) fn has_agreed(&self) -> bool {
        let mut stages = self.early.iter().map(|early| early.agreement.stage);
        stages.any(|stage| matches!(stage, Stage::Returned | Stage::Agreed))
    }
}

/// The contacts of a redirection that may be called, best first, so that the best are those that are called.
fn contacts(ctx: &Context<'_>, realm: RealmId, message: &Message, facts: &Facts<'_>) -> Vec<Contact> {
    let named = message.contacts().take(CONTACTS_MAX).flatten();
    let mut contacts: Vec<Contact> =
        named.filter_map(|contact| usable(ctx.config, realm, &contact, facts)).collect();
    // Nobody is called by way of a redirection whom the caller may not call.
    contacts.retain(|contact| {
        let facts = Facts { callee: Uri::parse(&contact.uri).ok(), ..*facts };
        admission::decide(&ctx.config.admission, &facts, realm, ctx.shared.minute).admits
    });
    contacts.sort_by_key(|contact| Reverse(contact.q));
    contacts
}

fn usable(config: &Config, realm: RealmId, contact: &NameAddr<'_>, facts: &Facts<'_>) -> Option<Contact> {
    //= RFC 5630 §5.3: who called a SIPS URI is not brought to a SIP URI, nor the other way round.
    let is_sips = facts.callee.is_some_and(|uri| uri.scheme() == Scheme::Sips);
    let wanted = if is_sips { Scheme::Sips } else { Scheme::Sip };
    let uri = contact.parsed_uri().ok().filter(|uri| uri.scheme() == wanted)?;
    //= RFC 3261 §19.1.5: what a URI asks for besides whom to call is not done for a stranger.
    if uri.param("maddr").is_some() || uri.param("method").is_some() || route::is_us(config, &uri) {
        return None;
    }
    // Nobody is called by way of a redirection whom the caller may not call.
    if route::refuses(config, &Facts { callee: Some(uri), ..*facts }) {
        return None;
    }
    let transport = Protocol::of_uri(&uri).ok()?;
    if transport.is_some_and(|protocol| !protocol.can_connect()) {
        return None;
    }
    let host = uri.host()?;
    let host = match host.address() {
        Some(address) if route::is_in(config, realm, address) => Host::Address(address),
        Some(_) => return None,
        None => Host::Name(host.to_string()),
    };
    //= RFC 3261 §19.1.5: headers in a URI would become those of our INVITE.
    let text = uri.as_str().split_once('?').map_or(uri.as_str(), |(text, _)| text);
    let q = contact.params().text("q").map_or(Q_MAX, thousandths);
    // Of a SIPS URI without a transport NAPTR records may still say where its servers are.
    let transport = transport.filter(|_| !is_sips || uri.param("transport").is_some());
    let next_hop = NextHop { host, port: uri.port(), transport, secure: is_sips, trunk: None };
    route::listener(config, realm, &next_hop)?;
    Some(Contact { uri: text.into(), next_hop, q })
}

const Q_MAX: u16 = 1_000;

//= RFC 3261 §25.1: `qvalue` is 0 to 1 with at most three digits; anything else counts least.
fn thousandths(text: &str) -> u16 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().unwrap_or_default();
    match whole {
        "0" if digits => part,
        "1" if digits && part == 0 => Q_MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_is_read_in_thousandths() {
        //= test RFC 3261 §20.10: q orders contacts.
        for (text, q) in [("1", 1000), ("1.000", 1000), ("0.7", 700), ("0", 0), ("0.", 0), ("0.025", 25)] {
            assert_eq!(thousandths(text), q, "{text}");
        }
        for text in ["", "1.1", "2", "0.1234", "-1", "0.+1", "x"] {
            assert_eq!(thousandths(text), 0, "{text}");
        }
    }

    #[test]
    fn the_best_failure_is_chosen_by_class() {
        //= test RFC 3261 §16.7 step 6
        let rank = |code| Failure::Silent(Verdict::plain(code, "")).rank();
        let mut codes = [503, 486, 500, 302, 407, 603];
        codes.sort_by_key(|code| rank(*code));
        assert_eq!(codes, [603, 302, 407, 486, 500, 503]);
    }
}
