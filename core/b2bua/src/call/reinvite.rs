//! INVITE inside the call: RFC 3261 §14. The plain cases: an offer that is relayed, refused, or meets another one.

use sip::message::{Method, Name};

use super::early::Pair;
use super::invite::{Client, Invite, Offer, Server};
use super::signal::Signal;
use super::{Call, Request};
use crate::context::Context;
use crate::event::Sip;
use crate::leg::carried::Carried;
use crate::leg::{Sdp, headers};
use crate::side::Side;

/// Bound of the seconds after which a second INVITE of the same side may be tried again (RFC 3261 §14.2: 0 to 10).
pub(super) const RETRY_AFTER_BOUND_S: u64 = 11;

impl Call {
    pub(super) fn on_reinvite(
        &mut self,
        ctx: &mut Context<'_>,
        (from, pair): (Side, Pair),
        request: Request,
    ) {
        if self.ending.is_some() || !self.is_pair_alive(pair) {
            return self.refuse_request(ctx, from, &request, 481, &[]);
        }
        let timer = self.legs[from].session.is_on();
        let unsupported = headers::unsupported(&request.message, timer).collect::<Vec<_>>().join(", ");
        if !unsupported.is_empty() {
            let lines = [(Name::Unsupported, unsupported.as_str())];
            return self.refuse_request(ctx, from, &request, 420, &lines);
        }
        if self.refuses_interval(ctx, from, &request) {
            return;
        }
        let invited = self.invite.as_deref().map(|invite| invite.asker().unwrap_or_else(|| from.other()));
        match invited.or_else(|| self.open_offer(from, pair)) {
            //= RFC 3261 §14.2: a second INVITE before the first is finished: 500 and a random Retry-After.
            Some(other) if other == from => self.refuse_for_now(ctx, from, &request),
            //= RFC 3261 §14.2: an INVITE while one of ours is open: 491. RFC 6337 §4: so it is with any other offer.
            Some(_) => self.refuse_request(ctx, from, &request, 491, &[]),
            None => {
                ctx.sent(self.to(from), Sip::new(&Method::Invite, 100));
                ctx.shared.servers.insert(request.key, self.id);
                self.invite = Some(Box::new(Invite::new(from, request)));
                self.submit(ctx, from, Signal::Try);
            }
        }
    }

    /// The INVITE goes on inside the other leg's dialog.
    pub(super) fn send_reinvite(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = self.invite.as_deref() else { return };
        let (Server::Proceeding { key, request }, Client::Idle) = (&invite.server, &invite.client) else {
            return;
        };
        let (to, cause) = (invite.from.other(), *key);
        let leg = &mut self.legs[to];
        let before = match &invite.before {
            // Asked once more: the peer never had what was refused.
            Some(before) => Some(before.clone()),
            None => leg.description.sent(),
        };
        let hop = leg.next_hop(ctx.config);
        let Some(builder) = leg.request(&Method::Invite, Some(request)) else { return };
        let builder = leg.contact(ctx.config, builder);
        let builder = self.session_id.write(builder, to);
        let (builder, sdp) = leg.carry(ctx.config, builder, Carried::new(request), Sdp::Passes);
        let sip = Sip { sdp, ..Sip::new(&Method::Invite, 0) };
        let key = ctx.request(self.to(to), Some(cause), hop, builder, sip);
        self.called(ctx, key);
        if let Some(invite) = &mut self.invite {
            invite.before = before.filter(|_| invite.offer == Offer::InInvite);
        }
    }
}
