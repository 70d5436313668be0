//! What strangers, kills and full disks do to it: nothing.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::subject::{Named, Outcome, Place, memory_kb, options, read_some, read_to_close, signal};

pub(crate) const TRIALS: &[Named] = &[
    ("garbage_harms_nobody", garbage_harms_nobody),
    ("a_header_of_a_megabyte_is_refused", a_header_of_a_megabyte_is_refused),
    ("a_negative_length_is_answered_and_closed", a_negative_length_is_answered_and_closed),
    ("half_a_message_is_waited_for_and_then_dropped", half_a_message_is_waited_for_and_then_dropped),
    ("messages_in_pieces_are_put_together", messages_in_pieces_are_put_together),
    ("a_killed_half_comes_back", a_killed_half_comes_back),
    ("a_killed_supervisor_leaves_nobody_behind", a_killed_supervisor_leaves_nobody_behind),
    (
        "garbage_on_the_simco_socket_ends_that_session_only",
        garbage_on_the_simco_socket_ends_that_session_only,
    ),
    ("garbage_on_the_admin_socket_is_refused", garbage_on_the_admin_socket_is_refused),
    ("a_full_disk_stops_the_log_and_nothing_else", a_full_disk_stops_the_log_and_nothing_else),
    ("many_connections_from_one_address_are_refused", many_connections_from_one_address_are_refused),
];

/// Bytes without meaning, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(step).collect()
}

fn garbage_harms_nobody() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let udp = place.udp()?;
    for seed in 1..200 {
        udp.send(&noise(seed, (seed as usize * 37) % 1400))?;
    }
    for seed in 1..20 {
        let mut tcp = place.tcp()?;
        // It may be closed before all is written.
        let _ = tcp.write_all(&noise(seed, 10_000));
    }
    subject.serves()?;
    Ok(())
}

fn a_header_of_a_megabyte_is_refused() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let mut tcp = place.tcp()?;
    let message = options("TCP", "large")
        .replace("Max-Forwards", &format!("X: {}\r\nMax-Forwards", "x".repeat(1 << 20)));
    let _ = tcp.write_all(message.as_bytes());
    let answer = read_to_close(&mut tcp)?;
    assert!(!answer.starts_with(b"SIP/2.0 200"), "it was taken");
    assert!(memory_kb(subject.process("agent")?)? < 20_000, "it was kept");
    subject.serves()?;
    Ok(())
}

fn a_negative_length_is_answered_and_closed() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let mut tcp = place.tcp()?;
    tcp.write_all(options("TCP", "negative").replace("Length: 0", "Length: -1").as_bytes())?;
    let answer = read_to_close(&mut tcp)?;
    assert!(answer.starts_with(b"SIP/2.0 400 "), "{:?}", String::from_utf8_lossy(&answer));
    subject.serves()?;
    Ok(())
}

fn half_a_message_is_waited_for_and_then_dropped() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let mut tcp = place.tcp()?;
    let message = options("TCP", "half");
    tcp.write_all(&message.as_bytes()[..100])?;
    let begun = Instant::now();
    // Others are served meanwhile.
    subject.serves()?;
    assert!(read_to_close(&mut tcp)?.is_empty());
    assert!(begun.elapsed() > Duration::from_millis(800), "dropped after {:?}", begun.elapsed());
    Ok(())
}

fn messages_in_pieces_are_put_together() -> Outcome {
    let place = Place::new()?;
    let _subject = place.start()?;
    let mut tcp = place.tcp()?;
    tcp.set_nodelay(true)?;
    let two = format!("{}\r\n\r\n{}", options("TCP", "first"), options("TCP", "second"));
    for piece in two.as_bytes().chunks(97) {
        tcp.write_all(piece)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut all = String::new();
    while all.matches("SIP/2.0 200").count() < 2 {
        let some = read_some(&mut tcp)?;
        assert!(!some.is_empty(), "closed after {all}");
        all.push_str(&String::from_utf8_lossy(&some));
    }
    Ok(())
}

fn a_killed_half_comes_back() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    for half in ["agent", "middlebox"] {
        let before = subject.process(half)?;
        signal(before, "KILL")?;
        subject.wait_for("the half is back", || {
            Ok(subject.process(half)? != before && subject.command(&["status"])?.status.success())
        })?;
        subject.serves()?;
    }
    Ok(())
}

fn a_killed_supervisor_leaves_nobody_behind() -> Outcome {
    let place = Place::new()?;
    let mut subject = place.start()?;
    let halves = [subject.process("agent")?, subject.process("middlebox")?];
    subject.child.kill()?;
    subject.child.wait()?;
    for half in halves {
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{half}/stat")).unwrap_or_default();
            // One that nobody has waited for yet is gone too.
            Ok(stat.is_empty() || stat.contains(") Z "))
        };
        subject.wait_for("the halves are gone", gone)?;
    }
    Ok(())
}

fn garbage_on_the_simco_socket_ends_that_session_only() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let session = subject.process("middlebox")?;
    for seed in 1..20 {
        let mut stream = UnixStream::connect(place.run_dir().join("simco.sock"))?;
        let _ = stream.write_all(&noise(seed, 5_000));
    }
    assert!(subject.command(&["status"])?.status.success());
    assert_eq!(subject.process("middlebox")?, session, "it was not even started again");
    Ok(())
}

fn garbage_on_the_admin_socket_is_refused() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    for socket in ["agent.sock", "middlebox.sock"] {
        for bytes in [noise(7, 200_000), b"{}\n".to_vec(), b"{\"do\":\"dance\"}\n".to_vec()] {
            let mut stream = UnixStream::connect(place.run_dir().join(socket))?;
            let _ = stream.write_all(&bytes);
        }
    }
    assert!(subject.command(&["status"])?.status.success());
    Ok(())
}

fn a_full_disk_stops_the_log_and_nothing_else() -> Outcome {
    let place = Place::new()?;
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut subject = place.start_logging_to(full()?, &[])?;
    subject.serves()?;
    let file = subject.file.display().to_string();
    let mut status = std::process::Command::new(crate::subject::BINARY);
    let output = status.args(["status", "-c", &file]).stdout(full()?).output()?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write"), "{said}");
    assert!(subject.terminate()?.success());
    Ok(())
}

fn many_connections_from_one_address_are_refused() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let connections: Vec<_> = (0..130).map(|_| place.tcp()).collect::<Result<_, _>>()?;
    let full = || Ok(subject.status("/agent/connections")?.as_u64() == Some(100));
    subject.wait_for("the limit is kept", full)?;
    drop(connections);
    subject
        .wait_for("the places are free", || Ok(subject.status("/agent/connections")?.as_u64() == Some(0)))?;
    subject.serves()?;
    Ok(())
}
