//! What was counted, and which promises of `docs/pinholes.md` it shows kept.

use serde::Serialize;

use super::media::{Media, Phase};
use super::scene::{Expected, Name, Opened, Scene};

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

/// Sent there, heard here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    pub(crate) heard: u64,
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
    /// From the caller (outside) to the callee (inside).
    pub(crate) inward: Direction,
    /// From the callee to the caller.
    pub(crate) outward: Direction,
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
        if left_open != (0, 0) {
            broken.push(format!("{} rules and {} kernel entries are left over", left_open.0, left_open.1));
        }
        Self { figure: scene.name, inward, outward, left_open, broken }
    }

    /// True if every promise held.
    pub(crate) fn holds(&self) -> bool {
        self.broken.is_empty()
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
                let count = format!("{} / {}", count.heard, count.sent);
                text.push_str(&format!("{count:>14}"));
            }
            text.push_str(&format!("{:>9}\n", direction.strays));
        }
        text.push_str(&format!(
            "  pinholes left: {} in the table, {} in the kernel\n\n",
            self.left_open.0, self.left_open.1
        ));
        if self.holds() {
            text.push_str(
                "  promise 1 held: nothing passed before its rule, nothing was lost after\n  \
                 promise 2 held: nothing passed after the close, both phones still sending\n  \
                 promise 3 held: no packet of no flow passed: wrong port, wrong source\n",
            );
        }
        for broken in &self.broken {
            text.push_str(&format!("  BROKEN  {broken}\n"));
        }
        text
    }
}
