//! One line per fact on standard error.
//!
//! ERROR is a broken promise, WARN would interest an operator at three in the morning, INFO is a call, a rule or a
//! start, DEBUG a decision. Lines that cannot be written (a full disk, a closed pipe) are lost, never waited for.

use std::fmt;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static WHO: OnceLock<&'static str> = OnceLock::new();

/// Says which process speaks and what is written from now on.
pub(crate) fn start(who: &'static str, level: Level) {
    let _ = WHO.set(who);
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// True if lines of this level are written; asked before costly lines are made.
pub(crate) fn enabled(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Writes one line.
pub(crate) fn line(level: Level, text: fmt::Arguments<'_>) {
    if !enabled(level) {
        return;
    }
    let word = match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN ",
        Level::Info => "INFO ",
        Level::Debug => "DEBUG",
    };
    let who = WHO.get().copied().unwrap_or("postern");
    // One write per line, so that lines of several processes do not mix.
    let line = format!("{} {word} {who}: {text}\n", Stamp(SystemTime::now()));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

pub(crate) fn error(text: fmt::Arguments<'_>) {
    line(Level::Error, text);
}
pub(crate) fn warn(text: fmt::Arguments<'_>) {
    line(Level::Warn, text);
}
pub(crate) fn info(text: fmt::Arguments<'_>) {
    line(Level::Info, text);
}
pub(crate) fn debug(text: fmt::Arguments<'_>) {
    line(Level::Debug, text);
}

/// Between two warnings of a kind that strangers can cause at will.
const RARELY: Duration = Duration::from_secs(1);

/// Warnings that strangers can cause at will: one in a second is written, so that none of them fills the disk.
#[derive(Debug, Default)]
pub(crate) struct Rarely {
    last: Option<Instant>,
    left_out: u64,
}

impl Rarely {
    pub(crate) fn warn(&mut self, text: fmt::Arguments<'_>) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now < last + RARELY) {
            self.left_out += 1;
            return debug(text);
        }
        self.last = Some(now);
        match std::mem::take(&mut self.left_out) {
            0 => warn(text),
            count => warn(format_args!("{text} (and {count} more such warnings before)")),
        }
    }
}

/// UTC to the millisecond: `2026-11-21T05:24:00.123Z`.
struct Stamp(SystemTime);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, millis) = (since.as_secs(), since.subsec_millis());
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of a number of days after 1 January 1970, in the Gregorian calendar. Years are counted from
/// 1 March, so that the day that comes and goes is the last.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_that_strangers_cause_are_counted_and_not_written() {
        let mut rarely = Rarely::default();
        for _ in 0..10 {
            rarely.warn(format_args!("a warning of a test"));
        }
        assert_eq!(rarely.left_out, 9);
    }

    #[test]
    fn stamps_are_utc() {
        let stamp = |seconds| Stamp(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
        assert_eq!(stamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(stamp(1_795_236_235), "2026-11-21T04:43:55.000Z");
    }
}
