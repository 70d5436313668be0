//! Everything that can go wrong under a middlebox that works: it is killed at every step, its table is taken away, and
//! thousands of its rules end at once.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use midcom::{Direction, Lifetime, Notification, Parity, Prid, Protocol, Reply, Request, Tuple};
use netns::again;
use simco::wire::{AgentMessage, HEADER_LEN, Header, MiddleboxMessage, Version};

use crate::raw::connect_to;
use crate::witness::{Witness, expect};
use crate::world::{BORDER_OUTSIDE, CONFIG, Named, OUTSIDE, Outcome, Program, World, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("crashes::killed_at_every_step_of_a_batch", every_step),
        ("crashes::ten_thousand_rules_end_together", ten_thousand),
        ("crashes::the_table_is_deleted_while_nobody_watches", table_deleted),
    ]
}

/// An agent without calls.
struct Agent<S> {
    stream: S,
    tid: u32,
    incoming: Vec<u8>,
}

/// What came: positive replies, and rules that have ended.
#[derive(Default)]
struct Heard {
    replies: Vec<Reply>,
    ended: usize,
    closed: bool,
}

impl<S: Read + Write> Agent<S> {
    fn open(stream: S) -> io::Result<Self> {
        let mut agent = Self { stream, tid: 1, incoming: Vec::new() };
        let mut bytes = Vec::new();
        AgentMessage::Establish { version: Version::SIMCO_3_0, challenge: None }.encode(1, &mut bytes);
        agent.stream.write_all(&bytes)?;
        let mut header = [0; HEADER_LEN];
        agent.stream.read_exact(&mut header)?;
        let (header, _) = Header::split(&header).ok_or(io::ErrorKind::InvalidData)?;
        agent.stream.read_exact(&mut vec![0; usize::from(header.length)])?;
        expect((header.basic_type, header.sub_type), (2, 1), "the reply to SE")?;
        Ok(agent)
    }

    /// Sends requests in one piece. A middlebox that has just died is no error.
    fn say(&mut self, requests: impl Iterator<Item = Request>) {
        let mut bytes = Vec::new();
        for request in requests {
            self.tid += 1;
            AgentMessage::Rule(request).encode(self.tid, &mut bytes);
        }
        let _ = self.stream.write_all(&bytes);
    }

    /// Listens until enough has come, or the other end is gone.
    fn hear(&mut self, enough: impl Fn(&Heard) -> bool) -> io::Result<Heard> {
        let mut heard = Heard::default();
        while !enough(&heard) {
            let mut room = [0; 65_536];
            match again(|| self.stream.read(&mut room)) {
                Ok(0) => heard.closed = true,
                Ok(length) => self.incoming.extend_from_slice(&room[..length]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => heard.closed = true,
                Err(error) => return Err(error),
            }
            let mut used = 0;
            while let Some((header, rest)) = Header::split(&self.incoming[used..]) {
                let Some(payload) = rest.get(..usize::from(header.length)) else { break };
                match MiddleboxMessage::decode(header, payload) {
                    Ok(MiddleboxMessage::Positive(reply)) => heard.replies.push(reply),
                    Ok(MiddleboxMessage::Notification(Notification::RuleEvent { lifetime, .. })) => {
                        heard.ended += usize::from(lifetime == Lifetime(0));
                    }
                    other => return Err(io::Error::other(format!("{other:?}"))),
                }
                used += HEADER_LEN + payload.len();
            }
            self.incoming.drain(..used);
            if heard.closed {
                break;
            }
        }
        Ok(heard)
    }
}

/// A rule for a pair of ports of a phone inside.
fn rule(number: u16, lifetime: u32) -> Request {
    let tuple = |address: SocketAddr| Tuple::host(address, Protocol::Udp, 2);
    let [host, port] = [30 + number / 8000, 16_384 + 2 * (number % 8000)];
    Request::Enable {
        parity: Parity::Any,
        direction: Direction::Inbound,
        internal: tuple(([10, 0, 40, u8::try_from(host).unwrap_or(30)], port).into()),
        external: tuple(([198, 51, 100, 21], 0).into()),
        lifetime: Lifetime(lifetime),
        group: None,
    }
}

fn prids(heard: &Heard) -> Vec<Prid> {
    let prid = |reply: &Reply| match reply {
        Reply::Enabled { prid, .. } => Some(*prid),
        _ => None,
    };
    heard.replies.iter().filter_map(prid).collect()
}

const RULES: u16 = 8;
/// No batch takes so many system calls.
const STEPS_MAX: u32 = 200;

/// kill -9 at each system call between the arrival of eight requests and the last of their replies, one after the other.
/// What was confirmed is in the kernel; what is in the kernel was asked for; the next middlebox gets everything closed.
fn every_step() -> Outcome {
    let world = World::new()?;
    let file = world.folder.join("alone.toml").display().to_string();
    let run_dir = world.folder.join("alone").display().to_string();
    std::fs::write(&file, format!("run-dir = {run_dir:?}\nuser = \"nobody\"\n{CONFIG}"))?;
    let mut deaths = BTreeSet::new();
    for step in 1..STEPS_MAX {
        let mut middlebox = Middlebox::start(&world, &file, &run_dir)?;
        let mut agent = middlebox.agent()?;
        let strace = kill_at(&world, middlebox.process.id(), step)?;
        agent.say((0..RULES).map(|number| rule(number, 300)));
        let mut heard = agent.hear(|heard| heard.replies.len() == usize::from(RULES))?;
        if !heard.closed {
            // It may die on its way from the last reply.
            agent.say(std::iter::once(Request::List));
            heard.closed = agent.hear(|heard| !heard.replies.is_empty())?.closed;
        }
        let survived = !heard.closed;
        if survived {
            // Whatever it does next it does not do for this batch.
            middlebox.kill()?;
        }
        drop(strace);
        middlebox.process.wait()?;
        let mut next = Middlebox::start(&world, &file, &run_dir)?;
        let found = next.kernel()?;
        let confirmed = prids(&heard).len();
        let asked: BTreeSet<String> = (0..RULES).map(|number| (16_384 + 2 * number).to_string()).collect();
        expect(
            found.len() >= confirmed,
            true,
            &format!("step {step}: {confirmed} confirmed, kernel {found:?}"),
        )?;
        expect(
            found.iter().all(|entry| asked.iter().any(|port| entry.contains(port))),
            true,
            "only what was asked for",
        )?;
        // Its agent comes back, claims the rules and ends them.
        let mut agent = next.agent()?;
        agent.say((0..RULES).map(|number| rule(number, 300)));
        let heard = agent.hear(|heard| heard.replies.len() == usize::from(RULES))?;
        expect(next.kernel()?.len(), usize::from(RULES), "entries of the rules claimed")?;
        agent.say(prids(&heard).into_iter().map(|prid| Request::Lifetime { prid, lifetime: Lifetime(0) }));
        agent.hear(|heard| heard.replies.len() == usize::from(RULES))?;
        expect(next.kernel()?, Vec::new(), "entries after all was closed")?;
        next.kill()?;
        next.process.wait()?;
        if survived {
            let all = usize::from(RULES);
            let wanted = BTreeSet::from([(0, 0), (all, 0), (all, all)]);
            expect(deaths, wanted, "entries and confirmations after each death")?;
            return Ok(());
        }
        deaths.insert((found.len(), confirmed));
    }
    Err(format!("a batch takes more than {STEPS_MAX} system calls: {deaths:?}").into())
}

/// A middlebox half by itself.
struct Middlebox<'w> {
    world: &'w World,
    file: &'w str,
    run_dir: &'w str,
    process: Child,
}

impl<'w> Middlebox<'w> {
    fn start(world: &'w World, file: &'w str, run_dir: &'w str) -> io::Result<Self> {
        let _ = std::fs::remove_file(format!("{run_dir}/simco.sock"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(["middlebox", "--config", file]).stdin(Stdio::null()).stderr(Stdio::null());
        let process = world.firewall.spawn(&mut command)?;
        let mut middlebox = Self { world, file, run_dir, process };
        while middlebox.connect().is_err() {
            if let Some(status) = middlebox.process.try_wait()? {
                return Err(io::Error::other(format!("the middlebox ended: {status}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(middlebox)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(format!("{}/simco.sock", self.run_dir))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    fn agent(&self) -> io::Result<Agent<UnixStream>> {
        Agent::open(self.connect()?)
    }

    fn kill(&mut self) -> io::Result<()> {
        signal(self.process.id(), "KILL")
    }

    /// What the kernel holds.
    fn kernel(&mut self) -> io::Result<Vec<String>> {
        let arguments = ["pinholes", "--kernel", "-j", "--config", self.file];
        let said = self.world.command(&self.world.firewall, env!("CARGO_BIN_EXE_postern"), &arguments)?;
        let report: serde_json::Value = serde_json::from_str(&said).map_err(io::Error::other)?;
        let entries = report["kernel"].as_array().into_iter().flatten();
        Ok(entries.filter_map(|entry| Some(entry["entry"].as_str()?.to_owned())).collect())
    }
}

/// Has a process killed when it enters its nth system call from now on. Returns when that is arranged.
fn kill_at(world: &World, process: u32, nth: u32) -> io::Result<Program> {
    let inject = format!("inject=all:signal=KILL:when={nth}");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-o",
        &format!("/tmp/strace.{nth}"),
        "-p",
        &process.to_string(),
        "-e",
        "trace=all",
        "-e",
        &inject,
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = world.firewall.spawn(&mut command)?;
    let mut said = BufReader::new(child.stderr.take().ok_or_else(|| io::Error::other("no stderr"))?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    if !line.contains("attached") {
        return Err(io::Error::other(format!("strace: {line}")));
    }
    // Read to its end, so that strace never has to wait for us.
    std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
    Ok(Program::of(child))
}

/// Ten thousand rules of another agent run out in the same second. Each is told, each is closed, and a call that runs
/// loses nothing.
fn ten_thousand() -> Outcome {
    const MANY: u16 = 10_000;
    let world = World::new()?;
    let tcp = format!("listen = [\"{BORDER_OUTSIDE}:7626\"]\npeers = [\"{OUTSIDE}\"]");
    let postern = world.postern(&format!("{CONFIG}\n[middlebox]\n{tcp}\n"))?;
    let witness = Witness::start(&world, &postern)?;
    let stream = connect_to(&world.outside, &format!("{BORDER_OUTSIDE}:7626"))?.0;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut agent = Agent::open(stream)?;
    for first in (0..MANY).step_by(1000) {
        agent.say((first..first + 1000).map(|number| rule(number, 15)));
        let heard = agent.hear(|heard| heard.replies.len() == 1000)?;
        expect(prids(&heard).len(), 1000, "rules")?;
    }
    expect(postern.pinholes()?, (usize::from(MANY) + 2, usize::from(MANY) + 2), "rules and entries")?;
    let heard = agent.hear(|heard| heard.ended == usize::from(MANY))?;
    expect(heard.closed, false, "a session that lives")?;
    witness.more_media()?;
    let tally = witness.media.tally();
    expect(tally.lost, Vec::new(), "packets of the running call lost")?;
    expect(tally.strange, Vec::new(), "packets that are not of the running call")?;
    witness.hang_up()?;
    Ok(())
}

/// The middlebox is dead, nobody protects its table, and somebody deletes it. The next one makes it anew, and the agent
/// gets its rules opened again: the call goes on.
fn table_deleted() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let run = postern.child.id();
    signal(run, "STOP")?;
    signal(postern.half("middlebox")?, "KILL")?;
    postern.wait_for("the table has no owner", || Ok(world.nft("delete table inet postern").is_ok()))?;
    signal(run, "CONT")?;
    postern.wait_for("all that the call needs is open again", || Ok(postern.pinholes()? == (2, 2)))?;
    witness.more_media()?;
    expect(witness.media.tally().strange, Vec::new(), "packets that are not of the running call")?;
    witness.hang_up()?;
    Ok(())
}
