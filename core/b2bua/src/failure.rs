//! Why a call fails, and the one table that turns it into status codes, `Warning` and `Reason`.
//!
//! `docs/calls.md`, "failure classes".

use midcom::{Failure, FailureClass};

/// Which status code says which class of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// The middlebox does not answer.
    pub unreachable: u16,
    /// The middlebox could not; the response carries Retry-After.
    pub technical: u16,
    /// Forbidden for now; the response carries Retry-After.
    pub temporary_policy: u16,
    /// Forbidden, for an INVITE that makes a call.
    pub static_policy: u16,
    /// Forbidden, inside a call.
    pub static_policy_in_call: u16,
    /// Our own check of the SDP.
    pub refused_sdp: u16,
}

impl Codes {
    /// Codes every phone knows.
    pub const DEFAULT: Self = Self {
        unreachable: 504,
        technical: 500,
        temporary_policy: 500,
        static_policy: 403,
        static_policy_in_call: 488,
        refused_sdp: 488,
    };

    /// `codes = "dedicated"`: a code of its own per class.
    pub const DEDICATED: Self = Self {
        unreachable: 590,
        technical: 590,
        temporary_policy: 591,
        static_policy: 592,
        static_policy_in_call: 592,
        refused_sdp: 488,
    };
}

impl Default for Codes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Seconds in Retry-After where a later attempt may succeed.
const RETRY_AFTER_S: u32 = 10;

/// A failure of ours as the peers are told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The status code of responses, and the cause in `Reason`.
    pub code: u16,
    /// The reason phrase.
    pub phrase: &'static str,
    /// The class in words: `Reason`'s text and the start of `Warning`.
    pub class: &'static str,
    /// What exactly: the rest of `Warning`.
    pub what: String,
    /// Retry-After in seconds.
    pub retry_after_s: Option<u32>,
}

impl Verdict {
    /// A verdict without Retry-After.
    #[must_use]
    pub fn new(code: u16, class: &'static str, what: impl Into<String>) -> Self {
        Self { code, phrase: phrase(code), class, what: what.into(), retry_after_s: None }
    }

    /// What a middlebox's refusal means for a call.
    #[must_use]
    pub fn of_middlebox(codes: &Codes, failure: Failure, stream: u16, in_call: bool) -> Self {
        let class = failure.class();
        let (code, retry) = match class {
            FailureClass::Unreachable => (codes.unreachable, None),
            FailureClass::Technical => (codes.technical, Some(RETRY_AFTER_S)),
            FailureClass::TemporaryPolicy => (codes.temporary_policy, Some(RETRY_AFTER_S)),
            FailureClass::StaticPolicy if in_call => (codes.static_policy_in_call, None),
            FailureClass::StaticPolicy => (codes.static_policy, None),
        };
        let what = format!("{failure}, stream {}", u32::from(stream) + 1);
        Self { retry_after_s: retry, ..Self::new(code, class.text(), what) }
    }

    /// The same, to be tried again later.
    #[must_use]
    pub fn later(self) -> Self {
        Self { retry_after_s: Some(RETRY_AFTER_S), ..self }
    }
}

/// The reason phrase of a status code (RFC 3261 §21, and our dedicated codes).
#[must_use]
pub fn phrase(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        481 => "Call/Transaction Does Not Exist",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        513 => "Message Too Large",
        590 => "Firewall Failure",
        591 => "Firewall Temporarily Closed",
        592 => "Firewall Policy",
        100..=199 => "Progress",
        201..=299 => "Success",
        300..=399 => "Redirection",
        401..=499 => "Request Failure",
        501..=599 => "Server Failure",
        _ => "Global Failure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_the_codes_of_the_table() {
        let code = |codes: &Codes, failure, in_call| Verdict::of_middlebox(codes, failure, 0, in_call).code;
        assert_eq!(code(&Codes::DEFAULT, Failure::Timeout, false), 504);
        assert_eq!(code(&Codes::DEFAULT, Failure::NoResources, false), 500);
        assert_eq!(code(&Codes::DEFAULT, Failure::Conflict, false), 500);
        assert_eq!(code(&Codes::DEFAULT, Failure::NoAuthorization, false), 403);
        assert_eq!(code(&Codes::DEFAULT, Failure::NoAuthorization, true), 488);
        assert_eq!(code(&Codes::DEDICATED, Failure::SessionLost, false), 590);
        assert_eq!(code(&Codes::DEDICATED, Failure::Conflict, false), 591);
        assert_eq!(code(&Codes::DEDICATED, Failure::NoAuthorization, true), 592);
    }

    #[test]
    fn only_what_may_pass_is_to_be_tried_again() {
        let retry = |failure| Verdict::of_middlebox(&Codes::DEFAULT, failure, 0, false).retry_after_s;
        assert_eq!(retry(Failure::NoResources), Some(10));
        assert_eq!(retry(Failure::Conflict), Some(10));
        assert_eq!(retry(Failure::NoAuthorization), None);
        assert_eq!(retry(Failure::Timeout), None);
    }

    #[test]
    fn the_warning_counts_streams_from_one() {
        let verdict = Verdict::of_middlebox(&Codes::DEFAULT, Failure::NoResources, 1, false);
        assert_eq!(verdict.what, "no resources available for this transaction, stream 2");
    }
}
