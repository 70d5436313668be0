//! A phone in a real browser: JsSIP in headless Chromium registers over WSS with Kamailio inside, and calls a desk phone.
//!
//! JsSIP comes by `npm ci`, as `tests/lab/browser/package-lock.json` has it.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use certificates::Leaf;
use serde_json::Value;

use crate::baresip::Baresip;
use crate::phone::Answer;
use crate::registrations::kamailio;
use crate::secure::Office;
use crate::sites::example;
use crate::witness::expect;
use crate::world::{BORDER_OUTSIDE, INSIDE, Named, Outcome, Postern, Program, World, text};

pub(crate) fn trials() -> Vec<Named> {
    vec![("browser::jssip_registers_over_wss_and_is_told_that_a_plain_phone_shares_no_profile", call)]
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/lab/browser");

/// A browser with one page, which is a phone.
struct Browser {
    _program: Program,
    /// It ends when this is closed.
    _keys: ChildStdin,
    events: BufReader<ChildStdout>,
}

impl Browser {
    /// It registers as alice at once, and then calls.
    fn start(world: &World, callee: &str) -> io::Result<Self> {
        if !Path::new(FOLDER).join("node_modules/jssip").exists() {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", FOLDER]);
            text(npm.output()?)?;
        }
        let folder = world.folder.join("browser");
        fs::create_dir_all(&folder)?;
        // Its own loopback: Chromium's processes speak over sockets.
        let mut node = Command::new("node");
        node.arg(format!("{FOLDER}/drive.cjs")).arg(&folder);
        node.args([
            &format!("wss://{BORDER_OUTSIDE}/"),
            &format!("sip:alice@{BORDER_OUTSIDE}"),
            "secret",
            callee,
        ]);
        node.env("HOME", &folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = world.outside.spawn(&mut node)?;
        let missing = || io::Error::other("no pipe");
        let _keys = child.stdin.take().ok_or_else(missing)?;
        let events = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(Self { _program: Program::of(child), _keys, events })
    }

    /// The next of these events, or an error with what came instead and ends everything.
    fn next(&mut self, wanted: &[&str]) -> io::Result<Value> {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            if self.events.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("the browser has ended before {wanted:?}: {seen}")));
            }
            let event: Value = serde_json::from_str(&line)?;
            let name = event["event"].as_str().unwrap_or_default();
            if wanted.contains(&name) {
                return Ok(event);
            }
            if ["failed", "registration failed", "exception", "broken"].contains(&name) {
                return Err(io::Error::other(format!("{line} before {wanted:?}: {seen}")));
            }
            seen.push_str(&line);
        }
    }
}

/// Postern for phones outside, with a door for browsers.
fn border<'w>(world: &'w World, office: &Office) -> io::Result<Postern<'w>> {
    office.issue("border", &Leaf { names: &["sip.example.net"], ..Leaf::valid() })?;
    world.nft("insert rule inet filter input tcp dport 443 accept")?;
    let listen = "\"tcp:198.51.100.1:5060\"]\n";
    let with_door =
        format!("\"wss:198.51.100.1:443\"]\nmedia-ports = \"1024-65535\"\n{}\n", office.keys("border"));
    let ports = "media = [\"10.0.40.0/24\"]\n";
    let config = example(world, "phones-outside.toml")?.replacen(listen, &with_door, 1);
    // A browser takes any port; nothing is cut off by range here.
    world.postern(&config.replacen(
        ports,
        &format!("{ports}managed = false\nmedia-ports = \"1024-65535\"\n"),
        1,
    ))
}

fn call() -> Outcome {
    let world = World::new()?;
    let office = Office::open(&world)?;
    let _registrar = kamailio(&world)?;
    let postern = border(&world, &office)?;
    let _bob = Baresip::start(&world, &world.inside, "bob", INSIDE, Answer::AtOnce)?;
    let mut alice = Browser::start(&world, &format!("sip:bob@{BORDER_OUTSIDE}"))?;
    alice.next(&["registered"])?;
    let registered = postern.json(&["registrations"])?;
    expect(
        registered["registrations"][0]["aor"].as_str(),
        Some("sip:alice@198.51.100.1"),
        "who is registered",
    )?;
    // The plain phone knows no UDP/TLS/RTP/SAVPF: it says so itself, and the browser hears it.
    let refused = alice.next(&["failed"])?;
    expect(refused["status"].as_u64(), Some(488), &refused.to_string())?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}
