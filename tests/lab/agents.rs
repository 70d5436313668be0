//! Two agents at one middlebox: each has its own rules, over all its sessions, and its own rights.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use midcom::{
    Direction, Failure, Gid, Lifetime, Notification, Parity, Prid, Protocol, Reply, Request, RuleStatus,
    Tuple,
};
use netns::Host;
use simco::wire::{AgentMessage, HEADER_LEN, Header, MiddleboxMessage, Version};

use crate::raw::connect_to;
use crate::witness::expect;
use crate::world::{BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("agents::the_rules_of_one_are_nothing_to_the_other", isolated),
        ("agents::each_may_what_its_section_says", limited),
    ]
}

/// The third host.
const OTHER: &str = "192.0.2.20";

fn config() -> String {
    format!(
        "{CONFIG}\n[middlebox]\nlisten = [\"{BORDER_OUTSIDE}:7626\"]\n\n\
         [middlebox.agent.branch]\npeers = [\"{OUTSIDE}\"]\ninternal = [\"10.0.40.16/28\"]\nports = \"20000-21999\"\n\
         max-rules = 2\nmax-lifetime = \"2m\"\n\n\
         [middlebox.agent.other]\npeers = [\"{OTHER}\"]\n"
    )
}

/// An agent that asks one thing at a time.
struct Guest {
    stream: TcpStream,
    tid: u32,
    told: Vec<Notification>,
}

impl Guest {
    fn open(host: &Host) -> io::Result<Self> {
        let stream = connect_to(host, &format!("{BORDER_OUTSIDE}:7626"))?.0;
        let mut guest = Self { stream, tid: 0, told: Vec::new() };
        let hello = AgentMessage::Establish { version: Version::SIMCO_3_0, challenge: None };
        guest.send(&hello)?;
        guest.receive(|message| match message {
            MiddleboxMessage::Established(_) => Some(()),
            _ => None,
        })?;
        Ok(guest)
    }

    fn send(&mut self, message: &AgentMessage<'_>) -> io::Result<()> {
        self.tid += 1;
        let mut bytes = Vec::new();
        message.encode(self.tid, &mut bytes);
        self.stream.write_all(&bytes)
    }

    /// The next message that is one of those wanted; notifications before it are kept.
    fn receive<T>(&mut self, wanted: impl Fn(MiddleboxMessage<'_>) -> Option<T>) -> io::Result<T> {
        loop {
            let mut head = [0; HEADER_LEN];
            self.stream.read_exact(&mut head)?;
            let (header, _) = Header::split(&head).ok_or_else(|| io::Error::other("no header"))?;
            let mut payload = vec![0; usize::from(header.length)];
            self.stream.read_exact(&mut payload)?;
            let message =
                MiddleboxMessage::decode(header, &payload).map_err(|e| io::Error::other(e.to_string()))?;
            if let MiddleboxMessage::Notification(told) = message {
                self.told.push(told);
            }
            let shown = format!("{message:?}");
            match wanted(message) {
                Some(found) => return Ok(found),
                None if shown.starts_with("Notification") => {}
                None => return Err(io::Error::other(shown)),
            }
        }
    }

    fn ask(&mut self, request: Request) -> io::Result<Result<Reply, Failure>> {
        self.send(&AgentMessage::Rule(request))?;
        self.receive(|message| match message {
            MiddleboxMessage::Positive(reply) => Some(Ok(reply)),
            MiddleboxMessage::Negative(failure) => Some(Err(failure)),
            _ => None,
        })
    }

    /// PER for media to an inside port: the rule, its group and its lifetime.
    fn enable(&mut self, to: &str, group: Option<Gid>) -> io::Result<Result<(Prid, Gid, Lifetime), Failure>> {
        let tuple = |address: &str| {
            Ok::<_, io::Error>(Tuple::host(address.parse().map_err(io::Error::other)?, Protocol::Udp, 2))
        };
        let request = Request::Enable {
            parity: Parity::Any,
            direction: Direction::Inbound,
            internal: tuple(to)?,
            external: tuple(&format!("{OUTSIDE}:0"))?,
            lifetime: Lifetime(600),
            group,
        };
        match self.ask(request)? {
            Ok(Reply::Enabled { prid, group, lifetime, .. }) => Ok(Ok((prid, group, lifetime))),
            Ok(other) => Err(io::Error::other(format!("{other:?}"))),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn list(&mut self) -> io::Result<Vec<Prid>> {
        match self.ask(Request::List)? {
            Ok(Reply::List(prids)) => Ok(prids),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }
}

//= test RFC 5189 §2.1.5: a rule is its owner's, whichever session the owner asks through.
fn isolated() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&config())?;
    let (mut branch, mut other) = (Guest::open(&world.outside)?, Guest::open(&world.third)?);
    let opened = branch.enable(&format!("{INSIDE}:20000"), None)?;
    let (prid, group, _) = opened.map_err(|failure| failure.to_string())?;
    expect(other.list()?, Vec::new(), "rules that the other agent may access")?;
    expect(other.ask(Request::Status { prid })?, Err(Failure::NotAuthorizedForRule), "PRS by the other")?;
    let end = Request::Lifetime { prid, lifetime: Lifetime::END };
    expect(other.ask(end.clone())?, Err(Failure::NotAuthorizedForRule), "PLC by the other")?;
    let joined = other.enable(&format!("{INSIDE}:20002"), Some(group))?;
    expect(joined, Err(Failure::NotAuthorizedForGroup), "PER in a group of another owner")?;
    // A second session of the same agent has the same rules, and so has the next one.
    let mut second = Guest::open(&world.outside)?;
    expect(second.list()?, vec![prid], "rules in a second session")?;
    drop(branch);
    let mut again = Guest::open(&world.outside)?;
    match again.ask(Request::Status { prid })? {
        Ok(Reply::Status(RuleStatus::Enabled { owner, .. })) => expect(owner.as_str(), "branch", "owner")?,
        unexpected => return Err(format!("{unexpected:?}").into()),
    }
    let pinholes = postern.json(&["pinholes"])?;
    expect(pinholes["rules"][0]["owner"].as_str(), Some("branch"), "owner in `postern pinholes`")?;
    expect(again.ask(end)?, Ok(Reply::Ended), "PLC by the owner in another session")?;
    // The other session of the owner hears of it (ARE), the other agent does not.
    expect(second.list()?, Vec::new(), "rules left")?;
    let gone = Notification::RuleEvent { prid, lifetime: Lifetime::END };
    expect(second.told.contains(&gone), true, "the owner's other session is told")?;
    other.list()?;
    expect(other.told, Vec::new(), "what the other agent was told")?;
    Ok(())
}

fn limited() -> Outcome {
    let world = World::new()?;
    let _postern = world.postern(&config())?;
    let mut branch = Guest::open(&world.outside)?;
    let opened = branch.enable(&format!("{INSIDE}:20000"), None)?;
    expect(opened.map(|(.., lifetime)| lifetime), Ok(Lifetime(120)), "lifetime granted")?;
    let refused = |result: Result<_, Failure>| result.map(|_| ());
    let not_its_own = branch.enable("10.0.40.40:20000", None)?;
    expect(refused(not_its_own), Err(Failure::NotAuthorizedForTransaction), "outside `internal`")?;
    let port = branch.enable(&format!("{INSIDE}:22000"), None)?;
    expect(refused(port), Err(Failure::NotAuthorizedForTransaction), "outside `ports`")?;
    expect(refused(branch.enable(&format!("{INSIDE}:20002"), None)?), Ok(()), "the second rule")?;
    let third = branch.enable(&format!("{INSIDE}:20004"), None)?;
    expect(refused(third), Err(Failure::NoResources), "the third rule")?;
    // Another agent has what `[middlebox]` says.
    let mut other = Guest::open(&world.third)?;
    let opened = other.enable("10.0.40.40:22000", None)?;
    expect(opened.map(|(.., lifetime)| lifetime), Ok(Lifetime(600)), "the other's lifetime")?;
    Ok(())
}
