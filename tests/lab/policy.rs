//! The standing policy and its reload, while calls go on.

use std::fs;
use std::io::{self, Read as _, Write as _};

use crate::line::{End, Line};
use crate::observer::Way;
use crate::phone::Answer;
use crate::raw::{connect_to, header};
use crate::talks::{Make, uri};
use crate::world::{BORDER_OUTSIDE, CONFIG, Named, OUTSIDE, Outcome, Postern, World, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("policy::a_reload_ends_what_is_no_longer_allowed", withdrawn),
        ("policy::a_wrong_file_leaves_what_runs_as_it_is", refused),
        ("policy::a_reloaded_route_takes_the_next_call", rerouted),
        ("policy::a_call_policy_ends_a_long_call_and_denies_the_next", admitted),
        ("policy::a_group_is_revoked_as_one", group),
        ("policy::another_agent_ends_a_call_by_a_disable_rule", disabled),
    ]
}

/// Writes the file anew, as `postern` has, with more behind it.
fn rewrite(postern: &Postern<'_>, change: impl FnOnce(String) -> String) -> io::Result<()> {
    fs::write(&postern.file, change(fs::read_to_string(&postern.file)?))
}

/// Both phones are told that the call is over, and why.
fn both_are_told(line: &Line<'_>, reason: &str) -> io::Result<()> {
    for end in [End::Outside, End::Inside] {
        line.until(end, Way::Heard, "BYE")?;
        let bye = &line.messages(end, Way::Heard, "BYE")?[0];
        assert_eq!(header(bye, "Reason"), reason, "in {bye}");
    }
    Ok(())
}

const REASON: &str = "SIP;cause=500;text=\"firewall temporarily closed\"";

fn withdrawn() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    // Nothing has changed, and nothing happens.
    assert_eq!(postern.json(&["reload"])?, serde_json::json!([]));
    line.talk()?;
    rewrite(&postern, |text| {
        format!("{text}\n[[policy]]\ndo = \"deny\"\noutside = [\"198.51.100.0/24\"]\n")
    })?;
    assert_eq!(postern.json(&["reload"])?, serde_json::json!(["policy"]));
    both_are_told(&line, REASON)?;
    line.is_over()?;
    // By signal, and the other way round.
    rewrite(&postern, |text| text.replace("\"deny\"", "\"allow\""))?;
    signal(postern.child.id(), "HUP")?;
    line.wait_for("it is reloaded", || Ok(postern.log().contains("reloaded: policy")))?;
    caller.call(&uri(End::Outside))?;
    line.until_seen(End::Outside, Way::Sent, "ACK", 2)?;
    line.talk()?;
    caller.hang_up()?;
    line.is_over()?;
    Ok(())
}

fn refused() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let status = postern.json(&["status"])?;
    let good = fs::read_to_string(&postern.file)?;
    for (wrong, cause) in [
        (format!("{good}\n[[policy]]\ndo = \"dney\"\n"), "did you mean \"deny\"?"),
        (format!("{good}\n[[policy]]\ndo = \"deny\"\nagents = [\"lcal\"]\n"), "did you mean \"local\"?"),
        (
            good.replace("udp:198.51.100.1:5060", "udp:198.51.100.1:5061"),
            "`realm.outside.listen` has changed",
        ),
        (format!("{good}\n[middlebox.agent.ids]\nusers = [\"nobody-of-this-name\"]\n"), "there is no user"),
        ("[[[".to_owned(), "this is not TOML"),
    ] {
        fs::write(&postern.file, wrong)?;
        let run_dir = world.folder.join("run").display().to_string();
        let told = match postern.text(&["reload", "--run-dir", &run_dir]) {
            Ok(said) => panic!("{cause}: {said}"),
            Err(told) => told.to_string(),
        };
        assert!(told.contains(cause), "{cause}: {told}");
    }
    let log = || Ok(postern.log().contains("not reloaded, what runs stays as it is"));
    signal(postern.child.id(), "HUP")?;
    postern.wait_for("the signal's file is refused in the log", log)?;
    fs::write(&postern.file, &good)?;
    for half in ["agent", "middlebox"] {
        assert_eq!(postern.json(&["status"])?[half]["pid"], status[half]["pid"], "{half}");
    }
    assert_eq!(postern.json(&["reload"])?, serde_json::json!([]));
    Ok(())
}

fn rerouted() -> Outcome {
    let world = World::new()?;
    // Nobody is there.
    let postern = world.postern(&CONFIG.replace("sip:10.0.40.20", "sip:10.0.40.99"))?;
    let line = Line::watch(&world, &postern)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    rewrite(&postern, |text| text.replace("10.0.40.99", "10.0.40.20"))?;
    assert_eq!(postern.json(&["reload"])?, serde_json::json!(["route"]));
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    caller.hang_up()?;
    line.is_over()?;
    Ok(())
}

/// The call policy: its line counts at a time that is always, so that the half must know what time it is; it ends what lasts too
/// long; and when it is another one, the next call is refused by name.
fn admitted() -> Outcome {
    let world = World::new()?;
    let lines = "[[call-policy]]\ndo = \"allow\"\nwhen = \"Mon-Sun\"\nmax-duration = \"2s\"\n[[call-policy]]\ndo = \"deny\"\n";
    let postern = world.postern(&format!("{CONFIG}\n{lines}"))?;
    let line = Line::watch(&world, &postern)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    both_are_told(&line, "SIP;cause=403;text=\"longest duration reached\"")?;
    line.is_over()?;
    rewrite(&postern, |text| text.replace("\"allow\"", "\"limit\""))?;
    assert_eq!(postern.json(&["reload"])?, serde_json::json!(["call-policy"]));
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Heard, "403 INVITE")?;
    let refusal = &line.messages(End::Outside, Way::Heard, "403 INVITE")?[0];
    assert_eq!(header(refusal, "Warning"), "399 postern \"Forbidden: call policy 2 denies this call\"");
    Ok(())
}

/// SE with version 3.0; PDR for everything between the outside phone and whoever is inside, for a minute.
const ESTABLISH: &[u8] = &[1, 1, 0, 8, 0, 0, 0, 1, 0, 1, 0, 4, 3, 0, 0, 0];
const DISABLE: &[u8] = &[
    1, 0x14, 0, 40, 0, 0, 0, 2, // PDR, TID 2
    0, 9, 0, 12, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, // A0: any
    0, 9, 0, 12, 1, 32, 0, 3, 0, 0, 0, 1, 198, 51, 100, 20, // A3
    0, 7, 0, 4, 0, 0, 0, 60,
];

/// An intrusion detection system that speaks SIMCO itself, from the outside phone's host; it may deny and nothing else.
fn disabled() -> Outcome {
    let world = World::new()?;
    let more = format!(
        "{CONFIG}\n[middlebox]\nlisten = [\"{BORDER_OUTSIDE}:7626\"]\n\
         [middlebox.agent.ids]\npeers = [\"{OUTSIDE}\"]\ninternal = []\ndisable = true\n"
    );
    let postern = world.postern(&more)?;
    let line = Line::watch(&world, &postern)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    let used = line.used()?;
    let (mut ids, _) = connect_to(&world.outside, &format!("{BORDER_OUTSIDE}:7626"))?;
    ids.write_all(ESTABLISH)?;
    let mut established = [0; 20];
    ids.read_exact(&mut established)?;
    assert_eq!(established[..2], [2, 1], "SE reply");
    assert_eq!(established[12] & 0x10, 0x10, "it says that it can do disable rules");
    ids.write_all(DISABLE)?;
    let mut reply = [0; 24];
    ids.read_exact(&mut reply)?;
    assert_eq!((reply[..2].to_vec(), &reply[4..8]), (vec![2, 0x14], &[0, 0, 0, 2][..]), "PDR reply");
    assert_eq!(line.passes(&used)?, 0, "packets that pass after the reply");
    both_are_told(&line, REASON)?;
    let list = postern.json(&["deny", "--list"])?;
    assert_eq!(list["denials"][0]["owner"], "ids", "{list}");
    // When its right is taken away, so are its rules.
    rewrite(&postern, |text| text.replace("disable = true", "disable = false"))?;
    postern.text(&["reload"])?;
    line.wait_for("nothing is denied", || Ok(postern.text(&["deny", "--list"])? == "nothing is denied\n"))?;
    line.is_over()?;
    Ok(())
}

/// The rules of a call are a group: shown together, ended together.
fn group() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    line.wait_for("the call has two rules", || Ok(postern.pinholes()? == (2, 2)))?;
    let rules = postern.json(&["pinholes"])?;
    let group = rules["rules"][0]["group"].to_string();
    assert_eq!(
        postern.json(&["pinholes", "--group", &group])?["rules"].as_array().map(Vec::len),
        Some(2),
        "{rules}"
    );
    assert_eq!(postern.json(&["pinholes", "--group", "7"])?["rules"].as_array().map(Vec::len), Some(0));
    assert!(postern.text(&["revoke", "--group", "7"]).is_err(), "there is no such group");
    assert_eq!(postern.json(&["revoke", "--group", &group])?.as_array().map(Vec::len), Some(2));
    both_are_told(&line, REASON)?;
    line.is_over()?;
    Ok(())
}
