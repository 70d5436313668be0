//! `postern run`: keeps the two halves running as separate processes, and ends them in order.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};

use crate::admin::reload::{self, Trouble};
use crate::cli::{OK, Outcome, PROBLEM, USAGE};
use crate::config::{Config, Engine};
use crate::runtime::{Failure, Signals, Told, block_on};
use crate::{log, runtime};

/// First wait before a half is started again.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A half that ran this long was well: the next wait is the first again.
const WELL: Duration = Duration::from_secs(10);
/// A half that ends by itself within this time of the very first start could not start.
const STARTING: Duration = Duration::from_secs(2);
/// How long the agent half may take to end its calls.
const AGENT_STOP_MAX: Duration = Duration::from_millis(4_200);
/// How long the middlebox half may take to end.
const MIDDLEBOX_STOP_MAX: Duration = Duration::from_millis(500);

/// Variables of the environment that the halves are given.
const KEPT: [&str; 4] = ["LANG", "PATH", "RUST_BACKTRACE", "TZ"];

/// One half.
struct Half {
    name: &'static str,
    command: Vec<PathBuf>,
    child: Option<Child>,
    started: Instant,
    restarts: u32,
    wait: Duration,
    /// When it is to be started again.
    due: Option<Instant>,
}

/// Runs both halves until a signal.
pub(crate) fn run(config: &Config, file: &Path, run_dir: Option<&Path>, remove: bool) -> Outcome {
    log::start("run", config.log);
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let local = config.middlebox.is_local();
    let half = |name| Half::new(name, &program, file, run_dir);
    let mut halves = Vec::new();
    if local {
        halves.push(half("middlebox"));
    }
    halves.push(half("agent"));
    advise(config, file);
    let (file, run_dir) = (file.to_owned(), config.run_dir.clone());
    let code =
        block_on(async { Supervisor { halves, signals: Signals::listen()?, file, run_dir }.run().await })
            .map_err(|Failure::Start(text)| text)?;
    if remove && local {
        runtime::gate::remove(config)?;
        log::info(format_args!("our table is deleted"));
    }
    Ok(code)
}

/// What is to be looked at first when calls do not come through.
fn advise(config: &Config, file: &Path) {
    if config.middleboxes.iter().any(|middlebox| middlebox.engine == Engine::Nftables) {
        log::info(format_args!(
            "`postern check {}` proves that the firewall accepts what the gate marks",
            file.display()
        ));
    }
}

/// The process that has started a half, which must not outlive it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent(Pid);

impl Parent {
    /// To be called early: a parent that is gone by then would be taken for another.
    pub(crate) fn find() -> Self {
        Self(getppid())
    }

    /// Ends this process when the parent is killed, as hard as it was: a call that could go on is not ended for it
    /// (`docs/pinholes.md`, "what is promised"), and whoever starts Postern again finds every socket free. To be
    /// called after the last change of user, which makes the kernel forget it.
    pub(crate) fn follow(self) {
        // Where the kernel refuses, a lost parent is noticed by nobody, and nothing else is harmed.
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        if getppid() != self.0 {
            let _ = raise(Signal::SIGKILL);
        }
    }
}

struct Supervisor {
    halves: Vec<Half>,
    signals: Signals,
    file: PathBuf,
    run_dir: PathBuf,
}

/// What woke the supervisor.
enum Wake {
    Stop,
    Reload,
    Ended(usize, ExitStatus),
    Due,
}

impl Supervisor {
    async fn run(mut self) -> Result<u8, Failure> {
        for half in &mut self.halves {
            half.start()?;
        }
        loop {
            match self.wait().await {
                Wake::Stop => return Ok(self.stop(OK).await),
                Wake::Reload => self.reload(),
                Wake::Ended(position, status) => {
                    if let Some(code) = self.ended(position, status) {
                        return Ok(self.stop(code).await);
                    }
                }
                Wake::Due => self.start_due()?,
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let due = self.halves.iter().filter_map(|half| half.due).min();
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let (first, second) = self.halves.split_at_mut(1);
        tokio::select! {
            told = self.signals.next() => match told {
                Told::Stop => Wake::Stop,
                Told::Reload => Wake::Reload,
            },
            status = ended(first.first_mut()) => Wake::Ended(0, status),
            status = ended(second.first_mut()) => Wake::Ended(1, status),
            () = timer => Wake::Due,
        }
    }

    /// As `postern reload`, beside the loop: it waits for the halves.
    fn reload(&self) {
        let (file, run_dir) = (self.file.clone(), self.run_dir.clone());
        let work = move || match reload::halves(&file, &run_dir) {
            Ok(changed) if changed.is_empty() => log::info(format_args!("reloaded: nothing has changed")),
            Ok(changed) => log::info(format_args!("reloaded: {}", changed.join(", "))),
            Err(Trouble::File(text) | Trouble::Half(text)) => {
                log::error(format_args!("not reloaded, what runs stays as it is:\n{}", text.trim_end()));
            }
        };
        tokio::task::spawn_blocking(work);
    }

    /// A half has ended by itself: it is started again, unless there is no point; then the exit code.
    fn ended(&mut self, position: usize, status: ExitStatus) -> Option<u8> {
        let half = self.halves.get_mut(position)?;
        half.child = None;
        let ran = half.started.elapsed();
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        if half.restarts == 0 && ran < STARTING && code.is_some() {
            log::error(format_args!("the {} half could not start", half.name));
            return Some(code.filter(|code| *code == USAGE).unwrap_or(PROBLEM));
        }
        if ran > WELL {
            half.wait = WAIT_MIN;
        }
        log::error(format_args!(
            "the {} half ended ({status}); starting it again in {:?}",
            half.name, half.wait
        ));
        half.due = Some(Instant::now() + half.wait);
        half.wait = (half.wait * 2).min(WAIT_MAX);
        half.restarts = half.restarts.saturating_add(1);
        None
    }

    fn start_due(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        for half in self.halves.iter_mut().filter(|half| half.due.is_some_and(|due| due <= now)) {
            half.start()?;
        }
        Ok(())
    }

    /// The agent half first, so that it can still close its pinholes; then the middlebox half.
    async fn stop(mut self, code: u8) -> u8 {
        for half in self.halves.iter_mut().rev() {
            let patience = if half.name == "agent" { AGENT_STOP_MAX } else { MIDDLEBOX_STOP_MAX };
            half.stop(patience).await;
        }
        code
    }
}

async fn ended(half: Option<&mut Half>) -> ExitStatus {
    match half.and_then(|half| half.child.as_mut()) {
        Some(child) => match child.wait().await {
            Ok(status) => status,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Half {
    fn new(name: &'static str, program: &Path, file: &Path, run_dir: Option<&Path>) -> Self {
        let mut command: Vec<PathBuf> = vec![program.into(), name.into(), "--supervised".into()];
        command.extend(["--config".into(), file.into()]);
        if let Some(run_dir) = run_dir {
            command.extend(["--run-dir".into(), run_dir.into()]);
        }
        let started = Instant::now();
        Self { name, command, child: None, started, restarts: 0, wait: WAIT_MIN, due: None }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| Failure::Start("nothing to start".into()))?;
        let child = Command::new(program)
            .args(arguments)
            // The half that reads what strangers write need not know what root's environment knows.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept)))
            .stdin(Stdio::null())
            // A Ctrl-C at the terminal reaches us alone; the order of ending is ours.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::Start(format!("cannot start the {} half: {error}", self.name)))?;
        self.child = Some(child);
        self.started = Instant::now();
        self.due = None;
        Ok(())
    }

    async fn stop(&mut self, patience: Duration) {
        let Some(child) = &mut self.child else { return };
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(patience, child.wait()).await.is_err() {
            log::warn(format_args!("the {} half did not end within {patience:?}; killed", self.name));
            let _ = child.kill().await;
        }
    }
}
