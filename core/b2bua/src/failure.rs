//! Why a call fails, and the one table that turns it into status codes, `Warning` and `Reason`.
//!
//! `docs/calls.md`, "failure classes".

use std::fmt;

use midcom::{Failure, FailureClass};
use sip::message::{Builder, Message, Name};

use crate::side::Sides;

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
    /// Any of these where a peer insists on the precondition that the pinholes are.
    pub precondition: u16,
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
        precondition: 580,
    };

    /// `codes = "dedicated"`: a code of its own per class.
    pub const DEDICATED: Self = Self {
        unreachable: 590,
        technical: 590,
        temporary_policy: 591,
        static_policy: 592,
        static_policy_in_call: 592,
        refused_sdp: 488,
        precondition: 580,
    };
}

impl Default for Codes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The class of failures that our own look at a description finds.
pub(crate) const SDP_CLASS: &str = "session description";

/// Seconds in Retry-After where a later attempt may succeed.
const RETRY_AFTER_S: u32 = 10;

/// A failure of ours as the peers are told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The status code of responses, and the cause in `Reason`.
    pub(crate) code: u16,
    /// The reason phrase.
    pub(crate) phrase: &'static str,
    /// The class in words: `Reason`'s text and the start of `Warning`.
    pub(crate) class: &'static str,
    /// What exactly: the rest of `Warning`.
    pub(crate) what: String,
    /// The code of the `Warning`: 399 unless one says it better.
    pub(crate) warn_code: u16,
    /// Retry-After in seconds.
    pub(crate) retry_after_s: Option<u32>,
    /// What each side's last description becomes if a precondition was the matter (RFC 3312 §8).
    pub(crate) failed: Option<Box<Failed>>,
}

/// Descriptions with all streams turned off and the precondition that failed.
pub(crate) type Failed = Sides<Option<Box<[u8]>>>;

impl Verdict {
    /// A verdict without Retry-After.
    pub(crate) fn new(code: u16, class: &'static str, what: impl Into<String>) -> Self {
        let (phrase, warn_code) = (phrase(code), 399);
        Self { code, phrase, class, what: what.into(), warn_code, retry_after_s: None, failed: None }
    }

    /// What a middlebox's refusal means for a call.
    pub(crate) fn of_middlebox(codes: &Codes, failure: Failure, stream: u16, in_call: bool) -> Self {
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

    /// A middlebox took a rule away and, as is its right, did not say why: as if something stood against it for now.
    pub(crate) fn revoked(codes: &Codes, stream: u16) -> Self {
        let what = format!("the pinhole was taken away, stream {}", u32::from(stream) + 1);
        Self { what, ..Self::of_middlebox(codes, Failure::Conflict, stream, true) }
    }

    /// The same failure where somebody insists on the precondition that it was.
    pub(crate) fn enforced(self, codes: &Codes, failed: Failed) -> Self {
        let code = codes.precondition;
        Self { code, phrase: phrase(code), failed: Some(Box::new(failed)), ..self }
    }

    /// A failure that no firewall has to do with.
    pub(crate) fn plain(code: u16, what: impl Into<String>) -> Self {
        Self::new(code, phrase(code), what)
    }

    /// The call was made with a SIPS URI, and no next hop of its route is reached over TLS.
    //= RFC 5630 §5.3: 480 with Warning 380.
    pub(crate) fn sips_not_allowed() -> Self {
        Self { warn_code: 380, ..Self::new(480, "SIPS Not Allowed", "no next hop is reached over TLS") }
    }

    /// What a description names may not be opened.
    pub(crate) fn of_description(code: u16, refusal: &sdp::Refusal) -> Self {
        let warn_code = match refusal.why {
            //= RFC 3261 §20.43: 301, incompatible network address formats.
            sdp::Why::NoPeerNetwork | sdp::Why::DifferentVersions => 301,
            _ => 399,
        };
        Self { warn_code, ..Self::new(code, SDP_CLASS, refusal.to_string()) }
    }

    /// The INVITE was given up; there is nothing to explain.
    pub(crate) fn terminated() -> Self {
        Self::plain(487, "")
    }

    /// The same, to be tried again later.
    pub(crate) fn later(self) -> Self {
        Self { retry_after_s: Some(RETRY_AFTER_S), ..self }
    }
}

impl Verdict {
    /// Adds what a response of ours says about the failure.
    pub(crate) fn explain(&self, builder: Builder, pseudonym: &str) -> Builder {
        let warn_code = self.warn_code;
        let warning = format_args!("{warn_code} {pseudonym} \"{}\"", Explained(self));
        let builder = match self.is_explained() {
            true => builder.header_fmt(Name::Warning, warning),
            false => builder,
        };
        //= RFC 3261 §8.2.3: 415 lists what would have been understood.
        let builder = match self.code {
            415 => builder.header(Name::Accept, "application/sdp").header(Name::AcceptEncoding, "identity"),
            _ => builder,
        };
        match self.retry_after_s {
            Some(seconds) => builder.header_fmt(Name::RetryAfter, format_args!("{seconds}")),
            None => builder,
        }
    }

    /// The text of the Warning; empty if the status code says everything.
    pub(crate) fn words(&self) -> Box<str> {
        if self.is_explained() { Explained(self).to_string().into() } else { "".into() }
    }

    /// False if the status code says everything: 487.
    fn is_explained(&self) -> bool {
        !self.what.is_empty() || self.class != self.phrase
    }

    /// The same failure on BYE and CANCEL.
    pub(crate) fn reason(&self) -> Reason {
        Reason { cause: self.code, text: self.class }
    }
}

/// Class and details of a verdict, as Warning says them.
struct Explained<'v>(&'v Verdict);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.class)?;
        match self.0.what.as_str() {
            "" => Ok(()),
            what => write!(f, ": {}", Quoted(what)),
        }
    }
}

/// Text inside a quoted-string (RFC 3261 §25.1).
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(if character.is_control() { ' ' } else { character })?;
        }
        Ok(())
    }
}

/// Why we end something: RFC 3326.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason {
    /// The status code that a response would have had.
    pub(crate) cause: u16,
    /// The class in words.
    pub(crate) text: &'static str,
}

impl Reason {
    /// The caller gave up.
    pub(crate) const CANCELLED: Self = Self { cause: 487, text: "Request Terminated" };
}

/// Writes Reason: ours, and of the message we pass on every value that ours does not replace.
pub(crate) fn write_reason(
    mut builder: Builder,
    ours: Option<Reason>,
    passed_on: Option<&Message>,
) -> Builder {
    //= RFC 3326 §2: one value per protocol; ours is about the protocol SIP.
    for value in passed_on.iter().flat_map(|message| message.values(Name::Reason)) {
        if ours.is_none() || !is_sip(value) {
            builder = builder.header(Name::Reason, value);
        }
    }
    match ours {
        Some(Reason { cause, text }) => {
            builder.header_fmt(Name::Reason, format_args!("SIP;cause={cause};text=\"{text}\""))
        }
        None => builder,
    }
}

/// The Reason values of a CANCEL: ours, and of the one passed on what ours does not replace.
pub(crate) fn reasons(ours: Option<Reason>, passed_on: Option<&Message>) -> Vec<Box<[u8]>> {
    let passed = passed_on.iter().flat_map(|message| message.values(Name::Reason));
    let passed = passed.filter(|value| ours.is_none() || !is_sip(value)).map(Box::from);
    let own =
        ours.map(|Reason { cause, text }| format!("SIP;cause={cause};text=\"{text}\"").into_bytes().into());
    passed.chain(own).collect()
}

/// The cause in a Reason value of protocol SIP.
pub(crate) fn cause(reason: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(reason).ok().filter(|_| is_sip(reason))?;
    let mut params = text.split(';').map(str::trim);
    params.find_map(|param| param.strip_prefix("cause=")?.trim().parse().ok())
}

fn is_sip(reason: &[u8]) -> bool {
    let end = reason.iter().position(|byte| *byte == b';').unwrap_or(reason.len());
    reason[..end].trim_ascii().eq_ignore_ascii_case(b"SIP")
}

/// The reason phrase of a status code (RFC 3261 §21, and our dedicated codes).
pub(crate) fn phrase(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        421 => "Extension Required",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        513 => "Message Too Large",
        //= RFC 3312 §8: the code for preconditions that cannot be met.
        580 => "Precondition Failure",
        590 => "Firewall Failure",
        591 => "Firewall Temporarily Closed",
        592 => "Firewall Policy",
        603 => "Decline",
        other => match other / 100 {
            1 => "Progress",
            2 => "Success",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
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

    fn bye(reasons: &str) -> Message {
        let text = format!(
            "BYE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nMax-Forwards: 9\r\n{reasons}\
             Content-Length: 0\r\n\r\n"
        );
        Message::parse(bytes::Bytes::from(text)).unwrap()
    }

    fn written(ours: Option<Reason>, reasons: &str) -> Vec<String> {
        let builder = Builder::request(&sip::message::Method::Bye, "sip:b@h");
        let text = write_reason(builder, ours, Some(&bye(reasons))).finish();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter_map(|line| line.strip_prefix("Reason: ")).map(str::to_owned).collect()
    }

    #[test]
    fn our_reason_replaces_that_of_sip_and_no_other() {
        //= test RFC 3326 §2: one value per protocol.
        let theirs = "Reason: SIP;cause=200, Q.850;cause=16\r\n";
        assert_eq!(written(None, theirs), ["SIP;cause=200", "Q.850;cause=16"]);
        let ours = Some(Reason { cause: 504, text: "firewall unreachable" });
        assert_eq!(written(ours, theirs), ["Q.850;cause=16", "SIP;cause=504;text=\"firewall unreachable\""]);
    }

    #[test]
    fn a_cause_is_read_for_sip_only() {
        assert_eq!(cause(b"sip ;text=\"x\"; cause=504"), Some(504));
        assert_eq!(cause(b"Q.850;cause=16"), None);
        assert_eq!(cause(b"SIP"), None);
    }

    #[test]
    fn a_warning_is_quoted() {
        assert_eq!(Quoted("a \"b\" \\ \n").to_string(), "a \\\"b\\\" \\\\  ");
    }
}
