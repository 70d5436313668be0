//! What is explored: settings of the B2BUA, what phones do at all, and how much may go wrong.

use crate::phone::{Act, Skills};
use crate::subject::Fault;

/// Something that upsets a plain call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upset {
    /// The caller gives up, or a phone gives its re-INVITE up.
    Cancel,
    /// A phone moves.
    Reinvite,
    /// A phone moves without asking its user.
    Update,
    /// A phone is never heard of again.
    Die,
    /// A middlebox refuses a question.
    Refuse,
    /// A middlebox is slow to say what it did.
    Late,
    /// A middlebox ends a rule.
    Revoke,
    /// A session breaks: the middlebox, or the way to it, is gone for a while.
    Restart,
    /// A timer fires although a message or a question is under way.
    Delay,
}

impl Upset {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Cancel,
        Self::Reinvite,
        Self::Update,
        Self::Die,
        Self::Refuse,
        Self::Late,
        Self::Revoke,
        Self::Restart,
        Self::Delay,
    ];

    /// True for what phones do only as an upset.
    #[must_use]
    pub fn is_rare(act: Act) -> bool {
        matches!(act, Act::Cancel | Act::Reinvite | Act::Update | Act::Die)
    }

    /// Which one an act is; those that are none are [`Upset::Delay`] and never asked for.
    #[must_use]
    pub fn of(act: Act) -> Self {
        match act {
            Act::Cancel => Self::Cancel,
            Act::Reinvite => Self::Reinvite,
            Act::Update => Self::Update,
            Act::Die
            | Act::Invite
            | Act::Try
            | Act::Ring
            | Act::Preview
            | Act::Assure
            | Act::Answer
            | Act::AnswerElsewhere
            | Act::RingOther
            | Act::PreviewOther
            | Act::AnswerOther
            | Act::AnswerToo
            | Act::NotKnown
            | Act::Inform
            | Act::Decline
            | Act::Bye => Self::Die,
        }
    }

    /// As the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Reinvite => "reinvite",
            Self::Update => "update",
            Self::Die => "die",
            Self::Refuse => "refuse",
            Self::Late => "late",
            Self::Revoke => "revoke",
            Self::Restart => "restart",
            Self::Delay => "delay",
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// As in a flow.
    pub settings: Vec<(String, String)>,
    /// Messages between phones and B2BUA that may be lost.
    pub losses: u8,
    /// Messages that may arrive twice.
    pub copies: u8,
    /// How many of `kinds` may happen.
    pub upsets: u8,
    /// Which.
    pub kinds: Vec<Upset>,
    /// The callee may show early where it will receive.
    pub previews: bool,
    /// Caller and callee understand reliable responses.
    pub is_reliable: bool,
    /// INVITEs have no offer.
    pub is_delayed: bool,
    /// Somebody behind leg B forks: there may be a second early dialog.
    pub forks: bool,
    /// The caller asks for the precondition `fw`.
    pub asks: bool,
    /// The machine is broken on purpose.
    pub fault: Option<Fault>,
}

impl Scenario {
    /// One call, one middlebox, nothing goes wrong.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            name: "plain".into(),
            settings: Vec::new(),
            losses: 0,
            copies: 0,
            upsets: 0,
            kinds: Upset::ALL.to_vec(),
            previews: false,
            is_reliable: false,
            is_delayed: false,
            forks: false,
            asks: false,
            fault: None,
        }
    }

    /// True if the caller is inside.
    #[must_use]
    pub fn calls_from_inside(&self) -> bool {
        self.settings.iter().any(|(name, value)| name == "call" && value == "inside")
    }

    /// True if somebody asks for a precondition: the caller, or the B2BUA.
    fn has_precondition(&self) -> bool {
        self.asks || self.settings.iter().any(|(name, _)| name.ends_with("precondition"))
    }

    /// What each phone can.
    #[must_use]
    pub fn skills(&self) -> Skills {
        Skills { is_modern: self.is_reliable || self.asks, asks: self.asks, delays: self.is_delayed }
    }

    /// True if phones do this at all.
    #[must_use]
    pub fn acts(&self, act: Act) -> bool {
        match act {
            Act::Preview => self.previews || self.forks,
            Act::RingOther | Act::PreviewOther | Act::AnswerOther | Act::AnswerToo => self.forks,
            Act::Assure => self.is_reliable || self.has_precondition(),
            Act::NotKnown | Act::Inform => self.has_precondition(),
            Act::Invite
            | Act::Try
            | Act::Ring
            | Act::Answer
            | Act::AnswerElsewhere
            | Act::Decline
            | Act::Cancel
            | Act::Bye
            | Act::Reinvite
            | Act::Update
            | Act::Die => true,
        }
    }
}
