//! The kernel under test: the engine on the firewall host, between the administrator's rules.

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use engine_contract::{Bench, Shot, realms};
use middlebox::{End, Engine, Key, Source};
use nftables::{Features, Firewall, GateConfig, Nft};

use crate::network::{Network, SENTINEL};

/// The engine and its world.
pub(crate) struct Kernel {
    pub(crate) network: Network,
    pub(crate) engine: Option<Nft>,
    limit: Features,
}

impl Kernel {
    /// A firewall whose kernel has no more than `limit`.
    pub(crate) fn new(limit: Features) -> io::Result<Self> {
        Self::with(GateConfig::new(realms()), limit)
    }

    pub(crate) fn with(config: GateConfig, limit: Features) -> io::Result<Self> {
        let network = Network::new()?;
        let mark = config.mark;
        let engine = network.firewall.run(|| {
            Firewall::new("inside0", mark).install().map_err(io::Error::other)?;
            Nft::open_limited(config, limit).map_err(io::Error::other)
        })?;
        let kernel = Self { network, engine: Some(engine), limit };
        for chain in ["forward", "input"] {
            kernel.nft(&format!("insert rule inet filter {chain} udp dport {SENTINEL} accept"))?;
        }
        Ok(kernel)
    }

    pub(crate) fn gate(&mut self) -> &mut Nft {
        self.engine.as_mut().expect("an engine is open")
    }

    /// What a process that dies does: the sockets close, the table stays.
    pub(crate) fn die(&mut self) {
        self.engine = None;
    }

    /// What its successor does.
    pub(crate) fn rise(&mut self, config: GateConfig) -> io::Result<()> {
        let limit = self.limit;
        let open = || Nft::open_limited(config, limit).map_err(io::Error::other);
        self.engine = Some(self.network.firewall.run(open)?);
        Ok(())
    }

    /// Lets the administrator's tool do something; an error if it could not.
    pub(crate) fn nft(&self, commands: &str) -> io::Result<String> {
        let mut command = Command::new("nft");
        command.arg("-f").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.network.firewall.spawn(&mut command)?;
        child.stdin.take().expect("piped").write_all(commands.as_bytes())?;
        let output = child.wait_with_output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }
}

impl Kernel {
    /// Deletes what says the address of a translation.
    fn sabotage_translation(&mut self, key: &Key, end: End) -> bool {
        let digit = if key.destination().is_ipv4() { '4' } else { '6' };
        let (class, from) = match key.source() {
            Source::Host(host) => (format!("host{digit}"), format!("{host} . ")),
            Source::Exact { address, port } => (format!("exact{digit}"), format!("{address} . {port} . ")),
            Source::Network(network) => {
                (format!("from_{}", network.to_string().replace(':', "_")), String::new())
            }
        };
        let way = if end == End::Source { "out" } else { "in" };
        let to = format!("{} . {}", key.destination(), key.ports().first());
        let done =
            self.nft(&format!("delete element inet postern {way}_{class}_address {{ udp . {from}{to} }}"));
        assert_eq!(done.is_err(), self.gate().features().owner, "{done:?}");
        done.is_ok()
    }
}

impl Bench for Kernel {
    fn engine(&mut self) -> &mut dyn Engine {
        self.gate()
    }

    fn send(&mut self, shot: Shot, count: u32) -> u32 {
        self.network.send(shot, count, 172).expect("packets can be sent")
    }

    fn wait(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn sabotage(&mut self, key: &Key) -> bool {
        if let Some(translation) = key.translation() {
            return self.sabotage_translation(key, translation.end);
        }
        let element = |set: &str, from: String| {
            let protocol = key.transport().protocol();
            let to = format!("{} . {}", key.destination(), key.ports().first());
            format!("delete element inet postern {set} {{ {protocol} . {from}{to} }}")
        };
        let digit = |address: IpAddr| if address.is_ipv4() { '4' } else { '6' };
        let pairs = if key.ports().is_pair() { "_pairs" } else { "" };
        let command = match key.source() {
            Source::Host(host) => element(&format!("host{}{pairs}", digit(host)), format!("{host} . ")),
            Source::Exact { address, port } => {
                element(&format!("exact{}", digit(address)), format!("{address} . {port} . "))
            }
            Source::Network(network) => {
                let name = network.to_string().replace(':', "_");
                element(&format!("from_{name}{pairs}"), String::new())
            }
        };
        let done = self.nft(&command);
        assert_eq!(done.is_err(), self.gate().features().owner, "{done:?}");
        done.is_ok()
    }

    fn tcp(&self) -> bool {
        true
    }
}
