//! A call through which nothing passes any more ends: `docs/calls.md` §7, `media-timeout`.
//!
//! ```text
//!   quiet since T --a counter has moved, hold, or nobody can tell--> quiet since now
//!                 --every rule has told, none has moved, T is over--> both sides get BYE
//! ```
//!
//! The middlebox is asked once in each period, for all rules of the call together; where packets cross one of a pair, both are.
//! Silence counts only where every rule told its number twice and it was the same: no answer, a refusal, a rule left out or
//! a lost session begin anew.

use std::time::Duration;

use machine::{Instant, TimerId};
use midcom::{Failure, MiddleboxId, Passed, Prid, Reply, Request, RequestId};

use super::Call;
use super::ending::Cut;
use crate::agents::Asker;
use crate::context::{Context, Wake};
use crate::event::Cause;
use crate::failure::Verdict;
use crate::ledger::LedgerRequest;

/// The shortest and the longest time between two looks at one call.
const PERIOD_MIN: Duration = Duration::from_secs(1);
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// Rules that one question may name (512 in SIMCO); a call with more is not judged.
const RULES_MAX: usize = 512;

/// What is known of a call's media.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// When something was last known or believed to pass.
    since: Instant,
    /// What passed each rule when it was last asked, by middlebox; empty before.
    passed: Vec<Told>,
    /// No media was expected when the last exchange was complete.
    on_hold: bool,
    /// Those without an answer: one, or one for each of a pair.
    questions: Vec<Question>,
    /// What has been answered already while another question is open.
    told: Vec<Told>,
    timer: Option<TimerId>,
}

/// What a middlebox says of its rules.
type Told = (MiddleboxId, Vec<Passed>);

/// A question under way.
#[derive(Debug, Clone)]
struct Question {
    id: RequestId,
    middlebox: MiddleboxId,
    prids: Vec<Prid>,
}

impl Watch {
    fn new(now: Instant) -> Self {
        let (passed, questions, told) = (Vec::new(), Vec::new(), Vec::new());
        Self { since: now, passed, on_hold: false, questions, told, timer: None }
    }

    /// Nobody can tell whether something passes.
    fn begin_anew(&mut self, now: Instant) {
        self.since = now;
        self.questions.clear();
        self.told.clear();
        self.passed.clear();
    }

    /// Takes what a middlebox says. Only when all have said it something follows.
    fn counted(&mut self, now: Instant, question: &Question, passed: Vec<Passed>) {
        if !passed.iter().map(|one| one.prid).eq(question.prids.iter().copied()) {
            return self.begin_anew(now);
        }
        self.told.push((question.middlebox, passed));
        if !self.questions.is_empty() {
            return;
        }
        let mut told = std::mem::take(&mut self.told);
        told.sort_unstable_by_key(|(middlebox, _)| *middlebox);
        let nothing = told.iter().flat_map(|(_, passed)| passed).all(|one| one.packets == 0);
        let first = self.passed.is_empty() && nothing;
        // A counter that is less than it was belongs to an entry made anew: movement as well.
        if !first && self.passed != told {
            self.since = now;
        }
        self.passed = told;
    }
}

/// How often a call is looked at.
fn period(timeout: Duration) -> Duration {
    (timeout / 4).clamp(PERIOD_MIN, PERIOD_MAX)
}

impl Call {
    /// The call is established: from now on it is looked at, if calls without media are to end.
    pub(super) fn watch_media(&mut self, ctx: &mut Context<'_>) {
        if ctx.config.policy.media_timeout.is_some() && self.ending.is_none() && self.ledger.has_path() {
            self.media = Some(Box::new(Watch::new(ctx.now)));
            self.time_media(ctx);
        }
    }

    pub(super) fn unwatch_media(&mut self, ctx: &mut Context<'_>) {
        if let Some(mut watch) = self.media.take() {
            ctx.stop(&mut watch.timer);
        }
    }

    fn time_media(&mut self, ctx: &mut Context<'_>) {
        if let (Some(watch), Some(timeout)) = (self.media.as_deref_mut(), ctx.config.policy.media_timeout) {
            watch.timer = Some(ctx.wake(self.id, period(timeout), Wake::Media));
        }
    }

    /// An exchange is complete: the time on hold counts for nothing.
    pub(super) fn note_media_hold(&mut self, ctx: &mut Context<'_>) {
        let on_hold = !self.ledger.expects_media();
        if let Some(watch) = self.media.as_deref_mut() {
            if on_hold || watch.on_hold {
                watch.since = ctx.now;
            }
            watch.on_hold = on_hold;
        }
    }

    pub(super) fn on_media_due(&mut self, ctx: &mut Context<'_>) {
        let agents = &ctx.shared.agents;
        let mut asked = self.ledger.countable(|middlebox| agents.counts(middlebox));
        if asked.iter().any(|(_, prids)| prids.len() > RULES_MAX) || !self.ledger.expects_media() {
            asked.clear();
        }
        let Some(watch) = self.media.as_deref_mut() else { return };
        // The last question has had no answer, or there is none to ask.
        if asked.is_empty() || !watch.questions.is_empty() {
            watch.begin_anew(ctx.now);
            asked.clear();
        }
        for (middlebox, prids) in asked {
            let id = ctx.shared.ids.mint();
            let request = Request::Count { prids: prids.clone() };
            watch.questions.push(Question { id, middlebox, prids });
            ctx.ask(LedgerRequest { middlebox, id, request }, Asker::Count(self.id));
        }
        self.time_media(ctx);
    }

    /// A middlebox says what has passed, or why not.
    pub(crate) fn on_counted(
        &mut self,
        ctx: &mut Context<'_>,
        id: RequestId,
        result: Result<Reply, Failure>,
    ) {
        let timeout = ctx.config.policy.media_timeout;
        let (Some(watch), Some(timeout)) = (self.media.as_deref_mut(), timeout) else { return };
        let Some(at) = watch.questions.iter().position(|question| question.id == id) else { return };
        let question = watch.questions.remove(at);
        match result {
            Ok(Reply::Counted(passed)) => watch.counted(ctx.now, &question, passed),
            Ok(_) | Err(_) => watch.begin_anew(ctx.now),
        }
        let quiet = watch.questions.is_empty() && ctx.now.since(watch.since) >= timeout;
        if quiet && self.ledger.expects_media() {
            let what = format!("nothing passed the firewall for {} s", timeout.as_secs());
            let verdict = Verdict::new(408, "no media", what);
            self.cut(ctx, Cut { cause: Cause::Cut(408), verdict });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FW: MiddleboxId = MiddleboxId(0);

    fn seconds(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// A watch that is told at each second what has passed rules 1 and 2; when it was last not quiet.
    fn quiet_since(told: &[[u64; 2]]) -> Instant {
        let mut watch = Watch::new(Instant::ZERO);
        for (at, packets) in (1..).zip(told) {
            let question = Question { id: RequestId(at), middlebox: FW, prids: vec![Prid(1), Prid(2)] };
            let passed =
                (1..).map(Prid).zip(packets).map(|(prid, packets)| Passed { prid, packets: *packets });
            watch.counted(seconds(at), &question, passed.collect());
        }
        watch.since
    }

    #[test]
    fn a_call_that_never_had_media_is_quiet_from_its_first_moment() {
        assert_eq!(quiet_since(&[[0, 0], [0, 0]]), Instant::ZERO);
    }

    #[test]
    fn what_passed_before_the_first_look_may_have_passed_just_now() {
        assert_eq!(quiet_since(&[[7, 0], [7, 0]]), seconds(1));
    }

    #[test]
    fn one_direction_is_enough() {
        assert_eq!(quiet_since(&[[7, 0], [7, 1], [7, 2], [7, 2]]), seconds(3));
    }

    #[test]
    fn a_counter_that_begins_anew_has_moved() {
        assert_eq!(quiet_since(&[[7, 9], [7, 9], [7, 0], [7, 0]]), seconds(3));
        // Also where the sum has not.
        assert_eq!(quiet_since(&[[7, 9], [9, 7], [9, 7]]), seconds(2));
    }

    #[test]
    fn a_rule_left_out_is_no_silence() {
        let mut watch = Watch::new(Instant::ZERO);
        let question = Question { id: RequestId(1), middlebox: FW, prids: vec![Prid(1), Prid(2)] };
        for at in 1..9 {
            watch.counted(seconds(at), &question, vec![Passed { prid: Prid(1), packets: 0 }]);
        }
        assert_eq!(watch.since, seconds(8));
        watch.counted(seconds(9), &question, Vec::new());
        assert_eq!(watch.since, seconds(9));
    }

    /// A packet crosses one of a pair, and nobody knows which.
    #[test]
    fn of_a_pair_one_that_counts_is_enough_and_nothing_follows_from_one_alone() {
        let question = |at| Question { id: RequestId(1), middlebox: MiddleboxId(at), prids: vec![Prid(1)] };
        let passed = |packets| vec![Passed { prid: Prid(1), packets }];
        let mut watch = Watch::new(Instant::ZERO);
        for (at, [left, right]) in (1..).zip([[3, 0], [3, 0], [3, 1], [3, 1]]) {
            watch.questions = vec![question(0)];
            watch.counted(seconds(at), &question(1), passed(right));
            watch.questions.clear();
            watch.counted(seconds(at), &question(0), passed(left));
        }
        assert_eq!(watch.since, seconds(3));
        watch.questions = vec![question(0)];
        watch.counted(seconds(9), &question(1), passed(7));
        assert_eq!(watch.since, seconds(3), "the other has not spoken yet");
    }

    #[test]
    fn a_day_of_silence_is_looked_for_once_a_minute() {
        assert_eq!(period(Duration::from_secs(86_400)), PERIOD_MAX);
        assert_eq!(period(Duration::from_secs(10)), Duration::from_millis(2500));
    }
}
