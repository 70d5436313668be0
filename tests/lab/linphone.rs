//! linphone (linphonec), steered over its standard input.

use std::fs;
use std::io::{self, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use netns::Host;

use crate::phone::{Answer, Phone, tone};
use crate::world::{Program, World, read};

/// A linphonec that plays a tone to whoever it talks with.
pub(crate) struct Linphone {
    program: Program,
    keys: ChildStdin,
}

/// Lines for a section of its settings, beyond what every trial needs: for `[sip]`.
pub(crate) type Extra = &'static str;

/// Its offer comes in the ACK: the INVITE carries none.
pub(crate) const DELAYED_OFFER: Extra = "sdp_200_ack=1\n";

/// It sends provisional responses reliably to who can take them (RFC 3262).
pub(crate) const RELIABLE: Extra = "100rel_support_level=1\n";

/// It calls over TLS, and checks nothing.
pub(crate) const TLS: Extra = "sip_tls_port=-1\nverify_server_certs=0\nverify_server_cn=0\n";

/// It is known by the address it was given, which need not be the first of its host.
pub(crate) const OWN_ADDRESS: Extra = "guess_hostname=0\n";

impl Linphone {
    pub(crate) fn start(
        world: &World,
        host: &Host,
        name: &'static str,
        address: &str,
        answer: Answer,
        extra: Extra,
    ) -> io::Result<Self> {
        let folder = world.folder.join(name);
        // Without this folder it has no data base, and without that it opens no socket.
        fs::create_dir_all(folder.join(".local/share/linphone"))?;
        let early = u8::from(answer == Answer::WithEarlyMedia);
        let settings = folder.join("settings");
        let no_tls = if extra == TLS { "" } else { "sip_tls_port=0\n" };
        let domain = if extra == OWN_ADDRESS { address } else { "example.org" };
        fs::write(
            &settings,
            format!(
                "[sip]\nsip_port=5060\nsip_tcp_port=0\n{no_tls}use_ipv6=0\nbind_address={address}\nipv6_migration_done=1\n\
                 contact=\"{name}\" <sip:{name}@{domain}>\nincoming_calls_early_media={early}\n{extra}\
                 [rtp]\naudio_rtp_port=20000-20100\nnortp_timeout=600\n[sound]\nechocancellation=0\nremote_ring=\nlocal_ring=\n\
                 [video]\nenabled=0\ncapture=0\ndisplay=0\n[misc]\nreal_early_media={early}\n\
                 [audio_codec_0]\nmime=PCMU\nrate=8000\nchannels=1\nenabled=1\n"
            ),
        )?;
        let output = fs::File::create(folder.join("output"))?;
        let mut command = Command::new("linphonec");
        command.arg("-c").arg(&settings).args(["-d", "6", "-l"]).arg(folder.join("log"));
        if answer == Answer::AtOnce {
            command.arg("-a");
        }
        if early == 1 {
            command.arg("--real-early-media");
        }
        command.env("HOME", &folder).stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let mut child = host.spawn(&mut command).map_err(|e| io::Error::other(format!("linphonec: {e}")))?;
        let keys = child.stdin.take().ok_or_else(|| io::Error::other("no stdin"))?;
        let mut phone = Self { program: Program::of(child), keys };
        phone.type_in("soundcard use files")?;
        phone.type_in(&format!("play {}", tone(&folder)?.display()))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let own = format!("{address}:5060");
        while world.command(host, "ss", &["-Hlnu", "src", &own])?.is_empty() {
            if Instant::now() > deadline {
                let said = read(&folder.join("output"))?;
                return Err(io::Error::other(format!("linphonec does not listen: {said}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(phone)
    }

    /// Types a command as its user would.
    pub(crate) fn type_in(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.keys, "{line}")?;
        self.keys.flush()
    }
}

impl Phone for Linphone {
    fn call(&mut self, to: &str) -> io::Result<()> {
        self.type_in(&format!("call {to}"))
    }

    fn answer(&mut self) -> io::Result<()> {
        self.type_in("answer")
    }

    fn hang_up(&mut self) -> io::Result<()> {
        self.type_in("terminate")
    }

    fn hold(&mut self) -> io::Result<()> {
        self.type_in("pause")
    }

    fn resume(&mut self) -> io::Result<()> {
        self.type_in("resume 1")
    }

    fn transfer(&mut self, to: &str) -> io::Result<()> {
        self.type_in(&format!("transfer {to}"))
    }

    fn process(&self) -> u32 {
        self.program.id()
    }
}
