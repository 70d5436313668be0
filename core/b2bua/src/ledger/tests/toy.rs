//! A middlebox that only counts.

use std::collections::BTreeMap;

use machine::Instant;
use midcom::{Failure, Gid, Lifetime, Prid, Reply, Request, Tuple};

use crate::ledger::after;

/// Rules that live, and how often each one was ended.
#[derive(Debug, Default)]
pub(super) struct Toy {
    pub(super) rules: BTreeMap<Prid, Live>,
    pub(super) ends: BTreeMap<Prid, u32>,
    last: u32,
}

/// A rule: its group, when it ends by itself, and its two ends once it lets packets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    group: Gid,
    until: Instant,
    pub(super) enabled: Option<(Tuple, Tuple)>,
}

impl Toy {
    pub(super) fn answer(&mut self, now: Instant, request: &Request) -> Result<Reply, Failure> {
        match request {
            Request::Enable { internal, external, lifetime, group, .. } => {
                let (prid, group) = self.make(after(now, *lifetime), *group, Some((*internal, *external)))?;
                Ok(Reply::Enabled { prid, group, lifetime: *lifetime, outside: *internal, inside: None })
            }
            Request::Reserve { lifetime, group, .. } => {
                let (prid, group) = self.make(after(now, *lifetime), *group, None)?;
                Ok(Reply::Reserved { prid, group, lifetime: *lifetime, outside: None, inside: None })
            }
            Request::EnableReserved { prid, internal, external, lifetime, .. } => {
                let rule = self.rules.get_mut(prid).ok_or(Failure::NoSuchRule)?;
                assert_eq!(rule.enabled, None, "enabled twice");
                rule.enabled = Some((*internal, *external));
                rule.until = after(now, *lifetime);
                let (group, outside) = (rule.group, *internal);
                Ok(Reply::Enabled { prid: *prid, group, lifetime: *lifetime, outside, inside: None })
            }
            Request::Lifetime { prid, lifetime: Lifetime::END } => {
                *self.ends.entry(*prid).or_default() += 1;
                self.rules.remove(prid).map(|_| Reply::Ended).ok_or(Failure::NoSuchRule)
            }
            Request::Lifetime { prid, lifetime } => {
                let rule = self.rules.get_mut(prid).ok_or(Failure::NoSuchRule)?;
                rule.until = after(now, *lifetime);
                Ok(Reply::Lifetime(*lifetime))
            }
            Request::Disable { .. } | Request::Status { .. } | Request::List | Request::Count { .. } => {
                panic!("a ledger never asks {request:?}")
            }
        }
    }

    /// Ends what nobody has extended.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Prid> {
        let is_over = |(prid, rule): (&Prid, &Live)| (rule.until <= now).then_some(*prid);
        let over: Vec<_> = self.rules.iter().filter_map(is_over).collect();
        for prid in &over {
            self.rules.remove(prid);
        }
        over
    }

    fn make(
        &mut self,
        until: Instant,
        group: Option<Gid>,
        enabled: Option<(Tuple, Tuple)>,
    ) -> Result<(Prid, Gid), Failure> {
        if group.is_some_and(|group| !self.rules.values().any(|rule| rule.group == group)) {
            return Err(Failure::NoSuchGroup);
        }
        self.last += 1;
        let (prid, group) = (Prid(self.last), group.unwrap_or(Gid(self.last)));
        self.rules.insert(prid, Live { group, until, enabled });
        Ok((prid, group))
    }
}
