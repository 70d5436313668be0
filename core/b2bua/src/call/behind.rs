//! Somebody is called in place of one whose phone rings and rings: its INVITE is cancelled, and nobody waits for it.
//! RFC 3261 §16.8, §9.1.
//!
//! ```text
//!   left --CANCEL--> behind --final failure--> gone      --2xx that crosses the CANCEL: ACK, BYE--> gone
//! ```
//!
//! What is still behind when the call is over is forgotten with it.

use sip::endpoint::ClientKey;
use sip::message::{Message, Method, Name};
use sip::transport::Hop;

use super::Call;
use super::invite::Client;
use super::stray;
use crate::context::Context;
use crate::event::Sip;
use crate::failure::Reason;
use crate::side::Side;

/// An INVITE of ours that nobody waits for.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    key: ClientKey,
    hop: Hop,
    reason: Reason,
}

impl Call {
    /// Gives the INVITE under way to the callee up, and with it whoever was called.
    pub(super) fn leave_behind(&mut self, ctx: &mut Context<'_>, reason: Reason) {
        let (to, hop) = (self.to(Side::B), self.legs.b.hop);
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (Client::Calling { key } | Client::Proceeding { key }) = invite.client else { return };
        invite.client = Client::Done;
        ctx.stop(&mut invite.timer);
        let session_id = self.session_id.of_invite(Side::B, true);
        let reasons = crate::failure::reasons(Some(reason), None);
        let mut extra: Vec<(Name, &[u8])> = vec![(Name::SessionId, session_id.as_bytes())];
        extra.extend(reasons.iter().map(|reason| (Name::Reason, &**reason)));
        let sip = Sip { reason: reason.cause, ..Sip::new(&Method::Cancel, 0) };
        //= RFC 3261 §9.1: CANCEL only after a provisional response; without one there is nothing to end.
        match ctx.cancel(to, key, (&extra, &[]), sip) {
            true => self.behind.push(Behind { key, hop, reason }),
            false => {
                ctx.abandon(key);
            }
        }
    }

    pub(super) fn is_behind(&self, key: ClientKey) -> bool {
        self.behind.iter().any(|behind| behind.key == key)
    }

    pub(super) fn drop_behind(&mut self, key: ClientKey) {
        self.behind.retain(|behind| behind.key != key);
    }

    pub(super) fn on_response_behind(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: &Message) {
        self.received(ctx, Side::B, message);
        if message.status() < 200 {
            return;
        }
        let position = self.behind.iter().position(|behind| behind.key == key);
        let Some(Behind { hop, reason, .. }) = position.map(|position| self.behind.remove(position)) else {
            return;
        };
        //= RFC 3261 §9.1: CANCEL came too late; the dialog it made is ended.
        if message.status() < 300 {
            ctx.shared.clients.remove(&key);
            stray::refuse_only(ctx, self.to(Side::B), (key, hop), message, reason);
        }
    }

    /// The call is over, and nobody is left to hear of it.
    pub(super) fn forget_behind(&mut self, ctx: &mut Context<'_>) {
        for Behind { key, .. } in self.behind.drain(..) {
            ctx.abandon(key);
        }
    }
}
