//! The configuration in the terms of the middlebox and its engine, and who is which agent.

use std::collections::BTreeMap;
use std::time::Duration;

use midcom::{Lifetime, Protocol};
use middlebox::{AgentId, AgentPolicy, Line, Policy, Realm, Realms, ReversePath, Rights, Side, Verdict};
use nftables::{GateConfig, Mark};

use super::operator;
use crate::config::{self, Config, Transport};
use crate::runtime::interfaces;

/// Everybody on the Unix socket is one agent: a restarted agent half must find its rules again.
pub(super) const LOCAL: AgentId = AgentId(0);

/// The number of an agent: the same for the same name, whatever else the file says, now and after a restart.
pub(super) fn id(name: &str) -> AgentId {
    // FNV-1a.
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    AgentId(hash)
}

/// The names of all agents but the local one and the operator. Two of one number could not be told apart.
pub(super) fn names(config: &Config) -> Result<Vec<String>, String> {
    let from = &config.middlebox;
    let names: Vec<String> = from
        .peers
        .iter()
        .map(ToString::to_string)
        .chain(from.agents.iter().map(|agent| agent.name.clone()))
        .collect();
    let mut numbers = BTreeMap::from([(LOCAL, "local"), (AgentId::OPERATOR, "operator")]);
    for name in &names {
        if let Some(other) = numbers.insert(id(name), name) {
            return Err(format!(
                "agents `{name}` and `{other}` cannot be told apart; give one of them another name"
            ));
        }
    }
    Ok(names)
}

/// The sides of the gate.
pub(super) fn realms(config: &Config) -> Result<Realms, String> {
    let from = &config.middlebox;
    let reverse_path = match from.reverse_path {
        config::ReversePath::Strict => ReversePath::Strict,
        config::ReversePath::Loose => ReversePath::Loose,
        config::ReversePath::Off => ReversePath::Off,
    };
    let places = interfaces::of_addresses().map_err(|error| format!("this host's interfaces: {error}"))?;
    let side = |position: usize| {
        let inside = from.inside.contains(&position).then_some(Side::Inside);
        inside.or_else(|| from.outside.contains(&position).then_some(Side::Outside))
    };
    let realm = |(side, realm): (Side, &config::Realm)| Realm {
        name: realm.name.clone(),
        side,
        networks: realm.media.clone(),
        ports: realm.media_ports.clone(),
        managed: realm.managed,
        interfaces: interfaces::of_media(realm, &places),
        reverse_path,
    };
    // A realm on neither side is nobody's: nothing is opened for it, and nothing of it is shut.
    let sides = (0..).map(side).zip(&config.realms);
    let sides = sides.filter_map(|(side, realm)| Some((side?, realm)));
    Realms::new(sides.map(realm).collect()).map_err(|error| error.to_string())
}

/// The standing policy: what each agent may do, and what nobody may.
pub(super) fn policy(config: &Config) -> Policy {
    let from = &config.middlebox;
    let peers = from.peers.iter().map(ToString::to_string).map(|name| (id(&name), usual(from, name)));
    let agents = from.agents.iter().map(|agent| (id(&agent.name), named(agent)));
    let ours = [(LOCAL, usual(from, "local".into())), (AgentId::OPERATOR, operator::policy())];
    Policy {
        agents: ours.into_iter().chain(peers).chain(agents).collect(),
        deny: from.deny.clone(),
        protected: from.never_deny.clone(),
        lines: config.policy.iter().map(line).collect(),
    }
}

/// The policy for a proof: it is about the administrator's firewall, whatever `[[policy]]` says at this hour.
pub(super) fn for_proofs(config: &Config) -> Policy {
    Policy { lines: Vec::new(), ..policy(config) }
}

/// An agent of which the file says nothing more.
fn usual(from: &config::Middlebox, name: String) -> AgentPolicy {
    AgentPolicy {
        name,
        internal: from.internal.clone(),
        ports: from.ports.clone(),
        rules_max: from.rules_max,
        lifetime_max: lifetime(from.lifetime_max),
        rights: Rights::default(),
    }
}

fn named(from: &config::Agent) -> AgentPolicy {
    AgentPolicy {
        name: from.name.clone(),
        internal: from.internal.clone(),
        ports: from.ports.clone(),
        rules_max: from.rules_max,
        lifetime_max: lifetime(from.lifetime_max),
        rights: Rights {
            disable: from.disable,
            administer: from.administer,
            protocols: from.protocols.iter().copied().map(protocol).collect(),
            requests_per_second: from.rate_max,
        },
    }
}

fn line(from: &config::Line) -> Line {
    let number = |name: &String| if name == "local" { LOCAL } else { id(name) };
    Line {
        verdict: match from.verdict {
            config::Do::Allow => Verdict::Allow,
            config::Do::Deny => Verdict::Deny,
        },
        agents: from.agents.iter().map(number).collect(),
        inside: from.inside.clone(),
        outside: from.outside.clone(),
        ports: from.ports.clone(),
        protocol: from.protocol.map(protocol),
        when: from.when.clone(),
    }
}

fn lifetime(time: Duration) -> Lifetime {
    Lifetime(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

fn protocol(from: config::Protocol) -> Protocol {
    match from {
        config::Protocol::Udp => Protocol::Udp,
        config::Protocol::Tcp => Protocol::Tcp,
    }
}

/// What the engine is made with.
pub(super) fn gate(config: &Config, realms: Realms) -> GateConfig {
    let from = &config.middlebox;
    let mode = match from.mode {
        config::Mode::Enforce => nftables::Mode::Enforce,
        config::Mode::Observe => nftables::Mode::Observe,
    };
    let local = config.realms.iter().any(|realm| realm.local_media);
    let (mark, nat) = (Mark::bit(from.mark), from.nat.clone());
    let listeners = config.realms.iter().flat_map(|realm| &realm.listen);
    let sip = listeners.map(|(listen, _)| match listen.transport {
        Transport::Udp => (middlebox::Transport::Udp, listen.address),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
            (middlebox::Transport::Tcp, listen.address)
        }
    });
    let sip = sip.collect();
    GateConfig { mark, nat, mode, local, dscp: from.dscp, cap: from.cap, sip, ..GateConfig::new(realms) }
}
