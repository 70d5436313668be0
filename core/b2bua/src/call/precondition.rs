//! Preconditions of the INVITE that makes a call: RFC 3312, RFC 4032; `docs/calls.md` §5; draft §4.1.1, figures 6 and 7.
//! How far one of ours is in each early dialog: [`crate::precondition::progress`].

use std::time::Duration;

use sdp::precondition::Strength;
use sip::message::{Message, Method, Name};

use super::Call;
use super::early::Pair;
use super::invite::Server;
use super::own::{Outcome, Purpose};
use super::reliable::rseq;
use super::signal::Signal;
use crate::config::PreconditionType;
use crate::context::Context;
use crate::event::Sip;
use crate::failure::Verdict;
use crate::leg::body::Body;
use crate::leg::headers::PRECONDITION;
use crate::leg::{Sdp, headers, requirement};
use crate::precondition::progress::{Action, Happening, State};
use crate::precondition::text;
use crate::side::Side;

/// What leg B is offered by way of preconditions.
#[derive(Debug, Clone)]
pub(super) enum Offering {
    /// What the caller wants.
    AsItCame,
    /// A plain caller's offer with lines of ours.
    Inserted(Box<Insertion>),
    /// A plain caller's offer without lines of ours, because the callee refused them.
    Withdrawn,
    /// Without the caller's lines, because the callee refused them and the caller does not need them.
    Bare,
}

/// A precondition of ours.
#[derive(Debug, Clone)]
pub(super) struct Insertion {
    of: PreconditionType,
    /// How far it is, by the number of the early dialog.
    dialogs: Vec<State>,
}

/// The longest Retry-After that is waited for before UPDATE is sent again.
const RETRY_AFTER_MAX_S: u32 = 10;

impl Call {
    fn insertion(&self) -> Option<&Insertion> {
        match &self.setup()?.offering {
            Offering::Inserted(insertion) => Some(insertion),
            Offering::AsItCame | Offering::Withdrawn | Offering::Bare => None,
        }
    }

    /// The type that we have put in.
    pub(super) fn inserted_type(&self) -> Option<PreconditionType> {
        self.insertion().map(|insertion| insertion.of)
    }

    fn state_mut(&mut self, pair: Pair) -> Option<&mut State> {
        let setup = self.invite.as_deref_mut()?.setup.as_deref_mut()?;
        let (Offering::Inserted(insertion), Pair::Early(number)) = (&mut setup.offering, pair) else {
            return None;
        };
        let position = usize::from(number);
        if insertion.dialogs.len() <= position {
            insertion.dialogs.resize(position + 1, State::default());
        }
        insertion.dialogs.get_mut(position)
    }

    fn state(&self, pair: Pair) -> Option<State> {
        let insertion = self.insertion()?;
        match pair {
            Pair::Early(number) => {
                Some(insertion.dialogs.get(usize::from(number)).copied().unwrap_or_default())
            }
            Pair::Call => None,
        }
    }

    /// True once the callee has answered an offer of ours that the caller has not made.
    pub(super) fn has_answered_us(&self, pair: Pair) -> bool {
        self.state(pair).is_some_and(State::is_answered)
    }

    /// True while a 2xx waits for the answer to an UPDATE of ours.
    pub(super) fn is_informing(&self, pair: Pair) -> bool {
        self.state(pair).is_some_and(State::is_open)
    }

    /// True if a reliable answer inside a call takes effect only when its preconditions are met: until then the old session
    /// goes on, with its pinholes.
    //= RFC 3312 §6: both sides use the old session parameters until then.
    pub(super) fn suspends(&mut self, pair: Pair, answer: &Message) -> bool {
        let suspends = self.setup().is_none() && text::is_unmet(answer.body());
        if let Some(agreement) = self.agreement_mut(pair) {
            agreement.suspended = suspends;
        }
        suspends
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.agreement(Pair::Call).is_some_and(|agreement| agreement.suspended)
    }

    /// What waited for its preconditions takes effect: whoever offers again says that they are met, and so does a 2xx.
    pub(super) fn resume(&mut self, ctx: &mut Context<'_>) {
        if self.is_suspended() {
            if let Some(agreement) = self.agreement_mut(Pair::Call) {
                agreement.suspended = false;
            }
            self.complete_exchange(ctx, Pair::Call);
        }
    }

    /// How an answer travels: where we are the agent of a firewall on the path it says that the media passes.
    pub(super) fn as_answer(&self) -> Sdp {
        if self.ledger.has_path() { Sdp::Answers } else { Sdp::Passes }
    }

    /// The INVITE for leg B where its preconditions are not those of the caller.
    pub(super) fn offered_invite(
        &mut self,
        ctx: &Context<'_>,
        remote: std::net::SocketAddr,
        uri: &str,
    ) -> Option<Message> {
        let wanted = ctx.config.realm(self.legs.b.realm)?.policy.precondition;
        let has_path = self.ledger.has_path();
        let invite = self.invite.as_deref_mut()?;
        let (Server::Proceeding { request, .. }, Some(setup)) = (&invite.server, &mut invite.setup) else {
            return None;
        };
        match (&setup.offering, wanted) {
            (Offering::AsItCame, Some(of))
                if has_path && !ctx.shared.unwilling.contains(ctx.now, remote, uri) =>
            {
                let message = insert(request, of)?;
                setup.offering = Offering::Inserted(Box::new(Insertion { of, dialogs: Vec::new() }));
                // What the callee sends reliably ends here: the caller has not asked for it.
                invite.acknowledges = false;
                self.legs.a.hides = Some(of);
                Some(message)
            }
            (Offering::Bare, _) => requirement::bare(request, &text::bare(request.body())?),
            (Offering::AsItCame | Offering::Inserted(_) | Offering::Withdrawn, _) => None,
        }
    }

    /// A final failure of the callee to the first INVITE: true if it is about preconditions that nobody insists on. Then
    /// the INVITE is sent once more without.
    pub(super) fn offers_less(&mut self, ctx: &mut Context<'_>, failure: &Message) -> bool {
        let Some(request) = self.invite.as_deref().and_then(|invite| invite.server.request()) else {
            return false;
        };
        let weak = text::strength(request.body()) == Some(Strength::None);
        let Some(setup) = self.setup() else { return false };
        let less = match &setup.offering {
            Offering::Inserted(_) if objects(failure) => Offering::Withdrawn,
            Offering::AsItCame if weak && failure.status() == 420 && names_precondition(failure) => {
                Offering::Bare
            }
            Offering::AsItCame | Offering::Inserted(_) | Offering::Withdrawn | Offering::Bare => {
                return false;
            }
        };
        if matches!(less, Offering::Withdrawn) {
            self.note_unwilling(ctx);
        }
        self.forget_early(ctx, failure.status());
        self.offer_anew();
        if let Some(setup) = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut()) {
            setup.offering = less;
        }
        let hop = self.legs.b.hop;
        self.call_again(ctx, hop);
        true
    }

    /// The callee wants no lines of ours; the next call to it has none from the start.
    fn note_unwilling(&mut self, ctx: &mut Context<'_>) {
        let remote = self.legs.b.hop.remote;
        if let Some(uri) = self.uri_of_callee(ctx) {
            ctx.shared.unwilling.note(ctx.now, remote, &uri);
        }
    }

    /// The INVITE is to leave once more: what leg B is offered is thought over.
    pub(super) fn offer_anew(&mut self) {
        self.legs.a.hides = None;
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.acknowledges = invite.server.request().is_some_and(headers::supports_100rel);
        if let Some(setup) = &mut invite.setup {
            setup.offering = Offering::AsItCame;
        }
    }

    /// A provisional response whose pinholes are confirmed: true if it was for us, so that the caller does not see it.
    pub(super) fn on_inserted_ring(&mut self, ctx: &mut Context<'_>, message: &Message, pair: Pair) -> bool {
        let Some(of) = self.inserted_type() else { return false };
        let Body::Description(description) = Body::of(message) else { return false };
        if rseq(message).is_none() || !text::mentions(description, of.of()) {
            return false;
        }
        match self.on_happening(pair, Happening::Answered) {
            Action::Acknowledge => self.acknowledge_for_us(ctx, message, pair),
            Action::Show
            | Action::Nothing
            | Action::Update
            | Action::Pause
            | Action::Proceed
            | Action::Fail => return false,
        }
        true
    }

    fn on_happening(&mut self, pair: Pair, what: Happening) -> Action {
        let Some(state) = self.state_mut(pair) else { return Action::Nothing };
        let (next, action) = state.on(what);
        *state = next;
        action
    }

    /// PRACK for a response that only we see.
    fn acknowledge_for_us(&mut self, ctx: &mut Context<'_>, message: &Message, pair: Pair) {
        self.note_answer(pair, message);
        self.send_prack(ctx, message, pair, Purpose::Assure);
    }

    /// Something happened that nobody but us waits for.
    fn advance(&mut self, ctx: &mut Context<'_>, pair: Pair, what: Happening, pause: Duration) {
        if !self.is_pair_open(pair) {
            return;
        }
        match self.on_happening(pair, what) {
            Action::Update => self.submit(ctx, Side::A, Signal::Inform { pair }),
            Action::Pause => self.ask_again(ctx, (Side::B, pair), pause, Purpose::Inform),
            Action::Proceed => self.send_waiting_answer(ctx),
            // Whoever has answered all the same does not need our word.
            Action::Fail if self.has_waiting_answer() => self.send_waiting_answer(ctx),
            Action::Fail => {
                let (code, what) =
                    (ctx.config.codes.precondition, "the callee cannot be told that its media passes");
                let verdict = Verdict::new(code, PRECONDITION, what);
                let verdict = self.enforced_in_setup(&ctx.config.codes, verdict, None);
                self.refuse_ring(ctx, pair, verdict);
            }
            Action::Nothing | Action::Show | Action::Acknowledge => {}
        }
    }

    fn has_waiting_answer(&self) -> bool {
        self.invite.as_deref().is_some_and(|invite| invite.answer.is_some())
    }

    /// UPDATE: the media passes in both directions.
    pub(super) fn inform(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        let Some(of) = self.inserted_type().filter(|_| self.is_pair_open(pair)) else { return };
        let request = self.invite.as_deref().and_then(|invite| invite.server.request());
        let offer = request.and_then(|request| text::inserted(request.body(), of.of(), true));
        let begun = self.request_in(ctx, (Side::B, pair), &Method::Update, None);
        let (Some(offer), Some((builder, hop))) = (offer, begun) else { return };
        let builder = self.legs.b.contact(ctx.config, builder).header(Name::Require, PRECONDITION);
        //= RFC 3312 §7: a new offer, with the current status.
        self.keep_offered(Side::B, pair);
        let (builder, sdp) = self.legs.b.describe(ctx.config, builder, &offer, Sdp::Passes);
        self.note_told(Side::B, pair);
        let sip = Sip { sdp, ..Sip::new(&Method::Update, 0) };
        self.send_own(ctx, (Side::B, pair), (builder, hop), sip, Purpose::Inform);
    }

    /// The firewall has lost a pinhole and does not give it back: media does not pass.
    pub(super) fn refuse_inform(&mut self, ctx: &mut Context<'_>, pair: Pair, verdict: Verdict) {
        match self.has_waiting_answer() {
            true => self.advance(ctx, pair, Happening::Refused, Duration::ZERO),
            false => self.refuse_ring(ctx, pair, verdict),
        }
    }

    /// The pause is over.
    pub(super) fn inform_again(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        self.advance(ctx, pair, Happening::Due, Duration::ZERO);
    }

    /// Our PRACK is answered, or will not be.
    pub(super) fn on_assured(&mut self, ctx: &mut Context<'_>, pair: Pair, outcome: &Outcome) {
        let accepted = outcome.as_ref().is_ok_and(|response| response.status() < 300);
        let what = if accepted { Happening::Acknowledged } else { Happening::Refused };
        self.advance(ctx, pair, what, Duration::ZERO);
    }

    /// Our UPDATE is answered, or will not be.
    pub(super) fn on_informed(&mut self, ctx: &mut Context<'_>, pair: Pair, outcome: Outcome) {
        if self.insertion().is_none() || !self.is_pair_open(pair) {
            return;
        }
        match outcome {
            Ok(message) if message.status() < 300 => self.submit(ctx, Side::B, Signal::Met { message, pair }),
            Ok(message) => match self.pause_after(ctx, &message) {
                Some(pause) => self.advance(ctx, pair, Happening::Postponed, pause),
                None => self.advance(ctx, pair, Happening::Refused, Duration::ZERO),
            },
            Err(_) => self.advance(ctx, pair, Happening::Refused, Duration::ZERO),
        }
    }

    /// When a refused UPDATE may be sent again.
    fn pause_after(&self, ctx: &mut Context<'_>, refusal: &Message) -> Option<Duration> {
        if refusal.status() == 491 {
            //= RFC 3311 §5.3, RFC 3261 §14.1: 2.1 to 4 s, because the Call-ID is ours.
            return Some(Duration::from_millis(10 * (210 + ctx.shared.rng.below(191))));
        }
        //= RFC 3311 §5.3: a 500 with Retry-After says when to try again.
        let value = refusal.header(Name::RetryAfter).filter(|_| refusal.status() == 500)?;
        let seconds: u32 = std::str::from_utf8(value).ok()?.split([' ', ';', '(']).next()?.parse().ok()?;
        (seconds <= RETRY_AFTER_MAX_S).then(|| Duration::from_secs(u64::from(seconds)))
    }

    /// The pinholes of what the callee answered to our UPDATE are confirmed: this is what the caller will get.
    pub(super) fn on_met(&mut self, ctx: &mut Context<'_>, message: &Message, pair: Pair) {
        if !self.is_pair_open(pair) {
            return;
        }
        if let Some(dialog) = self.dialog_mut(Side::B, pair) {
            // A Contact that cannot be read leaves the peer where it was.
            let _unreadable = dialog.refresh(message);
        }
        //= RFC 3311 §5.1: the 2xx answers; one that does not leaves the answer before as it was.
        self.note_answer(pair, message);
        self.advance(ctx, pair, Happening::Updated, Duration::ZERO);
    }
}

/// A plain caller's INVITE with a precondition of ours; `None` where there is nothing to be put in.
fn insert(invite: &Message, of: PreconditionType) -> Option<Message> {
    let Body::Description(description) = Body::of(invite) else { return None };
    if !text::is_plain(description) || invite.tokens(Name::Require).any(is_precondition) {
        return None;
    }
    requirement::asking(invite, &text::inserted(description, of.of(), false)?)
}

/// True if a failure says that the callee takes no part in what we have asked for.
fn objects(failure: &Message) -> bool {
    match failure.status() {
        420 => names_precondition(failure) || failure.header(Name::Unsupported).is_none(),
        //= RFC 3312 §8, §9: whoever cannot meet a precondition, or does not know its type.
        580 => true,
        _ => false,
    }
}

fn names_precondition(failure: &Message) -> bool {
    failure.tokens(Name::Unsupported).any(is_precondition)
}

fn is_precondition(option: &str) -> bool {
    option.eq_ignore_ascii_case(PRECONDITION)
}
