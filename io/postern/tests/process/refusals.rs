//! What is said when it cannot start, and with which exit code.

use std::process::{Command, Output, Stdio};

use crate::subject::{BINARY, CONFIG, Named, Outcome, Place};

pub(crate) const TRIALS: &[Named] = &[
    ("a_port_in_use_is_named", a_port_in_use_is_named),
    ("an_address_of_nobody_is_named", an_address_of_nobody_is_named),
    ("a_missing_capability_is_named", a_missing_capability_is_named),
    ("a_file_that_cannot_be_read_is_named", a_file_that_cannot_be_read_is_named),
    ("a_wrong_file_is_a_usage_error", a_wrong_file_is_a_usage_error),
    ("a_second_postern_does_not_disturb_the_first", a_second_postern_does_not_disturb_the_first),
    ("left_over_sockets_are_replaced", left_over_sockets_are_replaced),
    ("nobody_answers_when_nothing_runs", nobody_answers_when_nothing_runs),
    ("an_unknown_user_is_named", an_unknown_user_is_named),
    ("with_json_an_error_is_an_object", with_json_an_error_is_an_object),
];

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(place: &Place, config: &str) -> std::io::Result<Output> {
    let file = place.write(config)?.display().to_string();
    place.command(&["run", &file])
}

fn a_port_in_use_is_named() -> Outcome {
    let place = Place::new()?;
    let _other = place.host.run(|| std::net::UdpSocket::bind("127.0.0.1:5060"))?;
    let output = run(&place, CONFIG)?;
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(
        text.contains("port already in use: udp 127.0.0.1:5060; another SIP server is running there?"),
        "{text}"
    );
    let file = place.folder.join("postern.toml").display().to_string();
    let check = place.command(&["check", &file])?;
    assert_eq!(check.status.code(), Some(1));
    assert!(said(&check).contains("port already in use: udp 127.0.0.1:5060"), "{}", said(&check));
    Ok(())
}

fn an_address_of_nobody_is_named() -> Outcome {
    let place = Place::new()?;
    let output = run(&place, &CONFIG.replace("127.0.0.1", "192.0.2.99"))?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("no interface of this host has the address 192.0.2.99"),
        "{}",
        said(&output)
    );
    Ok(())
}

fn a_missing_capability_is_named() -> Outcome {
    let place = Place::new()?;
    let file = place.write(CONFIG)?;
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin", BINARY, "middlebox"]);
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = place.host.spawn(&mut command)?.wait_with_output()?;
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("the middlebox needs CAP_NET_ADMIN: run as root"), "{text}");
    Ok(())
}

fn a_file_that_cannot_be_read_is_named() -> Outcome {
    let place = Place::new()?;
    let output = place.command(&["run", "/nonexistent.toml"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("/nonexistent.toml: no such file"), "{}", said(&output));
    Ok(())
}

fn a_wrong_file_is_a_usage_error() -> Outcome {
    let place = Place::new()?;
    for command in ["run", "check", "agent", "middlebox"] {
        let file = place.write(&CONFIG.replace("media ", "medai "))?.display().to_string();
        let output = place.command(&[command, &file])?;
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(said(&output).contains("did you mean `media`?"), "{}", said(&output));
    }
    assert_eq!(place.command(&["dance"])?.status.code(), Some(2));
    Ok(())
}

fn with_json_an_error_is_an_object() -> Outcome {
    let place = Place::new()?;
    let wrong = place.write(&CONFIG.replace("media ", "medai "))?.display().to_string();
    let nobody = place.run_dir().display().to_string();
    let lines: [(&[&str], i32, &str); 4] = [
        (&["run", "/nonexistent.toml", "-j"], 2, "no such file"),
        (&["check", &wrong, "--json"], 2, "did you mean `media`?"),
        (&["-j", "kick", "no-number"], 2, "no-number"),
        (&["calls", "-j", "--run-dir", &nobody], 1, ""),
    ];
    for (arguments, code, text) in lines {
        let output = place.command(arguments)?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let object: serde_json::Value = serde_json::from_slice(&output.stderr)?;
        assert_eq!(object["exit-code"], code, "{object}");
        let error = object["error"].as_str().unwrap_or_default();
        assert!(!error.is_empty() && error.contains(text), "{object}");
        assert!(output.stdout.is_empty(), "{arguments:?}: nothing but what was asked for goes there");
    }
    Ok(())
}

fn a_second_postern_does_not_disturb_the_first() -> Outcome {
    let place = Place::new()?;
    let subject = place.start()?;
    let file = subject.file.display().to_string();
    for command in ["run", "middlebox"] {
        let output = place.command(&[command, &file])?;
        assert_eq!(output.status.code(), Some(1), "{command}");
    }
    let middlebox = place.command(&["middlebox", &file])?;
    let holder = format!("process {}", subject.process("middlebox")?);
    assert!(said(&middlebox).contains(&holder), "{}", said(&middlebox));
    subject.serves()?;
    assert!(subject.command(&["status"])?.status.success());
    Ok(())
}

fn left_over_sockets_are_replaced() -> Outcome {
    let place = Place::new()?;
    for name in ["agent", "middlebox", "simco"] {
        std::fs::create_dir_all(place.run_dir())?;
        drop(std::os::unix::net::UnixListener::bind(place.run_dir().join(format!("{name}.sock")))?);
    }
    place.start()?.serves()?;
    Ok(())
}

fn nobody_answers_when_nothing_runs() -> Outcome {
    let place = Place::new()?;
    let file = place.write(CONFIG)?.display().to_string();
    for command in ["calls", "status", "pinholes"] {
        let output = place.command(&[command, "-c", &file])?;
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(said(&output).contains("no postern answers at"), "{}", said(&output));
    }
    Ok(())
}

fn an_unknown_user_is_named() -> Outcome {
    let place = Place::new()?;
    let output = run(&place, &format!("user = \"nobody-at-all\"\n{CONFIG}"))?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("there is no user `nobody-at-all`"), "{}", said(&output));
    Ok(())
}
