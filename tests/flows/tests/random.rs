//! Random walks: phones, middlebox, runtime and clock do anything in any order, and afterwards nothing is left.
//!
//! A seed that fails is printed; `FLOW_SEED=n` plays it alone, `FLOW_SEEDS=n` sets how many there are.

use std::time::Duration;

use flows::Step;
use flows::world::World;
use machine::Rng;

const SEEDS: u64 = 450;
const STEPS: u64 = 40;

const A: [&str; 12] = [
    "INVITE c=192.0.2.10 m=audio 20000",
    "INVITE new c=192.0.2.10 m=audio 20000",
    "INVITE new",
    "INVITE c=192.0.2.10 m=audio 20100 o=2",
    "INVITE again",
    "ACK",
    "ACK c=192.0.2.10 m=audio 20000",
    "BYE",
    "CANCEL",
    "INFO",
    "200",
    "200 BYE",
];
const B: [&str; 16] = [
    "100",
    "180",
    "180 tag=f2",
    "183 c=10.0.40.7 m=audio 30000",
    "200 c=10.0.40.7 m=audio 30000",
    "200 tag=f2 c=10.0.40.7 m=audio 30100",
    "200 c=10.9.9.9 m=audio 30000",
    "200 again",
    "486",
    "487",
    "481",
    "200 BYE",
    "200 CANCEL",
    "200 INFO",
    "BYE",
    "INVITE c=10.0.40.7 m=audio 30200 o=2",
];
/// What they say besides when they know reliable provisional responses and UPDATE.
const A_RELIABLE: [&str; 15] = [
    "INVITE new c=192.0.2.10 m=audio 20000 {Supported: 100rel}",
    "INVITE new {Supported: 100rel}",
    "INVITE c=192.0.2.10 m=audio 20100 o=2 {Supported: 100rel}",
    "INVITE {Supported: 100rel}",
    "PRACK",
    "PRACK",
    "PRACK c=192.0.2.10 m=audio 20000",
    "UPDATE",
    "UPDATE c=192.0.2.10 m=audio 20200",
    "183 c=192.0.2.10 m=audio 20200 {Require: 100rel} {RSeq: 1}",
    "200 PRACK",
    "200 UPDATE c=192.0.2.10 m=audio 20000",
    "200 UPDATE",
    "491 UPDATE",
    "200 c=192.0.2.10 m=audio 20000",
];
const B_RELIABLE: [&str; 18] = [
    "183 c=10.0.40.7 m=audio 30000 {Require: 100rel} {RSeq: 1}",
    "183 c=10.0.40.7 m=audio 30000 {Require: 100rel} {RSeq: 1}",
    "180 {Require: 100rel} {RSeq: 2}",
    "183 tag=f2 c=10.0.40.8 m=audio 30000 {Require: 100rel} {RSeq: 7}",
    "183 c=10.0.40.7 m=audio 30000 {Require: 100rel} {RSeq: 3}",
    "200",
    "200 tag=f2",
    "200 PRACK",
    "200 PRACK c=10.0.40.7 m=audio 30000",
    "488 PRACK",
    "200 UPDATE c=10.0.40.7 m=audio 30200",
    "200 UPDATE",
    "488 UPDATE",
    "UPDATE c=10.0.40.7 m=audio 30400",
    "UPDATE tag=f2 c=10.0.40.8 m=audio 30400",
    "UPDATE",
    "PRACK c=10.0.40.7 m=audio 30600",
    "INVITE {Supported: 100rel}",
];
/// What they say besides when calls are transferred and redirected.
const A_ELSEWHERE: [&str; 10] = [
    "INVITE new c=192.0.2.10 m=audio 20000",
    "INVITE new {Replaces: $CALL-A;to-tag=$OURS-A;from-tag=$THEIRS-A} c=192.0.2.10 m=audio 20000",
    "INVITE new sip:203.0.113.1:5060 {Replaces: $CALL-A;to-tag=$OURS-A;from-tag=$THEIRS-A} c=192.0.2.10 m=audio 20000",
    "REFER {Refer-To: <sip:203.0.113.1:5060?Replaces=$CALL-A%3Bto-tag%3D$OURS-A%3Bfrom-tag%3D$THEIRS-A>}",
    "REFER {Refer-To: <sip:c@192.0.2.77>}",
    "NOTIFY {Event: refer}",
    "202 REFER",
    "481 NOTIFY",
    "200 NOTIFY",
    "CANCEL",
];
const B_ELSEWHERE: [&str; 13] = [
    "302 {Contact: <sip:x@10.0.0.5>;q=0.5, <sip:y@10.0.0.5>, <sip:z@10.0.0.6>, <sip:x@192.0.2.10>}",
    "302 {Contact: <sip:x@192.0.2.11>, <sip:y@192.0.2.10>, <sip:z@192.0.2.12>}",
    "302 {Contact: <sip:x@one.example>, <sip:y@two.example>}",
    "302",
    "603",
    "183 tag=f3 c=10.0.40.7 m=audio 30000",
    "183 c=10.0.40.7 m=audio 30000",
    "200 c=10.0.40.7 m=audio 30000",
    "REFER {Refer-To: <sip:10.0.0.1:5060?Replaces=$CALL-B%3Bto-tag%3D$OURS-B%3Bfrom-tag%3D$THEIRS-B>}",
    "REFER {Refer-To: <sip:c@10.0.40.9>}",
    "NOTIFY {Event: refer}",
    "202 REFER",
    "481 NOTIFY",
];
const M: [&str; 10] = [
    "ok",
    "ok",
    "ok",
    "ok all",
    "ok all",
    "refuse resources",
    "refuse authorization",
    "down",
    "up",
    "event 1 0",
];
const TIMES_MS: [u64; 6] = [0, 10, 500, 1_000, 2_000, 40_000];

/// What phones can do besides calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Plain,
    Reliable,
    Elsewhere,
}

fn step(rng: &mut Rng, a_inside: bool, manner: Manner) -> Step {
    let of = |rng: &mut Rng, who: char, words: &[&str]| {
        let words = words[rng.below(words.len() as u64) as usize];
        Step::Sent { who, words: if a_inside { swapped(words) } else { words.to_owned() } }
    };
    match rng.below(12) {
        0..=2 if manner == Manner::Reliable => of(rng, 'A', &A_RELIABLE),
        4..=6 if manner == Manner::Reliable => of(rng, 'B', &B_RELIABLE),
        0..=1 if manner == Manner::Elsewhere => of(rng, 'A', &A_ELSEWHERE),
        4..=5 if manner == Manner::Elsewhere => of(rng, 'B', &B_ELSEWHERE),
        10 if manner == Manner::Elsewhere => of(
            rng,
            'R',
            &["resolved 10.0.0.5:5060", "resolved 192.0.2.10:5060", "unresolved", "unreachable B"],
        ),
        0..=3 => of(rng, 'A', &A),
        4..=7 => of(rng, 'B', &B),
        8..=9 => of(rng, 'M', &M),
        10 => of(rng, 'R', &["kick 1", "unreachable A", "unreachable B"]),
        _ => Step::Passes(Duration::from_millis(TIMES_MS[rng.below(6) as usize])),
    }
}

/// The same with the media addresses of the other side.
fn swapped(words: &str) -> String {
    const SIDES: [&str; 2] = ["c=192.0.2.10 m=audio 2", "c=10.0.40.7 m=audio 3"];
    words.replace(SIDES[0], "swapped").replace(SIDES[1], SIDES[0]).replace("swapped", SIDES[1])
}

fn walk(seed: u64) -> Result<Vec<String>, String> {
    let mut rng = Rng::from_number(seed);
    let settings =
        [("call", ["outside", "inside"]), ("source", ["realm", "address"]), ("redirect", ["relay", "3"])];
    let settings: Vec<_> = settings
        .into_iter()
        .map(|(name, values)| (name.to_owned(), values[rng.below(2) as usize].to_owned()))
        .collect();
    let mut world = World::new(&settings)?;
    let a_inside = settings[0].1 == "inside";
    let manner = [Manner::Plain, Manner::Reliable, Manner::Elsewhere][rng.below(3) as usize];
    let mut said = Vec::new();
    for _ in 0..STEPS {
        let step = step(&mut rng, a_inside, manner);
        said.push(format!("{step:?}"));
        // What a phone cannot say yet it does not say.
        let _impossible = world.apply(&step);
        said.extend(world.take_outputs());
    }
    clean_up(&mut world).map_err(|error| format!("{error}\n{}", said.join("\n")))?;
    Ok(said)
}

/// Everybody hangs up, the middlebox works, and enough time passes for every transaction to end.
fn clean_up(world: &mut World) -> Result<(), String> {
    let runtime = |words: &str| Step::Sent { who: 'R', words: words.to_owned() };
    let firewall = |words: &str| Step::Sent { who: 'M', words: words.to_owned() };
    world.apply(&firewall("down"))?;
    world.apply(&firewall("up"))?;
    world.apply(&firewall("ok all"))?;
    for call in 1..=STEPS {
        world.apply(&runtime(&format!("kick {call}")))?;
    }
    // Every name that was asked for is answered in the end.
    while world.apply(&runtime("unresolved")).is_ok() {}
    for _ in 0..300 {
        world.apply(&firewall("ok all"))?;
        world.apply(&Step::Passes(Duration::from_secs(1)))?;
    }
    world.apply(&Step::Holds("calls 0".into()))?;
    world.apply(&Step::Holds("firewall 0".into()))?;
    world.apply(&Step::Holds("held 0".into()))
}

#[test]
fn nothing_is_left_behind_and_a_seed_is_a_seed() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let seeds = match number("FLOW_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FLOW_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let first = walk(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(Ok(first), walk(seed), "seed {seed} is not repeatable");
    }
}
