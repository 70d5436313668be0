//! How often a phone rings for nothing: the same calls, refused by the same firewall for the same reasons, without and with
//! what prevents it.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use phone::Event;
use serde::Serialize;

use super::caller::Handset;
use super::network::{BORDER_OUTSIDE, Network};
use super::scene::{House, INSIDE, LAST_PORT, OUTSIDE};

/// Calls of each kind.
const CALLS: u64 = 5;
/// Longer than a refused call may take; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(10);

/// Why the firewall refuses what the answer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// It takes no more pinholes.
    Full,
    /// Its policy forbids the port that the callee names.
    Port,
}

/// What is done against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Means {
    /// Nothing: figure 5.
    Nothing,
    /// `reserve`, with the same plain phones.
    Reservation,
    /// Phones that ask for `fw`: figure 7.
    Preconditions,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Count {
    cause: Cause,
    means: Means,
    calls: u64,
    /// At the callee's phone.
    rang: u64,
    /// By Postern.
    counted: u64,
}

/// In an order in which Postern is seldom set up anew.
const KINDS: [(Cause, Means); 6] = [
    (Cause::Full, Means::Reservation),
    (Cause::Port, Means::Reservation),
    (Cause::Port, Means::Nothing),
    (Cause::Port, Means::Preconditions),
    (Cause::Full, Means::Nothing),
    (Cause::Full, Means::Preconditions),
];

/// All counts.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct GhostRings(Vec<Count>);

impl Count {
    //= draft-kiesel-mmusic-firewall-sip-00 §4.1.1: preconditions prevent every ghost ring. A reservation proves everything
    // but the address and port that only the answer names.
    fn expected(&self) -> u64 {
        match (self.cause, self.means) {
            (_, Means::Nothing) | (Cause::Port, Means::Reservation) => self.calls,
            (_, Means::Preconditions) | (Cause::Full, Means::Reservation) => 0,
        }
    }

    fn holds(&self) -> bool {
        self.rang == self.expected() && self.counted == self.rang
    }
}

impl GhostRings {
    /// Makes all the calls.
    ///
    /// # Errors
    /// If Postern cannot be set up, or a call does not end.
    pub(crate) fn count(network: &mut Network) -> io::Result<Self> {
        let counts = KINDS.into_iter().enumerate();
        counts
            .map(|(at, (cause, means))| count(network, at, cause, means))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// True if every count is what it must be.
    pub(crate) fn hold(&self) -> bool {
        self.0.iter().all(Count::holds)
    }

    fn cell(&self, cause: Cause, means: Means) -> String {
        let found = self.0.iter().find(|count| count.cause == cause && count.means == means);
        found.map_or_else(String::new, |count| format!("{} of {}", count.rang, count.calls))
    }

    /// As a table.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "  phones that rang for a call that the firewall refused:\n\n\
             \x20                                          without any      with a           with\n\
             \x20 the firewall refuses because             precaution       reservation      preconditions\n",
        );
        for (cause, words) in
            [(Cause::Full, "it is full"), (Cause::Port, "of the port in the callee's answer")]
        {
            text.push_str(&format!("  {words:41}"));
            for means in [Means::Nothing, Means::Reservation, Means::Preconditions] {
                text.push_str(&format!("{:17}", self.cell(cause, means)));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text.push_str("\n  counted at the callee's phone; ");
        text.push_str(if self.hold() { "Postern's own count is the same\n" } else { "see below\n" });
        for count in self.0.iter().filter(|count| !count.holds()) {
            let Count { cause, means, rang, counted, .. } = count;
            let expected = count.expected();
            text.push_str(&format!(
                "  BROKEN  {cause:?}, {means:?}: {rang} rang, Postern counted {counted}, expected {expected}\n"
            ));
        }
        text
    }
}

/// One kind of call, several times.
fn count(network: &mut Network, at: usize, cause: Cause, means: Means) -> io::Result<Count> {
    let room = (cause == Cause::Full).then_some(1);
    network.set_up(House { reserve: means == Means::Reservation, room })?;
    // Even, and of no other scene.
    let port = 24_000 + 10 * at as u16;
    let answer = if cause == Cause::Port { LAST_PORT + 501 + 10 * at as u16 } else { port };
    let insists = means == Means::Preconditions;
    let (caller, callee) = (SocketAddr::new(OUTSIDE, port), SocketAddr::new(INSIDE, answer));
    let caller = Handset::new(&network.outside, "alice", OUTSIDE, caller, insists)?;
    let callee = Handset::new(&network.inside, "bob", INSIDE, callee, insists)?;
    let before = network.status()?.ghost_rings;
    for _ in 0..CALLS {
        caller.call("bob", BORDER_OUTSIDE)?;
        ended(&caller)?;
        // The next one shall find the firewall as this one found it.
        let deadline = Instant::now() + PATIENCE;
        while network.open()? != (0, 0) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
    }
    let rings = std::iter::from_fn(|| callee.event(10 * LOOK));
    let rang = rings.filter(|event| matches!(event, Event::Alerting { .. })).count() as u64;
    let counted = network.status()?.ghost_rings - before;
    Ok(Count { cause, means, calls: CALLS, rang, counted })
}

/// Waits for the refusal.
fn ended(caller: &Handset) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match caller.event(LOOK) {
            Some(Event::Ended { warning: Some(why), .. }) if why.contains("firewall") => return Ok(()),
            Some(Event::Ended { status, warning, .. }) => {
                return Err(io::Error::other(format!(
                    "a call failed for another reason: {status} {warning:?}"
                )));
            }
            Some(Event::Answered { .. }) => {
                return Err(io::Error::other("a call that must fail was answered"));
            }
            Some(_) | None => {}
        }
    }
    Err(io::Error::other("a call that must fail did not end"))
}
