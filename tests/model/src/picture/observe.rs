//! What is seen while flows are played.

use std::collections::BTreeMap;

use b2bua::B2bua;
use flows::{Script, Step, world::World};

use super::{Picture, Tree};

/// The machines that are watched: name and what stands above the picture.
const WATCHED: [(&str, &str); 9] = [
    (
        UAS,
        "`core/b2bua/src/call/invite.rs`: what we are to whoever sent the INVITE. RFC 3261 §13.3, RFC 6026.",
    ),
    (UAC, "`core/b2bua/src/call/invite.rs`: what we are to whoever gets it. RFC 3261 §13.2, §9.1."),
    (
        OFFER,
        "`core/b2bua/src/call/offer.rs`: offer and answer of the INVITE under way. RFC 3264, RFC 3262 §5.",
    ),
    (
        HOLD,
        "`core/b2bua/src/call/hold.rs`: a message with a description waits for its pinholes. `calls.md` §1.",
    ),
    (
        RELIABLE,
        "`core/b2bua/src/call/reliable.rs`: reliable provisional responses of one early dialog. RFC 3262.",
    ),
    (
        PRECONDITION,
        "`core/b2bua/src/precondition/progress.rs`: a precondition of ours. RFC 3312, `calls.md` §5.",
    ),
    (SESSION, "`core/b2bua/src/leg/session_timer.rs`: who refreshes a leg. RFC 4028."),
    (ENDING, "`core/b2bua/src/call/ending.rs`: taking the call down. `calls.md` §3."),
    (RULE, "`core/b2bua/src/ledger/rule.rs`: one rule at one middlebox."),
];
const UAS: &str = "INVITE under way: towards its sender";
const UAC: &str = "INVITE under way: towards its receiver";
const OFFER: &str = "Offer and answer";
const HOLD: &str = "Hold";
const RELIABLE: &str = "Reliable provisional responses";
const PRECONDITION: &str = "Precondition inserted by us";
const SESSION: &str = "Session timer of a leg";
const ENDING: &str = "End of a call";
const RULE: &str = "Rule of the ledger";

/// Which machine, and which of several of its kind.
type Which = (&'static str, String);

/// Everything at one moment at rest.
#[derive(Debug, Default)]
struct Snapshot {
    states: BTreeMap<Which, String>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Which call, at which middlebox.
    site: String,
    /// And what it lets pass.
    place: String,
    prid: Option<String>,
    state: String,
}

/// Plays flows and remembers which state followed which.
#[derive(Debug, Default)]
pub struct Observer {
    pictures: BTreeMap<&'static str, Picture>,
}

impl Observer {
    /// Plays a flow.
    ///
    /// # Errors
    /// It cannot be played.
    pub fn play(&mut self, text: &str) -> Result<(), String> {
        let script = Script::parse(text)?;
        let mut world = World::new(&script.settings)?;
        let mut before = snapshot(world.b2bua());
        for step in script.lines.iter().flat_map(|line| &line.steps) {
            let Some(why) = why(step) else { continue };
            world.apply(step)?;
            let after = snapshot(world.b2bua());
            self.compare(&before, &after, &why);
            before = after;
        }
        Ok(())
    }

    fn compare(&mut self, before: &Snapshot, after: &Snapshot, why: &str) {
        let states = (&before.states, &after.states);
        for which in states.0.keys().chain(states.1.keys().filter(|which| !states.0.contains_key(*which))) {
            self.add(which.0, states.0.get(which), states.1.get(which), why);
        }
        // A rule is known by its identifier; before it has one, and when it is made again, by what it lets pass.
        let mut left: Vec<&Rule> = after.rules.iter().collect();
        let mut unknown = Vec::new();
        for rule in &before.rules {
            match left
                .iter()
                .position(|now| now.site == rule.site && now.prid.is_some() && now.prid == rule.prid)
            {
                Some(at) => self.add(RULE, Some(&rule.state), Some(&left.remove(at).state), why),
                None => unknown.push(rule),
            }
        }
        for rule in unknown {
            let now = left
                .iter()
                .position(|now| now.place == rule.place && (now.prid.is_none() || rule.prid.is_none()))
                .map(|at| left.remove(at));
            self.add(RULE, Some(&rule.state), now.map(|now| &now.state), why);
        }
        for rule in left {
            self.add(RULE, None, Some(&rule.state), why);
        }
    }

    fn add(&mut self, machine: &'static str, from: Option<&String>, to: Option<&String>, why: &str) {
        let name = |state: Option<&String>| state.map_or("[*]", String::as_str).to_owned();
        if from != to {
            self.pictures.entry(machine).or_default().add(&name(from), &name(to), why);
        }
    }

    /// Title, where the machine is, and its picture.
    pub fn pictures(&self) -> impl Iterator<Item = (&'static str, &'static str, &Picture)> {
        let drawn = |(title, about)| Some((title, about, self.pictures.get(title)?));
        WATCHED.into_iter().filter_map(drawn)
    }
}

/// What a step is, without what only this flow says; `None` for steps that let nothing happen.
fn why(step: &Step) -> Option<String> {
    match step {
        Step::Sent { who, words } => {
            let mut words = words.split(' ');
            let first = words.next().unwrap_or_default();
            let kind = match first.parse::<u16>() {
                Ok(100) => "100",
                Ok(101..200) => "18x",
                Ok(200..300) => "2xx",
                Ok(_) => "failure",
                Err(_) => first,
            };
            let is_method =
                |word: &&str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
            let method = words.next().filter(|_| kind != first || first == "100").filter(is_method);
            let method = method.map(|method| format!(" {method}")).unwrap_or_default();
            Some(format!("{who} {kind}{method}"))
        }
        Step::Passes(_) => Some("time".into()),
        Step::Received(_) | Step::Holds(_) => None,
    }
}

/// Every state of every machine.
fn snapshot(b2bua: &B2bua) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let tree = Tree::parse(&format!("{b2bua:?}"));
    let calls = tree.field("calls").map(|calls| calls.fields.as_slice()).unwrap_or_default();
    for (id, call) in calls {
        of_call(id, call, &mut snapshot);
    }
    snapshot
}

fn of_call(id: &str, call: &Tree, Snapshot { states, rules }: &mut Snapshot) {
    let mut put =
        |machine, which: String, state: &str| states.insert((machine, format!("{id} {which}")), state.into());
    if let Some(invite) = call.some("invite") {
        for (machine, field) in [(UAS, "server"), (UAC, "client")] {
            if let Some(state) = invite.field(field) {
                put(machine, String::new(), &state.name);
            }
        }
        of_dialogs(invite, &mut put);
    }
    let held = call.field("hold").and_then(|hold| hold.some("held"));
    put(HOLD, String::new(), if held.is_some() { "Held" } else { "Free" });
    let ending = call.some("ending").and_then(|ending| ending.field("phase"));
    put(ENDING, String::new(), ending.map_or("Alive", |phase| phase.name.as_str()));
    let mut timers = Vec::new();
    call.all("SessionTimer", &mut timers);
    for (number, timer) in timers.into_iter().enumerate() {
        if let Some(state) = timer.field("state") {
            put(SESSION, number.to_string(), &state.name);
        }
    }
    let mut found = Vec::new();
    call.all("Rule", &mut found);
    for rule in found {
        let Some(state) = rule.field("state") else { continue };
        let mut prids = Vec::new();
        state.all("Prid", &mut prids);
        let prid = prids.first().map(|prid| format!("{prid:?}"));
        let site = format!("{id} {:?}", rule.field("crossing"));
        let place = format!("{site} {:?}", rule.field("pinhole"));
        rules.push(Rule { site, place, prid, state: state.name.clone() });
    }
}

fn of_dialogs(invite: &Tree, put: &mut dyn FnMut(&'static str, String, &str) -> Option<String>) {
    let mut agreements = Vec::new();
    invite.all("Agreement", &mut agreements);
    for (number, agreement) in agreements.into_iter().enumerate() {
        if let Some(stage) = agreement.field("stage") {
            put(OFFER, number.to_string(), &stage.name);
        }
        if let Some(reliable) = agreement.some("reliable") {
            let is_waiting = reliable.field("waiting").is_some_and(|waiting| !waiting.fields.is_empty());
            let state = match (reliable.some("open"), is_waiting) {
                (Some(_), true) => "Unacknowledged_others_wait",
                (Some(_), false) => "Unacknowledged",
                (None, true) => "Others_wait",
                (None, false) => "Acknowledged",
            };
            put(RELIABLE, number.to_string(), state);
        }
    }
    let mut insertions = Vec::new();
    invite.all("Insertion", &mut insertions);
    for insertion in insertions {
        let dialogs = insertion.field("dialogs").map(|dialogs| dialogs.fields.as_slice()).unwrap_or_default();
        for (number, (_, state)) in dialogs.iter().enumerate() {
            put(PRECONDITION, number.to_string(), &state.name);
        }
    }
}
