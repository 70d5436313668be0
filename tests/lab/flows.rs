//! The flows of `tests/flows` once more, on the real kernel: the same steps as datagrams to the real program, the same messages
//! back, and after each step exactly the rules that the flow says, in the middlebox and in its table.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ::flows::Script;
use ::flows::kernel::{Move, configuration, is_remembered, moves};

use crate::stage::Stage;
use crate::world::{Named, Outcome, World, net};

/// Fewer would mean that most of the proof has got lost on the way.
const FLOWS_MIN: usize = 120;

pub(crate) fn trials() -> Vec<Named> {
    vec![("flows: each that a real firewall can play", every_flow)]
}

/// Flows that share a configuration, by that.
type Groups = BTreeMap<String, Vec<Flow>>;

struct Flow {
    name: String,
    script: Script,
    moves: Vec<Move>,
}

fn every_flow() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/flows");
    let mut groups = Groups::new();
    read(&root, &root, &mut groups)?;
    let only = std::env::var("LAB_FLOW").ok();
    let wanted = |flow: &Flow| only.as_ref().is_none_or(|only| flow.name.contains(only.as_str()));
    groups.values_mut().for_each(|flows| flows.retain(wanted));
    groups.retain(|_, flows| !flows.is_empty());
    let count: usize = groups.values().map(Vec::len).sum();
    if only.is_none() && count < FLOWS_MIN {
        return Err(format!("only {count} flows can be played").into());
    }
    let mut wrong = Vec::new();
    let groups: Vec<_> = groups.into_iter().collect();
    std::thread::scope(|scope| {
        let some = groups.chunks(groups.len().div_ceil(2).max(1));
        let playing: Vec<_> = some.map(|some| scope.spawn(move || play_groups(some))).collect();
        for play in playing {
            wrong.extend(play.join().unwrap_or_else(|_| vec!["a thread panicked".to_owned()]));
        }
    });
    match wrong.as_slice() {
        [] => Ok(()),
        some => Err(format!("{} of {count} flows differ\n{}", some.len(), some.join("\n")).into()),
    }
}

fn play_groups(groups: &[(String, Vec<Flow>)]) -> Vec<String> {
    let play = |(config, flows): &(String, Vec<Flow>)| {
        play_group(config, flows).unwrap_or_else(|error| vec![format!("{error}\nwith\n{config}")])
    };
    groups.iter().flat_map(play).collect()
}

/// Plays the flows of one configuration one after the other and gives what went wrong.
fn play_group(config: &str, flows: &[Flow]) -> io::Result<Vec<String>> {
    let world = World::new()?;
    let outside = ["192.0.2.10/32", "192.0.2.11/32"];
    for address in outside {
        world.outside.address("eth0", net(address)?)?;
        world.command(&world.firewall, "ip", &["route", "add", address, "dev", "outside0"])?;
    }
    world.inside.address("eth0", net("10.0.0.5/24")?)?;
    world.firewall.address("inside0", net("10.0.0.1/24")?)?;
    world.firewall.address("outside0", net("203.0.113.1/32")?)?;
    world.command(&world.outside, "ip", &["route", "add", "203.0.113.1/32", "via", "198.51.100.1"])?;
    let mut stage = Stage::new(&world, config)?;
    let mut wrong = Vec::new();
    for flow in flows {
        if let Err(error) = stage.play(&flow.script, &flow.moves) {
            wrong.push(format!("{}: {error}", flow.name));
        }
        if is_remembered(&flow.script) {
            drop(stage);
            stage = Stage::new(&world, config)?;
        } else {
            stage.clear().map_err(|error| io::Error::other(format!("after {}: {error}", flow.name)))?;
        }
    }
    Ok(wrong)
}

fn read(root: &Path, folder: &Path, groups: &mut Groups) -> Result<(), String> {
    let say = |error: io::Error| error.to_string();
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(say)? {
        paths.push(entry.map_err(say)?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read(root, &path, groups)?;
        } else if path.extension().is_some_and(|extension| extension == "flow") {
            let script = Script::parse(&std::fs::read_to_string(&path).map_err(say)?)?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            if let (Ok(config), Ok(moves)) = (configuration(&script), moves(&script)) {
                groups.entry(config).or_default().push(Flow { name, script, moves });
            }
        }
    }
    Ok(())
}
