//! Early dialogs: RFC 3261 §12.1, §13.2.2.4; `docs/calls.md` §4, "several early dialogs".
//!
//! ```text
//!   18x with a new To tag --> on leg B a UAC's dialog, on leg A a UAS's with a tag of its own
//!        its 2xx          --> the pair becomes the call's
//!        its pinholes refused, or BYE from A --> ended; the others go on
//! ```
//!
//! Everything that belongs to a dialog goes over with it: sequence numbers, remote target, route set.

use sdp::Session;
use sip::dialog::Dialog;
use sip::message::{Builder, Message, Method};
use sip::transport::Hop;

use super::Call;
use super::invite::{Invite, Server, Setup};
use super::offer::Agreement;
use crate::context::Context;
use crate::event::{Cause, Sip};
use crate::failure::{Failed, Reason, Verdict, write_reason};
use crate::ledger::Dialogs;
use crate::leg::description::Description;
use crate::leg::headers;
use crate::side::{Side, Sides};
use crate::tag::Tag;

/// One early dialog of B, and the one on leg A that stands for it.
#[derive(Debug, Clone)]
pub(super) struct EarlyDialog {
    /// Our tag on leg A.
    pub(super) tag: Tag,
    /// A side's is taken out when it has become the call's.
    pub(super) dialogs: Sides<Option<Dialog>>,
    /// Why it was ended before it answered; an answer of it is of no use any more.
    pub(super) ended: Option<Reason>,
    pub(super) agreement: Agreement,
    /// What each peer has been told last in it, once there are others: a leg remembers only what it said last of all.
    pub(super) told: Sides<Option<Description>>,
}

/// A pair of dialogs, one on each leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// The call's own.
    Call,
    /// The early one with this number.
    Early(u8),
}

impl Pair {
    /// The number of an early one.
    pub(super) fn early(self) -> Option<usize> {
        match self {
            Self::Call => None,
            Self::Early(number) => Some(number.into()),
        }
    }
}

impl EarlyDialog {
    /// True while requests and responses in it matter.
    pub(super) fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    fn remote_tag(&self) -> Option<&str> {
        self.dialogs.b.as_ref().map(Dialog::remote_tag)
    }
}

impl Setup {
    /// The early dialog a response of B belongs to.
    pub(super) fn early_of(&self, response: &Message) -> Option<u8> {
        let tag = remote_tag(response);
        (0..).zip(&self.early).find(|(_, early)| early.remote_tag() == Some(tag)).map(|(number, _)| number)
    }

    /// How many early dialogs are alive.
    pub(super) fn alive(&self) -> usize {
        self.early.iter().filter(|early| early.is_alive()).count()
    }
}

/// The offer that every early dialog begins with.
fn offer_of(invite: Option<&Invite>) -> Option<Session<'_>> {
    Session::parse(invite?.server.request()?.body()).ok()
}

pub(super) fn remote_tag(message: &Message) -> &str {
    message.to().ok().and_then(|to| to.tag()).unwrap_or_default()
}

impl Call {
    pub(super) fn setup(&self) -> Option<&Setup> {
        self.invite.as_deref()?.setup.as_deref()
    }

    pub(super) fn early(&self, number: u8) -> Option<&EarlyDialog> {
        self.setup()?.early.get(usize::from(number))
    }

    pub(super) fn early_mut(&mut self, number: u8) -> Option<&mut EarlyDialog> {
        self.invite.as_deref_mut()?.setup.as_deref_mut()?.early.get_mut(usize::from(number))
    }

    /// The pair of dialogs a response to our INVITE belongs to. One that is not known yet is made, unless there are too many;
    /// then there is room only for the one that `wins`.
    pub(super) fn pair_of_response(
        &mut self,
        ctx: &mut Context<'_>,
        response: &Message,
        wins: bool,
    ) -> Option<Pair> {
        let Some(setup) = self.setup() else { return Some(Pair::Call) };
        if let Some(known) = setup.early_of(response) {
            return Some(Pair::Early(known));
        }
        // Those of a target that has failed are gone, but keep their numbers.
        let known = setup.early.iter().filter(|early| early.dialogs.b.is_some()).count();
        let full = known >= ctx.config.limits.forks.min(usize::from(u8::MAX));
        if full && !wins { None } else { self.make_early(ctx, response).map(Pair::Early) }
    }

    fn make_early(&mut self, ctx: &mut Context<'_>, response: &Message) -> Option<u8> {
        let invite = self.invite.as_deref_mut()?;
        let setup = invite.setup.as_deref_mut()?;
        let number = u8::try_from(setup.early.len()).ok()?;
        let b = Dialog::uac(setup.uac.as_ref()?, response).ok()?;
        let (tag, a) = match setup.uas.take() {
            Some(prepared) => (self.legs.a.tag, prepared),
            None => {
                //= RFC 3261 §12.1.1: each early dialog of B is one of A, with a tag of its own.
                let Server::Proceeding { request, .. } = &invite.server else { return None };
                let tag = Tag::mint(ctx.config.shard, &mut ctx.shared.rng);
                (tag, Dialog::uas(request, tag.text().as_str()).ok()?)
            }
        };
        ctx.shared.tags.insert(tag, (self.id, Side::A));
        let (dialogs, agreement) = (Sides { a: Some(a), b: Some(b) }, Agreement::new(invite.offer));
        // Most calls have one.
        setup.early.reserve_exact(1);
        let told = |side: Side| Some(self.legs[side].description.clone());
        let mut own = Sides::default();
        if number > 0 {
            own.b = setup.offered.as_deref().cloned().or_else(|| told(Side::B));
        }
        if let [only] = &mut *setup.early {
            only.told = Sides { a: told(Side::A), b: told(Side::B) };
        }
        setup.early.push(EarlyDialog { tag, dialogs, ended: None, agreement, told: own });
        if number > 0 {
            let offer = offer_of(self.invite.as_deref());
            self.ledger.forked(offer.as_ref());
        }
        Some(number)
    }

    /// True for an early dialog if another one has won, and its answer has gone to the ledger.
    pub(super) fn has_lost(&self, pair: Pair) -> bool {
        self.has_other_won(pair) && !self.ledger.is_undecided()
    }

    /// True for an early dialog if another one has won, be its answer held or not.
    pub(super) fn has_other_won(&self, pair: Pair) -> bool {
        let winner = self.setup().and_then(|setup| setup.winner).map(Pair::Early);
        winner.is_some_and(|winner| pair != Pair::Call && pair != winner)
    }

    /// A description is about to go to a side in an early dialog: whoever is heard of later knows only that of the INVITE.
    pub(super) fn keep_offered(&mut self, side: Side, pair: Pair) {
        let sent = || Some(Box::new(self.legs[side].description.clone()));
        let setup = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut());
        if let Some(setup) = setup.filter(|_| side == Side::B && pair != Pair::Call) {
            setup.offered = setup.offered.take().or_else(sent);
        }
    }

    /// What a side has been told last is now what it has been told last in this pair of dialogs.
    pub(super) fn note_told(&mut self, side: Side, pair: Pair) {
        if !self.has_rivals() {
            return;
        }
        let told = self.legs[side].description.clone();
        if let Pair::Early(number) = pair
            && let Some(early) = self.early_mut(number)
        {
            early.told[side] = Some(told);
        }
    }

    /// Lets the ledger work on what is exchanged in a pair of dialogs; false if another one has won.
    pub(super) fn turn_to(&mut self, pair: Pair) -> bool {
        if self.has_lost(pair) {
            return false;
        }
        if let Some(number) = pair.early() {
            self.ledger.turn_to(number);
        }
        true
    }

    /// The answer of this pair is the call's.
    pub(super) fn decide(&mut self, pair: Pair) {
        if let Some(number) = pair.early().filter(|_| self.ledger.is_undecided()) {
            self.ledger.decided(number);
        }
    }

    /// The first 2xx wins: on leg B its dialog is the call's, and on leg A its tag. A's dialog follows with the 2xx.
    pub(super) fn win(&mut self, ctx: &mut Context<'_>, answer: &Message) -> bool {
        let Some(Pair::Early(number)) = self.pair_of_response(ctx, answer, true) else { return false };
        let Some(early) = self.early_mut(number) else { return false };
        let told = std::mem::take(&mut early.told);
        let (tag, Some(mut dialog)) = (early.tag, early.dialogs.b.take()) else { return false };
        //= RFC 3261 §13.2.2.4: route set and target are those of the 2xx.
        let usable = dialog.confirm_by(answer).is_ok();
        self.legs.b.dialog = Some(dialog);
        self.legs.a.tag = tag;
        for (leg, told) in [(&mut self.legs.a, told.a), (&mut self.legs.b, told.b)] {
            // Whoever has been told nothing in it keeps the version, which is new to nobody who knows of the others.
            if let Some(told) = told.filter(Description::is_told) {
                leg.description = told;
            }
        }
        if let Some(setup) = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut()) {
            setup.winner = Some(number);
        }
        self.ledger.won(usize::from(number));
        usable
    }

    /// The 2xx goes to A: the dialog that has won is the call's there as well.
    pub(super) fn confirm_on_a(&mut self) {
        let Some(number) = self.setup().and_then(|setup| setup.winner) else { return };
        let Some(mut dialog) = self.early_mut(number).and_then(|early| early.dialogs.a.take()) else {
            return;
        };
        dialog.confirm();
        self.legs.a.dialog = Some(dialog);
    }

    /// False if responses and requests in it are of no use any more.
    pub(super) fn is_pair_alive(&self, pair: Pair) -> bool {
        match pair {
            Pair::Call => true,
            Pair::Early(number) => self.early(number).is_some_and(EarlyDialog::is_alive),
        }
    }

    /// True while what is said in it may still be the call's: it has neither ended nor lost.
    pub(super) fn is_pair_open(&self, pair: Pair) -> bool {
        self.is_pair_alive(pair) && !self.has_other_won(pair)
    }

    /// Our tag in a pair of dialogs.
    pub(super) fn tag_of(&self, side: Side, pair: Pair) -> Tag {
        let early = match (side, pair) {
            (Side::A, Pair::Early(number)) => self.early(number),
            (Side::A | Side::B, _) => None,
        };
        early.map_or(self.legs[side].tag, |early| early.tag)
    }

    /// Some early dialogs have lost a rule that they cannot do without: they end, and the call with the last of them, or with
    /// the one that has won.
    pub(super) fn lose_early(
        &mut self,
        ctx: &mut Context<'_>,
        dialogs: Dialogs,
        (cause, verdict): (fn(u16) -> Cause, Verdict),
    ) {
        let Some(setup) = self.setup() else { return };
        let early = (0..).zip(&setup.early);
        let alive: Vec<u8> = early.filter(|(_, early)| early.is_alive()).map(|(number, _)| number).collect();
        let (lost, left): (Vec<u8>, Vec<u8>) =
            alive.iter().partition(|number| dialogs.contains(usize::from(**number)));
        let won = |number: &u8| setup.winner == Some(*number);
        if left.is_empty() || lost.iter().any(won) {
            return self.cut_in_setup(ctx, lost.first().copied(), (cause, verdict));
        }
        for number in lost {
            let verdict = self.enforced_in_setup(&ctx.config.codes, verdict.clone(), Some(number));
            self.end_early(ctx, number, (verdict.reason(), verdict.failed.as_deref()), None);
        }
    }

    /// Ends one early dialog; the others and the INVITE go on.
    //= RFC 3261 §15: the caller's side may end one early dialog with BYE.
    pub(super) fn end_early(
        &mut self,
        ctx: &mut Context<'_>,
        number: u8,
        (reason, failed): (Reason, Option<&Failed>),
        passed_on: Option<&Message>,
    ) {
        let Some(early) = self.early_mut(number) else { return };
        early.ended = Some(reason);
        early.agreement.stop(ctx);
        self.drop_own_in(ctx, Pair::Early(number));
        self.ledger.ended(ctx.now, number.into(), &mut ctx.shared.ids, &mut ctx.shared.requests);
        self.ask(ctx);
        let ours = passed_on.is_none().then_some(reason);
        let side = (Side::B, Pair::Early(number));
        let Some((builder, hop)) = self.request_in(ctx, side, &Method::Bye, passed_on) else { return };
        let builder = write_reason(builder, ours, passed_on);
        let builder = self.explain_failed(ctx, builder, Side::B, failed);
        let sip = Sip { reason: ours.map_or(0, |reason| reason.cause), ..Sip::new(&Method::Bye, 0) };
        let key = ctx.request(self.to(Side::B), None, hop, builder, sip);
        // Nobody waits for the answer.
        ctx.shared.clients.remove(&key);
        self.drop_exchanges_in(ctx, Pair::Early(number));
    }

    /// Why the early dialog of a response was ended before it answered.
    pub(super) fn why_ended(&self, response: &Message) -> Option<Reason> {
        let setup = self.setup()?;
        self.early(setup.early_of(response)?)?.ended
    }

    /// The early dialogs go with their INVITE: what was under way in the one that has won goes on in the call.
    pub(super) fn drop_early(&mut self, ctx: &mut Context<'_>, setup: &Setup) {
        for early in setup.early.iter().filter(|early| early.tag != self.legs.a.tag) {
            ctx.shared.tags.remove(&early.tag);
        }
        self.move_exchanges(ctx, setup.winner);
        self.move_own(ctx, setup.winner);
    }

    /// The pair of dialogs that a request belongs to: Call-ID and both tags.
    pub(super) fn pair_of_request(&self, from: Side, request: &Message) -> Option<Pair> {
        self.pair_where(from, |dialog| dialog.is_of_request(request))
    }

    /// The pair of dialogs whose dialog on this side is such.
    pub(super) fn pair_where(&self, from: Side, is: impl Fn(&Dialog) -> bool) -> Option<Pair> {
        let is_it = |dialog: &Option<Dialog>| dialog.as_ref().is_some_and(&is);
        if is_it(&self.legs[from].dialog) {
            return Some(self.setup().and_then(|setup| setup.winner).map_or(Pair::Call, Pair::Early));
        }
        let early = (0..).zip(&self.setup()?.early).find(|(_, early)| is_it(&early.dialogs[from]));
        early.map(|(number, _)| Pair::Early(number))
    }

    /// The dialog of a side.
    pub(super) fn dialog(&self, side: Side, pair: Pair) -> Option<&Dialog> {
        match pair {
            Pair::Call => self.legs[side].dialog.as_ref(),
            Pair::Early(number) => {
                let won = self.setup()?.winner == Some(number);
                let early = self.early(number)?.dialogs[side].as_ref();
                early.or_else(|| self.legs[side].dialog.as_ref().filter(|_| won))
            }
        }
    }

    pub(super) fn dialog_mut(&mut self, side: Side, pair: Pair) -> Option<&mut Dialog> {
        let leg = &mut self.legs[side];
        match pair {
            Pair::Call => leg.dialog.as_mut(),
            Pair::Early(number) => {
                let setup = self.invite.as_deref_mut()?.setup.as_deref_mut()?;
                let won = setup.winner == Some(number);
                let early = setup.early.get_mut(usize::from(number))?.dialogs[side].as_mut();
                early.or_else(|| leg.dialog.as_mut().filter(|_| won))
            }
        }
    }

    /// A request of ours in a dialog, and where it goes; `passed_on` is the one that it passes on.
    pub(super) fn request_in(
        &mut self,
        ctx: &Context<'_>,
        (side, pair): (Side, Pair),
        method: &Method,
        passed_on: Option<&Message>,
    ) -> Option<(Builder, Hop)> {
        let hop = self.legs[side].hop_of(ctx.config, self.dialog(side, pair)?);
        let dialog = self.dialog_mut(side, pair)?;
        //= RFC 7332 §5: hops are counted through a B2BUA for every request that it passes on.
        let builder = match passed_on {
            Some(request) => dialog.request_with_hops(method, headers::max_forwards(request)),
            None => dialog.request(method),
        };
        let builder = self.legs[side].session.ask(builder, method);
        Some((self.session_id.write(builder, side), hop))
    }
}
