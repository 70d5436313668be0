//! The middlebox of a flow: keeps the questions, answers them as told.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use midcom::{Failure, Gid, Lifetime, Parity, Passed, Prid, Protocol, Reply, Request, RequestId, Tuple};

/// One middlebox.
#[derive(Debug)]
pub(crate) struct Firewall {
    /// There is a session.
    pub(crate) is_up: bool,
    /// The longest lifetime it grants.
    granted: Lifetime,
    open: VecDeque<(RequestId, Request)>,
    rules: Vec<Prid>,
    prids: u32,
    /// Packets that have passed each rule, where some have.
    passed: BTreeMap<Prid, u64>,
    /// Where it translates: the first outside port of each reservation, and that of each inside port.
    nat: Option<Nat>,
}

#[derive(Debug, Default)]
struct Nat {
    reserved: BTreeMap<Prid, u16>,
    seen: BTreeMap<(IpAddr, u16), u16>,
    /// The inside ports of each rule.
    rules: BTreeMap<Prid, Tuple>,
    taken: u16,
}

impl Nat {
    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

    fn take(&mut self) -> u16 {
        self.taken += 2;
        39_998 + self.taken
    }

    fn tuple(protocol: Protocol, port: u16, range: u16) -> Tuple {
        Tuple::host((Self::ADDRESS, port).into(), protocol, range)
    }

    /// A rule is gone: inside ports of which no other has need have no outside port any more.
    fn forget(&mut self, prid: Prid) {
        self.reserved.remove(&prid);
        if self.rules.remove(&prid).is_some() {
            let Self { seen, rules, .. } = self;
            let is_of = |rule: &Tuple, (address, port): (IpAddr, u16)| {
                rule.address() == address && (rule.port..=rule.last_port()).contains(&port)
            };
            seen.retain(|place, _| rules.values().any(|rule| is_of(rule, *place)));
        }
    }

    /// A2 of A0 for a rule: that of the reservation, the one it has, or a new one.
    fn outside(&mut self, prid: Prid, reservation: Option<Prid>, internal: Tuple) -> Tuple {
        self.rules.insert(prid, internal);
        let known = self.seen.get(&(internal.address(), internal.port)).copied();
        let reserved = reservation.and_then(|prid| self.reserved.remove(&prid));
        let port = match reserved.or(known) {
            Some(port) => port,
            None => self.take(),
        };
        for offset in 0..internal.range {
            self.seen.insert((internal.address(), internal.port + offset), port + offset);
        }
        Self::tuple(internal.protocol, port, internal.range)
    }
}

impl Firewall {
    pub(crate) fn new(granted: Lifetime, nat: bool) -> Self {
        Self {
            is_up: false,
            granted,
            open: VecDeque::new(),
            rules: Vec::new(),
            prids: 0,
            passed: BTreeMap::new(),
            nat: nat.then(Nat::default),
        }
    }

    pub(crate) fn asked(&mut self, id: RequestId, request: Request) {
        self.open.push_back((id, request));
    }

    /// The answer to the question at a position among those that are open.
    pub(crate) fn answer(
        &mut self,
        position: usize,
        refusal: Option<Failure>,
    ) -> Option<(RequestId, Result<Reply, Failure>)> {
        let (id, request) = self.open.remove(position)?;
        let reply = match refusal {
            Some(failure) => Err(failure),
            None => self.grant(&request),
        };
        Some((id, reply))
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Ends the questions that are open: the session broke.
    pub(crate) fn broken(&mut self) -> Vec<RequestId> {
        self.open.drain(..).map(|(id, _)| id).collect()
    }

    /// How many rules it holds.
    pub(crate) fn rules(&self) -> usize {
        self.rules.len()
    }

    pub(crate) fn forget(&mut self, prid: Prid) {
        self.nat.iter_mut().for_each(|nat| nat.forget(prid));
        self.rules.retain(|rule| *rule != prid);
    }

    /// Packets have passed a rule since it is there, so many in all.
    pub(crate) fn pass(&mut self, prid: Prid, packets: u64) {
        self.passed.insert(prid, packets);
    }

    /// A rule that somebody else left behind.
    pub(crate) fn plant(&mut self, prid: Prid) {
        self.rules.push(prid);
    }

    fn grant(&mut self, request: &Request) -> Result<Reply, Failure> {
        if let Request::EnableReserved { prid, parity: Parity::Same, internal, .. } = request {
            // RFC 4540 §8.4.3: an outside port of the wrong parity is refused.
            let reserved = self.nat.as_ref().and_then(|nat| nat.reserved.get(prid));
            if reserved.is_some_and(|port| port % 2 != internal.port % 2) {
                return Err(Failure::ParityMismatch);
            }
        }
        Ok(match request {
            Request::Enable { internal, lifetime, group, .. } => {
                let prid = self.make();
                let outside = self.outside(prid, None, *internal);
                self.enabled(prid, outside, self.granted(*lifetime), group.unwrap_or(Gid(prid.0)))
            }
            Request::EnableReserved { prid, internal, lifetime, .. } => {
                let outside = self.outside(*prid, Some(*prid), *internal);
                self.enabled(*prid, outside, self.granted(*lifetime), Gid(prid.0))
            }
            Request::Reserve { lifetime, group, protocol, ports, .. } => {
                let prid = self.make();
                let group = group.unwrap_or(Gid(prid.0));
                let lifetime = self.granted(*lifetime);
                let outside = self.nat.as_mut().map(|nat| {
                    let port = nat.take();
                    nat.reserved.insert(prid, port);
                    Nat::tuple(*protocol, port, *ports)
                });
                Reply::Reserved { prid, group, lifetime, outside, inside: None }
            }
            Request::Lifetime { prid, lifetime: Lifetime::END } => {
                self.forget(*prid);
                Reply::Ended
            }
            Request::Lifetime { lifetime, .. } => Reply::Lifetime(self.granted(*lifetime)),
            Request::List => Reply::List(self.rules.clone()),
            Request::Count { prids } => {
                let known = prids.iter().filter(|prid| self.rules.contains(*prid));
                let packets = |prid| self.passed.get(prid).copied().unwrap_or(0);
                Reply::Counted(known.map(|prid| Passed { prid: *prid, packets: packets(prid) }).collect())
            }
            Request::Disable { lifetime, .. } => Reply::Disabled { prid: self.make(), lifetime: *lifetime },
            Request::Status { .. } => Reply::Ended,
        })
    }

    fn granted(&self, asked: Lifetime) -> Lifetime {
        asked.min(self.granted)
    }

    fn outside(&mut self, prid: Prid, reservation: Option<Prid>, internal: Tuple) -> Tuple {
        self.nat.as_mut().map_or(internal, |nat| nat.outside(prid, reservation, internal))
    }

    fn enabled(&self, prid: Prid, outside: Tuple, lifetime: Lifetime, group: Gid) -> Reply {
        Reply::Enabled { prid, group, lifetime, outside, inside: None }
    }

    fn make(&mut self) -> Prid {
        self.prids += 1;
        self.rules.push(Prid(self.prids));
        Prid(self.prids)
    }
}

/// The refusals a flow can name: the negative replies of RFC 4540 §6 by their meaning, and what no reply is.
#[must_use]
pub fn failure(name: &str) -> Option<Failure> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, failure)| *failure)
}

const NAMES: [(&str, Failure); 37] = [
    ("wrong-type", Failure::WrongMessageType),
    ("wrong-subtype", Failure::WrongMessageSubType),
    ("badly-formed", Failure::BadlyFormed),
    ("too-big", Failure::ReplyTooBig),
    ("not-applicable", Failure::NotApplicable),
    ("session-resources", Failure::LackOfResources),
    ("version", Failure::VersionMismatch),
    ("authentication", Failure::AuthenticationFailed),
    ("agent", Failure::NoAuthorization),
    ("transport", Failure::TransportProblem),
    ("security", Failure::InsufficientSecurity),
    ("transaction", Failure::TransactionNotSupported),
    ("authorization", Failure::NotAuthorizedForTransaction),
    ("resources", Failure::NoResources),
    ("norule", Failure::NoSuchRule),
    ("nogroup", Failure::NoSuchGroup),
    ("rule", Failure::NotAuthorizedForRule),
    ("group", Failure::NotAuthorizedForGroup),
    ("space", Failure::AddressSpaceNotAvailable),
    ("addresses", Failure::LackOfAddresses),
    ("ports", Failure::LackOfPorts),
    ("configuration", Failure::ConfigurationFailed),
    ("inconsistent", Failure::Inconsistent),
    ("wildcard", Failure::WildcardNotSupported),
    ("protocol", Failure::ProtocolMismatch),
    ("nat", Failure::NatModeNotSupported),
    ("ip-version", Failure::IpVersionMismatch),
    ("conflict", Failure::Conflict),
    ("lifetime", Failure::NotAuthorizedToChangeLifetime),
    ("extension", Failure::LifetimeNotExtended),
    ("address", Failure::IllegalAddress),
    ("port", Failure::IllegalPort),
    ("parity", Failure::ParityMismatch),
    ("no-session", Failure::NoSession),
    ("lost", Failure::SessionLost),
    ("timeout", Failure::Timeout),
    ("unknown", Failure::Unknown(0x03ff)),
];
