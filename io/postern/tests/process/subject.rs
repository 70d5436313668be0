//! A running `postern run` on a host of its own, and small SIP clients beside it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netns::{Host, again};

/// What a trial gives.
pub(crate) type Outcome = Result<(), libtest_mimic::Failed>;
/// A trial by name.
pub(crate) type Named = (&'static str, fn() -> Outcome);

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_postern");
pub(crate) const SERVER: &str = "127.0.0.1:5060";

/// The smallest configuration for a host that has only itself.
pub(crate) const CONFIG: &str = r#"
[realm.outside]
listen = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]

[realm.inside]
listen = ["udp:127.0.0.2:5060"]
media  = ["10.0.40.0/24"]

[[route]]
to = "inside"
next-hop = "sip:127.0.0.3"

[timers]
message = "1s"
"#;

static FOLDERS: AtomicU32 = AtomicU32::new(0);
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// A host with a folder for files and sockets.
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) fn new() -> io::Result<Self> {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("postern-process-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { host: Host::new("border")?, folder })
    }

    pub(crate) fn write(&self, config: &str) -> io::Result<PathBuf> {
        let file = self.folder.join("postern.toml");
        fs::write(&file, format!("run-dir = {:?}\n{config}", self.run_dir().display().to_string()))?;
        Ok(file)
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Runs a command of ours to its end.
    pub(crate) fn command(&self, arguments: &[&str]) -> io::Result<Output> {
        let mut command = Command::new(BINARY);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.host.spawn(&mut command)?.wait_with_output()
    }

    /// Starts `postern run` and waits until it answers.
    pub(crate) fn start(&self) -> io::Result<Subject<'_>> {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, arguments: &[&str]) -> io::Result<Subject<'_>> {
        self.start_logging_to(fs::File::create(self.folder.join("log"))?, arguments)
    }

    pub(crate) fn start_logging_to(&self, log: fs::File, arguments: &[&str]) -> io::Result<Subject<'_>> {
        let file = self.write(CONFIG)?;
        let mut command = Command::new(BINARY);
        command
            .arg("run")
            .args(arguments)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let subject = Subject { place: self, child: self.host.spawn(&mut command)?, file };
        subject.wait_for("both halves are up", || Ok(subject.command(&["status"])?.status.success()))?;
        Ok(subject)
    }

    /// A UDP client on the host.
    pub(crate) fn udp(&self) -> io::Result<UdpSocket> {
        let socket = self.host.run(|| UdpSocket::bind("127.0.0.1:0"))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect(SERVER)?;
        Ok(socket)
    }

    /// The phone that calls are routed to.
    pub(crate) fn callee(&self) -> io::Result<UdpSocket> {
        let socket = self.host.run(|| UdpSocket::bind("127.0.0.3:5060"))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(socket)
    }

    /// A TCP client on the host.
    pub(crate) fn tcp(&self) -> io::Result<TcpStream> {
        let stream = self.host.run(|| TcpStream::connect(SERVER))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(stream)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Left-overs in the temporary folder harm nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running `postern run`.
pub(crate) struct Subject<'p> {
    pub(crate) place: &'p Place,
    pub(crate) child: Child,
    pub(crate) file: PathBuf,
}

impl Subject<'_> {
    /// Runs a command of ours that asks the running halves.
    pub(crate) fn command(&self, arguments: &[&str]) -> io::Result<Output> {
        let file = self.file.display().to_string();
        let mut all = vec!["--config", file.as_str()];
        all.extend(arguments);
        self.place.command(&all)
    }

    /// What `status -j` says at a place such as `/agent/pid`.
    pub(crate) fn status(&self, pointer: &str) -> io::Result<serde_json::Value> {
        let output = self.command(&["status", "-j"])?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(io::Error::other)?;
        Ok(status.pointer(pointer).cloned().unwrap_or_default())
    }

    /// The process of a half.
    pub(crate) fn process(&self, half: &str) -> io::Result<u64> {
        self.status(&format!("/{half}/pid"))?
            .as_u64()
            .ok_or_else(|| io::Error::other(format!("no {half} half")))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place.folder.join("log")).unwrap_or_default()
    }

    /// Waits until something is true. The time only bounds a failure.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        mut is_true: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if matches!(is_true(), Ok(true)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("waited in vain until {what}\n{}", self.log())))
    }

    /// Both protocols still serve.
    pub(crate) fn serves(&self) -> io::Result<()> {
        let udp = self.place.udp()?;
        // Requests of their own: the same branch again would be a retransmission.
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        udp.send(options("UDP", &format!("udp{number}")).as_bytes())?;
        let mut buffer = [0; 4096];
        let count = again(|| udp.recv(&mut buffer))?;
        expect_200(&buffer[..count])?;
        let mut tcp = self.place.tcp()?;
        tcp.write_all(options("TCP", &format!("tcp{number}")).as_bytes())?;
        expect_200(&read_some(&mut tcp)?)
    }

    /// Tells `postern run` to stop and waits.
    pub(crate) fn terminate(&mut self) -> io::Result<ExitStatus> {
        signal(self.child.id().into(), "TERM")?;
        self.child.wait()
    }
}

impl Drop for Subject<'_> {
    fn drop(&mut self) {
        // The halves follow the one that started them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(process: u64, name: &str) -> io::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("no process {process}"))) }
}

/// An OPTIONS to the server itself.
pub(crate) fn options(transport: &str, branch: &str) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;branch=z9hG4bK{branch};rport\r\n\
         From: <sip:tester@example.org>;tag={branch}\r\nTo: <sip:127.0.0.1>\r\nCall-ID: {branch}@example.org\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// An INVITE with audio.
pub(crate) fn invite(branch: &str) -> String {
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n";
    format!(
        "INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{branch};rport\r\n\
         From: <sip:alice@example.org>;tag={branch}\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: {branch}@example.org\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:alice@127.0.0.1:9>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

pub(crate) fn expect_200(bytes: &[u8]) -> io::Result<()> {
    if bytes.starts_with(b"SIP/2.0 200 ") {
        return Ok(());
    }
    Err(io::Error::other(format!("not a 200: {:?}", String::from_utf8_lossy(bytes))))
}

/// What a peer says next; empty when it closes.
pub(crate) fn read_some(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let count = again(|| stream.read(&mut buffer)).or_else(|error| match error.kind() {
        io::ErrorKind::ConnectionReset => Ok(0),
        _other => Err(error),
    })?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Reads until the peer closes.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let some = read_some(stream)?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

/// Memory of a process in kB, shared pages counted in part.
pub(crate) fn memory_kb(process: u64) -> io::Result<u64> {
    let path = PathBuf::from(format!("/proc/{process}/smaps_rollup"));
    let text = fs::read_to_string(Path::new(&path))?;
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other(text))
}
