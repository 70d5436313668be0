//! Who may open what. The only place that can make a [`Permit`]. `docs/pinholes.md` §2.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use machine::week::MinuteOfWeek;
use midcom::{Direction, Failure, IpVersionChoice, Lifetime, Network, Protocol, Tuple};

use crate::entry::Key;
use crate::realm::{Realms, Side};
use crate::rule::Barrier;
use crate::standing::Line;
use crate::{limits, standing, tuples};

/// Names an agent. The runtime resolves it (peer credentials, certificate) to one of [`Policy::agents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub u32);

impl AgentId {
    /// The operator of this middlebox, who asks without a connection. Never the number of another agent.
    pub const OPERATOR: Self = Self(u32::MAX);
}

/// What an agent may do besides enabling what is its own, and what it may not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// It may make disable rules (PDR), for anybody's addresses.
    pub disable: bool,
    /// It hears of, lists, changes and ends the rules of every agent (RFC 5189 §2.1.5).
    pub administer: bool,
    /// The only protocols of its rules; none named: all that the middlebox can.
    pub protocols: Vec<Protocol>,
    /// How many requests a second may open or forbid something; what ends or extends a rule is not counted.
    pub requests_per_second: Option<u32>,
}

/// What one agent may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPolicy {
    /// Its name: the owner that PRS tells.
    pub name: String,
    /// Where A0 must lie.
    pub internal: Vec<Network>,
    /// The inside destination ports that inbound rules may open.
    pub ports: RangeInclusive<u16>,
    /// How many rules it may have at a time.
    pub rules_max: u32,
    /// The longest lifetime it is granted.
    pub lifetime_max: Lifetime,
    /// What else it may do.
    pub rights: Rights,
}

/// The standing policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The agents that may open sessions.
    pub agents: BTreeMap<AgentId, AgentPolicy>,
    /// Networks to and from which nothing may be opened, on either side.
    pub deny: Vec<Network>,
    /// Networks that no disable rule may touch, on either side.
    pub protected: Vec<Network>,
    /// What may be opened when, in order.
    pub lines: Vec<Line>,
}

/// What an enable rule opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Which way.
    pub direction: Direction,
    /// A0.
    pub internal: Tuple,
    /// A3.
    pub external: Tuple,
}

/// The proof that an entry is allowed. An engine cannot be asked to open anything without one, and only
/// [`Authority::permit`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit(Key);

impl Permit {
    /// What is allowed.
    #[must_use]
    pub fn key(&self) -> Key {
        self.0
    }

    /// What two permits allow together: see [`Key::hairpin`].
    pub(crate) fn hairpin(realms: &Realms, outward: &Self, inward: &Self) -> Option<Self> {
        Key::hairpin(realms, &outward.0, &inward.0).map(Self)
    }
}

/// Decides what agents may open.
#[derive(Debug, Clone)]
pub struct Authority {
    realms: Realms,
    policy: Policy,
    tcp: bool,
    minute: Option<MinuteOfWeek>,
}

impl Authority {
    /// An authority for these realms and this policy; `tcp` says whether the engine can do TCP rules.
    #[must_use]
    pub fn new(realms: Realms, policy: Policy, tcp: bool) -> Self {
        Self { realms, policy, tcp, minute: None }
    }

    /// What an agent may do; `None` for a stranger.
    #[must_use]
    pub fn agent(&self, agent: AgentId) -> Option<&AgentPolicy> {
        self.policy.agents.get(&agent)
    }

    /// How many requests a second an agent may make that open or forbid something, if that is limited.
    pub(crate) fn requests_per_second(&self, agent: AgentId) -> Option<u32> {
        self.agent(agent).and_then(|policy| policy.rights.requests_per_second)
    }

    /// The sides of the middlebox.
    #[must_use]
    pub fn realms(&self) -> &Realms {
        &self.realms
    }

    /// Puts a new policy into force. What was permitted before must be asked for again.
    pub fn adopt(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The time has gone on, or has jumped. True if the policy says something else now.
    pub fn set_minute(&mut self, minute: MinuteOfWeek) -> bool {
        let before = self.minute.replace(minute);
        self.policy.lines.iter().any(|line| line.counts(before) != line.counts(self.minute))
    }

    /// The permits for what an agent wants to open, lowest port first; never for more than it asks for.
    ///
    /// # Errors
    /// The failure that the negative reply carries, in the order of checks of RFC 4540 §8.3.1; the checks that the
    /// RFC leaves to policy come after them.
    pub fn permit(&self, agent: AgentId, opening: &Opening) -> Result<Vec<Permit>, Failure> {
        self.allows(agent, opening)?;
        permits(tuples::keys(&self.realms, opening)?)
    }

    /// The same where addresses are translated: A0 is `outside` to the other side.
    ///
    /// # Errors
    /// As [`Authority::permit`]; [`Failure::WildcardNotSupported`] for what sends from no certain port.
    pub fn permit_translated(
        &self,
        agent: AgentId,
        opening: &Opening,
        outside: &Tuple,
    ) -> Result<Vec<Permit>, Failure> {
        self.allows(agent, opening)?;
        permits(tuples::translated_keys(&self.realms, opening, outside)?)
    }

    /// The permit for what leaves by one permit and comes in by another at once: see [`Key::hairpin`]. `None` if the one
    /// does not lead to the other.
    #[must_use]
    pub fn hairpin(&self, outward: &Permit, inward: &Permit) -> Option<Permit> {
        Permit::hairpin(&self.realms, outward, inward)
    }

    /// Whether an agent may open this at all.
    ///
    /// # Errors
    /// As [`Authority::permit`].
    pub fn allows(&self, agent: AgentId, opening: &Opening) -> Result<(), Failure> {
        //= RFC 4540 §8.3.1: the agent's right to enable at all is looked at first.
        let policy = self.agent(agent).ok_or(Failure::NotAuthorizedForTransaction)?;
        tuples::check(opening)?;
        self.supports(opening.internal.protocol)?;
        allows_protocol(policy, opening.internal.protocol)?;
        self.allows_internal(policy, opening)?;
        self.allows_side(&opening.internal, Side::Inside)?;
        self.allows_side(&opening.external, Side::Outside)?;
        standing::allows(&self.policy.lines, self.minute, &self.realms, agent, opening)
    }

    /// Whether a reservation makes sense: the protocol, and an outside that is not wholly denied.
    ///
    /// # Errors
    /// [`Failure::ProtocolNotSupported`], [`Failure::NotAuthorizedForTransaction`],
    /// [`Failure::AddressSpaceNotAvailable`].
    pub fn allows_reservation(
        &self,
        agent: AgentId,
        protocol: Protocol,
        version: IpVersionChoice,
    ) -> Result<(), Failure> {
        self.supports(protocol)?;
        allows_protocol(self.agent(agent).ok_or(Failure::NotAuthorizedForTransaction)?, protocol)?;
        if standing::denies_all(&self.policy.lines, self.minute, agent, protocol) {
            return Err(Failure::AddressSpaceNotAvailable);
        }
        let asked = |network: &Network| match version {
            IpVersionChoice::Any => true,
            IpVersionChoice::V4 => network.addr().is_ipv4(),
            IpVersionChoice::V6 => network.addr().is_ipv6(),
        };
        let denied = |network: Network| self.policy.deny.iter().any(|deny| deny.contains(&network));
        let mut zones = self.realms.zones().iter().filter(|zone| zone.side == Side::Outside);
        //= RFC 4540 §8.2.1: a space that is wholly blocked may be refused before any address is known.
        match zones.any(|zone| asked(&zone.network) && !denied(zone.network)) {
            true => Ok(()),
            false => Err(Failure::AddressSpaceNotAvailable),
        }
    }

    /// Whether a disable rule may be made for this: not where the policy protects a network.
    ///
    /// # Errors
    /// [`Failure::ConfigurationFailed`].
    pub(crate) fn allows_barrier(&self, barrier: &Barrier) -> Result<(), Failure> {
        let ends = [barrier.internal.network, barrier.external.network];
        let meets = |a: &Network, b: &Network| a.contains(b) || b.contains(a);
        // An end that is everybody says nothing about anybody: the other end does.
        let named = ends.iter().filter(|end| end.prefix_len() > 0);
        let mut named = named.flat_map(|end| self.policy.protected.iter().map(move |network| (end, network)));
        let everybody = ends.iter().all(|end| end.prefix_len() == 0) && !self.policy.protected.is_empty();
        //= RFC 4540 §8.8.3: what would conflict with the policy above it is not configured.
        match everybody || named.any(|(end, network)| meets(end, network)) {
            true => Err(Failure::ConfigurationFailed),
            false => Ok(()),
        }
    }

    fn supports(&self, protocol: Protocol) -> Result<(), Failure> {
        match protocol {
            Protocol::Udp => Ok(()),
            Protocol::Tcp if self.tcp => Ok(()),
            Protocol::Tcp | Protocol::Any | Protocol::Other(_) => Err(Failure::ProtocolNotSupported),
        }
    }

    /// A0 must lie in the agent's networks, and what may come in only on its ports. A network that reaches beyond
    /// them is refused as a wildcard, so that the agent reserves and asks again for one host.
    fn allows_internal(&self, agent: &AgentPolicy, opening: &Opening) -> Result<(), Failure> {
        let internal = opening.internal.network.trunc();
        if !agent.internal.iter().any(|network| network.contains(&internal)) {
            let some = agent.internal.iter().any(|network| internal.contains(network));
            return Err(match some {
                true => Failure::WildcardNotSupported,
                false => Failure::NotAuthorizedForTransaction,
            });
        }
        let comes_in = match opening.direction {
            Direction::Inbound | Direction::Bidirectional => true,
            Direction::Outbound => false,
        };
        let ports = [opening.internal.port, opening.internal.last_port()];
        if comes_in && !ports.iter().all(|port| agent.ports.contains(port)) {
            return Err(Failure::NotAuthorizedForTransaction);
        }
        Ok(())
    }

    /// The end must live on its side of the gate and must not be denied.
    fn allows_side(&self, tuple: &Tuple, side: Side) -> Result<(), Failure> {
        if tuple.wildcards_address() {
            return self.allows_network(tuple.network, side);
        }
        let host = tuple.address();
        let denied = self.policy.deny.iter().any(|deny| deny.contains(&host));
        match self.realms.side_of(host) == Some(side) && !denied {
            true => Ok(()),
            false => Err(Failure::NotAuthorizedForTransaction),
        }
    }

    /// A network must be whole zones of its side; one denied host in it makes it a wildcard that is not supported.
    fn allows_network(&self, network: Network, side: Side) -> Result<(), Failure> {
        let zones = self.realms.zones_within(side, network);
        let touched = |zone: &Network| self.policy.deny.iter().any(|deny| self.realms.shares(*zone, *deny));
        let blocked = |zone: &Network| self.policy.deny.iter().any(|deny| deny.contains(zone));
        match (zones.is_empty(), zones.iter().all(blocked), zones.iter().any(touched)) {
            (true, _, _) => Err(Failure::WildcardNotSupported),
            (false, true, _) => Err(Failure::NotAuthorizedForTransaction),
            (false, false, true) => Err(Failure::WildcardNotSupported),
            (false, false, false) => Ok(()),
        }
    }
}

/// The only place where permits are made, after [`Authority::allows`].
fn permits(keys: Vec<Key>) -> Result<Vec<Permit>, Failure> {
    match keys.len() > limits::ENTRIES_PER_RULE_MAX {
        true => Err(Failure::NoResources),
        false => Ok(keys.into_iter().map(Permit).collect()),
    }
}

/// An agent's own protocols.
fn allows_protocol(agent: &AgentPolicy, protocol: Protocol) -> Result<(), Failure> {
    let allowed = agent.rights.protocols.is_empty() || agent.rights.protocols.contains(&protocol);
    if allowed { Ok(()) } else { Err(Failure::NotAuthorizedForTransaction) }
}
