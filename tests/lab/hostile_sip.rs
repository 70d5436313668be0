//! Bytes that are no SIP, or hardly: whoever sends them is answered or ignored, and the call that runs goes on.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::raw::{Noise, Request, Wire, connect, header, read_to_close, read_until, sdp, status};
use crate::witness::{Witness, expect};
use crate::world::{CONFIG, Named, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("hostile_sip::noise_over_udp", noise_over_udp),
        ("hostile_sip::noise_over_tcp", noise_over_tcp),
        ("hostile_sip::mutated_invites", mutated_invites),
        ("hostile_sip::half_messages_over_tcp", half_messages),
        ("hostile_sip::a_message_that_drips", dripping),
        ("hostile_sip::a_header_of_a_megabyte", megabyte),
        ("hostile_sip::the_largest_datagrams", largest_datagrams),
        ("hostile_sip::lengths_that_are_none", lengths),
        ("hostile_sip::bare_line_feeds", bare_line_feeds),
        ("hostile_sip::header_floods", header_floods),
        ("hostile_sip::via_chains", via_chains),
    ]
}

/// Somebody else on the outside network.
const STRANGER: &str = "198.51.100.21";

/// A call runs; the stranger does what it likes; the call is unharmed, its phone heard of nobody, and it still ends well.
fn with_a_call(config: &str, attack: impl FnOnce(&World, &Wire) -> Outcome) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(config)?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.outside, STRANGER)?;
    attack(&world, &stranger)?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

fn noise_over_udp() -> Outcome {
    with_a_call(CONFIG, |world, stranger| {
        let third = Wire::open(&world.third, "192.0.2.20")?;
        for seed in 0..1_000 {
            let mut noise = Noise::new(seed);
            let length = if seed % 100 == 0 { 65_507 } else { noise.below(1_400) };
            let bytes = noise.bytes(length);
            stranger.send(&bytes)?;
            third.send(&bytes)?;
        }
        assert!(stranger.is_not_answered()?, "noise was answered");
        assert!(third.is_not_answered()?, "noise was answered");
        Ok(())
    })
}

fn noise_over_tcp() -> Outcome {
    with_a_call(CONFIG, |world, _| {
        for seed in 0..50 {
            let (mut stream, _) = connect(&world.outside)?;
            // It may be closed before all is written.
            let _ = stream.write_all(&Noise::new(seed).bytes(20_000));
            expect(read_to_close(&mut stream)?, String::new(), "answer to noise")?;
        }
        Ok(())
    })
}

/// Whatever becomes of an INVITE with a few octets changed: refused or passed on, nothing stays open.
fn mutated_invites() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.outside, STRANGER)?;
    for seed in 0..300 {
        let mut noise = Noise::new(seed);
        let invite = Request::new("INVITE", stranger.local).sdp(sdp(STRANGER, 30_000));
        let mut bytes = invite.text().into_bytes();
        for _ in 0..=noise.below(8) {
            let at = noise.below(bytes.len());
            match noise.below(3) {
                0 => bytes[at] = noise.next() as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(40)),
            }
        }
        stranger.send(&bytes)?;
    }
    witness.is_unharmed()?;
    witness.hang_up()?;
    Ok(())
}

fn options(stream: &(TcpStream, std::net::SocketAddr)) -> Request {
    Request::new("OPTIONS", stream.1).tcp()
}

fn half_messages() -> Outcome {
    let config = format!("{CONFIG}\n[timers]\nmessage = \"1s\"\n");
    with_a_call(&config, |world, _| {
        let mut open = Vec::new();
        for number in 0..60 {
            let mut stream = connect(&world.outside)?;
            let text = Request::new("INVITE", stream.1).tcp().sdp(sdp(STRANGER, 30_000)).text();
            let cut = text.len() * (number + 1) / 62;
            stream.0.write_all(&text.as_bytes()[..cut])?;
            // Every other one hangs up at once.
            open.extend((number % 2 == 0).then_some(stream.0));
        }
        for mut stream in open {
            expect(read_to_close(&mut stream)?, String::new(), "answer to half a message")?;
        }
        Ok(())
    })
}

fn dripping() -> Outcome {
    let config = format!("{CONFIG}\n[timers]\nmessage = \"2s\"\n");
    with_a_call(&config, |world, _| {
        // Octet by octet, but in time.
        let mut stream = connect(&world.outside)?;
        let text = options(&stream).text();
        for octet in text.as_bytes() {
            stream.0.write_all(&[*octet])?;
        }
        assert!(read_until(&mut stream.0, "\r\n\r\n")?.starts_with("SIP/2.0 200 "));
        // So slow that the end never comes: octets that arrive do not buy time.
        let (mut slow, begun) = (connect(&world.outside)?, Instant::now());
        slow.0.set_read_timeout(Some(Duration::from_millis(100)))?;
        let closed = text.as_bytes().iter().cycle().take(200).any(|octet| {
            let written = slow.0.write_all(&[*octet]);
            written.is_err() || read_to_close(&mut slow.0).is_ok()
        });
        assert!(closed, "it was listened to for {:?}", begun.elapsed());
        Ok(())
    })
}

fn megabyte() -> Outcome {
    with_a_call(CONFIG, |world, _| {
        for method in ["OPTIONS", "INVITE"] {
            let mut stream = connect(&world.outside)?;
            let line = format!("Subject: {}\r\n", "x".repeat(1 << 20));
            let request = Request::new(method, stream.1).tcp().lines(line);
            // It is closed before all is written.
            let _ = stream.0.write_all(request.text().as_bytes());
            expect(read_to_close(&mut stream.0)?, String::new(), "answer to a megabyte")?;
        }
        Ok(())
    })
}

fn largest_datagrams() -> Outcome {
    with_a_call(CONFIG, |_, stranger| {
        let request = Request::new("OPTIONS", stranger.local);
        let room = 65_507 - request.text().len();
        let long = request.clone().lines(format!("Subject: {}\r\n", "x".repeat(room - 11)));
        expect(long.text().len(), 65_507, "size")?;
        expect(status(&stranger.ask(&long)?), 513, "answer to one long line")?;
        let many =
            Request::new("OPTIONS", stranger.local).lines(format!("S: {}\r\n", "x".repeat(995)).repeat(60));
        expect(status(&stranger.ask(&many)?), 200, "answer to 60 kB of headers")?;
        let mut invite = Request::new("INVITE", stranger.local).sdp(sdp(STRANGER, 30_000));
        invite.body.push_str(&"a=x\r\n".repeat((65_400 - invite.text().len()) / 5));
        let answer = stranger.ask(&invite)?;
        assert!((400..500).contains(&status(&answer)) || status(&answer) == 513, "{answer}");
        assert!(header(&answer, "Warning").contains("too"), "{answer}");
        Ok(())
    })
}

fn lengths() -> Outcome {
    with_a_call(CONFIG, |world, stranger| {
        for length in ["-1", "-999999999999", "1 2", "five", "4294967296", "99999999999999999999", ""] {
            let request = Request::new("OPTIONS", stranger.local);
            let wrong = |request: &Request| request.text().replace("Length: 0", &format!("Length: {length}"));
            stranger.send(wrong(&request))?;
            let answer = stranger.next()?;
            expect(status(&answer), 400, length)?;
            let mut stream = connect(&world.outside)?;
            stream.0.write_all(wrong(&options(&stream)).as_bytes())?;
            let answer = read_to_close(&mut stream.0)?;
            assert!(
                answer.starts_with("SIP/2.0 400 ") && answer.contains("Content-Length"),
                "{length}: {answer}"
            );
        }
        for (other, body) in [("Content-Length: 5\r\n", "hello"), ("l: 500\r\n", ""), ("l: 0\r\n", "")] {
            let conflicting =
                Request { body: body.into(), ..Request::new("OPTIONS", stranger.local).lines(other) };
            let conflicting = Request { lines: other.replace('5', "4"), ..conflicting };
            expect(status(&stranger.ask(&conflicting)?), 400, other)?;
            let mut stream = connect(&world.outside)?;
            stream.0.write_all(options(&stream).lines(other).text().as_bytes())?;
            assert!(read_to_close(&mut stream.0)?.starts_with("SIP/2.0 400 "), "{other}");
        }
        // Longer than the datagram: it was cut off. Shorter: the rest does not count.
        let request = Request::new("OPTIONS", stranger.local);
        stranger.send(request.text().replace("Length: 0", "Length: 9000"))?;
        expect(status(&stranger.next()?), 400, "a datagram that was cut off")?;
        let request = Request::new("OPTIONS", stranger.local);
        stranger.send(format!("{}{}", request.text(), "x".repeat(1_000)))?;
        expect(status(&stranger.next()?), 200, "a datagram with something behind")?;
        Ok(())
    })
}

fn bare_line_feeds() -> Outcome {
    with_a_call(CONFIG, |world, stranger| {
        for (from, to) in [("\r\n", "\n"), ("\r\n", "\r"), ("70\r\n", "70\n"), ("70\r\n", "70\r")] {
            let request = Request::new("OPTIONS", stranger.local);
            stranger.send(request.text().replace(from, to))?;
            let mut stream = connect(&world.outside)?;
            stream.0.write_all(options(&stream).text().replace(from, to).as_bytes())?;
            stream.0.shutdown(std::net::Shutdown::Write)?;
            let answer = read_to_close(&mut stream.0)?;
            assert!(answer.is_empty() || answer.starts_with("SIP/2.0 400 "), "{from:?}: {answer}");
        }
        // Each was refused or ignored; none was taken for something else.
        let probe = Request::new("OPTIONS", stranger.local);
        stranger.send(probe.text())?;
        loop {
            let answer = stranger.next()?;
            if header(&answer, "Call-ID") == probe.call_id {
                return Ok(());
            }
            expect(status(&answer), 400, &answer)?;
        }
    })
}

fn header_floods() -> Outcome {
    with_a_call(CONFIG, |world, stranger| {
        let lines = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
        let request = Request::new("OPTIONS", stranger.local).lines(lines(200));
        expect(status(&stranger.ask(&request)?), 200, "200 unknown lines")?;
        let request = Request::new("INVITE", stranger.local).lines(lines(3_000));
        expect(status(&stranger.ask(&request)?), 513, "3,000 lines in a datagram")?;
        let mut stream = connect(&world.outside)?;
        let _ = stream.0.write_all(options(&stream).lines(lines(100_000)).text().as_bytes());
        expect(read_to_close(&mut stream.0)?, String::new(), "answer to 100,000 lines")?;
        // Nothing but line breaks, as keep-alives are, answered by as many as were asked.
        let mut stream = connect(&world.outside)?;
        stream.0.write_all("\r\n\r\n".repeat(1_000).as_bytes())?;
        stream.0.write_all(options(&stream).text().as_bytes())?;
        let answer = read_until(&mut stream.0, "SIP/2.0 200 OK")?;
        assert!(answer.starts_with(&"\r\n".repeat(1_000)), "{} octets", answer.len());
        Ok(())
    })
}

fn via_chains() -> Outcome {
    with_a_call(CONFIG, |_, stranger| {
        let hop = |number: usize| format!("SIP/2.0/UDP h{number}.example.org;branch=z9hG4bKh{number}");
        let lines = |count| (0..count).map(|number| format!("Via: {}\r\n", hop(number))).collect::<String>();
        let one = |count| format!("Via: {}\r\n", (0..count).map(hop).collect::<Vec<_>>().join(", "));
        for chain in [lines(200), one(250), one(16_000 / 60)] {
            let request = Request::new("OPTIONS", stranger.local).lines(chain);
            let answer = stranger.ask(&request)?;
            expect(status(&answer), 200, "a long chain")?;
            expect(
                answer.matches("SIP/2.0/UDP h").count(),
                request.text().matches("SIP/2.0/UDP h").count(),
                "hops",
            )?;
        }
        for chain in [lines(1_000), one(1_000)] {
            let answer = stranger.ask(&Request::new("INVITE", stranger.local).lines(chain))?;
            expect(status(&answer), 513, "an endless chain")?;
        }
        Ok(())
    })
}
