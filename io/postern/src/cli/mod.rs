//! The commands, one file each.

mod agent;
mod bans;
mod call;
mod calls;
mod check;
mod demo;
mod deny;
mod explain;
mod kick;
mod middlebox;
mod pinholes;
mod print;
mod registrations;
mod reload;
mod revoke;
mod run;
mod status;
mod trunks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config};

/// Everything is as it should be.
pub(crate) const OK: u8 = 0;
/// A problem was found, or what was asked for could not be done.
pub(crate) const PROBLEM: u8 = 1;
/// The command line or the configuration is wrong.
pub(crate) const USAGE: u8 = 2;

/// Lets phone calls through a firewall and nothing else.
#[derive(Debug, Parser)]
#[command(
    name = "postern",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  postern demo                   see it work, on this machine, without configuring anything
  postern check postern.toml     say what is wrong with a file or this host, print the line
  postern explain --from 201 --to +4930123 --source 10.0.40.7
                                 say what would become of a call
  postern run                    serve calls as /etc/postern/postern.toml says
  postern calls                  list the current calls
  postern call 17                show call 17 as a ladder, firewall in the middle
  postern pinholes --kernel      show what is open, compared with what the kernel holds

Exit codes: 0 all is well; 1 a problem was found, or it could not be done; 2 the command line or the \
            configuration is wrong."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The configuration file
    #[arg(short, long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Where the sockets of the running Postern are [default: `run-dir` of the configuration file]
    #[arg(long, global = true, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Print JSON: to standard output what was asked for, or to standard error an object with `error` and `exit-code`
    #[arg(short, long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Run(run::Run),
    Agent(agent::Agent),
    Middlebox(middlebox::Middlebox),
    Check(check::Check),
    Explain(explain::Explain),
    Calls(calls::Calls),
    Call(call::Call),
    Registrations(registrations::Registrations),
    Trunks(trunks::Trunks),
    Pinholes(pinholes::Pinholes),
    Kick(kick::Kick),
    Revoke(revoke::Revoke),
    Deny(deny::Deny),
    Bans(bans::Bans),
    Ban(bans::Ban),
    Unban(bans::Unban),
    Reload(reload::Reload),
    Status(status::Status),
}

/// What a command came to: an exit code, or a text for people with one.
pub(crate) type Outcome = Result<u8, Complaint>;

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Complaint {
    code: u8,
    text: String,
}

impl Complaint {
    /// The command line or the configuration is wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: USAGE, text: text.into() }
    }
}

impl From<String> for Complaint {
    fn from(text: String) -> Self {
        Self { code: PROBLEM, text }
    }
}

/// Runs the command that the command line names.
pub(crate) fn main() -> ExitCode {
    let Cli { common, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && wants_json() => {
            print::complain(true, &error.to_string(), USAGE);
            return ExitCode::from(USAGE);
        }
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { OK });
        }
    };
    let outcome = match command {
        Command::Demo(command) => command.run(&common),
        Command::Run(command) => command.run(&common),
        Command::Agent(command) => command.run(&common),
        Command::Middlebox(command) => command.run(&common),
        Command::Check(command) => command.run(&common),
        Command::Explain(command) => command.run(&common),
        Command::Calls(command) => command.run(&common),
        Command::Call(command) => command.run(&common),
        Command::Trunks(command) => command.run(&common),
        Command::Registrations(command) => command.run(&common),
        Command::Pinholes(command) => command.run(&common),
        Command::Kick(command) => command.run(&common),
        Command::Revoke(command) => command.run(&common),
        Command::Deny(command) => command.run(&common),
        Command::Bans(command) => command.run(&common),
        Command::Ban(command) => command.run(&common),
        Command::Unban(command) => command.run(&common),
        Command::Reload(command) => command.run(&common),
        Command::Status(command) => command.run(&common),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(complaint) => {
            print::complain(common.json, &complaint.text, complaint.code);
            ExitCode::from(complaint.code)
        }
    }
}

/// True if a command line that could not be read asks for JSON.
fn wants_json() -> bool {
    std::env::args_os().any(|argument| argument == "-j" || argument == "--json")
}

impl Common {
    /// The same with the file that a command was given without `--config`.
    fn with(&self, file: Option<PathBuf>) -> Self {
        Self { config: file.unwrap_or_else(|| self.config.clone()), ..self.clone() }
    }

    /// The configuration, or a text that says everything that is wrong with it.
    fn load(&self) -> Result<Config, Complaint> {
        let mut config = Config::load(&self.config).map_err(|refused| Complaint::usage(refused.text))?;
        if let Some(run_dir) = &self.run_dir {
            config.move_to(run_dir);
        }
        Ok(config)
    }

    /// Where the running Postern is asked. Without a file, or with a wrong one, at the usual place; but not if the file
    /// was named: another Postern may run there, and it is not the one whose call is to be kicked.
    fn sockets(&self) -> Result<PathBuf, Complaint> {
        if let Some(run_dir) = &self.run_dir {
            return Ok(run_dir.clone());
        }
        match Config::load(&self.config) {
            Ok(config) => Ok(config.run_dir),
            Err(_) if self.config == Path::new(config::DEFAULT_PATH) => {
                Ok(PathBuf::from(config::DEFAULT_RUN_DIR))
            }
            Err(refused) => {
                let advice = "which Postern is meant? --run-dir DIR says it without a file";
                Err(Complaint::usage(format!("{}\n{advice}", refused.text.trim_end())))
            }
        }
    }
}
