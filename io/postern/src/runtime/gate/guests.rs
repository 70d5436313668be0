//! Who may open a session, and as which agent: by where a connection comes from, by a secret, or by both.

use std::collections::BTreeMap;
use std::net::IpAddr;

use middlebox::AgentId;
use nix::unistd::Uid;
use simco::authentication::Secret;

use super::settings::{LOCAL, id, names};
use crate::config::Config;
use crate::sandbox::Identity;
use crate::secret;
use crate::tls::Certificate;

/// Where a connection comes from, and what that says of its other end.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A process of this user; `None` if the kernel would not say of which.
    Unix(Option<u32>),
    /// An address, over plain TCP.
    Tcp(IpAddr),
    /// Whoever has the key of this certificate, over TLS.
    Tls(Certificate),
}

/// Somebody who can prove to be an agent.
pub(super) type Claim = (AgentId, Secret);

/// Who may open a session.
#[derive(Debug, Clone)]
pub(super) struct Guests {
    users: Vec<(u32, AgentId)>,
    peers: Vec<(IpAddr, AgentId)>,
    certificates: Vec<(String, AgentId)>,
    /// Of agents that have one.
    secrets: BTreeMap<AgentId, Secret>,
    /// Agents that are known by their secret alone.
    unplaced: Vec<AgentId>,
}

impl Guests {
    /// Those of a configuration, without their secrets.
    pub(super) fn new(config: &Config, agent: Uid) -> Result<Self, String> {
        let from = &config.middlebox;
        names(config)?;
        let number = |name: &String| {
            let user = Identity::of(name).map(|user| user.uid.as_raw());
            user.ok_or_else(|| format!("there is no user `{name}` (key `users`)"))
        };
        let mut users = Vec::new();
        for agent in &from.agents {
            for name in &agent.users {
                users.push((number(name)?, id(&agent.name)));
            }
        }
        users.extend([0, Uid::effective().as_raw(), agent.as_raw()].map(|uid| (uid, LOCAL)));
        for name in &from.users {
            users.push((number(name)?, LOCAL));
        }
        let peers = from.peers.iter().map(|peer| (*peer, id(&peer.to_string())));
        let named =
            from.agents.iter().flat_map(|agent| agent.peers.iter().map(|peer| (*peer, id(&agent.name))));
        let certificates = from
            .agents
            .iter()
            .flat_map(|agent| agent.certificates.iter().map(|name| (name.clone(), id(&agent.name))));
        let unplaced = from.agents.iter().filter(|agent| agent.is_unplaced()).map(|agent| id(&agent.name));
        Ok(Self {
            users,
            peers: peers.chain(named).collect(),
            certificates: certificates.collect(),
            secrets: BTreeMap::new(),
            unplaced: unplaced.collect(),
        })
    }

    /// With the secrets as their files are now.
    pub(super) fn with_secrets(mut self, config: &Config) -> Result<Self, String> {
        let mut read: Vec<(&str, Secret)> = Vec::new();
        for agent in &config.middlebox.agents {
            let Some(path) = &agent.secret else { continue };
            let secret = secret::read(path, Uid::effective().as_raw())?;
            if let Some((other, _)) = read.iter().find(|(_, known)| *known == secret) {
                let name = &agent.name;
                return Err(format!(
                    "agents `{name}` and `{other}` have the same secret; each needs one of its own"
                ));
            }
            read.push((&agent.name, secret));
        }
        self.secrets = read.into_iter().map(|(name, secret)| (id(name), secret)).collect();
        Ok(self)
    }

    /// The agent that a connection is from, as far as where it comes from can tell.
    pub(super) fn known(&self, origin: &Origin) -> Option<AgentId> {
        match origin {
            Origin::Unix(uid) => {
                self.users.iter().find(|(user, _)| Some(*user) == *uid).map(|(_, agent)| *agent)
            }
            Origin::Tcp(address) => {
                let address = address.to_canonical();
                self.peers.iter().find(|(peer, _)| *peer == address).map(|(_, agent)| *agent)
            }
            Origin::Tls(certificate) => {
                self.certificates.iter().find(|(name, _)| certificate.is(name)).map(|(_, agent)| *agent)
            }
        }
    }

    /// Who a connection has to prove to be: the agent that it is from, if that one has a secret; one of those that have
    /// nothing else, if it is from nobody known. Empty: nothing can be proven, or nothing need be.
    pub(super) fn claims(&self, origin: &Origin) -> Vec<Claim> {
        let agents = match (self.known(origin), origin) {
            (Some(agent), _) => vec![agent],
            (None, Origin::Tcp(_) | Origin::Tls(_)) => self.unplaced.clone(),
            // Who may use the socket is said by `users`.
            (None, Origin::Unix(_)) => Vec::new(),
        };
        let claim = |agent| self.secrets.get(&agent).map(|secret| (agent, secret.clone()));
        agents.into_iter().filter_map(claim).collect()
    }

    /// Which agents of a configuration have other secrets than they had with `before`.
    pub(super) fn other_secrets<'c>(&self, config: &'c Config, before: &Self) -> Vec<&'c str> {
        let agents = config.middlebox.agents.iter().map(|agent| agent.name.as_str());
        agents.filter(|name| self.secrets.get(&id(name)) != before.secrets.get(&id(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SITE: &str = "[realm.outside]\nlisten = [\"udp:203.0.113.9:5060\"]\n[realm.inside]\nlisten = [\"udp:10.0.0.9:5060\"]\n\
                        media = [\"10.0.40.0/24\"]\n[[route]]\nto = \"inside\"\nnext-hop = \"sip:10.0.0.5\"\n[middlebox]\n";

    /// The guests of a file with these agents; `SECRET` in it is a file of its own.
    fn guests(agents: &str, secrets: &[&str]) -> Result<Guests, String> {
        let mut text = format!("{SITE}{agents}");
        for (number, secret) in secrets.iter().enumerate() {
            let path = std::env::temp_dir().join(format!("postern-guest-{}-{secret}", std::process::id()));
            let mode = fs::Permissions::from_mode(0o600);
            let written = fs::write(&path, secret.repeat(32)).and_then(|()| fs::set_permissions(&path, mode));
            written.map_err(|error| error.to_string())?;
            text = text.replace(&format!("SECRET{number}"), &path.display().to_string());
        }
        let config = Config::parse("test.toml", &text).map_err(|refused| refused.text)?;
        Guests::new(&config, Uid::from_raw(4_000_000))?.with_secrets(&config)
    }

    fn tcp(address: &str) -> Origin {
        Origin::Tcp(address.parse().unwrap())
    }

    fn tls(name: &str) -> Origin {
        Origin::Tls(Certificate {
            names: vec![name.into()],
            domains: Vec::new(),
            not_before: 0,
            not_after: 0,
        })
    }

    fn who(guests: &Guests, origin: &Origin) -> Vec<AgentId> {
        guests.claims(origin).into_iter().map(|(agent, _)| agent).collect()
    }

    const AGENTS: &str = "[middlebox.agent.branch]\npeers = [\"10.0.0.7\"]\nusers = [\"0\"]\nsecret = \"SECRET0\"\n\
                          [middlebox.agent.office]\ncertificates = [\"office.example.net\"]\n\
                          [middlebox.agent.roamer]\nsecret = \"SECRET1\"\n";

    #[test]
    fn an_agent_with_a_place_proves_to_be_that_one() {
        let guests = guests(AGENTS, &["k", "l"]).unwrap();
        for origin in [tcp("10.0.0.7"), tcp("::ffff:10.0.0.7"), Origin::Unix(Some(0))] {
            assert_eq!(guests.known(&origin), Some(id("branch")), "{origin:?}");
            assert_eq!(who(&guests, &origin), [id("branch")], "{origin:?}");
        }
        assert_eq!(guests.known(&tls("office.example.net")), Some(id("office")));
        assert_eq!(who(&guests, &tls("office.example.net")), []);
    }

    #[test]
    fn from_elsewhere_only_those_without_a_place_can_be_meant() {
        let guests = guests(AGENTS, &["k", "l"]).unwrap();
        for origin in [tcp("10.0.0.8"), tls("nobody.example.net")] {
            assert_eq!(guests.known(&origin), None, "{origin:?}");
            assert_eq!(who(&guests, &origin), [id("roamer")], "{origin:?}");
        }
        for origin in [Origin::Unix(Some(4_000_001)), Origin::Unix(None)] {
            assert_eq!((guests.known(&origin), who(&guests, &origin)), (None, vec![]), "{origin:?}");
        }
    }

    #[test]
    fn two_agents_of_one_secret_are_refused() {
        assert!(guests(AGENTS, &["k", "k"]).unwrap_err().contains("have the same secret"));
        assert!(guests(AGENTS, &["k"]).unwrap_err().contains("absolute path"));
    }

    #[test]
    fn another_secret_is_noticed_whatever_its_file_is_called() {
        let (before, after) = (guests(AGENTS, &["k", "l"]).unwrap(), guests(AGENTS, &["k", "m"]).unwrap());
        let config = Config::parse("test.toml", &format!("{SITE}{}", AGENTS.replace("SECRET", "/"))).unwrap();
        assert_eq!(after.other_secrets(&config, &before), ["roamer"]);
        assert_eq!(after.other_secrets(&config, &after), [""; 0]);
    }
}
