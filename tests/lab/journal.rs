//! Rules that are written down: they survive the middlebox half and the machine it runs on.
//!
//! The agent is on another host, so that the call goes on while the core firewall is away.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount, umount};

use crate::clock::Clock;
use crate::row::{AGENT_AT_CORE, AGENT_AT_EDGE, CORE, EDGE, Half, Row, Talk};
use crate::witness::expect;
use crate::world::{Named, Outcome, Program, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("journal::rules_survive_the_machine_with_their_identifiers", reboot),
        ("journal::a_damaged_journal_is_put_aside_and_agents_are_waited_for", damaged),
        ("journal::a_full_disk_lets_nothing_be_made_and_everything_end", full),
        ("journal::what_has_ended_on_a_disk_gone_read_only_does_not_come_back", read_only),
        ("journal::a_clock_that_is_set_ends_no_rule", clock_set),
    ]
}

/// Both firewalls with the call through them, and the agent on its own host.
struct Scene<'r> {
    row: &'r Row,
    edge: Half<'r>,
    core: Half<'r>,
    agent: Half<'r>,
    file: PathBuf,
}

impl<'r> Scene<'r> {
    fn new(row: &'r Row, folder: &str) -> io::Result<Self> {
        let file = row.world.folder.join(folder).join("rules");
        let edge = row.edge(&format!("listen = [\"{EDGE}:7626\"]\npeers = [\"{AGENT_AT_EDGE}\"]\n"))?;
        let core = row.core(&keys(&file))?;
        let agent = row.agent(&format!(
            "[[middlebox]]\nname = \"edge\"\nconnect = \"{EDGE}\"\n\n[[middlebox]]\nname = \"core\"\nconnect = \"{CORE}\"\n"
        ))?;
        agent.wait_up(&["edge", "core"])?;
        Ok(Self { row, edge, core, agent, file })
    }

    /// The core dies hard; `then` is what happens to its host before it is started again.
    fn core_restarts(self, then: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<Self> {
        let Self { row, edge, core, agent, file } = self;
        signal(core.program.id(), "KILL")?;
        // Waits for its end.
        drop(core);
        agent.wait_up(&["edge"])?;
        then(&file)?;
        let core = row.core(&keys(&file))?;
        Ok(Self { row, edge, core, agent, file })
    }
}

fn keys(file: &Path) -> String {
    format!(
        "listen = [\"{CORE}:7626\"]\npeers = [\"{AGENT_AT_CORE}\"]\njournal = {:?}\n",
        file.display().to_string()
    )
}

/// Identifiers of what is open, and what is denied.
fn identifiers(half: &Half<'_>) -> io::Result<Vec<String>> {
    let (open, denied) = (half.json(&["pinholes"])?, half.json(&["deny", "--list"])?);
    let of = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|line| line["pid"].to_string()).collect()
    };
    Ok([of(&open["rules"]), of(&denied["denials"])].concat())
}

fn reboot() -> Outcome {
    let row = Row::new()?;
    let scene = Scene::new(&row, "")?;
    let talk = Talk::start(&row)?;
    talk.goes_on(&scene.agent)?;
    scene.core.wait_rules(2)?;
    scene.core.json(&["deny", "10.0.40.99", "--for", "1h"])?;
    let before = identifiers(&scene.core)?;
    expect(before.len(), 3, "two rules and a denial")?;
    // What a start of the machine leaves of our table: nothing.
    let scene = scene.core_restarts(|file| {
        row.world.command(&row.core, "nft", &["delete", "table", "inet", "postern"]).map(drop)?;
        expect(file.exists(), true, "there is a journal")
    })?;
    expect(identifiers(&scene.core)?, before.clone(), "the same rules, before any agent was back")?;
    scene.agent.wait_up(&["edge", "core"])?;
    talk.goes_on(&scene.agent)?;
    expect(identifiers(&scene.core)?, before.clone(), "the agent has found its rules and kept them")?;
    let kernel = scene.core.json(&["pinholes", "--kernel"])?;
    expect(kernel["kernel"].as_array().map(Vec::len), Some(2), &format!("elements in {kernel}"))?;
    // Only the process.
    let scene = scene.core_restarts(|_| Ok(()))?;
    scene.agent.wait_up(&["edge", "core"])?;
    expect(identifiers(&scene.core)?, before, "the same rules once more")?;
    talk.hang_up()?;
    scene.core.wait_rules(0)?;
    scene.edge.wait_rules(0)?;
    let scene = scene.core_restarts(|_| Ok(()))?;
    expect(scene.core.rules()?, 0, "what has ended does not come back")?;
    Ok(())
}

fn damaged() -> Outcome {
    let row = Row::new()?;
    let scene = Scene::new(&row, "")?;
    let talk = Talk::start(&row)?;
    scene.core.wait_rules(2)?;
    let scene = scene.core_restarts(|file| {
        let mut text = fs::read(file)?;
        text[30] ^= 0xff;
        fs::write(file, text)
    })?;
    expect(scene.core.log().contains("cannot be read"), true, "it says so")?;
    // What the kernel holds waits for the agent, which enables it again.
    scene.agent.wait_up(&["edge", "core"])?;
    scene.core.wait_rules(2)?;
    talk.goes_on(&scene.agent)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost")?;
    talk.hang_up()?;
    scene.core.wait_rules(0)?;
    Ok(())
}

/// From one moment on the file can be neither written nor taken away. What ends then is in it for ever.
fn read_only() -> Outcome {
    let row = Row::new()?;
    let scene = Scene::new(&row, "")?;
    let talk = Talk::start(&row)?;
    talk.goes_on(&scene.agent)?;
    scene.core.wait_rules(2)?;
    let before = fs::read(&scene.file)?;
    let protected = protect(&row, scene.core.program.id(), &scene.file)?;
    talk.hang_up()?;
    scene.core.wait_rules(0)?;
    expect(fs::read(&scene.file)?, before, "what the file says")?;
    let Scene { row, core, agent, file, .. } = scene;
    let log = core.log();
    expect(log.contains("the journal cannot be taken away either"), true, &log)?;
    // Nobody is there to close again what would come back.
    drop(agent);
    signal(core.program.id(), "KILL")?;
    drop((core, protected));
    let core = row.core(&keys(&file))?;
    expect(core.rules()?, 0, "rules that ended")?;
    let kernel = core.json(&["pinholes", "--kernel"])?;
    expect(kernel["kernel"].as_array().map(Vec::len), Some(0), &format!("elements in {kernel}"))?;
    expect(core.log().contains("is not true any more"), true, &core.log())?;
    core.json(&["deny", "10.0.40.99"])?;
    let there = identifiers(&core)?;
    signal(core.program.id(), "KILL")?;
    drop(core);
    expect(identifiers(&row.core(&keys(&file))?)?, there, "it is written and read again")?;
    Ok(())
}

/// Every system call of a process that touches its journal fails from now on, as on a file system that is read-only.
fn protect(row: &Row, process: u32, file: &Path) -> io::Result<Program> {
    let path = |file: &Path| file.display().to_string();
    let (file, beside) = (path(file), path(&file.with_extension("new")));
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-p", &process.to_string(), "-P", &file, "-P", &beside]);
    command.args(["-e", "trace=all", "-e", "inject=all:error=EROFS"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = row.core.spawn(&mut command)?;
    let mut said = BufReader::new(child.stderr.take().ok_or_else(|| io::Error::other("no stderr"))?);
    let mut line = String::new();
    while !line.contains("attached") {
        if said.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("strace: {line}")));
        }
    }
    // Read to its end, so that strace never has to wait for us.
    std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
    Ok(Program::of(child))
}

/// Somebody sets the clock of the core's host more than a year ahead, two years back, and right again: rules live as
/// long as they were to live, on disk too.
fn clock_set() -> Outcome {
    const YEAR: i64 = 365 * 86_400;
    let mut row = Row::new()?;
    row.clock = Some(Clock::new(&row.world.folder)?);
    let mut scene = Scene::new(&row, "")?;
    let talk = Talk::start(&row)?;
    scene.core.wait_rules(2)?;
    let before = identifiers(&scene.core)?;
    for (times, by) in [YEAR, -YEAR, 0].into_iter().enumerate() {
        row.clock.as_ref().map_or(Ok(()), |clock| clock.set_wall(by))?;
        let noticed = || scene.core.log().matches("the clock was set").count() > times;
        scene.core.wait_for("it is noticed", || Ok(noticed()))?;
        talk.goes_on(&scene.agent)?;
        expect(identifiers(&scene.core)?, before.clone(), "the same rules")?;
        scene = scene.core_restarts(|_| Ok(()))?;
        scene.agent.wait_up(&["edge", "core"])?;
        expect(identifiers(&scene.core)?, before.clone(), "the same rules after a restart")?;
    }
    expect(talk.media.tally().lost, Vec::new(), "packets lost")?;
    talk.hang_up()?;
    scene.core.wait_rules(0)?;
    Ok(())
}

fn full() -> Outcome {
    let row = Row::new()?;
    let folder = row.world.folder.join("disk");
    fs::create_dir_all(&folder)?;
    mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
        .map_err(io::Error::from)?;
    let tested = on_full_disk(&row);
    umount(&folder).map_err(io::Error::from)?;
    tested
}

fn on_full_disk(row: &Row) -> Outcome {
    let scene = Scene::new(row, "disk")?;
    let talk = Talk::start(row)?;
    talk.goes_on(&scene.agent)?;
    scene.core.wait_rules(2)?;
    let filler = scene.file.with_file_name("filler");
    // As much as fits; the last page of the journal has room for a few rules more.
    let _ = fs::write(&filler, vec![1; 128 << 10]);
    let mut denied = 0;
    while scene
        .core
        .json(&["deny", &format!("10.0.40.{}", 100 + denied)])
        .is_ok_and(|said| said["pid"].is_u64())
    {
        denied += 1;
        expect(denied < 150, true, "the disk is full at last")?;
    }
    expect(scene.core.log().contains("the journal cannot be written"), true, "it says why")?;
    expect(scene.file.exists(), false, "no journal rather than a wrong one")?;
    talk.goes_on(&scene.agent)?;
    talk.hang_up()?;
    scene.core.wait_rules(0)?;
    fs::remove_file(&filler)?;
    scene
        .core
        .wait_for("it can be written again", || Ok(scene.core.log().contains("can be written again")))?;
    scene.core.json(&["deny", "10.0.40.99"])?;
    let before = identifiers(&scene.core)?;
    let scene = scene.core_restarts(|_| Ok(()))?;
    expect(identifiers(&scene.core)?, before, "everything is written down")?;
    Ok(())
}
