//! What a healthy Postern does.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netns::again;

use crate::subject::{BINARY, CONFIG, Named, Outcome, Place, invite, memory_kb, read_to_close};

pub(crate) const TRIALS: &[Named] = &[
    ("options_are_answered_over_udp_and_tcp", options_are_answered_over_udp_and_tcp),
    ("it_ends_within_five_seconds", it_ends_within_five_seconds),
    ("the_agent_half_has_no_privilege", the_agent_half_has_no_privilege),
    ("idle_it_is_small", idle_it_is_small),
    ("the_gate_is_exactly_what_the_rules_say", the_gate_is_exactly_what_the_rules_say),
    ("the_table_stays_unless_it_is_removed", the_table_stays_unless_it_is_removed),
    ("commands_answer_in_json", commands_answer_in_json),
    ("rules_are_shown_with_their_calls", rules_are_shown_with_their_calls),
    ("halves_may_be_on_two_machines", halves_may_be_on_two_machines),
    ("a_stranger_gets_no_session_over_tcp", a_stranger_gets_no_session_over_tcp),
];

fn options_are_answered_over_udp_and_tcp() -> Outcome {
    let place = Place::new()?;
    place.start()?.serves()?;
    Ok(())
}

fn it_ends_within_five_seconds() -> Outcome {
    let place = Place::new()?;
    let mut subject = place.start()?;
    let begun = Instant::now();
    assert!(subject.terminate()?.success(), "{}", subject.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    Ok(())
}

fn the_agent_half_has_no_privilege() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    for (half, rights) in [("agent", 0), ("middlebox", 1 << 12)] {
        let text = fs::read_to_string(format!("/proc/{}/status", subject.process(half)?))?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            u64::from_str_radix(line.trim(), 16)
        };
        assert_eq!(of("CapEff:")?, rights, "{half}");
        assert_eq!(of("CapPrm:")?, rights, "{half}");
        assert_eq!(of("CapBnd:")?, rights, "{half}");
        assert_eq!(of("NoNewPrivs:")?, 1, "{half}");
    }
    Ok(())
}

fn idle_it_is_small() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let processes = [subject.child.id().into(), subject.process("agent")?, subject.process("middlebox")?];
    let sizes = processes.map(memory_kb);
    let sum: u64 = sizes.into_iter().sum::<Result<u64, _>>()?;
    assert!(sum < 25_000, "{sum} kB");
    Ok(())
}

fn the_gate_is_exactly_what_the_rules_say() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let output = subject.command(&["pinholes", "--kernel", "-j"])?;
    assert!(output.status.success());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["rules"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["kernel"].as_array().map(Vec::len), Some(0));
    Ok(())
}

fn the_table_stays_unless_it_is_removed() -> Outcome {
    let place = Place::new()?;
    let is_there = || place.host.run(|| nftables::is_installed().map_err(io::Error::other));
    let mut subject = place.start()?;
    subject.terminate()?;
    assert!(is_there()?, "the gate stays shut");
    let file = subject.file.display().to_string();
    let dry = place.command(&["middlebox", "--dry-run", &file])?;
    assert!(String::from_utf8_lossy(&dry.stdout).starts_with("table inet postern"));
    let removed = place.command(&["middlebox", "--remove", &file])?;
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    assert!(!is_there()?, "it was removed");
    let mut subject = place.start_with(&["--remove"])?;
    assert!(is_there()?);
    assert!(subject.terminate()?.success(), "{}", subject.log());
    assert!(!is_there()?, "it was removed at the end");
    Ok(())
}

fn commands_answer_in_json() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    for arguments in [["calls", "-j"], ["status", "-j"], ["pinholes", "-j"], ["check", "-j"]] {
        let output = subject.command(&arguments)?;
        let _: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    }
    assert_eq!(subject.command(&["call", "99"])?.status.code(), Some(1));
    assert_eq!(subject.command(&["kick", "99"])?.status.code(), Some(1));
    assert_eq!(subject.command(&["revoke", "99"])?.status.code(), Some(1));
    Ok(())
}

fn rules_are_shown_with_their_calls() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let callee = place.callee()?;
    let caller = place.udp()?;
    caller.send(invite("shown").as_bytes())?;
    let count = again(|| callee.recv(&mut [0; 4096]))?;
    assert!(count > 0, "the INVITE arrived");
    let rules = |arguments: &[&str]| {
        let report: serde_json::Value = serde_json::from_slice(&subject.command(arguments)?.stdout)?;
        report["rules"].as_array().cloned().ok_or_else(|| io::Error::other(report.to_string()))
    };
    let (lines, rules) = (rules(&["pinholes", "-j"])?, rules(&["call", "1", "-j"])?);
    // One to the caller, and what is reserved for the callee.
    assert_eq!((lines.len(), rules.len()), (2, 2), "{lines:?}\n{rules:?}");
    for line in &lines {
        assert_eq!(line["call"], 1, "{line}");
        let rule = rules.iter().find(|rule| rule["pid"] == line["pid"]).ok_or("a rule without its call")?;
        assert_eq!((&rule["state"], &rule["packets"]), (&line["state"], &0.into()), "{rule}");
        let left = rule["remaining_s"].as_u64().unwrap_or_default();
        assert!((500..=600).contains(&left), "{rule}");
    }
    let text = String::from_utf8(subject.command(&["call", "1"])?.stdout)?;
    assert!(text.contains("PACKETS") && text.contains("192.0.2.10:20000-20001"), "{text}");
    let text = String::from_utf8(subject.command(&["pinholes"])?.stdout)?;
    assert!(text.starts_with("MIDDLEBOX") && text.contains("CALL"), "{text}");
    Ok(())
}

/// Starts one half alone, with its own folder of sockets.
fn half(place: &Place, half: &str, section: &str) -> io::Result<Child> {
    let file = place.folder.join(format!("{half}.toml"));
    let run_dir = place.folder.join(half);
    fs::write(
        &file,
        format!("run-dir = {:?}\n{CONFIG}\n[middlebox]\n{section}\n", run_dir.display().to_string()),
    )?;
    place.host.spawn(Command::new(BINARY).arg(half).arg(&file).stdin(Stdio::null()).stderr(Stdio::null()))
}

/// What `status` says of the agent half that was started alone.
fn agent_is_up(place: &Place) -> io::Result<bool> {
    let run_dir = place.folder.join("agent").display().to_string();
    Ok(place.command(&["status", "--run-dir", &run_dir])?.status.success())
}

fn halves_may_be_on_two_machines() -> Outcome {
    let place = Place::new()?;
    let mut middlebox = half(&place, "middlebox", "listen = [\"127.0.0.1:7626\"]\npeers = [\"127.0.0.1\"]")?;
    let mut agent = half(&place, "agent", "connect = \"127.0.0.1:7626\"")?;
    let up = within(Duration::from_secs(10), || agent_is_up(&place));
    agent.kill()?;
    middlebox.kill()?;
    assert!(up?, "the session came up over TCP");
    Ok(())
}

fn a_stranger_gets_no_session_over_tcp() -> Outcome {
    let place = Place::new()?;
    let mut middlebox = half(&place, "middlebox", "listen = [\"127.0.0.1:7626\"]\npeers = [\"192.0.2.1\"]")?;
    let refused = || {
        let mut stream = place.host.run(|| TcpStream::connect("127.0.0.1:7626"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // SE with protocol version 3.0 (RFC 4540 §4).
        stream.write_all(&[1, 1, 0, 8, 0, 0, 0, 1, 0, 1, 0, 4, 3, 0, 0, 0])?;
        let answer = read_to_close(&mut stream)?;
        // 0x0324: no authorization.
        Ok(answer.starts_with(&[3, 0x24]))
    };
    let refused = within(Duration::from_secs(10), refused);
    middlebox.kill()?;
    assert!(refused?, "0x0324, then closed");
    Ok(())
}

/// Tries until it is true.
fn within(time: Duration, mut is_true: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if matches!(is_true(), Ok(true)) {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    is_true()
}
