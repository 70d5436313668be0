//! One end of a session, driven by words.

use std::time::Duration;

use machine::{Instant, Outbox};
use midcom::{AgentEvent, Capabilities, DownReason, IpVersions, Lifetime, Notification, Prid, RequestId};
use simco::authentication::{NONCE_LEN, Nonce, Secret};
use simco::middlebox::{Authentication, Candidate};
use simco::{agent, middlebox};

use crate::{octets, words};

/// The end a case is about.
#[derive(Debug)]
pub struct Side {
    now: Instant,
    end: End,
}

#[derive(Debug)]
enum End {
    Agent(Box<agent::Session>, Option<Box<agent::Proof>>),
    Middlebox(Box<middlebox::Session>),
}

/// What is random elsewhere.
const NONCE_OF_AGENT: Nonce = [b'x'; NONCE_LEN];
const NONCE_OF_MIDDLEBOX: Nonce = [b'y'; NONCE_LEN];

/// What the middlebox of the cases says of itself: packet filter with PDR, all wildcards, IPv4, one hour.
const CAPABILITIES: Capabilities = Capabilities {
    firewall: true,
    nat: false,
    port_translation: false,
    protocol_translation: false,
    twice_nat: false,
    disable_rules: true,
    internal_wildcards: true,
    external_wildcards: true,
    port_wildcards: true,
    persistent: false,
    inside: IpVersions::V4,
    outside: IpVersions::V4,
    lifetime_max: Lifetime(3600),
};

impl Side {
    /// The end that `side agent …` or `side middlebox …` describes.
    ///
    /// # Errors
    /// A side or a setting that does not exist.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().skip(1);
        let which = words.next();
        let settings = words.filter_map(|word| word.split_once('='));
        let end = match which {
            Some("agent") => {
                let (config, proof) = agent_config(settings)?;
                End::Agent(Box::new(agent::Session::new(config)), proof.map(Box::new))
            }
            Some("middlebox") => {
                let config = middlebox_config(settings)?;
                End::Middlebox(Box::new(middlebox::Session::new(Instant::ZERO, config)))
            }
            _ => return Err(format!("no such side: {text}")),
        };
        Ok(Self { now: Instant::ZERO, end })
    }

    /// Gives one input to it; returns what comes out, a text per output.
    ///
    /// # Errors
    /// An input that is not understood.
    pub fn input(&mut self, input: &str) -> Result<Vec<String>, String> {
        let (verb, rest) = input.split_once(char::is_whitespace).unwrap_or((input, ""));
        let rest = rest.trim();
        if verb == "pass" {
            return self.pass(Duration::from_secs(number(rest)?));
        }
        match &mut self.end {
            End::Agent(session, proof) => agent_input(session, proof.as_deref(), self.now, verb, rest),
            End::Middlebox(session) => middlebox_input(session, self.now, verb, rest),
        }
    }

    /// Lets time pass; every timeout happens at its own time.
    fn pass(&mut self, time: Duration) -> Result<Vec<String>, String> {
        let until = self.now + time;
        let mut texts = Vec::new();
        for _ in 0..100 {
            let due = self.next_timeout().filter(|(at, _)| *at <= until);
            let Some((at, _)) = due else {
                self.now = until;
                return Ok(texts);
            };
            self.now = at.max(self.now);
            texts.extend(self.timeout());
        }
        Err("timeouts without end".to_owned())
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        match &self.end {
            End::Agent(session, _) => session.next_timeout(),
            End::Middlebox(session) => session.next_timeout(),
        }
    }

    fn timeout(&mut self) -> Vec<String> {
        match &mut self.end {
            End::Agent(session, _) => {
                let mut out = Outbox::new();
                session.handle_timeout(self.now, &mut out);
                out.into_iter().flat_map(agent_texts).collect()
            }
            End::Middlebox(session) => {
                let mut out = Outbox::new();
                session.handle_timeout(self.now, &mut out);
                out.into_iter().flat_map(middlebox_texts).collect()
            }
        }
    }
}

fn agent_config<'a>(
    settings: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(agent::Config, Option<agent::Proof>), String> {
    let (mut config, mut proof) = (agent::Config::default(), None);
    for (name, value) in settings {
        match name {
            "secret" => proof = Some(agent::Proof { secret: secret(value)?, nonce: NONCE_OF_AGENT }),
            "open-requests-max" => config.open_requests_max = number(value)?,
            _ => return Err(format!("no setting {name}")),
        }
    }
    Ok((config, proof))
}

/// A secret of one letter, 32 times.
fn secret(letter: &str) -> Result<Secret, String> {
    Secret::new(letter.repeat(32).as_bytes()).ok_or_else(|| format!("no secret: {letter:?}"))
}

fn middlebox_config<'a>(
    settings: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<middlebox::Config, String> {
    let mut config = middlebox::Config::new(CAPABILITIES, middlebox::Admission::Admitted);
    for (name, value) in settings {
        match (name, value) {
            ("admission", "resources") => config.admission = middlebox::Admission::LackOfResources,
            ("admission", "transport") => config.admission = middlebox::Admission::TransportProblem,
            ("admission", "security") => config.admission = middlebox::Admission::InsufficientSecurity,
            ("admission", "authorization") => config.admission = middlebox::Admission::NotAuthorized,
            ("secret", letters) => {
                let candidate =
                    |letter| Ok(Candidate { secret: secret(letter)?, capabilities: CAPABILITIES });
                let candidates: Result<_, String> = letters.split(',').map(candidate).collect();
                config.authentication =
                    Some(Authentication { nonce: NONCE_OF_MIDDLEBOX, candidates: candidates? });
            }
            ("open-requests-max", count) => config.open_requests_max = number(count)?,
            ("payload-max", len) => config.payload_len_max = number(len)?,
            ("outside", "v6") => config.capabilities.outside = IpVersions::V6,
            _ => return Err(format!("no setting {name}={value}")),
        }
    }
    Ok(config)
}

fn agent_input(
    session: &mut agent::Session,
    proof: Option<&agent::Proof>,
    now: Instant,
    verb: &str,
    rest: &str,
) -> Result<Vec<String>, String> {
    let mut out = Outbox::new();
    match verb {
        "connect" => session.connected_with(now, proof.cloned(), &mut out),
        "receive" => session.receive(now, &octets::parse(rest)?, &mut out),
        "disconnect" => session.disconnected(now, "the connection broke", &mut out),
        "close" => session.close(now, &mut out),
        "request" => {
            let (id, request) = rest.split_once(' ').ok_or("no request")?;
            session.request(now, RequestId(number(id)?), words::request(request)?, &mut out);
        }
        _ => return Err(format!("no input {verb:?}")),
    }
    Ok(out.into_iter().flat_map(agent_texts).collect())
}

fn middlebox_input(
    session: &mut middlebox::Session,
    now: Instant,
    verb: &str,
    rest: &str,
) -> Result<Vec<String>, String> {
    let mut out = Outbox::new();
    match verb {
        "receive" => session.receive(now, &octets::parse(rest)?, &mut out),
        "disconnect" => session.disconnected(now, &mut out),
        "terminate" => session.terminate(now, &mut out),
        "reply" => {
            let (tid, reply) = rest.split_once(' ').ok_or("no reply")?;
            session.reply(now, number(tid)?, words::reply(reply)?, &mut out);
        }
        "event" => {
            let (prid, lifetime) = rest.split_once(' ').ok_or("no lifetime")?;
            let (prid, lifetime) = (Prid(number(prid)?), Lifetime(number(lifetime)?));
            session.notify(now, Notification::RuleEvent { prid, lifetime }, &mut out);
        }
        _ => return Err(format!("no input {verb:?}")),
    }
    Ok(out.into_iter().flat_map(middlebox_texts).collect())
}

fn agent_texts(output: agent::Output) -> Vec<String> {
    match output {
        agent::Output::Send(bytes) => sent(&bytes),
        agent::Output::Close => vec!["close".to_owned()],
        agent::Output::Event(event) => vec![match event {
            AgentEvent::Up(capabilities) => format!("up {}", words::capabilities(&capabilities)),
            AgentEvent::Down(reason) => format!("down {}", down(&reason)),
            AgentEvent::Reply(id, result) => format!("reply {} {}", id.0, words::reply_text(&result)),
            AgentEvent::Notification(Notification::RuleEvent { prid, lifetime }) => {
                format!("event {} {}", prid.0, lifetime.0)
            }
            AgentEvent::Notification(Notification::SessionTermination) => "termination".to_owned(),
        }],
    }
}

fn down(reason: &DownReason) -> String {
    match reason {
        DownReason::Connection(why) => format!("connection: {why}"),
        DownReason::Terminated => "terminated".to_owned(),
        DownReason::Refused(failure) => words::failure(*failure),
        DownReason::PeerMisbehaved(how) => format!("peer misbehaved: {how}"),
        DownReason::Unproven => "unproven".to_owned(),
        DownReason::Closed => "closed".to_owned(),
    }
}

fn middlebox_texts(output: middlebox::Output) -> Vec<String> {
    match output {
        middlebox::Output::Send(bytes) => sent(&bytes),
        middlebox::Output::Opened => vec!["opened".to_owned()],
        middlebox::Output::Request { tid, request } => {
            vec![format!("request {tid} {}", words::request_text(&request))]
        }
        middlebox::Output::Closed => vec!["closed".to_owned()],
        middlebox::Output::Close => vec!["close".to_owned()],
    }
}

/// One text per message; those that leave in the same `Send` as the one before say so.
fn sent(bytes: &[u8]) -> Vec<String> {
    let texts = octets::messages(bytes).into_iter().enumerate();
    texts.map(|(index, text)| format!("{} {text}", if index == 0 { "send  " } else { "with it" })).collect()
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no number"))
}
