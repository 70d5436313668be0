//! Outside – firewall – inside, and a third network, with Postern on the firewall.
//!
//! ```text
//!  outside phone 198.51.100.20 ──outside0─┐            ┌─inside0── inside phone 10.0.40.20
//!                198.51.100.21            firewall .1                            10.0.40.21
//!                          third 192.0.2.20 ──third0─┘
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netns::Host;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

/// What a lab trial gives.
pub(crate) type Outcome = Result<(), libtest_mimic::Failed>;
/// A lab trial by name.
pub(crate) type Named = (&'static str, fn() -> Outcome);

/// Where the outside phone answers.
pub(crate) const OUTSIDE: &str = "198.51.100.20";
/// Where the inside phone answers.
pub(crate) const INSIDE: &str = "10.0.40.20";
/// Postern towards the outside.
pub(crate) const BORDER_OUTSIDE: &str = "198.51.100.1";
/// Postern towards the inside.
pub(crate) const BORDER_INSIDE: &str = "10.0.40.1";

/// An administrator's firewall as they write it: default drop, replies and everything outbound allowed, and the one line for Postern.
pub(crate) const FIREWALL: &str = r#"
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    meta l4proto { icmp, icmpv6 } accept
    udp dport 5060 accept
    tcp dport { 5060, 7626 } accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state untracked meta mark & 0x01000000 == 0x01000000 accept
    ct state established,related accept
    
    iifname "inside0" accept
  }
}
"#;

/// The smallest configuration for this network.
pub(crate) const CONFIG: &str = r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060", "tcp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060", "tcp:10.0.40.1:5060"]
media  = ["10.0.40.0/24"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[[route]]
to = "outside"
next-hop = "sip:198.51.100.20"
"#;

/// The same with IPv6 on both sides.
pub(crate) const CONFIG_IPV6: &str = r#"
[realm.outside]
listen = ["udp:[2001:db8:a::1]:5060"]

[realm.inside]
listen = ["udp:[2001:db8:b::1]:5060"]
media  = ["2001:db8:b::/64"]

[[route]]
to = "inside"
next-hop = "sip:[2001:db8:b::20]"

[[route]]
to = "outside"
next-hop = "sip:[2001:db8:a::20]"
"#;

/// Without rates and bans, but for the trials of these: the others are about what is behind that door.
fn unprotected(config: &str) -> &'static str {
    match config.contains("[protection]") {
        true => "",
        false => {
            "\n[protection]\nban-for = \"off\"\nrequests-per-source = 0\ncalls-per-source = 0\nregistrations-per-source = 0\n"
        }
    }
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// The hosts of one trial.
pub(crate) struct World {
    pub(crate) outside: Host,
    pub(crate) firewall: Host,
    pub(crate) inside: Host,
    pub(crate) third: Host,
    pub(crate) folder: PathBuf,
}

impl World {
    /// The hosts without a cable, for those who lay their own.
    pub(crate) fn bare() -> io::Result<Self> {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("postern-lab-{}-{number}", std::process::id()));
        let [outside, firewall, inside, third] =
            [Host::new("outside")?, Host::new("firewall")?, Host::new("inside")?, Host::new("third")?];
        fs::create_dir_all(&folder)?;
        Ok(Self { outside, firewall, inside, third, folder })
    }

    pub(crate) fn new() -> io::Result<Self> {
        let world = Self::bare()?;
        let Self { outside, firewall, inside, third, .. } = &world;
        for (host, cable, borders, addresses) in [
            (
                outside,
                "outside0",
                ["198.51.100.1/24", "2001:db8:a::1/64"],
                ["198.51.100.20/24", "198.51.100.21/24", "2001:db8:a::20/64"].as_slice(),
            ),
            (
                inside,
                "inside0",
                ["10.0.40.1/24", "2001:db8:b::1/64"],
                ["10.0.40.20/24", "10.0.40.21/24", "2001:db8:b::20/64"].as_slice(),
            ),
            (
                third,
                "third0",
                ["192.0.2.1/24", "2001:db8:c::1/64"],
                ["192.0.2.20/24", "2001:db8:c::20/64"].as_slice(),
            ),
        ] {
            host.cable("eth0", firewall, cable)?;
            for address in addresses {
                host.address("eth0", net(address)?)?;
            }
            for (border, everything) in borders.into_iter().zip(["0.0.0.0/0", "::/0"]) {
                firewall.address(cable, net(border)?)?;
                host.route(net(everything)?, net(border)?.addr())?;
            }
        }
        firewall.forward()?;
        world.nft(FIREWALL)?;
        Ok(world)
    }

    /// Feeds the administrator's `nft` on the firewall.
    pub(crate) fn nft(&self, ruleset: &str) -> io::Result<String> {
        let mut child = self.firewall.spawn(
            Command::new("nft")
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )?;
        child.stdin.take().ok_or_else(|| io::Error::other("no stdin"))?.write_all(ruleset.as_bytes())?;
        text(child.wait_with_output()?)
    }

    /// Runs a program on a host to its end and gives what it printed.
    pub(crate) fn command(&self, host: &Host, program: &str, arguments: &[&str]) -> io::Result<String> {
        let child = host.spawn(
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )?;
        text(child.wait_with_output()?)
    }

    /// Changes a host's routes.
    pub(crate) fn route(&self, host: &Host, verb: &str, route: &str) -> io::Result<()> {
        let words: Vec<&str> = ["route", verb].into_iter().chain(route.split(' ')).collect();
        self.command(host, "ip", &words).map(drop)
    }

    /// Starts `postern run` with this configuration and waits until calls are possible.
    pub(crate) fn postern(&self, config: &str) -> io::Result<Postern<'_>> {
        let file = self.folder.join("postern.toml");
        let folder = self.folder.join("run");
        fs::write(
            &file,
            format!(
                "run-dir = {:?}\nuser = \"nobody\"\n{config}{}",
                folder.display().to_string(),
                unprotected(config)
            ),
        )?;
        let log = self.folder.join("postern.log");
        let output = fs::File::create(&log)?;
        let child = self.firewall.spawn(
            Command::new(env!("CARGO_BIN_EXE_postern"))
                .args(["run", "--config"])
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output),
        )?;
        let postern = Postern { world: self, child, file, log };
        postern.wait_for("calls are possible", || postern.is_up())?;
        Ok(postern)
    }

    /// Starts one half alone, with this configuration and what else `prepare` wants of it. Nothing is waited for.
    pub(crate) fn half(
        &self,
        name: &str,
        config: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Postern<'_>> {
        self.half_on(&self.firewall, (name, name), "run", config, prepare)
    }

    /// The same on another host: a half by its command, and by a name; it has this folder below ours for itself.
    pub(crate) fn half_on(
        &self,
        host: &Host,
        (command, name): (&str, &str),
        folder: &str,
        config: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Postern<'_>> {
        let file = self.folder.join(format!("{name}.toml"));
        let folder = self.folder.join(folder);
        fs::write(
            &file,
            format!(
                "run-dir = {:?}\nuser = \"nobody\"\n{config}{}",
                folder.display().to_string(),
                unprotected(config)
            ),
        )?;
        let log = self.folder.join(format!("{name}.log"));
        let output = fs::File::create(&log)?;
        let mut program = Command::new(env!("CARGO_BIN_EXE_postern"));
        program.args([command, "--config"]).arg(&file);
        program.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        prepare(&mut program);
        let child = host.spawn(&mut program)?;
        Ok(Postern { world: self, child, file, log })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::env::var_os("LAB_KEEP").is_none() {
            // Leftovers in the temporary folder harm nobody.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A running `postern run`.
pub(crate) struct Postern<'w> {
    world: &'w World,
    pub(crate) child: Child,
    pub(crate) file: PathBuf,
    log: PathBuf,
}

impl Postern<'_> {
    /// Runs a `postern` command and gives its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> io::Result<Value> {
        let config = self.file.display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["-j", "--config", config.as_str()]);
        let printed = self.world.command(&self.world.firewall, env!("CARGO_BIN_EXE_postern"), &all)?;
        serde_json::from_str(&printed)
            .map_err(|e| io::Error::other(format!("{arguments:?} printed no JSON: {e}: {printed}")))
    }

    /// Runs a `postern` command and gives its text.
    pub(crate) fn text(&self, arguments: &[&str]) -> io::Result<String> {
        let config = self.file.display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--config", config.as_str()]);
        self.world.command(&self.world.firewall, env!("CARGO_BIN_EXE_postern"), &all)
    }

    /// Waits until something is true. The time only bounds a failure; it decides nothing.
    pub(crate) fn wait_for(&self, what: &str, is_true: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
        self.wait_within(Duration::from_secs(20), what, is_true)
    }

    /// The same for what takes its time.
    pub(crate) fn wait_within(
        &self,
        patience: Duration,
        what: &str,
        mut is_true: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + patience;
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

    /// How many rules the middlebox has, and how many elements the kernel.
    pub(crate) fn pinholes(&self) -> io::Result<(usize, usize)> {
        let pinholes = self.json(&["pinholes", "--kernel"])?;
        let count = |key: &str| {
            let list = pinholes[key].as_array();
            list.map(Vec::len).ok_or_else(|| io::Error::other(format!("no {key} in {pinholes}")))
        };
        Ok((count("rules")?, count("kernel")?))
    }

    /// True when the agent has a session with the middlebox.
    pub(crate) fn is_up(&self) -> io::Result<bool> {
        let status = self.json(&["status"])?;
        Ok(status["middleboxes"].as_array().is_some_and(|all| all.iter().any(|one| one["up"] == true)))
    }

    /// The process of one half: a child of `postern run` whose command line names it.
    pub(crate) fn half(&self, name: &str) -> io::Result<u32> {
        let run = self.child.id();
        for child in fs::read_to_string(format!("/proc/{run}/task/{run}/children"))?.split_whitespace() {
            let line = fs::read(format!("/proc/{child}/cmdline"))?;
            if line.split(|octet| *octet == 0).any(|word| word == name.as_bytes()) {
                return child.parse().map_err(io::Error::other);
            }
        }
        Err(io::Error::other(format!("postern run has no child {name}")))
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as systemd would, and says how long that took and with which exit status.
    pub(crate) fn terminate(mut self) -> io::Result<(Duration, Option<i32>)> {
        let started = Instant::now();
        signal(self.child.id(), "TERM")?;
        let status = self.child.wait()?;
        Ok((started.elapsed(), status.code()))
    }
}

impl Drop for Postern<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = signal(self.child.id(), "TERM");
            let _ = self.child.wait();
        }
    }
}

/// A program of the lab, which does not outlive its trial however that ends.
pub(crate) struct Program(Option<Child>);

impl Program {
    pub(crate) fn of(child: Child) -> Self {
        Self(Some(child))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Waits for its end and gives what it printed.
    pub(crate) fn output(mut self) -> io::Result<Output> {
        let child = self.0.take().ok_or_else(|| io::Error::other("no program"))?;
        child.wait_with_output()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // With its children, if it leads a group of its own.
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal by name to a process.
pub(crate) fn signal(process: u32, name: &str) -> io::Result<()> {
    text(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).output()?).map(drop)
}

/// A program's standard output, or an error that carries everything it said.
pub(crate) fn text(output: Output) -> io::Result<String> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(io::Error::other(format!("{}: {printed}{}", output.status, String::from_utf8_lossy(&output.stderr))))
}

/// Parses an address with its prefix.
pub(crate) fn net(text: &str) -> io::Result<ipnet::IpNet> {
    text.parse().map_err(io::Error::other)
}

/// Reads a file that a program of the lab writes.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))
}
