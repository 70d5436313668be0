//! Every `.flow` file beside this crate is a test; `UPDATE_FLOWS=1` rewrites what is received.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    find(root, &mut files);
    files.sort();
    let trials = files
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            Trial::test(name, move || check(&file))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn check(file: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    if std::env::var_os("UPDATE_FLOWS").is_some() {
        std::fs::write(file, flows::rewrite(&text)?)?;
        return Ok(());
    }
    flows::play(&text).map_err(Failed::from)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "flow") {
            files.push(path);
        }
    }
}
