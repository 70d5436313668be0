//! Message sub-types, RFC 4540 §4.2.2 and §4.2.4.
//!
//! PRC is our own: `docs/simco.md`, "counters".
//!
//! §6 step 4 of the RFC garbles the list of sub-types that a request may have; the types here are the ones a request
//! or a reply really has. See `docs/simco.md`.

/// The sub-types of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestType {
    /// SE, session establishment.
    Establish,
    /// SA, session authentication.
    Authenticate,
    /// ST, session termination.
    Terminate,
    /// PRR, policy reserve rule.
    Reserve,
    /// PER, policy enable rule.
    Enable,
    /// PEA, policy enable rule after reservation.
    EnableReserved,
    /// PDR, policy disable rule.
    Disable,
    /// PLC, policy rule lifetime change.
    Lifetime,
    /// PRS, policy rule status.
    Status,
    /// PRL, policy rule list.
    List,
    /// PRC, policy rule counters: not of the RFC.
    Count,
}

impl RequestType {
    /// The octet that stands for it.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Establish => 0x01,
            Self::Authenticate => 0x02,
            Self::Terminate => 0x03,
            Self::Reserve => 0x11,
            Self::Enable => 0x12,
            Self::EnableReserved => 0x13,
            Self::Disable => 0x14,
            Self::Lifetime => 0x15,
            Self::Status => 0x21,
            Self::List => 0x22,
            Self::Count => 0x71,
        }
    }

    /// The request of a sub-type; `None` for those that only replies have, and for unknown ones.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        //= RFC 4540 §4.2.2: PRD 0x16, PES 0x23 and PDS 0x24 are sub-types of replies only.
        match octet {
            0x01 => Some(Self::Establish),
            0x02 => Some(Self::Authenticate),
            0x03 => Some(Self::Terminate),
            0x11 => Some(Self::Reserve),
            0x12 => Some(Self::Enable),
            0x13 => Some(Self::EnableReserved),
            0x14 => Some(Self::Disable),
            0x15 => Some(Self::Lifetime),
            0x21 => Some(Self::Status),
            0x22 => Some(Self::List),
            0x71 => Some(Self::Count),
            _ => None,
        }
    }
}

/// The sub-types of positive replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyType {
    /// SE: the session is open.
    Established,
    /// SA: authentication goes on.
    Authentication,
    /// ST: the session is over.
    Terminated,
    /// PRR.
    Reserved,
    /// PER, also to PEA.
    Enabled,
    /// PDR.
    Disabled,
    /// PLC: a new lifetime.
    Lifetime,
    /// PRD: the rule is gone.
    Ended,
    /// PRS: status of a reserve rule.
    ReserveStatus,
    /// PRL.
    List,
    /// PES: status of an enable rule.
    EnableStatus,
    /// PDS: status of a disable rule.
    DisableStatus,
    /// PRC: counters.
    Counted,
}

impl ReplyType {
    /// The octet that stands for it.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Established => 0x01,
            Self::Authentication => 0x02,
            Self::Terminated => 0x03,
            Self::Reserved => 0x11,
            Self::Enabled => 0x12,
            Self::Disabled => 0x14,
            Self::Lifetime => 0x15,
            Self::Ended => 0x16,
            Self::ReserveStatus => 0x21,
            Self::List => 0x22,
            Self::EnableStatus => 0x23,
            Self::DisableStatus => 0x24,
            Self::Counted => 0x71,
        }
    }

    /// The positive reply of a sub-type; `None` for PEA, which only requests have, and for unknown ones.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0x01 => Some(Self::Established),
            0x02 => Some(Self::Authentication),
            0x03 => Some(Self::Terminated),
            0x11 => Some(Self::Reserved),
            0x12 => Some(Self::Enabled),
            0x14 => Some(Self::Disabled),
            0x15 => Some(Self::Lifetime),
            0x16 => Some(Self::Ended),
            0x21 => Some(Self::ReserveStatus),
            0x22 => Some(Self::List),
            0x23 => Some(Self::EnableStatus),
            0x24 => Some(Self::DisableStatus),
            0x71 => Some(Self::Counted),
            _ => None,
        }
    }
}

/// The sub-types of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotificationType {
    /// BFM, badly formed message received.
    BadlyFormedMessage,
    /// AST, asynchronous session termination.
    SessionTermination,
    /// ARE, asynchronous policy rule event.
    RuleEvent,
}

impl NotificationType {
    /// The octet that stands for it.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::BadlyFormedMessage => 0x01,
            Self::SessionTermination => 0x02,
            Self::RuleEvent => 0x03,
        }
    }

    /// The notification of a sub-type; `None` for unknown ones.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0x01 => Some(Self::BadlyFormedMessage),
            0x02 => Some(Self::SessionTermination),
            0x03 => Some(Self::RuleEvent),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sub_type_is_the_same_both_ways() {
        let mut requests = 0;
        let mut replies = 0;
        for octet in 0..=u8::MAX {
            if let Some(request) = RequestType::from_octet(octet) {
                assert_eq!(request.octet(), octet);
                requests += 1;
            }
            if let Some(reply) = ReplyType::from_octet(octet) {
                assert_eq!(reply.octet(), octet);
                replies += 1;
            }
            if let Some(notification) = NotificationType::from_octet(octet) {
                assert_eq!(notification.octet(), octet);
            }
        }
        assert_eq!((requests, replies), (11, 13));
    }

    //= test RFC 4540 §4.2.2: PEA exists as a request only; PRD, PES and PDS as replies only.
    #[test]
    fn sub_types_of_one_direction_are_unknown_in_the_other() {
        assert_eq!(ReplyType::from_octet(0x13), None);
        for octet in [0x16, 0x23, 0x24] {
            assert_eq!(RequestType::from_octet(octet), None);
        }
    }
}
