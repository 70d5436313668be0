//! Where flows are played on a real kernel: the agent with a clock that the lab moves, a [`Gatekeeper`] where a flow plays the
//! middlebox, the real middlebox behind that, and a seat for each phone. `play.rs` plays a flow there.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use flows::kernel::{OWN, SECOND, SOCKET};
use midcom::Capabilities;
use netns::Host;
use serde_json::Value;

use crate::clock::Clock;
use crate::door::Door;
use crate::gatekeeper::Gatekeeper;
use crate::seat::Seat;
use crate::world::{Postern, World};

/// How long a message may take; it only bounds a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How far the clock goes on at a time while an agent finds its middlebox again.
const RECONNECT: Duration = Duration::from_millis(20);
/// The longest time that is drawn by lot, and some more.
pub(crate) const LOT: Duration = Duration::from_millis(4100);
/// Longer than any timer of a call that is over, and longer than a phone's inability is remembered.
const REST: [u64; 12] = [1, 1, 1, 2, 33, 33, 70, 200, 300, 600, 3700, 1];

/// See the module.
pub(crate) struct Stage<'w> {
    pub(crate) agent: Postern<'w>,
    /// None, one, or two in a row.
    pub(crate) middleboxes: Vec<(Postern<'w>, Gatekeeper)>,
    pub(crate) clock: Clock,
    /// A and B outside and inside, C outside, D inside.
    pub(crate) outside: Seat,
    pub(crate) inside: Seat,
    pub(crate) second_outside: Seat,
    pub(crate) second_inside: Seat,
    pub(crate) runs: usize,
    pings: u64,
    /// The agent has been told to stop, and it has.
    pub(crate) is_stopping: bool,
    pub(crate) is_over: bool,
}

impl<'w> Stage<'w> {
    /// Both halves with this configuration, and gatekeepers that say this of themselves. The second middlebox, if the
    /// configuration has one, is on the host of the core.
    pub(crate) fn new(
        world: &'w World,
        core: Option<&Host>,
        config: &str,
        capabilities: Capabilities,
    ) -> io::Result<Self> {
        let own = world.folder.join("own.sock");
        // Of the stage before, if a flow has ended badly on it.
        let _ = fs::remove_file(&own);
        let mut clock = Clock::new(&world.folder)?;
        let mut middleboxes = Vec::new();
        if !config.contains("engine = \"none\"") {
            let (program, socket) = real(world, &world.firewall, "edge", "run", config)?;
            middleboxes.push((program, Gatekeeper::new(Door::unix(&own)?, &socket)?));
        }
        if let Some(core) = core {
            // Its outside is where the edge is, which no listener tells it.
            let config = config.replace("[realm.outside]", "[realm.outside]\ninterfaces = [\"outside0\"]");
            let (program, socket) = real(world, core, "core", "run-core", &config)?;
            let door = Door::tcp(&world.firewall, SECOND)?;
            middleboxes.push((program, Gatekeeper::new(door, &socket)?));
        }
        for (_, gatekeeper) in &mut middleboxes {
            gatekeeper.be(capabilities);
        }
        clock.release()?;
        let config = config.replace(SOCKET, &own.display().to_string());
        let agent = world.half("agent", &config, |command| clock.give_to(command))?;
        let seat = |host, address, border| Seat::new(host, address, border);
        let (outside, inside) = ("203.0.113.1:5060", "10.0.0.1:5060");
        let mut stage = Self {
            agent,
            middleboxes,
            clock,
            outside: seat(&world.outside, "192.0.2.10:5060", outside)?,
            inside: seat(&world.inside, "10.0.0.5:5060", inside)?,
            second_outside: seat(&world.outside, "192.0.2.11:5060", outside)?,
            second_inside: seat(&world.inside, "10.0.0.6:5060", inside)?,
            runs: 0,
            pings: 0,
            is_stopping: false,
            is_over: false,
        };
        stage.begin()?;
        Ok(stage)
    }

    /// Waits until the agent is there and has its session; then its clock stands still.
    fn begin(&mut self) -> io::Result<()> {
        let Self { agent, middleboxes, .. } = self;
        agent.wait_for("the agent serves", || {
            if middleboxes.is_empty() {
                return agent.json(&["status"]).map(|_| true);
            }
            let mut all = true;
            for (_, gatekeeper) in middleboxes.iter_mut() {
                gatekeeper.poll()?;
                all &= gatekeeper.is_open() && gatekeeper.open() > 0;
            }
            Ok(all)
        })?;
        self.clock.stop()?;
        self.rest()
    }

    /// Waits until the agent knows that its first middlebox is away.
    pub(crate) fn is_noticed(&self) -> io::Result<()> {
        if self.is_stopping {
            return Ok(());
        }
        // The command fails while one is away.
        let is_away =
            || Ok(self.agent.json(&["status"]).map_or(true, |it| it["middleboxes"][0]["up"] == false));
        self.agent.wait_for("the agent knows that its middlebox is away", is_away)
    }

    /// Lets everything of a flow come to its end, and finds that nothing is left.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        // An agent remembers of a session what its middlebox cannot do.
        for (_, gatekeeper) in &mut self.middleboxes {
            gatekeeper.down();
        }
        self.is_taken_in()?;
        for (_, gatekeeper) in &mut self.middleboxes {
            gatekeeper.up();
        }
        self.come_back()?;
        let calls = self.agent.json(&["calls"])?;
        for id in each(&calls, "calls").filter_map(|call| call["id"].as_u64()) {
            // It may have ended by itself meanwhile.
            let _gone = self.agent.text(&["kick", &id.to_string()]);
        }
        for seconds in REST {
            self.come_back()?;
            self.grant_all()?;
            self.clock.advance(Duration::from_secs(seconds))?;
            self.grant_all()?;
        }
        let calls = self.agent.json(&["calls"])?;
        if each(&calls, "calls").next().is_some() {
            return Err(io::Error::other(format!("calls are left: {calls}")));
        }
        for (middlebox, gatekeeper) in &mut self.middleboxes {
            if !gatekeeper.rules().is_empty() || middlebox.pinholes()? != (0, 0) {
                return Err(io::Error::other(format!("rules are left: {:?}", gatekeeper.rules())));
            }
            gatekeeper.begin();
        }
        Ok(())
    }

    /// Grants whatever is asked until nothing is asked any more.
    fn grant_all(&mut self) -> io::Result<()> {
        loop {
            self.is_taken_in()?;
            self.listen()?;
            let mut any = false;
            for (_, gatekeeper) in &mut self.middleboxes {
                while gatekeeper.open() > 0 {
                    gatekeeper.answer(0, None)?;
                    any = true;
                }
            }
            if !any {
                return Ok(());
            }
        }
    }

    /// Takes in what has arrived anywhere, or waits a moment.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        let mut any = false;
        for (_, gatekeeper) in &mut self.middleboxes {
            any |= gatekeeper.poll()?;
        }
        for seat in [&mut self.outside, &mut self.inside, &mut self.second_outside, &mut self.second_inside] {
            any |= seat.listen()?;
        }
        if !any {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Waits until the program has done what there was to do: until it has answered, twice and on each side, what came
    /// behind that. A look that had begun before ends with the first answer.
    pub(crate) fn is_taken_in(&mut self) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        for _ in 0..2 {
            self.pings += 1;
            let number = self.pings;
            self.outside.ping(number)?;
            self.inside.ping(number)?;
            let until = Instant::now() + PATIENCE;
            while !self.outside.has_pong(number) || !self.inside.has_pong(number) {
                self.listen()?;
                if Instant::now() > until {
                    return Err(io::Error::other(format!(
                        "nothing is answered any more\n{}",
                        self.agent.log()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Lets time pass until the program says something. From then on its time and that of the machine run together again.
    pub(crate) fn until_it_says_something(&mut self, most: Duration) -> io::Result<()> {
        for _ in 0..most.as_millis() / RECONNECT.as_millis() {
            self.clock.advance(RECONNECT)?;
            self.is_taken_in()?;
            let seats = [&self.outside, &self.inside, &self.second_outside, &self.second_inside];
            let asked = self.middleboxes.iter().any(|(_, gatekeeper)| gatekeeper.open() > 0);
            if asked || seats.iter().any(|seat| seat.has_news()) {
                return Ok(());
            }
        }
        Err(io::Error::other("nothing is tried again"))
    }

    /// Lets the agent find its middlebox again, if that is up.
    pub(crate) fn come_back(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.middleboxes.iter().any(|(_, gatekeeper)| !gatekeeper.is_open()) {
            self.clock.advance(RECONNECT)?;
            self.is_taken_in()?;
            if Instant::now() > until {
                return Err(io::Error::other("the agent does not connect again"));
            }
        }
        Ok(())
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // Its clock stands still: it would never be done with an orderly end.
        let _ = self.agent.child.kill();
    }
}

/// A real middlebox on a host, by its name and folder, and its socket.
fn real<'w>(
    world: &'w World,
    host: &Host,
    name: &str,
    folder: &str,
    config: &str,
) -> io::Result<(Postern<'w>, std::path::PathBuf)> {
    let socket = world.folder.join(format!("{name}.sock"));
    // Of the stage before, if a flow has ended badly on it.
    let _ = fs::remove_file(&socket);
    let _ = world.command(host, "nft", &["delete", "table", "inet", "postern"]);
    let (shared, _) = config.split_once(OWN).ok_or_else(|| io::Error::other("no middlebox"))?;
    // Where there are several, the section is one of a list for the agent alone.
    let config =
        format!("{}{OWN}\nsocket = {:?}\n", shared.trim_end_matches('['), socket.display().to_string());
    let program = world.half_on(host, ("middlebox", name), folder, &config, |_| {})?;
    program.wait_for("the middlebox is there", || Ok(is_there(&socket)))?;
    Ok((program, socket))
}

fn is_there(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

/// The entries of a list in what a command has printed.
pub(crate) fn each<'r>(report: &'r Value, list: &str) -> impl Iterator<Item = &'r Value> {
    report[list].as_array().into_iter().flatten()
}
