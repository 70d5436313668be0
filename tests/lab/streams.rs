//! Streams that are not plain sound between two ports: fax, TCP, bundles with ICE, and silence. The phones are played by hand
//! in the words of flows; what counts are the packets on both cables.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netns::Host;

use crate::line::{End, Line, address};
use crate::media::{Media, RTP_INSIDE, RTP_OUTSIDE};
use crate::observer::{Load, Packet, Way};
use crate::seat::Seat;
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("streams::silence_ends_a_call_and_sound_keeps_one", silence),
        ("streams::fax_takes_the_place_of_sound_and_gives_it_back", fax),
        ("streams::tcp_is_opened_by_the_offerer", || tcp(true)),
        ("streams::tcp_is_opened_by_the_answerer", || tcp(false)),
        ("streams::tcp_from_inside_lets_nobody_in", tcp_outwards),
        ("streams::a_bundle_with_ice_and_mux_has_the_pairs_it_agreed_on", bundle),
    ]
}

/// The `media-timeout` of the trial.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A second address of the outside phone, and a stranger's.
const SECOND: &str = "198.51.100.21";

/// Two phones by hand, A outside and B inside.
struct Pair {
    a: Seat,
    b: Seat,
}

impl Pair {
    fn new(world: &World) -> io::Result<Self> {
        let seat = |host, own, border| Seat::new(host, &format!("{own}:5060"), &format!("{border}:5060"));
        let mut pair = Self {
            a: seat(&world.outside, OUTSIDE, BORDER_OUTSIDE)?,
            b: seat(&world.inside, INSIDE, BORDER_INSIDE)?,
        };
        pair.a.sit('A', &format!("sip:b@{BORDER_OUTSIDE}"), 1)?;
        pair.b.sit('B', &format!("sip:a@{BORDER_INSIDE}"), 1)?;
        Ok(pair)
    }

    /// A calls B with these descriptions.
    fn call(&mut self, offer: &str, answer: &str) -> io::Result<()> {
        self.a.says(&format!("INVITE {offer}"))?;
        self.b.hears("INVITE", &[])?;
        self.b.says(&format!("200 {answer}"))?;
        self.a.hears("200", &[])?;
        self.a.says("ACK")?;
        self.b.hears("ACK", &[]).map(drop)
    }

    /// One of them offers again.
    fn offer_again(&mut self, from_a: bool, offer: &str, answer: &str) -> io::Result<()> {
        let (from, to) = if from_a { (&mut self.a, &mut self.b) } else { (&mut self.b, &mut self.a) };
        from.says(&format!("INVITE {offer}"))?;
        to.hears("INVITE", &[])?;
        to.says(&format!("200 {answer}"))?;
        from.hears("200", &[])?;
        from.says("ACK")?;
        to.hears("ACK", &[]).map(drop)
    }

    fn hang_up(&mut self) -> io::Result<()> {
        self.a.says("BYE")?;
        self.b.hears("BYE", &[])?;
        self.b.says("200 BYE")?;
        self.a.hears("200 BYE", &[]).map(drop)
    }
}

/// calls.md §7: a call in which sound flows lives on; when it stops the kernel's counters stand still, and both are told.
fn silence() -> Outcome {
    let world = World::new()?;
    let config = format!("{CONFIG}\n[calls]\nmedia-timeout = \"{}s\"\n", TIMEOUT.as_secs());
    let postern = world.postern(&config)?;
    let mut pair = Pair::new(&world)?;
    pair.call(&format!("c={OUTSIDE} m=audio {RTP_OUTSIDE}"), &format!("c={INSIDE} m=audio {RTP_INSIDE}"))?;
    let media = Media::start(&world)?;
    let heard_one = || media.heard().0 > 0 && media.heard().1 > 0;
    postern.wait_for("sound flows both ways", || Ok(heard_one()))?;
    // Twice the time after which a silent call is over.
    let until = Instant::now() + 2 * TIMEOUT;
    while Instant::now() < until {
        pair.a.listen()?;
        pair.b.listen()?;
        expect((pair.a.has_news(), pair.b.has_news()), (false, false), "messages in a call with sound")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    expect(media.tally().lost, Vec::new(), "sound lost")?;
    drop(media);
    let silent = Instant::now();
    for seat in [&mut pair.a, &mut pair.b] {
        let bye = seat.hears("BYE", &["Reason"])?;
        expect(bye.contains("SIP;cause=408;text=\"no media\""), true, &format!("a reason in {bye}"))?;
        seat.says("200 BYE")?;
    }
    // The last look that saw packets move was at most a quarter of the time before.
    expect(silent.elapsed() >= TIMEOUT / 2, true, "time until the call was over")?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

/// calls.md §4: a re-INVITE turns audio into T.38 and back; packets pass at the ports in use and at no others.
fn fax() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut pair = Pair::new(&world)?;
    let [sound, fax] = [(20_000, 22_000), (20_100, 22_100)].map(|(outside, inside)| both(outside, inside));
    let [sound, fax] = [sound?, fax?];
    let pass = |what: &str, pairs: &[(SocketAddrV4, SocketAddrV4)], wanted: usize| {
        line.wait_for(what, || Ok(line.passes(pairs)? == wanted))
    };
    pair.call(&format!("c={OUTSIDE} m=audio 20000"), &format!("c={INSIDE} m=audio 22000"))?;
    pass("sound passes", &sound, 2)?;
    pass("no fax passes", &fax, 0)?;
    let image = |address, port: u16| format!("o=2 c={address} m=audio 0 m=image:udptl {port}");
    pair.offer_again(false, &image(INSIDE, 22_100), &image(OUTSIDE, 20_100))?;
    pass("the fax passes", &fax, 2)?;
    pass("sound passes no more", &sound, 0)?;
    let audio = |address, port: u16| format!("o=3 c={address} m=audio {port} m=image:udptl 0");
    pair.offer_again(true, &audio(OUTSIDE, 20_000), &audio(INSIDE, 22_000))?;
    pass("sound passes again", &sound, 2)?;
    pass("the fax passes no more", &fax, 0)?;
    pair.hang_up()?;
    pass("nothing passes after the call", &[sound, fax].concat(), 0)?;
    line.is_over()?;
    Ok(())
}

/// Both ways between a port outside and one inside.
fn both(outside: u16, inside: u16) -> io::Result<Vec<(SocketAddrV4, SocketAddrV4)>> {
    let (outside, inside) = (address(OUTSIDE, outside)?, address(INSIDE, inside)?);
    Ok(vec![(outside, inside), (inside, outside)])
}

/// calls.md §4, TCP m-lines: the outside phone connects to the inside one, whoever of them has offered. Before the call, from
/// elsewhere, at another port and after the call no SYN passes; in it what is written passes both ways.
fn tcp(by_the_offerer: bool) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut pair = Pair::new(&world)?;
    let server = listen(&world.inside, INSIDE, 22_100)?;
    knocks_in_vain(&line, &world, OUTSIDE, 22_100)?;
    let outside = format!("c={OUTSIDE} m=message:TCP/MSRP 9 a=setup:active");
    let inside = format!("c={INSIDE} m=message:TCP/MSRP 22100 a=setup:passive");
    if by_the_offerer {
        pair.call(&outside, &inside)?;
    } else {
        // The inside phone offers that others may connect, and the outside one answers that it will.
        pair.call(&format!("c={OUTSIDE} m=audio 20000"), &format!("c={INSIDE} m=audio 22000"))?;
        let with =
            |audio: &str, chat: &str| format!("o=2 {audio} {}", chat.split_once(' ').map_or("", |(_, m)| m));
        let inside = with(&format!("c={INSIDE} m=audio 22000"), &inside);
        let outside = with(&format!("c={OUTSIDE} m=audio 20000"), &outside);
        pair.offer_again(false, &inside, &outside)?;
    }
    let mut client = world.outside.run(|| TcpStream::connect_timeout(&server.at, PATIENCE))?;
    let mut accepted = server.accept()?;
    says(&mut client, &mut accepted, b"a word inwards")?;
    says(&mut accepted, &mut client, b"a word outwards")?;
    knocks_in_vain(&line, &world, SECOND, 22_100)?;
    knocks_in_vain(&line, &world, OUTSIDE, 22_102)?;
    pair.hang_up()?;
    knocks_in_vain(&line, &world, OUTSIDE, 22_100)?;
    // The connection itself is dead as well: what is written into it does not arrive any more.
    client.write_all(b"too late")?;
    expect(line.passes(&[])?, 0, "packets of nobody")?;
    accepted.set_nonblocking(true)?;
    let read = accepted.read(&mut [0; 64]).map_err(|error| error.kind());
    expect(read, Err(ErrorKind::WouldBlock), "octets that arrive after the call")?;
    line.is_over()?;
    Ok(())
}

/// The other way round: the inside phone connects. That gives nobody outside a way in.
fn tcp_outwards() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut pair = Pair::new(&world)?;
    let server = listen(&world.outside, OUTSIDE, 20_100)?;
    let _nobody = listen(&world.inside, INSIDE, 22_100)?;
    pair.call(
        &format!("c={OUTSIDE} m=message:TCP/MSRP 20100 a=setup:passive"),
        &format!("c={INSIDE} m=message:TCP/MSRP 22100 a=setup:active"),
    )?;
    let mut client = world.inside.run(|| TcpStream::connect_timeout(&server.at, PATIENCE))?;
    let mut accepted = server.accept()?;
    says(&mut client, &mut accepted, b"a word outwards")?;
    says(&mut accepted, &mut client, b"a word inwards")?;
    knocks_in_vain(&line, &world, OUTSIDE, 22_100)?;
    pair.hang_up()?;
    knocks_in_vain(&line, &world, OUTSIDE, 22_100)?;
    line.is_over()?;
    Ok(())
}

/// Somebody who waits for connections.
struct Server {
    listener: TcpListener,
    at: SocketAddr,
}

fn listen(host: &Host, address: &str, port: u16) -> io::Result<Server> {
    let listener = host.run(|| TcpListener::bind((address, port)))?;
    listener.set_nonblocking(true)?;
    Ok(Server { at: listener.local_addr()?, listener })
}

impl Server {
    fn accept(&self) -> io::Result<TcpStream> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What one writes the other reads.
fn says(from: &mut TcpStream, to: &mut TcpStream, words: &[u8]) -> io::Result<()> {
    from.write_all(words)?;
    to.set_read_timeout(Some(PATIENCE))?;
    let mut read = vec![0; words.len()];
    to.read_exact(&mut read)?;
    expect(read, words.to_vec(), "what was written and what was read")
}

/// A SYN from this address outside to this port inside crosses the outside cable and not the inside one. A packet that must
/// pass, sent behind it, tells that it has had its time.
fn knocks_in_vain(line: &Line<'_>, world: &World, from: &str, port: u16) -> io::Result<()> {
    let to = address(INSIDE, port)?;
    let syn = |way| move |p: &Packet| p.way == way && p.to == to && matches!(p.load, Load::Syn);
    let (sent, heard) =
        (line.at(End::Outside).count(syn(Way::Sent))?, line.at(End::Inside).count(syn(Way::Heard))?);
    let socket = world.outside.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::V4(address(from, 0)?).into())?;
        // It is under way when this comes back.
        let _in_progress = socket.connect(&SocketAddr::V4(to).into());
        Ok(socket)
    })?;
    line.wait_for("the SYN is on its way", || Ok(line.at(End::Outside).count(syn(Way::Sent))? > sent))?;
    expect(line.passes(&[])?, 0, "packets of nobody")?;
    drop(socket);
    expect(
        line.at(End::Inside).count(syn(Way::Heard))?,
        heard,
        &format!("SYNs that pass from {from} to port {port}"),
    )
}

/// calls.md §4: audio and video in one bundle with RTP and RTCP on one port, and two candidates outside: in the end each pair
/// of the tagged stream passes, and what was offered for video, RTCP and the default address does not.
fn bundle() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut pair = Pair::new(&world)?;
    let candidate = |number: u8, address: &str, port: u16| {
        format!("a=candidate:{number}~1~UDP~{number}~{address}~{port}~typ~host")
    };
    let offer = format!(
        "a=group:BUNDLE~0~1 c={OUTSIDE} m=audio 20000 a=mid:0 a=rtcp-mux {} {} m=video 20010 a=mid:1 a=rtcp-mux {}",
        candidate(1, OUTSIDE, 20_000),
        candidate(2, SECOND, 20_020),
        candidate(1, OUTSIDE, 20_010),
    );
    let answer = format!(
        "a=group:BUNDLE~0~1 c={INSIDE} m=audio 22000 a=mid:0 a=rtcp-mux {} m=video 22000 a=mid:1 a=rtcp-mux",
        candidate(1, INSIDE, 22_000),
    );
    pair.call(&offer, &answer)?;
    let at = |host, port| address(host, port);
    let ends = [at(OUTSIDE, 20_000)?, at(SECOND, 20_020)?];
    let inside = at(INSIDE, 22_000)?;
    let agreed: Vec<_> = ends.iter().flat_map(|outside| [(*outside, inside), (inside, *outside)]).collect();
    line.wait_for("each pair passes", || Ok(line.passes(&agreed)? == agreed.len()))?;
    let others = [
        // RTCP beside the shared port, on either side.
        (at(OUTSIDE, 20_000)?, at(INSIDE, 22_001)?),
        (inside, at(OUTSIDE, 20_001)?),
        // The ports that video had of its own.
        (inside, at(OUTSIDE, 20_010)?),
        (inside, at(OUTSIDE, 20_011)?),
        // The second candidate's neighbour.
        (inside, at(SECOND, 20_021)?),
    ];
    line.wait_for("nothing else passes", || Ok(line.passes(&others)? == 0))?;
    pair.hang_up()?;
    line.wait_for("nothing passes after the call", || Ok(line.passes(&agreed)? == 0))?;
    line.is_over()?;
    Ok(())
}
