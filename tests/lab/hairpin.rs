//! Both phones inside: on one side of the NAT, whatever way their call goes.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use netns::again;

use crate::callee::{Callee, answer};
use crate::natted::{FAR, NEAR, POOL, ask, place, ten, with_nat};
use crate::raw::{Request, Wire, bind, header, sdp, status};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, Postern, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![("hairpin::a_call_by_way_of_a_provider_outside", by_a_provider)]
}

/// The second phone inside.
const ADA: &str = "10.0.40.21";

/// Ada calls out; the provider outside calls back in, to Ben. Both are told outside places only.
struct Joined<'w> {
    world: &'w World,
    postern: &'w Postern<'w>,
    ada: Wire,
    provider: Wire,
    second: Wire,
    invites: [Request; 2],
    to_tags: [String; 2],
    media: [UdpSocket; 2],
    /// Where Ada and Ben are seen.
    seen: [SocketAddr; 2],
    _ben: Callee,
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn to_tag(response: &str) -> String {
    let tag = header(response, "To").split_once(";tag=").map_or("", |(_, tag)| tag);
    format!(";tag={tag}")
}

fn outside(message: &str) -> io::Result<SocketAddr> {
    let place = place(message)
        .filter(|place| place.ip().to_string() == BORDER_OUTSIDE && POOL.contains(&place.port()));
    place.ok_or_else(|| io::Error::other(format!("no outside place in {message}")))
}

impl<'w> Joined<'w> {
    fn new(world: &'w World, postern: &'w Postern<'w>) -> io::Result<Self> {
        let ben = Callee::start(world, NEAR)?;
        let provider = Wire::bind(&world.outside, &format!("{OUTSIDE}:5060"))?;
        let (ada, second) = (Wire::open(&world.inside, ADA)?, Wire::open(&world.outside, OUTSIDE)?);
        let first = Request::new("INVITE", ada.local).sdp(sdp(ADA, FAR));
        ada.socket.send_to(first.text().as_bytes(), (BORDER_INSIDE, 5060))?;
        let offer = provider.next()?;
        let ada_seen = outside(&offer)?;
        let invite = Request::new("INVITE", second.local).sdp(body(&offer));
        let answered = ask(&second, (BORDER_OUTSIDE, 5060), &invite)?;
        expect(status(&answered), 200, &answered)?;
        let ben_seen = outside(&answered)?;
        let back = answer(&provider, &offer, "200 OK", body(&answered));
        provider.send(back)?;
        let response = ada.next()?;
        expect((status(&response), outside(&response)?), (200, ben_seen), &response)?;
        let media = [
            bind(&world.inside, &format!("{ADA}:{FAR}"))?,
            bind(&world.inside, &format!("{INSIDE}:{NEAR}"))?,
        ];
        let joined = Self {
            world,
            postern,
            ada,
            provider,
            second,
            invites: [first, invite],
            to_tags: [to_tag(&response), to_tag(&answered)],
            media,
            seen: [ada_seen, ben_seen],
            _ben: ben,
        };
        for call in [0, 1] {
            let id = &joined.invites[call].id;
            let ack = Request { id: format!("{id}ack"), ..joined.in_call(call, "ACK", 1) };
            let text = ack.text().replace(&format!("tag={id}ack"), &format!("tag={id}"));
            joined.wire(call).socket.send_to(text.as_bytes(), joined.border(call))?;
        }
        postern.wait_for("both directions of both calls are open", || Ok(postern.pinholes()?.0 == 4))?;
        Ok(joined)
    }

    fn wire(&self, call: usize) -> &Wire {
        if call == 0 { &self.ada } else { &self.second }
    }

    fn border(&self, call: usize) -> (&'static str, u16) {
        (if call == 0 { BORDER_INSIDE } else { BORDER_OUTSIDE }, 5060)
    }

    fn in_call(&self, call: usize, method: &'static str, cseq: u32) -> Request {
        let (to_tag, lines, body) = (self.to_tags[call].clone(), String::new(), String::new());
        Request { method, cseq, to_tag, lines, body, ..self.invites[call].clone() }
    }

    /// How many of ten packets come from Ben to Ada, and from Ada to Ben, each to and from outside places. The bell goes out
    /// and comes back in: it passes the firewall behind them.
    fn exchange(&self) -> io::Result<(usize, usize)> {
        let bell = bind(&self.world.inside, &format!("{INSIDE}:9"))?;
        let outside = bind(&self.world.outside, &format!("{OUTSIDE}:9"))?;
        for socket in [&bell, &outside] {
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        }
        let [ada, ben] = &self.media;
        let [ada_seen, ben_seen] = self.seen;
        let ring = || {
            bell.send_to(b"bell", (OUTSIDE, 9))?;
            again(|| outside.recv(&mut [0; 8]))?;
            outside.send_to(b"bell", (INSIDE, 9))?;
            again(|| bell.recv(&mut [0; 8])).map(drop)
        };
        let to_ada = ten(b"media", (ben, ada_seen), (ada, ben_seen), ring)?;
        let to_ben = ten(b"media", (ada, ben_seen), (ben, ada_seen), ring)?;
        Ok((to_ada, to_ben))
    }
}

fn by_a_provider() -> Outcome {
    let world = World::new()?;
    let postern = with_nat(&world, CONFIG, "")?;
    let joined = Joined::new(&world, &postern)?;
    expect(joined.exchange()?, (10, 10), "packets in the calls")?;
    // The first call ends: its outside place is nobody's any more, and nobody sends to the other's.
    joined.ada.socket.send_to(joined.in_call(0, "BYE", 2).text().as_bytes(), (BORDER_INSIDE, 5060))?;
    loop {
        let request = joined.provider.next()?;
        if request.starts_with("BYE ") {
            joined.provider.send(answer(&joined.provider, &request, "200 OK", ""))?;
            break;
        }
    }
    expect(status(&joined.ada.next()?), 200, "status of the answer to BYE")?;
    joined.postern.wait_for("its rules are gone", || Ok(postern.pinholes()?.0 == 2))?;
    expect(joined.exchange()?, (0, 0), "packets after the first call")?;
    let bye = ask(&joined.second, (BORDER_OUTSIDE, 5060), &joined.in_call(1, "BYE", 2))?;
    expect(status(&bye), 200, "status of the answer to BYE")?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    expect(joined.exchange()?, (0, 0), "packets after both")?;
    Ok(())
}
