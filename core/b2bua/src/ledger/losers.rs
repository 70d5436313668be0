//! One of several early dialogs is over before it has answered, or has lost a rule: what only it needs. `docs/calls.md` §4,
//! "several early dialogs".

use machine::Instant;
use sdp::Flows;
use smallvec::SmallVec;

use super::exchange::{Missing, is_held};
use super::forks::Forks;
use super::pinhole::Pinhole;
use super::rule::{Dialogs, Marks, Rule};
use super::{Ledger, Out, RequestIds};
use crate::side::Sides;

impl Ledger {
    /// An early dialog is over before it has answered: what only it needs is closed. Those from 15 on keep it until another
    /// one has answered.
    pub fn ended(&mut self, now: Instant, dialog: usize, ids: &mut RequestIds, out: Out<'_>) {
        if !self.is_undecided() || dialog >= Dialogs::LAST {
            return;
        }
        self.close_what_only_they_need(now, Dialogs::one(dialog), None, ids, out);
        self.shows_other(dialog);
        let Some(forks) = self.forks.as_deref_mut() else { return };
        forks.others.retain(|fork| fork.dialog != dialog);
        if forks.dialog == dialog {
            (self.agreed, self.exchange) = (Sides::default(), forks.first_exchange());
            for rule in &mut self.rules {
                rule.marks.held = false;
            }
        }
    }

    /// The early dialogs that cannot do without a rule that is gone; `None` if that is the whole call.
    pub(super) fn losers(&self, (crossing, pinhole, marks): (u8, Pinhole, Marks)) -> Option<Dialogs> {
        let forks = self.forks.as_deref().filter(|forks| !forks.decided)?;
        let (users, last) = (self.users(forks, crossing, &pinhole, marks)?, Dialogs::one(Dialogs::LAST));
        // Which of the last ones it was nobody knows.
        users.and(last).is_empty().then_some(users)
    }

    /// Closes what no early dialog needs but these, of one stream or of all.
    pub(super) fn close_what_only_they_need(
        &mut self,
        now: Instant,
        dialogs: Dialogs,
        stream: Option<u16>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        for index in self.what_only_they_need(dialogs, stream) {
            self.close_at(now, index, ids, out);
        }
    }

    /// The positions of those rules. On hold a dialog needs all that it has.
    fn what_only_they_need(&self, dialogs: Dialogs, stream: Option<u16>) -> SmallVec<[usize; 8]> {
        let Some(forks) = self.forks.as_deref() else { return SmallVec::new() };
        let agreed = forks.others.iter().map(|fork| (fork.dialog, &fork.agreed));
        let agreed = agreed.chain([(forks.dialog, &self.agreed)]);
        let others: SmallVec<[&Sides<Flows>; 4]> =
            agreed.filter(|(dialog, _)| !dialogs.contains(*dialog)).map(|(_, agreed)| agreed).collect();
        let is_on_hold = |stream: u16| others.iter().any(|agreed| is_held(agreed, stream));
        let is_theirs = |rule: &Rule| {
            let users = self.users(forks, rule.crossing, &rule.pinhole, rule.marks);
            users.is_some_and(|users| users.without(dialogs).is_empty())
                && stream.is_none_or(|stream| stream == rule.pinhole.stream)
                && !is_on_hold(rule.pinhole.stream)
        };
        (0..).zip(&self.rules).filter(|(_, rule)| is_theirs(rule)).map(|(index, _)| index).collect()
    }

    /// The early dialogs that need a rule; `None` if each of them does, or whoever is the first to answer.
    fn users(&self, forks: &Forks, crossing: u8, pinhole: &Pinhole, marks: Marks) -> Option<Dialogs> {
        let here = |of: &Missing, is: &dyn Fn(&Pinhole) -> bool| {
            of.iter().any(|(at, other)| *at == crossing && is(other))
        };
        if pinhole.is_unplaced() || here(&forks.common, &|common| pinhole.covers(common)) {
            return None;
        }
        // Whoever may still hear from anywhere does so through a wider one. Behind a NAT there is none before the answer: the
        // outside place that all were told of lives with any rule that leads there.
        let is_seen = self.crossing(crossing).hides(pinhole.toward);
        let does_for = |need: &Pinhole| {
            pinhole.overlaps(need) && (is_seen || pinhole.covers(need) || !need.wildcards_address())
        };
        let current = (forks.dialog, &self.needed_now());
        let all = forks.others.iter().map(|fork| (fork.dialog, &fork.needs)).chain([current]);
        let users = all.filter(|(_, needs)| here(needs, &does_for)).map(|(dialog, _)| Dialogs::one(dialog));
        Some(users.fold(marks.preview, Dialogs::or))
    }
}
