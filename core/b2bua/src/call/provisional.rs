//! Provisional responses: RFC 3261 §13.2.2.1, §13.3.1.1, §12.1, §16.7 step 2 (timer C).

use sip::dialog::Dialog;
use sip::endpoint::ClientKey;
use sip::message::{Builder, Message, Method, Name};

use super::Call;
use super::ending::Cut;
use super::invite::{Client, Fork, Invite, Offer, Server};
use super::signal::Signal;
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::{Reason, Verdict, write_reason};
use crate::leg::Sdp;
use crate::leg::carried::Carried;
use crate::side::Side;
use crate::tag::Tag;

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
        if self.refused_fork(remote_tag(&message)).is_some() {
            return;
        }
        if let Some(fork) = self.fork(ctx, remote_tag(&message)) {
            self.submit(ctx, from, Signal::Ring { message, fork });
        }
    }

    /// The early dialog of a To tag; `None` at the limit.
    pub(super) fn fork(&mut self, ctx: &mut Context<'_>, remote_tag: &str) -> Option<usize> {
        let Some(setup) = self.invite.as_deref_mut()?.setup.as_deref_mut() else { return Some(0) };
        if let Some(known) = setup.forks.iter().position(|fork| *fork.remote_tag == *remote_tag) {
            return Some(known);
        }
        if setup.forks.len() >= ctx.config.limits.forks {
            return None;
        }
        let tag = if setup.forks.is_empty() {
            self.legs.a.tag
        } else {
            // Each early dialog of B is one of A.
            let tag = Tag::mint(ctx.config.shard, &mut ctx.shared.rng);
            ctx.shared.tags.insert(tag, (self.id, Side::A));
            tag
        };
        setup.forks.push(Fork { remote_tag: remote_tag.into(), tag, refused: None });
        Some(setup.forks.len() - 1)
    }

    /// A provisional response goes on.
    pub(super) fn send_provisional(&mut self, ctx: &mut Context<'_>, message: &Message, fork: usize) {
        let Some(invite) = self.invite.as_deref() else { return };
        let Server::Proceeding { key, request } = &invite.server else { return };
        let (from, key) = (invite.from, *key);
        let forked = invite.setup.as_ref().and_then(|setup| setup.forks.get(fork)).map(|fork| fork.tag);
        let tag = forked.unwrap_or(self.legs[from].tag).text();
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
    pub(super) fn refuse_ring(
        &mut self,
        ctx: &mut Context<'_>,
        message: &Message,
        fork: usize,
        verdict: Verdict,
    ) {
        let Some(setup) = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut()) else {
            return;
        };
        let alive = setup.forks.iter().filter(|fork| fork.refused.is_none()).count();
        let Some(fork) = setup.forks.get_mut(fork).filter(|_| alive > 1) else {
            return self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict });
        };
        let reason = verdict.reason();
        fork.refused = Some(reason);
        //= RFC 3261 §15: the caller's side may end one early dialog with BYE; the INVITE goes on.
        let dialog = setup.uac.as_ref().and_then(|initial| Dialog::uac(initial, message).ok());
        let Some(mut dialog) = dialog else { return };
        let builder = write_reason(dialog.request(&Method::Bye), Some(reason), None);
        let sip = Sip { reason: reason.cause, ..Sip::new(&Method::Bye, 0) };
        let key = ctx.request(self.to(Side::B), None, self.legs.b.hop, builder, sip);
        // Nobody waits for the answer.
        ctx.shared.clients.remove(&key);
    }

    /// Why an early dialog was ended before it answered.
    pub(super) fn refused_fork(&self, remote_tag: &str) -> Option<Reason> {
        let forks = &self.invite.as_deref()?.setup.as_deref()?.forks;
        forks.iter().find(|fork| *fork.remote_tag == *remote_tag)?.refused
    }
}

pub(super) fn remote_tag(message: &Message) -> &str {
    message.to().ok().and_then(|to| to.tag()).unwrap_or_default()
}

impl Invite {
    /// The tag on leg A of the early dialog with this To tag.
    pub(super) fn tag_of(&self, remote_tag: &str) -> Option<Tag> {
        let forks = &self.setup.as_ref()?.forks;
        forks.iter().find(|fork| *fork.remote_tag == *remote_tag).map(|fork| fork.tag)
    }
}
