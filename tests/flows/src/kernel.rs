//! Flows as they are played against the real program and a real firewall: which can be, and with which configuration.
//!
//! The lab puts a middlebox between the agent and the real one that does as the flow says: what the flow lets it grant the real
//! one grants, and its kernel with it; what it refuses or leaves unanswered the real one never hears of. Where a flow has two
//! middleboxes there are two of each, the second on a host of its own behind the first. The agent's clock goes when the flow
//! says so. So most flows can be played; this module knows those that cannot, and why; [`crate::unanswered`] how those are
//! whose requests get no answer.

use std::fmt::Write;

use crate::script::{Script, Step};

/// Flows that the machine alone can play although nothing in them says so, by what their path begins with.
const ALONE: &[(&str, &str)] = &[
    ("failures/technical-version", "a session that hears of another version ends"),
    ("firewall/extension-unanswered", NO_REPLY),
    ("firewall/shortened-for-good", NO_REPLY),
    (
        "redirect/by-q",
        "a next hop from a file has its port in the URI, so that the phone without it is another",
    ),
];
const NO_REPLY: &str = "a reply does not come for longer than the 4 s that the agent's session waits";

/// How the section of a host's own middlebox begins; in brackets where there are several.
pub const OWN: &str = "[middlebox]";
/// Stands for the path of its socket.
pub const SOCKET: &str = "SOCKET";
/// Where the second of two middleboxes is.
pub const SECOND: &str = "127.0.0.1:7626";

/// What keeps a flow, by its path below `tests/flows`, from being played on a real kernel.
#[must_use]
pub fn obstacle(path: &str, script: &Script) -> Option<&'static str> {
    let known = ALONE.iter().find(|(start, _)| path.starts_with(start)).map(|(_, why)| *why);
    let step = || script.lines.iter().flat_map(|line| &line.steps).find_map(obstacle_in);
    known.or_else(|| configuration(script).err()).or_else(step)
}

fn obstacle_in(step: &Step) -> Option<&'static str> {
    match step {
        Step::Received(text) if text.starts_with("? <") => {
            Some("it sends to a host that is not in the lab's network")
        }
        Step::Received(text) if text.starts_with("R < resolve") => {
            Some("names are answered by the flow, and the lab has no name server")
        }
        Step::Sent { who: 'R', words } if words.starts_with("unreachable") => {
            Some("a socket's error, which a kernel tells when it likes")
        }
        Step::Sent { .. } | Step::Received(_) | Step::Passes(_) | Step::Holds(_) => None,
    }
}

/// The configuration file that stands for the settings of a flow, without `run-dir` and `user`, and with [`SOCKET`].
/// What a middlebox grants and which wildcards it takes is said by the lab's own.
///
/// # Errors
/// The setting that no file can express.
pub fn configuration(script: &Script) -> Result<String, &'static str> {
    let mut file = File::default();
    for (name, value) in &script.settings {
        file.set(name, value)?;
    }
    Ok(file.text())
}

/// Sections of a configuration file, as far as flows need them.
struct File {
    calls: String,
    codes: String,
    limits: String,
    timers: String,
    middlebox: String,
    has_two: bool,
    /// Of both realms, of the outside and of the inside one.
    realms: [String; 3],
    source: String,
    reserve: bool,
    /// `session-expires`, outside and inside.
    sessions: [String; 2],
    inside_media: String,
    /// Where calls go: outside and inside.
    next_hops: [String; 2],
}

impl Default for File {
    fn default() -> Self {
        let empty = String::new;
        Self {
            calls: empty(),
            codes: empty(),
            limits: empty(),
            timers: empty(),
            middlebox: empty(),
            has_two: false,
            realms: [empty(), empty(), empty()],
            source: "realm".into(),
            reserve: false,
            sessions: ["off".into(), "off".into()],
            inside_media: networks("10.0.40.0/24"),
            next_hops: ["192.0.2.10".into(), "10.0.0.5".into()],
        }
    }
}

impl File {
    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let seconds = |value: &str| if value == "off" { "off".to_owned() } else { format!("{value}s") };
        match name {
            // What the lab's own middlebox and phones need to know, and what is only shown.
            "nat" => return Err("the outside ports are those that the flow's own middlebox gives"),
            "call" | "show" | "wildcards" | "granted" => {}
            "source" => value.clone_into(&mut self.source),
            "reserve" => self.reserve = value == "yes",
            "early-media" => put(&mut self.realms[0], name, value == "yes"),
            "codes" if value == "dedicated" => put(&mut self.codes, "set", quoted("dedicated")),
            "codes" => {}
            "unreachable" | "technical" | "temporary-policy" | "policy" | "policy-in-call" | "sdp" => {
                put(&mut self.codes, name, value);
            }
            "precondition-failed" => put(&mut self.codes, "precondition", value),
            "hold" => put(&mut self.calls, name, quoted(value)),
            "crucial" if ["first-audio", "all"].contains(&value) => put(&mut self.calls, name, quoted(value)),
            "crucial" => put(&mut self.calls, name, networks(value)),
            "redirect" if value == "relay" => put(&mut self.calls, name, quoted(value)),
            "redirect" => {
                put(&mut self.calls, name, quoted("follow"));
                put(&mut self.calls, "redirect-most", value);
            }
            "media-timeout" => put(&mut self.calls, name, quoted(&seconds(value))),
            "rule-lifetime" => put(&mut self.timers, name, quoted(&seconds(value))),
            "calls" => put(&mut self.limits, name, value),
            "rules" => put(&mut self.limits, "rules-per-call", value),
            "inside-networks" if value == "0.0.0.0/0" => return Err("two realms with the same networks"),
            "inside-networks" => self.inside_media = networks(value),
            "outside-networks" => put(&mut self.realms[1], "media", networks(value)),
            "inside-next-hop" | "outside-next-hop" if value.contains(',') => {
                return Err("names are answered by the flow, and the lab has no name server");
            }
            "inside-next-hop" => value.clone_into(&mut self.next_hops[1]),
            "outside-next-hop" => value.clone_into(&mut self.next_hops[0]),
            "middleboxes" if value == "0" => put(&mut self.middlebox, "engine", quoted("none")),
            "middleboxes" => self.has_two = value == "2",
            "next-hop" => return Err("names are answered by the flow, and the lab has no name server"),
            "registrations" | "subscriptions" => put(&mut self.limits, name, value),
            "forks" | "strays" | "exchanges" | "held" => return Err("a limit that no configuration sets"),
            _ => self.set_of_realm(name, value, &seconds(value))?,
        }
        Ok(())
    }

    /// Settings that may be for one realm.
    fn set_of_realm(&mut self, name: &str, value: &str, seconds: &str) -> Result<(), &'static str> {
        let (bare, realms) = match (name.strip_prefix("outside-"), name.strip_prefix("inside-")) {
            (Some(bare), _) => (bare, [true, false]),
            (None, Some(bare)) => (bare, [false, true]),
            (None, None) => (name, [true, true]),
        };
        for realm in (0..2).filter(|realm| realms[*realm]) {
            match bare {
                "precondition" => put(&mut self.realms[realm + 1], bare, quoted(value)),
                "session-expires" => seconds.clone_into(&mut self.sessions[realm]),
                "min-se" => put(&mut self.realms[realm + 1], bare, quoted(seconds)),
                "pass" => put(&mut self.realms[realm + 1], bare, networks(value)),
                _ => return Err("a setting that only the machine has"),
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let Self { calls, codes, limits, timers, source, reserve, inside_media, .. } = self;
        let [both, outside, inside] = &self.realms;
        let [session_outside, session_inside] = &self.sessions;
        let [hop_outside, hop_inside] = &self.next_hops;
        format!(
            "[calls]\nreserve = {reserve}\n{calls}\n[codes]\n{codes}\n[limits]\n{limits}\n[timers]\n{timers}\n\
             [realm.outside]\nlisten = [\"udp:203.0.113.1:5060\"]\nmedia-ports = \"16384-32767\"\n\
             source = {source:?}\nsession-expires = {session_outside:?}\n{both}{outside}\n\
             [realm.inside]\nlisten = [\"udp:10.0.0.1:5060\"]\nmedia = {inside_media}\n\
             source = {source:?}\nsession-expires = {session_inside:?}\n{both}{inside}\n\
             [[route]]\nto = \"inside\"\nnext-hop = \"sip:{hop_inside}\"\n\n\
             [[route]]\nto = \"outside\"\nnext-hop = \"sip:{hop_outside}\"\n\n{}",
            self.middleboxes()
        )
    }

    /// The section of the middlebox on this host, or of that and a second one.
    fn middleboxes(&self) -> String {
        let Self { middlebox, has_two, .. } = self;
        match has_two {
            false => format!("{OWN}\n{middlebox}socket = {SOCKET:?}\n"),
            true => format!(
                "{}\nname = \"one\"\n{middlebox}socket = {SOCKET:?}\n\n{}\nname = \"two\"\nconnect = \"tcp:{SECOND}\"\n",
                format_args!("[{OWN}]"),
                format_args!("[{OWN}]"),
            ),
        }
    }
}

fn put(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing into a String cannot fail.
    let _written = writeln!(text, "{name} = {value}");
}

fn quoted(value: &str) -> String {
    format!("{value:?}")
}

/// A list with commas, as a file has it.
fn networks(value: &str) -> String {
    let all: Vec<&str> = value.split(',').map(str::trim).collect();
    format!("{all:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_alone_has_is_an_obstacle_and_what_a_file_has_is_not() {
        let of = |text: &str| obstacle("x/y.flow", &Script::parse(text).unwrap());
        assert_eq!(of("source = strict\nA > INVITE\nM > refuse resources\n+40s\nM > down\n"), None);
        assert!(of("forks = 2\nA > INVITE\n").is_some());
        assert!(of("A > INVITE\nR < resolve pbx.example\n").is_some());
    }

    #[test]
    fn a_setting_of_one_realm_is_written_there() {
        let script = Script::parse("inside-session-expires = 1800\nprecondition = fw\nA > INVITE\n").unwrap();
        let file = configuration(&script).unwrap();
        let (outside, inside) = file.split_once("[realm.inside]").unwrap();
        assert!(
            outside.contains("session-expires = \"off\"") && inside.contains("session-expires = \"1800s\"")
        );
        assert_eq!(file.matches("precondition = \"fw\"").count(), 2);
    }
}
