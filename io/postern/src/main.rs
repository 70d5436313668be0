//! `postern`: lets phone calls through a firewall and nothing else. One binary, two halves, several commands.

mod admin;
mod cli;
mod clock;
mod config;
mod demo;
mod ladder;
mod log;
mod runtime;
mod sandbox;
mod secret;
mod seed;
mod supervise;
mod tls;

fn main() -> std::process::ExitCode {
    cli::main()
}
