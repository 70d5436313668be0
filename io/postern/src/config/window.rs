//! Times of the week as they are written, and the time zone they are meant in.

use machine::week::{MinuteOfWeek, Window};
use toml::Spanned;
use toml::de::DeValue;

use super::kind::{Kind, complain};
use super::problem::Problems;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY_MINUTES: u16 = 24 * 60;

/// `Mon-Fri 08:00-18:00`, `Sat 22:00-06:00`, `Sun`, `08:00-18:00`: some days, some time, or both. One window for each day.
#[derive(Debug)]
pub(crate) struct Windows;

impl Kind for Windows {
    type Value = Vec<Window>;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Vec<Window>> {
        value.get_ref().as_str().and_then(parse).or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        "times of the week such as \"Mon-Fri 08:00-18:00\", \"Sat 22:00-06:00\", \"Sun\" or \"12:00-13:00\""
            .into()
    }
}

fn parse(text: &str) -> Option<Vec<Window>> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    let (days, time) = match (days(first), second) {
        (Some(days), None) => (days, (0, DAY_MINUTES)),
        (Some(days), Some(time)) => (days, span(time)?),
        (None, None) => ((0..7).collect(), span(first)?),
        (None, Some(_)) => return None,
    };
    let (from, minutes) = time;
    let hour = u8::try_from(from / 60).ok()?;
    let minute = u8::try_from(from % 60).ok()?;
    days.into_iter().map(|day| Window::new(MinuteOfWeek::new(day, hour, minute)?, minutes)).collect()
}

/// `Mon`, `Mon-Fri`, `Sat-Mon`, by number from Monday.
fn days(text: &str) -> Option<Vec<u8>> {
    let day =
        |name: &str| (0_u8..).zip(DAYS).find(|(_, day)| day.eq_ignore_ascii_case(name)).map(|(day, _)| day);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7 + 1;
    Some((0..count).map(|more| (first + more) % 7).collect())
}

/// `08:00-18:00` as first minute and length; 24:00 may be the end.
fn span(text: &str) -> Option<(u16, u16)> {
    let minute = |text: &str| -> Option<u16> {
        let (hour, minute) = text.split_once(':')?;
        let number = |text: &str, digits| (text.len() == digits).then(|| text.parse::<u16>().ok()).flatten();
        let (hour, minute) = (number(hour, 2)?, number(minute, 2)?);
        let at = hour * 60 + minute;
        (minute < 60 && at <= DAY_MINUTES).then_some(at)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from).filter(|from| *from < DAY_MINUTES)?, minute(to)?);
    match (to + DAY_MINUTES - from) % DAY_MINUTES {
        // The whole day is written 00:00-24:00; the same time twice is a slip.
        0 if to == DAY_MINUTES => Some((from, DAY_MINUTES)),
        0 => None,
        minutes => Some((from, minutes)),
    }
}

/// A time zone of the tz database.
#[derive(Debug)]
pub(crate) struct Zone;

impl Kind for Zone {
    type Value = jiff::tz::TimeZone;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<jiff::tz::TimeZone> {
        let zone = value.get_ref().as_str().and_then(|name| jiff::tz::TimeZone::get(name).ok());
        zone.or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        "time zone such as \"Europe/Berlin\" or \"UTC\"".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u8, hour: u8, minute: u8) -> MinuteOfWeek {
        MinuteOfWeek::new(day, hour, minute).unwrap()
    }

    fn within(text: &str, minute: MinuteOfWeek) -> bool {
        parse(text).unwrap().iter().any(|window| window.contains(minute))
    }

    #[test]
    fn times_are_read_as_people_mean_them() {
        for (text, minute, inside) in [
            ("Mon-Fri 08:00-18:00", at(4, 17, 59), true),
            ("Mon-Fri 08:00-18:00", at(4, 18, 0), false),
            ("mon-fri 08:00-18:00", at(5, 9, 0), false),
            ("Sat 22:00-06:00", at(6, 5, 59), true),
            ("Sat 22:00-06:00", at(5, 5, 0), false),
            ("Sat-Mon", at(0, 23, 59), true),
            ("Sat-Mon", at(1, 0, 0), false),
            ("Sun 00:00-24:00", at(6, 23, 59), true),
            ("12:00-13:00", at(3, 12, 30), true),
            ("22:00-24:00", at(3, 23, 59), true),
            ("22:00-24:00", at(4, 0, 0), false),
        ] {
            assert_eq!(within(text, minute), inside, "{text} {minute:?}");
        }
        for wrong in [
            "",
            "Mon Tue",
            "8:00-18:00",
            "08:00",
            "08:00-08:00",
            "24:00-06:00",
            "08:60-09:00",
            "Mon 08:00-18:00 x",
            "25:00-26:00",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
