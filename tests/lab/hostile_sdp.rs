//! Descriptions that would open the firewall to the wrong place: refused with a reason, and nobody's phone rings.

use std::io::{self, Write as _};

use crate::raw::{Request, Wire, connect, header, read_until, sdp, status};
use crate::witness::{Witness, expect};
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("hostile_sdp::addresses_that_are_no_phone", addresses),
        ("hostile_sdp::ports_that_are_no_media", ports),
        ("hostile_sdp::a_third_machine", third_machine),
        ("hostile_sdp::an_answer_that_names_another_machine", answer),
        ("hostile_sdp::ten_thousand_media_lines", ten_thousand),
        ("hostile_sdp::text_that_is_no_description", no_description),
    ]
}

/// A second phone outside.
const STRANGER: &str = "198.51.100.21";

/// Offers this and gives the status of the answer with the text of its Warning.
fn offer(stranger: &Wire, body: &str) -> io::Result<(u16, String)> {
    let response = stranger.ask(&Request::new("INVITE", stranger.local).sdp(body))?;
    Ok((status(&response), header(&response, "Warning").to_owned()))
}

/// Each description is refused with 488 and a Warning that has these words, while a call runs.
fn refused(config: &str, offers: &[(String, &str)]) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(config)?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.outside, STRANGER)?;
    for (body, words) in offers {
        let (status, warning) = offer(&stranger, body)?;
        expect(status, 488, body)?;
        assert!(warning.contains(words), "{body}\n{words}\n{warning}");
    }
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

fn addresses() -> Outcome {
    let own = "is an address of this host";
    let each = [
        (BORDER_OUTSIDE, own),
        (BORDER_INSIDE, own),
        ("192.0.2.1", own),
        ("127.0.0.1", "is a loopback address"),
        ("127.1.2.3", "is a loopback address"),
        ("224.0.0.1", "is a multicast address"),
        ("239.255.255.250", "is a multicast address"),
        ("255.255.255.255", "is a broadcast address"),
        ("169.254.1.1", "is a link-local address"),
        ("0.1.2.3", "is no unicast address"),
        ("240.0.0.1", "is no unicast address"),
        ("bob.example.org", "name"),
        ("198.51.100.999", "malformed connection address"),
    ];
    let mut offers: Vec<_> = each.map(|(address, words)| (sdp(address, 20_002), words)).to_vec();
    let rtcp = |line: &str| format!("{}a=rtcp:{line}\r\n", sdp(STRANGER, 20_002));
    offers.push((rtcp("20003 IN IP4 127.0.0.1"), "is a loopback address"));
    offers.push((rtcp(&format!("20003 IN IP4 {BORDER_INSIDE}")), own));
    offers.push((rtcp("20003 IN IP4"), "malformed"));
    offers.push((rtcp("20003x"), "rtcp"));
    let v6 = |address: &str| {
        sdp(STRANGER, 20_002).replace(&format!("c=IN IP4 {STRANGER}"), &format!("c=IN IP6 {address}"))
    };
    offers.push((v6("::1"), "is a loopback address"));
    offers.push((v6("ff02::1"), "is a multicast address"));
    offers.push((v6("fe80::1"), "is a link-local address"));
    offers.push((v6(&format!("::ffff:{BORDER_INSIDE}")), "is no unicast address"));
    offers.push((v6("2001:db8::1"), "IP version"));
    // The session's address is good, that of the second stream is not.
    let second = format!("{}m=video 20004 RTP/AVP 31\r\nc=IN IP4 127.0.0.1\r\n", sdp(STRANGER, 20_002));
    offers.push((second, "stream 2 (video): 127.0.0.1 is a loopback address"));
    refused(CONFIG, &offers)
}

fn ports() -> Outcome {
    let privileged = "is below 1024";
    let config = CONFIG.replace("media  =", "media-ports = \"16384-32767\"\nmedia  =");
    let config = config.replacen(
        "tcp:198.51.100.1:5060\"]",
        "tcp:198.51.100.1:5060\"]\nmedia-ports = \"16384-32767\"",
        1,
    );
    let outside = "is outside the media ports";
    let each = [
        (1, privileged),
        (53, privileged),
        (1_023, privileged),
        (5_060, outside),
        (16_383, outside),
        (65_534, outside),
        // RTCP would have a port that no number can be.
        (65_535, "do not exist"),
        (32_767, "port 32768 is outside the media ports"),
    ];
    let mut offers: Vec<_> = each.map(|(port, words)| (sdp(STRANGER, port), words)).to_vec();
    offers.push((format!("{}a=rtcp:53\r\n", sdp(STRANGER, 20_002)), privileged));
    // RTP over TCP is media like any other over TCP: its port is looked at, its profile is not.
    offers.push((sdp(STRANGER, 53).replace("RTP/AVP", "TCP/RTP/AVP"), privileged));
    offers.push((sdp(STRANGER, 20_002).replace("RTP/AVP", "SCTP/RTP/AVP"), "unknown transport protocol"));
    offers.push((sdp(STRANGER, 20_002).replace("20002", "20002/30000"), "port"));
    refused(&config, &offers)
}

/// Where the networks of the outside are told, everything else is refused; the inside never counts as outside.
fn third_machine() -> Outcome {
    let words = "is outside the media networks";
    let config = CONFIG.replacen(
        "tcp:198.51.100.1:5060\"]",
        "tcp:198.51.100.1:5060\"]\nmedia = [\"198.51.100.0/24\"]",
        1,
    );
    let offers =
        ["192.0.2.20", INSIDE, "10.0.40.21", "203.0.113.5"].map(|address| (sdp(address, 20_002), words));
    refused(&config, &offers)?;
    // Where they are not told, anywhere may be outside, but not what the firewall protects: the middlebox refuses.
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.outside, STRANGER)?;
    for address in [INSIDE, "10.0.40.21"] {
        let (status, warning) = offer(&stranger, &sdp(address, 20_002))?;
        expect(status, 403, address)?;
        assert!(warning.contains("policy"), "{warning}");
    }
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// The inside phone calls out, and says that its media is elsewhere.
fn answer() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let inside = Wire::open(&world.inside, "10.0.40.21")?;
    for address in [OUTSIDE, "192.0.2.20", "10.0.41.9", "10.0.40.255", BORDER_INSIDE] {
        let invite = Request::new("INVITE", inside.local).sdp(sdp(address, 20_002));
        inside.socket.send_to(invite.text().as_bytes(), (BORDER_INSIDE, 5060))?;
        let response = inside.next()?;
        expect(status(&response), 488, address)?;
        assert!(header(&response, "Warning").contains(address), "{response}");
    }
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

fn ten_thousand() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    for count in [9, 64, 65, 2_000, 10_000] {
        let mut stream = connect(&world.outside)?;
        let mut body = sdp(STRANGER, 20_002);
        body.push_str(&"m=audio 20004 RTP/AVP 0\r\n".repeat(count - 1));
        let invite = Request::new("INVITE", stream.1).tcp().sdp(body);
        stream.0.write_all(invite.text().as_bytes())?;
        let mut response = read_until(&mut stream.0, "\r\n\r\n")?;
        if response.starts_with("SIP/2.0 100 ") {
            let rest = response.split_off(response.find("\r\n\r\n").unwrap_or_default() + 4);
            response = if rest.is_empty() { read_until(&mut stream.0, "\r\n\r\n")? } else { rest };
        }
        assert!(matches!(status(&response), 400 | 488 | 513), "{count}: {response}");
        assert!(header(&response, "Warning").contains("too"), "{count}: {response}");
    }
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

fn no_description() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.outside, STRANGER)?;
    let good = sdp(STRANGER, 20_002);
    for body in [
        "hello",
        "v=1\r\n",
        "v=0\r\n",
        "\r\n",
        &good.replace("v=0\r\n", ""),
        &good.replace("m=audio 20002", "m=audio 99999"),
        &good.replace("m=audio 20002", "m=audio -1"),
        &good.replace("o=-", "o="),
        &good.replace("t=0 0", "t=0\0 0"),
        &good.replace("c=IN", "c:IN"),
    ] {
        let (status, warning) = offer(&stranger, body)?;
        assert!(matches!(status, 400 | 488), "{status} for {body:?}");
        assert!(warning.contains("SDP") || warning.contains("stream"), "{warning:?} for {body:?}");
    }
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}
