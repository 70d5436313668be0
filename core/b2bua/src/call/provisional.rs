//! Provisional responses: RFC 3261 §13.2.2.1, §13.3.1.1, §12.1, §16.7 step 2 (timer C).

use sip::endpoint::ClientKey;
use sip::message::{Builder, Message, Method, Name};

use super::Call;
use super::early::Pair;
use super::ending::Cut;
use super::invite::{Client, Offer, Server};
use super::signal::Signal;
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::Verdict;
use crate::leg::Sdp;
use crate::leg::carried::Carried;

impl Call {
    pub(super) fn on_provisional(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        match &invite.client {
            Client::Calling { .. } => invite.client = Client::Proceeding { key },
            Client::Proceeding { .. } => {}
            //= RFC 3261 §9.1: now that something was heard, CANCEL may be sent.
            Client::Cancelling { .. } => return self.send_cancel(ctx),
            Client::Idle | Client::Accepted { .. } | Client::Done => return,
        }
        if message.status() == 100 {
            return;
        }
        let (from, limit) = (invite.from.other(), ctx.config.timers.timer_c);
        ctx.stop(&mut invite.timer);
        //= RFC 3261 §16.7 step 2: timer C starts again with every provisional response but 100.
        invite.timer = Some(ctx.wake(self.id, limit, Wake::TimerC));
        let Some(pair) = self.pair_of_response(ctx, &message, false) else { return };
        if self.is_pair_alive(pair) {
            self.submit(ctx, from, Signal::Ring { message, pair });
        }
    }

    /// A provisional response goes on.
    pub(super) fn send_provisional(&mut self, ctx: &mut Context<'_>, message: &Message, pair: Pair) {
        let Some(invite) = self.invite.as_deref() else { return };
        let Server::Proceeding { key, request } = &invite.server else { return };
        let (from, key) = (invite.from, *key);
        let tag = self.tag_of(from, pair).text();
        let carried = Carried::new(message);
        let (status, phrase) = carried.status();
        let sdp =
            if invite.is_initial() && invite.offer == Offer::InInvite { Sdp::Passes } else { Sdp::Stays };
        let mut builder = Builder::response_to(request, status, &phrase, Some(tag.as_str()));
        //= RFC 3261 §12.1.1: a response that makes a dialog copies Record-Route.
        builder = builder.copy(request, Name::RecordRoute);
        builder = self.legs[from].contact(ctx.config, builder);
        builder = self.session_id.write(builder, from);
        let (builder, sdp) = self.legs[from].carry(ctx.config, builder, carried, sdp);
        ctx.respond(self.to(from), key, builder, Sip { sdp, ..Sip::new(&Method::Invite, status) });
    }
}

impl Call {
    /// The description in a provisional response may not pass: as figure 7, unless other early dialogs are left.
    pub(super) fn refuse_ring(&mut self, ctx: &mut Context<'_>, pair: Pair, verdict: Verdict) {
        match pair {
            Pair::Early(number) if self.setup().is_some_and(|setup| setup.alive() > 1) => {
                self.end_early(ctx, number, verdict.reason(), None);
            }
            Pair::Early(_) | Pair::Call => self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict }),
        }
    }
}
