//! Plays one scene: both phones talk all the time, one calls the other, and the ladder is shown as it happens.

use std::io;

use phone::{CallNumber, Event, Input};

use super::media::Phase;
use super::network::{BORDER_OUTSIDE, Network};
use super::scene::{Expected, Scene, Told};
use super::stage::Stage;
use super::verdict::Verdict;
use crate::ladder::{Arrow, Lane, Style, draw};

/// How many packets make a phase: half a second of sound.
const PACKETS: u64 = 25;
/// How many packets of early media are enough to be shown.
const EARLY: u64 = 5;

/// Plays a scene and judges it.
pub(crate) fn play(
    network: &Network,
    scene: Scene,
    show: &mut (dyn FnMut(&str) + Send),
) -> io::Result<Verdict> {
    show(&format!("\n{}: {}", scene.name.headline(), scene.title));
    show(&format!("  {}\n", scene.note));
    show(&draw::header());
    let mut stage = Stage::new(network, scene, show)?;
    stage.before()?;
    stage.caller.call("bob", BORDER_OUTSIDE)?;
    match scene.expected {
        Expected::Conversation => stage.conversation(network)?,
        Expected::TakenBack => stage.taken_back(network)?,
        Expected::NeverRang(told) => stage.never_rang(told)?,
        Expected::GhostRing(told) => stage.ghost_ring(told)?,
    }
    stage.after(network)?;
    let verdict = stage.verdict(network)?;
    drop(stage);
    show(&verdict.text());
    Ok(verdict)
}

impl Stage<'_> {
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

    /// Figures 3 and 6: answered, a conversation, and the caller hangs up.
    fn conversation(&mut self, network: &Network) -> io::Result<()> {
        let call = self.talk(network)?;
        if self.scene.insists {
            self.rings_behind_both_rules();
        }
        self.caller.wish(Input::HangUp(call));
        let (status, ..) = self.ended(true)?;
        self.ended(false)?;
        self.must(status == 200, || format!("the caller's BYE was answered with {status}"));
        Ok(())
    }

    /// Figure 8: a conversation, and the firewall's operator takes the callee's pinhole back.
    fn taken_back(&mut self, network: &Network) -> io::Result<()> {
        self.talk(network)?;
        let rules = network.rules_toward(self.scene.callee_media)?;
        self.must(rules.len() == 1, || format!("not one pinhole toward the callee, but {rules:?}"));
        for rule in rules {
            network.revoke(rule.pid)?;
        }
        for (caller, who) in [(false, "callee"), (true, "caller")] {
            let (_, reason, _) = self.ended(caller)?;
            let reason = reason.unwrap_or_default();
            let says_why = reason.starts_with("SIP;cause=") && reason.contains("firewall");
            self.must(says_why, || format!("the Reason to the {who} does not say why: {reason:?}"));
            self.remark(&format!("the {who} is told: BYE, Reason {reason}"));
        }
        Ok(())
    }

    /// The phones ring, are answered and talk, up to the last packet.
    fn talk(&mut self, network: &Network) -> io::Result<CallNumber> {
        self.early_media()?;
        let answered = |event: &Event| {
            let Event::Answered { call, .. } = event else { return None };
            Some(*call)
        };
        let call = self.hear(true, answered)?;
        self.hear(false, answered)?;
        self.phase(Phase::During)?;
        self.until("both phones have talked during the call", |stage| {
            stage.both_sent(Phase::During, PACKETS)
        })?;
        self.phase(Phase::Between)?;
        let arrow = Arrow { both: true, ..Arrow::new(Lane::Caller, Lane::Callee, Style::Media) };
        self.media_row(arrow, Phase::During)?;
        self.rule_has_counted(network)?;
        Ok(call)
    }

    /// The callee's phone rings and is heard already: its rule is there since before the INVITE. With preconditions both
    /// rules are there when it rings, so each hears the other.
    fn early_media(&mut self) -> io::Result<()> {
        self.hear(true, |event| matches!(event, Event::Ringing { status: 180, .. }).then_some(()))?;
        let insists = self.scene.insists;
        self.until("early media was heard", |stage| {
            let (inward, outward) = (stage.inside.heard(Phase::Between), stage.outside.heard(Phase::Between));
            outward >= EARLY && (!insists || inward >= EARLY)
        })?;
        let arrow = Arrow { both: insists, ..Arrow::new(Lane::Callee, Lane::Caller, Style::EarlyMedia) };
        self.media_row(arrow, Phase::Between)
    }

    /// The pinhole toward the callee has counted what has passed on the wires, for nothing else lets it pass.
    fn rule_has_counted(&mut self, network: &Network) -> io::Result<()> {
        let least = self.wires.passed(true)?;
        let rules = network.rules_toward(self.scene.callee_media)?;
        let counted = rules.iter().filter_map(|rule| rule.packets).sum::<u64>();
        // What the kernel has counted it sends on at once.
        self.until("what a pinhole has counted has passed", |stage| {
            stage.wires.passed(true).is_ok_and(|passed| passed >= counted)
        })?;
        self.must(least <= counted, || {
            format!("the pinhole toward the callee has counted {counted} packets, and {least} have passed")
        });
        Ok(())
    }

    /// What figure 6 is about, by the ladder.
    fn rings_behind_both_rules(&mut self) {
        let place = |text: &str, from| {
            self.drawn.iter().position(|row| {
                row.text.starts_with(text) && row.arrow.is_some_and(|arrow| arrow.from == from)
            })
        };
        let (rings, rule) = (place("180", Lane::Callee), place("PER PR(PID_B)", Lane::Middlebox));
        let in_order = rings.zip(rule).is_some_and(|(rings, rule)| rule < rings);
        self.must(in_order, || "the callee's phone rang before its pinhole was there".to_owned());
    }

    /// Figures 4 and 7, and a reservation: the caller is told that it is the firewall, the callee's phone does not ring.
    fn never_rang(&mut self, told: Told) -> io::Result<()> {
        self.caller_is_told(told)?;
        let rang = self.has_rung();
        self.must(!rang, || "the callee's phone rang".to_owned());
        match self.callee_told.take() {
            // It has heard of the call, but kept that to itself.
            Some(reason) if told.explains(&reason) => {
                self.remark(&format!("the callee's phone never rings; it is told: CANCEL, Reason {reason}"));
            }
            Some(reason) => {
                self.must(false, || format!("the Reason to the callee does not say why: {reason:?}"))
            }
            None => self.remark("the callee's phone never rings, and never hears of the call"),
        }
        Ok(())
    }

    /// Figure 5: both are told, for the callee has answered.
    fn ghost_ring(&mut self, told: Told) -> io::Result<()> {
        self.early_media()?;
        self.caller_is_told(told)?;
        let (_, reason, _) = self.ended(false)?;
        self.must(reason.as_deref().is_some_and(|reason| told.explains(reason)), || {
            format!("the Reason to the callee does not say why: {reason:?}")
        });
        self.remark(&format!("the callee is told: BYE, Reason {}", reason.unwrap_or_default()));
        Ok(())
    }

    fn caller_is_told(&mut self, told: Told) -> io::Result<()> {
        let (status, _, warning) = self.ended(true)?;
        self.must(status == told.status, || {
            format!("the caller was refused with {status} instead of {}", told.status)
        });
        self.must(warning.as_deref().is_some_and(|text| text.contains(told.class)), || {
            format!("the Warning to the caller does not say why: {warning:?}")
        });
        self.remark(&format!("the caller is told: {status}, Warning {}", quoted(warning.as_deref())));
        Ok(())
    }

    /// Both phones go on talking although the call is over. With the 200 to BYE the pinholes are closed; where we end the call
    /// they are once that is committed, and nobody is told.
    fn after(&mut self, network: &Network) -> io::Result<()> {
        if self.scene.expected != Expected::Conversation {
            self.left_open(network)?;
        }
        self.phase(Phase::After)?;
        self.until("both phones have talked after the call", |stage| stage.both_sent(Phase::After, PACKETS))?;
        self.phase(Phase::Between)
    }
}

/// The text of a Warning without its code and agent.
fn quoted(warning: Option<&str>) -> String {
    warning
        .and_then(|warning| warning.split_once('"'))
        .map_or_else(String::new, |(_, text)| format!("\"{text}"))
}
