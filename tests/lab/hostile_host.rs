//! A host that does not give what is needed: a clear text, an exit code, and the call that runs goes on.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use netns::Host;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::witness::{Witness, expect};
use crate::world::{CONFIG, Named, Outcome, Postern, World, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("hostile_host::a_full_disk_while_a_call_runs", full_disk),
        ("hostile_host::a_disk_that_is_full_at_the_start", full_at_start),
        ("hostile_host::a_port_already_in_use", port_in_use),
        ("hostile_host::a_second_middlebox", second_middlebox),
        ("hostile_host::files_that_cannot_be_read", unreadable),
        ("hostile_host::a_run_dir_that_cannot_be_written", run_dir),
        ("hostile_host::a_missing_capability", no_capability),
        ("hostile_host::sockets_and_rules_left_by_the_dead", left_over),
        ("hostile_host::wrong_command_lines", command_lines),
    ]
}

const POSTERN: &str = env!("CARGO_BIN_EXE_postern");
/// Somebody without any right.
const NOBODY: &[&str] = &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// Runs a command to its end: exit code, and what it said on either output.
pub(crate) fn run(host: &Host, before: &[&str], arguments: &[&str]) -> io::Result<(Option<i32>, String)> {
    let words = [before, &[POSTERN], arguments].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = host.spawn(&mut command)?.wait_with_output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((output.status.code(), said.concat()))
}

/// It ended with this code and said this.
fn says(told: &(Option<i32>, String), code: i32, words: &str) -> io::Result<()> {
    if told.0 == Some(code) && told.1.contains(words) {
        return Ok(());
    }
    Err(io::Error::other(format!("not exit code {code} and {words:?}: {told:?}")))
}

/// True where there are other users than root; in a user namespace of our own there are none.
fn has_users() -> io::Result<bool> {
    let (program, arguments) = (NOBODY[0], &NOBODY[1..]);
    Ok(Command::new(program).args(arguments).arg("true").stderr(Stdio::null()).status()?.success())
}

/// A file with this configuration and run-dir.
fn file(world: &World, name: &str, run_dir: &str, config: &str) -> io::Result<String> {
    let file = world.folder.join(name);
    fs::write(&file, format!("run-dir = {run_dir:?}\n{config}"))?;
    Ok(file.display().to_string())
}

/// The smallest configuration for a host that has only itself.
const ALONE: &str = r#"
[realm.outside]
listen = ["udp:127.0.0.1:5060"]
[realm.inside]
listen = ["udp:127.0.0.2:5060"]
media  = ["10.0.40.0/24"]
"#;

/// A small disk in a folder.
struct Disk(PathBuf);

impl Disk {
    fn new(folder: PathBuf, options: &str) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        mount(Some("lab"), &folder, Some("tmpfs"), MsFlags::empty(), Some(options))?;
        Ok(Self(folder))
    }

    /// Leaves no room for a byte or a name.
    fn fill(&self) -> io::Result<()> {
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        let mut all = fs::File::create(self.0.join("all"))?;
        while !all.write(&[0; 4096]).as_ref().is_err_and(is_full) {}
        for number in 0.. {
            match fs::create_dir(self.0.join(format!("{number}"))) {
                Err(error) if is_full(&error) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// The disk that holds log and sockets fills up. Calls go on and new ones come; a half that dies comes back.
fn full_disk() -> Outcome {
    let world = World::new()?;
    let disk = Disk::new(world.folder.join("run"), "size=256k,nr_inodes=32")?;
    std::os::unix::fs::symlink(disk.0.join("log"), world.folder.join("postern.log"))?;
    let postern = world.postern(CONFIG)?;
    disk.fill()?;
    let witness = Witness::start(&world, &postern)?;
    witness.is_unharmed_and_alone()?;
    let agent = postern.half("agent")?;
    signal(postern.half("middlebox")?, "KILL")?;
    witness.more_media()?;
    postern
        .wait_for("the middlebox half is back", || Ok(postern.is_up()? && postern.pinholes()? == (2, 2)))?;
    expect(postern.half("agent")?, agent, "the agent half's process")?;
    witness.hang_up()?;
    signal(agent, "KILL")?;
    postern.wait_for("the agent half is back", || Ok(postern.half("agent")? != agent && postern.is_up()?))?;
    let witness = Witness::start(&world, &postern)?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    let (_, status) = postern.terminate()?;
    assert_eq!(status, Some(0), "exit status of postern run");
    Ok(())
}

fn full_at_start() -> Outcome {
    let world = World::new()?;
    let disk = Disk::new(world.folder.join("disk"), "size=16k,nr_inodes=4")?;
    disk.fill()?;
    for (run_dir, words) in [("disk", ".sock: the disk is full"), ("disk/run", "the disk is full")] {
        let run_dir = world.folder.join(run_dir).display().to_string();
        let file = file(&world, "full.toml", &run_dir, ALONE)?;
        says(&run(&world.third, &[], &["run", &file])?, 1, words)?;
    }
    Ok(())
}

fn with_a_call(others: impl FnOnce(&World, &Postern<'_>) -> io::Result<()>) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    others(&world, &postern)?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

fn port_in_use() -> Outcome {
    with_a_call(|world, postern| {
        let other = file(world, "other.toml", &world.folder.join("other").display().to_string(), CONFIG)?;
        let words = "port already in use: udp 198.51.100.1:5060; another SIP server is running there?";
        says(&run(&world.firewall, &[], &["agent", &other])?, 1, words)?;
        says(
            &run(&world.firewall, &[], &["check", &other])?,
            1,
            "port already in use: udp 198.51.100.1:5060",
        )?;
        let same = postern.file.display().to_string();
        says(&run(&world.firewall, &[], &["agent", &same])?, 1, words)?;
        says(&run(&world.firewall, &[], &["run", &same])?, 1, "could not start")?;
        let tcp = CONFIG.replace("\"udp:198.51.100.1:5060\", ", "").replace("\"udp:10.0.40.1:5060\", ", "");
        let tcp = tcp.replace("10.0.40.20\"", "10.0.40.20;transport=tcp\"");
        let tcp = tcp.replace("198.51.100.20\"", "198.51.100.20;transport=tcp\"");
        let tcp = file(world, "tcp.toml", &world.folder.join("other").display().to_string(), &tcp)?;
        says(&run(&world.firewall, &[], &["agent", &tcp])?, 1, "port already in use: tcp 198.51.100.1:5060")
    })
}

fn second_middlebox() -> Outcome {
    with_a_call(|world, postern| {
        let other = file(world, "other.toml", &world.folder.join("other").display().to_string(), CONFIG)?;
        let holder = format!("process {}", postern.half("middlebox")?);
        for arguments in [["middlebox", &other].as_slice(), &["middlebox", "--remove", &other]] {
            says(&run(&world.firewall, &[], arguments)?, 1, &holder)?;
        }
        Ok(())
    })
}

fn unreadable() -> Outcome {
    with_a_call(|world, _| {
        let host = &world.firewall;
        let secret = file(world, "secret.toml", "/run/postern", CONFIG)?;
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let missing = world.folder.join("missing.toml").display().to_string();
        let folder = world.folder.display().to_string();
        let binary = file(world, "binary.toml", "/run/postern", "")?;
        fs::write(&binary, [0xff, 0xfe, 0x00])?;
        let huge = file(world, "huge.toml", "/run/postern", &"#\n".repeat(3 << 20))?;
        let wrong = file(world, "wrong.toml", "/run/postern", &CONFIG.replace("media ", "medai "))?;
        for command in ["run", "agent", "middlebox", "check"] {
            says(&run(host, &[], &[command, &missing])?, 2, "missing.toml: no such file")?;
            says(&run(host, &[], &[command, &folder])?, 2, "is a directory, not a file")?;
            says(&run(host, &[], &[command, &binary])?, 2, "byte 0 is not UTF-8")?;
            says(&run(host, &[], &[command, &huge])?, 2, "a configuration has at most")?;
            says(&run(host, &[], &[command, &wrong])?, 2, "did you mean `media`?")?;
            if has_users()? {
                says(&run(host, NOBODY, &[command, &secret])?, 2, "secret.toml: permission denied")?;
            }
        }
        // Whoever names a file does not mean another Postern that may run at the usual place.
        for command in [["calls", "--config"].as_slice(), &["kick", "1", "--config"], &["status", "--config"]]
        {
            let told = run(host, &[], &[command, &[&missing]].concat())?;
            says(&told, 2, "missing.toml: no such file")?;
            says(&told, 2, "--run-dir DIR says it without a file")?;
        }
        Ok(())
    })
}

fn run_dir() -> Outcome {
    let world = World::new()?;
    let disk = Disk::new(world.folder.join("disk"), "size=16k")?;
    fs::write(disk.0.join("file"), "")?;
    mount(None::<&str>, &disk.0, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>)?;
    for (run_dir, words) in [
        ("disk", "Read-only file system"),
        ("disk/run", "Read-only file system"),
        ("disk/file", "File exists (os error 17); name another one with `run-dir`"),
    ] {
        let run_dir = world.folder.join(run_dir).display().to_string();
        let file = file(&world, "other.toml", &run_dir, ALONE)?;
        says(&run(&world.third, &[], &["run", &file])?, 1, words)?;
    }
    let long = world.folder.join("x".repeat(100)).display().to_string();
    let long = file(&world, "other.toml", &long, ALONE)?;
    says(&run(&world.third, &[], &["run", &long])?, 1, "the path is too long for a socket")?;
    if has_users()? {
        let mine = world.folder.join("mine").display().to_string();
        let mine = file(&world, "other.toml", &mine, ALONE)?;
        let told = run(&world.third, NOBODY, &["agent", &mine])?;
        says(&told, 1, "run as root or name another one with `run-dir`")?;
    }
    Ok(())
}

fn no_capability() -> Outcome {
    let world = World::new()?;
    let file = file(&world, "other.toml", &world.folder.join("run").display().to_string(), ALONE)?;
    let without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    for arguments in [["run", &file].as_slice(), &["middlebox", &file], &["middlebox", "--remove", &file]] {
        let told = run(&world.third, &without, arguments)?;
        says(&told, 1, "the middlebox needs CAP_NET_ADMIN: run as root, or with")?;
    }
    // What needs no privilege works without.
    says(&run(&world.third, &without, &["middlebox", "--dry-run", &file])?, 0, "table inet postern")?;
    let tables = world.command(&world.third, "nft", &["list", "tables"])?;
    expect(tables, String::new(), "tables that were made")?;
    Ok(())
}

/// Everything dies at once, sockets and rules stay; the next Postern takes over, and closes what belongs to no call.
fn left_over() -> Outcome {
    let config = format!("{CONFIG}\n[timers]\nrule-lifetime = \"10s\"\n");
    let world = World::new()?;
    let postern = world.postern(&config)?;
    let witness = Witness::start(&world, &postern)?;
    let all = [postern.child.id(), postern.half("agent")?, postern.half("middlebox")?];
    for (name, process) in ["STOP", "KILL"].iter().flat_map(|name| all.map(|process| (name, process))) {
        signal(process, name)?;
    }
    witness.more_media()?;
    let told = run(&world.firewall, &[], &["status", "--config", &postern.file.display().to_string()])?;
    says(&told, 1, "no postern answers at")?;
    drop(witness);
    drop(postern);
    let postern = world.postern(&config)?;
    postern.wait_for("the rules of the dead are closed", || Ok(postern.pinholes()? == (0, 0)))?;
    let witness = Witness::start(&world, &postern)?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

fn command_lines() -> Outcome {
    let host = Host::new("alone")?;
    let commands = [
        "demo",
        "run",
        "agent",
        "middlebox",
        "check",
        "calls",
        "call",
        "pinholes",
        "kick",
        "revoke",
        "status",
    ];
    for command in commands {
        for flag in ["--help", "-h"] {
            let told = run(&host, &[], &[command, flag])?;
            says(&told, 0, "Usage: postern ")?;
            says(&told, 0, "Exit codes:")?;
        }
        says(&run(&host, &[], &[command, "--dance"])?, 2, "'--dance'")?;
    }
    let help = run(&host, &[], &["--help"])?;
    commands.iter().try_for_each(|command| says(&help, 0, command))?;
    says(&run(&host, &[], &["--version"])?, 0, env!("CARGO_PKG_VERSION"))?;
    for (arguments, words) in [
        ([].as_slice(), "Usage: postern"),
        (&["dance"], "'dance'"),
        (&["kick"], "<ID>"),
        (&["kick", "first"], "'first'"),
        (&["kick", "99999999999999999999"], "99999999999999999999"),
        (&["revoke", "4294967296"], "4294967296"),
        (&["run", "one", "two"], "'two'"),
        (&["middlebox", "--remove", "--dry-run"], "cannot be used with"),
    ] {
        says(&run(&host, &[], arguments)?, 2, words)?;
    }
    Ok(())
}
