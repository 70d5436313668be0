//! `[calls]`: what happens in calls where the documents leave a choice.

use std::ops::Range;
use std::time::Duration;

use super::key::{Absent, Key, Section, Table};
use super::kind::{Bool, Either, Integer, List, OneOf, OrOff, Time, Word};
use super::problem::Problems;

/// `[calls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calls {
    pub reserve: bool,
    pub crucial: Crucial,
    pub hold: OnHold,
    pub redirect: OnRedirect,
    pub redirect_most: u8,
    pub media_timeout: Option<Duration>,
}

/// Which streams a call cannot live without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Crucial {
    Common(CommonCrucial),
    Media(Vec<String>),
}

/// The same, where one word says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommonCrucial {
    FirstAudio,
    All,
}

/// What happens to the pinholes of a stream on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnHold {
    Keep,
    Close,
}

/// What is done with a 3xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRedirect {
    Relay,
    Follow,
}

/// The media types that an m-line may have (RFC 8866 §5.14, and image for T.38).
pub(super) const MEDIA: &[&str] = &["audio", "video", "text", "application", "message", "image"];

static RESERVE: Key<Bool> = Key {
    name: "reserve",
    kind: Bool,
    absent: Absent::Literal("true"),
    text: "Whether the middlebox must set aside what the answer will need before the callee hears \
           of the call, so that no telephone rings for a call for which the firewall has no room. A refusal of the very \
           address or port that the callee answers with is seen only then; `precondition` prevents that too.",
};
static CRUCIAL: Key<Either<OneOf<CommonCrucial>, List<Word>>> = Key {
    name: "crucial",
    kind: Either(
        OneOf { words: &[("first-audio", CommonCrucial::FirstAudio), ("all", CommonCrucial::All)] },
        List { of: Word { words: MEDIA }, max: 6 },
    ),
    absent: Absent::Literal("\"first-audio\""),
    text: "The streams a call cannot live without: when the firewall takes back a pinhole of one of \
           them the call ends; any other is dropped and the call goes on. A call that has none of them needs all of its streams.",
};
static HOLD: Key<OneOf<OnHold>> = Key {
    name: "hold",
    kind: OneOf { words: &[("keep", OnHold::Keep), ("close", OnHold::Close)] },
    absent: Absent::Literal("\"keep\""),
    text: "Whether the pinholes of a stream on hold stay, or those of its silent direction are \
           closed until it is resumed (RTCP keeps its own).",
};
static REDIRECT: Key<OneOf<OnRedirect>> = Key {
    name: "redirect",
    kind: OneOf { words: &[("relay", OnRedirect::Relay), ("follow", OnRedirect::Follow)] },
    absent: Absent::Literal("\"relay\""),
    text: "Whether a 3xx goes to the caller, or its contacts are tried in its place, those with \
           the highest q first. A contact is tried only in the realm that the call goes to: its address must be in `media` there, or that of a \
           next hop, and where `media` is empty not a private one.",
};
static REDIRECT_MOST: Key<Integer> = Key {
    name: "redirect-most",
    kind: Integer { range: 1..=16, unit: "contacts" },
    absent: Absent::Literal("4"),
    text: "How many contacts are tried in one call with `redirect = \"follow\"`.",
};
static MEDIA_TIMEOUT: Key<OrOff> = Key {
    name: "media-timeout",
    kind: OrOff(Time { range: Duration::from_secs(10)..=Duration::from_secs(86_400) }),
    absent: Absent::Literal("\"off\""),
    text: "A call that is not on hold and in which nothing has passed any of its pinholes for this long, RTCP included, is \
           ended. The agent half asks the middlebox four times in this time, at least once a minute; it needs Postern's own middlebox, \
           because no RFC has a message for it (see `docs/simco.md`).",
};

pub(super) static SECTION: Section = Section {
    heading: "[calls]",
    text: "What happens in calls where there is a choice.",
    keys: &[&RESERVE, &CRUCIAL, &HOLD, &REDIRECT, &REDIRECT_MOST, &MEDIA_TIMEOUT],
};

impl Calls {
    pub(super) fn read(
        span: Range<usize>,
        table: Option<&toml::de::DeTable<'_>>,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&SECTION, table, span, &[], problems);
        let crucial = match table.value(&CRUCIAL, problems) {
            super::kind::Chosen::One(word) => Crucial::Common(word),
            super::kind::Chosen::Other(list) => Crucial::Media(list),
        };
        if crucial == Crucial::Media(Vec::new()) {
            problems.push_with_help(
                table.place(&CRUCIAL),
                "no stream would be crucial",
                "needs at least one entry",
                "a call in which nothing is crucial would go on without any media",
            );
        }
        Self {
            reserve: table.value(&RESERVE, problems),
            crucial,
            hold: table.value(&HOLD, problems),
            redirect: table.value(&REDIRECT, problems),
            redirect_most: u8::try_from(table.value(&REDIRECT_MOST, problems)).unwrap_or(u8::MAX),
            media_timeout: table.value(&MEDIA_TIMEOUT, problems),
        }
    }
}
