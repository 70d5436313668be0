//! The middlebox half: SIMCO sessions, one `Middlebox` that decides, the nftables engine that does.

mod answers;
mod bans;
mod chronicle;
mod disk;
mod greetings;
mod guests;
mod open;
mod operator;
pub(crate) mod prove;
mod reload;
mod sessions;
mod settings;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::os::fd::AsFd as _;
use std::task::Poll;
use std::time::Duration;

use machine::{Instant, Machine as _, Outbox};
use middlebox::{Engine as _, Input, Middlebox, Output, Realms};
use nftables::Nft;
use nix::unistd::Uid;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use self::chronicle::Chronicle;
use self::disk::Disk;
use self::operator::Operator;
use self::sessions::Sessions;
use super::alarm::Alarm;
use super::wall::Wall;
use super::watched::register;
use super::{Failure, Signals, Told};
use crate::admin::server::Question;
use crate::clock::Clock;
use crate::config::Config;
use crate::log;

pub(crate) use self::open::{dry_run, prove_alone, remove, run};

/// How often the kernel is asked whether somebody else changed our table, events or not.
const LOOK: Duration = Duration::from_secs(1);
/// How long a shutdown may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// Turns after which the other tasks have theirs: under a flood this loop never has to wait.
const YIELD: u32 = 8;

/// Everything of the half.
struct Gate {
    clock: Clock,
    alarm: Alarm,
    config: Config,
    realms: Realms,
    machine: Middlebox,
    out: Outbox<Output>,
    inputs: VecDeque<Input>,
    engine: Nft,
    /// The engine's event socket, a descriptor of our own for the runtime.
    drift: AsyncFd<std::os::fd::OwnedFd>,
    looked: Instant,
    sessions: Sessions,
    chronicle: Chronicle,
    questions: mpsc::Receiver<Question>,
    banned: bans::Banned,
    operator: Operator,
    /// The user of the agent half.
    agent: Uid,
    wall: Wall,
    disk: Disk,
    signals: Signals,
    features: String,
    sandbox: String,
    /// When a shutdown is over at the latest.
    stopping: Option<Instant>,
    done: bool,
}

/// Why the loop woke up.
enum Wake {
    Ready,
    Disturbed,
    Asked(Question),
    OfBans(Question),
    Signal(Told),
}

impl Gate {
    /// Until it has shut down.
    async fn run(mut self) -> Result<(), Failure> {
        // What was found at the start is acted upon before anybody says anything.
        let now = self.clock.now();
        self.work(now);
        self.decide(now);
        self.engine.take_over().map_err(|error| Failure::Start(error.to_string()))?;
        // With a million rules seconds have passed.
        self.turn(self.clock.now(), Wake::Ready);
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
        self.sessions.flush_all();
        Ok(())
    }

    async fn wait(&mut self) -> Wake {
        let machine = self.machine.next_timeout().map(|(at, _)| at);
        let next = [machine, self.sessions.next_timeout(), self.stopping, Some(self.looked + LOOK)];
        let deadline = next.into_iter().flatten().min();
        let Self { clock, alarm, sessions, drift, questions, banned, signals, .. } = self;
        let sockets = poll_fn(|cx| sessions.poll_ready(cx));
        let disturbance = poll_fn(|cx| match drift.poll_read_ready(cx) {
            Poll::Ready(Ok(mut guard)) => {
                guard.clear_ready();
                Poll::Ready(())
            }
            // A socket that cannot be waited for is looked at every second.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            biased;
            // The operator and the kernel before agents, which may always have something to say.
            told = signals.next() => Wake::Signal(told),
            Some(question) = questions.recv() => Wake::Asked(question),
            () = disturbance => Wake::Disturbed,
            () = sockets => Wake::Ready,
            Some(question) = banned.questions.recv() => Wake::OfBans(question),
            () = poll_fn(|cx| alarm.poll_due(cx, *clock, deadline)) => Wake::Ready,
        }
    }

    /// Reads everything that has arrived, lets the machine make one batch of it, and replies together.
    fn turn(&mut self, now: Instant, wake: Wake) {
        match wake {
            Wake::Ready => {}
            Wake::Disturbed => self.looked = Instant::ZERO,
            Wake::Asked(question) => self.asked(now, question),
            Wake::OfBans(question) => self.asked_of_bans(now, question),
            Wake::Signal(Told::Stop) => self.stop(now),
            Wake::Signal(Told::Reload) => self.reload_file(now),
        }
        if self.looked + LOOK <= now || self.looked == Instant::ZERO {
            self.look(now);
        }
        self.sessions.turn(now, &self.machine, &mut self.inputs);
        self.work(now);
        self.decide(now);
        self.ban_again(now);
        self.sessions.flush(now, &mut self.inputs);
        self.done |= self.stopping.is_some_and(|latest| latest <= now);
    }

    /// Lets the machine do what is due.
    fn decide(&mut self, now: Instant) {
        while self.machine.next_timeout().is_some_and(|(at, _)| at <= now) {
            self.machine.handle_timeout(now, &mut self.out);
            if self.out.is_empty() {
                break;
            }
            self.carry_out(now);
            self.work(now);
        }
    }

    fn work(&mut self, mut now: Instant) {
        while let Some(input) = self.inputs.pop_front() {
            // The kernel has taken its time, and lifetimes count from what is now.
            if matches!(input, Input::Applied { .. }) {
                now = self.clock.now();
            }
            self.machine.handle(now, input, &mut self.out);
            self.carry_out(now);
        }
    }

    fn carry_out(&mut self, now: Instant) {
        let mut out = std::mem::take(&mut self.out);
        let Self { sessions, inputs, operator, chronicle, disk, machine, .. } = self;
        // What the next batch wants is not on disk.
        let mut unwritten = false;
        for output in out.drain() {
            match output {
                Output::Reply { session: operator::SESSION, tid, result } => operator.answered(tid, &result),
                Output::Reply { session, tid, result } => sessions.reply(now, session, tid, result, inputs),
                Output::Notify { session, notification } => {
                    sessions.notify(now, session, notification, inputs)
                }
                Output::Terminate { session } => sessions.terminate(now, session, inputs),
                Output::Journal(changes) => {
                    unwritten = !disk.write(now, &changes, machine);
                    if unwritten {
                        inputs.push_back(Input::Writable(false));
                    }
                }
                Output::Apply { batch, operations } => {
                    let results = match std::mem::take(&mut unwritten) {
                        false => self.engine.apply(&operations),
                        true => disk::without_journal(&mut self.engine, &operations),
                    };
                    inputs.push_back(Input::Applied { batch, results });
                }
                Output::Verify { keys } => {
                    let drift = self.engine.verify(&keys);
                    inputs.push_back(Input::Verified { drift });
                }
                Output::Count { session, tid, rules } => {
                    let passed = middlebox::count(&mut self.engine, &rules);
                    inputs.push_back(Input::Counted { session, tid, passed });
                }
                Output::Event(event) => chronicle.observe(&event),
                Output::ShutdownComplete => {
                    sessions.terminate_all(now, inputs);
                    // What has been said to the agents still has to leave.
                    self.stopping = Some(now + Duration::from_millis(50));
                }
            }
        }
        self.out = out;
    }

    /// Asks whether anybody else has touched our table.
    fn look(&mut self, now: Instant) {
        self.looked = now;
        self.inputs.extend(self.wall.tick().map(Input::Clock));
        self.inputs.extend(self.disk.look(now, &self.machine));
        self.sessions.refresh();
        match self.engine.take_drift() {
            Ok(None) => {}
            Ok(Some(what)) => {
                self.chronicle.disturbed(&what);
                self.banned.disturbed = true;
                self.inputs.push_back(Input::Disturbed);
            }
            Err(error) => {
                log::error(format_args!("{error}"));
                self.banned.disturbed = true;
                self.inputs.push_back(Input::Disturbed);
            }
        }
    }

    fn stop(&mut self, now: Instant) {
        if self.stopping.is_some() {
            self.done = true;
            return;
        }
        log::info(format_args!(
            "stopping: the table stays, with the gate shut for all but the rules that still live"
        ));
        self.stopping = Some(now + SHUTDOWN_MAX);
        self.inputs.push_back(Input::Shutdown);
    }
}

/// A descriptor of our own for the engine's event socket: the engine keeps its own.
fn event_descriptor(engine: &Nft) -> Result<AsyncFd<std::os::fd::OwnedFd>, String> {
    let own = engine.as_fd().try_clone_to_owned();
    own.and_then(|own| register(own, tokio::io::Interest::READABLE))
        .map_err(|error| format!("cannot wait for the kernel's events: {error}"))
}
