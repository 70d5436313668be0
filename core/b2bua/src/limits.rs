//! Every limit of the B2BUA, and what is answered at it.

use std::time::Duration;

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls at a time, and beside them as many that are over but for rules whose request the middlebox never answered; above it an INVITE is answered 503 with Retry-After (overload: RFC 3261 §21.5.4).
    pub calls: usize,
    /// Messages waiting behind one held message, per call and direction; above it requests are answered 500 with
    /// Retry-After and provisional responses are dropped: a reliable one is repeated and may find a place then, and if none
    /// becomes free for 64*T1 its sender refuses the INVITE (RFC 3262 §3), which is relayed.
    pub held: usize,
    /// Bytes of SDP in one message; above it the message is answered 513, an answer fails as unusable.
    pub sdp_bytes: usize,
    /// Early dialogs of one INVITE; responses of further ones are ignored until one of them answers 2xx. In each there is one
    /// PRACK of our own at a time; a reliable response that would need a second is not taken, and its sender repeats it.
    pub forks: usize,
    /// 2xx responses to one INVITE that make a dialog which nobody wants, and are acknowledged and ended, repetitions included:
    /// as many before the caller's ACK and as many after it. Further ones are ignored; whoever sent them ends its dialog
    /// itself, because it gets no ACK (RFC 3261 §13.3.1.4).
    pub strays: usize,
    /// Requests relayed at a time in one call; above it 500 with Retry-After.
    pub exchanges: usize,
    /// Names waiting for the name service; above it the call fails with 500 and Retry-After.
    pub lookups: usize,
    /// Rules of one call at all middleboxes; above it 488.
    pub rules: u16,
    /// Contacts of phones that have registered through us; above it a REGISTER for a new one is answered 503 with Retry-After.
    pub registrations: usize,
    /// Subscriptions that go through us; above it a SUBSCRIBE or a REFER outside a call is answered 503 with Retry-After.
    pub subscriptions: usize,
    /// Requests outside calls that are being passed on at a time; above it 503 with Retry-After.
    pub alone: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 100_000,
            held: 16,
            sdp_bytes: 16_384,
            forks: 8,
            strays: 32,
            exchanges: 8,
            lookups: 1_000,
            rules: 64,
            registrations: 10_000,
            subscriptions: 10_000,
            alone: 1_000,
        }
    }
}

/// The longest session interval that is agreed to, in seconds. Whoever insists on a longer one (Min-SE in its request or 422,
/// Session-Expires in its 2xx) is taken for a phone without session timers: nothing is agreed on with it, and we refresh by
/// our own interval, so that a call with a phone that is gone ends.
pub(crate) const SESSION_MAX_S: u32 = 86_400;

/// Callees remembered because they want no preconditions; beyond it the oldest is forgotten, and its next call asks again.
pub(crate) const UNWILLING_MAX: usize = 4096;
/// How long such a callee is remembered.
pub(crate) const UNWILLING_TIME: Duration = Duration::from_secs(3600);
/// The longest Request-URI, in bytes, with which one is remembered; longer ones are asked each time.
pub(crate) const UNWILLING_URI_MAX: usize = 256;
/// Names of servers that are reached over TLS, since the start: a redirection may bring new ones. Beyond it a server must prove
/// its address instead of its name, which next to none can: the call goes to the next place, or fails as if nobody answered.
pub(crate) const NAMES_MAX: usize = 4096;
/// Next hops that are asked with OPTIONS; further ones count as up until a call fails there.
pub(crate) const PINGED_MAX: usize = 256;
/// Servers remembered because they did not work; further ones are not, and the next calls begin with them again.
pub(crate) const FAILURES_MAX: usize = 256;
/// How long a server that did not work is called after the others of its name.
pub(crate) const FAILURE_MEMORY: Duration = Duration::from_secs(60);
/// Contacts in one REGISTER; with more it is refused with 403.
pub(crate) const CONTACTS_MAX: usize = 8;
/// Contacts of one address-of-record in one realm; a REGISTER for a further one is refused with 403.
pub(crate) const CONTACTS_OF_ONE_MAX: usize = 32;
/// Address-of-record, instance, URI and Path of one contact together, in bytes; longer ones are refused with 403.
pub(crate) const CONTACT_LEN_MAX: usize = 2_048;
/// Values of Path in one REGISTER; with more it is refused with 403.
pub(crate) const PATH_MAX: usize = 8;
/// How long a nonce of ours may be used.
pub(crate) const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Wrong passwords from one address for one user; further ones are answered 403 until the memory of them is gone.
pub(crate) const GUESSES_MAX: u32 = 10;
/// How long wrong passwords are remembered, from the first on.
pub(crate) const GUESS_MEMORY: Duration = Duration::from_secs(60);
/// Wrong passwords from one address for whomever: a hundred telephones may share an address, and one of them know a wrong one.
pub(crate) const GUESSES_OF_ONE_MAX: u32 = 100;
/// Addresses, and users at them, of whom wrong passwords are remembered; one more and the oldest is forgotten.
pub(crate) const GUESSERS_MAX: usize = 10_000;
/// The pause that doubles with each REGISTER in a row that a trunk has not taken (RFC 5626 §4.5, "base-time").
pub(crate) const REGISTER_PAUSE: Duration = Duration::from_secs(30);
/// The longest such pause, and the one after a failure that trying again would not mend.
pub(crate) const REGISTER_PAUSE_MAX: Duration = Duration::from_secs(1800);
/// Octets of nonce and opaque of a trunk's challenge together; a longer one is not answered: both come back in each request.
pub(crate) const CHALLENGE_LEN_MAX: usize = 1_024;
/// A trunk is not registered with more often than this, however short the time that it grants.
pub(crate) const REFRESH_MIN: Duration = Duration::from_secs(10);
/// The longest time for which a contact is remembered without being registered again, in seconds, whatever the registrar says.
pub(crate) const REGISTERED_MAX_S: u32 = 604_800;
/// The longest time for which a subscription is remembered without being renewed, whatever its notifier says.
pub(crate) const SUBSCRIBED_MAX: Duration = Duration::from_secs(604_800);
/// How long one is where neither side says so.
pub(crate) const SUBSCRIBED_DEFAULT: Duration = Duration::from_secs(3600);
