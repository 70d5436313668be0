//! New calls that wait for their turn. Everything else goes first; what cannot have its turn in time is refused as it arrives,
//! before a queue has grown.

use std::collections::VecDeque;
use std::time::Duration;

use machine::Instant;

use crate::limits::BACKLOG_MAX;

/// Two queues with a bound in time: while the oldest of one has waited longer than that, nothing more is taken into it. Those of
/// trusted sources go first.
#[derive(Debug)]
pub struct Backlog<T> {
    trusted: VecDeque<(Instant, T)>,
    others: VecDeque<(Instant, T)>,
    longest: Duration,
}

impl<T> Backlog<T> {
    /// Nothing waits; what will may wait for so long.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self { trusted: VecDeque::new(), others: VecDeque::new(), longest }
    }

    /// Puts one behind those of its queue.
    ///
    /// # Errors
    /// Gives it back if the oldest of the queue has waited too long, or there are [`BACKLOG_MAX`] in it.
    pub fn push(&mut self, now: Instant, is_trusted: bool, call: T) -> Result<(), T> {
        let waiting = if is_trusted { &mut self.trusted } else { &mut self.others };
        let late = waiting.front().is_some_and(|(since, _)| now.since(*since) > self.longest);
        if late || waiting.len() >= BACKLOG_MAX {
            return Err(call);
        }
        waiting.push_back((now, call));
        Ok(())
    }

    /// The next one's turn; it is too late for one that has waited too long, because what comes first has taken all the time: then
    /// it is refused after all.
    ///
    /// # Errors
    /// The late one.
    pub fn pop(&mut self, now: Instant) -> Option<Result<T, T>> {
        let (since, call) = self.trusted.pop_front().or_else(|| self.others.pop_front())?;
        Some(if now.since(since) > self.longest { Err(call) } else { Ok(call) })
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.trusted.len() + self.others.len()
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trusted.is_empty() && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_taken_while_the_oldest_is_late() {
        let mut backlog = Backlog::new(50 * MS);
        assert_eq!(backlog.push(Instant::ZERO, false, 1), Ok(()));
        assert_eq!(backlog.push(Instant::ZERO + 50 * MS, false, 2), Ok(()));
        assert_eq!(backlog.push(Instant::ZERO + 51 * MS, false, 3), Err(3));
        assert_eq!(backlog.pop(Instant::ZERO + 51 * MS), Some(Err(1)));
        assert_eq!(backlog.push(Instant::ZERO + 51 * MS, false, 3), Ok(()));
        let mut pop = || backlog.pop(Instant::ZERO + 100 * MS);
        assert_eq!((pop(), pop(), pop()), (Some(Ok(2)), Some(Ok(3)), None));
    }

    #[test]
    fn strangers_are_not_in_the_way_of_those_that_are_trusted() {
        let mut backlog = Backlog::new(50 * MS);
        let late = Instant::ZERO + 51 * MS;
        assert_eq!(backlog.push(Instant::ZERO, false, 1), Ok(()));
        assert_eq!(backlog.push(late, true, 2), Ok(()));
        assert_eq!(backlog.push(late, false, 3), Err(3));
        assert_eq!((backlog.pop(late), backlog.len()), (Some(Ok(2)), 1));
        assert_eq!((backlog.pop(late), backlog.is_empty()), (Some(Err(1)), true));
    }

    #[test]
    fn nothing_is_taken_beyond_its_length() {
        let mut backlog = Backlog::new(50 * MS);
        let taken =
            (0..BACKLOG_MAX + 7).filter(|call| backlog.push(Instant::ZERO, false, *call).is_ok()).count();
        assert_eq!((taken, backlog.len()), (BACKLOG_MAX, BACKLOG_MAX));
    }
}
