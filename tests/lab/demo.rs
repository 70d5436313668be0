//! The demo judges itself: it must find every figure as promised, on the wires too, and count as many ghost rings as there
//! must be.

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
    let pictures = std::env::temp_dir().join(format!("postern-lab-ladders-{}", std::process::id()));
    command.args(["demo", "--svg"]).arg(&pictures).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
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
    seen_on_both_wires(&said)?;
    drawn(&pictures)?;
    let too_wide = said.lines().filter(|line| line.chars().count() > 120).count();
    if too_wide > 0 {
        return Err(io::Error::other(format!("{too_wide} lines are wider than 120 columns")).into());
    }
    Ok(())
}

/// Each call says what was on the wires, and each arrow of media what of it passed there.
fn seen_on_both_wires(said: &str) -> io::Result<()> {
    let count = |words: &str| said.matches(words).count();
    let (agreed, media) =
        (count("was on both wires, packet for packet"), count(" packets -") + count(" packets ="));
    if agreed == 7 && count("wires: passed / sent") == 7 && media > 0 && count("both wires: ") == media {
        return Ok(());
    }
    Err(io::Error::other(format!("{agreed} calls agree with the wires, {media} arrows of media\n{said}")))
}

/// There is a picture of each ladder.
fn drawn(pictures: &Path) -> io::Result<()> {
    for name in ["figure-3", "figure-4", "figure-5", "figure-6", "figure-7", "figure-8", "reservation"] {
        let svg = std::fs::read_to_string(pictures.join(format!("{name}.svg")))?;
        if !svg.contains("INVITE+SDP_A</text>") || !svg.ends_with("</svg>\n") {
            return Err(io::Error::other(format!("{name}: {svg}")));
        }
    }
    std::fs::remove_dir_all(pictures)
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
