//! What the legs tell each other.

use sip::message::Message;

use super::early::Pair;

/// One thing one leg tells the other. A message in it is looked at only through [`crate::leg::carried::Carried`].
#[derive(Debug, Clone)]
pub(super) enum Signal {
    /// The INVITE under way shall go on.
    Try,
    /// A provisional response to it, in this pair of dialogs.
    Ring { message: Message, pair: Pair },
    /// The answer to an UPDATE of ours, which says that media passes, in this early dialog.
    Met { message: Message, pair: Pair },
    /// An UPDATE of ours in this early dialog, which says that media passes.
    Inform { pair: Pair },
    /// Its 2xx.
    Connect { message: Message },
    /// The ACK to that 2xx.
    Confirm { message: Message },
    /// Another request inside the call, by its number.
    Ask { exchange: u32 },
    /// The final response to it.
    Reply { exchange: u32, message: Message },
}

impl Signal {
    /// The request beside INVITE that it is about.
    pub(super) fn exchange(&self) -> Option<u32> {
        match self {
            Self::Ask { exchange } | Self::Reply { exchange, .. } => Some(*exchange),
            Self::Try
            | Self::Ring { .. }
            | Self::Met { .. }
            | Self::Inform { .. }
            | Self::Connect { .. }
            | Self::Confirm { .. } => None,
        }
    }

    /// True for what belongs to this early dialog and is not the last response to the INVITE.
    pub(super) fn is_in(&self, early: Pair) -> bool {
        match self {
            Self::Ring { pair, .. } | Self::Met { pair, .. } | Self::Inform { pair } => *pair == early,
            Self::Try
            | Self::Connect { .. }
            | Self::Confirm { .. }
            | Self::Ask { .. }
            | Self::Reply { .. } => false,
        }
    }

    /// True for what belongs to the INVITE under way.
    pub(super) fn is_of_invite(&self) -> bool {
        match self {
            Self::Try
            | Self::Ring { .. }
            | Self::Met { .. }
            | Self::Inform { .. }
            | Self::Connect { .. }
            | Self::Confirm { .. } => true,
            Self::Ask { .. } | Self::Reply { .. } => false,
        }
    }
}
