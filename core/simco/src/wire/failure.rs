//! Negative replies, RFC 4540 §4.2.3: one table for both directions.

use midcom::Failure;

/// Sub-type of the negative reply ↔ failure.
const TABLE: [(u8, Failure); 36] = [
    // general message handling
    (0x10, Failure::WrongMessageType),
    (0x11, Failure::WrongMessageSubType),
    (0x12, Failure::BadlyFormed),
    (0x13, Failure::ReplyTooBig),
    // sessions
    (0x20, Failure::NotApplicable),
    (0x21, Failure::LackOfResources),
    (0x22, Failure::VersionMismatch),
    (0x23, Failure::AuthenticationFailed),
    (0x24, Failure::NoAuthorization),
    (0x25, Failure::TransportProblem),
    (0x26, Failure::InsufficientSecurity),
    // policy rules
    (0x40, Failure::TransactionNotSupported),
    (0x41, Failure::NotAuthorizedForTransaction),
    (0x42, Failure::NoResources),
    (0x43, Failure::NoSuchRule),
    (0x44, Failure::NoSuchGroup),
    (0x45, Failure::NotAuthorizedForRule),
    (0x46, Failure::NotAuthorizedForGroup),
    (0x47, Failure::AddressSpaceNotAvailable),
    (0x48, Failure::LackOfAddresses),
    (0x49, Failure::LackOfPorts),
    (0x4a, Failure::ConfigurationFailed),
    (0x4b, Failure::Inconsistent),
    (0x4c, Failure::WildcardNotSupported),
    (0x4d, Failure::ProtocolMismatch),
    (0x4e, Failure::NatModeNotSupported),
    (0x4f, Failure::IpVersionMismatch),
    (0x50, Failure::Conflict),
    (0x51, Failure::NotAuthorizedToChangeLifetime),
    (0x52, Failure::LifetimeNotExtended),
    (0x53, Failure::IllegalAddress),
    (0x54, Failure::ProtocolNotSupported),
    (0x55, Failure::IllegalPort),
    (0x56, Failure::IllegalPortCount),
    (0x57, Failure::AlreadyEnabled),
    (0x58, Failure::ParityMismatch),
];

/// Sub-type for failures that have no code of their own: middlebox configuration failed.
const CONFIGURATION_FAILED: u8 = 0x4a;

/// The sub-type of the negative reply that says `failure`. Failures which no middlebox can report (no session, no
/// reply) have no code; they become 0x4a.
#[must_use]
pub fn code_of(failure: Failure) -> u8 {
    if let Failure::Unknown(code) = failure {
        let [_, code] = code.to_be_bytes();
        return code;
    }
    TABLE.iter().find(|(_, known)| *known == failure).map_or(CONFIGURATION_FAILED, |(code, _)| *code)
}

/// What the negative reply with this sub-type says; the whole type `0x03xx` for one that nobody defined.
#[must_use]
pub fn failure_of(code: u8) -> Failure {
    let unknown = Failure::Unknown(u16::from_be_bytes([0x03, code]));
    TABLE.iter().find(|(known, _)| *known == code).map_or(unknown, |(_, failure)| *failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test RFC 4540 §4.2.3: each code has one meaning.
    #[test]
    fn every_code_is_the_same_both_ways() {
        for code in 0..=u8::MAX {
            assert_eq!(code_of(failure_of(code)), code);
            let defined = matches!(code, 0x10..=0x13 | 0x20..=0x26 | 0x40..=0x58);
            assert_eq!(!matches!(failure_of(code), Failure::Unknown(_)), defined, "{code:#04x}");
        }
    }

    #[test]
    fn what_only_an_agent_can_know_becomes_a_configuration_failure() {
        for failure in [Failure::NoSession, Failure::SessionLost, Failure::Timeout] {
            assert_eq!(code_of(failure), 0x4a);
        }
    }
}
