//! The call policy of a flow: `deny users=+49900* status=603; limit to=outside calls=1; allow media=audio duration=60`.
//!
//! Lines are set apart by `;`. A line is `allow`, `deny` or `limit` and what it asks for: `from`, `to` (a realm), `users`,
//! `callers` (a pattern), `sources` (a network), `when` (`Mon:08:00+600`: from then on, so many minutes), `status`, `calls`,
//! `rate`, `duration` (seconds), `media` (types with commas).

use std::time::Duration;

use b2bua::admission::{Limits, Line, Says};
use b2bua::config::{RealmId, UserPattern, When};
use machine::week::{MinuteOfWeek, Window};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// All lines.
pub(crate) fn lines(text: &str) -> Result<Vec<Line>, String> {
    text.split(';').map(str::trim).filter(|line| !line.is_empty()).map(line).collect()
}

/// `Mon`, `09:00`.
pub(crate) fn minute(day: &str, time: &str) -> Result<MinuteOfWeek, String> {
    let wrong = || format!("no time: {day} {time}");
    let day = DAYS.iter().position(|known| *known == day).ok_or_else(wrong)?;
    let (hour, minute) = time.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u8>().map_err(|_| wrong());
    MinuteOfWeek::new(u8::try_from(day).map_err(|_| wrong())?, number(hour)?, number(minute)?)
        .ok_or_else(wrong)
}

fn line(text: &str) -> Result<Line, String> {
    let mut words = text.split_whitespace();
    let says = match words.next().unwrap_or_default() {
        "allow" => Says::Allow,
        "deny" => Says::Deny,
        "limit" => Says::Limit,
        other => return Err(format!("call-policy: what is {other}?")),
    };
    let mut line = Line {
        says,
        from: None,
        to: None,
        when: When::default(),
        windows: Vec::new(),
        status: None,
        limits: Limits::default(),
    };
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("call-policy: {word}?"))?;
        set(&mut line, name, value).ok_or_else(|| format!("call-policy: {word}?"))?;
    }
    Ok(line)
}

fn set(line: &mut Line, name: &str, value: &str) -> Option<()> {
    match name {
        "from" => line.from = Some(realm(value)?),
        "to" => line.to = Some(realm(value)?),
        "users" => line.when.users.push(UserPattern::parse(value)?),
        "callers" => line.when.callers.push(UserPattern::parse(value)?),
        "sources" => line.when.sources.push(value.parse().ok()?),
        "when" => line.windows.push(window(value)?),
        "status" => line.status = Some(value.parse().ok()?),
        "calls" => line.limits.calls = Some(value.parse().ok()?),
        "rate" => line.limits.rate = Some(value.parse().ok()?),
        "duration" => line.limits.duration = Some(Duration::from_secs(value.parse().ok()?)),
        "media" => line.limits.media = value.split(',').map(str::to_owned).collect(),
        _ => return None,
    }
    Some(())
}

fn realm(name: &str) -> Option<RealmId> {
    match name {
        "outside" => Some(RealmId(0)),
        "inside" => Some(RealmId(1)),
        _ => None,
    }
}

fn window(text: &str) -> Option<Window> {
    let (day, rest) = text.split_once(':')?;
    let (time, minutes) = rest.split_once('+')?;
    Window::new(minute(day, time).ok()?, minutes.parse().ok()?)
}
