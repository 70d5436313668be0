//! A 2xx that makes a dialog nobody wants: acknowledged and ended at once. RFC 3261 §13.2.2.4, §9.1.

use sip::dialog::{Dialog, Initial};
use sip::endpoint::ClientKey;
use sip::message::{Message, Method};
use sip::transport::Hop;

use super::out::without_tag;
use crate::config::Config;
use crate::context::{Context, Recipient};
use crate::event::Sip;
use crate::failure::{Reason, write_reason};

/// Counts one more stray 2xx to an INVITE; false if that is too many.
//= RFC 3261 §13.3.1.4: whoever gets no ACK for its 2xx ends the dialog itself after 64*T1.
pub(crate) fn has_room(strays: &mut u8, config: &Config) -> bool {
    let room = usize::from(*strays) < config.limits.strays.min(u8::MAX.into());
    *strays += u8::from(room);
    room
}

/// ACK and BYE for a 2xx to an INVITE of ours; `hop` is where the INVITE went.
pub(crate) fn refuse(ctx: &mut Context<'_>, to: Recipient, hop: Hop, answer: &Message, reason: Reason) {
    let Some(mut dialog) = dialog(answer) else { return };
    let number = answer.cseq().map_or(0, |cseq| cseq.number);
    ctx.ack_once(to, hop, dialog.ack(number), Sip::new(&Method::Ack, 0));
    bye(ctx, to, hop, &mut dialog, reason);
}

/// The same for the one 2xx that an INVITE has: if it is repeated, so is the ACK.
//= RFC 3261 §13.2.2.4: an ACK for every 2xx that arrives, also for one that nobody wants.
pub(crate) fn refuse_only(
    ctx: &mut Context<'_>,
    to: Recipient,
    (invite, hop): (ClientKey, Hop),
    answer: &Message,
    reason: Reason,
) {
    let Some(mut dialog) = dialog(answer) else { return };
    let number = answer.cseq().map_or(0, |cseq| cseq.number);
    let builder = dialog.ack(number);
    ctx.ack(to, invite, dialog.remote_tag(), hop, builder, Sip::new(&Method::Ack, 0));
    bye(ctx, to, hop, &mut dialog, reason);
}

fn bye(ctx: &mut Context<'_>, to: Recipient, hop: Hop, dialog: &mut Dialog, reason: Reason) {
    let builder = write_reason(dialog.request(&Method::Bye), Some(reason), None);
    let sip = Sip { reason: reason.cause, ..Sip::new(&Method::Bye, 0) };
    let key = ctx.request(to, None, hop, builder, sip);
    // Nobody waits for the answer.
    ctx.shared.clients.remove(&key);
}

/// The dialog, made of the answer alone: all that was ours stands in it.
fn dialog(answer: &Message) -> Option<Dialog> {
    let (from, to) = (answer.from().ok()?, answer.to().ok()?);
    let target = answer.contacts().next()?.ok()?.uri();
    let (local, remote) = (without_tag(&from), without_tag(&to));
    let cseq = answer.cseq().ok()?.number;
    let initial =
        Initial::new(answer.call_id().ok()?, (&local, from.tag()?), &remote, target, &[], cseq).ok()?;
    Dialog::uac(&initial, answer).ok()
}
