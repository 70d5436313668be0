//! The clock on the wall, for policies that know times of the week.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use machine::week::MinuteOfWeek;

/// What time it is where the policy is meant.
#[derive(Debug)]
pub(crate) struct Wall {
    zone: TimeZone,
    told: Option<MinuteOfWeek>,
}

impl Wall {
    /// A clock in this zone; without one, in that of the host.
    pub(crate) fn new(zone: Option<&TimeZone>) -> Self {
        Self { zone: zone.cloned().unwrap_or_else(TimeZone::system), told: None }
    }

    /// The minute that a machine has to be told, if it is another than before. A clock that jumps is another minute.
    pub(crate) fn tick(&mut self) -> Option<MinuteOfWeek> {
        let now = minute(&self.zone, Timestamp::now());
        (self.told != now).then_some(now).flatten().inspect(|_| self.told = now)
    }
}

pub(crate) fn minute(zone: &TimeZone, at: Timestamp) -> Option<MinuteOfWeek> {
    let time = at.to_zoned(zone.clone());
    let number = |number: i8| u8::try_from(number).ok();
    let day = number(time.weekday().to_monday_zero_offset())?;
    MinuteOfWeek::new(day, number(time.hour())?, number(time.minute())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_that_of_the_zone_summer_and_winter() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (at, day, hour) in [
            // Tuesday in winter, an hour ahead of UTC; Sunday night in summer is Monday there.
            ("2026-12-01T06:30:00Z", 1, 7),
            ("2026-07-05T22:30:00Z", 0, 0),
            // The night in which the clock is put back: half past two comes twice.
            ("2026-10-25T00:30:00Z", 6, 2),
            ("2026-10-25T01:30:00Z", 6, 2),
        ] {
            assert_eq!(minute(&berlin, at.parse().unwrap()), MinuteOfWeek::new(day, hour, 30), "{at}");
        }
    }
}
