//! The agent half: SIP on both sides, SIMCO towards the middlebox, one `B2bua` between.

mod answers;
mod barrier;
mod book;
mod chronicle;
mod doors;
mod find;
mod guard;
mod link;
mod open;
mod reload;
mod resolver;
pub(crate) mod settings;
mod streams;
mod trunks;
mod udp;
pub(crate) mod users;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use b2bua::{B2bua, Input, Output};
use machine::{Instant, Machine as _, Outbox};
use midcom::{AgentEvent, MiddleboxId};
use sip::transport::{Hop, Protocol};
use tokio::sync::mpsc;

use self::book::Book;
use self::chronicle::Chronicle;
use self::guard::Guard;
use self::link::Link;
use self::resolver::{Found, Resolver};
use self::streams::{Ended, StreamEvent, Streams};
use self::udp::{Arrived, Udp};
use super::alarm::Alarm;
use super::wall::Wall;
use super::{Failure, Signals, Told};
use crate::admin::server::Question;
use crate::clock::Clock;
use crate::config::Config;
use crate::log;

pub(crate) use self::find::find_servers;
pub(crate) use self::open::{cannot_listen, run};

/// Events of one kind taken in one turn, so that no source keeps the others waiting.
const TURN_MAX: usize = 256;

/// Turns after which the other tasks have theirs: under a flood this loop never has to wait.
const YIELD: u32 = 8;

/// Everything of the half.
struct Agent {
    config: Config,
    clock: Clock,
    alarm: Alarm,
    machine: B2bua,
    out: Outbox<Output>,
    /// What must still be told to the machine before this turn ends.
    inputs: VecDeque<Input>,
    guard: Guard,
    udp: Udp,
    streams: Streams,
    links: Vec<Link>,
    midcom: Vec<(MiddleboxId, AgentEvent)>,
    resolver: Resolver,
    chronicle: Chronicle,
    /// What time it is, where the call policy knows times.
    wall: Option<Wall>,
    /// Who has registered, where that is kept.
    book: Option<Book>,
    questions: mpsc::Receiver<Question>,
    signals: Signals,
    buffer: Box<[u8]>,
    sandbox: String,
    stopping: bool,
    done: bool,
}

/// Why the loop woke up; what else is ready is found by looking.
enum Wake {
    Ready,
    Stream(StreamEvent),
    Found(Found),
    Asked(Question),
    /// What the kernel bans.
    Banned(barrier::Found),
    Signal(Told),
}

impl Agent {
    /// Until it has shut down.
    async fn run(mut self) -> Result<(), Failure> {
        let mut turns = 0_u32;
        while !self.done {
            let wake = self.wait().await;
            let now = self.clock.now();
            self.turn(now, wake);
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(YIELD) {
                tokio::task::yield_now().await;
            }
        }
        let now = self.clock.now();
        for link in &mut self.links {
            link.close(now, &mut self.midcom);
        }
        Ok(())
    }

    async fn wait(&mut self) -> Wake {
        let machine = self.machine.next_timeout().map(|(at, _)| at);
        let own = machine.into_iter().chain(self.guard.next_timeout());
        let deadline = self.links.iter().filter_map(Link::next_timeout).chain(own).min();
        let is_behind = self.guard.is_behind();
        let Self { clock, alarm, udp, streams, links, resolver, questions, signals, guard, .. } = self;
        let sockets = poll_fn(|cx| {
            let mut ready = udp.poll_ready(cx);
            for link in links.iter_mut() {
                if link.poll_ready(cx).is_ready() {
                    ready = Poll::Ready(());
                }
            }
            ready
        });
        tokio::select! {
            biased;
            // The operator before strangers, who may always have something to say.
            told = signals.next() => Wake::Signal(told),
            Some(question) = questions.recv() => Wake::Asked(question),
            () = sockets => Wake::Ready,
            Some(event) = streams.event() => Wake::Stream(event),
            Some(found) = resolver.answer() => Wake::Found(found),
            Some(found) = guard.kernel() => Wake::Banned(found),
            () = poll_fn(|cx| alarm.poll_due(cx, *clock, deadline)) => Wake::Ready,
            () = std::future::ready(()), if is_behind => Wake::Ready,
        }
    }

    /// Takes everything that is there, tells the machine, and writes what it wants written, together.
    fn turn(&mut self, now: Instant, wake: Wake) {
        match wake {
            Wake::Ready => {}
            Wake::Stream(event) => self.stream_event(now, event),
            Wake::Found(found) => self.found(found),
            Wake::Asked(question) => self.asked(now, question),
            Wake::Banned(found) => self.guard.agree(now, &found),
            Wake::Signal(Told::Stop) => self.stop(),
            Wake::Signal(Told::Reload) => self.reload_file(),
        }
        self.inputs.extend(self.wall.as_mut().and_then(Wall::tick).map(Input::Clock));
        self.links.iter_mut().for_each(|link| link.turn(now, &mut self.buffer, &mut self.midcom));
        self.work(now);
        let Self { udp, guard, machine, inputs, .. } = self;
        udp.receive(|arrived| match arrived {
            Arrived::Datagram(hop, bytes) => inputs.extend(guard.hear(now, hop, bytes, machine)),
            Arrived::Failed(_) => inputs.push_back(input(arrived)),
        });
        self.work(now);
        for _ in 0..TURN_MAX {
            let Some(event) = self.streams.try_event() else { break };
            self.stream_event(now, event);
        }
        for _ in 0..TURN_MAX {
            let Some(found) = self.resolver.try_answer() else { break };
            self.found(found);
        }
        self.work(now);
        self.take_calls(now);
        if self.machine.next_timeout().is_some_and(|(at, _)| at <= now) {
            self.machine.handle_timeout(now, &mut self.out);
            self.carry_out(now);
            self.work(now);
        }
        self.flush(now);
        if let Some(book) = &mut self.book {
            book.write(self.machine.config(), &self.machine, now);
        }
        self.chronicle.turn_ended();
    }

    /// Tells the machine everything that waits, and what comes of it, until nothing waits.
    fn work(&mut self, now: Instant) {
        loop {
            let events = self.midcom.drain(..).map(|(middlebox, event)| Input::Midcom { middlebox, event });
            self.inputs.extend(events);
            let Some(input) = self.inputs.pop_front() else { return };
            self.machine.handle(now, input, &mut self.out);
            self.carry_out(now);
        }
    }

    fn carry_out(&mut self, now: Instant) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain() {
            match output {
                Output::Transmit { hop, bytes } => {
                    self.transmit(hop, bytes);
                }
                Output::Midcom { middlebox, id, request } => {
                    if let Some(link) = self.links.iter_mut().find(|link| link.id == middlebox) {
                        link.request(now, id, request, &mut self.midcom);
                    }
                }
                Output::Resolve { id, wish } => {
                    self.guard.asks(id, &wish.host);
                    self.resolver.ask(id, wish);
                }
                Output::Event(event) => {
                    if let Some(book) = &mut self.book {
                        book.observe(&event);
                    }
                    self.guard.observe(now, &event);
                    self.chronicle.observe(now, &event);
                }
                Output::ShutdownComplete => self.done = true,
            }
        }
        self.out = out;
    }

    fn transmit(&mut self, hop: Hop, bytes: bytes::Bytes) {
        match hop.protocol {
            Protocol::Udp => self.udp.queue(hop, bytes),
            Protocol::Tcp | Protocol::Tls | Protocol::Ws | Protocol::Wss => {
                let name = hop.name.and_then(|name| self.machine.name(name));
                if let Err(hop) = self.streams.send(hop, name, bytes) {
                    self.inputs.push_back(Input::TransportFailed { hop });
                }
            }
        }
    }

    /// Gives new calls their turn while there is time, and sends what refuses others.
    fn take_calls(&mut self, now: Instant) {
        let began = self.clock.now();
        loop {
            // What belongs to calls there are has had its time by now: how late it is, is looked up again.
            let at = self.clock.now();
            if at.since(began) > guard::SLICE {
                break;
            }
            let Some(input) = self.guard.next_call(at, &self.machine) else { break };
            self.inputs.push_back(input);
            self.work(now);
        }
        while let Some((hop, bytes)) = self.guard.refusal() {
            self.transmit(hop, bytes);
        }
        self.guard.turn(now);
    }

    fn flush(&mut self, now: Instant) {
        self.links.iter_mut().for_each(|link| link.flush(now, &mut self.midcom));
        let inputs = &mut self.inputs;
        self.udp.flush(|arrived| inputs.push_back(input(arrived)));
        // What could not be sent is told at once; what the machine then sends leaves with it.
        if !self.inputs.is_empty() || !self.midcom.is_empty() {
            self.work(now);
            self.links.iter_mut().for_each(|link| link.flush(now, &mut self.midcom));
            let inputs = &mut self.inputs;
            self.udp.flush(|arrived| inputs.push_back(input(arrived)));
        }
    }

    fn stream_event(&mut self, now: Instant, event: StreamEvent) {
        match event {
            StreamEvent::Accepted { remote, .. } if self.guard.is_banned(remote.ip()) => {}
            StreamEvent::Accepted { listener, stream, remote } => {
                if let Err(why) = self.streams.accepted(listener, stream, remote) {
                    log::debug(format_args!("{remote}: refused: {why}"));
                }
            }
            StreamEvent::Open { id, domains } => self.streams.opened(id, domains),
            StreamEvent::Message { id, bytes } => {
                self.streams.learn_alias(id, &bytes);
                if let Some(hop) = self.streams.hop(id) {
                    self.inputs.extend(self.guard.hear(now, hop, bytes, &self.machine));
                }
            }
            StreamEvent::Closed { id, why } => {
                let Some(Ended { hop, ours }) = self.streams.close(id) else { return };
                // Where we connect the operator has chosen; whoever connects to us is anybody.
                match ours && hop.protocol.is_secure() {
                    true => log::info(format_args!("{hop}: {why}")),
                    false => log::debug(format_args!("{hop}: {why}")),
                }
                self.inputs.push_back(Input::TransportFailed { hop });
            }
        }
    }

    fn found(&mut self, (id, places): Found) {
        self.guard.found(id, &places);
        self.inputs.push_back(Input::Resolved { id, places });
    }

    fn stop(&mut self) {
        if self.stopping {
            log::warn(format_args!("told twice to stop: ending at once"));
            self.done = true;
            return;
        }
        self.stopping = true;
        log::info(format_args!("stopping: ending {} calls", self.machine.calls().count()));
        self.inputs.push_back(Input::Shutdown);
    }
}

/// The clock, where the call policy knows times.
fn wall(config: &Config) -> Option<Wall> {
    let knows = config.call_policy.iter().any(|line| !line.windows.is_empty());
    knows.then(|| Wall::new(config.middlebox.time_zone.as_ref()))
}

fn input(arrived: Arrived) -> Input {
    match arrived {
        Arrived::Datagram(hop, bytes) => Input::Message { hop, bytes },
        Arrived::Failed(hop) => Input::TransportFailed { hop: Hop { connection: None, ..hop } },
    }
}
