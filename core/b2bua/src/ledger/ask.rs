//! Asking middleboxes: the only place that writes requests.

use machine::Instant;
use midcom::{IpVersionChoice, Lifetime, NatService, Parity, PortParity, Prid, Request, RequestId};

use super::pinhole::Pinhole;
use super::rule::{Marks, Rule, State};
use super::{Ledger, LedgerRequest, Out, RequestIds, after};

impl Ledger {
    /// Adds a rule and asks for it: PER where the middlebox can express it, else PRR.
    pub(super) fn add(
        &mut self,
        now: Instant,
        crossing: u8,
        pinhole: Pinhole,
        marks: Marks,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        let may_open = self.may_open(crossing, &pinhole);
        if !may_open && self.is_reserved(crossing, &pinhole) {
            return;
        }
        if self.is_stood_in_at(crossing) {
            return self.add_absent(now, crossing, pinhole, marks);
        }
        let index = self.push(now, crossing, pinhole, marks);
        match may_open {
            true => self.enable(index, ids, out),
            false => self.reserve(index, ids, out),
        }
    }

    /// Adds a rule that has not been asked for; its position.
    pub(super) fn push(&mut self, now: Instant, crossing: u8, pinhole: Pinhole, marks: Marks) -> usize {
        let deadline = after(now, self.terms.rule_lifetime);
        let state = State::Unanswered;
        let rule = Rule {
            pinhole,
            crossing,
            state,
            extending: None,
            deadline,
            latest: deadline,
            wake: deadline,
            marks,
            group: None,
            seen_as: None,
        };
        self.rules.push(rule);
        self.rules.len() - 1
    }

    /// PER.
    pub(super) fn enable(&mut self, index: usize, ids: &mut RequestIds, out: Out<'_>) {
        let Rule { pinhole, crossing, .. } = self.rules[index];
        let (direction, internal, external) = pinhole.tuples(self.crossing(crossing).inside);
        let request = Request::Enable {
            parity: Parity::Same,
            direction,
            internal,
            external,
            lifetime: self.terms.rule_lifetime,
            group: self.group_for(index),
        };
        self.rules[index].state = State::Asked(self.send(crossing, request, ids, out));
    }

    /// PRR: it carries no address, only that the ports will be needed.
    pub(super) fn reserve(&mut self, index: usize, ids: &mut RequestIds, out: Out<'_>) {
        let Rule { pinhole, crossing, .. } = self.rules[index];
        let version = match pinhole.place.address.is_ipv4() {
            true => IpVersionChoice::V4,
            false => IpVersionChoice::V6,
        };
        let request = Request::Reserve {
            service: NatService::Twice,
            inside: version,
            outside: version,
            protocol: pinhole.place.transport(),
            ports: pinhole.place.range,
            parity: if pinhole.place.range == 2 { PortParity::Even } else { PortParity::Any },
            lifetime: self.terms.rule_lifetime,
            group: self.sites[usize::from(crossing)].group,
        };
        self.rules[index].state = State::Reserving(self.send(crossing, request, ids, out));
    }

    /// PEA: a reservation becomes this pinhole.
    pub(super) fn enable_reserved(
        &mut self,
        index: usize,
        prid: Prid,
        pinhole: Pinhole,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        let crossing = self.rules[index].crossing;
        let (direction, internal, external) = pinhole.tuples(self.crossing(crossing).inside);
        let lifetime = self.terms.rule_lifetime;
        // One port was reserved when nobody knew whether it would be an odd one.
        let parity = if internal.range == 1 { Parity::Any } else { Parity::Same };
        let request = Request::EnableReserved { prid, parity, direction, internal, external, lifetime };
        let id = self.send(crossing, request, ids, out);
        let rule = &mut self.rules[index];
        (rule.pinhole, rule.state) = (pinhole, State::Enabling(prid, id));
    }

    /// PLC above zero.
    pub(super) fn extend(
        &mut self,
        now: Instant,
        index: usize,
        prid: Prid,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        let crossing = self.rules[index].crossing;
        let Some(lifetime) = self.extension(now, index) else { return };
        let request = Request::Lifetime { prid, lifetime };
        let id = self.send(crossing, request, ids, out);
        if self.rules[index].extending.replace(id).is_some() {
            self.may_live_longer(now, index);
        }
    }

    /// The lifetime to ask for; `None` while there is no more to be had than the rule has.
    fn extension(&self, now: Instant, index: usize) -> Option<Lifetime> {
        let Some(limit) = self.limit else { return Some(self.terms.rule_lifetime) };
        let allowed = u32::try_from(limit.since(now).as_secs()).unwrap_or(u32::MAX);
        let lifetime = self.terms.rule_lifetime.min(Lifetime(allowed));
        (after(now, lifetime) > self.rules[index].deadline).then_some(lifetime)
    }

    /// An extension stays without an answer: perhaps it was granted.
    pub(super) fn may_live_longer(&mut self, now: Instant, index: usize) {
        self.rules[index].latest = after(now, self.terms.rule_lifetime);
    }

    /// PLC(0).
    pub(super) fn end(
        &mut self,
        now: Instant,
        index: usize,
        prid: Prid,
        attempts: u8,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        if self.rules[index].extending.take().is_some() {
            self.may_live_longer(now, index);
        }
        let crossing = self.rules[index].crossing;
        let request = Request::Lifetime { prid, lifetime: Lifetime::END };
        let id = self.send(crossing, request, ids, out);
        let rule = &mut self.rules[index];
        rule.state = State::Closing { prid, request: Some(id), attempts: attempts.saturating_add(1) };
        rule.deadline = rule.deadline.max(rule.latest);
        rule.wake = now + super::upkeep::close_pause(attempts);
    }

    fn send(&self, crossing: u8, request: Request, ids: &mut RequestIds, out: Out<'_>) -> RequestId {
        let id = ids.mint();
        out.push(LedgerRequest { middlebox: self.crossing(crossing).middlebox, id, request });
        id
    }
}
