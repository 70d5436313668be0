//! The flows of `tests/flows` once more, on the real kernel: the same steps as datagrams to the real program, the same messages
//! and requests back, and after each step exactly the rules that the flow has granted, in the middlebox and in its table.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ::flows::Script;
use ::flows::kernel::{SECOND, configuration, obstacle};
use ::flows::settings::Settings;
use midcom::Capabilities;
use netns::Host;

use crate::play::play;
use crate::stage::Stage;
use crate::world::{Named, Outcome, World, net};

/// How many networks play at the same time.
const SHARES: usize = 2;
/// Fewer would mean that most of the proof has got lost on the way.
const FLOWS_MIN: usize = 580;

pub(crate) fn trials() -> Vec<Named> {
    vec![("flows: each that a real firewall can play", every_flow)]
}

/// Flows that share a configuration and what the middlebox says of itself, by both.
type Groups = BTreeMap<(String, String), (Capabilities, Vec<Flow>)>;
type Group = ((String, String), (Capabilities, Vec<Flow>));

struct Flow {
    name: String,
    script: Script,
}

fn every_flow() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/flows");
    let mut groups = Groups::new();
    read(&root, &root, &mut groups)?;
    let only = std::env::var("LAB_FLOW").ok();
    let wanted = |flow: &Flow| only.as_ref().is_none_or(|only| flow.name.contains(only.as_str()));
    groups.values_mut().for_each(|(_, flows)| flows.retain(wanted));
    groups.retain(|_, (_, flows)| !flows.is_empty());
    let count: usize = groups.values().map(|(_, flows)| flows.len()).sum();
    if only.is_none() && count < FLOWS_MIN {
        return Err(format!("only {count} flows can be played").into());
    }
    let mut wrong = Vec::new();
    let mut shares: Vec<Vec<Group>> = (0..SHARES).map(|_| Vec::new()).collect();
    let mut groups: Vec<Group> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (_, flows))| std::cmp::Reverse(flows.len()));
    for group in groups {
        let size = |share: &Vec<Group>| share.iter().map(|(_, (_, flows))| flows.len() + 3).sum::<usize>();
        if let Some(least) = shares.iter_mut().min_by_key(|share| size(share)) {
            least.push(group);
        }
    }
    std::thread::scope(|scope| {
        let playing: Vec<_> = shares.iter().map(|share| scope.spawn(move || play_share(share))).collect();
        for play in playing {
            wrong.extend(play.join().unwrap_or_else(|_| vec!["a thread panicked".to_owned()]));
        }
    });
    match wrong.as_slice() {
        [] => Ok(()),
        some => Err(format!("{} of {count} flows differ\n{}", some.len(), some.join("\n")).into()),
    }
}

/// Plays groups one after the other in one network and gives what went wrong.
fn play_share(groups: &[Group]) -> Vec<String> {
    let played = network().and_then(|world| Ok((world, Row::new()?))).map(|(world, row)| {
        let mut wrong = Vec::new();
        for ((config, _), (capabilities, flows)) in groups {
            let (world, core) =
                if config.contains(SECOND) { (&row.world, Some(&row.core)) } else { (&world, None) };
            let stage = || Stage::new(world, core, config, *capabilities);
            play_group(stage, config, flows, &mut wrong);
        }
        wrong
    });
    played.unwrap_or_else(|error| vec![error.to_string()])
}

/// Two firewalls in a row, the agent on the first.
///
/// ```text
///  outside ─outside0─ firewall ─inside0──outside0─ core ─inside0─ inside
/// ```
struct Row {
    world: World,
    core: Host,
}

impl Row {
    fn new() -> io::Result<Self> {
        let (world, core) = (World::bare()?, Host::new("core")?);
        let World { outside, firewall, inside, .. } = &world;
        outside.cable("eth0", firewall, "outside0")?;
        firewall.cable("inside0", &core, "outside0")?;
        core.cable("inside0", inside, "eth0")?;
        for (host, cable, addresses) in [
            (outside, "eth0", ["192.0.2.10/24", "192.0.2.11/24"]),
            (firewall, "outside0", ["192.0.2.1/24", "203.0.113.1/32"]),
            (firewall, "inside0", ["172.16.0.1/24", "10.0.0.1/32"]),
            (&core, "outside0", ["172.16.0.2/24", "172.16.0.3/24"]),
            (&core, "inside0", ["10.0.0.254/24", "10.0.40.1/24"]),
            (inside, "eth0", ["10.0.0.5/24", "10.0.0.6/24"]),
        ] {
            addresses.into_iter().try_for_each(|address| host.address(cable, net(address)?))?;
        }
        for (host, to, gateway) in [
            (outside, "0.0.0.0/0", "192.0.2.1"),
            (firewall, "10.0.0.0/16", "172.16.0.2"),
            (&core, "10.0.0.1/32", "172.16.0.1"),
            (&core, "0.0.0.0/0", "172.16.0.1"),
            (inside, "10.0.0.1/32", "10.0.0.254"),
            (inside, "0.0.0.0/0", "10.0.0.254"),
        ] {
            host.route(net(to)?, gateway.parse().map_err(io::Error::other)?)?;
        }
        firewall.forward()?;
        core.forward()?;
        Ok(Self { world, core })
    }
}

/// The addresses of the flows in the lab's network.
fn network() -> io::Result<World> {
    let world = World::new()?;
    for address in ["192.0.2.10/32", "192.0.2.11/32"] {
        world.outside.address("eth0", net(address)?)?;
        world.command(&world.firewall, "ip", &["route", "add", address, "dev", "outside0"])?;
    }
    for address in ["10.0.0.5/24", "10.0.0.6/24"] {
        world.inside.address("eth0", net(address)?)?;
    }
    world.firewall.address("inside0", net("10.0.0.1/24")?)?;
    world.firewall.address("outside0", net("203.0.113.1/32")?)?;
    world.command(&world.outside, "ip", &["route", "add", "203.0.113.1/32", "via", "198.51.100.1"])?;
    Ok(world)
}

/// Plays the flows of one configuration one after the other.
fn play_group<'w>(
    new: impl Fn() -> io::Result<Stage<'w>>,
    config: &str,
    flows: &[Flow],
    wrong: &mut Vec<String>,
) {
    let mut stage: Option<Stage<'_>> = None;
    for flow in flows {
        let playing = match stage.take().map_or_else(&new, Ok) {
            Ok(stage) => stage,
            Err(error) => return wrong.push(format!("{error}\nwith\n{config}")),
        };
        let playing = stage.insert(playing);
        let played = play(playing, &flow.script);
        let rested = if playing.is_stopping { Ok(()) } else { playing.rest() };
        let is_over = playing.is_stopping || played.is_err() || rested.is_err();
        if let Err(error) = played.and(rested) {
            wrong.push(format!("{}: {error}", flow.name));
        }
        if is_over {
            stage = None;
        }
    }
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
            if obstacle(&name, &script).is_none() {
                let capabilities = Settings::new(&script.settings)?.capabilities()?;
                let key = (configuration(&script)?, format!("{capabilities:?}"));
                let group = groups.entry(key).or_insert_with(|| (capabilities, Vec::new()));
                group.1.push(Flow { name, script });
            }
        }
    }
    Ok(())
}
