//! A call through a NAT, with a socket for the media of each phone.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use netns::again;

use crate::callee::Callee;
use crate::raw::{Request, Wire, bind, header, sdp, status};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, INSIDE, OUTSIDE, Postern, World};

/// Where the phone inside hears media, and the one outside.
pub(crate) const NEAR: u16 = 22_000;
pub(crate) const FAR: u16 = 20_000;
/// The ports of the outside address that are ours.
pub(crate) const POOL: std::ops::RangeInclusive<u16> = 40_000..=40_099;

/// Postern with a NAT, and further keys of the middlebox. The firewall lets the trial's own bells pass.
pub(crate) fn with_nat<'w>(world: &'w World, config: &str, keys: &str) -> io::Result<Postern<'w>> {
    let (first, last) = (POOL.start(), POOL.end());
    let nat = format!("nat-addresses = [\"{BORDER_OUTSIDE}\"]\nnat-ports = \"{first}-{last}\"\n");
    let postern = world.postern(&format!("{config}\n[middlebox]\n{nat}{keys}"))?;
    world.nft("insert rule inet filter forward udp dport 9 accept")?;
    Ok(postern)
}

/// A call, and the ends of its media.
pub(crate) struct Call<'w> {
    world: &'w World,
    postern: &'w Postern<'w>,
    caller: Wire,
    border: (&'static str, u16),
    invite: Request,
    to_tag: String,
    pub(crate) near: UdpSocket,
    pub(crate) far: UdpSocket,
    /// Where the phone outside was told to send.
    pub(crate) seen: SocketAddr,
    _callee: Option<Callee>,
}

impl<'w> Call<'w> {
    /// From the phone outside to the one inside, which takes another call later.
    pub(crate) fn from_outside(world: &'w World, postern: &'w Postern<'w>) -> io::Result<Self> {
        let address = format!("{INSIDE}:5060");
        let callee = Callee::of_calls(&world.inside, &address, INSIDE, vec![NEAR, NEAR + 2])?;
        Self::to_inside(world, postern, (FAR, NEAR), Some(callee))
    }

    /// Another call to the phone inside while this one goes on.
    pub(crate) fn beside(&self) -> io::Result<Self> {
        Self::to_inside(self.world, self.postern, (FAR + 2, NEAR + 2), None)
    }

    fn to_inside(
        world: &'w World,
        postern: &'w Postern<'w>,
        (far, near): (u16, u16),
        callee: Option<Callee>,
    ) -> io::Result<Self> {
        let before = postern.pinholes()?.0;
        let caller = Wire::open(&world.outside, OUTSIDE)?;
        let invite = Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, far));
        let border = (BORDER_OUTSIDE, 5060);
        let response = ask(&caller, border, &invite)?;
        expect(status(&response), 200, &response)?;
        expect(response.contains(INSIDE), false, &response)?;
        let seen = place(&response).ok_or("no outside place in the answer").map_err(io::Error::other)?;
        Self::answered(world, postern, (caller, border, invite, response), (before, far, near), seen, callee)
    }

    /// From the phone inside to the one outside.
    pub(crate) fn from_inside(world: &'w World, postern: &'w Postern<'w>) -> io::Result<Self> {
        let before = postern.pinholes()?.0;
        let callee = Callee::at(&world.outside, &format!("{OUTSIDE}:5060"), (OUTSIDE, FAR))?;
        let caller = Wire::open(&world.inside, INSIDE)?;
        let invite = Request::new("INVITE", caller.local).sdp(sdp(INSIDE, NEAR));
        let border = (BORDER_INSIDE, 5060);
        let response = ask(&caller, border, &invite)?;
        expect(status(&response), 200, &response)?;
        expect(place(&response).map(|place| place.to_string()), Some(format!("{OUTSIDE}:{FAR}")), &response)?;
        let offer = callee.offer().ok_or("no offer came").map_err(io::Error::other)?;
        expect(offer.contains(INSIDE), false, &offer)?;
        let seen = place(&offer).ok_or("no outside place in the offer").map_err(io::Error::other)?;
        Self::answered(
            world,
            postern,
            (caller, border, invite, response),
            (before, FAR, NEAR),
            seen,
            Some(callee),
        )
    }

    fn answered(
        world: &'w World,
        postern: &'w Postern<'w>,
        (caller, border, invite, response): (Wire, (&'static str, u16), Request, String),
        (before, far, near): (usize, u16, u16),
        seen: SocketAddr,
        callee: Option<Callee>,
    ) -> io::Result<Self> {
        expect(
            (seen.ip().to_string(), seen.port() % 2),
            (BORDER_OUTSIDE.to_owned(), 0),
            "the outside place",
        )?;
        expect(POOL.contains(&seen.port()), true, "the outside port is of the pool")?;
        let to_tag = header(&response, "To").split_once(";tag=").map_or("", |(_, tag)| tag);
        let to_tag = format!(";tag={to_tag}");
        let near = bind(&world.inside, &format!("{INSIDE}:{near}"))?;
        let far = bind(&world.outside, &format!("{OUTSIDE}:{far}"))?;
        let call = Self { world, postern, caller, border, invite, to_tag, near, far, seen, _callee: callee };
        let ack = Request { id: format!("{}ack", call.invite.id), ..call.in_call("ACK", 1) };
        let tag = |id: &str| format!("tag={id}");
        let ack = ack.text().replace(&tag(&format!("{}ack", call.invite.id)), &tag(&call.invite.id));
        call.caller.socket.send_to(ack.as_bytes(), border)?;
        let open = before + 2;
        postern.wait_for("both directions are open", || Ok(postern.pinholes()?.0 == open))?;
        Ok(call)
    }

    fn in_call(&self, method: &'static str, cseq: u32) -> Request {
        let (to_tag, lines, body) = (self.to_tag.clone(), String::new(), String::new());
        Request { method, cseq, to_tag, lines, body, ..self.invite.clone() }
    }

    /// Says BYE and waits until its rules are gone.
    pub(crate) fn hang_up(&self) -> io::Result<()> {
        let before = self.postern.pinholes()?.0;
        let bye = ask(&self.caller, self.border, &self.in_call("BYE", 2))?;
        expect(status(&bye), 200, "status of the answer to BYE")?;
        self.postern.wait_for("its rules are gone", || Ok(self.postern.pinholes()?.0 + 2 == before))
    }

    /// How many of ten packets come to the phone inside, sent to the outside place, and how many to the phone outside,
    /// which must come from there.
    pub(crate) fn exchange(&self) -> io::Result<(usize, usize)> {
        self.exchange_of(b"media")
    }

    /// The same with this in each packet.
    pub(crate) fn exchange_of(&self, what: &[u8]) -> io::Result<(usize, usize)> {
        let bells = [
            bind(&self.world.inside, &format!("{INSIDE}:9"))?,
            bind(&self.world.outside, &format!("{OUTSIDE}:9"))?,
        ];
        for bell in &bells {
            bell.set_read_timeout(Some(Duration::from_secs(10)))?;
        }
        let ring = |bell: &UdpSocket, ringer: &UdpSocket| {
            ringer.send_to(b"bell", bell.local_addr()?)?;
            again(|| bell.recv(&mut [0; 8])).map(drop)
        };
        let far = self.far.local_addr()?;
        let inward = ten(what, (&self.far, self.seen), (&self.near, far), || ring(&bells[0], &bells[1]))?;
        let outward = ten(what, (&self.near, far), (&self.far, self.seen), || ring(&bells[1], &bells[0]))?;
        Ok((inward, outward))
    }
}

pub(crate) fn ask(caller: &Wire, border: (&str, u16), request: &Request) -> io::Result<String> {
    caller.socket.send_to(request.text().as_bytes(), border)?;
    caller.next()
}

/// Where a description says that media goes.
pub(crate) fn place(message: &str) -> Option<SocketAddr> {
    let line = |start: &str| message.split("\r\n").find_map(|line| line.strip_prefix(start));
    let port = line("m=audio ")?.split(' ').next()?;
    format!("{}:{port}", line("c=IN IP4 ")?).parse().ok()
}

/// How many of ten packets come; `ring` sends something behind them and returns when that has arrived.
pub(crate) fn ten(
    what: &[u8],
    (from, to): (&UdpSocket, SocketAddr),
    (receiver, seen_from): (&UdpSocket, SocketAddr),
    ring: impl FnOnce() -> io::Result<()>,
) -> io::Result<usize> {
    for _ in 0..10 {
        from.send_to(what, to)?;
    }
    ring()?;
    receiver.set_nonblocking(true)?;
    let (mut count, mut heard) = (0, vec![0; 65_535]);
    while let Ok((length, sender)) = receiver.recv_from(&mut heard) {
        if (sender, &heard[..length]) != (seen_from, what) {
            return Err(io::Error::other(format!(
                "{length} octets came from {sender}, not from {seen_from}"
            )));
        }
        count += 1;
    }
    Ok(count)
}
