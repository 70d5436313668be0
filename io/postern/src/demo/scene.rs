//! What is played: figures 3 to 8 of draft-kiesel-mmusic-firewall-sip, and a reservation, which the draft does not have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;

/// Where the outside phone is.
pub(crate) const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 20));
/// An outside address from which the administrator admits no media.
pub(crate) const DENIED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66));
/// Somebody else outside, who tries to talk into the call.
pub(crate) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 99));
/// Where the inside phone is.
pub(crate) const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 40, 20));
/// The inside ports that the administrator lets the agent open end here.
pub(crate) const LAST_PORT: u16 = 25_999;

/// A figure of the draft, or what goes beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The good case.
    Three,
    /// The first pinhole is refused.
    Four,
    /// The second pinhole is refused after the answer.
    Five,
    /// The good case with preconditions.
    Six,
    /// The second pinhole is refused before anything rings.
    Seven,
    /// The firewall takes a pinhole back.
    Eight,
    /// What plain phones get instead of preconditions.
    Reservation,
}

/// How a figure is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Name {
    /// By its number in the draft.
    Number(u8),
    /// By a word.
    Word(&'static str),
}

/// What must happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Both talk until the caller hangs up.
    Conversation,
    /// Both talk until the firewall takes a pinhole back; both are told why.
    TakenBack,
    /// The caller is refused; the callee's phone never rings.
    NeverRang(Told),
    /// The caller is refused; the callee, who has answered, is told why.
    GhostRing(Told),
}

/// What those who are cut off hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// The status code, also the cause of Reason.
    pub(crate) status: u16,
    /// The class of the failure, in Warning and Reason.
    pub(crate) class: &'static str,
}

impl Told {
    /// True if a Reason says it.
    pub(crate) fn explains(&self, reason: &str) -> bool {
        reason.contains(&format!("cause={}", self.status)) && reason.contains(self.class)
    }
}

const NO_RESERVATION: &str = "As the draft draws it: nothing is reserved before the callee answers (reserve = false). PID_A2 is PID_A, narrowed.";
const PORT_AND_NO_RESERVATION: &str = "The callee answers with a port that the firewall's policy forbids. Nothing is reserved (reserve = false).";
const BY_POLICY: Told = Told { status: 403, class: "firewall policy" };

/// Which pinholes a refused call got for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// None.
    Neither,
    /// The one toward the caller.
    TowardCaller,
    /// Both.
    Both,
}

/// How Postern is set up for a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct House {
    /// Pinholes are reserved before the callee's phone may ring.
    pub(crate) reserve: bool,
    /// How many pinholes the middlebox takes; no limit that matters if it is not said.
    pub(crate) room: Option<u32>,
}

/// One call to play.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// Its name.
    pub(crate) name: Name,
    /// What it shows.
    pub(crate) title: &'static str,
    /// How it comes about.
    pub(crate) note: &'static str,
    /// Where the caller wants RTP.
    pub(crate) caller_media: SocketAddr,
    /// Where the callee wants RTP.
    pub(crate) callee_media: SocketAddr,
    /// Both phones ask for the precondition `fw`.
    pub(crate) insists: bool,
    /// How Postern is set up.
    pub(crate) house: House,
    /// Which pinholes there are in the end or for a while.
    pub(crate) opened: Opened,
    /// What must happen.
    pub(crate) expected: Expected,
}

impl Figure {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 7] =
        [Self::Three, Self::Four, Self::Five, Self::Six, Self::Seven, Self::Eight, Self::Reservation];

    /// By its number in the draft, or its word.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.scene().name.to_string() == name)
    }

    /// Its name, what it shows, and how that comes about.
    fn words(self) -> (Name, &'static str, &'static str) {
        match self {
            Self::Three => (Name::Number(3), "a call, its two pinholes, and its end", NO_RESERVATION),
            Self::Four => (
                Name::Number(4),
                "the first pinhole is refused: nobody's phone rings",
                "The administrator has denied the address to which the caller wants its media.",
            ),
            Self::Five => (
                Name::Number(5),
                "the second pinhole is refused after the answer: a ghost ring, and both are told why",
                PORT_AND_NO_RESERVATION,
            ),
            Self::Six => (
                Name::Number(6),
                "both pinholes are there before the callee's phone rings",
                "Both phones ask for the precondition fw: no ringing before all firewalls on the way are open.",
            ),
            Self::Seven => (
                Name::Number(7),
                "the refusal of figure 5, but nobody's phone has rung",
                "The same forbidden port, between phones that ask for the precondition fw.",
            ),
            Self::Eight => (
                Name::Number(8),
                "the firewall takes a pinhole back: both are told why",
                "In the middle of the call its operator says `postern revoke`.",
            ),
            Self::Reservation => (
                Name::Word("reservation"),
                "the firewall is full, and nobody's phone has rung",
                "Plain phones. Postern reserves before it calls (reserve = true); the firewall takes one pinhole \
                 (max-rules = 1).",
            ),
        }
    }

    /// What is played for it.
    pub(crate) fn scene(self) -> Scene {
        let (name, title, note) = self.words();
        // Each scene has ports of its own, so that no packet of one can be taken for another's.
        let good = |port| Scene {
            name,
            title,
            note,
            caller_media: SocketAddr::new(OUTSIDE, port),
            callee_media: SocketAddr::new(INSIDE, port + 2_000),
            insists: false,
            house: House::default(),
            opened: Opened::Both,
            expected: Expected::Conversation,
        };
        match self {
            Self::Three => good(20_000),
            Self::Four => Scene {
                caller_media: SocketAddr::new(DENIED, 20_100),
                opened: Opened::Neither,
                expected: Expected::NeverRang(BY_POLICY),
                ..good(20_100)
            },
            Self::Five => Scene {
                callee_media: SocketAddr::new(INSIDE, LAST_PORT + 201),
                opened: Opened::TowardCaller,
                expected: Expected::GhostRing(BY_POLICY),
                ..good(20_200)
            },
            Self::Six => Scene { insists: true, ..good(20_300) },
            Self::Seven => Scene {
                insists: true,
                callee_media: SocketAddr::new(INSIDE, LAST_PORT + 401),
                opened: Opened::TowardCaller,
                expected: Expected::NeverRang(Told { status: 580, ..BY_POLICY }),
                ..good(20_400)
            },
            Self::Eight => Scene { expected: Expected::TakenBack, ..good(20_500) },
            Self::Reservation => Scene {
                house: House { reserve: true, room: Some(1) },
                opened: Opened::TowardCaller,
                expected: Expected::NeverRang(Told { status: 500, class: "firewall failure" }),
                ..good(20_600)
            },
        }
    }
}

impl Name {
    /// Above its ladder.
    pub(crate) fn headline(self) -> String {
        match self {
            Self::Number(number) => format!("Figure {number}"),
            Self::Word(word) => format!("Beyond the draft, {word}"),
        }
    }

    /// What its picture is called.
    pub(crate) fn file(self) -> String {
        match self {
            Self::Number(number) => format!("figure-{number}.svg"),
            Self::Word(word) => format!("{word}.svg"),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => f.write_str(word),
        }
    }
}
