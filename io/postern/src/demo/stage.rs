//! The stage of one scene: phones that talk all the time, the ladder as it happens, and what was promised.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use phone::Event;

use super::caller::Handset;
use super::media::{Media, Phase};
use super::network::Network;
use super::scene::{INSIDE, OUTSIDE, STRANGER, Scene};
use super::verdict::{Count, Direction, Verdict};
use super::wires::Wires;
use crate::admin::client;
use crate::admin::protocol::{Request, Watched};
use crate::ladder::{Arrow, Row, draw};

/// Longer than anything here may take; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the stage looks at what happens.
const LOOK: Duration = Duration::from_millis(10);

/// A scene while it is played.
pub(super) struct Stage<'a> {
    pub(super) scene: Scene,
    pub(super) caller: Handset,
    pub(super) callee: Handset,
    pub(super) outside: Media,
    pub(super) inside: Media,
    pub(super) wires: Wires,
    /// The callee's phone has rung.
    pub(super) rang: bool,
    /// The Reason with which the callee's phone was told that the call is over.
    pub(super) callee_told: Option<String>,
    rows: Receiver<Row>,
    /// The ladder so far.
    pub(super) drawn: Vec<Row>,
    since: Instant,
    remarks: Vec<String>,
    broken: Vec<String>,
    show: &'a mut (dyn FnMut(&str) + Send),
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        network: &Network,
        scene: Scene,
        show: &'a mut (dyn FnMut(&str) + Send),
    ) -> io::Result<Self> {
        let Scene { caller_media, callee_media, insists, .. } = scene;
        let wires = network.wires(&scene)?;
        Ok(Self {
            caller: Handset::new(&network.outside, "alice", OUTSIDE, caller_media, insists)?,
            callee: Handset::new(&network.inside, "bob", INSIDE, callee_media, insists)?,
            outside: Media::new(&network.outside, caller_media, callee_media, Some(STRANGER))?,
            inside: Media::new(&network.inside, callee_media, caller_media, None)?,
            wires,
            rang: false,
            callee_told: None,
            rows: watch(network),
            drawn: Vec::new(),
            since: Instant::now(),
            remarks: Vec::new(),
            broken: Vec::new(),
            scene,
            show,
        })
    }

    /// Judges what was counted and heard.
    pub(super) fn verdict(&mut self, network: &Network) -> io::Result<Verdict> {
        let open = self.left_open(network)?;
        self.everything_is_counted()?;
        self.draw_rows();
        (self.show)("");
        for remark in &self.remarks {
            (self.show)(remark);
        }
        if !self.remarks.is_empty() {
            (self.show)("");
        }
        let counts =
            (Direction::count(&self.outside, &self.inside), Direction::count(&self.inside, &self.outside));
        let seen = self.wires.seen()?;
        let verdict = Verdict::judge(&self.scene, counts, seen, open, std::mem::take(&mut self.broken));
        Ok(Verdict { ladder: std::mem::take(&mut self.drawn), ..verdict })
    }

    /// Rules and kernel entries that are left once the agent's background work had its time, but not for ever.
    pub(super) fn left_open(&mut self, network: &Network) -> io::Result<(usize, usize)> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let open = network.open()?;
            if open == (0, 0) || Instant::now() > deadline {
                return Ok(open);
            }
            self.draw_rows();
            thread::sleep(LOOK);
        }
    }

    /// Both phones fall silent, and what they have counted is held against what was on the wires.
    fn everything_is_counted(&mut self) -> io::Result<()> {
        for media in [&self.outside, &self.inside] {
            media.talk(false);
        }
        self.phase(Phase::Between)?;
        for phase in Phase::ALL {
            let ([seen_in, seen_out], [in_, out]) = self.counted(phase)?;
            self.must([seen_in, seen_out] == [in_, out], || {
                format!(
                    "phase {phase:?}: the phones count {in_} inward and {out} outward, on the wires were {seen_in} and \
                     {seen_out}"
                )
            });
        }
        Ok(())
    }

    /// What of a phase was seen on the wires and what the phones have counted, inward and outward. They may differ for a
    /// moment, since a phone counts behind the kernel.
    fn counted(&self, phase: Phase) -> io::Result<([Count; 2], [Count; 2])> {
        let deadline = Instant::now() + Duration::from_secs(2);
        let count = |from: &Media, to: &Media| Count { sent: from.sent(phase), heard: to.heard(phase) };
        loop {
            let phones = [count(&self.outside, &self.inside), count(&self.inside, &self.outside)];
            let wires = [self.wires.marked(true, phase)?, self.wires.marked(false, phase)?];
            if phones == wires || Instant::now() > deadline {
                return Ok((wires, phones));
            }
            thread::sleep(LOOK);
        }
    }

    /// Begins a phase once everything sent in the last one has arrived or been dropped.
    pub(super) fn phase(&mut self, phase: Phase) -> io::Result<()> {
        for media in [&self.outside, &self.inside] {
            media.phase(phase);
        }
        // The administrator lets inside talk to outside, and outside answer.
        self.inside.settle(&self.outside)?;
        self.outside.settle(&self.inside)
    }

    /// True once each phone has sent so many packets in a phase.
    pub(super) fn both_sent(&self, phase: Phase, packets: u64) -> bool {
        self.outside.sent(phase) >= packets && self.inside.sent(phase) >= packets
    }

    /// The next event of one phone, if one comes soon.
    fn event(&mut self, caller: bool, patience: Duration) -> Option<Event> {
        let phone = if caller { &self.caller } else { &self.callee };
        let event = phone.event(patience);
        match &event {
            Some(Event::Alerting { .. }) if !caller => self.rang = true,
            Some(Event::Ended { reason, .. }) if !caller => {
                self.callee_told = Some(reason.clone().unwrap_or_default());
            }
            Some(_) | None => {}
        }
        event
    }

    /// Whether the callee's phone has rung, now that all it will ever hear of the call has arrived.
    pub(super) fn has_rung(&mut self) -> bool {
        while self.event(false, LOOK).is_some() {}
        self.rang
    }

    /// Waits for an event of one phone, drawing the ladder meanwhile.
    pub(super) fn hear<T>(&mut self, caller: bool, wanted: impl Fn(&Event) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.draw_rows();
            let Some(event) = self.event(caller, LOOK) else {
                if Instant::now() > deadline {
                    return Err(io::Error::other("a phone waited in vain"));
                }
                continue;
            };
            if let Some(found) = wanted(&event) {
                return Ok(found);
            }
            if let Event::Ended { status, warning, reason, .. } = event {
                return Err(io::Error::other(format!("the call ended: {status} {warning:?} {reason:?}")));
            }
        }
    }

    /// How the call ended for one phone: status, Reason, Warning.
    pub(super) fn ended(&mut self, caller: bool) -> io::Result<(u16, Option<String>, Option<String>)> {
        self.hear(caller, |event| {
            let Event::Ended { status, reason, warning, .. } = event else { return None };
            Some((*status, reason.clone(), warning.clone()))
        })
    }

    /// Waits, drawing the ladder meanwhile.
    pub(super) fn until(&mut self, what: &str, is_true: impl Fn(&Self) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_true(self) {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("waited in vain until {what}")));
            }
            self.draw_rows();
            thread::sleep(LOOK);
        }
        self.draw_rows();
        Ok(())
    }

    /// Notes a broken promise.
    pub(super) fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// The thick arrow with what of this phase the phones have heard; beside it what has passed on the wires.
    pub(super) fn media_row(&mut self, arrow: Arrow, phase: Phase) -> io::Result<()> {
        let (wires, phones) = self.counted(phase)?;
        let words = |[inward, outward]: [Count; 2]| match arrow.both {
            true => format!("{} > < {}", inward.heard, outward.heard),
            false => outward.heard.to_string(),
        };
        let text = format!(" RTP/RTCP {} packets ", words(phones));
        let note = format!("both wires: {}", words(wires));
        let since = u64::try_from(self.since.elapsed().as_millis()).unwrap_or_default();
        let at_ms = self.drawn.last().map_or(0, |row| row.at_ms) + since;
        self.draw(Row { at_ms, arrow: Some(arrow), text, note });
        Ok(())
    }

    /// Something to be said under the ladder.
    pub(super) fn remark(&mut self, text: &str) {
        self.remarks.push(format!("  {text}"));
    }

    fn draw_rows(&mut self) {
        while let Ok(row) = self.rows.try_recv() {
            self.draw(row);
        }
    }

    fn draw(&mut self, row: Row) {
        if self.drawn.last().is_some_and(|last| draw::is_turn(last, &row)) {
            (self.show)(&draw::spacer());
        }
        (self.show)(&draw::row(&row));
        self.drawn.push(row);
        self.since = Instant::now();
    }
}

/// The rows of all ladders from now on, from the running agent.
fn watch(network: &Network) -> Receiver<Row> {
    let (rows, watched) = channel();
    let agent = network.agent();
    thread::spawn(move || {
        // It ends with Postern, or with whoever looks at the rows.
        let _ = client::watch(&agent, &Request::Watch, |watched: Watched| rows.send(watched.row).is_ok());
    });
    watched
}
