//! Why a request was refused: RFC 5189 §2.2.1, §2.3 and the codes of RFC 4540 §4.2.3.

use thiserror::Error;

/// The reason of a negative reply, or of none. The wire crates map it to their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[allow(missing_docs, reason = "each variant is its message")]
pub enum Failure {
    // Unreachable: no answer that could be a refusal.
    #[error("no session with the middlebox")]
    NoSession,
    #[error("the session ended before the reply")]
    SessionLost,
    #[error("no reply in time")]
    Timeout,
    // The message itself.
    #[error("wrong basic request message type")]
    WrongMessageType,
    #[error("wrong request message sub-type")]
    WrongMessageSubType,
    #[error("badly formed request")]
    BadlyFormed,
    #[error("reply message too big")]
    ReplyTooBig,
    // The session.
    #[error("request not applicable")]
    NotApplicable,
    #[error("lack of resources")]
    LackOfResources,
    #[error("protocol version mismatch")]
    VersionMismatch,
    #[error("authentication failed")]
    AuthenticationFailed,
    #[error("no authorization")]
    NoAuthorization,
    #[error("transport protocol problem")]
    TransportProblem,
    #[error("security of underlying layers insufficient")]
    InsufficientSecurity,
    // The rule.
    #[error("transaction not supported")]
    TransactionNotSupported,
    #[error("agent not authorized for this transaction")]
    NotAuthorizedForTransaction,
    #[error("no resources available for this transaction")]
    NoResources,
    #[error("specified policy rule does not exist")]
    NoSuchRule,
    #[error("specified policy rule group does not exist")]
    NoSuchGroup,
    #[error("not authorized for accessing this policy rule")]
    NotAuthorizedForRule,
    #[error("not authorized for accessing this group")]
    NotAuthorizedForGroup,
    #[error("requested address space not available")]
    AddressSpaceNotAvailable,
    #[error("lack of IP addresses")]
    LackOfAddresses,
    #[error("lack of port numbers")]
    LackOfPorts,
    #[error("middlebox configuration failed")]
    ConfigurationFailed,
    #[error("inconsistent request")]
    Inconsistent,
    #[error("requested wildcarding not supported")]
    WildcardNotSupported,
    #[error("protocol type doesn't match")]
    ProtocolMismatch,
    #[error("NAT mode not supported")]
    NatModeNotSupported,
    #[error("IP version mismatch")]
    IpVersionMismatch,
    #[error("conflict with existing rule")]
    Conflict,
    #[error("not authorized to change lifetime")]
    NotAuthorizedToChangeLifetime,
    #[error("lifetime can't be extended")]
    LifetimeNotExtended,
    #[error("illegal IP address")]
    IllegalAddress,
    #[error("protocol type not supported")]
    ProtocolNotSupported,
    #[error("illegal port number")]
    IllegalPort,
    #[error("illegal number of subsequent ports")]
    IllegalPortCount,
    #[error("policy rule is already enabled")]
    AlreadyEnabled,
    #[error("parity doesn't match")]
    ParityMismatch,
    /// A code no RFC defines.
    #[error("unknown negative reply {0:#06x}")]
    Unknown(u16),
}

/// What kind of failure it is for a call: `docs/pinholes.md`, "failure classes".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// No session, no answer.
    Unreachable,
    /// The middlebox could not; trying later may help.
    Technical,
    /// Forbidden for now: a disable rule.
    TemporaryPolicy,
    /// Forbidden.
    StaticPolicy,
}

impl FailureClass {
    /// The class in the words that users see in Warning and Reason.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "firewall unreachable",
            Self::Technical => "firewall failure",
            Self::TemporaryPolicy => "firewall temporarily closed",
            Self::StaticPolicy => "firewall policy",
        }
    }
}

impl Failure {
    /// The class of a failure. [`Failure::WildcardNotSupported`] counts as static policy, and a conflict as temporary
    /// policy; both only after the fall-back to a reservation has been tried.
    #[must_use]
    pub fn class(self) -> FailureClass {
        match self {
            Self::NoSession | Self::SessionLost | Self::Timeout => FailureClass::Unreachable,
            Self::Conflict => FailureClass::TemporaryPolicy,
            Self::NoAuthorization
            | Self::NotAuthorizedForTransaction
            | Self::NotAuthorizedForRule
            | Self::NotAuthorizedForGroup
            | Self::AddressSpaceNotAvailable
            | Self::NotAuthorizedToChangeLifetime
            | Self::WildcardNotSupported => FailureClass::StaticPolicy,
            Self::WrongMessageType
            | Self::WrongMessageSubType
            | Self::BadlyFormed
            | Self::ReplyTooBig
            | Self::NotApplicable
            | Self::LackOfResources
            | Self::VersionMismatch
            | Self::AuthenticationFailed
            | Self::TransportProblem
            | Self::InsufficientSecurity
            | Self::TransactionNotSupported
            | Self::NoResources
            | Self::NoSuchRule
            | Self::NoSuchGroup
            | Self::LackOfAddresses
            | Self::LackOfPorts
            | Self::ConfigurationFailed
            | Self::Inconsistent
            | Self::ProtocolMismatch
            | Self::NatModeNotSupported
            | Self::IpVersionMismatch
            | Self::LifetimeNotExtended
            | Self::IllegalAddress
            | Self::ProtocolNotSupported
            | Self::IllegalPort
            | Self::IllegalPortCount
            | Self::AlreadyEnabled
            | Self::ParityMismatch
            | Self::Unknown(_) => FailureClass::Technical,
        }
    }
}
