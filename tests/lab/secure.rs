//! TLS by hand: a phone or server that shows what certificate it likes, and says what it sees.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use certificates::{Ca, Leaf, Signed};
use netns::Host;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

use crate::raw::{Request, connect_to, header, status};
use crate::world::World;

/// How long anything may take; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A CA, and the files that it signs: `NAME.pem` and `NAME.key` beside `ca.pem`.
pub(crate) struct Office {
    pub(crate) ca: Ca,
    folder: PathBuf,
}

impl Office {
    pub(crate) fn open(world: &World) -> io::Result<Self> {
        let office = Self { ca: Ca::new("lab"), folder: world.folder.clone() };
        fs::write(office.folder.join("ca.pem"), &office.ca.certificate)?;
        Ok(office)
    }

    /// Signs, and puts the files in the place of old ones as an administrator does: whoever reads sees one or the other.
    pub(crate) fn issue(&self, name: &str, leaf: &Leaf<'_>) -> io::Result<Signed> {
        let signed = self.ca.sign(leaf);
        for (ending, content) in [("key", &signed.key), ("pem", &signed.certificate)] {
            let new = self.folder.join(format!("{name}.new"));
            fs::write(&new, content)?;
            fs::rename(new, self.file(name, ending))?;
        }
        Ok(signed)
    }

    pub(crate) fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ending}"))
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The keys of a realm that shows this certificate.
    pub(crate) fn keys(&self, name: &str) -> String {
        let [certificate, key] = ["pem", "key"].map(|ending| self.file(name, ending));
        format!("certificate = {certificate:?}\nkey = {key:?}\nca = {:?}\n", self.ca_file())
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.ca.certificate.as_bytes());
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        Ok(roots)
    }
}

/// A connection.
pub(crate) struct Secure {
    tls: Connection,
    socket: TcpStream,
    unread: Vec<u8>,
    pub(crate) local: SocketAddr,
}

impl Secure {
    /// Connects and checks that the other end is `name`; shows a certificate of its own if one is given.
    pub(crate) fn connect(
        office: &Office,
        (host, address): (&Host, &str),
        name: &str,
        own: Option<&Signed>,
    ) -> io::Result<Self> {
        let config = ClientConfig::builder().with_root_certificates(office.roots()?);
        let config = match own {
            Some(own) => {
                let (chain, key) = read(own)?;
                config.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let (socket, local) = connect_to(host, address)?;
        Self::over(tls.into(), socket, local)
    }

    fn over(tls: Connection, socket: TcpStream, local: SocketAddr) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut secure = Self { tls, socket, unread: Vec::new(), local };
        while secure.tls.is_handshaking() {
            secure.tls.complete_io(&mut secure.socket)?;
        }
        Ok(secure)
    }

    /// The certificate that the other end has shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        let shown = self.tls.peer_certificates().and_then(|chain| chain.first());
        shown.map(|shown| shown.to_vec()).unwrap_or_default()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tls.writer().write_all(bytes.as_ref())?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Reads more; an end is an error.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16_384];
        loop {
            match self.tls.reader().read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.unread.extend_from_slice(&buffer[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                // A program of the lab that is stopped or goes on is a signal to us.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// What has been read and nobody has taken.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// The next message that is no provisional response.
    pub(crate) fn next(&mut self) -> io::Result<String> {
        loop {
            let message = self.message()?;
            if !message.starts_with("SIP/2.0 1") {
                return Ok(message);
            }
        }
    }

    fn message(&mut self) -> io::Result<String> {
        loop {
            let text = String::from_utf8_lossy(&self.unread).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length: usize = header(head, "Content-Length").parse().map_err(io::Error::other)?;
                if rest.len() >= length {
                    let whole = head.len() + 4 + length;
                    self.unread.drain(..whole);
                    return Ok(text[..whole].to_owned());
                }
            }
            self.read()?;
        }
    }

    /// Sends a request and gives its final response; to an INVITE that fails, with its ACK.
    pub(crate) fn ask(&mut self, request: &Request) -> io::Result<String> {
        self.send(request.text())?;
        let response = self.next()?;
        if request.method == "INVITE" && status(&response) >= 300 {
            let tag = header(&response, "To").split_once(";tag=").map_or("", |(_, tag)| tag);
            let to_tag = format!(";tag={tag}");
            let (lines, body) = Default::default();
            self.send(Request { method: "ACK", to_tag, lines, body, ..request.clone() }.text())?;
        }
        Ok(response)
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &str, status: &str, lines: &str, body: &str) -> io::Result<()> {
        let copied = |name: &'static str| {
            let lines = request.split("\r\n\r\n").next().unwrap_or_default().split("\r\n");
            lines.filter(move |line| line.starts_with(name)).map(|line| format!("{line}\r\n"))
        };
        let mut text = format!("SIP/2.0 {status}\r\n");
        text.extend(["Via:", "From:", "Call-ID:", "CSeq:"].into_iter().flat_map(copied));
        let to = header(request, "To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=byhand" };
        text.push_str(&format!("To: {to}{tag}\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len()));
        self.send(text)
    }
}

/// A server that waits for connections.
pub(crate) struct Server {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl Server {
    pub(crate) fn listen(host: &Host, address: &str, own: &Signed) -> io::Result<Self> {
        let (chain, key) = read(own)?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let listener = host.run(|| TcpListener::bind(address))?;
        // So that a trial which fails does not wait for ever.
        listener.set_nonblocking(true)?;
        Ok(Self { listener, config: Arc::new(config.map_err(io::Error::other)?) })
    }

    /// The next connection, its handshake done. An error if the other end refuses what it is shown.
    pub(crate) fn accept(&self) -> io::Result<Secure> {
        let deadline = Instant::now() + PATIENCE;
        let (socket, remote) = loop {
            match self.listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                accepted => break accepted?,
            }
        };
        socket.set_nonblocking(false)?;
        let tls = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        Secure::over(tls.into(), socket, remote)
    }
}

fn read(own: &Signed) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(io::Error::other)?;
    Ok((vec![certificate], key))
}
