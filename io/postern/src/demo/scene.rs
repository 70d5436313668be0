//! What is played: figures 3 to 5 of draft-kiesel-mmusic-firewall-sip.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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

/// A figure of the draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The good case.
    Three,
    /// The first pinhole is refused.
    Four,
    /// The second pinhole is refused after the answer.
    Five,
}

/// What must happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Both talk until the caller hangs up.
    Conversation,
    /// The caller is refused; the callee's phone never hears of the call.
    NeverRang,
    /// The caller is refused; the callee, who has answered, is told why.
    GhostRing,
}

/// One call to play.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// Its number in the draft.
    pub(crate) figure: u8,
    /// What it shows.
    pub(crate) title: &'static str,
    /// Where the caller wants RTP.
    pub(crate) caller_media: SocketAddr,
    /// Where the callee wants RTP.
    pub(crate) callee_media: SocketAddr,
    /// What must happen.
    pub(crate) expected: Expected,
}

impl Figure {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 3] = [Self::Three, Self::Four, Self::Five];

    /// By its number in the draft.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.scene().figure == number)
    }

    /// What is played for it.
    pub(crate) fn scene(self) -> Scene {
        match self {
            Self::Three => Scene {
                figure: 3,
                title: "a call, its two pinholes, and its end",
                caller_media: SocketAddr::new(OUTSIDE, 20_000),
                callee_media: SocketAddr::new(INSIDE, 22_000),
                expected: Expected::Conversation,
            },
            Self::Four => Scene {
                figure: 4,
                title: "the first pinhole is refused: nobody's phone rings",
                caller_media: SocketAddr::new(DENIED, 20_100),
                callee_media: SocketAddr::new(INSIDE, 22_100),
                expected: Expected::NeverRang,
            },
            Self::Five => Scene {
                figure: 5,
                title: "the second pinhole is refused after the answer: a ghost ring, and both are told why",
                caller_media: SocketAddr::new(OUTSIDE, 20_200),
                callee_media: SocketAddr::new(INSIDE, LAST_PORT + 201),
                expected: Expected::GhostRing,
            },
        }
    }
}
