//! Timers of RFC 3261 §17, table 4, with L and M of RFC 6026 §8.11, each with its meaning.

use std::time::Duration;

/// The values from which all timers are computed. RFC 3261 §17.1.1.1, table 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerValues {
    /// Estimate of the round trip; 500 ms.
    pub t1: Duration,
    /// Longest interval between repetitions of a non-INVITE request or of an INVITE response; 4 s.
    pub t2: Duration,
    /// How long the network may hold a message; 5 s.
    pub t4: Duration,
    /// Timer C: how long an INVITE may stay without final response once it was sent on; above 3 minutes. It runs in
    /// the transaction user, not in a transaction; it stands here so that all values are in one place.
    pub c: Duration,
    /// Timer D over UDP: at least 32 s, whatever T1 is, because the peer's T1 is unknown.
    pub d: Duration,
}

impl Default for TimerValues {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(180),
            d: Duration::from_secs(32),
        }
    }
}

impl TimerValues {
    /// 64*T1: the life of an unanswered transaction (timers B, F, H, J, L, M) and the wait of a transaction user for
    /// an ACK or for the final response after CANCEL.
    #[must_use]
    pub fn t1_64(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

/// The timers of the four machines. C is missing on purpose: see [`TimerValues::c`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// INVITE client: when to repeat the INVITE (UDP); doubles without limit.
    A,
    /// INVITE client: how long to wait for any response.
    B,
    /// INVITE client: how long repeated final failure responses are answered with ACK.
    D,
    /// Non-INVITE client: when to repeat the request (UDP); doubles up to T2.
    E,
    /// Non-INVITE client: how long to wait for a final response.
    F,
    /// INVITE server: when to repeat the final failure response (UDP); doubles up to T2.
    G,
    /// INVITE server: how long to wait for the ACK to a final failure response.
    H,
    /// INVITE server: how long repeated ACKs are absorbed.
    I,
    /// Non-INVITE server: how long repeated requests are answered.
    J,
    /// Non-INVITE client: how long repeated final responses are absorbed.
    K,
    /// INVITE server: how long repeated INVITEs are absorbed after a 2xx. RFC 6026.
    L,
    /// INVITE client: how long further 2xx are passed on. RFC 6026.
    M,
    /// Non-INVITE server: when a 100 is due because the transaction user is slow. RFC 4320 §4.1 gives it no letter.
    Trying,
}

impl Timer {
    /// How long it runs when it is started. `None`: this transport does not need it.
    #[must_use]
    pub fn first(self, values: &TimerValues, reliable: bool) -> Option<Duration> {
        let udp = |time: Duration| Some(if reliable { Duration::ZERO } else { time });
        match self {
            Self::A | Self::E | Self::G => (!reliable).then_some(values.t1),
            Self::B | Self::F | Self::H | Self::L | Self::M => Some(values.t1_64()),
            Self::D => udp(values.d),
            Self::I | Self::K => udp(values.t4),
            Self::J => udp(values.t1_64()),
            Self::Trying => Some(trying_after(values)),
        }
    }

    /// How long it runs when it is started again after `interval`.
    #[must_use]
    pub fn again(self, interval: Duration, values: &TimerValues) -> Duration {
        let doubled = interval.saturating_mul(2);
        match self {
            Self::E | Self::G => doubled.min(values.t2),
            Self::A
            | Self::B
            | Self::D
            | Self::F
            | Self::H
            | Self::I
            | Self::J
            | Self::K
            | Self::L
            | Self::M
            | Self::Trying => doubled,
        }
    }

    /// What to write when asked why the machine wakes.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::A => "timer A: repeat INVITE",
            Self::B => "timer B: INVITE unanswered",
            Self::D => "timer D: end of ACK repetition",
            Self::E => "timer E: repeat request",
            Self::F => "timer F: request unanswered",
            Self::G => "timer G: repeat final response",
            Self::H => "timer H: ACK missing",
            Self::I => "timer I: end of ACK absorption",
            Self::J => "timer J: end of request absorption",
            Self::K => "timer K: end of response absorption",
            Self::L => "timer L: end of accepted INVITE, server",
            Self::M => "timer M: end of accepted INVITE, client",
            Self::Trying => "100 to a slow request",
        }
    }
}

/// The time after which a client's timer E has reached T2: T1 + 2*T1 + 4*T1 … below T2.
///
//= RFC 4320 §4.1: no 100 to a non-INVITE before this moment over UDP, and one at this moment on any transport.
fn trying_after(values: &TimerValues) -> Duration {
    let mut interval = values.t1.max(Duration::from_millis(1));
    let mut total = Duration::ZERO;
    while interval < values.t2 {
        total += interval;
        interval = interval.saturating_mul(2);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_table_4() {
        //= test RFC 3261 §17 table 4: default values of the timers over UDP.
        let values = TimerValues::default();
        let ms = |timer: Timer| timer.first(&values, false).map(|time| time.as_millis());
        assert_eq!(ms(Timer::A), Some(500));
        assert_eq!(ms(Timer::B), Some(32_000));
        assert_eq!(ms(Timer::D), Some(32_000));
        assert_eq!(ms(Timer::E), Some(500));
        assert_eq!(ms(Timer::F), Some(32_000));
        assert_eq!(ms(Timer::G), Some(500));
        assert_eq!(ms(Timer::H), Some(32_000));
        assert_eq!(ms(Timer::I), Some(5_000));
        assert_eq!(ms(Timer::J), Some(32_000));
        assert_eq!(ms(Timer::K), Some(5_000));
        assert_eq!(ms(Timer::L), Some(32_000));
        assert_eq!(ms(Timer::M), Some(32_000));
    }

    #[test]
    fn tcp_never_repeats_and_never_lingers() {
        //= test RFC 3261 §17 table 4: over a reliable transport A, E, G do not run and D, I, J, K are zero.
        let values = TimerValues::default();
        for timer in [Timer::A, Timer::E, Timer::G] {
            assert_eq!(timer.first(&values, true), None);
        }
        for timer in [Timer::D, Timer::I, Timer::J, Timer::K] {
            assert_eq!(timer.first(&values, true), Some(Duration::ZERO));
        }
        for timer in [Timer::B, Timer::F, Timer::H, Timer::L, Timer::M] {
            assert_eq!(timer.first(&values, true), Some(values.t1_64()));
        }
    }

    #[test]
    fn only_a_doubles_without_limit() {
        let values = TimerValues::default();
        let three = Duration::from_secs(3);
        assert_eq!(Timer::A.again(three, &values), Duration::from_secs(6));
        assert_eq!(Timer::E.again(three, &values), values.t2);
        assert_eq!(Timer::G.again(three, &values), values.t2);
    }

    #[test]
    fn a_slow_request_gets_100_when_timer_e_reaches_t2() {
        //= test RFC 4320 §4.1: 0.5 + 1 + 2 seconds with the default values.
        let values = TimerValues::default();
        assert_eq!(Timer::Trying.first(&values, false), Some(Duration::from_millis(3500)));
    }
}
