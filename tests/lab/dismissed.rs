//! A reload ends the sessions of an agent that would not be let in any more, and nothing else: its calls go on.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::unistd::{User, chown};
use serde_json::json;

use crate::row::{AGENT_AT_EDGE, EDGE, Half, Row, Talk, try_to_call};
use crate::tls::{Site, wait_log, wait_trouble};
use crate::witness::expect;
use crate::world::{Named, Outcome, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("dismissed::an_agent_whose_certificate_has_another_name_now", certificate),
        ("dismissed::an_agent_whose_address_is_another_now", address),
        ("dismissed::an_agent_whose_secret_is_another_now", secret),
    ]
}

/// What the edge says when it ends a session.
const DISMISSED: &str = "is not what it was let in as any more; its session is ended";

/// How often it has said so.
fn dismissed(edge: &Half<'_>) -> usize {
    edge.log().matches(DISMISSED).count()
}

/// After the edge has been told of another agent: the session is over, the call is not, and a new call is refused.
fn is_out(row: &Row, (edge, agent): (&Half<'_>, &Half<'_>), talk: &Talk, why: &str) -> io::Result<()> {
    wait_trouble(agent, "edge", why)?;
    expect(dismissed(edge), 1, "sessions that were ended")?;
    expect(try_to_call(row)?.0, 504, "a call meanwhile")?;
    // The rules of the agent are there, and nobody's of whom the file knows.
    talk.goes_on(agent)
}

/// The session is back, with the call and its rules.
fn is_in(edge: &Half<'_>, agent: &Half<'_>, talk: &Talk) -> Outcome {
    agent.wait_up(&["edge"])?;
    edge.wait_rules(2)?;
    talk.goes_on(agent)?;
    talk.hang_up()?;
    edge.wait_rules(0)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost")?;
    expect(dismissed(edge), 1, "sessions that were ended")?;
    Ok(())
}

/// A firewall behind the edge that lets everything pass, since the core has no part in this.
fn open_core(row: &Row) -> io::Result<()> {
    row.world.command(&row.core, "nft", &["flush", "ruleset"]).map(drop)
}

fn certificate() -> Outcome {
    let row = Row::new()?;
    open_core(&row)?;
    let site = Site::new(&row)?;
    let edge = row.edge(&site.middlebox("edge", EDGE))?;
    let agent = row.agent(&site.agent_of(&["edge"]))?;
    agent.wait_up(&["edge"])?;
    let talk = Talk::start(&row)?;
    // One name more is nothing to the one that it has.
    let (one, two) = ("[\"border.example.net\"]", "[\"border.example.net\", \"spare.example.net\"]");
    expect(edge.reload(one, two)?, json!(["middlebox.agent.border.certificates"]), "what has changed")?;
    talk.goes_on(&agent)?;
    expect(dismissed(&edge), 0, "sessions that were ended")?;
    edge.reload(two, "[\"spare.example.net\"]")?;
    is_out(&row, (&edge, &agent), &talk, "it refuses the session: no authorization")?;
    edge.reload("[\"spare.example.net\"]", one)?;
    is_in(&edge, &agent, &talk)
}

fn address() -> Outcome {
    let row = Row::new()?;
    open_core(&row)?;
    let peers = |address: &str| format!("peers = [\"{address}\"]");
    let edge = row
        .edge(&format!("listen = [\"{EDGE}:7626\"]\n[middlebox.agent.border]\n{}\n", peers(AGENT_AT_EDGE)))?;
    let agent = row.agent(&format!("[middlebox]\nname = \"edge\"\nconnect = \"{EDGE}\"\n"))?;
    agent.wait_up(&["edge"])?;
    let talk = Talk::start(&row)?;
    edge.reload(&peers(AGENT_AT_EDGE), &peers("10.9.1.77"))?;
    is_out(&row, (&edge, &agent), &talk, "it refuses the session: no authorization")?;
    // By signal, too.
    let file = fs::read_to_string(edge.file())?;
    fs::write(edge.file(), file.replace(&peers("10.9.1.77"), &peers(AGENT_AT_EDGE)))?;
    signal(edge.program.id(), "HUP")?;
    is_in(&edge, &agent, &talk)
}

/// A file with a secret; where there is another user the agent half becomes it, and has to be able to read it.
fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    fs::write(path, format!("{secret}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    if path.ends_with("agent.secret")
        && let Ok(Some(user)) = User::from_name("nobody")
    {
        let _ = chown(path, Some(user.uid), Some(user.gid));
    }
    Ok(())
}

fn secret() -> Outcome {
    let row = Row::new()?;
    open_core(&row)?;
    let site = Site::new(&row)?;
    let [ours, theirs] = ["agent.secret", "edge.secret"].map(|name| row.world.folder.join(name));
    let (first, second) = ("the first secret of edge and agent", "the second secret of edge and agent");
    write_secret(&ours, first)?;
    write_secret(&theirs, first)?;
    let edge =
        row.edge(&format!("{}secret = {:?}\n", site.middlebox("edge", EDGE), theirs.display().to_string()))?;
    let section = format!("{}secret = {:?}\n", site.agent_of(&["edge"]), ours.display().to_string());
    let agent = row.agent(&section)?;
    agent.wait_up(&["edge"])?;
    let talk = Talk::start(&row)?;
    // Another secret in the same file: not a word of the configuration has changed.
    write_secret(&theirs, second)?;
    expect(edge.json(&["reload"])?, json!(["middlebox.agent.border.secret"]), "what has changed")?;
    is_out(&row, (&edge, &agent), &talk, "it has not proven who it is (key `secret`)")?;
    wait_log(&edge, "has not proven who it is (key `secret`)")?;
    // A file that others may read is none, and changes nothing.
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o644))?;
    expect(edge.json(&["reload"]).is_err(), true, "a reload is refused")?;
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600))?;
    // The agent half looks at its own file before each attempt.
    write_secret(&ours, second)?;
    is_in(&edge, &agent, &talk)
}
