//! SIP over WebSocket (RFC 7118): a browser's phone by hand, with the real binary and a phone over UDP on the other side.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use certificates::Leaf;
use tungstenite::protocol::{Role, WebSocketContext};
use tungstenite::{Bytes, Message};

use crate::raw::{Request, Wire, connect_to, header, read_to_close, sdp, status};
use crate::secure::{Office, Secure};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("web::a_phone_in_a_browser_calls_over_wss", || calls(true)),
        ("web::a_phone_calls_over_ws", || calls(false)),
        ("web::what_is_no_websocket_is_told_so", strangers),
    ]
}

const PLAIN: &str = "198.51.100.1:8080";
const DOOR: &str = "198.51.100.1:443";
const NAME: &str = "sip.example.net";
const GREETING: &str = "GET / HTTP/1.1\r\nHost: sip.example.net\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://www.example.com\r\n\
                        Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn config(office: &Office) -> String {
    format!(
        "[realm.outside]\nlisten = [\"udp:{BORDER_OUTSIDE}\", \"ws:{PLAIN}\", \"wss:{BORDER_OUTSIDE}\"]\n{}\n\
         [realm.inside]\nlisten = [\"udp:{BORDER_INSIDE}\"]\nmedia = [\"10.0.40.0/24\"]\n\n\
         [[route]]\nto = \"inside\"\nnext-hop = \"sip:{INSIDE}\"\n",
        office.keys("border")
    )
}

fn prepared() -> io::Result<(World, Office)> {
    let world = World::new()?;
    world.nft("insert rule inet filter input tcp dport { 443, 8080 } accept")?;
    let office = Office::open(&world)?;
    office.issue("border", &Leaf { names: &[NAME], ..Leaf::valid() })?;
    Ok((world, office))
}

/// What carries the bytes.
enum Carrier {
    Plain(TcpStream),
    Secure(Box<Secure>),
}

impl Carrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Secure(secure) => secure.send(bytes),
        }
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(stream) => {
                let mut buffer = [0; 16_384];
                match stream.read(&mut buffer)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    length => Ok(buffer[..length].to_vec()),
                }
            }
            Self::Secure(secure) => {
                secure.read()?;
                Ok(secure.take())
            }
        }
    }
}

/// A browser as far as SIP sees it.
struct Browser {
    carrier: Carrier,
    context: WebSocketContext,
    memory: Memory,
    /// As its messages name the transport.
    transport: &'static str,
}

#[derive(Default)]
struct Memory {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl io::Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.incoming.len());
        buffer[..length].copy_from_slice(&self.incoming[..length]);
        self.incoming.drain(..length);
        Ok(length)
    }
}

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Browser {
    fn open(world: &World, office: &Office, secure: bool) -> io::Result<Self> {
        let mut carrier = match secure {
            true => Carrier::Secure(Box::new(Secure::connect(office, (&world.outside, DOOR), NAME, None)?)),
            false => Carrier::Plain(connect_to(&world.outside, PLAIN)?.0),
        };
        carrier.write(GREETING.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.extend(carrier.read()?);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        expect(answer.starts_with("HTTP/1.1 101 "), true, &format!("a WebSocket: {answer}"))?;
        expect(answer.contains("Sec-WebSocket-Protocol: sip\r\n"), true, "the subprotocol")?;
        let transport = if secure { "WSS" } else { "WS" };
        let context = WebSocketContext::new(Role::Client, None);
        Ok(Self { carrier, context, memory: Memory::default(), transport })
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        self.context.write(&mut self.memory, message).map_err(io::Error::other)?;
        self.context.flush(&mut self.memory).map_err(io::Error::other)?;
        let bytes = std::mem::take(&mut self.memory.outgoing);
        self.carrier.write(&bytes)
    }

    fn next(&mut self) -> io::Result<Message> {
        loop {
            match self.context.read(&mut self.memory) {
                Ok(message) => return Ok(message),
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let bytes = self.carrier.read()?;
                    self.memory.incoming.extend(bytes);
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// The next SIP message that is no provisional response.
    fn hear(&mut self) -> io::Result<String> {
        loop {
            if let Message::Text(text) = self.next()?
                && !text.starts_with("SIP/2.0 1")
            {
                return Ok(text.as_str().to_owned());
            }
        }
    }

    /// A request as a browser writes it: it knows no address of its own, and needs no Content-Length.
    fn text(&self, request: &Request) -> String {
        let from = request.from.to_string();
        let text = request.text().replace(&from, "df7jal23ls0d.invalid").replace(";rport", "");
        let text = text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{}", self.transport));
        let lines = text.split("\r\n").filter(|line| !line.starts_with("Content-Length"));
        let text = lines.collect::<Vec<_>>().join("\r\n");
        text.replace("@df7jal23ls0d.invalid>", "@df7jal23ls0d.invalid;transport=ws>")
    }
}

/// The browser's phone calls a desk phone, which hangs up: the BYE goes down the browser's own connection.
fn calls(secure: bool) -> Outcome {
    let (world, office) = prepared()?;
    let postern = world.postern(&config(&office))?;
    let mut browser = Browser::open(&world, &office, secure)?;
    browser.send(Message::Ping(Bytes::from_static(b"alive")))?;
    expect(browser.next()?, Message::Pong(Bytes::from_static(b"alive")), "the answer to a Ping")?;
    browser.send(Message::Text("\r\n\r\n".into()))?;
    expect(browser.next()?, Message::Text("\r\n".into()), "the answer to a keep-alive")?;
    let desk = Wire::bind(&world.inside, &format!("{INSIDE}:5060"))?;
    let invite =
        Request::new("INVITE", "192.0.2.99:9".parse().map_err(io::Error::other)?).sdp(sdp(OUTSIDE, 20_000));
    let text = browser.text(&invite);
    browser.send(Message::Text(text.into()))?;
    let heard = desk.next()?;
    expect(heard.starts_with("INVITE "), true, &format!("an INVITE in {heard}"))?;
    let to_border = |text: String| desk.socket.send_to(text.as_bytes(), (BORDER_INSIDE, 5060)).map(drop);
    to_border(answer(&heard, "200 OK", &sdp(INSIDE, 22_000)))?;
    let ok = browser.hear()?;
    expect(status(&ok), 200, &format!("the answer of the desk phone: {ok}"))?;
    let contact = header(&ok, "Contact");
    let door = if secure { DOOR } else { PLAIN };
    expect(contact, format!("<sip:{door};transport=ws>").as_str(), "Contact towards a browser")?;
    let to_tag =
        header(&ok, "To").split_once(";tag=").map_or_else(String::new, |(_, tag)| format!(";tag={tag}"));
    let ack = Request { method: "ACK", to_tag, lines: String::new(), body: String::new(), ..invite.clone() };
    let text = browser.text(&ack);
    browser.send(Message::Text(text.into()))?;
    expect(desk.next()?.starts_with("ACK "), true, "the ACK")?;
    expect(postern.pinholes()?.0, 2, "pinholes of the call")?;
    // The desk phone hangs up.
    let tag = |value: &str| value.split_once(";tag=").map_or_else(String::new, |(_, tag)| tag.to_owned());
    let bye = format!(
        "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {INSIDE}:5060;branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@example.org>;tag=byhand\r\nTo: <sip:alice@example.org>;tag={}\r\nCall-ID: {}\r\n\
         CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
        header(&heard, "Contact").trim_matches(['<', '>']),
        tag(header(&heard, "From")),
        header(&heard, "Call-ID"),
    );
    to_border(bye)?;
    let bye = browser.hear()?;
    expect(
        bye.starts_with("BYE sip:alice@df7jal23ls0d.invalid;transport=ws "),
        true,
        &format!("a BYE in {bye}"),
    )?;
    let via = format!("SIP/2.0/{} {door};", browser.transport);
    expect(header(&bye, "Via").starts_with(&via), true, &format!("Via of {bye}"))?;
    browser.send(Message::Text(answer(&bye, "200 OK", "").into()))?;
    expect(status(&desk.next()?), 200, "the answer to BYE")?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

/// A response, with a tag of its own if the request has none for it.
fn answer(request: &str, status: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.split("\r\n\r\n").next().unwrap_or_default().split("\r\n") {
        if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
            text.push_str(&format!("{line}\r\n"));
        }
    }
    let to = header(request, "To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=byhand" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    text.push_str(&format!(
        "To: {to}{tag}\r\nContact: <sip:bob@{INSIDE}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    text
}

/// Another subprotocol, plain HTTP, SIP without WebSocket, frames without end: each gets its answer and is closed.
fn strangers() -> Outcome {
    let (world, office) = prepared()?;
    let postern = world.postern(&config(&office))?;
    let says = |text: &str| -> io::Result<String> {
        let (mut stream, _) = connect_to(&world.outside, PLAIN)?;
        stream.write_all(text.as_bytes())?;
        read_to_close(&mut stream)
    };
    for (text, wanted) in [
        (GREETING.replace("Protocol: sip", "Protocol: chat"), "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 426 "),
        ("OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n".into(), "HTTP/1.1 405 "),
        ("x".repeat(10_000), "HTTP/1.1 431 "),
    ] {
        let answer = says(&text)?;
        expect(answer.starts_with(wanted), true, &format!("{wanted} in {answer}"))?;
    }
    let mut browser = Browser::open(&world, &office, false)?;
    // A message of 2^40 octets.
    browser.carrier.write(&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4])?;
    let closed = browser.next()?;
    expect(matches!(closed, Message::Close(Some(_))), true, &format!("a Close: {closed:?}"))?;
    postern.wait_for("nobody is connected any more", || {
        Ok(postern.json(&["status"])?["agent"]["connections"].as_u64() == Some(0))
    })?;
    Ok(())
}
