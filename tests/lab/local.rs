//! A PBX on the firewall itself: its media comes to this host and leaves from it.

use std::io;
use std::net::UdpSocket;

use netns::again;

use crate::callee::Callee;
use crate::hostile_host::run;
use crate::raw::{Request, Wire, bind, header, sdp, status};
use crate::witness::expect;
use crate::world::{BORDER_OUTSIDE, CONFIG, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![("local::a_pbx_on_the_firewall", pbx)]
}

const NEAR: u16 = 22_000;
const FAR: u16 = 20_000;
const LINE: &str = "ct state untracked meta mark & 0x01000000 == 0x01000000 accept";

/// A firewall whose owner also looks at what it sends.
const OUTPUT: &str = "
table inet filter {
  chain output {
    type filter hook output priority filter; policy drop;
    ct state established,related accept
    meta l4proto { icmp, icmpv6 } accept
    oifname lo accept
    udp sport { 5060, 9 } accept
  }
  chain input {
    udp dport 9 accept
  }
}";

fn pbx() -> Outcome {
    let world = World::new()?;
    world.nft(OUTPUT)?;
    let config = CONFIG
        .replace("media  = [\"10.0.40.0/24\"]", "media  = [\"198.51.100.1/32\"]\nlocal-media = true")
        .replace("sip:10.0.40.20", "sip:10.0.40.1:5070");
    let postern = world.postern(&config)?;
    let file = postern.file.display().to_string();
    // Both chains are missed, and what is printed for them is enough.
    let (_, said) = run(&world.firewall, &[], &["check", &file])?;
    for chain in ["input", "output"] {
        let command = format!("nft 'insert rule inet filter {chain} {LINE}'");
        expect(said.contains(&command), true, &said)?;
        world.nft(&format!("insert rule inet filter {chain} {LINE}"))?;
    }
    let _callee = Callee::at(&world.firewall, "10.0.40.1:5070", (BORDER_OUTSIDE, NEAR))?;
    let near = bind(&world.firewall, &format!("{BORDER_OUTSIDE}:{NEAR}"))?;
    let far = bind(&world.outside, &format!("{OUTSIDE}:{FAR}"))?;
    expect(exchange(&world, &near, &far)?, (0, 0), "packets before the call")?;
    let caller = Wire::open(&world.outside, OUTSIDE)?;
    let invite = Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, FAR));
    let response = caller.ask(&invite)?;
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
    expect(status(&caller.ask(&in_call("BYE", 2))?), 200, "status of the answer to BYE")?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    expect(exchange(&world, &near, &far)?, (0, 0), "packets after the call")?;
    Ok(())
}

/// How many of ten packets come to the host, and to the phone outside. What was sent behind them tells when they have
/// had their time.
fn exchange(world: &World, near: &UdpSocket, far: &UdpSocket) -> io::Result<(usize, usize)> {
    let bells = [
        bind(&world.firewall, &format!("{BORDER_OUTSIDE}:9"))?,
        bind(&world.outside, &format!("{OUTSIDE}:9"))?,
    ];
    let count = |from: &UdpSocket, to: &UdpSocket, ringer: &UdpSocket, bell: &UdpSocket| {
        for _ in 0..10 {
            // A drop at output is told to the sender.
            let _ = from.send_to(b"media", to.local_addr()?);
        }
        bell.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        ringer.send_to(b"bell", bell.local_addr()?)?;
        again(|| bell.recv(&mut [0; 8]))?;
        to.set_nonblocking(true)?;
        let mut count = 0;
        while to.recv(&mut [0; 8]).is_ok() {
            count += 1;
        }
        Ok::<_, io::Error>(count)
    };
    Ok((count(far, near, &bells[1], &bells[0])?, count(near, far, &bells[0], &bells[1])?))
}
