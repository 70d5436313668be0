//! `[[call-policy]]`: which calls are let in, line by line.

use std::ops::Range;
use std::time::Duration;

use b2bua::admission::{Limits, Says};
use b2bua::config::When;
use machine::week::Window;
use toml::de::{DeTable, DeValue};

use super::calls::MEDIA;
use super::key::{Absent, Key, Section, Table};
use super::kind::{Chosen, Either, Integer, List, OneOf, Place, Text, Time, Word};
use super::problem::Problems;
use super::realm::Realm;
use super::route;
use super::window::Windows;

/// One line; realms by position.
#[derive(Debug, Clone)]
pub(crate) struct CallLine {
    pub says: Says,
    pub from: Option<usize>,
    pub to: Option<usize>,
    pub when: When,
    pub windows: Vec<Window>,
    pub status: Option<u16>,
    pub limits: Limits,
}

/// Each line is looked at for every call.
const LINES_MAX: usize = 256;

static DO: Key<OneOf<Says>> = Key {
    name: "do",
    kind: OneOf { words: &[("allow", Says::Allow), ("deny", Says::Deny), ("limit", Says::Limit)] },
    absent: Absent::Required,
    text: "Whether the calls that the line speaks of are let in. With \"limit\" its limits are theirs, and the lines behind it decide.",
};
static FROM: Key<Place<Text>> = Key {
    name: "from",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Derived("any"),
    text: "Calls that arrive in this realm.",
};
static TO: Key<Place<Text>> = Key {
    name: "to",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Derived("any"),
    text: "Calls that go on in this realm.",
};
static WHEN: Key<Either<Windows, List<Windows>>> = Key {
    name: "when",
    kind: Either(Windows, List { of: Windows, max: 16 }),
    absent: Absent::Derived("always"),
    text: "When the line counts, by the clock of `time-zone` in `[middlebox]`; a time that ends before it begins ends on the next day. Calls \
           that have been let in go on.",
};
static STATUS: Key<Integer> = Key {
    name: "status",
    kind: Integer { range: 400..=699, unit: "" },
    absent: Absent::Derived("403 for a line that denies, 503 without Retry-After at a limit"),
    text: "The status code of its refusals. Warning names the line by its number in the file: `call policy 3 denies this call`.",
};
static MAX_CALLS: Key<Integer> = Key {
    name: "max-calls",
    kind: Integer { range: 0..=1_000_000, unit: "calls" },
    absent: Absent::Derived("no limit"),
    text: "How many of its calls there may be at a time; one counts from its INVITE until it ends. After a reload the calls that are there \
           still count for the line that speaks of the same calls.",
};
static MAX_RATE: Key<Integer> = Key {
    name: "max-rate",
    kind: Integer { range: 1..=1_000_000, unit: "calls a second" },
    absent: Absent::Derived("no limit"),
    text: "How many of its calls may begin in a second; as many may come at once. An INVITE that comes again with credentials is another one.",
};
static MAX_DURATION: Key<Time> = Key {
    name: "max-duration",
    kind: Time { range: Duration::from_secs(1)..=Duration::from_secs(604_800) },
    absent: Absent::Derived("no limit"),
    text: "How long its calls may last from their answer. Then both sides get BYE with `Reason: SIP;cause=403;text=\"longest duration \
           reached\"`.",
};
static MEDIA_TYPES: Key<List<Word>> = Key {
    name: "media",
    kind: List { of: Word { words: MEDIA }, max: 6 },
    absent: Absent::Literal("[]"),
    text: "Media types that its calls may have, at their start and later. An m-line of another type goes on with port 0, so that it is \
           declined (RFC 3264 §6) and the call goes on without it; an offer of nothing else is answered 488. Empty: all.",
};

pub(super) static SECTION: Section = Section {
    heading: "[[call-policy]]",
    text: "Which calls are let in. The first line that speaks of a call and says \"allow\" or \"deny\" decides, in the order of the file, and a \
           call of which no line speaks is let in: end with `do = \"deny\"` alone to let nothing else in. A line speaks of the calls \
           that are all of what it asks for, as a route does. Of several limits every one counts. The lines are looked at once for \
           each call, when its route is known; `postern explain` says what they say of a call. At most 256 lines.",
    keys: &[
        &DO,
        &FROM,
        &TO,
        &route::USERS,
        &route::HOSTS,
        &route::CALLERS,
        &route::SOURCES,
        &WHEN,
        &STATUS,
        &MAX_CALLS,
        &MAX_RATE,
        &MAX_DURATION,
        &MEDIA_TYPES,
    ],
};

impl CallLine {
    fn read(
        span: Range<usize>,
        table: &DeTable<'_>,
        realms: &[Realm],
        problems: &mut Problems,
    ) -> Option<Self> {
        let table = Table::open(&SECTION, Some(table), span, &[], problems);
        let windows = match table.given(&WHEN, problems) {
            None => Vec::new(),
            Some(Chosen::One(windows)) => windows,
            Some(Chosen::Other(lists)) => lists.into_iter().flatten().collect(),
        };
        let number = |key: &'static Key<Integer>, problems: &mut Problems| table.given(key, problems);
        let limits = Limits {
            calls: number(&MAX_CALLS, problems),
            rate: number(&MAX_RATE, problems),
            duration: table.given(&MAX_DURATION, problems),
            media: table.value(&MEDIA_TYPES, problems),
        };
        let line = Self {
            from: route::realm_of(&table, &FROM, realms, problems),
            to: route::realm_of(&table, &TO, realms, problems),
            when: route::when(&table, problems),
            windows,
            status: table.given(&STATUS, problems).and_then(|status| u16::try_from(status).ok()),
            says: table.required(&DO, problems)?,
            limits,
        };
        line.check(&table, problems);
        Some(line)
    }

    fn check(&self, table: &Table<'_, '_>, problems: &mut Problems) {
        let limits = [table.is_given(&MAX_CALLS), table.is_given(&MAX_RATE), table.is_given(&MAX_DURATION)];
        let unlimited = !limits.contains(&true) && !table.is_given(&MEDIA_TYPES);
        match self.says {
            Says::Deny if !unlimited => problems.push_with_help(
                table.place(&DO),
                "limits of calls that are not let in",
                "this line denies them",
                "remove the limits, or write do = \"limit\"",
            ),
            Says::Limit if unlimited => problems.push_with_help(
                table.place(&DO),
                "this line limits nothing",
                "without `max-calls`, `max-rate`, `max-duration` and `media`",
                "give one of them, or write do = \"allow\"",
            ),
            Says::Allow | Says::Deny | Says::Limit => {}
        }
    }
}

/// Each `[[call-policy]]`.
pub(super) fn read(document: &DeTable<'_>, realms: &[Realm], problems: &mut Problems) -> Vec<CallLine> {
    let Some(value) = document.get("call-policy") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        problems.push(
            value.span(),
            "`call-policy` is a list of sections",
            "write [[call-policy]] with two brackets",
        );
        return Vec::new();
    };
    if list.len() > LINES_MAX {
        problems.push(
            value.span(),
            format!("{} lines of call policy", list.len()),
            format!("at most {LINES_MAX}"),
        );
        return Vec::new();
    }
    let mut lines = Vec::new();
    for entry in list {
        match entry.get_ref() {
            DeValue::Table(table) => lines.extend(CallLine::read(entry.span(), table, realms, problems)),
            _other => problems.push(
                entry.span(),
                "a line of call policy is a section",
                "write [[call-policy]] on a line of its own",
            ),
        }
    }
    lines
}
