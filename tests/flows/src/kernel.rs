//! Flows as they are played against the real program and a real firewall: which can be, and what is done for each.
//!
//! There the middlebox answers by itself. Where a flow lets it think while a phone goes on, it is stopped for so long; what the
//! flow says that it was asked must be what it has in the end, rule by rule.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use crate::script::{Script, Step};

/// A flow that waits longer than this in all is left to the machine alone.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// A phone sends, as [`crate::phone::Phone::send`] reads it.
    Send {
        /// A or B.
        who: char,
        /// The rest of the step.
        words: String,
    },
    /// The phones have received this since the last time, each in this order.
    Expect {
        /// The line before which it must have arrived.
        line: usize,
        /// As [`crate::render::sip`] writes it.
        a: Vec<String>,
        /// The same.
        b: Vec<String>,
    },
    /// The middlebox has these rules and no others, ascending; reservations are written `reserved PROTOCOL`.
    Rules {
        /// The line before which it has them.
        line: usize,
        /// As [`crate::render::midcom`] writes them, without the kind of request.
        rules: Vec<String>,
    },
    /// The middlebox takes its time.
    Pause,
    /// It does what it was asked.
    Resume,
    /// The firewall takes a rule back.
    Revoke(String),
    /// The operator ends the call.
    Kick,
    /// Time passes.
    Pass(Duration),
}

/// What a flow amounts to.
///
/// # Errors
/// What about it only the machine alone can show.
pub fn moves(script: &Script) -> Result<Vec<Move>, &'static str> {
    let steps: Vec<(usize, &Step)> =
        script.lines.iter().flat_map(|line| line.steps.iter().map(|step| (line.number, step))).collect();
    let mut play = Play::default();
    for (position, (line, step)) in steps.iter().enumerate() {
        play.step(*line, step, &steps[position + 1..])?;
    }
    let end = steps.last().map_or(1, |(line, _)| line + 1);
    play.before_input(end)?;
    Ok(play.moves)
}

#[derive(Default)]
struct Play {
    moves: Vec<Move>,
    received: [Vec<String>; 2],
    /// What the middlebox has not answered.
    asked: VecDeque<String>,
    rules: BTreeMap<u32, String>,
    /// What the last look said.
    looked: Vec<String>,
    made: u32,
    is_paused: bool,
    waited: Duration,
}

impl Play {
    fn step(&mut self, line: usize, step: &Step, rest: &[(usize, &Step)]) -> Result<(), &'static str> {
        match step {
            Step::Received(text) => self.receive(text),
            Step::Holds(_) => Ok(()),
            Step::Passes(time) => {
                self.before_input(line)?;
                self.waited += *time;
                self.moves.push(Move::Pass(*time));
                if self.waited > PATIENCE { Err("it waits too long") } else { Ok(()) }
            }
            Step::Sent { words, .. } if names_drawn(words) => Err("it names what is drawn by lot"),
            Step::Sent { who: who @ ('A' | 'B'), words } => {
                self.before_input(line)?;
                self.pause_for(rest);
                self.moves.push(Move::Send { who: *who, words: words.clone() });
                Ok(())
            }
            Step::Sent { who: 'M', words } => self.middlebox(line, words),
            Step::Sent { words, .. } if words.starts_with("kick ") => {
                self.before_input(line)?;
                self.pause_for(rest);
                self.moves.push(Move::Kick);
                Ok(())
            }
            Step::Sent { .. } => Err("the runtime is played"),
        }
    }

    fn receive(&mut self, text: &str) -> Result<(), &'static str> {
        match text.split_once(" < ") {
            Some(("A", what)) => self.received[0].push(what.to_owned()),
            Some(("B", what)) => self.received[1].push(what.to_owned()),
            Some(("M", what)) if what.starts_with('@') => return Err("there are two middleboxes"),
            Some(("M", what)) => self.asked.push_back(what.to_owned()),
            Some(_) | None => return Err("something goes elsewhere"),
        }
        Ok(())
    }

    /// Everything that was to happen before has happened.
    fn before_input(&mut self, line: usize) -> Result<(), &'static str> {
        self.expect(line);
        match (self.asked.is_empty(), self.is_paused) {
            (true, _) => self.look(line),
            (false, true) => {}
            (false, false) => return Err("the middlebox stays without an answer"),
        }
        Ok(())
    }

    fn expect(&mut self, line: usize) {
        let [a, b] = std::mem::take(&mut self.received);
        if !a.is_empty() || !b.is_empty() {
            self.moves.push(Move::Expect { line, a, b });
        }
    }

    fn look(&mut self, line: usize) {
        let mut rules: Vec<String> = self.rules.values().cloned().collect();
        rules.sort_unstable();
        if rules != self.looked {
            self.looked.clone_from(&rules);
            self.moves.push(Move::Rules { line, rules });
        }
    }

    /// Stops the middlebox if the next input comes before it has answered what this one will make us ask.
    fn pause_for(&mut self, rest: &[(usize, &Step)]) {
        let mut open = self.asked.len();
        for (_, step) in rest {
            match step {
                Step::Received(text) if text.starts_with("M < ") => open += 1,
                Step::Sent { who: 'M', words } if words == "ok all" => open = 0,
                Step::Sent { who: 'M', words } if words.starts_with("ok") => open = open.saturating_sub(1),
                Step::Received(_) | Step::Holds(_) => {}
                Step::Sent { .. } | Step::Passes(_) => break,
            }
        }
        if open > 0 && !self.is_paused {
            self.is_paused = true;
            self.moves.push(Move::Pause);
        }
    }

    fn middlebox(&mut self, line: usize, words: &str) -> Result<(), &'static str> {
        if self.is_paused {
            // What has left without its answer leaves before it goes on.
            self.expect(line);
        }
        match words.split(' ').collect::<Vec<_>>().as_slice() {
            ["ok", "all"] => {
                while let Some(asked) = self.asked.pop_front() {
                    self.answer(&asked)?;
                }
            }
            ["ok"] => {
                let asked = self.asked.pop_front().ok_or("nothing was asked")?;
                self.answer(&asked)?;
            }
            ["event", prid, "0"] => {
                self.before_input(line)?;
                if self.is_paused {
                    return Err("the firewall takes a rule back while it does nothing else");
                }
                let rule = prid.parse().ok().and_then(|prid| self.rules.remove(&prid));
                self.moves.push(Move::Revoke(rule.ok_or("a rule that is not there is revoked")?));
            }
            ["ok", _] => return Err("the middlebox answers out of order"),
            ["refuse", ..] => return Err("the middlebox refuses"),
            _ => return Err("the middlebox is played"),
        }
        if self.asked.is_empty() && std::mem::take(&mut self.is_paused) {
            self.moves.push(Move::Resume);
        }
        Ok(())
    }

    fn answer(&mut self, asked: &str) -> Result<(), &'static str> {
        let (kind, rest) = asked.split_once(' ').unwrap_or((asked, ""));
        let numbered = |text: &str| {
            let (prid, rest) = text.split_once(' ')?;
            prid.parse::<u32>().ok().map(|prid| (prid, rest.to_owned()))
        };
        match kind {
            "PER" => {
                self.made += 1;
                self.rules.insert(self.made, rest.to_owned());
            }
            "PRR" => {
                self.made += 1;
                let protocol = rest.split(' ').next().unwrap_or_default();
                self.rules.insert(self.made, format!("reserved {protocol}"));
            }
            "PEA" => {
                let (prid, rule) = numbered(rest).ok_or("a PEA without a rule")?;
                self.rules.insert(prid, rule);
            }
            "PLC" => {
                let (prid, lifetime) = numbered(rest).ok_or("a PLC without a rule")?;
                if lifetime == "0" {
                    self.rules.remove(&prid);
                }
            }
            _ => return Err("the middlebox is asked for something else"),
        }
        Ok(())
    }
}

/// True for numbers and tags of ours, which are others in each run.
fn names_drawn(words: &str) -> bool {
    let is_tag = |tag: &str| tag.len() == 16 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let tag = |word: &str| word.strip_prefix("to=").is_some_and(is_tag);
    words.contains("RAck: ") || words.contains('$') || words.split(' ').any(tag)
}

/// True if a phone says that it cannot do what it is asked: the program remembers that for the next call.
#[must_use]
pub fn is_remembered(script: &Script) -> bool {
    let refuses = |step: &Step| match step {
        Step::Sent { words, .. } => words.starts_with("420") || words.starts_with("580"),
        Step::Received(_) | Step::Passes(_) | Step::Holds(_) => false,
    };
    script.lines.iter().flat_map(|line| &line.steps).any(refuses)
}

/// The configuration file that stands for the settings of a flow, without `run-dir` and `user`.
///
/// # Errors
/// The setting that no file can express, or that this network is not made for.
pub fn configuration(script: &Script) -> Result<String, &'static str> {
    let [mut calls, mut realms] = [String::new(), "source = \"realm\"\n".to_owned()];
    let (mut outside, mut inside, mut codes) = (String::new(), String::new(), String::new());
    calls += "reserve = false\n";
    realms += "session-expires = \"off\"\n";
    for (name, value) in &script.settings {
        match name.as_str() {
            "call" => {}
            "show" if !shows_random(value) => {}
            "source" => realms = realms.replace("\"realm\"", &format!("{value:?}")),
            "early-media" => put(&mut realms, name, &(value == "yes").to_string()),
            "reserve" => calls = calls.replace("false", &(value == "yes").to_string()),
            "codes" => {
                put(&mut codes, "set", if value == "dedicated" { "\"dedicated\"" } else { "\"standard\"" })
            }
            "unreachable" | "technical" | "temporary-policy" | "policy" | "policy-in-call" | "sdp" => {
                put(&mut codes, name, value);
            }
            "hold" => put(&mut calls, name, &format!("{value:?}")),
            "crucial" if ["first-audio", "all"].contains(&value.as_str()) => {
                put(&mut calls, name, &format!("{value:?}"));
            }
            "crucial" => {
                let media: Vec<&str> = value.split(',').map(str::trim).collect();
                put(&mut calls, name, &format!("{media:?}"));
            }
            "precondition" => put(&mut realms, name, &format!("{value:?}")),
            "outside-precondition" => put(&mut outside, "precondition", &format!("{value:?}")),
            "inside-precondition" => put(&mut inside, "precondition", &format!("{value:?}")),
            _ => return Err("a setting that only the machine has"),
        }
    }
    Ok(format!(
        "[calls]\n{calls}\n[codes]\n{codes}\n\
         [realm.outside]\nlisten = [\"udp:203.0.113.1:5060\"]\nmedia-ports = \"16384-32767\"\n{realms}{outside}\n\
         [realm.inside]\nlisten = [\"udp:10.0.0.1:5060\"]\nmedia = [\"10.0.40.0/24\"]\n{realms}{inside}\n\
         [[route]]\nto = \"inside\"\nnext-hop = \"sip:10.0.0.5\"\n\n\
         [[route]]\nto = \"outside\"\nnext-hop = \"sip:192.0.2.10\"\n"
    ))
}

fn put(text: &mut String, name: &str, value: &str) {
    let _written = writeln!(text, "{name} = {value}");
}

/// Header fields with something in them that no two runs have in common.
fn shows_random(value: &str) -> bool {
    let random = ["all", "Call-ID", "Content-Length", "From", "RSeq", "Session-ID", "To", "Via"];
    value.split(',').any(|name| random.contains(&name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_middlebox_that_thinks_is_stopped_for_so_long() {
        let flow = "A > INVITE c=192.0.2.10 m=audio 20000\nA < 100\nM < PER udp x -> y\nA > CANCEL\nA < 200 CANCEL\n\
                    M > ok\nM < PLC 1 0\nM > ok\n";
        let script = Script::parse(flow).unwrap();
        let moves = moves(&script).unwrap();
        let short: Vec<&str> = moves.iter().map(name).collect();
        assert_eq!(short, ["pause", "send", "expect", "send", "expect", "resume"]);
    }

    #[test]
    fn rules_are_followed_from_their_requests() {
        let flow = "A > INVITE\nM < PER udp x -> y\nM < PRR udp 2\nM > ok all\nB < INVITE\nB > 200\nM < PEA 2 udp z <- y\n\
                    M > ok\nA < 200\nA > ACK\n";
        let script = Script::parse(flow).unwrap();
        let moves = moves(&script).unwrap();
        let rules: Vec<&Move> = moves.iter().filter(|one| matches!(one, Move::Rules { .. })).collect();
        let first = ["reserved udp", "udp x -> y"].map(str::to_owned).to_vec();
        let second = ["udp x -> y", "udp z <- y"].map(str::to_owned).to_vec();
        assert_eq!(rules, [&Move::Rules { line: 6, rules: first }, &Move::Rules { line: 10, rules: second }]);
    }

    fn name(one: &Move) -> &'static str {
        match one {
            Move::Send { .. } => "send",
            Move::Expect { .. } => "expect",
            Move::Rules { .. } => "rules",
            Move::Pause => "pause",
            Move::Resume => "resume",
            Move::Revoke(_) => "revoke",
            Move::Kick => "kick",
            Move::Pass(_) => "pass",
        }
    }
}
