//! A middlebox that only counts.

use std::collections::BTreeMap;

use midcom::{Failure, Gid, Lifetime, Prid, Reply, Request, Tuple};

/// Rules that live, and how often each one was ended.
#[derive(Debug, Default)]
pub(super) struct Toy {
    pub(super) rules: BTreeMap<Prid, Live>,
    pub(super) ends: BTreeMap<Prid, u32>,
    last: u32,
}

/// A rule: its group, and its ends once it lets packets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    group: Gid,
    pub(super) enabled: Option<(Tuple, Tuple)>,
}

impl Toy {
    pub(super) fn answer(&mut self, request: &Request) -> Result<Reply, Failure> {
        match request {
            Request::Enable { internal, external, lifetime, group, .. } => {
                let (prid, group) = self.make(*group, Some((*internal, *external)))?;
                Ok(Reply::Enabled { prid, group, lifetime: *lifetime, outside: *internal, inside: None })
            }
            Request::Reserve { lifetime, group, .. } => {
                let (prid, group) = self.make(*group, None)?;
                Ok(Reply::Reserved { prid, group, lifetime: *lifetime, outside: None, inside: None })
            }
            Request::EnableReserved { prid, internal, external, lifetime, .. } => {
                let rule = self.rules.get_mut(prid).ok_or(Failure::NoSuchRule)?;
                assert_eq!(rule.enabled, None, "enabled twice");
                rule.enabled = Some((*internal, *external));
                let (group, outside) = (rule.group, *internal);
                Ok(Reply::Enabled { prid: *prid, group, lifetime: *lifetime, outside, inside: None })
            }
            Request::Lifetime { prid, lifetime: Lifetime::END } => {
                *self.ends.entry(*prid).or_default() += 1;
                self.rules.remove(prid).map(|_| Reply::Ended).ok_or(Failure::NoSuchRule)
            }
            Request::Lifetime { prid, lifetime } => {
                let known = self.rules.contains_key(prid);
                known.then_some(Reply::Lifetime(*lifetime)).ok_or(Failure::NoSuchRule)
            }
            Request::Disable { .. } | Request::Status { .. } | Request::List => {
                panic!("a ledger never asks {request:?}")
            }
        }
    }

    fn make(&mut self, group: Option<Gid>, enabled: Option<(Tuple, Tuple)>) -> Result<(Prid, Gid), Failure> {
        if group.is_some_and(|group| !self.rules.values().any(|rule| rule.group == group)) {
            return Err(Failure::NoSuchGroup);
        }
        self.last += 1;
        let (prid, group) = (Prid(self.last), group.unwrap_or(Gid(self.last)));
        self.rules.insert(prid, Live { group, enabled });
        Ok((prid, group))
    }
}
