//! What the kernel engine promises beyond the contract.

use std::io;
use std::process::Command;
use std::time::Duration;

use engine_contract::{AGENT, Bench, Host, INSIDE, OUTSIDE, Place, Shot, authority, realms, unmanaged};
use libtest_mimic::Failed;
use midcom::{Direction, Protocol, Tuple};
use middlebox::{
    Counter, Drift, EngineFailure, Entry, Opening, Operation, Permit, Realms, ReversePath, Transport,
};
use nftables::{Disturbance, Error, Features, GateConfig, Mark, Mode, Nft, Traffic};

use crate::firewall::Kernel;
use crate::media::Stream;

const FAR: u16 = 17000;
const NEAR: u16 = 20000;
const LONG: Duration = Duration::from_secs(300);
const WITHOUT_OWNER: Features = Features { owner: false, ..Features::ALL };

/// Ten packets from the phone outside to a port of the phone inside.
fn inbound(v4: bool, port: u16) -> Shot {
    shot(v4, (OUTSIDE, FAR), (INSIDE, port))
}

pub(crate) fn shot(v4: bool, from: (Host, u16), to: (Host, u16)) -> Shot {
    let at = |(host, port): (Host, u16)| match v4 {
        true => (host.v4, port).into(),
        false => (host.v6, port).into(),
    };
    let (source, destination) = (at(from), at(to));
    let arrives = (source, destination);
    Shot { from: from.0.place, transport: Transport::Udp, source, destination, opens: false, arrives }
}

/// The permit for exactly one direction of a shot, from any port of its source.
pub(crate) fn permit(shot: Shot) -> Permit {
    let mut source = shot.source;
    source.set_port(0);
    let from = Tuple::host(source, Protocol::Udp, 1);
    let to = Tuple::host(shot.destination, Protocol::Udp, 1);
    let opening = match shot.from {
        Place::Inside => Opening { direction: Direction::Outbound, internal: from, external: to },
        Place::Outside | Place::Third => {
            Opening { direction: Direction::Inbound, internal: to, external: from }
        }
    };
    authority().permit(AGENT, &opening).expect("the contract's authority allows everything").remove(0)
}

pub(crate) fn add(shot: Shot) -> Operation {
    Operation::Add { permit: permit(shot), lifetime: LONG }
}

fn open(kernel: &mut Kernel, shot: Shot) {
    assert_eq!(kernel.engine().apply(&[add(shot)]), [Ok(())]);
}

fn arrived(kernel: &mut Kernel, shot: Shot) -> u32 {
    kernel.send(shot, 10)
}

/// Both phones send before, during and after. What was sent before the first commit returned or after the last one did
/// must not arrive, although connections are "established" and everybody inside may send out.
pub(crate) fn close_a_call() -> Result<(), Failed> {
    for (limit, v4) in [(Features::ALL, true), (Features::ALL, false), (WITHOUT_OWNER, true)] {
        let mut kernel = Kernel::new(limit)?;
        let there = shot(v4, (INSIDE, NEAR), (OUTSIDE, FAR));
        let shots = [inbound(v4, NEAR), there];
        let streams = Stream::call(&kernel.network, shots)?;
        wait_until(|| streams.iter().all(|stream| stream.next_number() > 50));
        assert_eq!(streams.each_ref().map(Stream::count), [0, 0], "nothing passes before");
        assert_eq!(kernel.engine().apply(&shots.map(add)), [Ok(()), Ok(())]);
        wait_until(|| streams.iter().all(|stream| stream.count() > 50));
        let keys = shots.map(|shot| Operation::Remove { key: permit(shot).key() });
        assert_eq!(kernel.engine().apply(&keys), [Ok(()), Ok(())]);
        let closed = streams.each_ref().map(Stream::next_number);
        wait_until(|| streams.iter().zip(closed).all(|(stream, closed)| stream.next_number() > closed + 50));
        for (stream, closed) in streams.into_iter().zip(closed) {
            let last = stream.stop()?;
            assert!(last <= closed, "packet {last} passed, but the gate was closed before {closed}");
        }
    }
    Ok(())
}

/// Waits for what must come; a broken test waits for ever, which its runner ends.
pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The kernel puts fragments together before the gate, because the gate says "ct" somewhere.
pub(crate) fn fragments() -> Result<(), Failed> {
    let mut kernel = Kernel::new(Features::ALL)?;
    for v4 in [true, false] {
        let shot = inbound(v4, NEAR);
        assert_eq!(kernel.network.send(shot, 10, 3000)?, 0);
        open(&mut kernel, shot);
        assert_eq!(kernel.network.send(shot, 10, 3000)?, 10);
    }
    Ok(())
}

/// Other software's marks open nothing: what is set before the gate is cleared there, what is set behind it comes
/// without "untracked".
pub(crate) fn foreign_marks() -> Result<(), Failed> {
    for priority in [-310, -290] {
        let mut kernel = Kernel::new(Features::ALL)?;
        kernel.nft(&format!(
            "table inet other {{ chain c {{ type filter hook prerouting priority {priority};
             meta mark set meta mark | 0x01000002; }}; }}"
        ))?;
        for v4 in [true, false] {
            for port in [NEAR, 5353] {
                assert_eq!(arrived(&mut kernel, inbound(v4, port)), 0);
            }
        }
    }
    Ok(())
}

/// Nobody flushes the table of a middlebox that lives.
pub(crate) fn flush_with_owner() -> Result<(), Failed> {
    let mut kernel = Kernel::new(Features::ALL)?;
    if !kernel.gate().features().owner {
        return Ok(());
    }
    let shot = inbound(true, NEAR);
    open(&mut kernel, shot);
    kernel.nft("flush ruleset")?;
    assert!(kernel.nft("delete table inet postern").is_err());
    assert_eq!(kernel.gate().take_drift()?, None);
    assert_eq!(arrived(&mut kernel, shot), 10);
    assert_eq!(kernel.engine().counters(&[permit(shot).key()]), [Some(Counter { packets: 10, bytes: 2000 })]);
    // The administrator's rules are gone, the gate is not.
    assert_eq!(arrived(&mut kernel, inbound(true, NEAR + 1)), 0);
    Ok(())
}

/// Where the kernel cannot protect the table, a flush is noticed, and one verification makes everything good.
pub(crate) fn flush_without_owner() -> Result<(), Failed> {
    let mut kernel = Kernel::new(WITHOUT_OWNER)?;
    let shot = inbound(true, NEAR);
    open(&mut kernel, shot);
    assert_eq!(kernel.gate().take_drift()?, None);
    kernel.nft("add table inet unrelated")?;
    assert_eq!(kernel.gate().take_drift()?, None, "somebody else's table is nobody's business");
    kernel.nft("delete table inet postern")?;
    assert_eq!(kernel.gate().take_drift()?, Some(Disturbance::Changed));
    let key = permit(shot).key();
    // A new call does not wait for the repair of the old ones.
    let other = inbound(true, NEAR + 10);
    open(&mut kernel, other);
    assert_eq!(arrived(&mut kernel, other), 10);
    assert_eq!(kernel.gate().take_drift()?, Some(Disturbance::Unavailable));
    let drift = kernel.engine().verify(&[key]).map_err(|failure| failure.to_string())?;
    assert_eq!((drift.missing, drift.foreign), (vec![key], vec![permit(other).key()]));
    assert_eq!(arrived(&mut kernel, shot), 0);
    open(&mut kernel, shot);
    assert_eq!(arrived(&mut kernel, shot), 10);
    assert_eq!(kernel.gate().take_drift()?, None, "our own repair is no drift");
    Ok(())
}

/// So many entries that they are looked up one by one: the one that is gone is found.
pub(crate) fn many_entries() -> Result<(), Failed> {
    let mut kernel = Kernel::new(WITHOUT_OWNER)?;
    let permits: Vec<_> = (16384..32767).map(|port| permit(inbound(false, port))).collect();
    let operations: Vec<_> =
        permits.iter().map(|permit| Operation::Add { permit: permit.clone(), lifetime: LONG }).collect();
    assert!(kernel.engine().apply(&operations).iter().all(Result::is_ok));
    let mut keys: Vec<_> = permits.iter().map(Permit::key).collect();
    keys.sort();
    assert_eq!(kernel.engine().verify(&keys), Ok(Drift::default()));
    let gone = [keys[0], keys[5000], keys[keys.len() - 1]];
    assert!(gone.iter().all(|key| kernel.sabotage(key)));
    assert_eq!(kernel.engine().verify(&keys), Ok(Drift { missing: gone.to_vec(), foreign: Vec::new() }));
    let seen = kernel
        .network
        .firewall
        .run(|| nftables::kernel_entries(&GateConfig::new(realms())).map_err(io::Error::other))?;
    assert_eq!(seen.len(), keys.len() - 3);
    Ok(())
}

/// Lost events are never "no drift".
pub(crate) fn lost_events() -> Result<(), Failed> {
    let mut kernel = Kernel::new(WITHOUT_OWNER)?;
    // The kernel packs events together; this is more than our receive buffer holds, which is small without privilege
    // (as is what nft may send at once).
    let (rules_each, times) = if is_privileged()? { (1000, 100) } else { (250, 150) };
    let rule = format!("add rule ip other c ip saddr 192.0.2.1 counter comment \"{}\"\n", "x".repeat(120));
    let rules = rule.repeat(rules_each);
    kernel.nft("add table ip other; add chain ip other c")?;
    for _ in 0..times {
        kernel.nft(&rules)?;
    }
    assert_eq!(kernel.gate().take_drift()?, Some(Disturbance::EventsLost));
    assert_eq!(kernel.gate().take_drift()?, None);
    Ok(())
}

/// A middlebox that dies leaves media running and nothing else; its successor finds the entries and throws out what
/// others have put into the table meanwhile.
pub(crate) fn adoption() -> Result<(), Failed> {
    for limit in [Features::ALL, WITHOUT_OWNER] {
        let mut kernel = Kernel::new(limit)?;
        let (open_one, other) = (inbound(true, NEAR), inbound(true, NEAR + 10));
        open(&mut kernel, open_one);
        kernel.die();
        assert_eq!(arrived(&mut kernel, open_one), 10);
        assert_eq!(arrived(&mut kernel, other), 0);
        kernel.nft(
            "insert rule inet postern udp_packets goto open
             add chain inet postern evil { type filter hook prerouting priority -299; }
             add rule inet postern evil meta mark set 0x01000000 notrack",
        )?;
        assert_eq!(arrived(&mut kernel, other), 10, "the stranger's rule works");
        kernel.rise(GateConfig::new(realms()))?;
        assert_eq!(arrived(&mut kernel, other), 0);
        assert_eq!(arrived(&mut kernel, open_one), 10);
        let entries = kernel.engine().entries().map_err(|failure| failure.to_string())?;
        let [Entry { key, remaining, counter }] = entries[..] else {
            return Err(format!("one entry, not {entries:?}").into());
        };
        assert_eq!((key, counter.packets), (permit(open_one).key(), 20));
        assert!(remaining > LONG / 2 && remaining <= LONG);
    }
    Ok(())
}

/// The kernel refuses some operations of a batch: they fail, alone.
pub(crate) fn full_set() -> Result<(), Failed> {
    for limit in [Features::ALL, Features { extend: false, destroy: false, owner: false }] {
        let config = GateConfig { entries_max: 2, ..GateConfig::new(realms()) };
        let mut kernel = Kernel::with(config, limit)?;
        let shots = [NEAR, NEAR + 1, NEAR + 2].map(|port| inbound(true, port));
        let [one, two, three] = shots.map(add);
        let elsewhere = add(inbound(false, NEAR));
        let results = kernel.engine().apply(&[one, two, three, elsewhere]);
        let failed = results.iter().filter(|result| **result == Err(EngineFailure::Full)).count();
        assert_eq!((failed, results[3]), (1, Ok(())), "{results:?}");
        let arrived: u32 = shots.iter().map(|shot| arrived(&mut kernel, *shot)).sum();
        assert_eq!(arrived, 20);
    }
    Ok(())
}

/// What observes changes nothing: the administrator's firewall decides about every packet as if it were not there, and
/// it counts what would have become of each.
pub(crate) fn observes() -> Result<(), Failed> {
    let config = GateConfig { mode: Mode::Observe, ..GateConfig::new(realms()) };
    let mut kernel = Kernel::with(config, Features::ALL)?;
    let outbound = |v4, port| shot(v4, (INSIDE, port), (OUTSIDE, FAR));
    for v4 in [true, false] {
        open(&mut kernel, inbound(v4, NEAR));
        // The administrator drops it in spite of the entry, and lets out what the gate would have dropped.
        assert_eq!(arrived(&mut kernel, inbound(v4, NEAR)), 0);
        assert_eq!(arrived(&mut kernel, inbound(v4, NEAR + 1)), 0);
        assert_eq!(arrived(&mut kernel, outbound(v4, NEAR)), 10);
        // Replies come in because the connection is known: nothing was kept from connection tracking.
        assert_eq!(arrived(&mut kernel, inbound(v4, NEAR)), 10);
    }
    let traffic = kernel.gate().traffic()?;
    assert_eq!(traffic, Traffic { passed: 40, dropped: 40 });
    // Others' bits, and ours, stay as they are.
    kernel.nft(
        "table inet early { chain c { type filter hook prerouting priority -400; meta mark set 0x01000001; }; }
         table inet late { chain c { type filter hook prerouting priority 0; meta mark 0x01000001 counter; }; }",
    )?;
    assert_eq!(arrived(&mut kernel, inbound(true, NEAR + 1)), 0);
    assert!(
        kernel.nft("list table inet late")?.contains("packets 1"),
        "{}",
        kernel.nft("list table inet late")?
    );
    Ok(())
}

/// What an entry lets pass leaves with the DSCP of the configuration, and arrives; the rest keeps its own.
pub(crate) fn dscp() -> Result<(), Failed> {
    let config = GateConfig { dscp: Some(46), ..GateConfig::new(realms()) };
    let mut kernel = Kernel::with(config, Features::ALL)?;
    kernel.nft(
        "table inet late { chain c { type filter hook postrouting priority 0;
         ip dscp ef counter; ip6 dscp ef counter; udp dport 53 ip dscp cs0 counter; }; }",
    )?;
    for v4 in [true, false] {
        open(&mut kernel, inbound(v4, NEAR));
        assert_eq!(arrived(&mut kernel, inbound(v4, NEAR)), 10);
        assert_eq!(arrived(&mut kernel, shot(v4, (INSIDE, 4000), (OUTSIDE, 53))), 10);
    }
    let seen = kernel.nft("list table inet late")?;
    assert_eq!(seen.matches("counter packets 10 ").count(), 3, "{seen}");
    Ok(())
}

/// A phone behind a bridge of the firewall: the same, whether bridged packets pass IP's rules early (br_netfilter) or not.
pub(crate) fn behind_a_bridge() -> Result<(), Failed> {
    for early in ["0", "1"] {
        let mut kernel = Kernel::new(Features::ALL)?;
        let ip = |words: &str| {
            let mut command = Command::new("ip");
            command.args(words.split(' '));
            let status = kernel.network.firewall.spawn(&mut command)?.wait()?;
            if status.success() { Ok(()) } else { Err(io::Error::other(format!("ip {words}: {status}"))) }
        };
        ip("link add br0 type bridge")?;
        ip("address flush dev inside0")?;
        ip("link set inside0 master br0")?;
        ip("address add 10.0.40.1/24 dev br0")?;
        ip("address add fd00:40::1/64 dev br0 nodad")?;
        ip("link set br0 up")?;
        for key in ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"] {
            // Absent where br_netfilter is: then there is only one way.
            let _ = kernel.network.firewall.sysctl(key, early);
        }
        kernel.nft("insert rule inet filter forward iifname br0 accept")?;
        for v4 in [true, false] {
            let there = shot(v4, (INSIDE, NEAR), (OUTSIDE, FAR));
            for shot in [inbound(v4, NEAR), there] {
                assert_eq!(arrived(&mut kernel, shot), 0, "before: {shot:?}");
                open(&mut kernel, shot);
                assert_eq!(arrived(&mut kernel, shot), 10, "open: {shot:?}");
                let key = permit(shot).key();
                assert_eq!(kernel.engine().apply(&[Operation::Remove { key }]), [Ok(())]);
                assert_eq!(arrived(&mut kernel, shot), 0, "after: {shot:?}");
            }
        }
    }
    Ok(())
}

/// The loser says who works here.
pub(crate) fn one_per_namespace() -> Result<(), Failed> {
    let kernel = Kernel::new(Features::ALL)?;
    kernel.network.firewall.run(|| {
        let us = i32::try_from(std::process::id()).expect("a process number");
        let second = Nft::open(GateConfig::new(realms()));
        assert!(matches!(second, Err(Error::Held(pid)) if pid == us), "{second:?}");
        assert!(matches!(Nft::remove(), Err(Error::Held(_))));
        Ok(())
    })?;
    Ok(())
}

/// Removing leaves nothing.
pub(crate) fn removal() -> Result<(), Failed> {
    let mut kernel = Kernel::new(Features::ALL)?;
    kernel.die();
    for _ in 0..2 {
        kernel.network.firewall.run(|| Nft::remove().map_err(io::Error::other))?;
    }
    assert!(!kernel.nft("list tables")?.contains("postern"));
    Ok(())
}

/// What people are shown is what the kernel was told: nft makes the same table from our text.
pub(crate) fn text_is_truth() -> Result<(), Failed> {
    let strange_mark =
        GateConfig { mark: Mark { value: 0x10, mask: 0x30 }, ..GateConfig::new(everybody_outside()) };
    let observer = GateConfig { mode: Mode::Observe, ..GateConfig::new(realms()) };
    let local = GateConfig { local: true, ..GateConfig::new(realms()) };
    let held = GateConfig { dscp: Some(46), ..GateConfig::new(unmanaged()) };
    let capped = GateConfig { cap: Some(64_000), ..GateConfig::new(realms()) };
    let interfaces = GateConfig::new(with_interfaces());
    for config in [GateConfig::new(realms()), interfaces, strange_mark, observer, local, held, capped] {
        let text = nftables::ruleset(&config);
        let ours = Kernel::with(config, WITHOUT_OWNER)?;
        let told = ours.nft("list table inet postern")?;
        ours.nft(&format!("delete table inet postern\n{text}"))?;
        let again = ours.nft("list table inet postern")?;
        for (line, same) in told.lines().zip(again.lines()) {
            assert_eq!(line, same);
        }
        assert_eq!(told.lines().count(), again.lines().count());
    }
    Ok(())
}

fn everybody_outside() -> Realms {
    let mut realms = realms().realms().to_vec();
    realms[1].networks.clear();
    realms[1].reverse_path = ReversePath::Loose;
    Realms::new(realms).expect("one network and everybody else")
}

fn with_interfaces() -> Realms {
    let mut realms = realms().realms().to_vec();
    for (realm, name) in realms.iter_mut().zip(["inside0", "outside0"]) {
        realm.interfaces = vec![name.into(), "spare0".into()];
    }
    Realms::new(realms).expect("the contract's networks")
}

/// Where a sender's interface comes from decides whether a borrowed address helps.
pub(crate) fn reverse_path() -> Result<(), Failed> {
    let checked = |reverse_path| {
        let mut realms = realms().realms().to_vec();
        realms.iter_mut().for_each(|realm| realm.reverse_path = reverse_path);
        Realms::new(realms).expect("the contract's networks")
    };
    for (realms, passes) in [
        (with_interfaces(), 0),
        (checked(ReversePath::Strict), 0),
        (checked(ReversePath::Loose), 10),
        (checked(ReversePath::Off), 10),
    ] {
        let mut kernel = Kernel::with(GateConfig::new(realms), Features::ALL)?;
        for v4 in [true, false] {
            let honest = inbound(v4, NEAR);
            open(&mut kernel, honest);
            assert_eq!(arrived(&mut kernel, honest), 10);
            assert_eq!(arrived(&mut kernel, Shot { from: Place::Third, ..honest }), passes);
        }
    }
    Ok(())
}

/// True outside of user namespaces: all users are there.
fn is_privileged() -> io::Result<bool> {
    let users = std::fs::read_to_string("/proc/self/uid_map")?;
    Ok(users.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// Everything works for somebody without any privilege who has a user namespace.
pub(crate) fn without_root() -> Result<(), Failed> {
    use std::os::unix::process::CommandExt;
    // Without privilege this whole run is the test.
    if !is_privileged()? {
        return Ok(());
    }
    // Where others may execute it, whatever the build directory allows.
    let program = std::env::temp_dir().join(format!("postern-kernel-test-{}", std::process::id()));
    std::fs::copy(std::env::current_exe()?, &program)?;
    let nobody = 65534;
    let run = |name: &str| {
        let mut command = Command::new(&program);
        command
            .env("POSTERN_TEST_UNPRIVILEGED", "1")
            .arg("--exact")
            .arg(name)
            .uid(nobody)
            .gid(nobody)
            .output()
    };
    let outputs = ["large batches are carried out whole", "a middlebox that dies is succeeded"].map(run);
    std::fs::remove_file(&program)?;
    for output in outputs {
        let output = output?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
