//! The standing policy: lines that allow or deny, some of them only at certain times. `docs/pinholes.md` §2.
//!
//! The first line that speaks of all that is asked decides; what no line speaks of is allowed, as far as the agent's
//! authority goes. Of a wildcard a line may speak in part: then a line that denies refuses it as a wildcard (the agent
//! reserves, and asks again for one host), and one that allows leaves the rest to the lines behind it.

use std::ops::RangeInclusive;

use machine::week::{MinuteOfWeek, Window};
use midcom::{Direction, Failure, Network, Protocol, Tuple};

use crate::authority::{AgentId, Opening};
use crate::realm::{Realms, Side};

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be opened.
    Allow,
    /// It may not.
    Deny,
}

/// One line of the standing policy. An empty list speaks of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub verdict: Verdict,
    /// Of whose rules.
    pub agents: Vec<AgentId>,
    /// Where A0 is.
    pub inside: Vec<Network>,
    /// Where A3 is.
    pub outside: Vec<Network>,
    /// Where packets go to: ports of A0 for what comes in, of A3 for what goes out.
    pub ports: Option<RangeInclusive<u16>>,
    /// By which protocol.
    pub protocol: Option<Protocol>,
    /// When it counts; always if there is no window.
    pub when: Vec<Window>,
}

/// How much of something a line speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Nothing,
    Part,
    All,
}

impl Extent {
    fn of(all: bool, some: bool) -> Self {
        match (all, some) {
            (true, _) => Self::All,
            (false, true) => Self::Part,
            (false, false) => Self::Nothing,
        }
    }

    /// Of what both speak.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::All, Self::All) => Self::All,
            (Self::Part, _) | (_, Self::Part) => Self::Part,
        }
    }
}

impl Line {
    /// True if it counts now. While the time is not known yet nothing is allowed because of it.
    pub(crate) fn counts(&self, now: Option<MinuteOfWeek>) -> bool {
        match now {
            _ if self.when.is_empty() => true,
            Some(now) => self.when.iter().any(|window| window.contains(now)),
            None => self.verdict == Verdict::Deny,
        }
    }

    fn speaks_of_agent(&self, agent: AgentId) -> bool {
        self.agents.is_empty() || self.agents.contains(&agent)
    }

    fn extent(&self, realms: &Realms, opening: &Opening) -> Extent {
        let protocol = self.protocol.is_none_or(|protocol| protocol == opening.internal.protocol);
        let destinations: &[&Tuple] = match opening.direction {
            Direction::Inbound => &[&opening.internal],
            Direction::Outbound => &[&opening.external],
            Direction::Bidirectional => &[&opening.internal, &opening.external],
        };
        let ports = self.ports.as_ref().map_or(Extent::All, |ports| {
            let inside = |tuple: &&&Tuple| ports.contains(&tuple.port) && ports.contains(&tuple.last_port());
            let meets = |tuple: &&Tuple| tuple.port <= *ports.end() && tuple.last_port() >= *ports.start();
            let all = destinations.iter().all(|tuple| inside(&tuple));
            Extent::of(all, destinations.iter().any(meets))
        });
        Extent::of(protocol, false)
            .and(ports)
            .and(place(realms, Side::Inside, &self.inside, &opening.internal))
            .and(place(realms, Side::Outside, &self.outside, &opening.external))
    }
}

/// How much of an end is in the networks of a line.
fn place(realms: &Realms, side: Side, networks: &[Network], tuple: &Tuple) -> Extent {
    if networks.is_empty() {
        return Extent::All;
    }
    if !tuple.wildcards_address() {
        let host = tuple.address();
        return Extent::of(networks.iter().any(|network| network.contains(&host)), false);
    }
    let zones = realms.zones_within(side, tuple.network);
    let whole = |zone: &Network| networks.iter().any(|network| network.contains(zone));
    let touched = |zone: &Network| networks.iter().any(|network| realms.shares(*zone, *network));
    Extent::of(!zones.is_empty() && zones.iter().all(whole), zones.iter().any(touched))
}

/// Whether the lines let an agent open this now.
///
/// # Errors
/// [`Failure::NotAuthorizedForTransaction`]; [`Failure::WildcardNotSupported`] where only a part of a wildcard is
/// denied.
pub(crate) fn allows(
    lines: &[Line],
    now: Option<MinuteOfWeek>,
    realms: &Realms,
    agent: AgentId,
    opening: &Opening,
) -> Result<(), Failure> {
    let wild = opening.internal.wildcards_address() || opening.external.wildcards_address();
    for line in lines.iter().filter(|line| line.counts(now) && line.speaks_of_agent(agent)) {
        match (line.extent(realms, opening), line.verdict) {
            (Extent::All, Verdict::Allow) => return Ok(()),
            (Extent::All, Verdict::Deny) => return Err(Failure::NotAuthorizedForTransaction),
            (Extent::Part, Verdict::Deny) if wild => return Err(Failure::WildcardNotSupported),
            (Extent::Part, Verdict::Deny) => return Err(Failure::NotAuthorizedForTransaction),
            (Extent::Part, Verdict::Allow) | (Extent::Nothing, _) => {}
        }
    }
    Ok(())
}

/// True if the lines deny an agent everything now: the first that counts for it says so without any condition.
pub(crate) fn denies_all(
    lines: &[Line],
    now: Option<MinuteOfWeek>,
    agent: AgentId,
    protocol: Protocol,
) -> bool {
    let mut lines = lines.iter().filter(|line| {
        let concerned = line.protocol.is_none_or(|of| of == protocol);
        line.counts(now) && line.speaks_of_agent(agent) && concerned
    });
    let everything = |line: &Line| line.inside.is_empty() && line.outside.is_empty() && line.ports.is_none();
    lines.next().is_some_and(|line| line.verdict == Verdict::Deny && everything(line))
}
