//! Hours of mixed traffic with faults, for somebody to start by hand: `docs/performance.md`, "Soak".
//!
//! ```text
//! SOAK_MINUTES=60 cargo test --release -p postern --test lab -- --ignored soak
//! ```
//!
//! Calls by SIPp, a phone that registers with Kamailio every few seconds, strangers that try to, subscriptions, garbage. In the
//! first half one of the two halves of Postern is killed every so often; in the second they live, and must not grow.

use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::baresip::Baresip;
use crate::phone::Answer;
use crate::raw::{Noise, Request, Wire, header, status};
use crate::registrations::kamailio;
use crate::sipp::Callee;
use crate::sites::example;
use crate::world::{BORDER_OUTSIDE, INSIDE, OUTSIDE, Outcome, Postern, Program, World, signal};

/// Between two looks.
const SAMPLE: Duration = Duration::from_secs(10);
/// Every so many looks a half is killed.
const KILL_EVERY: u64 = 4;
const CALLS_PER_S: &str = "5";
/// What a half may grow by in the second half of the time, in kB, beside a tenth.
const GROWTH_KB: u64 = 4_096;

/// What the traffic came to.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    subscribed: AtomicU64,
    notified: AtomicU64,
    challenged: AtomicU64,
    unanswered: AtomicU64,
}

impl Tally {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// One look at both halves.
#[derive(Clone, Copy, Default, Debug)]
struct Sample {
    rss_kb: [u64; 2],
    files: [usize; 2],
}

pub(crate) fn soak() -> Outcome {
    let minutes = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let time = Duration::from_secs(60 * minutes);
    let world = World::new()?;
    let _registrar = kamailio(&world)?;
    let routes = "[[route]]\nfrom = \"outside\"\nto = \"inside\"\nusers = [\"lamp\"]\nnext-hop = \"sip:10.0.40.20:5070\"\n\
                  [[route]]\nfrom = \"outside\"\nto = \"inside\"\nusers = [\"service\"]\nnext-hop = \"sip:10.0.40.20\"\n\n";
    let config =
        example(&world, "phones-outside.toml")?.replacen("[[route]]", &format!("{routes}[[route]]"), 1);
    let postern = world.postern(&config)?;
    let _uas = Callee::start(&world, &world.inside, INSIDE, "u1")?;
    let account = format!("<sip:alice@{BORDER_OUTSIDE}>;auth_user=alice;auth_pass=secret;regint=10");
    let at = (&world.outside, "198.51.100.21");
    let _alice = Baresip::with_account(&world, at, ("alice", &account), Answer::AtOnce, None)?;
    let tally = Tally::default();
    thread::scope(|scope| {
        let others = [
            scope.spawn(|| notifier(&world, &tally)),
            scope.spawn(|| subscriber(&world, &tally)),
            scope.spawn(|| stranger(&world, &tally)),
        ];
        let watched = calls(&world, time).and_then(|_calls| watch(&postern, time, &tally));
        tally.stop.store(true, Ordering::Relaxed);
        let ended: io::Result<Vec<()>> =
            others.into_iter().map(|other| other.join().map_err(|_| io::Error::other("a thread"))?).collect();
        watched.and_then(|()| ended.map(drop))
    })?;
    postern.wait_within(Duration::from_secs(120), "no call and no pinhole is left", || {
        let calls = postern.json(&["calls"])?;
        Ok(calls["calls"].as_array().is_some_and(Vec::is_empty) && postern.pinholes()? == (0, 0))
    })?;
    let count = |what: &AtomicU64| what.load(Ordering::Relaxed);
    say(format_args!(
        "subscriptions answered {}, notified {}, strangers challenged {}, requests without an answer {}",
        count(&tally.subscribed),
        count(&tally.notified),
        count(&tally.challenged),
        count(&tally.unanswered)
    ))?;
    let statistics = fs::read_to_string(world.folder.join("uac.csv"))?;
    let (names, last) = (statistics.lines().next(), statistics.lines().next_back());
    let values = |line: Option<&str>| -> Vec<String> {
        line.unwrap_or_default().split(';').map(str::to_owned).collect()
    };
    for (name, value) in values(names).iter().zip(values(last)) {
        if ["TotalCallCreated", "SuccessfulCall(C)", "FailedCall(C)"].contains(&name.as_str()) {
            say(format_args!("{name} {value}"))?;
        }
    }
    Ok(())
}

/// Says what was seen, to who has started it.
fn say(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Calls of two seconds, for all the time.
fn calls(world: &World, time: Duration) -> io::Result<Program> {
    let seconds = format!("{}s", time.as_secs());
    let border = format!("{BORDER_OUTSIDE}:5060");
    let mut sipp = Command::new("sipp");
    sipp.args([
        "-sn", "uac", &border, "-i", OUTSIDE, "-p", "5060", "-mp", "20000", "-s", "service", "-t", "u1",
    ]);
    sipp.args([
        "-r",
        CALLS_PER_S,
        "-d",
        "2000",
        "-nostdin",
        "-timeout",
        &seconds,
        "-trace_stat",
        "-fd",
        "10",
    ]);
    sipp.arg("-stf").arg(world.folder.join("uac.csv"));
    sipp.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Program::of(world.outside.spawn(&mut sipp)?))
}

/// Looks and kills; fails if what lives through the second half grows.
fn watch(postern: &Postern<'_>, time: Duration, tally: &Tally) -> io::Result<()> {
    let started = Instant::now();
    let mut steady: Vec<Sample> = Vec::new();
    let mut looks = 0;
    while started.elapsed() < time {
        thread::sleep(SAMPLE);
        looks += 1;
        let kills = started.elapsed() < time / 2;
        if kills && looks % KILL_EVERY == 0 {
            let half = if looks % (2 * KILL_EVERY) == 0 { "middlebox" } else { "agent" };
            let before = postern.half(half)?;
            signal(before, "KILL")?;
            postern.wait_for("the half is there again", || {
                Ok(postern.half(half)? != before && postern.is_up()?)
            })?;
            say(format_args!("{:>5} s killed {half}", started.elapsed().as_secs()))?;
        }
        let sample = look(postern)?;
        let (rules, kernel) = postern.pinholes()?;
        let registered = postern.json(&["registrations"])?["registrations"].as_array().map_or(0, Vec::len);
        say(format_args!(
            "{:>5} s rss {:?} kB files {:?} rules {rules} kernel {kernel} registered {registered} notified {}",
            started.elapsed().as_secs(),
            sample.rss_kb,
            sample.files,
            tally.notified.load(Ordering::Relaxed)
        ))?;
        if !kills {
            steady.push(sample);
        }
    }
    // The first quarter of it fills caches and the list of ended calls.
    let settled = &steady[steady.len() / 4..];
    let (Some(first), Some(last)) = (settled.first(), settled.last()) else {
        return Err(io::Error::other("too short to say anything"));
    };
    say(format_args!("from {first:?} to {last:?}"))?;
    for half in [0, 1] {
        let most = first.rss_kb[half] + first.rss_kb[half] / 10 + GROWTH_KB;
        if last.rss_kb[half] > most || last.files[half] > first.files[half] + 4 {
            return Err(io::Error::other(format!("it grows: {first:?} {last:?}")));
        }
    }
    Ok(())
}

fn look(postern: &Postern<'_>) -> io::Result<Sample> {
    let mut sample = Sample::default();
    for (position, half) in ["agent", "middlebox"].into_iter().enumerate() {
        let id = postern.half(half)?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = rss.and_then(|text| text.trim().split(' ').next()?.parse().ok());
        sample.rss_kb[position] = number.ok_or_else(|| io::Error::other("no VmRSS"))?;
        sample.files[position] = fs::read_dir(format!("/proc/{id}/fd"))?.count();
    }
    Ok(sample)
}

/// A wire that does not wait long: what a killed half owes is not waited for.
fn impatient(wire: Wire) -> io::Result<Wire> {
    wire.socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(wire)
}

/// A lamp inside: takes subscriptions, and says at once that it is dark and that this is all.
fn notifier(world: &World, tally: &Tally) -> io::Result<()> {
    let wire = impatient(Wire::bind(&world.inside, &format!("{INSIDE}:5070"))?)?;
    let mut buffer = vec![0; 65_535];
    while tally.goes_on() {
        let Ok((length, border)) = wire.socket.recv_from(&mut buffer) else { continue };
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if !request.starts_with("SUBSCRIBE ") {
            continue;
        }
        let line = |name| header(&request, name);
        let to = if line("To").contains(";tag=") {
            line("To").to_owned()
        } else {
            format!("{};tag=lamp", line("To"))
        };
        let ours = format!("Contact: <sip:lamp@{INSIDE}:5070>\r\nContent-Length: 0\r\n\r\n");
        let answer = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nExpires: 60\r\n{ours}",
            line("Via"),
            line("From"),
            line("Call-ID"),
            line("CSeq")
        );
        let target = line("Contact").trim_matches(['<', '>']);
        let notify = format!(
            "NOTIFY {target} SIP/2.0\r\nVia: SIP/2.0/UDP {INSIDE}:5070;branch=z9hG4bK-{}\r\nMax-Forwards: 70\r\nFrom: {to}\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\nEvent: dialog\r\nSubscription-State: terminated;reason=timeout\r\n{ours}",
            crate::raw::number(),
            line("From"),
            line("Call-ID")
        );
        wire.socket.send_to(answer.as_bytes(), border)?;
        wire.socket.send_to(notify.as_bytes(), border)?;
    }
    Ok(())
}

/// A phone outside that looks at the lamp, again and again.
fn subscriber(world: &World, tally: &Tally) -> io::Result<()> {
    let wire = impatient(Wire::open(&world.outside, OUTSIDE)?)?;
    while tally.goes_on() {
        let lines = format!("Event: dialog\r\nExpires: 60\r\nContact: <sip:looker@{}>\r\n", wire.local);
        let request = Request::new("SUBSCRIBE", wire.local).lines(lines).text();
        wire.send(
            request.replacen("SUBSCRIBE sip:", "SUBSCRIBE sip:lamp@", 1).replace("lamp@bob@", "lamp@"),
        )?;
        let (mut answered, mut notified) = (false, false);
        while !(answered && notified) {
            let Ok(message) = wire.next() else { break };
            if message.starts_with("NOTIFY ") {
                let line = |name| header(&message, name);
                let answer = format!(
                    "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
                    line("Via"),
                    line("From"),
                    line("To"),
                    line("Call-ID"),
                    line("CSeq")
                );
                wire.send(answer)?;
                notified = true;
            } else if status(&message) == 200 {
                answered = true;
            }
        }
        let count = |what: &AtomicU64, by: u64| {
            what.fetch_add(by, Ordering::Relaxed);
        };
        count(&tally.subscribed, u64::from(answered));
        count(&tally.notified, u64::from(notified));
        count(&tally.unanswered, u64::from(!answered));
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Somebody who registers without a password, from ever new places, and sends garbage in between.
fn stranger(world: &World, tally: &Tally) -> io::Result<()> {
    let mut noise = Noise::new(37);
    while tally.goes_on() {
        let wire = impatient(Wire::open(&world.outside, OUTSIDE)?)?;
        wire.send(Request::new("REGISTER", wire.local).lines("Expires: 600\r\n").text())?;
        let challenged = wire.next().is_ok_and(|answer| status(&answer) == 401);
        let count = if challenged { &tally.challenged } else { &tally.unanswered };
        count.fetch_add(1, Ordering::Relaxed);
        wire.send(noise.bytes(300))?;
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
