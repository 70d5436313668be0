//! An agent that does nothing but ask.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certificates::Leaf;
use midcom::{Direction, Lifetime, Parity, Prid, Protocol, Reply, Request, Tuple};
use netns::again;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use simco::wire::{AgentMessage, HEADER_LEN, Header, MiddleboxMessage, Version};

use crate::stage::Stage;

/// A session with the middlebox.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    tid: u32,
    incoming: Vec<u8>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Phones' ports, one after the other, never the same twice.
pub(crate) struct Phones(u32);

impl Phones {
    pub(crate) fn new(first: u32) -> Self {
        Self(first)
    }

    /// The next pair of ports, and the phone that may send to it.
    pub(crate) fn next(&mut self) -> (SocketAddr, SocketAddr) {
        let number = self.0;
        self.0 += 1;
        // 8,192 pairs of media ports at each address of 10.0.0.0/8.
        let address = Ipv4Addr::from(0x0a40_0000 + (number >> 13));
        let port = 16_384 + 2 * u16::try_from(number & 0x1fff).unwrap_or(0);
        let far = Ipv4Addr::from(0xc633_6400 + (number & 0x7f));
        ((address, port).into(), (far, 0).into())
    }
}

/// A rule that lets one phone send to another's pair of ports.
pub(crate) fn enable(near: SocketAddr, far: SocketAddr, direction: Direction) -> Request {
    let tuple = |address: SocketAddr| Tuple::host(address, Protocol::Udp, 2);
    Request::Enable {
        parity: Parity::Any,
        direction,
        internal: tuple(near),
        external: tuple(far),
        lifetime: Lifetime(3600),
        group: None,
    }
}

/// To a port of the middlebox, from the address of the agent with this number.
fn stream(stage: &Stage, number: u8, port: u16) -> io::Result<TcpStream> {
    let own: IpAddr = [127, 0, 0, 2 + number].into();
    stage.firewall.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(own, 0).into())?;
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
        socket.set_tcp_nodelay(true)?;
        Ok(TcpStream::from(socket))
    })
}

impl Client {
    pub(crate) fn unix(stage: &Stage) -> io::Result<Self> {
        Self::open(Box::new(UnixStream::connect(stage.socket())?))
    }

    /// Over TCP, as the agent with this number.
    pub(crate) fn tcp(stage: &Stage, number: u8) -> io::Result<Self> {
        Self::open(Box::new(stream(stage, number, 7626)?))
    }

    /// Over TLS 1.3 with certificates on both sides.
    pub(crate) fn tls(stage: &Stage) -> io::Result<Self> {
        let pem = stage.ca.certificate.as_bytes();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem).map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
        let own = stage.ca.sign(&Leaf { names: &["bench.example.net"], ..Leaf::valid() });
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(io::Error::other)?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![own.der.into()], key)
            .map_err(io::Error::other)?;
        let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Self::open(Box::new(StreamOwned::new(connection, stream(stage, 0, 7627)?)))
    }

    fn open(stream: Box<dyn Stream>) -> io::Result<Self> {
        let mut client = Self { stream, tid: 1, incoming: Vec::new() };
        let mut bytes = Vec::new();
        AgentMessage::Establish { version: Version::SIMCO_3_0, challenge: None }.encode(1, &mut bytes);
        client.stream.write_all(&bytes)?;
        let mut opened = false;
        while !opened {
            client.read(|_, _| opened = true)?;
        }
        Ok(client)
    }

    /// Opens so many rules, with at most `window` on the way, and says how long each took.
    pub(crate) fn enable(
        &mut self,
        phones: &mut Phones,
        count: usize,
        window: usize,
    ) -> io::Result<(Vec<Prid>, Vec<Duration>)> {
        let mut rules = Vec::with_capacity(count);
        let requests = (0..count).map(|_| {
            let (near, far) = phones.next();
            enable(near, far, Direction::Inbound)
        });
        let times = self.ask(requests, window, |reply| {
            if let Reply::Enabled { prid, .. } = reply {
                rules.push(prid);
            }
        })?;
        if rules.len() == count { Ok((rules, times)) } else { Err(io::Error::other("not all were opened")) }
    }

    /// Ends rules.
    pub(crate) fn end(&mut self, rules: &[Prid], window: usize) -> io::Result<Vec<Duration>> {
        let end = |prid: &Prid| Request::Lifetime { prid: *prid, lifetime: Lifetime(0) };
        self.ask(rules.iter().map(end), window, |_| {})
    }

    /// Asks, keeping `window` requests on the way; an error at the first refusal.
    pub(crate) fn ask(
        &mut self,
        requests: impl Iterator<Item = Request>,
        window: usize,
        mut each: impl FnMut(Reply),
    ) -> io::Result<Vec<Duration>> {
        let mut requests = requests.peekable();
        let mut asked: VecDeque<Instant> = VecDeque::new();
        let (mut times, mut bytes) = (Vec::new(), Vec::new());
        loop {
            bytes.clear();
            let now = Instant::now();
            while asked.len() < window {
                let Some(request) = requests.next() else { break };
                self.tid += 1;
                AgentMessage::Rule(request).encode(self.tid, &mut bytes);
                asked.push_back(now);
            }
            self.stream.write_all(&bytes)?;
            if asked.is_empty() {
                return Ok(times);
            }
            let mut refused = None;
            self.read(|header, payload| match MiddleboxMessage::decode(header, payload) {
                // The middlebox answers a session's rules in order.
                Ok(MiddleboxMessage::Positive(reply)) => {
                    times.extend(asked.pop_front().map(|since| since.elapsed()));
                    each(reply);
                }
                other => refused = Some(format!("{other:?}")),
            })?;
            if let Some(why) = refused {
                return Err(io::Error::other(why));
            }
        }
    }

    /// Reads once, and takes apart what is whole.
    fn read(&mut self, mut each: impl FnMut(Header, &[u8])) -> io::Result<()> {
        let mut room = [0; 65_536];
        let length = again(|| self.stream.read(&mut room))?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.incoming.extend_from_slice(&room[..length]);
        let mut used = 0;
        while let Some((header, rest)) = Header::split(&self.incoming[used..]) {
            let Some(payload) = rest.get(..usize::from(header.length)) else { break };
            each(header, payload);
            used += HEADER_LEN + payload.len();
        }
        self.incoming.drain(..used);
        Ok(())
    }
}
