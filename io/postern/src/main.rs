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

/// Each call makes and drops some hundred small things among thousands that stay: decisions/0031.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
