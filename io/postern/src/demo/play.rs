//! Plays one scene: both phones talk all the time, one calls the other, and the ladder is shown as it happens.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use phone::{Event, Input};

use super::caller::Handset;
use super::media::{Media, Phase};
use super::network::{BORDER_OUTSIDE, Network};
use super::scene::{Expected, INSIDE, OUTSIDE, STRANGER, Scene};
use super::verdict::{Direction, Verdict};
use crate::admin::client;
use crate::admin::protocol::{Request, Watched};
use crate::ladder::{Arrow, Lane, Row, Style, draw};

/// How many packets make a phase: half a second of sound.
const PACKETS: u64 = 25;
/// How many packets of early media are enough to be shown.
const EARLY: u64 = 5;
/// Longer than anything here may take; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the stage looks at what happens.
const LOOK: Duration = Duration::from_millis(10);

/// Plays a scene and judges it.
pub(crate) fn play(
    network: &Network,
    scene: Scene,
    show: &mut (dyn FnMut(&str) + Send),
) -> io::Result<Verdict> {
    show(&format!("\nFigure {}: {}\n", scene.figure, scene.title));
    show(&draw::header());
    let mut stage = Stage::new(network, scene, show)?;
    stage.before()?;
    stage.call()?;
    match scene.expected {
        Expected::Conversation => stage.conversation()?,
        Expected::NeverRang | Expected::GhostRing => stage.refusal()?,
    }
    stage.after()?;
    let verdict = stage.verdict(network)?;
    drop(stage);
    show(&verdict.text());
    Ok(verdict)
}

struct Stage<'a> {
    scene: Scene,
    caller: Handset,
    callee: Handset,
    outside: Media,
    inside: Media,
    rows: Receiver<Row>,
    last: Option<Row>,
    drawn: Instant,
    remarks: Vec<String>,
    broken: Vec<String>,
    show: &'a mut (dyn FnMut(&str) + Send),
}

impl<'a> Stage<'a> {
    fn new(network: &Network, scene: Scene, show: &'a mut (dyn FnMut(&str) + Send)) -> io::Result<Self> {
        let Scene { caller_media, callee_media, .. } = scene;
        Ok(Self {
            caller: Handset::new(&network.outside, "alice", OUTSIDE, caller_media)?,
            callee: Handset::new(&network.inside, "bob", INSIDE, callee_media)?,
            outside: Media::new(&network.outside, caller_media, callee_media, Some(STRANGER))?,
            inside: Media::new(&network.inside, callee_media, caller_media, None)?,
            rows: watch(network),
            last: None,
            drawn: Instant::now(),
            remarks: Vec::new(),
            broken: Vec::new(),
            scene,
            show,
        })
    }

    /// Both phones talk although there is no call.
    fn before(&mut self) -> io::Result<()> {
        for media in [&self.outside, &self.inside] {
            media.talk(true);
        }
        self.until("both phones have talked before the call", |stage| {
            stage.both_sent(Phase::Before, PACKETS)
        })?;
        self.phase(Phase::Between)
    }

    fn call(&self) -> io::Result<()> {
        self.caller.call("bob", BORDER_OUTSIDE)
    }

    /// Figure 3: answered, a conversation, and the caller hangs up.
    fn conversation(&mut self) -> io::Result<()> {
        self.early_media()?;
        let answered = |event: &Event| match event {
            Event::Answered { call, .. } => Some(*call),
            Event::Calling { .. }
            | Event::Called { .. }
            | Event::Alerting { .. }
            | Event::Ringing { .. }
            | Event::Offered { .. }
            | Event::Changed { .. }
            | Event::ChangeRefused { .. }
            | Event::Moved { .. }
            | Event::Refreshed { .. }
            | Event::Redirected { .. }
            | Event::Ended { .. } => None,
        };
        let call = self.hear(true, answered)?;
        self.hear(false, answered)?;
        self.phase(Phase::During)?;
        self.until("both phones have talked during the call", |stage| {
            stage.both_sent(Phase::During, PACKETS)
        })?;
        self.phase(Phase::Between)?;
        let (inward, outward) = (self.inside.heard(Phase::During), self.outside.heard(Phase::During));
        let arrow = Arrow { both: true, ..Arrow::new(Lane::Caller, Lane::Callee, Style::Media) };
        self.media_row(arrow, format!(" RTP/RTCP {inward} > < {outward} packets "));
        self.caller.wish(Input::HangUp(call));
        let (status, ..) = self.ended(true)?;
        self.ended(false)?;
        self.must(status == 200, || format!("the caller's BYE was answered with {status}"));
        Ok(())
    }

    /// The callee's phone rings and talks already: its rule is there since before the INVITE.
    fn early_media(&mut self) -> io::Result<()> {
        self.hear(true, |event| matches!(event, Event::Ringing { .. }).then_some(()))?;
        self.until("the caller has heard early media", |stage| stage.outside.heard(Phase::Between) >= EARLY)?;
        let arrow = Arrow::new(Lane::Callee, Lane::Caller, Style::EarlyMedia);
        self.media_row(arrow, format!(" RTP/RTCP {} packets ", self.outside.heard(Phase::Between)));
        Ok(())
    }

    /// Figures 4 and 5: the caller is told that it is the firewall, and so is a callee who was disturbed.
    fn refusal(&mut self) -> io::Result<()> {
        if self.scene.expected == Expected::GhostRing {
            self.early_media()?;
        }
        let (status, _, warning) = self.ended(true)?;
        self.must(status == 403, || format!("the caller was refused with {status} instead of 403"));
        self.must(warning.as_deref().is_some_and(|text| text.contains("firewall policy")), || {
            format!("the Warning to the caller does not say why: {warning:?}")
        });
        self.remark(&format!("the caller is told: {status}, Warning {}", quoted(warning.as_deref())));
        if self.scene.expected == Expected::GhostRing {
            let (_, reason, _) = self.ended(false)?;
            self.must(reason.as_deref().is_some_and(|text| text.contains("cause=403")), || {
                format!("the Reason to the callee does not say why: {reason:?}")
            });
            self.remark(&format!("the callee is told: BYE, Reason {}", reason.unwrap_or_default()));
        } else {
            let rang = self.callee.event(Duration::ZERO).is_some();
            self.must(!rang, || "the callee's phone heard of the call".to_owned());
        }
        Ok(())
    }

    /// Both phones go on talking although the call is over.
    fn after(&mut self) -> io::Result<()> {
        self.phase(Phase::After)?;
        self.until("both phones have talked after the call", |stage| stage.both_sent(Phase::After, PACKETS))?;
        self.phase(Phase::Between)
    }

    fn verdict(&mut self, network: &Network) -> io::Result<Verdict> {
        // What is left open is judged once the agent's background work had its time, but not for ever.
        let mut open = network.open()?;
        let deadline = Instant::now() + Duration::from_secs(2);
        while open != (0, 0) && Instant::now() < deadline {
            thread::sleep(LOOK);
            open = network.open()?;
        }
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
        Ok(Verdict::judge(&self.scene, counts, open, std::mem::take(&mut self.broken)))
    }

    /// Begins a phase once everything sent in the last one has arrived or been dropped.
    fn phase(&mut self, phase: Phase) -> io::Result<()> {
        for media in [&self.outside, &self.inside] {
            media.phase(phase);
        }
        // The administrator lets inside talk to outside, and outside answer.
        self.inside.settle(&self.outside)?;
        self.outside.settle(&self.inside)
    }

    fn both_sent(&self, phase: Phase, packets: u64) -> bool {
        self.outside.sent(phase) >= packets && self.inside.sent(phase) >= packets
    }

    /// Waits for an event of one phone, drawing the ladder meanwhile.
    fn hear<T>(&mut self, caller: bool, wanted: impl Fn(&Event) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.draw_rows();
            let phone = if caller { &self.caller } else { &self.callee };
            let Some(event) = phone.event(LOOK) else {
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

    fn ended(&mut self, caller: bool) -> io::Result<(u16, Option<String>, Option<String>)> {
        self.hear(caller, |event| match event {
            Event::Ended { status, reason, warning, .. } => Some((*status, reason.clone(), warning.clone())),
            Event::Calling { .. }
            | Event::Called { .. }
            | Event::Alerting { .. }
            | Event::Ringing { .. }
            | Event::Answered { .. }
            | Event::Offered { .. }
            | Event::Changed { .. }
            | Event::ChangeRefused { .. }
            | Event::Moved { .. }
            | Event::Refreshed { .. }
            | Event::Redirected { .. } => None,
        })
    }

    fn until(&mut self, what: &str, is_true: impl Fn(&Self) -> bool) -> io::Result<()> {
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

    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// The thick arrow.
    fn media_row(&mut self, arrow: Arrow, text: String) {
        let since = u64::try_from(self.drawn.elapsed().as_millis()).unwrap_or_default();
        let at_ms = self.last.as_ref().map_or(0, |row| row.at_ms) + since;
        self.draw(Row { at_ms, arrow: Some(arrow), text, note: String::new() });
    }

    /// Something to be said under the ladder.
    fn remark(&mut self, text: &str) {
        self.remarks.push(format!("  {text}"));
    }

    fn draw_rows(&mut self) {
        while let Ok(row) = self.rows.try_recv() {
            self.draw(row);
        }
    }

    fn draw(&mut self, row: Row) {
        if self.last.as_ref().is_some_and(|last| draw::is_turn(last, &row)) {
            (self.show)(&draw::spacer());
        }
        (self.show)(&draw::row(&row));
        self.last = Some(row);
        self.drawn = Instant::now();
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

/// The text of a Warning without its code and agent.
fn quoted(warning: Option<&str>) -> String {
    warning
        .and_then(|warning| warning.split_once('"'))
        .map_or_else(String::new, |(_, text)| format!("\"{text}"))
}
