//! `postern`: lets phone calls through a firewall and nothing else. One binary, two halves, several commands.

mod cli;
mod config;
mod log;

fn main() -> std::process::ExitCode {
    cli::main()
}
