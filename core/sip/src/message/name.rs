//! Header field names: RFC 3261 §7.3.1 and §7.3.3 (compact forms), §20, and the extensions we read.

use std::fmt;

/// Names that may stand on several lines or have several comma-separated values on one (RFC 3261 §7.3.1).
const LIST: u8 = 1;
/// Names that a message has once.
const SINGLE: u8 = 2;
/// Neither matters to us: free text, credentials, dates.
const PLAIN: u8 = 0;

macro_rules! names {
    ($($variant:ident $text:literal $compact:literal $kind:ident;)*) => {
        /// The name of a header field; names are compared without regard to case, long and compact alike.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = $text] $variant,)*
            /// A name that stands in no list of ours.
            Other,
        }

        /// Long form, compact form (NUL: none), kind; by the number of the variant.
        const TABLE: &[(Name, &str, u8, u8)] = &[$((Name::$variant, $text, $compact, $kind),)*];
    };
}

names! {
    Accept "Accept" 0 LIST;
    AcceptContact "Accept-Contact" b'a' LIST;
    AcceptEncoding "Accept-Encoding" 0 LIST;
    AcceptLanguage "Accept-Language" 0 LIST;
    AlertInfo "Alert-Info" 0 LIST;
    Allow "Allow" 0 LIST;
    AllowEvents "Allow-Events" b'u' LIST;
    AuthenticationInfo "Authentication-Info" 0 PLAIN;
    Authorization "Authorization" 0 PLAIN;
    CallId "Call-ID" b'i' SINGLE;
    CallInfo "Call-Info" 0 LIST;
    Contact "Contact" b'm' LIST;
    ContentDisposition "Content-Disposition" 0 SINGLE;
    ContentEncoding "Content-Encoding" b'e' LIST;
    ContentLanguage "Content-Language" 0 LIST;
    ContentLength "Content-Length" b'l' SINGLE;
    ContentType "Content-Type" b'c' SINGLE;
    CSeq "CSeq" 0 SINGLE;
    Date "Date" 0 PLAIN;
    Diversion "Diversion" 0 LIST;
    ErrorInfo "Error-Info" 0 LIST;
    Event "Event" b'o' SINGLE;
    Expires "Expires" 0 SINGLE;
    From "From" b'f' SINGLE;
    HistoryInfo "History-Info" 0 LIST;
    Identity "Identity" b'y' PLAIN;
    IdentityInfo "Identity-Info" b'n' PLAIN;
    InReplyTo "In-Reply-To" 0 LIST;
    Join "Join" 0 SINGLE;
    MaxBreadth "Max-Breadth" 0 SINGLE;
    MaxForwards "Max-Forwards" 0 SINGLE;
    MimeVersion "MIME-Version" 0 PLAIN;
    MinExpires "Min-Expires" 0 SINGLE;
    MinSe "Min-SE" 0 SINGLE;
    Organization "Organization" 0 PLAIN;
    PAssertedIdentity "P-Asserted-Identity" 0 LIST;
    PPreferredIdentity "P-Preferred-Identity" 0 LIST;
    Path "Path" 0 LIST;
    Priority "Priority" 0 PLAIN;
    Privacy "Privacy" 0 PLAIN;
    ProxyAuthenticate "Proxy-Authenticate" 0 PLAIN;
    ProxyAuthorization "Proxy-Authorization" 0 PLAIN;
    ProxyRequire "Proxy-Require" 0 LIST;
    RAck "RAck" 0 SINGLE;
    Reason "Reason" 0 LIST;
    RecordRoute "Record-Route" 0 LIST;
    ReferSub "Refer-Sub" 0 SINGLE;
    ReferTo "Refer-To" b'r' SINGLE;
    ReferredBy "Referred-By" b'b' SINGLE;
    RejectContact "Reject-Contact" b'j' LIST;
    Replaces "Replaces" 0 SINGLE;
    ReplyTo "Reply-To" 0 SINGLE;
    RequestDisposition "Request-Disposition" b'd' LIST;
    Require "Require" 0 LIST;
    RetryAfter "Retry-After" 0 SINGLE;
    Route "Route" 0 LIST;
    RSeq "RSeq" 0 SINGLE;
    Server "Server" 0 PLAIN;
    ServiceRoute "Service-Route" 0 LIST;
    SessionExpires "Session-Expires" b'x' SINGLE;
    SessionId "Session-ID" 0 SINGLE;
    SipEtag "SIP-ETag" 0 SINGLE;
    SipIfMatch "SIP-If-Match" 0 SINGLE;
    Subject "Subject" b's' PLAIN;
    SubscriptionState "Subscription-State" 0 SINGLE;
    Supported "Supported" b'k' LIST;
    TargetDialog "Target-Dialog" 0 SINGLE;
    Timestamp "Timestamp" 0 SINGLE;
    To "To" b't' SINGLE;
    Unsupported "Unsupported" 0 LIST;
    UserAgent "User-Agent" 0 PLAIN;
    Via "Via" b'v' LIST;
    Warning "Warning" 0 LIST;
    WwwAuthenticate "WWW-Authenticate" 0 PLAIN;
}

impl Name {
    /// The long form with its usual capitals; empty for [`Name::Other`].
    #[must_use]
    pub fn text(self) -> &'static str {
        self.entry().map_or("", |entry| entry.1)
    }

    /// The name these bytes are, long or compact, in any case.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
            return Self::Other;
        };
        if bytes.len() == 1 {
            return COMPACT.get(usize::from(first.to_ascii_lowercase())).copied().unwrap_or(Self::Other);
        }
        let candidate = SLOTS[slot(bytes.len(), first, bytes[bytes.len() / 2], last)];
        let text = candidate.text().as_bytes();
        let is_it = text == bytes || text.eq_ignore_ascii_case(bytes);
        if is_it { candidate } else { Self::Other }
    }

    /// True if the field is a comma-separated list that may be spread over several lines.
    #[must_use]
    pub fn is_list(self) -> bool {
        self.entry().is_some_and(|entry| entry.3 == LIST)
    }

    /// True if a message with two of them is broken.
    #[must_use]
    pub fn is_single(self) -> bool {
        SINGLES & self.bit() != 0
    }

    /// One bit for each name, so that a set of names is a number.
    pub(super) const fn bit(self) -> u128 {
        1 << self as u8
    }

    const fn entry(self) -> Option<&'static (Self, &'static str, u8, u8)> {
        if (self as usize) < TABLE.len() { Some(&TABLE[self as usize]) } else { None }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Other { "unknown" } else { self.text() })
    }
}

/// A hash table without collisions, so that one look decides.
static SLOTS: [Name; SLOT_COUNT] = slots();
static COMPACT: [Name; 128] = compact();
const SLOT_COUNT: usize = 256;

/// The factors were found by trial; a new name may need new ones, and the compiler says so.
const fn slot(len: usize, first: u8, middle: u8, last: u8) -> usize {
    let lowered = (first | 0x20) as usize * 31 + (middle | 0x20) as usize * 61 + (last | 0x20) as usize * 29;
    (lowered + len * 15) % SLOT_COUNT
}

const fn slots() -> [Name; SLOT_COUNT] {
    let mut slots = [Name::Other; SLOT_COUNT];
    let mut index = 0;
    while index < TABLE.len() {
        let text = TABLE[index].1.as_bytes();
        let slot = slot(text.len(), text[0], text[text.len() / 2], text[text.len() - 1]);
        assert!(slots[slot] as usize == Name::Other as usize, "two names share a slot: choose other factors");
        slots[slot] = TABLE[index].0;
        index += 1;
    }
    slots
}

/// The names that stand once.
const SINGLES: u128 = singles();

const fn singles() -> u128 {
    let mut set = 0;
    let mut index = 0;
    while index < TABLE.len() {
        if TABLE[index].3 == SINGLE {
            set |= TABLE[index].0.bit();
        }
        index += 1;
    }
    set
}

const fn compact() -> [Name; 128] {
    let mut names = [Name::Other; 128];
    let mut index = 0;
    while index < TABLE.len() {
        if TABLE[index].2 != 0 {
            names[TABLE[index].2 as usize] = TABLE[index].0;
        }
        index += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_by_its_compact_form() {
        for (index, (name, text, compact, _)) in TABLE.iter().enumerate() {
            assert_eq!(*name as usize, index);
            assert_eq!(Name::of(text.as_bytes()), *name);
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), *name);
            if *compact != 0 {
                assert_eq!(Name::of(&[*compact]), *name);
                assert_eq!(Name::of(&[compact.to_ascii_uppercase()]), *name);
            }
        }
    }

    #[test]
    fn what_is_not_listed_is_other() {
        for text in ["", "q", "\u{e9}", "Viaa", "X-Unknown", "Max-Forward"] {
            assert_eq!(Name::of(text.as_bytes()), Name::Other, "{text}");
        }
    }
}
