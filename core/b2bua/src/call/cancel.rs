//! CANCEL: RFC 3261 §9, §15.1.1; `docs/calls.md`, races.

use sip::message::{Message, Method, Name};

use super::Call;
use super::ending::{End, Ending};
use super::enforce::LABEL;
use super::invite::{Client, Server};
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::{Reason, Verdict};
use crate::side::Side;

impl Call {
    /// The sender of the INVITE under way gives up; the endpoint has answered the CANCEL.
    pub(crate) fn on_cancel(&mut self, ctx: &mut Context<'_>, message: &Message) {
        let Some(invite) = self.invite.as_deref() else { return };
        let (from, initial) = (invite.from, invite.is_initial());
        self.received(ctx, from, message);
        ctx.sent(self.to(from), Sip::new(&Method::Cancel, 200));
        //= RFC 3261 §9.2: after a final response CANCEL changes nothing.
        if !matches!(invite.server, Server::Proceeding { .. }) {
            return;
        }
        if initial {
            return self.give_up(ctx, Cause::Cancelled, message);
        }
        match &invite.client {
            Client::Idle => {
                self.drop_held_invite(ctx);
                self.fail_invite(ctx, &Verdict::terminated());
                self.abandon_invite(ctx);
            }
            // The other side decides: 487, or a 2xx that was faster.
            Client::Calling { .. } | Client::Proceeding { .. } => {
                self.cancel_client(ctx, None, Some(message))
            }
            Client::Cancelling { .. } | Client::Accepted { .. } | Client::Done => {}
        }
    }

    /// The caller is gone before the answer: 487 at once, and B hears as much as it must.
    pub(super) fn give_up(&mut self, ctx: &mut Context<'_>, cause: Cause, message: &Message) {
        self.fail_invite(ctx, &Verdict::terminated());
        let reason =
            matches!(self.invite.as_deref().map(|invite| &invite.client), Some(Client::Accepted { .. }))
                .then_some(Reason::CANCELLED);
        self.end(ctx, End { reason, passed_on: Some(message), spared: Some(Side::A), ..End::quiet(cause) });
    }

    /// Gives up our INVITE.
    pub(super) fn cancel_client(
        &mut self,
        ctx: &mut Context<'_>,
        ours: Option<Reason>,
        passed_on: Option<&Message>,
    ) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (Client::Calling { key } | Client::Proceeding { key }) = invite.client else { return };
        let reasons = crate::failure::reasons(ours, passed_on);
        invite.client = Client::Cancelling { key, sent: false, reasons };
        ctx.stop(&mut invite.timer);
        self.send_cancel(ctx);
    }

    /// Sends CANCEL as soon as it is allowed, once.
    ///
    //= RFC 3261 §9.1: only after a provisional response.
    pub(super) fn send_cancel(&mut self, ctx: &mut Context<'_>) {
        let id = self.id;
        let Some(to) = self.invite.as_deref().map(|invite| invite.from.other()) else { return };
        let failed = self.ending.as_deref().and_then(Ending::failed);
        //= RFC 3312 §8: so does the CANCEL.
        let body = self.failed_description(ctx, to, failed).unwrap_or_default();
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let Client::Cancelling { key, sent: sent @ false, reasons } = &mut invite.client else { return };
        //= RFC 7989 §7: Session-ID of CANCEL is that of its INVITE.
        let session_id = self.session_id.of_invite(to, invite.setup.is_some());
        let mut extra: Vec<(Name, &[u8])> = vec![(Name::SessionId, session_id.as_bytes())];
        extra.extend(reasons.iter().map(|reason| (Name::Reason, &**reason)));
        extra.extend(Some(LABEL).filter(|_| !body.is_empty()));
        let reason = reasons.iter().find_map(|reason| crate::failure::cause(reason)).unwrap_or(0);
        let sip = Sip { reason, ..Sip::new(&Method::Cancel, 0) };
        *sent = ctx.cancel(crate::context::Recipient { call: id, side: to }, *key, (&extra, &body), sip);
        if *sent {
            reasons.clear();
            //= RFC 3261 §9.1: without a final response the INVITE is given up after 64*T1. A call that is over by
            // then waits as long again for a late 2xx.
            let wait = ctx.config.timers.t1_64() * if invite.setup.is_some() { 2 } else { 1 };
            invite.timer = Some(ctx.wake(id, wait, Wake::CancelUnanswered));
        }
    }

    /// CANCEL had no effect.
    pub(super) fn on_cancel_unanswered(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.timer = None;
        let Client::Cancelling { key, .. } = invite.client else { return };
        invite.client = Client::Done;
        ctx.abandon(key);
        if self.ending.is_none() {
            self.fail_invite(ctx, &Verdict::terminated());
            return self.abandon_invite(ctx);
        }
        self.proceed(ctx);
        self.settle_invite(ctx);
    }
}
