//! Phones behind a bridge of the firewall: what it routes comes in by the bridge, whatever port of it the phone is on.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use netns::again;

use crate::callee::Callee;
use crate::natted::{FAR, NEAR, ask, ten};
use crate::raw::{Request, Wire, bind, header, sdp, status};
use crate::witness::expect;
use crate::world::{BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("bridge::media_to_a_host_behind_a_bridge", || through("")),
        ("bridge::media_to_a_host_behind_a_bridge_by_name", || through("interfaces = [\"lan0\"]\n")),
    ]
}

/// The cable to the inside is a port of the bridge `lan0`, which has the firewall's address; another port has nobody.
fn bridged() -> io::Result<World> {
    let world = World::new()?;
    for words in [
        "link add lan0 type bridge",
        "link add spare0 type veth peer name spare1",
        "addr flush dev inside0",
        "link set inside0 master lan0",
        "link set spare0 master lan0",
        "link set spare0 up",
        "addr add 10.0.40.1/24 dev lan0",
        "link set lan0 up",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        world.command(&world.firewall, "ip", &words)?;
    }
    world.nft("insert rule inet filter forward iifname lan0 accept")?;
    world.nft("insert rule inet filter forward udp dport 9 accept")?;
    // In the order in which an administrator reads them: the line stays first.
    world.nft(
        "insert rule inet filter forward ct state untracked meta mark & 0x01000000 == 0x01000000 accept",
    )?;
    Ok(world)
}

fn through(keys: &str) -> Outcome {
    let world = bridged()?;
    let config =
        CONFIG.replace("media  = [\"10.0.40.0/24\"]", &format!("media  = [\"10.0.40.0/24\"]\n{keys}"));
    let postern = world.postern(&config)?;
    let _callee = Callee::start(&world, NEAR)?;
    let near = bind(&world.inside, &format!("{INSIDE}:{NEAR}"))?;
    let far = bind(&world.outside, &format!("{OUTSIDE}:{FAR}"))?;
    expect(exchange(&world, &near, &far)?, (0, 0), "packets before the call")?;
    let caller = Wire::open(&world.outside, OUTSIDE)?;
    let invite = Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, FAR));
    let border = (BORDER_OUTSIDE, 5060);
    let response = ask(&caller, border, &invite)?;
    expect(status(&response), 200, &response)?;
    let to_tag = header(&response, "To").split_once(";tag=").map_or("", |(_, tag)| tag);
    let to_tag = format!(";tag={to_tag}");
    let in_call = |method, cseq| Request {
        method,
        cseq,
        to_tag: to_tag.clone(),
        lines: String::new(),
        body: String::new(),
        ..invite.clone()
    };
    let ack = Request { id: format!("{}ack", invite.id), ..in_call("ACK", 1) };
    caller.send(ack.text().replace(&format!("tag={}ack", invite.id), &format!("tag={}", invite.id)))?;
    postern.wait_for("what the call needs is open", || Ok(postern.pinholes()? == (2, 2)))?;
    expect(exchange(&world, &near, &far)?, (10, 10), "packets in the call")?;
    expect(status(&ask(&caller, border, &in_call("BYE", 2))?), 200, "status of the answer to BYE")?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    expect(exchange(&world, &near, &far)?, (0, 0), "packets after the call")?;
    Ok(())
}

/// How many of ten packets come to the phone inside, and to the phone outside.
fn exchange(world: &World, near: &UdpSocket, far: &UdpSocket) -> io::Result<(usize, usize)> {
    let bells =
        [bind(&world.inside, &format!("{INSIDE}:9"))?, bind(&world.outside, &format!("{OUTSIDE}:9"))?];
    for bell in &bells {
        bell.set_read_timeout(Some(Duration::from_secs(10)))?;
    }
    let ring = |bell: &UdpSocket, ringer: &UdpSocket| {
        ringer.send_to(b"bell", bell.local_addr()?)?;
        again(|| bell.recv(&mut [0; 8])).map(drop)
    };
    let (inside, outside) = (near.local_addr()?, far.local_addr()?);
    let inward = ten(b"media", (far, inside), (near, outside), || ring(&bells[0], &bells[1]))?;
    let outward = ten(b"media", (near, outside), (far, inside), || ring(&bells[1], &bells[0]))?;
    Ok((inward, outward))
}
