//! Phones behind a NAT: the other side sees the firewall's address and nothing else, in descriptions and in packets.

use std::io;
use std::net::UdpSocket;

use crate::callee::Callee;
use crate::hostile_host::run;
use crate::natted::{Call, FAR, NEAR, ask, place, with_nat};
use crate::raw::{Request, Wire, sdp, status};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, Postern, World, signal};

/// Another phone inside.
const ADA: &str = "10.0.40.21";

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("nat::a_call_from_outside", from_outside),
        ("nat::a_call_from_inside", from_inside),
        ("nat::a_restart_of_the_middlebox_keeps_the_outside_port", killed),
        ("nat::a_restart_of_the_machine_keeps_the_outside_port", machine),
        ("nat::phones_of_one_realm_are_told_inside_places", both_inside),
        ("nat::too_big_for_the_next_cable_is_told_to_the_phone", too_big),
        ("nat::check_tells_who_else_uses_outside_ports", check),
    ]
}

fn from_outside() -> Outcome {
    let world = World::new()?;
    let postern = with_nat(&world, CONFIG, "")?;
    let call = Call::from_outside(&world, &postern)?;
    expect(call.exchange()?, (10, 10), "packets in the call")?;
    call.hang_up()?;
    expect(call.exchange()?, (0, 0), "packets after the call")?;
    Ok(())
}

fn from_inside() -> Outcome {
    let world = World::new()?;
    let postern = with_nat(&world, CONFIG, "")?;
    let call = Call::from_inside(&world, &postern)?;
    expect(call.exchange()?, (10, 10), "packets in the call")?;
    call.hang_up()?;
    expect(call.exchange()?, (0, 0), "packets after the call")?;
    Ok(())
}

/// A call that stays in one realm needs no firewall and no outside place: each phone is told where the other really is.
fn both_inside() -> Outcome {
    let world = World::new()?;
    let route = "\n[[route]]\nfrom = \"inside\"\nto = \"inside\"\nsources = [\"10.0.40.21/32\"]\nnext-hop = \"sip:10.0.40.20\"\n";
    let (head, tail) = CONFIG.split_once("[[route]]").ok_or("no route")?;
    let postern = with_nat(&world, &format!("{head}{route}\n[[route]]{tail}"), "")?;
    let callee = Callee::at(&world.inside, &format!("{INSIDE}:5060"), (INSIDE, NEAR))?;
    let caller = Wire::open(&world.inside, ADA)?;
    let invite = Request::new("INVITE", caller.local).sdp(sdp(ADA, NEAR));
    let response = ask(&caller, (BORDER_INSIDE, 5060), &invite)?;
    expect(status(&response), 200, &response)?;
    expect(place(&response).map(|place| place.to_string()), Some(format!("{INSIDE}:{NEAR}")), &response)?;
    let offer = callee.offer().ok_or("no offer came")?;
    expect(place(&offer).map(|place| place.to_string()), Some(format!("{ADA}:{NEAR}")), &offer)?;
    expect(postern.pinholes()?, (0, 0), "pinholes")?;
    Ok(())
}

/// A packet with "don't fragment" that is too big for the cable outside: the firewall's own error quotes what the phone has
/// sent, and reaches it. What routers beyond report does not (`docs/decisions/0036`).
fn too_big() -> Outcome {
    let world = World::new()?;
    let postern = with_nat(&world, CONFIG, "")?;
    let call = Call::from_outside(&world, &postern)?;
    world.command(&world.firewall, "ip", &["link", "set", "dev", "outside0", "mtu", "1280"])?;
    let hop = || world.command(&world.inside, "ip", &["-o", "route", "get", OUTSIDE]);
    call.near.send_to(&[7; 1_400], (OUTSIDE, FAR))?;
    postern.wait_for("the phone's host has learnt how much fits", || Ok(hop()?.contains("mtu 1280")))?;
    // So the next one travels in pieces, and arrives whole.
    expect(call.exchange_of(&[7; 1_400])?.1, 10, "packets in pieces")?;
    call.hang_up()?;
    Ok(())
}

/// The identifiers of the rules.
fn identifiers(postern: &Postern<'_>) -> io::Result<Vec<String>> {
    let pinholes = postern.json(&["pinholes"])?;
    let rules = pinholes["rules"].as_array().ok_or_else(|| io::Error::other(pinholes.to_string()))?;
    Ok(rules.iter().map(|rule| rule["pid"].to_string()).collect())
}

fn journaled(world: &World) -> io::Result<Postern<'_>> {
    let journal = world.folder.join("rules").display().to_string();
    with_nat(world, CONFIG, &format!("journal = {journal:?}\n"))
}

/// After a restart of the middlebox half: the same rules, the same outside place, and nobody new gets it.
fn goes_on(postern: &Postern<'_>, call: &Call<'_>, before: &[String]) -> io::Result<()> {
    postern.wait_for("the agent has its session again", || postern.is_up())?;
    expect(identifiers(postern)?.as_slice(), before, "the same rules")?;
    expect(call.exchange()?, (10, 10), "packets after the restart")?;
    // Whoever comes next gets another place.
    let next = call.beside()?;
    expect(next.seen.port() == call.seen.port(), false, "the place of the next call")?;
    expect(next.exchange()?, (10, 10), "packets of the next call")?;
    expect(call.exchange()?, (10, 10), "packets beside it")?;
    next.hang_up()?;
    call.hang_up()?;
    expect(postern.pinholes()?, (0, 0), "pinholes at the end")?;
    expect(call.exchange()?, (0, 0), "packets after the call")
}

fn killed() -> Outcome {
    let world = World::new()?;
    let postern = journaled(&world)?;
    let call = Call::from_outside(&world, &postern)?;
    let before = identifiers(&postern)?;
    expect(before.len(), 2, "rules")?;
    let old = postern.half("middlebox")?;
    signal(old, "KILL")?;
    postern.wait_for("another middlebox half is there", || Ok(postern.half("middlebox")? != old))?;
    postern.wait_for("it answers", || Ok(postern.json(&["pinholes"]).is_ok()))?;
    goes_on(&postern, &call, &before)?;
    Ok(())
}

/// What a start of the machine leaves of our table is nothing; the phones have not heard of it.
fn machine() -> Outcome {
    let world = World::new()?;
    let postern = journaled(&world)?;
    let call = Call::from_outside(&world, &postern)?;
    let before = identifiers(&postern)?;
    let (run, old) = (postern.child.id(), postern.half("middlebox")?);
    signal(run, "STOP")?;
    signal(old, "KILL")?;
    postern.wait_for("the table has no owner", || Ok(world.nft("delete table inet postern").is_ok()))?;
    signal(run, "CONT")?;
    postern.wait_for("another middlebox half is there", || Ok(postern.half("middlebox")? != old))?;
    postern.wait_for("it answers", || Ok(postern.json(&["pinholes"]).is_ok()))?;
    goes_on(&postern, &call, &before)?;
    Ok(())
}

/// What `check` says of outside ports.
fn told(postern: &Postern<'_>, world: &World) -> io::Result<Vec<String>> {
    let file = postern.file.display().to_string();
    let (_, said) = run(&world.firewall, &[], &["check", "-j", &file])?;
    let mut values = serde_json::Deserializer::from_str(&said).into_iter::<serde_json::Value>();
    let findings = values.next().and_then(Result::ok).ok_or_else(|| io::Error::other(said.clone()))?;
    let findings = findings.as_array().cloned().unwrap_or_default();
    let of_ports = |finding: &serde_json::Value| {
        let text = finding["text"].as_str()?;
        let grade = finding["grade"].as_str()?;
        (text.contains("outside port") && !text.contains("SIP")).then(|| format!("{grade}: {text}"))
    };
    Ok(findings.iter().filter_map(of_ports).collect())
}

fn check() -> Outcome {
    let world = World::new()?;
    let postern = with_nat(&world, CONFIG, "")?;
    let sysctl = |key: &str, value: &str| {
        world.firewall.run(|| std::fs::write(format!("/proc/sys/net/ipv4/{key}"), value))
    };
    sysctl("ip_local_port_range", "50000 60000")?;
    expect(
        told(&postern, &world)?,
        vec!["ok: nobody else here uses outside ports 40000-40099".into()],
        "alone",
    )?;
    sysctl("ip_local_port_range", "40090 60000")?;
    let range = told(&postern, &world)?;
    expect(
        range.len() == 1 && range[0].starts_with("warning: 10 of the outside ports"),
        true,
        &range.concat(),
    )?;
    sysctl("ip_local_reserved_ports", "40000-40099")?;
    let service = world.firewall.run(|| UdpSocket::bind("0.0.0.0:40050"))?;
    let socket = told(&postern, &world)?;
    expect(socket.len() == 1 && socket[0].contains("UDP socket 0.0.0.0:40050"), true, &socket.concat())?;
    drop(service);
    masquerades(&world, &postern)?;
    iptables(&world, &postern)
}

/// Those of the administrator that keep away from our ports, or give others than ours, are not told.
fn masquerades(world: &World, postern: &Postern<'_>) -> Outcome {
    world.nft(
        "table ip nat {
           chain post {
             type nat hook postrouting priority srcnat
             oifname third0 meta l4proto { tcp, udp } masquerade to :1024-39999
             oifname third0 meta l4proto tcp masquerade to :40000-40010
             oifname third0 ip saddr 10.0.40.0/24 snat to 192.0.2.1
           }
         }",
    )?;
    expect(told(postern, world)?.len(), 1, "findings")?;
    expect(told(postern, world)?[0].starts_with("ok"), true, "nobody takes ours")?;
    for (rule, words) in [
        ("masquerade", "to any port"),
        ("meta l4proto udp masquerade to :40099-41000", "to ports 40099-41000"),
        ("udp sport 5000 snat to 198.51.100.1:39000-40000", "to ports 39000-40000"),
        ("snat to 198.51.100.1", "to any port"),
    ] {
        world.nft("flush chain ip nat post")?;
        world.nft(&format!("add rule ip nat post oifname outside0 {rule}"))?;
        let found = told(postern, world)?;
        expect(found.len() == 1 && found[0].contains(words), true, &format!("{rule}: {found:?}"))?;
    }
    world.nft("delete table ip nat")?;
    Ok(())
}

fn iptables(world: &World, postern: &Postern<'_>) -> Outcome {
    for (rule, count) in [
        ("-o outside0 -j MASQUERADE", 1),
        ("-o outside0 -p udp -j MASQUERADE --to-ports 1024-39999", 0),
        ("-o outside0 -p udp -j MASQUERADE --to-ports 40000-65535", 1),
        ("-o outside0 -p udp -j SNAT --to-source 198.51.100.1:1024-40000", 1),
        ("-o outside0 -p udp -j SNAT --to-source 198.51.100.2", 0),
    ] {
        world.command(&world.firewall, "iptables-nft", &["-t", "nat", "-F"])?;
        let words: Vec<&str> =
            ["-t", "nat", "-A", "POSTROUTING"].into_iter().chain(rule.split(' ')).collect();
        world.command(&world.firewall, "iptables-nft", &words)?;
        let found = told(postern, world)?;
        let warned = found.iter().filter(|text| text.starts_with("warning")).count();
        expect(warned, count, &format!("{rule}: {found:?}"))?;
    }
    Ok(())
}
