//! Inputs made of the flows in `tests/flows`: not the same calls to the last octet, but the same turns.

use super::phone::{METHODS, STATUS};
use super::step;

/// One input, and a second one with two middleboxes and phones that never answer at the end.
pub(super) fn inputs(text: &str) -> Vec<Vec<u8>> {
    let mut flow = Flow { settings: 4, invited: false, steps: Vec::new() };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or(line);
        match line.split_once(" = ") {
            Some((name, value)) if !line.starts_with('=') => flow.set(name.trim(), value.trim()),
            _ => line.split("  ").for_each(|step| flow.step(step.trim())),
        }
    }
    let plain = [0, 17].map(|also| [&[flow.settings | also][..], &flow.steps].concat());
    // Once more with everything that can be switched on.
    let rich =
        [0b010_1001, 0b111_0111].map(|on| [&[flow.settings, super::FEATURES, on][..], &flow.steps].concat());
    plain.into_iter().chain(rich).collect()
}

struct Flow {
    settings: u8,
    invited: bool,
    steps: Vec<u8>,
}

impl Flow {
    fn set(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("call", "inside") => self.settings |= 64,
            ("source", "strict") => self.settings &= !6,
            ("source", "address") => self.settings = self.settings & !6 | 2,
            ("early-media", "no") => self.settings |= 32,
            ("middleboxes", "2") => self.settings |= 1,
            ("next-hop", "name") => self.settings |= 8,
            _ => {}
        }
    }

    fn step(&mut self, text: &str) {
        if let Some(time) = text.strip_prefix('+') {
            let number = |unit: &str| time.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
            let time = number("ms").or_else(|| number("s").map(|time| time * 1000)).unwrap_or(1000);
            let index = step::TIMES.iter().position(|step| *step >= time).unwrap_or(0);
            self.steps.extend([step::TIME, index as u8]);
        }
        match text.split_once(" > ") {
            Some(("A", words)) => self.sent(0, words),
            Some(("B", words)) => self.sent(1, words),
            Some(("M", words)) => self.middlebox(words),
            Some(("R", words)) => self.runtime(words),
            _ => {}
        }
    }

    fn sent(&mut self, who: u8, words: &str) {
        let first = words.split(' ').next().unwrap_or_default();
        let body = body(words);
        let is = |word: &str| words.split(' ').any(|other| other == word);
        if is("again") {
            self.steps.extend([step::AGAIN, who, 0]);
        } else if let Ok(status) = first.parse::<u16>() {
            let status = STATUS.iter().position(|known| *known == status).unwrap_or(13) as u8;
            self.steps.extend([step::RESPOND, who, 0, status, body, 0]);
        } else if first == "ACK" {
            self.steps.extend([step::ACK, who, 0, body]);
        } else if first == "CANCEL" {
            self.steps.extend([step::CANCEL, who, 0]);
        } else if first == "INVITE" && (is("new") || who == 0 && !self.invited) {
            self.invited = true;
            self.steps.extend([step::INVITE, who, body, 0]);
        } else {
            let method = METHODS.iter().position(|known| *known == first).unwrap_or(9) as u8;
            self.steps.extend([step::REQUEST, who, 0, method, body, 0]);
        }
    }

    fn middlebox(&mut self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let position = |text: &str| text.parse::<u8>().map_or(0, |position| position.saturating_sub(1));
        match words.as_slice() {
            ["ok", "all"] => self.steps.extend([step::MIDCOM, 0, 0].repeat(6)),
            ["ok"] => self.steps.extend([step::MIDCOM, 0, 0]),
            ["ok", at] => self.steps.extend([step::MIDCOM, position(at), 0]),
            ["refuse", ..] => {
                let at = words.get(2).map_or(0, |at| position(at));
                self.steps.extend([step::MIDCOM, at, 128 + words[1].len() as u8]);
            }
            ["up"] => self.steps.extend([step::LINK, 0]),
            ["down"] => self.steps.extend([step::LINK, 4]),
            ["event", prid, lifetime] => {
                self.steps.extend([step::EVENT, position(prid) << 1, lifetime.parse().unwrap_or(255)]);
            }
            _ => {}
        }
    }

    fn runtime(&mut self, words: &str) {
        match words.split(' ').next().unwrap_or_default() {
            "kick" => self.steps.extend([step::KICK, 0]),
            "shutdown" => self.steps.push(step::SHUTDOWN),
            "resolved" => self.steps.extend([step::RESOLVED, 1]),
            "unresolved" => self.steps.extend([step::RESOLVED, 0]),
            "unreachable" => self.steps.extend([step::BROKEN, u8::from(words.ends_with('B'))]),
            _ => {}
        }
    }
}

/// The kind of body that is most like what stands there.
fn body(words: &str) -> u8 {
    let video = words.contains("m=video");
    match words.split(' ').find_map(|word| word.strip_prefix("c=")) {
        None => 0,
        Some("0.0.0.0") => 5,
        Some(_) if words.contains(" 0 ") || words.ends_with(" 0") => 7,
        Some(address) if address.starts_with("192.0.2.") => {
            if video {
                3
            } else {
                1
            }
        }
        Some(address) if address.starts_with("10.0.40.") => {
            if video {
                4
            } else {
                2
            }
        }
        Some(address) if address.contains(':') => 8,
        Some(_) => 11,
    }
}
