//! SIPp as a phone that follows a script: what it sends, what it waits for, and where it waits for the trial.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netns::Host;

use crate::line::{End, Line};
use crate::observer::Way;
use crate::raw::{header, number};
use crate::world::{INSIDE, OUTSIDE, Program, World, text};

/// Where it hears RTP, and two above; it sends back what it hears.
pub(crate) const MEDIA: u16 = 22_000;
/// An SDP body that names [`MEDIA`], and one that names the port two above.
pub(crate) const SDP: &str = "22000";
pub(crate) const SDP_ELSEWHERE: &str = "22002";
/// No body.
pub(crate) const NONE: &str = "";

/// A SIPp scenario in the making.
#[derive(Debug, Default)]
pub(crate) struct Script {
    steps: String,
    /// CSeq of the last request of its own, and of the last INVITE.
    cseq: u32,
    invite: u32,
    /// Steps so far, and before the last INVITE.
    count: u32,
    invited: u32,
    /// Version, port and further lines of its last SDP, and those of the next.
    version: u32,
    said: (String, String),
    lines: String,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The INVITE that begins a call, with more header lines and SDP that names this port.
    pub(crate) fn invite(self, lines: &str, port: &str) -> Self {
        self.send_request("INVITE", "sip:bob@[remote_ip]:[remote_port]", "", lines, port)
    }

    /// A request in the dialog.
    pub(crate) fn request(self, method: &str, lines: &str, port: &str) -> Self {
        self.send_request(method, "[next_url]", "[peer_tag_param]", lines, port)
    }

    /// The ACK for the 2xx to its INVITE.
    pub(crate) fn ack(mut self) -> Self {
        let last = std::mem::replace(&mut self.cseq, self.invite - 1);
        let mut script = self.request("ACK", "", NONE);
        script.cseq = last;
        script
    }

    /// Waits for the refusal of its INVITE and acknowledges it.
    pub(crate) fn refused(self, code: u16) -> Self {
        let mut script = self.response(&[100, 180], code);
        let (cseq, back) = (script.invite, script.count - script.invited);
        script.step(&format!(
            "<send><![CDATA[\nACK sip:bob@[remote_ip]:[remote_port] SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-{back}]\n\
             From: <sip:alice@[local_ip]:[local_port]>;tag=[pid]caller\nTo: <sip:bob@[remote_ip]:[remote_port]>[peer_tag_param]\n\
             Call-ID: [call_id]\nCSeq: {cseq} ACK\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>\n"
        ));
        script
    }

    /// Waits for a reliable 183 and acknowledges it (RFC 3262 §4).
    pub(crate) fn reliable_183(mut self) -> Self {
        self.steps.push_str(
            "<recv response=\"100\" optional=\"true\"></recv>\n<recv response=\"183\" rrs=\"true\"><action>\
             <ereg regexp=\"[0-9]+\" search_in=\"hdr\" header=\"RSeq:\" check_it=\"true\" assign_to=\"rseq\"/></action></recv>\n",
        );
        let line = format!("RAck: [$rseq] {} INVITE\n", self.invite);
        self.request("PRACK", &line, NONE).response(&[], 200)
    }

    fn send_request(mut self, method: &str, uri: &str, to: &str, lines: &str, port: &str) -> Self {
        self.cseq += 1;
        if method == "INVITE" {
            (self.invite, self.invited) = (self.cseq, self.count);
        }
        let (cseq, body) = (self.cseq, self.body(port));
        // SIPp repeats it until something comes.
        let again = if method == "ACK" { "" } else { " retrans=\"500\"" };
        self.step(&format!(
            "<send{again}><![CDATA[\n{method} {uri} SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             From: <sip:alice@[local_ip]:[local_port]>;tag=[pid]caller\nTo: <sip:bob@[remote_ip]:[remote_port]>{to}\n\
             Call-ID: [call_id]\nCSeq: {cseq} {method}\nContact: <sip:alice@[local_ip]:[local_port]>\n\
             Max-Forwards: 70\n{lines}{body}]]></send>\n"
        ));
        self
    }

    /// Waits for a request.
    pub(crate) fn hears(mut self, method: &str) -> Self {
        self.step(&format!("<recv request=\"{method}\" crlf=\"true\" rrs=\"true\"></recv>\n"));
        self
    }

    /// Waits for a response. Those of which there may be some come first.
    pub(crate) fn response(mut self, maybe: &[u16], code: u16) -> Self {
        for maybe in maybe {
            self.step(&format!("<recv response=\"{maybe}\" optional=\"true\"></recv>\n"));
        }
        self.step(&format!("<recv response=\"{code}\" rrs=\"true\"></recv>\n"));
        self
    }

    /// Answers the request that came last.
    pub(crate) fn answer(mut self, status: &str, lines: &str, port: &str) -> Self {
        let body = self.body(port);
        // A To with a tag has it from us.
        self.step(&format!(
            "<send><![CDATA[\nSIP/2.0 {status}\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n\
             Contact: <sip:bob@[local_ip]:[local_port]>\n{lines}{body}]]></send>\n"
        ));
        self
    }

    /// Waits for the call, to answer it after other requests have come in between.
    pub(crate) fn called(mut self) -> Self {
        self.steps.push_str("<recv request=\"INVITE\" rrs=\"true\"><action>");
        for name in ["Via", "CSeq"] {
            self.steps.push_str(&format!(
                "<ereg regexp=\".*\" search_in=\"hdr\" header=\"{name}:\" check_it=\"true\" assign_to=\"{name}\"/>"
            ));
        }
        self.steps.push_str("</action></recv>\n");
        self
    }

    /// Answers the call.
    pub(crate) fn answer_call(mut self, status: &str, lines: &str, port: &str) -> Self {
        let body = self.body(port);
        self.step(&format!(
            "<send><![CDATA[\nSIP/2.0 {status}\nVia:[$Via]\n[last_From:]\nTo: <sip:bob@[local_ip]>;tag=[pid]callee\n\
             [last_Call-ID:]\nCSeq:[$CSeq]\nContact: <sip:bob@[local_ip]:[local_port]>\n{lines}{body}]]></send>\n"
        ));
        self
    }

    /// Its SDP has these lines as well from now on.
    pub(crate) fn describes(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.lines);
        self
    }

    /// Goes on when the trial says so: see [`Sipp::go_on`].
    pub(crate) fn waits(self) -> Self {
        self.hears("INFO")
    }

    fn step(&mut self, step: &str) {
        self.count += 1;
        self.steps.push_str(step);
    }

    fn body(&mut self, port: &str) -> String {
        if port.is_empty() {
            return "Content-Length: 0\n\n".to_owned();
        }
        // RFC 3264 §8: the version says whether anything has changed.
        let now = (port.to_owned(), self.lines.clone());
        if now != self.said {
            (self.version, self.said) = (self.version + 1, now);
        }
        format!(
            "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\n\
             o=sipp 1 {} IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n\
             m=audio {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n{}",
            self.version, self.lines
        )
    }
}

/// What a SIPp is in its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Caller,
    /// It does not send back what it hears, as its callee does.
    SilentCaller,
    Callee,
}

/// A running SIPp with a script for one call.
pub(crate) struct Sipp {
    program: Program,
    host: Host,
    end: End,
    address: &'static str,
    errors: std::path::PathBuf,
}

impl Sipp {
    /// At an end of the line; who calls does so at once.
    pub(crate) fn start(world: &World, end: End, script: Script, part: Part) -> io::Result<Self> {
        let (host, address, border) = match end {
            End::Outside => (&world.outside, OUTSIDE, "198.51.100.1:5060"),
            End::Inside => (&world.inside, INSIDE, "10.0.40.1:5060"),
        };
        let name = format!("{end:?}");
        let file = world.folder.join(format!("{name}.xml"));
        let errors = world.folder.join(format!("{name}.errors"));
        fs::write(
            &file,
            format!("<?xml version=\"1.0\"?>\n<scenario name=\"{name}\">\n{}</scenario>\n", script.steps),
        )?;
        let mut command = Command::new("sipp");
        command
            .arg("-sf")
            .arg(&file)
            .args(["-i", address, "-mi", address, "-p", "5060", "-m", "1", "-nostdin"]);
        command.args([
            "-rtp_echo",
            "-mp",
            &MEDIA.to_string(),
            "-timeout",
            "90s",
            "-timeout_error",
            "-trace_err",
        ]);
        command.arg("-error_file").arg(&errors).args(["-default_behaviors", "none"]);
        match part {
            Part::Caller => command.args(["-rtp_echo", "-mp", SDP, border]),
            // It opens a port in any case, and may send back what comes there.
            Part::SilentCaller => command.args(["-mp", "24000", border]),
            Part::Callee => command.args(["-rtp_echo", "-mp", SDP]),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = host.spawn(&mut command).map_err(|e| io::Error::other(format!("sipp: {e}")))?;
        let sipp = Self { program: Program::of(child), host: host.clone(), end, address, errors };
        let deadline = Instant::now() + Duration::from_secs(20);
        while world.command(host, "ss", &["-Hlnu", "sport", "=", ":5060"])?.is_empty() {
            if Instant::now() > deadline {
                return Err(sipp.said("does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(sipp)
    }

    /// Lets a script go on that waits for the trial: an INFO of the same Call-ID, from its own host and without an answer.
    pub(crate) fn go_on(&self, line: &Line<'_>) -> io::Result<()> {
        let told = |way| line.messages(self.end, way, "INVITE");
        let invite = told(Way::Sent)?.into_iter().chain(told(Way::Heard)?).next();
        let invite = invite.ok_or_else(|| self.said("is in no call"))?;
        let info = format!(
            "INFO sip:sipp@{0} SIP/2.0\r\nVia: SIP/2.0/UDP {0}:1;branch=z9hG4bK{2}\r\nFrom: <sip:trial@{0}>;tag=1\r\n\
             To: <sip:sipp@{0}>\r\nCall-ID: {1}\r\nCSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n",
            self.address,
            header(&invite, "Call-ID"),
            // SIPp takes the same INFO once more for a retransmission.
            number()
        );
        self.host.run(|| {
            UdpSocket::bind((self.address, 0))?.send_to(info.as_bytes(), (self.address, 5060)).map(drop)
        })
    }

    /// Waits for the end of its script: all came as it is written there.
    pub(crate) fn finish(self, line: &Line<'_>) -> io::Result<()> {
        let errors = self.errors.clone();
        text(self.program.output()?).map(drop).map_err(|e| {
            let errors = fs::read_to_string(errors).unwrap_or_default();
            io::Error::other(format!("SIPp at the {:?}: {e}\n{errors}\n{}", self.end, line.story()))
        })
    }

    fn said(&self, what: &str) -> io::Error {
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        io::Error::other(format!("SIPp at the {:?} {what}: {errors}", self.end))
    }
}
