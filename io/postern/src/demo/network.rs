//! The demo's hosts, its administrator's firewall, and Postern on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use midcom::Direction;
use netns::{Host, again};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::interrupt;
use super::scene::{DENIED, House, INSIDE, LAST_PORT, OUTSIDE, STRANGER, Scene};
use super::wires::Wires;
use crate::admin::client;
use crate::admin::protocol::{
    AgentStatus, PinholeLine, Pinholes, Request, agent_socket, middlebox_socket, way,
};

/// Postern's addresses.
pub(crate) const BORDER_OUTSIDE: &str = "198.51.100.1";
const BORDER_INSIDE: &str = "10.0.40.1";
/// The firewall's ends of the cables, outside and inside.
const CABLES: [&str; 2] = ["outside0", "inside0"];
/// Exit status of a demo that was told to stop, as shells have it for Ctrl-C.
const INTERRUPTED: i32 = 130;
/// How long Postern may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Outside phone, firewall, inside phone.
pub(crate) struct Network {
    pub(crate) outside: Host,
    pub(crate) inside: Host,
    firewall: Host,
    postern: Child,
    /// The process to end when the demo is interrupted.
    run: Arc<AtomicU32>,
    folder: PathBuf,
    house: House,
}

impl Network {
    /// Builds it and starts Postern. The process must be root, or root in a user namespace of its own.
    ///
    /// # Errors
    /// The kernel's refusal, or what Postern said instead of starting.
    pub(crate) fn new() -> io::Result<Self> {
        let [outside, firewall, inside] =
            [Host::new("outside")?, Host::new("firewall")?, Host::new("inside")?];
        for (host, cable, border, addresses) in [
            (&outside, CABLES[0], BORDER_OUTSIDE, [OUTSIDE, DENIED, STRANGER].as_slice()),
            (&inside, CABLES[1], BORDER_INSIDE, [INSIDE].as_slice()),
        ] {
            host.cable("eth0", &firewall, cable)?;
            let gateway = border.parse().map_err(io::Error::other)?;
            firewall.address(cable, network(gateway)?)?;
            for address in addresses {
                host.address("eth0", network(*address)?)?;
            }
            host.route("0.0.0.0/0".parse().map_err(io::Error::other)?, gateway)?;
        }
        firewall.forward()?;
        let rules = nftables::Firewall::new(CABLES[1], nftables::Mark::default());
        firewall.run(|| rules.install().map_err(io::Error::other))?;
        let folder = std::env::temp_dir().join(format!("postern-demo-{}", std::process::id()));
        let house = House::default();
        let postern = start(&firewall, &folder, house)?;
        let run = Arc::new(AtomicU32::new(postern.id()));
        let mut network = Self { outside, inside, firewall, postern, run, folder, house };
        let (run, folder) = (Arc::clone(&network.run), network.folder.clone());
        interrupt::tidy_up(INTERRUPTED, move || {
            end(run.load(Ordering::Relaxed));
            let _ = fs::remove_dir_all(folder);
        })?;
        network.wait()?;
        Ok(network)
    }

    /// Sets Postern up in another way: it is stopped, and started with another configuration.
    ///
    /// # Errors
    /// What Postern said instead of starting.
    pub(crate) fn set_up(&mut self, house: House) -> io::Result<()> {
        if house == self.house {
            return Ok(());
        }
        end(self.postern.id());
        self.postern = start(&self.firewall, &self.folder, house)?;
        self.run.store(self.postern.id(), Ordering::Relaxed);
        self.house = house;
        self.wait()
    }

    /// The topology, for the reader.
    pub(crate) fn picture(&self) -> String {
        format!(
            "\n  outside phone ──────────── firewall ──────────── inside phone\n  {OUTSIDE}       \
             {BORDER_OUTSIDE} | {BORDER_INSIDE}       {INSIDE}\n\n  three private hosts on this machine's kernel; \
             forwarding is dropped by default;\n  `postern run` is process {} with its two halves as children\n",
            self.postern.id()
        )
    }

    /// A view of both cables for a scene, from now on.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub(crate) fn wires(&self, scene: &Scene) -> io::Result<Wires> {
        let own = |address: &str| address.parse().map_err(io::Error::other);
        Wires::new(&self.firewall, CABLES, [own(BORDER_OUTSIDE)?, own(BORDER_INSIDE)?], scene)
    }

    /// Where the agent half is asked.
    pub(crate) fn agent(&self) -> PathBuf {
        agent_socket(&self.folder)
    }

    /// How many rules the middlebox has and how many entries the kernel holds.
    ///
    /// # Errors
    /// If the middlebox half does not answer.
    pub(crate) fn open(&self) -> io::Result<(usize, usize)> {
        let request = Request::Pinholes { kernel: true };
        let pinholes: Pinholes =
            client::ask(&middlebox_socket(&self.folder), &request).map_err(io::Error::other)?;
        Ok((pinholes.rules.len(), pinholes.kernel.map_or(0, |entries| entries.len())))
    }

    /// The rules that let media in to a host inside.
    ///
    /// # Errors
    /// If the middlebox half does not answer.
    pub(crate) fn rules_toward(&self, inside: std::net::SocketAddr) -> io::Result<Vec<PinholeLine>> {
        let request = Request::Pinholes { kernel: true };
        let pinholes: Pinholes =
            client::ask(&middlebox_socket(&self.folder), &request).map_err(io::Error::other)?;
        let inside = inside.to_string();
        let leads =
            |rule: &&PinholeLine| rule.direction == way(Direction::Inbound) && rule.inside.contains(&inside);
        Ok(pinholes.rules.iter().filter(leads).cloned().collect())
    }

    /// What `postern revoke` does.
    ///
    /// # Errors
    /// If the middlebox half does not know the rule.
    pub(crate) fn revoke(&self, pid: u32) -> io::Result<()> {
        let asked: Result<u32, String> =
            client::ask(&middlebox_socket(&self.folder), &Request::Revoke { pid });
        asked.map(drop).map_err(io::Error::other)
    }

    /// What the agent half has counted since it was started.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn status(&self) -> io::Result<AgentStatus> {
        client::ask(&self.agent(), &Request::Status).map_err(io::Error::other)
    }

    /// Waits until the agent has a session with the middlebox.
    fn wait(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let status: Result<AgentStatus, String> = client::ask(&self.agent(), &Request::Status);
            if status.is_ok_and(|status| status.middleboxes.iter().any(|middlebox| middlebox.up)) {
                return Ok(());
            }
            if self.postern.try_wait()?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(log_of(&self.folder)).unwrap_or_default();
        Err(io::Error::other(format!("Postern did not start:\n{log}")))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        end(self.postern.id());
        // What stays in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ends `postern run` and waits for it; it may have ended already.
fn end(run: u32) {
    // The kernel's process numbers fit: they are i32 there.
    let run = Pid::from_raw(i32::try_from(run).unwrap_or(i32::MAX));
    let _ = kill(run, Signal::SIGTERM);
    let _ = again(|| Ok(waitpid(run, None)?));
}

/// Writes the demo's configuration and starts `postern run` on the firewall.
fn start(firewall: &Host, folder: &Path, house: House) -> io::Result<Child> {
    fs::create_dir_all(folder)?;
    let file = folder.join("postern.toml");
    fs::write(&file, configuration(folder, house))?;
    let log = fs::File::create(log_of(folder))?;
    firewall.spawn(
        Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log),
    )
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("postern.log")
}

fn configuration(folder: &Path, house: House) -> String {
    let run_dir = folder.display().to_string();
    let reserve = house.reserve;
    let room = house.room.map_or_else(String::new, |rules| format!("max-rules = {rules}\n"));
    format!(
        r#"run-dir = {run_dir:?}
user = "nobody"

[realm.outside]
listen = ["udp:{BORDER_OUTSIDE}:5060"]

[realm.inside]
listen = ["udp:{BORDER_INSIDE}:5060"]
media = ["10.0.40.0/24"]

[[route]]
to = "inside"
next-hop = "sip:{INSIDE}"

[[route]]
to = "outside"
next-hop = "sip:{OUTSIDE}"

[calls]
reserve = {reserve}

[middlebox]
deny = ["{DENIED}"]
ports = "16384-{LAST_PORT}"
{room}"#
    )
}

/// An address of the demo with its /24.
fn network(address: std::net::IpAddr) -> io::Result<IpNet> {
    IpNet::new(address, 24).map_err(io::Error::other)
}
