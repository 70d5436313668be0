//! The one timer of a loop.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use machine::Instant;
use tokio::time::Sleep;

use crate::clock::Clock;

/// Deadlines are met at the next multiple of this: SIP counts in half seconds, and thousands of transactions that
/// end in the same moment are worth one wake-up.
const TICK: Duration = Duration::from_millis(10);

/// Wakes the loop for what is due. An alarm that has become too early is let ring, since moving the runtime's timer
/// for each message costs more.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Alarm {
    /// Ready at `deadline` or a tick later, and sometimes before.
    pub(crate) fn poll_due(
        &mut self,
        cx: &mut Context<'_>,
        clock: Clock,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        if let Some(at) = deadline.map(next_tick) {
            match &mut self.set {
                Some((set, _)) if *set <= at => {}
                Some((set, sleep)) => {
                    sleep.as_mut().reset(clock.deadline(at));
                    *set = at;
                }
                None => self.set = Some((at, Box::pin(tokio::time::sleep_until(clock.deadline(at))))),
            }
        }
        let Some((_, sleep)) = &mut self.set else { return Poll::Pending };
        let rung = sleep.as_mut().poll(cx);
        if rung.is_ready() {
            self.set = None;
        }
        rung
    }
}

fn next_tick(at: Instant) -> Instant {
    let tick = u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(at.as_nanos().div_ceil(tick).saturating_mul(tick))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn ticks_are_never_early() {
        assert_eq!(next_tick(at(0)), at(0));
        assert_eq!(next_tick(at(10)), at(10));
        assert_eq!(next_tick(Instant::from_nanos(1)), at(10));
        assert_eq!(next_tick(at(11)), at(20));
        next_tick(Instant::from_nanos(u64::MAX));
    }

    #[test]
    fn an_earlier_deadline_moves_the_alarm_and_a_later_one_does_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let clock = Clock::start();
            let mut alarm = Alarm::default();
            for deadline in [Some(at(60_000)), Some(at(30)), Some(at(60_000)), None] {
                let now = poll_fn(|cx| Poll::Ready(alarm.poll_due(cx, clock, deadline))).await;
                assert!(now.is_pending());
            }
            poll_fn(|cx| alarm.poll_due(cx, clock, Some(at(60_000)))).await;
            let rang = clock.now();
            assert!(at(30) <= rang && rang < at(30_000), "rang at {rang}");
        });
    }
}
