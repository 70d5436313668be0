//! How far a precondition of ours is in one early dialog of the callee. RFC 3312 §5 to §7, RFC 3262 §4, RFC 3311 §5.1.
//!
//! ```text
//!   state          what happens                                        next           what is done
//!   Asked          reliable 18x with our lines, pinholes confirmed     Acknowledging  PRACK
//!   Acknowledging  2xx to PRACK                                        Updating       UPDATE, curr sendrecv
//!   Acknowledging  PRACK refused or unanswered                         Failed         the call fails
//!   Updating       2xx to UPDATE, pinholes of its answer confirmed     Met            the callee may ring
//!   Updating       UPDATE refused for now                              Pausing        UPDATE again, a little later
//!   Updating       UPDATE refused or unanswered                        Failed         the call fails
//!   Pausing        it is later                                         Updating       UPDATE
//! ```
//!
//! Anything else leaves the state as it is. A response that does not take part is shown to the caller; a refused pinhole
//! never comes here: it fails the call (figure 7). A 2xx of a
//! callee that has not waited goes on, behind an UPDATE that is under way, because its answer may name other ports.

/// How often an UPDATE is sent before the callee's refusal counts.
const TRIES_MAX: u8 = 4;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// The callee has been asked.
    #[default]
    Asked,
    /// It has answered, and waits for our word; PRACK is under way.
    Acknowledging,
    /// UPDATE is under way, the so-manieth.
    Updating(u8),
    /// UPDATE is due again after so many.
    Pausing(u8),
    /// The callee knows that its media passes.
    Met,
    /// It will not ring.
    Failed,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A reliable 18x takes part; its pinholes are confirmed.
    Answered,
    /// PRACK is answered.
    Acknowledged,
    /// PRACK or UPDATE is refused or not answered.
    Refused,
    /// UPDATE is refused for now: 491, or with Retry-After.
    Postponed,
    /// UPDATE is answered; the pinholes of that answer are confirmed.
    Updated,
    /// The pause is over.
    Due,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Nothing,
    /// The caller may see it, without our lines.
    Show,
    /// PRACK.
    Acknowledge,
    /// UPDATE that says that the media passes.
    Update,
    /// Wait, then UPDATE.
    Pause,
    /// A 2xx that has waited goes on.
    Proceed,
    /// Give the call up.
    Fail,
}

impl State {
    /// What follows.
    #[must_use]
    pub(crate) fn on(self, what: Happening) -> (Self, Action) {
        match (self, what) {
            (Self::Asked, Happening::Answered) => (Self::Acknowledging, Action::Acknowledge),
            (Self::Acknowledging, Happening::Acknowledged) => (Self::Updating(1), Action::Update),
            (Self::Updating(_), Happening::Updated) => (Self::Met, Action::Proceed),
            (Self::Updating(tries), Happening::Postponed) if tries < TRIES_MAX => {
                (Self::Pausing(tries), Action::Pause)
            }
            (Self::Acknowledging | Self::Updating(_), Happening::Refused | Happening::Postponed) => {
                (Self::Failed, Action::Fail)
            }
            (Self::Pausing(tries), Happening::Due) => (Self::Updating(tries + 1), Action::Update),
            (state, Happening::Answered) => (state, Action::Show),
            (
                state,
                Happening::Acknowledged
                | Happening::Refused
                | Happening::Postponed
                | Happening::Updated
                | Happening::Due,
            ) => (state, Action::Nothing),
        }
    }

    /// True once the callee has answered our offer: what later 18x say of media means nothing (RFC 6337 §3.1.1).
    #[must_use]
    pub(crate) fn is_answered(self) -> bool {
        self != Self::Asked
    }

    /// True while a 2xx has to wait, because an answer is under way that may name other ports.
    #[must_use]
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Updating(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 8] = [
        State::Asked,
        State::Acknowledging,
        State::Updating(1),
        State::Updating(TRIES_MAX),
        State::Pausing(1),
        State::Pausing(TRIES_MAX - 1),
        State::Met,
        State::Failed,
    ];
    const HAPPENINGS: [Happening; 6] = [
        Happening::Answered,
        Happening::Acknowledged,
        Happening::Refused,
        Happening::Postponed,
        Happening::Updated,
        Happening::Due,
    ];

    /// Every transition that does something, as the table at the top has them.
    #[test]
    fn every_transition() {
        let mut found = String::new();
        for state in STATES {
            for what in HAPPENINGS {
                let (next, action) = state.on(what);
                if next != state || !matches!(action, Action::Nothing | Action::Show) {
                    found += &format!("{state:?} {what:?}: {next:?} {action:?}\n");
                }
            }
        }
        let expected = "Asked Answered: Acknowledging Acknowledge
Acknowledging Acknowledged: Updating(1) Update
Acknowledging Refused: Failed Fail
Acknowledging Postponed: Failed Fail
Updating(1) Refused: Failed Fail
Updating(1) Postponed: Pausing(1) Pause
Updating(1) Updated: Met Proceed
Updating(4) Refused: Failed Fail
Updating(4) Postponed: Failed Fail
Updating(4) Updated: Met Proceed
Pausing(1) Due: Updating(2) Update
Pausing(3) Due: Updating(4) Update
";
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_leads_out_of_an_end() {
        for state in [State::Met, State::Failed] {
            assert!(HAPPENINGS.iter().all(|what| state.on(*what).0 == state));
        }
    }
}
