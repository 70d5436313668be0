//! The configuration in the terms of the middlebox and its engine, and who is which agent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use midcom::Lifetime;
use middlebox::{AgentId, AgentPolicy, Policy, Realm, Realms, ReversePath, Rights, Side};
use nftables::{GateConfig, Mark};
use nix::unistd::Uid;

use super::operator;
use crate::config::{self, Config};
use crate::runtime::interfaces;
use crate::sandbox::Identity;

/// Everybody on the Unix socket is one agent: a restarted agent half must find its rules again.
pub(super) const LOCAL: AgentId = AgentId(0);

/// Who may open a session.
#[derive(Debug, Clone)]
pub(super) struct Guests {
    /// Users on the Unix socket.
    pub users: Vec<u32>,
    /// Addresses over TCP, each an agent of its own.
    pub peers: Vec<IpAddr>,
}

impl Guests {
    pub(super) fn new(config: &Config, agent: &Identity) -> Result<Self, String> {
        let mut users = vec![0, Uid::effective().as_raw(), agent.uid.as_raw()];
        for name in &config.middlebox.users {
            let user =
                Identity::of(name).ok_or_else(|| format!("there is no user `{name}` (key `users`)"))?;
            users.push(user.uid.as_raw());
        }
        Ok(Self { users, peers: config.middlebox.peers.clone() })
    }

    /// The agent behind a Unix socket, if this user may be one.
    pub(super) fn local(&self, uid: u32) -> Option<AgentId> {
        self.users.contains(&uid).then_some(LOCAL)
    }

    /// The agent at an address, if it may be one.
    pub(super) fn remote(&self, address: IpAddr) -> Option<AgentId> {
        let address = address.to_canonical();
        let number = (1..).zip(&self.peers).find(|(_, peer)| **peer == address).map(|(number, _)| number);
        number.map(AgentId)
    }
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
        interfaces: interfaces::of_media(realm, &places),
        reverse_path,
    };
    // A realm on neither side is nobody's: nothing is opened for it, and nothing of it is shut.
    let sides = (0..).map(side).zip(&config.realms);
    let sides = sides.filter_map(|(side, realm)| Some((side?, realm)));
    Realms::new(sides.map(realm).collect()).map_err(|error| error.to_string())
}

/// What each agent may do.
pub(super) fn policy(config: &Config) -> Policy {
    let from = &config.middlebox;
    let agent = |name: String| AgentPolicy {
        name,
        internal: from.internal.clone(),
        ports: from.ports.clone(),
        rules_max: from.rules_max,
        lifetime_max: Lifetime(u32::try_from(from.lifetime_max.as_secs()).unwrap_or(u32::MAX)),
        rights: Rights::default(),
    };
    let remote = (1..).zip(&from.peers).map(|(number, peer)| (AgentId(number), agent(peer.to_string())));
    let agents: BTreeMap<_, _> = [(LOCAL, agent("local".into())), (AgentId::OPERATOR, operator::policy())]
        .into_iter()
        .chain(remote)
        .collect();
    Policy { agents, deny: from.deny.clone() }
}

/// What the engine is made with.
pub(super) fn gate(config: &Config, realms: Realms) -> GateConfig {
    GateConfig { mark: Mark::bit(config.middlebox.mark), ..GateConfig::new(realms) }
}
