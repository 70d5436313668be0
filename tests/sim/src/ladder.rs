//! The ladder of one call: who sent what to whom, as the agent saw it, and what got lost.
//!
//! ```text
//!             caller      agent       gate        callee
//!     0.104   |---------->|           |           |  INVITE sip:c1b@203.0.113.1 +sdp
//!     0.104   |           |---------->|           |  17 PER ...
//!     0.110   |           |-----------+-----x     |  INVITE sip:c1b@203.0.113.2:5060 +sdp
//! ```

use std::fmt;

use crate::log::{Lane, Line, Log, Way};

/// Columns from one lane to the next.
const PITCH: usize = 12;
const LANES: [(Lane, &str); 4] =
    [(Lane::Caller, "caller"), (Lane::Agent, "agent"), (Lane::Gate, "gate"), (Lane::Callee, "callee")];

/// What a log says of a call, drawn.
pub(crate) struct Ladder<'a> {
    pub(crate) log: &'a Log,
    /// `None`: of everything.
    pub(crate) call: Option<u32>,
}

impl fmt::Display for Ladder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: String = LANES.iter().map(|(_, name)| format!("{name:<PITCH$}")).collect();
        writeln!(f, "{:>10}   {}", "", names.trim_end())?;
        self.log.of(self.call).try_for_each(|line| writeln!(f, "{}", rung(line)))
    }
}

/// One line: an arrow, or what else happened, between the lanes.
pub(crate) fn rung(line: &Line) -> String {
    let mut row = vec![' '; PITCH * (LANES.len() - 1) + 1];
    for (lane, _) in LANES {
        put(&mut row, column(lane), '|');
    }
    let mark = match line.way {
        Some(way) => {
            draw(&mut row, way);
            ' '
        }
        None => '*',
    };
    let (at, row): (_, String) = (line.at.to_string(), row.into_iter().collect());
    format!("{at:>10}   {row} {mark}{}", line.text)
}

fn column(lane: Lane) -> usize {
    LANES.iter().position(|(one, _)| *one == lane).unwrap_or_default() * PITCH
}

fn put(row: &mut [char], at: usize, what: char) {
    if let Some(place) = row.get_mut(at) {
        *place = what;
    }
}

fn draw(row: &mut [char], way: Way) {
    let (from, to) = (column(way.from), column(way.to));
    let (first, last) = (from.min(to) + 1, from.max(to).saturating_sub(1));
    for at in first..=last {
        put(row, at, if at % PITCH == 0 { '+' } else { '-' });
    }
    let (tip, head) = if from < to { (last, '>') } else { (first, '<') };
    if !way.is_lost {
        return put(row, tip, head);
    }
    // It stops half of the way.
    let middle = (from + to) / 2;
    let beyond = if from < to { middle..=last } else { first..=middle };
    for at in beyond {
        put(row, at, if at % PITCH == 0 { '|' } else { ' ' });
    }
    put(row, middle, 'x');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(from: Lane, to: Lane, is_lost: bool) -> String {
        let way = Some(Way { from, to, is_lost });
        rung(&Line {
            at: machine::Instant::from_nanos(1_500_000_000),
            call: Some(1),
            way,
            text: "BYE".into(),
        })
    }

    #[test]
    fn arrows_go_from_lane_to_lane() {
        assert_eq!(
            drawn(Lane::Caller, Lane::Agent, false),
            "     1.500   |---------->|           |           |  BYE"
        );
        assert_eq!(
            drawn(Lane::Gate, Lane::Agent, false),
            "     1.500   |           |<----------|           |  BYE"
        );
        assert_eq!(
            drawn(Lane::Agent, Lane::Callee, false),
            "     1.500   |           |-----------+---------->|  BYE"
        );
        assert_eq!(
            drawn(Lane::Callee, Lane::Agent, false),
            "     1.500   |           |<----------+-----------|  BYE"
        );
    }

    #[test]
    fn what_is_lost_stops_half_of_the_way() {
        assert_eq!(
            drawn(Lane::Caller, Lane::Agent, true),
            "     1.500   |-----x     |           |           |  BYE"
        );
        assert_eq!(
            drawn(Lane::Agent, Lane::Caller, true),
            "     1.500   |     x-----|           |           |  BYE"
        );
    }
}
