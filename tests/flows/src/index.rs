//! `docs/flows.md`: every flow with the section it plays, made from the comments the flows begin with.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::kernel::obstacle;
use crate::script::Script;

const HEAD: &str = "\
# Flows

<!-- Generated from the flows: UPDATE_DOCS=1 cargo test -p postern-flows -->

Each line is a text file below `tests/flows` that says who sends what and what must leave. Sections of [calls.md](calls.md)
and [pinholes.md](pinholes.md) are those of the normative pages beside this one. Those with a K are played a second time by the lab, against
the real program and a real kernel: each step a datagram or a SIMCO message, each answer and each question of the agent compared, and after each
step every rule in the middlebox and its nftables table. The lab stands between agent and middlebox: what a flow grants the real middlebox
grants, what it refuses the lab refuses; and the agent's clock goes when the flow says so. Two middleboxes are two firewalls in a row, each with its own
kernel tables. Where a flow says that a request has no answer, the session is broken or the 4 s pass in which the agent's own session finds it out:
`tests/flows/src/unanswered.rs`; a test holds that the phones hear the same. The others need what only the machine alone can show; the last section says
what.
";

/// The page, for the paths below `tests/flows` and the texts of all flows, in order.
#[must_use]
pub fn page<'f>(flows: impl Iterator<Item = (&'f str, &'f str)> + Clone) -> String {
    let mut page = String::from(HEAD);
    let mut folder = "";
    for (path, text) in flows.clone() {
        let (here, name) = path.rsplit_once('/').unwrap_or(("", path));
        if here != folder {
            folder = here;
            // Writing into a String cannot fail.
            let _written =
                write!(page, "\n## {here}\n\n| section | flow | | what happens |\n|---|---|---|---|\n");
        }
        let comment = comment(text);
        let (section, what) = split(&comment);
        let name = name.trim_end_matches(".flow");
        let kernel = if is_for_the_kernel(path, text) { "K" } else { "" };
        let _written = writeln!(
            page,
            "| {} | [{name}](../tests/flows/{path}) | {kernel} | {} |",
            cell(section),
            cell(what)
        );
    }
    alone(&mut page, flows);
    page
}

/// Why some cannot be played on a kernel.
fn alone<'f>(page: &mut String, flows: impl Iterator<Item = (&'f str, &'f str)>) {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, text) in flows {
        if let Some(why) = Script::parse(text).ok().and_then(|script| obstacle(path, &script)) {
            reasons.entry(why).or_default().push(path.trim_end_matches(".flow"));
        }
    }
    page.push_str("\n## Without a K\n\n| why | flows |\n|---|---|\n");
    for (why, paths) in reasons {
        let _written = writeln!(page, "| {why} | {} |", paths.join(", "));
    }
}

fn is_for_the_kernel(path: &str, text: &str) -> bool {
    Script::parse(text).is_ok_and(|script| obstacle(path, &script).is_none())
}

/// The lines a flow begins with, as one.
fn comment(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix('#'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What stands before the first colon, if it names a section, a figure or a limit, and the rest.
fn split(comment: &str) -> (&str, &str) {
    let names = |start: &str| ["§", "igure", "RFC", "limits"].iter().any(|word| start.contains(word));
    comment.split_once(": ").filter(|(start, _)| names(start)).unwrap_or(("", comment))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
