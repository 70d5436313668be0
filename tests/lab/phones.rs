//! Two baresip phones call each other through the firewall; the kernels of both hosts count their RTP.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netns::Host;
use serde_json::{Value, json};

use crate::world::{
    BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, Postern, Program, World,
};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("phones::baresip_calls_baresip_from_outside", || talk(true)),
        ("phones::baresip_calls_baresip_from_inside", || talk(false)),
    ]
}

/// Enough sound in one direction to call it a conversation: one second.
pub(crate) const CONVERSATION: u64 = 50;

/// Every RTP packet that one phone sends while the call lasts reaches the other; when it is over nothing is open.
fn talk(from_outside: bool) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let mut call = Conversation::begin(&world, &postern, from_outside)?;
    assert_eq!(postern.json(&["calls"])?["calls"].as_array().map(Vec::len), Some(1), "one call is listed");
    nothing_is_missing(&world, &postern)?;
    call.hang_up()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

/// Waits for a moment between two packets, when each phone has heard exactly what the other has sent since the call
/// began. One packet lost, and it never comes. (After the BYE baresip sends one more, which must not arrive.)
fn nothing_is_missing(world: &World, postern: &Postern<'_>) -> io::Result<()> {
    postern.wait_for("each phone has heard all that the other has sent", || {
        let before = rtp(world, &world.outside)?;
        let (sent, heard) = rtp(world, &world.inside)?;
        Ok(rtp(world, &world.outside)? == before && before == (heard, sent))
    })
}

/// Two baresip phones in a call, sound flowing both ways.
pub(crate) struct Conversation {
    caller: Baresip,
    callee: Baresip,
}

impl Conversation {
    /// A call from outside.
    pub(crate) fn start(world: &World, postern: &Postern<'_>) -> io::Result<Self> {
        Self::begin(world, postern, true)
    }

    fn begin(world: &World, postern: &Postern<'_>, from_outside: bool) -> io::Result<Self> {
        for host in [&world.outside, &world.inside] {
            count_rtp(world, host)?;
        }
        let outside = Baresip::start(world, &world.outside, "alice", OUTSIDE)?;
        let inside = Baresip::start(world, &world.inside, "bob", INSIDE)?;
        let (mut caller, mut callee, border) =
            if from_outside { (outside, inside, BORDER_OUTSIDE) } else { (inside, outside, BORDER_INSIDE) };
        caller.command("dial", &format!("sip:{}@{border}", callee.name))?;
        caller.wait_for("CALL_ESTABLISHED")?;
        callee.wait_for("CALL_ESTABLISHED")?;
        postern.wait_for("both phones have heard a second of sound", || {
            Ok(rtp(world, &world.outside)?.1 >= CONVERSATION && rtp(world, &world.inside)?.1 >= CONVERSATION)
        })?;
        Ok(Self { caller, callee })
    }

    /// The caller hangs up; the callee hears of it.
    pub(crate) fn hang_up(&mut self) -> io::Result<()> {
        self.caller.command("hangup", "")?;
        self.callee.wait_for("CALL_CLOSED")
    }

    /// Both phones are told that the call is over.
    pub(crate) fn both_end(&mut self) -> io::Result<()> {
        self.caller.wait_for("CALL_CLOSED")?;
        self.callee.wait_for("CALL_CLOSED")
    }
}

/// Makes the kernel of a phone's host count RTP (even ports) as it leaves and arrives.
fn count_rtp(world: &World, host: &Host) -> io::Result<()> {
    let rules = "table inet count {
        counter sent {}
        counter heard {}
        chain out { type filter hook output priority 0; udp dport 16384-32767 udp dport & 1 == 0 counter name sent; }
        chain in { type filter hook input priority 0; udp dport 16384-32767 udp dport & 1 == 0 counter name heard; }
    }";
    world.command(host, "nft", &[rules]).map(drop)
}

/// RTP packets sent and heard by a host so far.
pub(crate) fn rtp(world: &World, host: &Host) -> io::Result<(u64, u64)> {
    let listed = world.command(host, "nft", &["-j", "list", "counters"])?;
    let listed: Value = serde_json::from_str(&listed)?;
    let count = |name: &str| {
        let mut all = listed["nftables"].as_array().into_iter().flatten();
        all.find(|one| one["counter"]["name"] == name)
            .and_then(|one| one["counter"]["packets"].as_u64())
            .unwrap_or(0)
    };
    Ok((count("sent"), count("heard")))
}

/// A phone that answers by itself and plays a tone, steered over its control port.
struct Baresip {
    _program: Program,
    control: TcpStream,
    unread: Vec<u8>,
    name: &'static str,
}

impl Baresip {
    fn start(world: &World, host: &Host, name: &'static str, address: &str) -> io::Result<Self> {
        let folder = world.folder.join(name);
        fs::create_dir_all(&folder)?;
        let tone = folder.join("tone.wav");
        fs::write(&tone, wave())?;
        fs::write(
            folder.join("accounts"),
            format!("<sip:{name}@{address}>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1\n"),
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
                 module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen 127.0.0.1:4444\n",
                tone.display()
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
        let control = connect(host)?;
        control.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { _program: program, control, unread: Vec::new(), name })
    }

    /// Sends a command as ctrl_tcp reads it: JSON in a netstring.
    fn command(&mut self, command: &str, parameters: &str) -> io::Result<()> {
        let text = json!({"command": command, "params": parameters, "token": command}).to_string();
        write!(self.control, "{}:{text},", text.len())
    }

    /// Waits for an event; the time-out of the control connection bounds a failure.
    fn wait_for(&mut self, event: &str) -> io::Result<()> {
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
            let length = self.control.read(&mut buffer)?;
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

/// Connects to the phone's control port as soon as it listens.
fn connect(host: &Host) -> io::Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match host.run(|| TcpStream::connect("127.0.0.1:4444")) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A minute of square wave: 8,000 samples a second, 16 bits, one channel.
fn wave() -> Vec<u8> {
    const SAMPLES: u32 = 8000 * 60;
    let mut wave = Vec::new();
    wave.extend_from_slice(b"RIFF");
    wave.extend_from_slice(&(36 + SAMPLES * 2).to_le_bytes());
    wave.extend_from_slice(b"WAVEfmt ");
    for field in [16, 0x0001_0001, 8000, 16000, 0x0010_0002] {
        wave.extend_from_slice(&u32::to_le_bytes(field));
    }
    wave.extend_from_slice(b"data");
    wave.extend_from_slice(&(SAMPLES * 2).to_le_bytes());
    for sample in 0..SAMPLES {
        wave.extend_from_slice(&(if sample / 10 % 2 == 0 { 4000_i16 } else { -4000 }).to_le_bytes());
    }
    wave
}
