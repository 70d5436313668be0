//! What a healthy Postern does.

use std::time::{Duration, Instant};

use crate::subject::{Named, Outcome, Place, memory_kb};

pub(crate) const TRIALS: &[Named] = &[
    ("options_are_answered_over_udp_and_tcp", options_are_answered_over_udp_and_tcp),
    ("it_ends_within_five_seconds", it_ends_within_five_seconds),
    ("the_agent_half_has_no_privilege", the_agent_half_has_no_privilege),
    ("idle_it_is_small", idle_it_is_small),
    ("the_gate_is_exactly_what_the_rules_say", the_gate_is_exactly_what_the_rules_say),
    ("the_table_stays_unless_it_is_removed", the_table_stays_unless_it_is_removed),
    ("commands_answer_in_json", commands_answer_in_json),
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
        let text = std::fs::read_to_string(format!("/proc/{}/status", subject.process(half)?))?;
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
    let mut subject = place.start()?;
    subject.terminate()?;
    let file = subject.file.display().to_string();
    let removed = place.command(&["middlebox", "--remove", &file])?;
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
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
