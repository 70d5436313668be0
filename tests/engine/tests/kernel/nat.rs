//! What a real kernel promises about translation beyond the contract.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use engine_contract::{AGENT, Bench, GATEWAY, INSIDE, OUTSIDE, Place, Shot, authority, nat, realms};
use libtest_mimic::{Failed, Trial};
use midcom::{Direction, Protocol, Tuple};
use middlebox::{Drift, Key, Opening, Operation, Permit, Transport};
use netns::again;
use nftables::proof::{Probe, Proof, prove};
use nftables::{Features, GateConfig};

use crate::firewall::Kernel;
use crate::media::Stream;

const FAR: u16 = 17000;
const NEAR: u16 = 20000;
const PORT: u16 = 40000;
const LONG: Duration = Duration::from_secs(300);

pub(crate) fn config() -> GateConfig {
    GateConfig { nat: nat(), ..GateConfig::new(realms()) }
}

pub(crate) fn promises() -> Vec<Trial> {
    vec![
        Trial::test("a translated call under way is opened whole and closed at once", close_a_call),
        Trial::test("translated datagrams may be fragments, or carry no checksum", fragments_and_checksums),
        Trial::test("an administrator's masquerade works beside the outside ports", masquerade),
        Trial::test("no service of the gate hears what is for an outside port", services),
        Trial::test("without its translation nothing leaves", no_leak),
        Trial::test("a mark that somebody clears shows no inside address", no_leak_without_mark),
        Trial::test("nobody else sends from an outside port", exclusive),
        Trial::test("a middlebox that dies leaves translated calls to its successor", adoption),
        Trial::test("a flood through a translated entry is cut down to its cap", flood),
        Trial::test("nft reads our text with translation, and its own listing of it", text_is_truth),
        Trial::test("a packet proves the line through translation, or its absence", proves_the_line),
        Trial::test("translated entries among many are found when they are gone", many_entries),
    ]
}

fn at(host: engine_contract::Host, v4: bool, port: u16) -> SocketAddr {
    if v4 { (host.v4, port).into() } else { (host.v6, port).into() }
}

fn shot(from: Place, source: SocketAddr, destination: SocketAddr, arrives: (SocketAddr, SocketAddr)) -> Shot {
    Shot { from, transport: Transport::Udp, source, destination, opens: false, arrives }
}

/// From the phone outside to an outside port, and from the phone inside back; both arrive translated.
fn call(v4: bool) -> [Shot; 2] {
    let (near, far, gate) = (at(INSIDE, v4, NEAR), at(OUTSIDE, v4, FAR), at(GATEWAY, v4, PORT));
    [shot(Place::Outside, far, gate, (far, near)), shot(Place::Inside, near, far, (gate, far))]
}

/// The permits of both directions of a call, each for one port.
fn permits(v4: bool) -> Vec<Permit> {
    let tuple = |address| Tuple::host(address, Protocol::Udp, 1);
    let (internal, external) = (tuple(at(INSIDE, v4, NEAR)), tuple(at(OUTSIDE, v4, FAR)));
    let opening = Opening { direction: Direction::Bidirectional, internal, external };
    let outside = tuple(at(GATEWAY, v4, PORT));
    authority().permit_translated(AGENT, &opening, &outside).expect("everything is allowed")
}

fn keys(v4: bool) -> Vec<Key> {
    let mut keys: Vec<_> = permits(v4).iter().map(Permit::key).collect();
    keys.sort();
    keys
}

fn open(kernel: &mut Kernel, v4: bool) {
    let add = |permit| Operation::Add { permit, lifetime: LONG };
    let operations: Vec<_> = permits(v4).into_iter().map(add).collect();
    assert_eq!(kernel.engine().apply(&operations), [Ok(()), Ok(())]);
}

fn close(kernel: &mut Kernel, v4: bool) {
    let operations: Vec<_> = keys(v4).into_iter().map(|key| Operation::Remove { key }).collect();
    assert_eq!(kernel.engine().apply(&operations), [Ok(()), Ok(())]);
}

fn new() -> io::Result<Kernel> {
    Kernel::with(config(), Features::ALL)
}

/// Both phones send before, during and after, through a firewall that lets the inside send and established answers in.
fn close_a_call() -> Result<(), Failed> {
    for v4 in [true, false] {
        let mut kernel = new()?;
        let streams = Stream::call(&kernel.network, call(v4))?;
        let wait = |condition: &dyn Fn() -> bool| {
            while !condition() {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        wait(&|| streams.iter().all(|stream| stream.next_number() > 50));
        assert_eq!(streams.each_ref().map(Stream::count), [0, 0], "nothing passes before");
        open(&mut kernel, v4);
        wait(&|| streams.iter().all(|stream| stream.count() > 50));
        close(&mut kernel, v4);
        let closed = streams.each_ref().map(Stream::next_number);
        wait(&|| streams.iter().zip(closed).all(|(stream, closed)| stream.next_number() > closed + 50));
        for (stream, closed) in streams.into_iter().zip(closed) {
            let last = stream.stop()?;
            assert!(last <= closed, "packet {last} passed, but the gate was closed before {closed}");
        }
    }
    Ok(())
}

/// What is more than the cap lets pass is for nobody, in both directions.
fn flood() -> Result<(), Failed> {
    for v4 in [true, false] {
        let mut kernel = Kernel::with(GateConfig { cap: Some(2_000), ..config() }, Features::ALL)?;
        open(&mut kernel, v4);
        for shot in call(v4) {
            let passed = kernel.send(shot, 1_000);
            assert!((15..500).contains(&passed), "{passed} of 1,000 passed: {shot:?}");
        }
    }
    Ok(())
}

/// The receiver's kernel throws away what has a wrong checksum, so arriving means that it is right.
fn fragments_and_checksums() -> Result<(), Failed> {
    let mut kernel = new()?;
    for v4 in [true, false] {
        open(&mut kernel, v4);
        for shot in call(v4) {
            for length in [8, 9, 172, 1401, 3000] {
                assert_eq!(kernel.network.send(shot, 10, length)?, 10, "{length} octets, {shot:?}");
            }
        }
    }
    // IPv6 has no datagrams without checksum.
    for shot in call(true) {
        for length in [9, 172, 3000] {
            assert_eq!(kernel.network.send_without_checksum(shot, 10, length)?, 10, "{length}, {shot:?}");
        }
    }
    Ok(())
}

/// The administrator translates everything else from the inside, to other ports.
fn masquerade() -> Result<(), Failed> {
    let mut kernel = new()?;
    kernel.nft(
        "table inet nat { chain post { type nat hook postrouting priority srcnat;
           iifname inside0 oifname outside0 meta l4proto { tcp, udp } masquerade to :1024-9999; }; }",
    )?;
    for v4 in [true, false] {
        open(&mut kernel, v4);
        for shot in call(v4) {
            assert_eq!(kernel.send(shot, 10), 10);
        }
        // A question to a name server, from a port that is one of ours on the outside, and its answer.
        let server = kernel.network.host(Place::Outside).run(|| UdpSocket::bind(at(OUTSIDE, v4, 53)))?;
        server.set_read_timeout(Some(Duration::from_secs(10)))?;
        let inside = kernel.network.host(Place::Inside);
        for port in [5353, PORT] {
            let client = inside.run(|| UdpSocket::bind(at(INSIDE, v4, port)))?;
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            client.send_to(b"who?", at(OUTSIDE, v4, 53))?;
            let (_, seen) = again(|| server.recv_from(&mut [0; 8]))?;
            assert_eq!(seen.ip(), at(GATEWAY, v4, 0).ip(), "it is masqueraded");
            assert!((1024..=9999).contains(&seen.port()), "{seen}");
            server.send_to(b"me", seen)?;
            let (_, answerer) = again(|| client.recv_from(&mut [0; 8]))?;
            assert_eq!(answerer, at(OUTSIDE, v4, 53));
        }
        close(&mut kernel, v4);
        for shot in call(v4) {
            assert_eq!(kernel.send(shot, 10), 0, "a masquerade does not take over what was closed");
        }
    }
    Ok(())
}

/// A socket of the gate is bound to the same port, and the administrator lets everything in.
fn services() -> Result<(), Failed> {
    let mut kernel = new()?;
    kernel.nft("insert rule inet filter input accept")?;
    for v4 in [true, false] {
        let [inward, _] = call(v4);
        let service = |port| kernel.network.firewall.run(|| UdpSocket::bind(at(GATEWAY, v4, port)));
        let (ours, other) = (service(PORT)?, service(9000)?);
        ours.set_nonblocking(true)?;
        other.set_read_timeout(Some(Duration::from_secs(10)))?;
        let phone = kernel.network.host(Place::Outside).run(|| UdpSocket::bind(at(OUTSIDE, v4, 5000)))?;
        // Another port of the same address is no business of ours: what comes there comes after all that came before.
        phone.send_to(b"x", inward.destination)?;
        phone.send_to(b"x", at(GATEWAY, v4, 9000))?;
        again(|| other.recv(&mut [0; 8]))?;
        let heard = ours.recv(&mut [0; 8]);
        assert!(heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        drop(phone);
        open(&mut kernel, v4);
        assert_eq!(kernel.send(inward, 10), 10, "while it is open it is the phone's");
    }
    Ok(())
}

/// Somebody takes the maps away: then nothing leaves, and the inside address is not shown.
fn no_leak() -> Result<(), Failed> {
    for map in ["address", "port"] {
        let mut kernel = Kernel::with(config(), Features { owner: false, ..Features::ALL })?;
        for (v4, digit) in [(true, 4), (false, 6)] {
            open(&mut kernel, v4);
            let [_, outward] = call(v4);
            assert_eq!(kernel.send(outward, 10), 10);
            kernel.nft(&format!("flush map inet postern out_exact{digit}_{map}"))?;
            let untranslated = Shot { arrives: (outward.source, outward.destination), ..outward };
            assert_eq!(kernel.send(untranslated, 10), 0);
            let drift = kernel.engine().verify(&keys(v4)).map_err(|failure| failure.to_string())?;
            assert_eq!(drift.missing.len(), 1, "{drift:?}");
            let left = drift.foreign.into_iter().map(|key| Operation::Remove { key });
            let again = permits(v4).into_iter().map(|permit| Operation::Add { permit, lifetime: LONG });
            let operations: Vec<_> = left.chain(again).collect();
            assert!(kernel.engine().apply(&operations).iter().all(Result::is_ok));
            assert_eq!(kernel.send(outward, 10), 10);
            close(&mut kernel, v4);
        }
    }
    Ok(())
}

/// Somebody clears the mark behind the gate, and the firewall lets everything out of the inside: what has an entry is
/// translated all the same, and nothing goes untranslated.
fn no_leak_without_mark() -> Result<(), Failed> {
    let mut kernel = Kernel::with(config(), Features { owner: false, ..Features::ALL })?;
    kernel.nft(
        "table inet meddler { chain pre { type filter hook prerouting priority -200; meta mark set 0; }; }
         insert rule inet filter forward iifname inside0 accept",
    )?;
    for (v4, digit) in [(true, 4), (false, 6)] {
        open(&mut kernel, v4);
        let [_, outward] = call(v4);
        let untranslated = Shot { arrives: (outward.source, outward.destination), ..outward };
        assert_eq!(kernel.send(outward, 10), 10);
        for map in ["address", "port"] {
            kernel.nft(&format!("flush map inet postern out_exact{digit}_{map}"))?;
        }
        assert_eq!(kernel.send(untranslated, 10), 0);
    }
    Ok(())
}

/// A masquerade that may take any port keeps the sender's where it can, also one of ours: that packet goes nowhere.
fn exclusive() -> Result<(), Failed> {
    let mut kernel = new()?;
    kernel.nft(
        "table inet nat { chain post { type nat hook postrouting priority srcnat;
           iifname inside0 oifname outside0 masquerade; }; }",
    )?;
    for v4 in [true, false] {
        open(&mut kernel, v4);
        let asks = |port| {
            let (client, server) = (at(INSIDE, v4, port), at(OUTSIDE, v4, 53));
            shot(Place::Inside, client, server, (at(GATEWAY, v4, port), server))
        };
        assert_eq!(kernel.send(asks(5353), 10), 10, "the masquerade works");
        assert_eq!(kernel.send(asks(PORT), 10), 0, "from the outside port of a call");
        assert_eq!(kernel.send(asks(PORT + 7), 10), 0, "from one that is free");
        for shot in call(v4) {
            assert_eq!(kernel.send(shot, 10), 10);
        }
    }
    Ok(())
}

fn adoption() -> Result<(), Failed> {
    let mut kernel = new()?;
    let mut expected = Vec::new();
    for v4 in [true, false] {
        open(&mut kernel, v4);
        expected.extend(keys(v4));
    }
    kernel.die();
    for shot in call(true).into_iter().chain(call(false)) {
        assert_eq!(kernel.network.send(shot, 10, 172)?, 10);
    }
    kernel.rise(config())?;
    for shot in call(true).into_iter().chain(call(false)) {
        assert_eq!(kernel.send(shot, 10), 10);
    }
    expected.sort();
    let entries = kernel.engine().entries().map_err(|failure| failure.to_string())?;
    let found: Vec<_> = entries.iter().map(|entry| entry.key).collect();
    assert_eq!(found, expected);
    assert!(entries.iter().all(|entry| entry.counter.packets == 20), "{entries:?}");
    assert_eq!(kernel.engine().verify(&expected), Ok(Drift::default()));
    // Its successor may have no outside addresses any more: then nothing is translated, and nothing passes.
    kernel.die();
    kernel.rise(GateConfig::new(realms()))?;
    let [inward, _] = call(true);
    assert_eq!(kernel.send(inward, 10), 0);
    Ok(())
}

/// The listing of a table that translates can be saved and loaded, as administrators do at every start.
fn text_is_truth() -> Result<(), Failed> {
    let text = nftables::ruleset(&config());
    let mut ours = Kernel::with(config(), Features { owner: false, ..Features::ALL })?;
    open(&mut ours, true);
    let told = ours.nft("list table inet postern")?;
    ours.nft(&format!("delete table inet postern\n{told}"))?;
    close(&mut ours, true);
    let told = ours.nft("list table inet postern")?;
    ours.nft(&format!("delete table inet postern\n{text}"))?;
    let again = ours.nft("list table inet postern")?;
    for (line, same) in told.lines().zip(again.lines()) {
        assert_eq!(line, same);
    }
    assert_eq!(told.lines().count(), again.lines().count());
    Ok(())
}

/// So many that they are looked up one by one: each of their elements counts.
fn many_entries() -> Result<(), Failed> {
    let mut kernel = Kernel::with(config(), Features { owner: false, ..Features::ALL })?;
    let tuple = |address: SocketAddr| Tuple::host(address, Protocol::Udp, 1);
    let others = (1..=11_000).map(|far: u16| {
        let (internal, external) = (tuple(at(INSIDE, true, NEAR + 2)), tuple(at(OUTSIDE, true, far)));
        let opening = Opening { direction: Direction::Outbound, internal, external };
        let outside = tuple(at(GATEWAY, true, PORT + 2));
        authority().permit_translated(AGENT, &opening, &outside).expect("everything is allowed").remove(0)
    });
    let permits: Vec<_> = others.chain(permits(true)).collect();
    let add = |permit: &Permit| Operation::Add { permit: permit.clone(), lifetime: LONG };
    let operations: Vec<_> = permits.iter().map(add).collect();
    assert!(kernel.engine().apply(&operations).iter().all(Result::is_ok));
    let mut expected: Vec<_> = permits.iter().map(Permit::key).collect();
    expected.sort();
    assert_eq!(kernel.engine().verify(&expected), Ok(Drift::default()));
    kernel.nft(&format!(
        "delete element inet postern out_exact4_port {{ udp . {} . {} . {} . 9 }}",
        INSIDE.v4,
        NEAR + 2,
        OUTSIDE.v4
    ))?;
    kernel.nft(&format!(
        "delete element inet postern in_exact4_port {{ udp . {} . {FAR} . {} . {PORT} }}",
        OUTSIDE.v4, GATEWAY.v4
    ))?;
    let drift = kernel.engine().verify(&expected).map_err(|failure| failure.to_string())?;
    assert_eq!(drift.missing.len(), 2, "{drift:?}");
    Ok(())
}

/// The packet that `check` sends is translated like any other.
fn proves_the_line() -> Result<(), Failed> {
    // Who may not open it gets "not proven", which is another test's business.
    if std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_err() {
        return Ok(());
    }
    let mut kernel = new()?;
    let probes = [true, false].map(|v4| {
        let shots = call(v4).into_iter().zip(permits(v4)).zip(["outside0", "inside0"]);
        let probes = shots.map(|((shot, permit), interface)| Probe {
            permit,
            source: shot.source,
            destination: shot.destination,
            interface: interface.into(),
        });
        probes.collect::<Vec<_>>()
    });
    let probes = probes.concat();
    let try_all = |kernel: &mut Kernel| {
        let host = kernel.network.firewall.clone();
        host.run(|| Ok(probes.iter().map(|probe| prove(kernel.gate(), probe)).collect::<Vec<_>>()))
    };
    assert_eq!(try_all(&mut kernel)?, [const { Proof::Proven }; 4]);
    kernel.nft("flush chain inet filter forward")?;
    let by_policy = Proof::Blocked(Some("the policy of table inet filter, chain forward".into()));
    assert_eq!(try_all(&mut kernel)?, vec![by_policy; 4]);
    assert_eq!(kernel.engine().entries().map(|entries| entries.len()), Ok(0));
    Ok(())
}
