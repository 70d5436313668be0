//! The session of a [`crate::gatekeeper::Gatekeeper`] with the real middlebox: asks, and waits for the answer.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use machine::Outbox;
use midcom::{AgentEvent, Capabilities, Lifetime, Notification, Reply, Request, RequestId};
use simco::agent;

use crate::stage::PATIENCE;

/// The session with the real middlebox.
pub(crate) struct Real {
    stream: UnixStream,
    session: agent::Session,
    events: VecDeque<AgentEvent>,
    /// What it can.
    pub(crate) capabilities: Capabilities,
    requests: u64,
    started: Instant,
}

impl Real {
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        let capabilities = Capabilities {
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
            inside: midcom::IpVersions::Both,
            outside: midcom::IpVersions::Both,
            lifetime_max: Lifetime(u32::MAX),
        };
        let mut real = Self {
            stream,
            session: agent::Session::new(agent::Config::default()),
            events: VecDeque::new(),
            capabilities,
            requests: 0,
            started: Instant::now(),
        };
        let mut out = Outbox::new();
        real.session.connected(real.now(), &mut out);
        real.carry_out(out)?;
        real.wait(|event| matches!(event, AgentEvent::Up(_)))?;
        Ok(real)
    }

    fn now(&self) -> machine::Instant {
        machine::Instant::from_nanos(self.started.elapsed().as_nanos() as u64)
    }

    /// Asks and waits for the answer, which a flow says is a good one.
    pub(crate) fn ask(&mut self, request: Request) -> io::Result<Reply> {
        let asked = format!("{request:?}");
        self.requests += 1;
        let (id, now, mut out) = (RequestId(self.requests), self.now(), Outbox::new());
        self.session.request(now, id, request, &mut out);
        self.carry_out(out)?;
        match self.wait(|event| matches!(event, AgentEvent::Reply(of, _) if *of == id))? {
            AgentEvent::Reply(_, Ok(reply)) => Ok(reply),
            other => Err(io::Error::other(format!("the real middlebox to {asked}: {other:?}"))),
        }
    }

    /// What it says unasked.
    pub(crate) fn notification(&mut self) -> io::Result<Option<Notification>> {
        self.read()?;
        let is_one = |event: &AgentEvent| matches!(event, AgentEvent::Notification(_));
        let found = self.events.iter().position(is_one).and_then(|at| self.events.remove(at));
        Ok(match found {
            Some(AgentEvent::Notification(notification)) => Some(notification),
            _ => None,
        })
    }

    fn wait(&mut self, is_it: impl Fn(&AgentEvent) -> bool) -> io::Result<AgentEvent> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.events.iter().position(&is_it).and_then(|at| self.events.remove(at)) {
                return Ok(event);
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!(
                    "the real middlebox does not answer: {:?}",
                    self.events
                )));
            }
            if !self.read()? {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    fn read(&mut self) -> io::Result<bool> {
        let (mut room, mut any) = ([0; 65_536], false);
        loop {
            let length = match self.stream.read(&mut room) {
                Ok(0) => return Err(io::Error::other("the real middlebox is gone")),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error),
            };
            any = true;
            let (now, mut out) = (self.now(), Outbox::new());
            self.session.receive(now, &room[..length], &mut out);
            self.carry_out(out)?;
        }
    }

    fn carry_out(&mut self, mut out: Outbox<agent::Output>) -> io::Result<()> {
        for output in out.drain() {
            match output {
                agent::Output::Send(bytes) => self.stream.write_all(&bytes)?,
                agent::Output::Event(event) => self.events.push_back(event),
                agent::Output::Close => {
                    return Err(io::Error::other("the session with the real middlebox is over"));
                }
            }
        }
        Ok(())
    }
}
