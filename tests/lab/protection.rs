//! Scanners, floods and offenders against a running Postern: who is kept out, who is not, and what the log says for fail2ban.

use std::io::{self, Write as _};

use crate::raw::{Request, Wire, connect, connect_to, read_until, sdp, status};
use crate::witness::{Witness, expect};
use crate::world::{CONFIG, CONFIG_IPV6, Named, OUTSIDE, Outcome, Postern, World, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("protection::forged_datagrams_of_scanners_ban_nobody", forged),
        ("protection::a_scanner_over_tcp_is_banned", scanner),
        ("protection::whoever_acknowledges_its_404s_is_banned", dialler),
        ("protection::next_hops_are_never_banned", next_hops),
        ("protection::rates_of_a_source_and_of_a_realm", rates),
        ("protection::bans_are_in_the_kernel_and_outlive_the_agent", kernel),
        ("protection::a_ban_of_an_ipv6_address_is_of_its_network", ipv6),
        ("protection::sipvicious_finds_nothing_and_fail2ban_reads_the_log", tools),
        ("protection::without_a_middlebox_the_agent_keeps_them_out", alone),
    ]
}

/// A phone outside that nobody has mentioned, and a host of another network.
const PHONE: &str = "198.51.100.21";
const STRANGER: &str = "192.0.2.20";

const AFTER_FIVE: &str = "\n[protection]\nban-after = 5\nban-for = \"1h\"\n";

fn scan(from: &Wire) -> Request {
    Request::new("OPTIONS", from.local).lines("User-Agent: friendly-scanner\r\n")
}

fn wait_for_line(postern: &Postern<'_>, line: &str) -> io::Result<()> {
    postern.wait_for(&format!("the log has {line:?}"), || Ok(postern.log().contains(line)))
}

/// Somebody writes a phone's address over a thousand scans: none is answered, and the phone can still call.
fn forged() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}{AFTER_FIVE}requests-per-source = 0\n"))?;
    let witness = Witness::start(&world, &postern)?;
    let phone = Wire::open(&world.outside, PHONE)?;
    for _ in 0..1_000 {
        phone.send(scan(&phone).text())?;
    }
    expect(phone.is_not_answered()?, true, "silence towards scans, and an answer to the phone")?;
    wait_for_line(&postern, "rejected source=198.51.100.21 proven=no why=scanner")?;
    expect(postern.log().contains("banned source"), false, "somebody is banned")?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// A connection proves an address: five scans, and nothing of it is heard any more, over UDP neither.
fn scanner() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}{AFTER_FIVE}"))?;
    let witness = Witness::start(&world, &postern)?;
    let udp = Wire::open(&world.third, STRANGER)?;
    expect(udp.is_not_answered()?, true, "the stranger is heard")?;
    let (mut stream, local) = connect(&world.third)?;
    for _ in 0..5 {
        let scan = Request { from: local, ..scan(&udp) }.tcp();
        stream.write_all(scan.text().as_bytes())?;
    }
    wait_for_line(&postern, "rejected source=192.0.2.20 proven=yes why=scanner")?;
    wait_for_line(&postern, "banned source=192.0.2.20 for=3600s why=scanner (5 offences)")?;
    udp.send(Request::new("OPTIONS", udp.local).text())?;
    // Whoever is not banned is answered after that.
    let phone = Wire::open(&world.outside, PHONE)?;
    expect(phone.is_not_answered()?, true, "others are heard")?;
    udp.socket.set_nonblocking(true)?;
    expect(udp.socket.recv(&mut [0; 1500]).is_err(), true, "an answer to one who is banned")?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// Calls to nobody over UDP: each ACK repeats what only its sender was told.
fn dialler() -> Outcome {
    let world = World::new()?;
    let config = CONFIG.replace("to = \"inside\"", "to = \"inside\"\nusers = [\"bob\"]");
    let postern = world.postern(&format!("{config}{AFTER_FIVE}"))?;
    let witness = Witness::start(&world, &postern)?;
    let (dialler, phone) = (Wire::open(&world.third, STRANGER)?, Wire::open(&world.outside, PHONE)?);
    let call = |from: &Wire, number: u32| {
        let invite = Request::new("INVITE", from.local).sdp(sdp(&from.local.ip().to_string(), 30_000));
        invite.text().replacen("sip:bob@", &format!("sip:{number}@"), 1)
    };
    // In the phone's name, without an ACK.
    for number in 0..20 {
        phone.send(call(&phone, number))?;
        expect(status(&phone.next()?), 404, "a call to nobody")?;
    }
    for number in 0..5 {
        let invite = call(&dialler, number);
        dialler.send(&invite)?;
        let answer = dialler.next()?;
        expect(status(&answer), 404, "a call to nobody")?;
        let to = answer.lines().find(|line| line.starts_with("To: ")).unwrap_or_default();
        let head = invite.split("\r\n\r\n").next().unwrap_or_default();
        let lines = head.lines().filter(|line| !line.starts_with("Content-")).map(|line| match line {
            line if line.starts_with("To: ") => to.to_owned(),
            line => line.replace("INVITE", "ACK"),
        });
        let ack: Vec<String> = lines.collect();
        dialler.send(format!("{}\r\nContent-Length: 0\r\n\r\n", ack.join("\r\n")))?;
    }
    wait_for_line(&postern, "banned source=192.0.2.20 for=3600s why=unroutable (5 offences)")?;
    expect(phone.is_not_answered()?, true, "the phone is heard")?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// The trunk does all of it, and stays.
fn next_hops() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}{AFTER_FIVE}"))?;
    let (mut stream, local) = connect(&world.outside)?;
    expect(local.ip().to_string().as_str(), OUTSIDE, "the trunk's address")?;
    let wire = Wire::open(&world.outside, OUTSIDE)?;
    for _ in 0..50 {
        let scan = Request { from: local, ..scan(&wire) }.tcp();
        stream.write_all(scan.text().as_bytes())?;
        expect(status(&read_until(&mut stream, "\r\n\r\n")?), 200, "the trunk's OPTIONS")?;
    }
    for _ in 0..300 {
        expect(status(&wire.ask(&Request::new("OPTIONS", wire.local))?), 200, "the trunk's OPTIONS")?;
    }
    expect(postern.log().contains("rejected"), false, "the trunk offends")?;
    Ok(())
}

fn rates() -> Outcome {
    let world = World::new()?;
    let config = CONFIG.replace("[realm.inside]", "calls-per-second = 2\n\n[realm.inside]");
    let more = "\n[protection]\nban-for = \"off\"\nrequests-per-source = 10\nregistrations-per-source = 1\n";
    let postern = world.postern(&format!("{config}{more}"))?;
    let stranger = Wire::open(&world.third, STRANGER)?;
    let statuses = |method, count| -> io::Result<Vec<u16>> {
        (0..count).map(|_| Ok(status(&stranger.ask(&Request::new(method, stranger.local))?))).collect()
    };
    // Two seconds' worth at once; a slow machine may let more pass, and never less.
    let registers = statuses("REGISTER", 4)?;
    expect(registers[..2] == [405, 405] && registers.contains(&503), true, &format!("{registers:?}"))?;
    let phone = Wire::open(&world.outside, PHONE)?;
    let calls: Vec<u16> = (0..8)
        .map(|_| Ok(status(&phone.ask(&Request::new("INVITE", phone.local).sdp("v=0\r\n"))?)))
        .collect::<io::Result<_>>()?;
    expect(
        calls[..4].iter().all(|status| *status != 503) && calls.contains(&503),
        true,
        &format!("{calls:?}"),
    )?;
    for _ in 0..200 {
        stranger.send(Request::new("OPTIONS", stranger.local).text())?;
    }
    wait_for_line(&postern, "rejected source=192.0.2.20 proven=no why=flood")?;
    Ok(())
}

/// What the kernel has dropped of a source; `None` while it does not know of it.
fn dropped(postern: &Postern<'_>, source: &str) -> io::Result<Option<u64>> {
    let bans = postern.json(&["bans"])?;
    let all = bans["bans"].as_array().into_iter().flatten();
    Ok(all.filter(|ban| ban["source"] == source).find_map(|ban| ban["packets"].as_u64()))
}

/// An operator's ban drops in the kernel, SIP and nothing else; the agent half that comes back knows of it; it can be lifted.
fn kernel() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}{AFTER_FIVE}"))?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.third, STRANGER)?;
    expect(stranger.is_not_answered()?, true, "the stranger is heard")?;
    for spared in [OUTSIDE, "10.0.40.20"] {
        expect(postern.text(&["ban", spared]).is_err(), true, "a next hop is banned")?;
    }
    postern.text(&["ban", STRANGER, "--for", "1h"])?;
    postern.wait_for("the kernel bans", || Ok(dropped(&postern, "192.0.2.20/32")?.is_some()))?;
    stranger.send(Request::new("OPTIONS", stranger.local).text())?;
    postern.wait_for("the kernel drops", || Ok(dropped(&postern, "192.0.2.20/32")? >= Some(1)))?;
    // What is no SIP is not ours to drop: nobody listens there, and that is what is said.
    let refused = connect_to(&world.third, "198.51.100.1:7626").map(drop).map_err(|error| error.kind());
    expect(refused, Err(io::ErrorKind::ConnectionRefused), "a connection to another port")?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    signal(postern.half("agent")?, "KILL")?;
    postern.wait_for("the new agent half knows of it", || {
        Ok(postern.text(&["bans"]).is_ok_and(|said| said.contains("192.0.2.20") && said.contains("before")))
    })?;
    postern.text(&["unban", STRANGER])?;
    postern.wait_for("it is heard again", || Ok(postern.text(&["bans"])?.contains("nobody is banned")))?;
    // The kernel is told a moment later.
    let set = || world.command(&world.firewall, "nft", &["list", "set", "inet", "postern", "banned4"]);
    postern.wait_for("the kernel lets it in", || Ok(!set()?.contains("192.0.2.20")))?;
    expect(stranger.is_not_answered()?, true, "the stranger is heard again")?;
    Ok(())
}

fn ipv6() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG_IPV6}{AFTER_FIVE}"))?;
    postern.text(&["ban", "2001:db8:c::7777"])?;
    let source = "2001:db8:c::/64";
    postern.wait_for("the kernel bans", || Ok(dropped(&postern, source)?.is_some()))?;
    let stranger = world.third.run(|| std::net::UdpSocket::bind("[2001:db8:c::20]:0"))?;
    stranger.send_to(b"OPTIONS sip:a SIP/2.0\r\n\r\n", "[2001:db8:a::1]:5060")?;
    postern.wait_for("the kernel drops", || Ok(dropped(&postern, source)? >= Some(1)))?;
    Ok(())
}

fn alone() -> Outcome {
    let world = World::new()?;
    let config = format!("{CONFIG}{AFTER_FIVE}\n[middlebox]\nengine = \"none\"\n");
    let postern = world.half("agent", &config, |_| {})?;
    let stranger = Wire::open(&world.third, STRANGER)?;
    postern.wait_for("the agent half serves", || Ok(postern.json(&["bans"]).is_ok()))?;
    expect(stranger.is_not_answered()?, true, "the stranger is heard")?;
    postern.text(&["ban", STRANGER])?;
    stranger.send(Request::new("OPTIONS", stranger.local).text())?;
    let phone = Wire::open(&world.outside, PHONE)?;
    expect(phone.is_not_answered()?, true, "others are heard")?;
    stranger.socket.set_nonblocking(true)?;
    expect(stranger.socket.recv(&mut [0; 1500]).is_err(), true, "an answer to one who is banned")?;
    postern.text(&["unban", STRANGER])?;
    stranger.socket.set_nonblocking(false)?;
    expect(stranger.is_not_answered()?, true, "the stranger is heard again")?;
    Ok(())
}

/// Debian's sipvicious, from another network, against this Postern only; and Debian's fail2ban reads what was written of it.
fn tools() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}{AFTER_FIVE}"))?;
    let witness = Witness::start(&world, &postern)?;
    let home = format!("HOME={}", world.folder.display());
    for scan in [
        ["svmap", "198.51.100.1"].as_slice(),
        &["svwar", "-e100-110", "-mOPTIONS", "198.51.100.1"],
        &["svwar", "-e100-110", "-mREGISTER", "198.51.100.1"],
        &["svwar", "-e100-110", "-mINVITE", "198.51.100.1"],
    ] {
        let words: Vec<&str> = ["30", "env", &home].iter().chain(scan).copied().collect();
        // How it exits differs from one to the next; what it has found is what counts.
        let mut timeout = std::process::Command::new("timeout");
        timeout.args(&words).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let output = world.third.spawn(&mut timeout)?.wait_with_output()?;
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        expect(said.contains("Traceback"), false, &format!("{scan:?} runs: {said}"))?;
        expect(
            said.contains("198.51.100.1:5060 |") || said.contains("reqauth"),
            false,
            &format!("{scan:?}: {said}"),
        )?;
    }
    wait_for_line(&postern, "rejected source=192.0.2.20 proven=no why=scanner")?;
    let (mut stream, local) = connect(&world.third)?;
    let scan =
        Request { from: local, ..Request::new("OPTIONS", local) }.lines("User-Agent: sipcli/v1.8\r\n").tcp();
    stream.write_all(scan.text().as_bytes())?;
    wait_for_line(&postern, "rejected source=192.0.2.20 proven=yes why=scanner")?;
    let log = world.folder.join("postern.log").display().to_string();
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/fail2ban/postern.conf");
    let said = world.command(&world.firewall, "fail2ban-regex", &[&log, filter])?;
    expect(said.contains("1 matched"), true, &said)?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}
