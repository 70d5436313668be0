//! Typical sites, each from its file in `docs/examples`, with real phones and a real registrar.

use std::fs;
use std::io;

use netns::Host;

use crate::baresip::Baresip;
use crate::line::{End, Line};
use crate::observer::Way;
use crate::phone::{Answer, Phone as _};
use crate::phones::{CONVERSATION, Conversation, count_rtp, rtp};
use crate::raw::{Request, Wire, header, sdp, status};
use crate::registrations::kamailio;
use crate::witness::expect;
use crate::world::{BORDER_OUTSIDE, INSIDE, Named, OUTSIDE, Outcome, Postern, World, net};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("sites::phones_outside_call_and_are_called_through_the_registrar", registered),
        ("sites::a_phone_behind_its_own_nat_finds_its_place_by_stun", behind_nat),
        ("sites::a_phone_behind_its_own_nat_without_stun_is_told_why_it_cannot", lost_behind_nat),
        ("sites::inside_has_ipv6_only", ipv6),
    ]
}

/// Where the registrar is, and the phone at home.
const REGISTRAR: &str = "10.0.40.21";
const AT_HOME: &str = "192.168.1.7";
/// What its NAT shows.
const HOME: &str = "192.0.2.20";

/// A file of `docs/examples`, its state kept in the trial's folder.
pub(crate) fn example(world: &World, name: &str) -> io::Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/");
    let text = fs::read_to_string(format!("{folder}{name}"))?;
    Ok(text.replace("/var/lib/postern", &world.folder.display().to_string()))
}

fn account(user: &str, more: &str) -> String {
    format!("<sip:{user}@{BORDER_OUTSIDE}>;auth_user={user};auth_pass=secret;regint=60{more}")
}

/// The desk phone inside.
fn bob(world: &World) -> io::Result<Baresip> {
    Baresip::start(world, &world.inside, "bob", INSIDE, Answer::AtOnce)
}

fn registered() -> Outcome {
    let world = World::new()?;
    let _registrar = kamailio(&world)?;
    let postern = world.postern(&example(&world, "phones-outside.toml")?)?;
    let line = Line::watch(&world, &postern)?;
    let at = (&world.outside, OUTSIDE);
    let mut alice =
        Baresip::with_account(&world, at, ("alice", &account("alice", "")), Answer::AtOnce, None)?;
    is_registered(&postern, OUTSIDE)?;
    let mut bob = bob(&world)?;
    bob.call(&format!("sip:alice@{REGISTRAR}"))?;
    line.until_seen(End::Inside, Way::Sent, "ACK", 1)?;
    line.talk()?;
    bob.hang_up()?;
    line.is_over()?;
    alice.wait_for("CALL_CLOSED")?;
    alice.call(&format!("sip:bob@{BORDER_OUTSIDE}"))?;
    line.until_seen(End::Outside, Way::Sent, "ACK", 1)?;
    line.talk()?;
    alice.hang_up()?;
    line.is_over()?;
    Ok(())
}

/// A home with one phone, behind a router that gives one address to it all and lets in what answers.
fn home(world: &World) -> io::Result<Host> {
    let home = Host::new("home")?;
    home.cable("eth0", &world.third, "home0")?;
    home.address("eth0", net(&format!("{AT_HOME}/24"))?)?;
    world.third.address("home0", net("192.168.1.1/24")?)?;
    home.route(net("0.0.0.0/0")?, net("192.168.1.1/24")?.addr())?;
    world.third.forward()?;
    let rules = "table ip router {
        chain nat { type nat hook postrouting priority srcnat; oifname \"eth0\" masquerade; }
        chain in { type filter hook input priority filter; iifname \"eth0\" ct state new drop; }
        chain forward { type filter hook forward priority filter; iifname \"eth0\" ct state new drop; }
    }";
    world.command(&world.third, "nft", &[rules])?;
    Ok(home)
}

/// The file for phones outside, where homes are behind another cable than Postern's own outside address.
fn with_homes(world: &World) -> io::Result<String> {
    let interfaces = "[realm.outside]\ninterfaces = [\"outside0\", \"third0\"]\n";
    Ok(example(world, "phones-outside.toml")?.replacen("[realm.outside]\n", interfaces, 1))
}

/// Waits until the phone outside is registered, from this address.
fn is_registered(postern: &Postern<'_>, address: &str) -> io::Result<()> {
    postern.wait_for("the phone is registered", || {
        let list = postern.json(&["registrations"])?;
        let lines = list["registrations"].as_array().cloned().unwrap_or_default();
        Ok(lines.len() == 1 && lines[0]["address"] == format!("{address}:5060"))
    })
}

/// Postern itself tells the phone what its NAT shows (RFC 5626 §8, RFC 8489): its SDP is true, and media goes directly.
fn behind_nat() -> Outcome {
    let world = World::new()?;
    let home = home(&world)?;
    let _registrar = kamailio(&world)?;
    let postern = world.postern(&with_homes(&world)?)?;
    for host in [&home, &world.inside] {
        count_rtp(&world, host)?;
    }
    let stun = format!(";medianat=stun;stunserver=\"stun:{BORDER_OUTSIDE}:5060\"");
    let at = (&home, AT_HOME);
    let mut alice =
        Baresip::with_account(&world, at, ("alice", &account("alice", &stun)), Answer::AtOnce, None)?;
    is_registered(&postern, HOME)?;
    let mut bob = bob(&world)?;
    for bob_calls in [true, false] {
        let before = (rtp(&world, &home)?.1, rtp(&world, &world.inside)?.1);
        let (caller, callee, called) = match bob_calls {
            true => (&mut bob, &mut alice, format!("sip:alice@{REGISTRAR}")),
            false => (&mut alice, &mut bob, format!("sip:bob@{BORDER_OUTSIDE}")),
        };
        caller.call(&called)?;
        caller.wait_for("CALL_ESTABLISHED")?;
        callee.wait_for("CALL_ESTABLISHED")?;
        postern.wait_for("both phones have heard a second of sound", || {
            let heard = (rtp(&world, &home)?.1 - before.0, rtp(&world, &world.inside)?.1 - before.1);
            Ok(heard.0 >= CONVERSATION && heard.1 >= CONVERSATION)
        })?;
        caller.hang_up()?;
        caller.wait_for("CALL_CLOSED")?;
        callee.wait_for("CALL_CLOSED")?;
        postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    }
    Ok(())
}

/// Without STUN the phone names an address at home, where no pinhole leads.
fn lost_behind_nat() -> Outcome {
    let world = World::new()?;
    let home = home(&world)?;
    let _registrar = kamailio(&world)?;
    let postern = world.postern(&with_homes(&world)?)?;
    let caller = Wire::open(&home, AT_HOME)?;
    let refused = caller.ask(&Request::new("INVITE", caller.local).sdp(sdp(AT_HOME, 20_000)))?;
    expect(status(&refused), 488, &refused)?;
    let why = header(&refused, "Warning");
    expect(why.contains(AT_HOME) && why.contains("behind a NAT of the phone's own"), true, why)?;
    // The same when it is called.
    let line = Line::watch(&world, &postern)?;
    let at = (&home, AT_HOME);
    let mut alice =
        Baresip::with_account(&world, at, ("alice", &account("alice", "")), Answer::AtOnce, None)?;
    is_registered(&postern, HOME)?;
    let mut bob = bob(&world)?;
    bob.call(&format!("sip:alice@{REGISTRAR}"))?;
    line.until_seen(End::Inside, Way::Heard, "488 INVITE", 1)?;
    let told = line.messages(End::Inside, Way::Heard, "488 INVITE")?;
    let told = told.first().map(String::as_str).unwrap_or_default();
    expect(header(told, "Warning").contains(AT_HOME), true, told)?;
    alice.wait_for("CALL_CLOSED")?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

fn ipv6() -> Outcome {
    let world = World::new()?;
    for (host, cable) in [(&world.inside, "eth0"), (&world.firewall, "inside0"), (&world.outside, "eth0")] {
        world.command(host, "ip", &["-4", "addr", "flush", "dev", cable])?;
    }
    let postern = world.postern(&example(&world, "ipv6-inside.toml")?)?;
    for host in [&world.outside, &world.inside] {
        count_rtp(&world, host)?;
    }
    for from_outside in [true, false] {
        let alice = Baresip::start(&world, &world.outside, "alice", "[2001:db8:a::20]", Answer::AtOnce)?;
        let bob = Baresip::start(&world, &world.inside, "bob", "[2001:db8:b::20]", Answer::AtOnce)?;
        let (phones, called) = match from_outside {
            true => ((alice, bob), "sip:bob@[2001:db8:a::1]"),
            false => ((bob, alice), "sip:alice@[2001:db8:b::1]"),
        };
        let mut call = Conversation::between(&world, &postern, phones, called)?;
        call.hang_up()?;
        postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    }
    // Whoever has IPv4 only is told so.
    let caller = Wire::open(&world.third, HOME)?;
    let refused = caller.ask(&Request::new("INVITE", caller.local).sdp(sdp(HOME, 20_000)))?;
    expect(status(&refused), 488, &refused)?;
    expect(header(&refused, "Warning").starts_with("301 "), true, &refused)?;
    Ok(())
}
