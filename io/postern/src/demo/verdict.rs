//! What was counted, and which promises of `docs/pinholes.md` it shows kept.

use std::fmt;

use serde::Serialize;

use super::media::{Media, Phase};
use super::scene::{Expected, Name, Opened, Scene};
use super::wires::{Seen, Way};
use crate::ladder::{Row, svg};

/// Packets of one direction: sent and heard, by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Direction {
    pub(crate) before: Count,
    /// While rules were opened or closed.
    pub(crate) between: Count,
    pub(crate) during: Count,
    pub(crate) after: Count,
    /// Packets of no negotiated flow that arrived.
    pub(crate) strays: u64,
}

/// Sent there, heard here; on wires: entered on one, left on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    pub(crate) heard: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} / {}", self.heard, self.sent))
    }
}

impl Direction {
    /// What `to` heard of what `from` sent.
    pub(crate) fn count(from: &Media, to: &Media) -> Self {
        let count = |phase| Count { sent: from.sent(phase), heard: to.heard(phase) };
        Self {
            before: count(Phase::Before),
            between: count(Phase::Between),
            during: count(Phase::During),
            after: count(Phase::After),
            strays: to.strays(),
        }
    }

    fn all(&self) -> [Count; 4] {
        [self.before, self.between, self.during, self.after]
    }
}

/// How a scene went.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) figure: Name,
    pub(crate) title: &'static str,
    /// What was shown as it happened.
    pub(crate) ladder: Vec<Row>,
    /// From the caller (outside) to the callee (inside).
    pub(crate) inward: Direction,
    /// From the callee to the caller.
    pub(crate) outward: Direction,
    /// The same call on both cables of the firewall.
    pub(crate) wires: Seen,
    /// Rules and kernel entries left at the end.
    pub(crate) left_open: (usize, usize),
    /// Everything that was not as promised; empty if all held.
    pub(crate) broken: Vec<String>,
}

impl Verdict {
    /// Holds the counts against the promises. `broken` starts with what the phones were told wrongly.
    pub(crate) fn judge(
        scene: &Scene,
        (inward, outward): (Direction, Direction),
        wires: Seen,
        left_open: (usize, usize),
        mut broken: Vec<String>,
    ) -> Self {
        for (way, direction) in [("outside to inside", inward), ("inside to outside", outward)] {
            let mut must = |holds: bool, what: String| {
                if !holds {
                    broken.push(format!("{way}: {what}"));
                }
            };
            let Direction { before, during, after, .. } = direction;
            must(before.sent > 0 && after.sent > 0, "the phone did not talk, so nothing is shown".to_owned());
            must(before.heard == 0, format!("promise 1: {} packets passed before the rule", before.heard));
            must(after.heard == 0, format!("promise 2: {} packets passed after the close", after.heard));
            must(direction.strays == 0, format!("promise 3: {} packets of no flow passed", direction.strays));
            if matches!(scene.expected, Expected::Conversation | Expected::TakenBack) {
                must(during.sent > 0, "no packet was sent during the call".to_owned());
                let lost = during.sent.abs_diff(during.heard);
                must(lost == 0, format!("promise 1: {lost} packets were lost after the rule was confirmed"));
            } else {
                must(during.sent == 0, "there was a call although its firewall refused".to_owned());
            }
        }
        // Without a rule nothing may pass at any time; where one was granted for a while, early media may.
        let closed = match scene.opened {
            Opened::Both => None,
            Opened::Neither => Some(inward.between.heard + outward.between.heard),
            Opened::TowardCaller => Some(inward.between.heard),
        };
        if let Some(passed) = closed.filter(|passed| *passed > 0) {
            broken.push(format!("promise 1: {passed} packets passed although the rule was refused"));
        }
        judge_wires(scene, &wires, &mut broken);
        if left_open != (0, 0) {
            broken.push(format!("{} rules and {} kernel entries are left over", left_open.0, left_open.1));
        }
        let ladder = Vec::new();
        Self { figure: scene.name, title: scene.title, ladder, inward, outward, wires, left_open, broken }
    }

    /// The ladder as a picture.
    pub(crate) fn picture(&self) -> String {
        svg::ladder(&format!("{}: {}", self.figure.headline(), self.title), &self.ladder)
    }

    /// True if every promise held.
    pub(crate) fn holds(&self) -> bool {
        self.broken.is_empty()
    }

    /// What was on the wires, as a table.
    fn wires_text(&self) -> String {
        let Seen { inward, outward, strange } = self.wires;
        let titles = ["before INVITE", "ringing", "talking", "closing", "after"];
        let mut text = format!("\n  {:20}", "wires: passed / sent");
        text.extend(titles.map(|title| format!("{title:>14}")));
        for (way, seen) in [("outside -> inside", inward), ("inside -> outside", outward)] {
            text.push_str(&format!("\n  {way:20}"));
            text.extend(seen.all().map(|count| format!("{count:>14}")));
        }
        text.push_str(&format!("\n  of no flow, passed either way: {strange}\n\n"));
        text
    }

    /// As a table, and a sentence per promise.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "  packets heard / sent       before      opening,        during         after    of no\n\
             \x20                          the call     closing       the call      the call     flow\n",
        );
        for (way, direction) in [("outside -> inside", self.inward), ("inside -> outside", self.outward)] {
            text.push_str(&format!("  {way:20}"));
            for count in direction.all() {
                text.push_str(&format!("{count:>14}"));
            }
            text.push_str(&format!("{:>9}\n", direction.strays));
        }
        text.push_str(&self.wires_text());
        text.push_str(&format!(
            "  pinholes left: {} in the table, {} in the kernel\n\n",
            self.left_open.0, self.left_open.1
        ));
        if self.holds() {
            text.push_str(
                "  promise 1 held: nothing passed before its rule, nothing was lost after\n  \
                 promise 2 held: nothing passed after the close, both phones still sending\n  \
                 promise 3 held: no packet of no flow passed: wrong port, wrong source\n  \
                 what the phones have counted was on both wires, packet for packet\n",
            );
        }
        for broken in &self.broken {
            text.push_str(&format!("  BROKEN  {broken}\n"));
        }
        text
    }
}

/// Holds what was on the wires against the same promises. Its times are those of the SIP messages there.
fn judge_wires(scene: &Scene, wires: &Seen, broken: &mut Vec<String>) {
    let Seen { inward, outward, strange } = *wires;
    let mut must = |holds: bool, what: String| {
        if !holds {
            broken.push(format!("on the wires: {what}"));
        }
    };
    must(strange == 0, format!("promise 3: {strange} packets of no flow passed"));
    for (way, seen) in [("inward", inward), ("outward", outward)] {
        let Way { before, talking, after, has_gap, .. } = seen;
        must(before.sent > 0 && after.sent > 0, format!("{way}: nothing came, so nothing is shown"));
        must(
            before.heard == 0,
            format!("promise 1: {way}, {} packets passed before the INVITE", before.heard),
        );
        must(after.heard == 0, format!("promise 2: {way}, {} packets passed after the end", after.heard));
        must(!has_gap, format!("promise 2: {way}, something passed again although something had been lost"));
        match scene.expected {
            Expected::Conversation => {
                let lost = talking.sent.abs_diff(talking.heard);
                must(talking.sent > 0, format!("{way}: nobody talked"));
                must(
                    lost == 0,
                    format!("promise 1: {way}, {lost} packets were lost between the answer and BYE"),
                );
            }
            // Until the pinhole is taken back, which no wire shows.
            Expected::TakenBack => must(talking.heard > 0, format!("{way}: nothing passed in the call")),
            Expected::NeverRang(_) | Expected::GhostRing(_) => {
                must(talking.sent == 0, format!("{way}: the caller was answered"));
            }
        }
    }
    let passed = |seen: Way| seen.all().iter().map(|count| count.heard).sum::<u64>();
    let closed = match scene.opened {
        Opened::Both => 0,
        Opened::TowardCaller => passed(inward),
        Opened::Neither => passed(inward) + passed(outward),
    };
    must(closed == 0, format!("promise 1: {closed} packets passed although the rule was refused"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scene::Figure;

    fn said(figure: Figure, change: impl Fn(&mut Seen)) -> String {
        let count = |sent, heard| Count { sent, heard };
        let before = count(9, 0);
        let talking = match figure {
            Figure::Three => count(9, 9),
            _ => count(0, 0),
        };
        let way = Way { before, ringing: before, talking, closing: before, after: before, has_gap: false };
        let mut seen = Seen { inward: way, outward: way, strange: 0 };
        change(&mut seen);
        let mut broken = Vec::new();
        judge_wires(&figure.scene(), &seen, &mut broken);
        broken.join("; ")
    }

    #[test]
    fn a_promise_that_the_wires_show_broken_is_named() {
        use Figure::{Five, Four, Three};
        for figure in [Three, Four, Five] {
            assert_eq!(said(figure, |_| {}), "");
        }
        let says = |figure, change: fn(&mut Seen), what: &str| {
            let said = said(figure, change);
            assert!(said.contains(what), "{said}");
        };
        says(Three, |seen| seen.inward.before.heard = 1, "inward, 1 packets passed before the INVITE");
        says(Three, |seen| seen.outward.after.heard = 2, "outward, 2 packets passed after the end");
        says(Three, |seen| seen.inward.talking.heard = 8, "inward, 1 packets were lost");
        says(Three, |seen| seen.inward.has_gap = true, "inward, something passed again");
        says(Three, |seen| seen.strange = 3, "3 packets of no flow");
        says(Three, |seen| seen.inward.after.sent = 0, "inward: nothing came");
        says(Four, |seen| seen.outward.ringing.heard = 1, "1 packets passed although the rule was refused");
        says(Five, |seen| seen.inward.closing.heard = 1, "1 packets passed although the rule was refused");
        says(Five, |seen| seen.inward.talking.sent = 1, "inward: the caller was answered");
    }
}
