//! The commands, one file each.

pub(crate) fn main() -> std::process::ExitCode {
    let _ = crate::config::Config::load(std::path::Path::new(crate::config::DEFAULT_PATH));
    std::process::ExitCode::SUCCESS
}
