//! Two firewalls in a row, and Postern's agent half on a third host beside both.
//!
//! ```text
//!  outside phone ─outside0─ edge ─middle0─ core ─inside0─ inside phone
//!  198.51.100.20             └─agent0─ agent ─agent0─┘       10.0.40.20
//!                           198.51.100.1   10.0.40.1
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use netns::Host;
use serde_json::Value;

use crate::callee::Callee;
use crate::clock::Clock;
use crate::media::{Media, RTP_INSIDE, RTP_OUTSIDE};
use crate::raw::{Request, Wire, header, sdp, status};
use crate::witness::expect;
use crate::world::{OUTSIDE, Program, World, net, text};

/// How long something may take that happens; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the agent half finds the middlebox of the edge and that of the core.
pub(crate) const EDGE: &str = "10.9.1.1";
pub(crate) const CORE: &str = "10.9.2.1";
/// What they see of the agent half.
pub(crate) const AGENT_AT_EDGE: &str = "10.9.1.2";
pub(crate) const AGENT_AT_CORE: &str = "10.9.2.2";

/// The last octet of the address that two routers share ([`Row::on_segments`]).
pub(crate) const SHARED: u8 = 252;

/// An administrator's firewall on each of the two: signalling to the agent half, and what the gate has marked.
const FIREWALL: &str = r#"
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    tcp dport 7626 accept
    ip protocol vrrp accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state untracked meta mark & 0x01000000 == 0x01000000 accept
    ct state established,related accept
    udp dport 5060 accept
    udp sport 5060 accept
  }
}
"#;

/// The sides as every host of the row knows them; listeners are the agent half's.
const REALMS: &str = r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]
OUTSIDE

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24"]
INSIDE

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"
"#;

/// The hosts.
pub(crate) struct Row {
    /// Its firewall is the edge, its third host the agent's.
    pub(crate) world: World,
    pub(crate) core: Host,
    /// The clock of the core's middlebox, if it is not the kernel's.
    pub(crate) clock: Option<Clock>,
    /// The agent host's interfaces to the outside; those of another realm are deaf to it.
    outside: &'static [&'static str],
    /// Those to the inside, if they are not only the one with the address of that realm.
    inside: &'static [&'static str],
}

impl Row {
    pub(crate) fn new() -> io::Result<Self> {
        let world = World::bare()?;
        let core = Host::new("core")?;
        let (edge, agent) = (&world.firewall, &world.third);
        world.outside.cable("eth0", edge, "outside0")?;
        world.inside.cable("eth0", &core, "inside0")?;
        edge.cable("middle0", &core, "middle0")?;
        agent.cable("edge0", edge, "agent0")?;
        agent.cable("core0", &core, "agent0")?;
        for (host, cable, address) in [
            (&world.outside, "eth0", "198.51.100.20/32"),
            (edge, "outside0", "198.51.100.254/32"),
            (edge, "middle0", "192.0.2.1/24"),
            (edge, "agent0", "10.9.1.1/24"),
            (agent, "edge0", "10.9.1.2/24"),
            (agent, "edge0", "198.51.100.1/32"),
            (agent, "core0", "10.9.2.2/24"),
            (agent, "core0", "10.0.40.1/32"),
            (&core, "agent0", "10.9.2.1/24"),
            (&core, "middle0", "192.0.2.2/24"),
            (&core, "inside0", "10.0.40.254/32"),
            (&world.inside, "eth0", "10.0.40.20/32"),
        ] {
            host.address(cable, net(address)?)?;
        }
        for (host, route) in [
            (&world.outside, "198.51.100.254 dev eth0"),
            (&world.outside, "default via 198.51.100.254"),
            (edge, "198.51.100.20 dev outside0"),
            (edge, "198.51.100.1 via 10.9.1.2"),
            (edge, "10.0.40.0/24 via 192.0.2.2"),
            (agent, "198.51.100.0/24 via 10.9.1.1"),
            (agent, "10.0.40.0/24 via 10.9.2.1"),
            (&core, "10.0.40.20 dev inside0"),
            (&core, "10.0.40.1 via 10.9.2.2"),
            (&core, "default via 192.0.2.1"),
            (&world.inside, "10.0.40.254 dev eth0"),
            (&world.inside, "default via 10.0.40.254"),
        ] {
            world.route(host, "add", route)?;
        }
        let row = Self { world, core, clock: None, outside: &["edge0"], inside: &[] };
        row.guard()?;
        Ok(row)
    }

    /// Edge and core side by side: media crosses one of the two, by the phones' routes. [`Row::cross`] chooses.
    pub(crate) fn beside() -> io::Result<Self> {
        let world = World::bare()?;
        let core = Host::new("core")?;
        let (edge, agent) = (&world.firewall, &world.third);
        world.outside.cable("eth0", edge, "outside0")?;
        world.outside.cable("eth1", &core, "middle0")?;
        world.inside.cable("eth0", edge, "inside0")?;
        world.inside.cable("eth1", &core, "inside0")?;
        agent.cable("edge0", edge, "agent0")?;
        agent.cable("core0", &core, "agent0")?;
        for (host, cable, address) in [
            (&world.outside, "eth0", "198.51.100.20/32"),
            (edge, "outside0", "198.51.100.254/32"),
            (edge, "inside0", "10.0.40.254/32"),
            (edge, "agent0", "10.9.1.1/24"),
            (agent, "edge0", "10.9.1.2/24"),
            (agent, "edge0", "198.51.100.1/32"),
            (agent, "core0", "10.9.2.2/24"),
            (agent, "core0", "10.0.40.1/32"),
            (&core, "agent0", "10.9.2.1/24"),
            (&core, "middle0", "198.51.100.253/32"),
            (&core, "inside0", "10.0.40.253/32"),
            (&world.inside, "eth0", "10.0.40.20/32"),
        ] {
            host.address(cable, net(address)?)?;
        }
        for (host, route) in [
            (&world.outside, "198.51.100.254 dev eth0"),
            (&world.outside, "198.51.100.253 dev eth1"),
            (&world.inside, "10.0.40.254 dev eth0"),
            (&world.inside, "10.0.40.253 dev eth1"),
            (edge, "198.51.100.20 dev outside0"),
            (edge, "10.0.40.20 dev inside0"),
            (edge, "198.51.100.1 via 10.9.1.2"),
            (edge, "10.0.40.1 via 10.9.1.2"),
            (&core, "198.51.100.20 dev middle0"),
            (&core, "10.0.40.20 dev inside0"),
            (&core, "198.51.100.1 via 10.9.2.2"),
            (&core, "10.0.40.1 via 10.9.2.2"),
        ] {
            world.route(host, "add", route)?;
        }
        let ways = &["edge0", "core0"];
        let row = Self { world, core, clock: None, outside: ways, inside: ways };
        row.guard()?;
        row.cross(EDGE)?;
        Ok(row)
    }

    /// Edge and core side by side on the phones' own networks, as routers that share an address there. The agent half has
    /// both networks too, so SIP crosses neither.
    pub(crate) fn on_segments() -> io::Result<Self> {
        let world = World::bare()?;
        let core = Host::new("core")?;
        let (edge, agent) = (&world.firewall, &world.third);
        for (phones, name, network, own, at_core) in [
            (&world.outside, "outside0", "198.51.100", "198.51.100.20/24", "middle0"),
            (&world.inside, "inside0", "10.0.40", "10.0.40.20/24", "inside0"),
        ] {
            world.command(phones, "ip", &["link", "add", "br0", "type", "bridge"])?;
            world.command(phones, "ip", &["link", "set", "dev", "br0", "up"])?;
            phones.address("br0", net(own)?)?;
            for (host, port, cable, address) in
                [(edge, "edge0", name, "254"), (&core, "core0", at_core, "253"), (agent, "agent0", name, "1")]
            {
                phones.cable(port, host, cable)?;
                world.command(phones, "ip", &["link", "set", "dev", port, "master", "br0"])?;
                host.address(cable, net(&format!("{network}.{address}/24"))?)?;
            }
            world.route(phones, "add", &format!("default via {network}.{SHARED}"))?;
        }
        for (host, cable, there, own, address) in [
            (edge, "agent0", "edge0", "10.9.1.2/24", "10.9.1.1/24"),
            (&core, "agent0", "core0", "10.9.2.2/24", "10.9.2.1/24"),
        ] {
            agent.cable(there, host, cable)?;
            agent.address(there, net(own)?)?;
            host.address(cable, net(address)?)?;
        }
        let row = Self { world, core, clock: None, outside: &[], inside: &[] };
        row.guard()?;
        Ok(row)
    }

    /// From now on everything crosses the edge, or the core, and nothing the other: as a protocol of routers does it.
    pub(crate) fn cross(&self, which: &str) -> io::Result<()> {
        let (outside, inside) = match which {
            EDGE => ("198.51.100.254", "10.0.40.254"),
            _ => ("198.51.100.253", "10.0.40.253"),
        };
        let world = &self.world;
        world.route(&world.third, "replace", &format!("198.51.100.20 via {which}"))?;
        world.route(&world.third, "replace", &format!("10.0.40.20 via {which}"))?;
        world.route(&world.outside, "replace", &format!("default via {outside}"))?;
        world.route(&world.inside, "replace", &format!("default via {inside}"))
    }

    /// Both firewalls of the administrator.
    fn guard(&self) -> io::Result<()> {
        for host in [&self.world.firewall, &self.core] {
            host.forward()?;
            let file = self.world.folder.join("firewall.nft");
            fs::write(&file, FIREWALL)?;
            self.world.command(host, "nft", &["-f", &file.display().to_string()])?;
        }
        Ok(())
    }

    /// Starts the middlebox half of the edge with these keys.
    pub(crate) fn edge(&self, keys: &str) -> io::Result<Half<'_>> {
        self.half(
            &self.world.firewall,
            "middlebox",
            "edge",
            (&["outside0"], &[]),
            &format!("[middlebox]\n{keys}"),
        )
    }

    /// Starts that of the core.
    pub(crate) fn core(&self, keys: &str) -> io::Result<Half<'_>> {
        self.half(&self.core, "middlebox", "core", (&["middle0"], &[]), &format!("[middlebox]\n{keys}"))
    }

    /// Starts the agent half with these sections.
    pub(crate) fn agent(&self, sections: &str) -> io::Result<Half<'_>> {
        self.half(&self.world.third, "agent", "agent", (self.outside, self.inside), sections)
    }

    /// Starts a half on a host and waits until it answers.
    fn half<'r>(
        &'r self,
        host: &'r Host,
        command: &'static str,
        name: &str,
        (outside, inside): (&[&str], &[&str]),
        sections: &str,
    ) -> io::Result<Half<'r>> {
        let path = |ending: &str| self.world.folder.join(format!("{name}{ending}"));
        let (file, log) = (path(".toml"), path(".log"));
        let run_dir = path("-run").display().to_string();
        let interfaces = |names: &[&str]| match names.is_empty() {
            true => String::new(),
            false => format!("interfaces = {names:?}\n"),
        };
        let realms =
            REALMS.replace("OUTSIDE\n", &interfaces(outside)).replace("INSIDE\n", &interfaces(inside));
        fs::write(&file, format!("run-dir = {run_dir:?}\nuser = \"nobody\"\n{realms}\n{sections}"))?;
        let output = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut program = Command::new(env!("CARGO_BIN_EXE_postern"));
        program.args([command, "--config"]).arg(&file).stdin(Stdio::null());
        if let Some(clock) = self.clock.as_ref().filter(|_| name == "core") {
            clock.give_to(&mut program);
        }
        let child = host.spawn(program.stdout(output.try_clone()?).stderr(output))?;
        let half = Half { host, program: Program::of(child), file, log };
        half.wait_for("the half answers", || {
            half.json(&["status"]).map(|status| !status[command].is_null())
        })?;
        Ok(half)
    }
}

/// One half of Postern on one host.
pub(crate) struct Half<'r> {
    host: &'r Host,
    pub(crate) program: Program,
    file: PathBuf,
    log: PathBuf,
}

impl Half<'_> {
    /// Runs a `postern` command beside it and gives its JSON, whatever its exit status.
    pub(crate) fn json(&self, arguments: &[&str]) -> io::Result<Value> {
        let config = self.file.display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(arguments).args(["-j", "--config", &config]);
        let child =
            self.host.spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let printed = child.wait_with_output()?;
        serde_json::from_slice(&printed.stdout).map_err(|_| match text(printed) {
            Err(error) => error,
            Ok(text) => io::Error::other(format!("{arguments:?} printed no JSON: {text}")),
        })
    }

    /// Its configuration file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Writes its file anew, and has it read; the keys that have changed.
    pub(crate) fn reload(&self, from: &str, to: &str) -> io::Result<Value> {
        let text = fs::read_to_string(&self.file)?;
        if !text.contains(from) {
            return Err(io::Error::other(format!("{from} is not in {text}")));
        }
        fs::write(&self.file, text.replace(from, to))?;
        self.json(&["reload"])
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until something is true. The time only bounds a failure; it decides nothing.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        mut is_true: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline {
            match is_true() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = error.to_string(),
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other(format!("waited in vain until {what} ({last})\n{}", self.log())))
    }

    /// Waits until its sessions with all these middleboxes are up, and with no other.
    pub(crate) fn wait_up(&self, names: &[&str]) -> io::Result<()> {
        self.wait_for(&format!("the sessions with {names:?} are up"), || {
            let status = self.json(&["status"])?;
            let all = status["middleboxes"].as_array().cloned().unwrap_or_default();
            let up = |one: &&Value| one["up"] == true;
            let up: Vec<&str> = all.iter().filter(up).filter_map(|one| one["name"].as_str()).collect();
            Ok(up == names)
        })
    }

    /// How many rules it has; an agent half, how many its calls have at all middleboxes.
    pub(crate) fn rules(&self) -> io::Result<usize> {
        // An agent half with nothing open has nothing to say of middleboxes that are not on its host.
        let pinholes = self.json(&["pinholes"]);
        Ok(pinholes.ok().and_then(|pinholes| Some(pinholes["rules"].as_array()?.len())).unwrap_or(0))
    }

    pub(crate) fn wait_rules(&self, count: usize) -> io::Result<()> {
        self.wait_for(&format!("{count} rules are open"), || Ok(self.rules()? == count))
    }
}

/// A call from outside to inside with media in both directions, none of which may be lost.
pub(crate) struct Talk {
    caller: Wire,
    invite: Request,
    to_tag: String,
    pub(crate) media: Media,
    _callee: Callee,
}

impl Talk {
    pub(crate) fn start(row: &Row) -> io::Result<Self> {
        let callee = Callee::start(&row.world, RTP_INSIDE)?;
        let caller = Wire::open(&row.world.outside, OUTSIDE)?;
        let invite = Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, RTP_OUTSIDE));
        let response = caller.ask(&invite)?;
        expect(status(&response), 200, &format!("the answer to INVITE:\n{response}"))?;
        let tag = header(&response, "To").split_once(";tag=").map_or("", |(_, tag)| tag);
        let to_tag = format!(";tag={tag}");
        let ack = Request { id: format!("{}ack", invite.id), ..in_call(&invite, &to_tag, "ACK", 1) };
        caller.send(ack.text().replace(&format!("tag={}ack", invite.id), &format!("tag={}", invite.id)))?;
        let media = Media::start(&row.world)?;
        Ok(Self { caller, invite, to_tag, media, _callee: callee })
    }

    /// Waits until more media has arrived on both sides, from now on.
    pub(crate) fn goes_on(&self, half: &Half<'_>) -> io::Result<()> {
        let before = self.media.heard();
        half.wait_for("media arrives on both sides", || {
            let now = self.media.heard();
            Ok(now.0 >= before.0 + 20 && now.1 >= before.1 + 20)
        })
    }

    pub(crate) fn hang_up(&self) -> io::Result<()> {
        let bye = self.caller.ask(&in_call(&self.invite, &self.to_tag, "BYE", 2))?;
        expect(status(&bye), 200, "status of the answer to BYE")
    }
}

/// Calls once, and gives the status of the answer and how long it took.
pub(crate) fn try_to_call(row: &Row) -> io::Result<(u16, Duration)> {
    let caller = Wire::open(&row.world.outside, OUTSIDE)?;
    let started = Instant::now();
    let response = caller.ask(&Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, RTP_OUTSIDE)))?;
    Ok((status(&response), started.elapsed()))
}

/// A further request of the caller in the call.
fn in_call(invite: &Request, to_tag: &str, method: &'static str, cseq: u32) -> Request {
    let to_tag = to_tag.to_owned();
    Request { method, cseq, to_tag, lines: String::new(), body: String::new(), ..invite.clone() }
}
