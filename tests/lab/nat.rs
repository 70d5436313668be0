//! Phones behind a NAT: the other side sees the firewall's address and nothing else, in descriptions and in packets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use netns::again;

use crate::callee::Callee;
use crate::raw::{Request, Wire, bind, header, sdp, status};
use crate::witness::expect;
use crate::world::{BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![("nat::a_call_from_outside", from_outside)]
}

const NEAR: u16 = 22_000;
const FAR: u16 = 20_000;

fn from_outside() -> Outcome {
    let world = World::new()?;
    let nat = format!("[middlebox]\nnat-addresses = [\"{BORDER_OUTSIDE}\"]\nnat-ports = \"40000-40099\"\n");
    let postern = world.postern(&format!("{CONFIG}\n{nat}"))?;
    world.nft("insert rule inet filter forward udp dport 9 accept")?;
    let _callee = Callee::start(&world, NEAR)?;
    let near = bind(&world.inside, &format!("{INSIDE}:{NEAR}"))?;
    let far = bind(&world.outside, &format!("{OUTSIDE}:{FAR}"))?;
    let caller = Wire::open(&world.outside, OUTSIDE)?;
    let invite = Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, FAR));
    let response = caller.ask(&invite)?;
    expect(status(&response), 200, &response)?;
    expect(response.contains(INSIDE), false, &response)?;
    let seen = outside_place(&response).ok_or("no outside place in the answer")?;
    expect((seen.ip().to_string(), seen.port() % 2), (BORDER_OUTSIDE.to_owned(), 0), &response)?;
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
    postern.wait_for("both directions are open", || Ok(postern.pinholes()?.0 == 2))?;
    let ends = Ends { world: &world, near: &near, far: &far, seen };
    expect(ends.exchange()?, (10, 10), "packets in the call")?;
    expect(status(&caller.ask(&in_call("BYE", 2))?), 200, "status of the answer to BYE")?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    expect(ends.exchange()?, (0, 0), "packets after the call")?;
    Ok(())
}

/// Where the answer says that media goes.
fn outside_place(response: &str) -> Option<SocketAddr> {
    let line = |start: &str| response.split("\r\n").find_map(|line| line.strip_prefix(start));
    let port = line("m=audio ")?.split(' ').next()?;
    format!("{}:{port}", line("c=IN IP4 ")?).parse().ok()
}

struct Ends<'w> {
    world: &'w World,
    near: &'w UdpSocket,
    far: &'w UdpSocket,
    seen: SocketAddr,
}

impl Ends<'_> {
    /// How many of ten packets come to the phone inside, sent to the outside place, and how many to the phone outside, which
    /// must come from there. What was sent behind them tells when they have had their time.
    fn exchange(&self) -> io::Result<(usize, usize)> {
        let bells = [
            bind(&self.world.inside, &format!("{INSIDE}:9"))?,
            bind(&self.world.outside, &format!("{OUTSIDE}:9"))?,
        ];
        let far = self.far.local_addr()?;
        let inward = ten((self.far, self.seen), (self.near, far), (&bells[0], &bells[1]))?;
        let outward = ten((self.near, far), (self.far, self.seen), (&bells[1], &bells[0]))?;
        Ok((inward, outward))
    }
}

fn ten(
    (from, to): (&UdpSocket, SocketAddr),
    (receiver, seen_from): (&UdpSocket, SocketAddr),
    (bell, ringer): (&UdpSocket, &UdpSocket),
) -> io::Result<usize> {
    for _ in 0..10 {
        from.send_to(b"media", to)?;
    }
    bell.set_read_timeout(Some(Duration::from_secs(10)))?;
    ringer.send_to(b"bell", bell.local_addr()?)?;
    again(|| bell.recv(&mut [0; 8]))?;
    receiver.set_nonblocking(true)?;
    let mut count = 0;
    while let Ok((_, sender)) = receiver.recv_from(&mut [0; 8]) {
        if sender != seen_from {
            return Err(io::Error::other(format!("a packet says it comes from {sender}, not {seen_from}")));
        }
        count += 1;
    }
    Ok(count)
}
