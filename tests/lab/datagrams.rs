//! What does not fit into a datagram, and what is no SIP but comes to the same port: RFC 3261 §18.1.1, RFC 5626.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use netns::again;

use crate::raw::{Request, Wire, connect, header, sdp, status};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("datagrams::long_requests_go_over_tcp_and_over_udp_where_there_is_none", long),
        ("datagrams::who_drops_tcp_gets_long_requests_in_datagrams", dropped),
        ("datagrams::keep_alives_are_answered", keep_alives),
    ]
}

/// UDP and TCP on both sides; the phone inside is given by its address alone.
fn config() -> String {
    format!(
        "[realm.outside]\nlisten = [\"udp:{BORDER_OUTSIDE}\", \"tcp:{BORDER_OUTSIDE}\"]\n\n\
         [realm.inside]\nlisten = [\"udp:{BORDER_INSIDE}\", \"tcp:{BORDER_INSIDE}\"]\nmedia = [\"10.0.40.0/24\"]\n\n\
         [[route]]\nto = \"inside\"\nnext-hop = \"sip:{INSIDE}\"\n"
    )
}

/// An INVITE of some 3,000 bytes: it comes in fragments.
fn long_invite(from: std::net::SocketAddr) -> Request {
    let lines: String = (0..60).map(|line| format!("a=x-filler:{line:0>32}\r\n")).collect();
    Request::new("INVITE", from).sdp(sdp(OUTSIDE, 20_000) + &lines)
}

/// The first message on a connection, which is answered 486 and acknowledged.
fn refuse_over(mut stream: TcpStream) -> io::Result<String> {
    let invite = message(&mut stream)?;
    stream.write_all(busy(&invite).as_bytes())?;
    let ack = message(&mut stream)?;
    expect(ack.starts_with("ACK "), true, &format!("an ACK in {ack}"))?;
    Ok(invite)
}

fn message(stream: &mut TcpStream) -> io::Result<String> {
    let (mut all, mut buffer) = (Vec::new(), [0; 16_384]);
    loop {
        match again(|| stream.read(&mut buffer))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => all.extend_from_slice(&buffer[..length]),
        }
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= header(head, "Content-Length").parse().unwrap_or(0)
        {
            return Ok(text);
        }
    }
}

fn busy(invite: &str) -> String {
    let copied =
        ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", header(invite, name)));
    let to = header(invite, "To");
    format!("SIP/2.0 486 Busy Here\r\n{}To: {to};tag=busy\r\nContent-Length: 0\r\n\r\n", copied.concat())
}

/// A call that the phone inside, over UDP, is to refuse; the INVITE that it gets.
fn call_over_udp(caller: &Wire, phone: &Wire) -> io::Result<String> {
    let request = long_invite(caller.local);
    caller.send(request.text())?;
    let invite = phone.next()?;
    phone.socket.send_to(busy(&invite).as_bytes(), (BORDER_INSIDE, 5060))?;
    let answer = caller.next()?;
    expect(status(&answer), 486, &format!("the phone's answer: {answer}"))?;
    Ok(invite)
}

/// The phone has TCP, then it has none; then it has it again, which is not tried so soon.
fn long() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&config())?;
    let caller = Wire::open(&world.outside, OUTSIDE)?;
    let phone = Wire::bind(&world.inside, &format!("{INSIDE}:5060"))?;
    let listen = || world.inside.run(|| TcpListener::bind((INSIDE, 5060)));
    let listener = listen()?;
    let request = long_invite(caller.local);
    caller.send(request.text())?;
    let (stream, _) = again(|| listener.accept())?;
    let invite = refuse_over(stream)?;
    expect(header(&invite, "Via").starts_with("SIP/2.0/TCP "), true, &format!("the Via of {invite}"))?;
    expect(status(&caller.next()?), 486, "the phone's answer over TCP")?;
    drop(listener);
    postern.wait_for("the connection is gone", || {
        Ok(postern.json(&["status"])?["agent"]["connections"].as_u64() == Some(0))
    })?;
    let over_udp = || -> io::Result<()> {
        let invite = call_over_udp(&caller, &phone)?;
        expect(header(&invite, "Via").starts_with("SIP/2.0/UDP "), true, &format!("the Via of {invite}"))
    };
    over_udp()?;
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    over_udp()?;
    let untouched = matches!(listener.accept(), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    expect(untouched, true, "nobody tries TCP again so soon")
        .map_err(|error| io::Error::other(format!("{error}\n{}", postern.log())))?;
    Ok(())
}

/// Nobody says that TCP leads nowhere: the call goes on all the same.
fn dropped() -> Outcome {
    let world = World::new()?;
    let drop =
        "table inet deaf {\n chain in {\n type filter hook input priority 0; tcp dport 5060 drop;\n }\n}";
    world.command(&world.inside, "nft", &[drop])?;
    let _postern = world.postern(&config())?;
    let caller = Wire::open(&world.outside, OUTSIDE)?;
    let phone = Wire::bind(&world.inside, &format!("{INSIDE}:5060"))?;
    let invite = call_over_udp(&caller, &phone)?;
    expect(header(&invite, "Via").starts_with("SIP/2.0/UDP "), true, &format!("the Via of {invite}"))?;
    Ok(())
}

/// STUN over UDP, line ends over TCP; line ends over UDP get none.
fn keep_alives() -> Outcome {
    let world = World::new()?;
    let _postern = world.postern(&config())?;
    let wire = Wire::open(&world.outside, OUTSIDE)?;
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"transaction!"].concat();
    wire.send(&request)?;
    let mut buffer = [0; 256];
    let (length, _) = again(|| wire.socket.recv_from(&mut buffer))?;
    expect(&buffer[..2], &[1, 1][..], "a Binding success response")?;
    expect(&buffer[4..20], &request[4..20], "the transaction's identifier")?;
    expect(length, 32, "with XOR-MAPPED-ADDRESS alone")?;
    let port = u16::from_be_bytes([buffer[26] ^ 0x21, buffer[27] ^ 0x12]);
    expect(port, wire.local.port(), "the port that the request came from")?;
    wire.send("\r\n\r\n")?;
    expect(wire.is_not_answered()?, true, "line ends over UDP are not answered")?;
    let (mut stream, _) = connect(&world.outside)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"\r\n\r\n")?;
    let mut pong = [0; 2];
    stream.read_exact(&mut pong)?;
    expect(&pong, b"\r\n", "the answer to a double line end")?;
    Ok(())
}
