//! One private host.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

use ipnet::IpNet;
use nix::sched::{CloneFlags, setns, unshare};

use crate::rtnetlink::Route;

/// A network namespace. It lives as long as a clone of this value or a process inside it.
#[derive(Debug, Clone)]
pub struct Host {
    name: Arc<str>,
    namespace: Arc<File>,
}

impl Host {
    /// A new host with nothing but a loopback interface, which is up.
    ///
    /// # Errors
    /// The kernel's refusal; `EPERM` without CAP_SYS_ADMIN (see [`crate::become_root`]).
    pub fn new(name: &str) -> io::Result<Self> {
        let namespace = on_new_thread(name, || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })?;
        let host = Self { name: name.into(), namespace: Arc::new(namespace) };
        host.run(|| Route::open()?.up("lo"))?;
        Ok(host)
    }

    /// The name given to [`Host::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace, for `setns`.
    #[must_use]
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Runs `work` on a thread inside this host and waits for it. Sockets opened there stay in this host.
    ///
    /// # Errors
    /// What `work` gives, or the kernel's refusal to enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_new_thread(&self.name, || {
            setns(self.namespace(), CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }

    /// Starts a program on this host.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())
    }

    /// Lays a cable: interface `here` on this host, interface `there` on `other`, both up.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn cable(&self, here: &str, other: &Self, there: &str) -> io::Result<()> {
        self.run(|| {
            let mut route = Route::open()?;
            route.cable(here, there, other.namespace())?;
            route.up(here)
        })?;
        other.run(|| Route::open()?.up(there))
    }

    /// Gives an interface an address. IPv6 addresses are usable at once (no duplicate detection).
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn address(&self, interface: &str, address: IpNet) -> io::Result<()> {
        self.run(|| Route::open()?.address(interface, address))
    }

    /// Sends everything for `destination` to `gateway`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn route(&self, destination: IpNet, gateway: IpAddr) -> io::Result<()> {
        self.run(|| Route::open()?.route(destination, gateway))
    }

    /// Writes a network sysctl of this host, e.g. `("net/ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn sysctl(&self, key: &str, value: &str) -> io::Result<()> {
        self.run(|| fs::write(format!("/proc/sys/{key}"), value))
    }

    /// Makes this host forward IPv4 and IPv6.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn forward(&self) -> io::Result<()> {
        self.sysctl("net/ipv4/ip_forward", "1")?;
        self.sysctl("net/ipv6/conf/all/forwarding", "1")
    }
}

/// A namespace belongs to a thread, so whatever changes it runs on a thread that ends afterwards.
fn on_new_thread<T: Send>(name: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)?;
        worker.join().unwrap_or_else(|_| Err(io::Error::other("the thread inside the namespace panicked")))
    })
}
