//! The demo judges itself: it must find every figure as promised, and count as many ghost rings as there must be.

use std::io;
use std::process::{Command, Stdio};

use crate::world::{Named, Outcome};

pub(crate) fn trials() -> Vec<Named> {
    vec![("demo::every_figure_and_every_count_is_as_promised", whole)]
}

fn whole() -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    let output = command.arg("demo").stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let wanted = [
        "7 of 7 calls kept every promise",
        "  it is full                               5 of 5           0 of 5           0 of 5\n",
        "  of the port in the callee's answer       5 of 5           5 of 5           0 of 5\n",
    ];
    let missing: Vec<_> = wanted.iter().filter(|words| !said.contains(**words)).collect();
    if !output.status.success() || !missing.is_empty() {
        return Err(io::Error::other(format!("{}; not said: {missing:?}\n{said}", output.status)).into());
    }
    let too_wide = said.lines().filter(|line| line.chars().count() > 120).count();
    if too_wide > 0 {
        return Err(io::Error::other(format!("{too_wide} lines are wider than 120 columns")).into());
    }
    Ok(())
}
