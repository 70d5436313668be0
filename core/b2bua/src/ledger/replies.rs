//! What replies mean.

use machine::Instant;
use midcom::{Failure, FailureClass, Gid, Lifetime, Prid, Reply, RequestId, Tuple};

use super::forks::Forks;
use super::pinhole::Pinhole;
use super::plan::{Pinholes, desired};
use super::rule::{Marks, Rule, State};
use super::terms::SourcePolicy;
use super::{Ledger, Loss, Out, Progress, RequestIds, after};

impl Ledger {
    pub(super) fn on_reply(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Reply, Failure>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        let extended = self.rules.iter().position(|rule| rule.extending == Some(id));
        if let Some(index) = extended {
            return self.on_extended(now, index, result, ids, out);
        }
        let Some(index) = self.rules.iter().position(|rule| rule.state.request() == Some(id)) else {
            return Progress::Pending;
        };
        match self.rules[index].state {
            State::Asked(_) => match made(result, false) {
                Ok(rule) => self.on_made(now, index, rule, ids, out),
                Err(failure) => self.on_refused(now, index, failure, ids, out),
            },
            State::Reserving(_) => match made(result, true) {
                Ok(rule) => self.on_made(now, index, rule, ids, out),
                Err(failure) => self.on_refused(now, index, failure, ids, out),
            },
            State::Enabling(prid, _) => match made(result, false) {
                Ok(rule) => self.on_made(now, index, rule, ids, out),
                Err(failure) => self.on_enable_refused(now, index, prid, failure, ids, out),
            },
            State::Doomed(prid, _) => self.on_late(now, index, prid, result, ids, out),
            State::Closing { prid, attempts, .. } => self.on_ended(now, index, (prid, attempts), result),
            // These await nothing; `request()` gave no number for them.
            State::Reserved(_) | State::Enabled(_) | State::Unanswered | State::Absent => Progress::Pending,
        }
    }

    /// PER, PEA or PRR is confirmed.
    fn on_made(
        &mut self,
        now: Instant,
        index: usize,
        made: Made,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        let Made { prid, group, lifetime, reserved, outside } = made;
        if self.is_seen_elsewhere(index, outside) {
            return self.moved(now, index, prid, ids, out);
        }
        let rule = &mut self.rules[index];
        rule.state = if reserved { State::Reserved(prid) } else { State::Enabled(prid) };
        rule.group = Some(group);
        rule.live_for(now, lifetime);
        let (crossing, pinhole) = (rule.crossing, rule.pinhole);
        let (held, narrow) = (rule.marks.held, std::mem::take(&mut rule.marks.narrow));
        // The middlebox may lose its memory more than once.
        rule.marks.regrouped = false;
        self.sites[usize::from(crossing)].group.get_or_insert(group);
        if narrow {
            self.settle(now, crossing, &pinhole, ids, out);
        }
        match held {
            true => self.progress(),
            false => Progress::Pending,
        }
    }

    /// Ready if nothing of the step is missing any more.
    pub(super) fn progress(&mut self) -> Progress {
        if self.rules.iter().any(Rule::is_awaited) {
            return Progress::Pending;
        }
        for rule in &mut self.rules {
            rule.marks.held = false;
        }
        Progress::Ready
    }

    /// PER or PRR is refused or unanswered.
    fn on_refused(
        &mut self,
        now: Instant,
        index: usize,
        failure: Failure,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        let rule = &mut self.rules[index];
        let asked = matches!(rule.state, State::Asked(_));
        if failure == Failure::NoSuchGroup && !rule.marks.regrouped {
            rule.marks.regrouped = true;
            self.sites[usize::from(rule.crossing)].group = None;
            match asked {
                true => self.enable(index, ids, out),
                false => self.reserve(index, ids, out),
            }
            return Progress::Pending;
        }
        if asked && self.falls_back(index, failure) {
            return self.fall_back(now, index, ids, out);
        }
        if self.can_do_without(index, failure) {
            return self.do_without(now, index);
        }
        let Rule { pinhole, marks, crossing, .. } = self.rules[index];
        self.forget(now, index, failure);
        self.failed(now, (crossing, pinhole, marks), failure, ids, out)
    }

    /// A rule that was not to be had is forgotten, unless it may exist nevertheless.
    fn forget(&mut self, now: Instant, index: usize, failure: Failure) {
        if !matches!(failure, Failure::Timeout | Failure::SessionLost) {
            self.rules.remove(index);
            return;
        }
        let deadline = after(now, self.terms.rule_lifetime);
        let rule = &mut self.rules[index];
        (rule.state, rule.deadline, rule.marks) = (State::Unanswered, deadline, Marks::default());
    }

    /// What it means for the call that a rule was not to be had.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        (crossing, pinhole, marks): (u8, Pinhole, Marks),
        failure: Failure,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        if marks.held {
            self.fail_step(now, ids, out);
        }
        // The call had it and has it no more: that outweighs the step.
        let had = marks.current && !marks.narrow;
        if marks.held && !had {
            return Progress::Failed(failure, pinhole.stream);
        }
        let wide = |rule: &Rule| rule.serves(crossing, &pinhole);
        let forbidden = match failure.class() {
            FailureClass::TemporaryPolicy | FailureClass::StaticPolicy => true,
            FailureClass::Unreachable | FailureClass::Technical => false,
        };
        if marks.narrow && !forbidden && self.rules.iter().any(wide) {
            return Progress::StaysWide(failure, pinhole.stream);
        }
        Progress::Lost(self.lose(now, (crossing, pinhole, marks), Some(failure), ids, out))
    }

    /// All m-lines of a step are one unit: what it has made is closed.
    pub(super) fn fail_step(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) {
        let forks = self.forks.take();
        let of_others = |rule: &Rule| rule.marks.current || Forks::use_it(forks.as_deref(), rule);
        self.close_where(now, |rule| rule.marks.held && !of_others(rule), ids, out);
        self.forks = forks;
        for rule in &mut self.rules {
            rule.marks.held = false;
        }
    }

    /// A stream has lost a rule. Unless the call ends with it, or one of several early dialogs, its other rules are closed.
    pub(super) fn lose(
        &mut self,
        now: Instant,
        rule: (u8, Pinhole, Marks),
        failure: Option<Failure>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Loss {
        let stream = rule.1.stream;
        let (crucial, dialogs) = (self.is_crucial(stream), self.losers(rule));
        match dialogs {
            _ if crucial => {}
            Some(dialogs) => self.close_what_only_they_need(now, dialogs, Some(stream), ids, out),
            None => self.close_where(now, |rule| rule.pinhole.stream == stream, ids, out),
        }
        Loss { stream, crucial, failure, dialogs }
    }

    /// PEA is refused. A reservation that has gone meanwhile is made up for by one PER.
    fn on_enable_refused(
        &mut self,
        now: Instant,
        index: usize,
        prid: Prid,
        failure: Failure,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        if failure == Failure::NoSuchRule {
            self.enable(index, ids, out);
            return Progress::Pending;
        }
        if self.falls_back(index, failure)
            && let Some(narrower) = self.narrower(index)
        {
            return self.enable_less(now, index, prid, narrower, ids, out);
        }
        let Rule { pinhole, marks, crossing, .. } = self.rules[index];
        let stood_in = self.can_do_without(index, failure);
        // The reservation, or the rule if only the reply was lost, is still there.
        match self.place_of_others(crossing, &pinhole) {
            Some(place) => {
                let rule = &mut self.rules[index];
                (rule.state, rule.pinhole) = (State::Reserved(prid), place);
            }
            None => self.end(now, index, prid, 0, ids, out),
        }
        self.rules[index].marks = Marks::default();
        if stood_in {
            self.add_absent(now, crossing, pinhole, marks);
            return self.progress_of(marks);
        }
        self.failed(now, (crossing, pinhole, marks), failure, ids, out)
    }

    /// The reservation becomes the first of these that is not there yet; others are asked for beside it.
    fn enable_less(
        &mut self,
        now: Instant,
        index: usize,
        prid: Prid,
        narrower: Pinholes,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        let Rule { marks, crossing, .. } = self.rules[index];
        let missing: Pinholes =
            narrower.into_iter().filter(|less| !self.asks_for(crossing, less, marks.held)).collect();
        match missing.split_first() {
            Some((first, others)) => {
                self.enable_reserved(index, prid, *first, ids, out);
                for less in others {
                    self.add(now, crossing, *less, marks, ids, out);
                }
            }
            None => {
                self.end(now, index, prid, 0, ids, out);
                self.rules[index].marks = Marks::default();
            }
        }
        self.progress_of(marks)
    }

    /// True if exactly this is there or asked for at a middlebox; the step waits for it if `held`.
    fn asks_for(&mut self, crossing: u8, less: &Pinhole, held: bool) -> bool {
        let is_it = |rule: &&mut Rule| rule.crossing == crossing && rule.admits() && rule.pinhole == *less;
        let there = self.rules.iter_mut().find(is_it);
        there.map(|rule| rule.marks.held |= held).is_some()
    }

    /// Whether a refusal is of the wildcard, not of the flow.
    fn falls_back(&self, index: usize, failure: Failure) -> bool {
        let pinhole = &self.rules[index].pinhole;
        // One blocked host overlaps every address wildcard: that conflict says nothing about our flow.
        let conflict = failure == Failure::Conflict && pinhole.wildcards_address();
        let wildcard = pinhole.wildcards_address() || pinhole.source_port == 0;
        conflict || (failure == Failure::WildcardNotSupported && wildcard)
    }

    /// What is asked for instead of a wildcard: the peer's own address, and its port where even that is refused.
    /// `None` as long as the peer's address is not known.
    fn narrower(&self, index: usize) -> Option<Pinholes> {
        let Rule { pinhole, crossing, .. } = self.rules[index];
        let pairs = self.pairs_of(&pinhole);
        if pairs.is_empty() {
            return None;
        }
        let policy = match pinhole.wildcards_address() {
            true => SourcePolicy::Address,
            false => SourcePolicy::Strict,
        };
        let crossing = self.crossing(crossing);
        let mut narrower = Pinholes::new();
        for (flow, peer) in pairs {
            let all = desired(&self.terms, crossing, pinhole.toward, &flow, Some(&peer), policy);
            for less in all.into_iter().filter(|less| pinhole.place.covers(less.place)) {
                if !narrower.contains(&less) {
                    narrower.push(less);
                }
            }
        }
        Some(narrower)
    }

    /// Asks for less: for the peer's own address if it is known, else for a reservation.
    fn fall_back(&mut self, now: Instant, index: usize, ids: &mut RequestIds, out: Out<'_>) -> Progress {
        let Rule { pinhole, marks, crossing, .. } = self.rules[index];
        let Some(narrower) = self.narrower(index) else {
            if self.is_reserved(crossing, &pinhole) {
                self.rules.remove(index);
                return self.progress_of(marks);
            }
            self.reserve(index, ids, out);
            return Progress::Pending;
        };
        self.rules.remove(index);
        for less in narrower {
            if !self.asks_for(crossing, &less, marks.held) {
                self.add(now, crossing, less, marks, ids, out);
            }
        }
        self.progress_of(marks)
    }

    pub(super) fn progress_of(&mut self, marks: Marks) -> Progress {
        if marks.held { self.progress() } else { Progress::Pending }
    }

    /// A reply for which nobody waits any more.
    fn on_late(
        &mut self,
        now: Instant,
        index: usize,
        prid: Option<Prid>,
        result: Result<Reply, Failure>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        let known = match &result {
            Ok(Reply::Enabled { prid, lifetime, .. } | Reply::Reserved { prid, lifetime, .. }) => {
                // It lives from now on, not since the rule that it took the place of was made.
                self.rules[index].live_for(now, *lifetime);
                Some(*prid)
            }
            Ok(_) => prid,
            Err(failure) => prid.filter(|_| *failure != Failure::NoSuchRule),
        };
        match (known, result) {
            (Some(prid), _) => self.end(now, index, prid, 0, ids, out),
            (None, Err(failure)) => self.forget(now, index, failure),
            (None, Ok(_)) => self.forget(now, index, Failure::Timeout),
        }
        if self.is_closed() { Progress::Closed } else { Progress::Stale }
    }

    /// PLC(0) is answered.
    fn on_ended(
        &mut self,
        now: Instant,
        index: usize,
        (prid, attempts): (Prid, u8),
        result: Result<Reply, Failure>,
    ) -> Progress {
        if matches!(result, Ok(Reply::Ended) | Err(Failure::NoSuchRule)) {
            self.rules.remove(index);
            return if self.is_closed() { Progress::Closed } else { Progress::Pending };
        }
        // A middlebox that would but could not soon can: the hole is open as long as nobody asks it again.
        let attempts = if result == Err(Failure::ConfigurationFailed) { 0 } else { attempts };
        let rule = &mut self.rules[index];
        rule.state = State::Closing { prid, request: None, attempts };
        rule.wake = now + super::upkeep::close_pause(attempts);
        Progress::Pending
    }

    /// PLC above zero is answered.
    fn on_extended(
        &mut self,
        now: Instant,
        index: usize,
        result: Result<Reply, Failure>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        let rule = &mut self.rules[index];
        rule.extending = None;
        match (result, rule.state) {
            (Ok(Reply::Lifetime(lifetime)), State::Enabled(_) | State::Reserved(_))
                if lifetime != Lifetime::END =>
            {
                rule.live_for(now, lifetime);
            }
            // It is gone although we hold it: made again, the same as after a lost session.
            (Err(Failure::NoSuchRule), State::Enabled(_)) => self.enable(index, ids, out),
            (Err(Failure::NoSuchRule), State::Reserved(_)) => self.reserve(index, ids, out),
            // Tried again at `wake`, until the deadline.
            (Err(Failure::Timeout | Failure::SessionLost), _) => self.may_live_longer(now, index),
            (Ok(_) | Err(_), _) => {}
        }
        Progress::Pending
    }
}

/// What a positive reply made.
struct Made {
    prid: Prid,
    group: Gid,
    lifetime: Lifetime,
    reserved: bool,
    /// A2, if the middlebox says one.
    outside: Option<Tuple>,
}

/// Reads a reply to PRR (`reserved`) or to PER and PEA.
fn made(result: Result<Reply, Failure>, reserved: bool) -> Result<Made, Failure> {
    match (result?, reserved) {
        //= RFC 5189 §2.3.9: a lifetime that is granted is above zero; zero means that there is no rule.
        (
            Reply::Enabled { lifetime: Lifetime::END, .. } | Reply::Reserved { lifetime: Lifetime::END, .. },
            _,
        ) => Err(Failure::ConfigurationFailed),
        (Reply::Enabled { prid, group, lifetime, outside, .. }, false) => {
            Ok(Made { prid, group, lifetime, reserved, outside: Some(outside) })
        }
        (Reply::Reserved { prid, group, lifetime, outside, .. }, true) => {
            Ok(Made { prid, group, lifetime, reserved, outside })
        }
        // Not an answer to the question: as good as none.
        (_, _) => Err(Failure::Timeout),
    }
}
