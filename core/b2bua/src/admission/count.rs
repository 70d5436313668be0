//! What the lines count: calls at a time, and how fast they come.

use std::time::Duration;

use machine::Instant;
use machine::onlooker::Onlooker;

use super::{BUSY, Line, name};
use crate::failure::Verdict;

/// What may come at once after a quiet second: as much as in a second.
const BURST: Duration = Duration::from_secs(1);

/// One entry for each line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Vec<Count>);

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    calls: u32,
    /// When the calls so far would have come, at exactly the rate.
    used: Instant,
}

impl Counts {
    /// For these lines.
    pub(crate) fn new(lines: &[Line]) -> Self {
        Self(vec![Count::default(); lines.len()])
    }

    /// Shows what decides.
    pub(crate) fn show(&self, onlooker: &mut dyn Onlooker) {
        onlooker.see(&self.0);
    }

    /// Lets one more call in, if all these lines have room for it: only then it counts.
    pub(crate) fn take(&mut self, now: Instant, lines: &[Line], limiting: &[u16]) -> Result<(), Verdict> {
        for position in limiting {
            if let Some(what) = self.lacks(now, lines, *position) {
                let status = lines.get(usize::from(*position)).and_then(|line| line.status).unwrap_or(BUSY);
                return Err(Verdict::plain(status, format!("{} {what}", name(*position))));
            }
        }
        for position in limiting.iter().map(|position| usize::from(*position)) {
            let (Some(count), Some(line)) = (self.0.get_mut(position), lines.get(position)) else { continue };
            count.calls += 1;
            if let Some(rate) = line.limits.rate {
                count.used = next(now, *count, rate);
            }
        }
        Ok(())
    }

    /// What a line has no room for.
    fn lacks(&self, now: Instant, lines: &[Line], position: u16) -> Option<String> {
        let count = self.0.get(usize::from(position))?;
        let limits = &lines.get(usize::from(position))?.limits;
        if let Some(calls) = limits.calls.filter(|calls| count.calls >= *calls) {
            return Some(format!("lets in at most {calls} at a time"));
        }
        let rate = limits.rate.filter(|rate| next(now, *count, *rate).since(now) > BURST)?;
        Some(format!("lets in at most {rate} a second"))
    }

    /// A call is over that has counted for these lines.
    pub(crate) fn give_back(&mut self, limiting: &[u16]) {
        for position in limiting {
            if let Some(count) = self.0.get_mut(usize::from(*position)) {
                count.calls = count.calls.saturating_sub(1);
            }
        }
    }

    /// The counts for other lines. A line about the same calls as one before goes on with its count; where it is now is said
    /// by the second value, by position of the lines before.
    pub(crate) fn moved(&self, before: &[Line], now: &[Line]) -> (Self, Vec<Option<u16>>) {
        let mut counts = Self::new(now);
        let mut free: Vec<bool> = vec![true; now.len()];
        let mut places = Vec::with_capacity(before.len());
        for (old, count) in before.iter().zip(&self.0) {
            let place = now.iter().zip(&free).position(|(line, free)| *free && line.is_about_the_same(old));
            if let Some(place) = place {
                (counts.0[place], free[place]) = (*count, false);
            }
            places.push(place.and_then(|place| u16::try_from(place).ok()));
        }
        (counts, places)
    }
}

fn next(now: Instant, count: Count, rate: u32) -> Instant {
    count.used.max(now) + Duration::from_secs(1) / rate.max(1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::super::{Limits, Says};
    use super::*;

    fn limited(calls: Option<u32>, rate: Option<u32>) -> Line {
        Line { limits: Limits { calls, rate, ..Limits::default() }, ..line(Says::Limit) }
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn so_many_calls_at_a_time() {
        let lines = [limited(Some(2), None)];
        let mut counts = Counts::new(&lines);
        let take = |counts: &mut Counts| counts.take(at(0), &lines, &[0]).map_err(|verdict| verdict.what);
        assert!(take(&mut counts).is_ok() && take(&mut counts).is_ok());
        let refused = "call policy 1 lets in at most 2 at a time";
        assert_eq!(take(&mut counts), Err(refused.to_owned()));
        counts.give_back(&[0]);
        assert!(take(&mut counts).is_ok() && take(&mut counts).is_err());
    }

    #[test]
    fn so_many_calls_a_second_and_as_many_at_once() {
        let lines = [limited(None, Some(3))];
        let mut counts = Counts::new(&lines);
        let mut admitted = |now: u64| counts.take(at(now), &lines, &[0]).is_ok();
        assert_eq!([0, 0, 0, 0].map(&mut admitted), [true, true, true, false]);
        // One has come back after a third of a second, and not before.
        assert_eq!([333, 334, 335].map(&mut admitted), [false, true, false]);
        // Quiet for longer than a second brings no more than a second's worth.
        assert_eq!([9000, 9000, 9000, 9000].map(&mut admitted), [true, true, true, false]);
    }

    #[test]
    fn a_call_that_one_line_refuses_counts_for_none() {
        let lines = [limited(Some(9), Some(1)), limited(Some(0), None)];
        let mut counts = Counts::new(&lines);
        assert_eq!(counts.take(at(0), &lines, &[0, 1]).unwrap_err().code, 503);
        assert!(counts.take(at(0), &lines, &[0]).is_ok(), "its rate was not used up");
    }

    #[test]
    fn other_lines_go_on_with_the_counts_of_those_about_the_same_calls() {
        let before = [limited(Some(2), None), line(Says::Allow)];
        let mut counts = Counts::new(&before);
        counts.take(at(0), &before, &[0, 1]).unwrap();
        let now = [line(Says::Deny), line(Says::Allow), limited(Some(1), Some(5))];
        let (mut counts, places) = counts.moved(&before, &now);
        assert_eq!(places, [Some(2), Some(1)]);
        assert!(counts.take(at(0), &now, &[2]).is_err(), "the call that is there counts");
        counts.give_back(&[2]);
        assert!(counts.take(at(0), &now, &[2]).is_ok());
    }

    #[test]
    fn two_lines_about_the_same_calls_keep_a_count_each() {
        let before = [limited(Some(2), None), limited(None, Some(2))];
        let (_, places) = Counts::new(&before).moved(&before, &before);
        assert_eq!(places, [Some(0), Some(1)]);
    }
}
