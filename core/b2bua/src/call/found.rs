//! Where the servers of a name are, and the next one if one fails: RFC 3263 §4.3.
//!
//! ```text
//!  asked --places--> the first is called        none: the call fails, or the next contact is called
//!  Calling --503, silence, no way to it--> the next is called, with the same Request-URI      none left: the route's next hop
//!                                                                                            none left: as any failure
//! ```

use std::collections::VecDeque;

use sip::locate::Place;
use sip::message::Name;
use sip::transport::Hop;

use super::Call;
use super::invite::{Client, Invite};
use super::redirect::Failure;
use crate::config::Host;
use crate::context::Context;
use crate::event::Event;
use crate::failure::Verdict;
use crate::route;

/// Places of one contact of a redirection that are tried: its domain is somebody else's.
const PLACES_OF_CONTACT: usize = 2;

impl Call {
    /// The name service answered.
    pub(crate) fn on_resolved(&mut self, ctx: &mut Context<'_>, places: &[Place]) {
        let Some(Invite { client: Client::Idle, setup: Some(setup), .. }) = self.invite.as_deref() else {
            return;
        };
        let (realm, is_contact) = (self.legs.b.realm, setup.redirected.is_some());
        let next_hop = setup.redirected.as_ref().map_or(&setup.next_hop, |contact| contact.next_hop());
        let name = match &next_hop.host {
            Host::Name(name) if places.iter().any(|place| place.protocol.is_secure()) => {
                ctx.shared.names.id(name)
            }
            Host::Name(_) | Host::Address(_) => None,
        };
        let hops = route::hops(ctx.config, realm, places, name);
        let mut hops: VecDeque<Hop> = ctx.shared.failures.last(ctx.now, hops).into();
        if is_contact {
            // Who redirects may only name hosts of the realm; who configures may name any.
            hops.retain(|hop| route::is_in(ctx.config, realm, hop.remote.ip()));
            hops.truncate(PLACES_OF_CONTACT);
        }
        match (hops.pop_front(), is_contact) {
            (Some(first), _) => {
                self.keep_spare(hops);
                self.call_again(ctx, first);
            }
            (None, true) => self.contact_not_found(ctx),
            //= exception RFC 3263 §4.3: a name without addresses gives 500, not 503, which would take us out of service.
            (None, false) if self.call_next_hop(ctx) => {}
            (None, false) => {
                let why = match places.is_empty() {
                    true => "the next hop has no address",
                    false => "no listener of this realm can send to any address of the next hop",
                };
                if let Some(name) = self.next_hop_name() {
                    ctx.event(Event::NotFound { call: self.id, name });
                }
                self.refuse_try(ctx, Verdict::plain(500, why).later());
            }
        }
    }

    /// The name that was looked up for the call. Peers are not told: it may be a name of the inside.
    fn next_hop_name(&self) -> Option<Box<str>> {
        match &self.invite.as_deref()?.setup.as_deref()?.next_hop.host {
            Host::Name(name) => Some(name.as_str().into()),
            Host::Address(_) => None,
        }
    }

    /// The place that was called failed: true if another place of the same name is being called.
    //= RFC 3263 §4.3: 503, a transport failure, or no response at all; then the same request to the next one.
    pub(super) fn try_next_place(&mut self, ctx: &mut Context<'_>, failure: &Failure) -> bool {
        let Some(invite) = self.invite.as_deref_mut().filter(|_| failure.is_of_place()) else { return false };
        let Some(setup) = invite.setup.as_deref_mut() else { return false };
        if setup.has_agreed() {
            return false;
        }
        let next = setup.spare.pop_front();
        if next.is_none() && (setup.next_hops.is_empty() || setup.redirected.is_some()) {
            return false;
        }
        invite.client = Client::Idle;
        self.forget_early(ctx, failure.status());
        self.offer_anew();
        match next {
            Some(next) => {
                self.call_again(ctx, next);
                true
            }
            None => self.call_next_hop(ctx),
        }
    }

    /// Calls the next hop that the route names after this one; false if there is none.
    fn call_next_hop(&mut self, ctx: &mut Context<'_>) -> bool {
        let realm = self.legs.b.realm;
        while let Some(setup) = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut()) {
            let Some(next_hop) = setup.next_hops.pop_front() else { return false };
            let Some(listener) = route::listener(ctx.config, realm, &next_hop) else { continue };
            (setup.next_hop, setup.listener) = (next_hop.clone(), listener);
            match (route::hop(&next_hop, listener), &next_hop.host) {
                (Some(hop), _) => {
                    self.call_again(ctx, hop);
                    return true;
                }
                (None, Host::Name(name)) if ctx.resolve(self.id, realm, &next_hop, name) => return true,
                (None, _) => {}
            }
        }
        false
    }

    /// Remembers for a while that a place has failed, so that the next calls begin elsewhere.
    pub(super) fn remember_failure(&self, ctx: &mut Context<'_>, failure: &Failure) {
        let Some(setup) = self.invite.as_deref().and_then(|invite| invite.setup.as_deref()) else { return };
        let next_hop = setup.redirected.as_ref().map_or(&setup.next_hop, |contact| contact.next_hop());
        // Who has no choice need not remember.
        let has_choice = matches!(next_hop.host, Host::Name(_)) || setup.has_hops;
        // Behind a 503 that does not say for how long there may be a single phone.
        let lasts = match failure {
            Failure::Heard(message) => message.header(Name::RetryAfter).is_some(),
            Failure::Silent(_) => true,
        };
        if has_choice && lasts && failure.is_of_place() {
            ctx.shared.failures.note(ctx.now, self.legs.b.hop);
        }
    }

    /// Remembers where else the name that is being called may be found.
    pub(super) fn keep_spare(&mut self, spare: VecDeque<Hop>) {
        if let Some(setup) = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut()) {
            setup.spare = spare;
        }
    }
}

impl Failure {
    /// True if it says that a server does not work, not that a call is not wanted.
    fn is_of_place(&self) -> bool {
        match self {
            Self::Heard(message) => message.status() == 503,
            Self::Silent(_) => true,
        }
    }
}
