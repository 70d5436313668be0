//! A middlebox that does what the input says, and remembers which rules it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use machine::Instant;
use midcom::{AgentEvent, Capabilities, Failure, Gid, IpVersions, Lifetime, Prid, Reply, Request, RequestId};

use crate::reader::choose;

const FAILURES: [Failure; 16] = [
    Failure::NoResources,
    Failure::NotAuthorizedForTransaction,
    Failure::AddressSpaceNotAvailable,
    Failure::Conflict,
    Failure::ConfigurationFailed,
    Failure::WildcardNotSupported,
    Failure::NoSuchRule,
    Failure::Timeout,
    Failure::SessionLost,
    Failure::NoSession,
    Failure::NoSuchGroup,
    Failure::NotAuthorizedForRule,
    Failure::TransactionNotSupported,
    Failure::LackOfPorts,
    Failure::BadlyFormed,
    Failure::Unknown(0x7f),
];

#[derive(Debug, Default)]
pub(super) struct Firewall {
    pub(super) up: bool,
    pub(super) open: Vec<(RequestId, Request)>,
    /// What it holds, and until when.
    pub(super) rules: BTreeMap<Prid, Instant>,
    /// What nobody can be expected to close: its end was asked for and refused, or nobody knows of it yet.
    pub(super) excused: BTreeSet<Prid>,
    /// Found without a call and being closed.
    pub(super) orphans: BTreeSet<Prid>,
    prids: u32,
}

impl Firewall {
    /// Answers one of the open requests; bit 7 of `how` refuses, otherwise it says which lifetime is granted.
    pub(super) fn answer(&mut self, now: Instant, position: usize, how: u8) -> Option<AgentEvent> {
        if position >= self.open.len() {
            return None;
        }
        let (id, request) = self.open.remove(position);
        let result = match how {
            0..128 => self.grant(now, &request, how),
            _ => Err(*choose(&FAILURES, how)),
        };
        // It does not lie.
        if let (
            Err(Failure::NoSuchRule),
            Request::Lifetime { prid, .. } | Request::EnableReserved { prid, .. },
        ) = (&result, &request)
        {
            self.rules.remove(prid);
        }
        if let (Err(_), Request::Lifetime { prid, lifetime: Lifetime::END }) = (&result, &request)
            && self.orphans.contains(prid)
        {
            self.excused.insert(*prid);
        }
        Some(AgentEvent::Reply(id, result))
    }

    fn grant(&mut self, now: Instant, request: &Request, how: u8) -> Result<Reply, Failure> {
        let granted = |asked: Lifetime| match how {
            0..64 => asked,
            64..96 => Lifetime(1),
            96..120 => Lifetime(10),
            _ => Lifetime(u32::MAX),
        };
        Ok(match request {
            Request::Enable { internal, lifetime, group, .. } => {
                let (prid, lifetime) = (self.make(), granted(*lifetime));
                self.keep(now, prid, lifetime);
                let group = group.unwrap_or(Gid(prid.0));
                Reply::Enabled { prid, group, lifetime, outside: *internal, inside: None }
            }
            Request::EnableReserved { prid, internal, lifetime, .. } => {
                self.rules.get(prid).ok_or(Failure::NoSuchRule)?;
                let lifetime = granted(*lifetime);
                self.keep(now, *prid, lifetime);
                Reply::Enabled { prid: *prid, group: Gid(prid.0), lifetime, outside: *internal, inside: None }
            }
            Request::Reserve { lifetime, group, .. } => {
                let (prid, lifetime) = (self.make(), granted(*lifetime));
                self.keep(now, prid, lifetime);
                let group = group.unwrap_or(Gid(prid.0));
                Reply::Reserved { prid, group, lifetime, outside: None, inside: None }
            }
            Request::Lifetime { prid, lifetime } => {
                self.rules.get(prid).ok_or(Failure::NoSuchRule)?;
                match granted(*lifetime) {
                    _ if *lifetime == Lifetime::END || how == 63 => {
                        self.rules.remove(prid);
                        Reply::Ended
                    }
                    granted => {
                        self.keep(now, *prid, granted);
                        Reply::Lifetime(granted)
                    }
                }
            }
            Request::List => Reply::List(self.rules.keys().copied().collect()),
            Request::Disable { .. } | Request::Status { .. } | Request::Count { .. } => {
                panic!("asked for {request:?}")
            }
        })
    }

    fn keep(&mut self, now: Instant, prid: Prid, lifetime: Lifetime) {
        self.rules.insert(prid, now + Duration::from_secs(lifetime.0.into()));
    }

    fn make(&mut self) -> Prid {
        self.prids += 1;
        Prid(self.prids)
    }

    /// The session breaks; with `done` the middlebox has carried out what was asked all the same.
    pub(super) fn breaks(&mut self, now: Instant, done: bool) -> Vec<AgentEvent> {
        self.up = false;
        let mut lost = Vec::new();
        for (id, request) in std::mem::take(&mut self.open) {
            let first = self.prids;
            if done {
                let _nobody_hears = self.grant(now, &request, 0);
            } else if let Request::Lifetime { prid, lifetime: Lifetime::END } = request
                && self.orphans.contains(&prid)
            {
                self.excused.insert(prid);
            }
            self.excused.extend((first + 1..=self.prids).map(Prid));
            lost.push(AgentEvent::Reply(id, Err(Failure::SessionLost)));
        }
        lost
    }

    /// The rules whose lifetime is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Prid> {
        let over: Vec<Prid> =
            self.rules.iter().filter(|(_, ends)| **ends <= now).map(|(prid, _)| *prid).collect();
        self.rules.retain(|_, ends| *ends > now);
        over
    }

    /// The rules that somebody should have closed.
    pub(super) fn orphaned(&self) -> Vec<Prid> {
        self.rules.keys().filter(|prid| !self.excused.contains(prid)).copied().collect()
    }
}

pub(super) fn capabilities(wildcards: bool) -> Capabilities {
    Capabilities {
        firewall: true,
        nat: false,
        port_translation: false,
        protocol_translation: false,
        twice_nat: false,
        disable_rules: true,
        internal_wildcards: wildcards,
        external_wildcards: wildcards,
        port_wildcards: true,
        persistent: false,
        inside: IpVersions::Both,
        outside: IpVersions::Both,
        lifetime_max: Lifetime(3600),
    }
}
