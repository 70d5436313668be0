//! Times of the week as policies know them: numbers that a caller with a clock and a time zone makes.

/// Minutes of a week.
const WEEK: u16 = 7 * 24 * 60;

/// A minute of the week, in the time zone of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MinuteOfWeek(u16);

impl MinuteOfWeek {
    /// `day` counts from Monday, 0; `None` beyond Sunday 23:59.
    #[must_use]
    pub fn new(day: u8, hour: u8, minute: u8) -> Option<Self> {
        let fits = day < 7 && hour < 24 && minute < 60;
        fits.then(|| Self((u16::from(day) * 24 + u16::from(hour)) * 60 + u16::from(minute)))
    }
}

/// A stretch of every week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: MinuteOfWeek,
    minutes: u16,
}

impl Window {
    /// So many minutes from then on, over the end of the week if need be; `None` for none and for more than a week.
    #[must_use]
    pub fn new(from: MinuteOfWeek, minutes: u16) -> Option<Self> {
        (1..=WEEK).contains(&minutes).then_some(Self { from, minutes })
    }

    /// True if the minute belongs to it.
    #[must_use]
    pub fn contains(&self, minute: MinuteOfWeek) -> bool {
        (minute.0 + WEEK - self.from.0) % WEEK < self.minutes
    }
}
