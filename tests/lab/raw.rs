//! SIP by hand: requests as text, sockets that say what they like.

use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netns::{Host, again};

use crate::world::BORDER_OUTSIDE;

/// How long an answer may take; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(10);

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A number that no other request of this run has.
pub(crate) fn number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// Bytes without meaning, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 24) as u8).collect()
    }
}

/// A request to Postern's outside address, to be changed at will before it becomes text.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) from: SocketAddr,
    /// Stands in branch, Call-ID and From tag.
    pub(crate) id: String,
    pub(crate) to_tag: String,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    /// Whole lines with their CRLF.
    pub(crate) lines: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn new(method: &'static str, from: SocketAddr) -> Self {
        let id = format!("lab{}", number());
        let (lines, body, to_tag) = Default::default();
        let call_id = format!("{id}@lab");
        Self { method, transport: "UDP", from, id, to_tag, call_id, cseq: 1, lines, body }
    }

    pub(crate) fn lines(mut self, lines: impl Into<String>) -> Self {
        self.lines = lines.into();
        self
    }

    /// An offer with this body.
    pub(crate) fn sdp(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self.lines.push_str("Content-Type: application/sdp\r\n");
        self
    }

    /// Over TLS.
    pub(crate) fn tls(mut self) -> Self {
        self.transport = "TLS";
        self
    }

    /// Over TCP.
    pub(crate) fn tcp(mut self) -> Self {
        self.transport = "TCP";
        self
    }

    pub(crate) fn text(&self) -> String {
        let Self { method, transport, from, id, to_tag, call_id, cseq, lines, body } = self;
        let way = if *transport == "TLS" { ";transport=tls" } else { "" };
        format!(
            "{method} sip:bob@{BORDER_OUTSIDE} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{id};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@example.org>;tag={id}\r\nTo: <sip:bob@example.org>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:alice@{from}{way}>\r\n{lines}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// One audio stream at an address and port.
pub(crate) fn sdp(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

/// The status code of a response.
pub(crate) fn status(response: &str) -> u16 {
    let code = response.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The value of the first header line with this name, spelt as Postern spells it.
pub(crate) fn header<'m>(message: &'m str, name: &str) -> &'m str {
    let lines = message.split("\r\n\r\n").next().unwrap_or_default().split("\r\n");
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.next().unwrap_or_default()
}

/// A UDP socket on a host. The address may still be held for a moment by a descriptor that was closed here, but is open
/// in a program which another trial is just starting.
pub(crate) fn bind(host: &Host, address: &str) -> io::Result<UdpSocket> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match host.run(|| UdpSocket::bind(address)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// A UDP socket that speaks SIP.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) socket: UdpSocket,
    pub(crate) local: SocketAddr,
}

impl Wire {
    /// At an address of a host, on a port of the kernel's choice.
    pub(crate) fn open(host: &Host, address: &str) -> io::Result<Self> {
        Self::bind(host, &format!("{address}:0"))
    }

    pub(crate) fn bind(host: &Host, address: &str) -> io::Result<Self> {
        let socket = bind(host, address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.send_to(bytes.as_ref(), (BORDER_OUTSIDE, 5060)).map(drop)
    }

    /// The next final response or request.
    pub(crate) fn next(&self) -> io::Result<String> {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, _) = again(|| self.socket.recv_from(&mut buffer))?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if !text.starts_with("SIP/2.0 1") {
                return Ok(text);
            }
        }
    }

    /// Sends a request and gives its final response; to an INVITE, with the ACK that a failure gets.
    pub(crate) fn ask(&self, request: &Request) -> io::Result<String> {
        self.send(request.text())?;
        let response = self.next()?;
        if request.method == "INVITE" && status(&response) >= 300 {
            let tag = header(&response, "To").split_once(";tag=").map_or("", |(_, tag)| tag);
            let to_tag = format!(";tag={tag}");
            let ack = Request {
                method: "ACK",
                to_tag,
                lines: String::new(),
                body: String::new(),
                ..request.clone()
            };
            self.send(ack.text())?;
        }
        Ok(response)
    }

    /// True if Postern, asked for its options, has nothing else to say first: what was sent before got no answer.
    pub(crate) fn is_not_answered(&self) -> io::Result<bool> {
        let probe = Request::new("OPTIONS", self.local);
        let answer = self.ask(&probe)?;
        Ok(status(&answer) == 200 && header(&answer, "Call-ID") == probe.call_id)
    }
}

/// A TCP connection to Postern's SIP port.
pub(crate) fn connect(host: &Host) -> io::Result<(TcpStream, SocketAddr)> {
    connect_to(host, &format!("{BORDER_OUTSIDE}:5060"))
}

pub(crate) fn connect_to(host: &Host, address: &str) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = host.run(|| TcpStream::connect(address))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}

/// What a peer says until it closes. That it resets the connection, because it did not read everything, is a close.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> io::Result<String> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match again(|| stream.read(&mut buffer)) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// What a peer says until these bytes have come.
pub(crate) fn read_until(stream: &mut TcpStream, end: &str) -> io::Result<String> {
    let (mut all, mut buffer) = (String::new(), [0; 4096]);
    while !all.contains(end) {
        let length = again(|| stream.read(&mut buffer))?;
        if length == 0 {
            return Err(io::Error::other(format!("closed before {end:?}: {all}")));
        }
        all.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    Ok(all)
}
