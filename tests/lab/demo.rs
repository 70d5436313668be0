//! The demo judges itself: it must find every figure as promised, and count as many ghost rings as there must be.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use flows::figures::{Figure, of_ladder};

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
    as_the_draft_draws_them(&said)?;
    let too_wide = said.lines().filter(|line| line.chars().count() > 120).count();
    if too_wide > 0 {
        return Err(io::Error::other(format!("{too_wide} lines are wider than 120 columns")).into());
    }
    Ok(())
}

/// The ladder of each figure has the messages that the draft draws, in their order.
fn as_the_draft_draws_them(said: &str) -> io::Result<()> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/flows/figures.txt");
    let data = std::fs::read_to_string(data)?;
    for number in 3..=8 {
        let wrong = |error: String| io::Error::other(format!("figure {number}: {error}"));
        let figure = Figure::find(&data, number).ok_or_else(|| wrong("no data".into()))?;
        let (_, from) =
            said.split_once(&format!("Figure {number}: ")).ok_or_else(|| wrong("not played".into()))?;
        let ladder = from.split("packets heard").next().unwrap_or_default();
        figure.compare(&of_ladder(ladder)).map_err(wrong)?;
    }
    Ok(())
}
