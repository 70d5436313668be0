//! Bad manners: what real phones do wrong.

use std::time::Duration;

/// What a phone does wrong; by default nothing. Some, like [`Oddities::reboots_after`], need nobody's help to happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Never acknowledges a 2xx.
    pub never_acks: bool,
    /// Sends each 2xx to INVITE twice at once.
    pub answers_twice: bool,
    /// Answers CANCEL but never the INVITE it cancels.
    pub silent_after_cancel: bool,
    /// Answers CANCEL, rings on and accepts the call as if nothing had been said.
    pub ignores_cancel: bool,
    /// Does not answer BYE.
    pub ignores_bye: bool,
    /// Never sends PRACK.
    pub never_pracks: bool,
    /// Names another port in the 200 than in the 18x before ([`crate::Event::Moved`] says which).
    pub moves_in_answer: bool,
    /// Repeats one of its last messages with each new one.
    pub repeats_old: bool,
    /// Says BYE as soon as its user hangs up, before the ACK came that RFC 3261 §15 lets it wait for.
    pub hangs_up_early: bool,
    /// Puts lines into its SDP that nobody understands.
    pub odd_sdp: bool,
    /// Answers UPDATE with 405 although its Allow lists it.
    pub refuses_update: bool,
    /// Refuses each change of a running session with 488.
    pub refuses_changes: bool,
    /// Does not know the subscription that its REFER has made: each NOTIFY gets 481.
    pub forgets_referral: bool,
    /// Does not say that it knows 100rel, whatever else it asks for.
    pub hides_reliable: bool,
    /// How late it answers a re-INVITE.
    pub answers_reinvite_late: Option<Duration>,
    /// Forgets everything so long after a call began; what comes later gets 481.
    pub reboots_after: Option<Duration>,
}
