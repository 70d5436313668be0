//! Which calls are let in, and on which terms: the lines of `[[call-policy]]`. `docs/policy.md`.
//!
//! `decide` is a function of the lines and of what is known of a call, so that whoever asks about a hypothetical call gets
//! the answer that a real one would get. What the lines count, calls and their rate, is `count::Counts`.

pub(crate) mod count;
mod terms;

use std::time::Duration;

use machine::week::{MinuteOfWeek, Window};
use smallvec::SmallVec;

pub(crate) use terms::{Filtered, Terms};

use crate::config::{RealmId, When};
use crate::failure::Verdict;
use crate::route::Facts;

/// What a line says of the calls that it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// They are let in, within its limits.
    Allow,
    /// They are not.
    Deny,
    /// Its limits are theirs as well, and the lines behind it decide.
    Limit,
}

/// One line. Empty lists speak of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub says: Says,
    /// Only of calls that come from this realm.
    pub from: Option<RealmId>,
    /// Only of calls that go to this realm.
    pub to: Option<RealmId>,
    /// Only of calls that are all of this.
    pub when: When,
    /// Only at these times; always if there is none.
    pub windows: Vec<Window>,
    /// The status code of its refusals, 400 to 699.
    pub status: Option<u16>,
    /// What calls that it lets in may be.
    pub limits: Limits,
}

/// What calls may be that a line lets in; `None` and an empty list ask for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// At a time, from their INVITE to their BYE.
    pub calls: Option<u32>,
    /// In a second; as many may come at once.
    pub rate: Option<u32>,
    /// How long, from the answer.
    pub duration: Option<Duration>,
    /// Media types of their m-lines, in small letters: others are turned off.
    pub media: Vec<String>,
}

/// Why a call is not let in, when the caller says nothing else.
const FORBIDDEN: u16 = 403;
//= RFC 3261 §21.5.4: without Retry-After, which would keep its sender away with all its calls, it counts as 500.
/// The same where it might be let in at another time.
const BUSY: u16 = 503;

/// What the lines say of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The lines whose limits are the call's, by position: those that limit, and the one that allows it.
    pub(crate) limiting: SmallVec<[u16; 2]>,
    /// The line that decides; `None`: none does, and the call is let in.
    pub(crate) by: Option<u16>,
    /// False if that line denies it.
    pub(crate) admits: bool,
}

impl Decision {
    /// The refusal, if there is one.
    pub(crate) fn refusal(&self, lines: &[Line]) -> Option<Verdict> {
        let by = self.by.filter(|_| !self.admits)?;
        let status = lines.get(usize::from(by)).and_then(|line| line.status).unwrap_or(FORBIDDEN);
        Some(Verdict::plain(status, format!("{} denies this call", name(by))))
    }
}

/// A line as refusals name it.
pub(crate) fn name(position: u16) -> String {
    format!("call policy {}", u32::from(position) + 1)
}

/// What the lines say of a call to a realm at a minute, as far as it is known.
pub(crate) fn decide(
    lines: &[Line],
    facts: &Facts<'_>,
    to: RealmId,
    minute: Option<MinuteOfWeek>,
) -> Decision {
    let mut decision = Decision { admits: true, ..Decision::default() };
    for (position, line) in (0..).zip(lines) {
        if !(line.counts(minute) && line.speaks_of(facts, to)) {
            continue;
        }
        match line.says {
            Says::Limit => decision.limiting.push(position),
            Says::Allow => {
                decision.limiting.push(position);
                decision.by = Some(position);
                return decision;
            }
            Says::Deny => return Decision { by: Some(position), admits: false, ..decision },
        }
    }
    decision
}

impl Line {
    /// True if it speaks of a call, whatever the time.
    fn speaks_of(&self, facts: &Facts<'_>, to: RealmId) -> bool {
        self.from.is_none_or(|from| from == facts.from)
            && self.to.is_none_or(|realm| realm == to)
            && facts.fit(&self.when)
    }

    /// True if it counts now. While the time is not known nothing is let in because of it.
    fn counts(&self, now: Option<MinuteOfWeek>) -> bool {
        match now {
            _ if self.windows.is_empty() => true,
            Some(now) => self.windows.iter().any(|window| window.contains(now)),
            None => self.says != Says::Allow,
        }
    }

    /// True if both speak of the same calls, whatever they say of them.
    fn is_about_the_same(&self, other: &Self) -> bool {
        (self.says, self.from, self.to, &self.when, &self.windows)
            == (other.says, other.from, other.to, &other.when, &other.windows)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sip::message::Uri;

    use super::*;
    use crate::config::UserPattern;

    const OUTSIDE: RealmId = RealmId(0);
    const INSIDE: RealmId = RealmId(1);

    pub(crate) fn line(says: Says) -> Line {
        Line {
            says,
            from: None,
            to: None,
            when: When::default(),
            windows: Vec::new(),
            status: None,
            limits: Limits::default(),
        }
    }

    fn to_users(says: Says, users: &str) -> Line {
        let users = vec![UserPattern::parse(users).unwrap()];
        Line { when: When { users, ..When::default() }, ..line(says) }
    }

    fn decide_at(lines: &[Line], callee: &str, minute: Option<MinuteOfWeek>) -> Decision {
        let facts = Facts {
            from: INSIDE,
            source: "10.0.0.7".parse().unwrap(),
            callee: Uri::parse(callee).ok(),
            caller: Uri::parse("sip:alice@office.example").ok(),
        };
        decide(lines, &facts, OUTSIDE, minute)
    }

    fn monday(hour: u8) -> Option<MinuteOfWeek> {
        MinuteOfWeek::new(0, hour, 0)
    }

    #[test]
    fn the_first_line_that_speaks_of_a_call_decides() {
        let lines = [to_users(Says::Deny, "+49900*"), to_users(Says::Allow, "+49*"), line(Says::Deny)];
        let by = |callee: &str| decide_at(&lines, callee, None);
        assert_eq!((by("sip:+4930@h").by, by("sip:+4930@h").admits), (Some(1), true));
        assert_eq!((by("sip:+49-900-1@h").by, by("sip:+49-900-1@h").admits), (Some(0), false));
        assert_eq!((by("sip:alice@h").by, by("sip:alice@h").admits), (Some(2), false));
        assert_eq!(decide_at(&[], "sip:alice@h", None), Decision { admits: true, ..Decision::default() });
    }

    #[test]
    fn a_line_that_limits_leaves_the_decision_to_those_behind_it() {
        let lines = [line(Says::Limit), to_users(Says::Allow, "+49*"), to_users(Says::Limit, "+1*")];
        assert_eq!(decide_at(&lines, "sip:+4930@h", None).limiting.as_slice(), [0, 1]);
        let other = decide_at(&lines, "sip:+1202@h", None);
        assert_eq!((other.limiting.as_slice(), other.by, other.admits), ([0, 2].as_slice(), None, true));
    }

    #[test]
    fn realms_are_those_of_the_call() {
        let only = |from, to| [Line { from, to, ..line(Says::Deny) }];
        let denied = |from, to| !decide_at(&only(from, to), "sip:b@h", None).admits;
        assert!(denied(None, None) && denied(Some(INSIDE), None) && denied(Some(INSIDE), Some(OUTSIDE)));
        assert!(!denied(Some(OUTSIDE), None) && !denied(None, Some(INSIDE)));
    }

    #[test]
    fn times_count_and_an_unknown_time_lets_nobody_in() {
        let window = Window::new(MinuteOfWeek::new(0, 8, 0).unwrap(), 600).unwrap();
        let office = |says| Line { windows: vec![window], ..line(says) };
        let lines = [office(Says::Allow), line(Says::Deny)];
        assert!(decide_at(&lines, "sip:b@h", monday(9)).admits);
        assert!(!decide_at(&lines, "sip:b@h", monday(19)).admits);
        assert!(!decide_at(&lines, "sip:b@h", None).admits);
        assert!(!decide_at(&[office(Says::Deny)], "sip:b@h", None).admits);
        assert_eq!(decide_at(&[office(Says::Limit)], "sip:b@h", None).limiting.len(), 1);
    }

    #[test]
    fn a_refusal_names_its_line() {
        let lines = [line(Says::Limit), Line { status: Some(603), ..line(Says::Deny) }];
        let verdict = decide_at(&lines, "sip:b@h", None).refusal(&lines).unwrap();
        assert_eq!((verdict.code, verdict.what.as_str()), (603, "call policy 2 denies this call"));
        assert_eq!(decide_at(&lines[..1], "sip:b@h", None).refusal(&lines), None);
    }
}
