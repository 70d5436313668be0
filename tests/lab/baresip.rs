//! baresip, steered over its control port.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netns::{Host, again};
use serde_json::{Value, json};

use crate::phone::{Answer, Phone, tone};
use crate::world::{Program, World};

/// What a baresip that speaks TLS has.
pub(crate) struct Tls {
    /// Certificate and key in one file.
    pub(crate) certificate: PathBuf,
    pub(crate) ca: PathBuf,
}

impl Tls {
    fn settings(&self) -> String {
        format!("sip_certificate {}\nsip_cafile {}\n", self.certificate.display(), self.ca.display())
    }
}

/// A baresip that plays a tone to whoever it talks with.
pub(crate) struct Baresip {
    program: Program,
    control: TcpStream,
    unread: Vec<u8>,
    name: &'static str,
}

impl Baresip {
    pub(crate) fn start(
        world: &World,
        host: &Host,
        name: &'static str,
        address: &str,
        answer: Answer,
    ) -> io::Result<Self> {
        Self::over(world, (host, address), name, (answer, false), None)
    }

    /// The same over TLS where these files are given: a certificate with its key, and a CA. It then listens at port 5061.
    /// `sdes`: its sound is encrypted, with keys in SDP (RFC 4568).
    pub(crate) fn over(
        world: &World,
        (host, address): (&Host, &str),
        name: &'static str,
        (answer, sdes): (Answer, bool),
        tls: Option<&Tls>,
    ) -> io::Result<Self> {
        let transport = if tls.is_some() { ";transport=tls" } else { "" };
        let sdes = if sdes { ";mediaenc=srtp-mand" } else { "" };
        let account = format!("<sip:{name}@{address}{transport}>;regint=0{sdes}");
        Self::with_account(world, (host, address), (name, &account), answer, tls)
    }

    /// The same with an account that begins so.
    pub(crate) fn with_account(
        world: &World,
        (host, address): (&Host, &str),
        (name, account): (&'static str, &str),
        answer: Answer,
        tls: Option<&Tls>,
    ) -> io::Result<Self> {
        let mode = match answer {
            Answer::AtOnce => "auto",
            Answer::WhenTold => "manual",
            Answer::WithEarlyMedia => "early",
        };
        let folder = world.folder.join(name);
        fs::create_dir_all(&folder)?;
        let tone = tone(&folder)?;
        fs::write(
            folder.join("accounts"),
            format!("{account};answermode={mode};audio_codecs=PCMU/8000/1\n"),
        )?;
        fs::write(folder.join("contacts"), "")?;
        let modules = Command::new("sh")
            .args(["-c", "dirname \"$(find /usr/lib -name aufile.so -path '*baresip*' | head -n 1)\""])
            .output()?;
        let modules = String::from_utf8_lossy(&modules.stdout).trim().to_owned();
        fs::write(
            folder.join("config"),
            format!(
                "poll_method epoll\nsip_listen {address}:5060\nnet_interface eth0\nrtp_ports 20000-20100\n\
                 audio_source aufile,{}\naudio_player aubridge,{name}\naudio_alert aubridge,alert\n\
                 module_path {modules}\nmodule g711.so\nmodule aufile.so\nmodule aubridge.so\n\
                 module srtp.so\nmodule stun.so\nmodule_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n\
                 ctrl_tcp_listen {address}:4444\n{}",
                tone.display(),
                tls.map(Tls::settings).unwrap_or_default(),
            ),
        )?;
        let log = fs::File::create(folder.join("log"))?;
        let program = Program::of(
            host.spawn(
                Command::new("baresip")
                    .arg("-f")
                    .arg(&folder)
                    .stdin(Stdio::null())
                    .stdout(log.try_clone()?)
                    .stderr(log),
            )?,
        );
        let control = connect(host, address)?;
        control.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { program, control, unread: Vec::new(), name })
    }

    /// Sends a command as ctrl_tcp reads it: JSON in a netstring.
    fn command(&mut self, command: &str, parameters: &str) -> io::Result<()> {
        let text = json!({"command": command, "params": parameters, "token": command}).to_string();
        write!(self.control, "{}:{text},", text.len())
    }

    /// Waits for an event; the time-out of the control connection bounds a failure.
    pub(crate) fn wait_for(&mut self, event: &str) -> io::Result<()> {
        loop {
            while let Some(message) = self.message()? {
                if message["type"] == event {
                    return Ok(());
                }
                if message["type"] == "CALL_CLOSED" {
                    return Err(io::Error::other(format!(
                        "{}: {} before {event}",
                        self.name, message["param"]
                    )));
                }
            }
            let mut buffer = [0; 4096];
            let length = again(|| self.control.read(&mut buffer))?;
            if length == 0 {
                return Err(io::Error::other(format!("{} ended before {event}", self.name)));
            }
            self.unread.extend_from_slice(&buffer[..length]);
        }
    }

    /// Takes one netstring out of what has been read.
    fn message(&mut self) -> io::Result<Option<Value>> {
        let Some(colon) = self.unread.iter().position(|octet| *octet == b':') else { return Ok(None) };
        let length =
            std::str::from_utf8(&self.unread[..colon]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let length = length.ok_or_else(|| io::Error::other("baresip sent no netstring"))?;
        if self.unread.len() < colon + length + 2 {
            return Ok(None);
        }
        let value = serde_json::from_slice(&self.unread[colon + 1..=colon + length])?;
        self.unread.drain(..colon + length + 2);
        Ok(Some(value))
    }
}

impl Phone for Baresip {
    fn call(&mut self, to: &str) -> io::Result<()> {
        self.command("dial", to)
    }

    fn answer(&mut self) -> io::Result<()> {
        self.command("accept", "")
    }

    fn hang_up(&mut self) -> io::Result<()> {
        self.command("hangup", "")
    }

    fn hold(&mut self) -> io::Result<()> {
        self.command("hold", "")
    }

    fn resume(&mut self) -> io::Result<()> {
        self.command("resume", "")
    }

    fn transfer(&mut self, to: &str) -> io::Result<()> {
        self.command("transfer", to)
    }

    fn process(&self) -> u32 {
        self.program.id()
    }
}

/// Connects to the phone's control port as soon as it listens.
fn connect(host: &Host, address: &str) -> io::Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match host.run(|| TcpStream::connect((address.trim_matches(['[', ']']), 4444))) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
