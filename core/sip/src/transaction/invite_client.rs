//! INVITE client transaction. RFC 3261 §17.1.1 as corrected by RFC 6026 §7.2 and §8.4 (figure 5).
//! Before changing this file read RFC 6026 whole; it is short.
//!
//! ```text
//!                             | INVITE from TU: send
//!         timer A: send again V
//!                  +---- +---------+ ---- timer B, transport error: inform TU ----+
//!                  +---> | Calling |                                              |
//!                        +---------+ ---- 2xx: to TU ---------------+             |
//!     300-699: ACK,        |     | 1xx: to TU                       |             |
//!     to TU   +------------+     V                                  |             |
//!             |        +------------+ <--+ 1xx: to TU               |             |
//!             |        | Proceeding | ---+                          |             |
//!             |        +------------+ ---- 2xx: to TU --------------+             |
//!             |               | 300-699: ACK, to TU                 |             |
//!             V               V                                     V             |
//!         +-------------------------+ <--+ 300-699:             +----------+ <--+ 2xx:   |
//!         |        Completed        | ---+ ACK                  | Accepted | ---+ to TU  |
//!         +-------------------------+                           +----------+      |
//!             | timer D          | transport error: inform TU       | timer M      |
//!             V                  V                                  V              V
//!         +--------------------------------------------------------------------------+
//!         |                                Terminated                                 |
//!         +--------------------------------------------------------------------------+
//! ```

use super::{ClientAction, ClientAction as Do, Step, Timer};

/// Where an INVITE client transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Sent, nothing heard. Any response, timer B or a transport error leads out.
    Calling,
    /// A provisional response came; no repetition any more. A final response leads out.
    Proceeding,
    /// A final failure came and was acknowledged; its repetitions are acknowledged again. Timer D leads out.
    Completed,
    /// A 2xx came; each further one goes to the transaction user. Timer M leads out.
    Accepted,
    /// Gone: destroyed at once.
    Terminated,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A 1xx.
    Provisional,
    /// A 2xx.
    Success,
    /// A 300–699.
    Failure,
    /// Time to repeat.
    TimerA,
    /// Nobody answered.
    TimerB,
    /// End of the wait for repeated failures.
    TimerD,
    /// End of the wait for further 2xx.
    TimerM,
    /// The request, or the ACK, could not be delivered.
    TransportError,
}

impl Input {
    /// Every one, for those who draw or check the whole table.
    pub const ALL: [Self; 8] = [
        Self::Provisional,
        Self::Success,
        Self::Failure,
        Self::TimerA,
        Self::TimerB,
        Self::TimerD,
        Self::TimerM,
        Self::TransportError,
    ];
}

/// Done when the transaction user hands over an INVITE; the state is then [`State::Calling`].
pub const START: &[ClientAction] = &[Do::Send, Do::Start(Timer::A), Do::Start(Timer::B)];

/// The whole machine.
#[must_use]
pub fn step(state: State, input: Input) -> Step<State, ClientAction> {
    use {Input as In, State as S};
    match (state, input) {
        (S::Calling, In::Provisional) => Step::to(S::Proceeding, &[Do::Stop, Do::ToTu]),
        //= RFC 6026 §8.4: a 2xx does not end the transaction; the ACK is the transaction user's.
        (S::Calling | S::Proceeding, In::Success) => {
            Step::to(S::Accepted, &[Do::Stop, Do::Forget, Do::Start(Timer::M), Do::ToTu])
        }
        //= RFC 6026 §8.4: a failure is acknowledged here, over TCP as well.
        (S::Calling | S::Proceeding, In::Failure) => {
            Step::to(S::Completed, &[Do::Stop, Do::Acknowledge, Do::ToTu, Do::Start(Timer::D)])
        }
        (S::Calling, In::TimerA) => Step::to(S::Calling, &[Do::Send, Do::Again(Timer::A)]),
        (S::Calling, In::TimerB) => Step::to(S::Terminated, &[Do::TimedOut]),
        (S::Calling | S::Completed, In::TransportError) => Step::to(S::Terminated, &[Do::Unreachable]),
        (S::Proceeding, In::Provisional) => Step::to(S::Proceeding, &[Do::ToTu]),
        //= RFC 6026 §8.4: the repeated failure is not shown again, only acknowledged again.
        (S::Completed, In::Failure) => Step::to(S::Completed, &[Do::AcknowledgeAgain]),
        (S::Completed, In::TimerD) | (S::Accepted, In::TimerM) => Step::to(S::Terminated, &[]),
        (S::Accepted, In::Success) => Step::to(S::Accepted, &[Do::ToTu]),
        // Nothing the figure draws: late or impossible, and without effect.
        (S::Calling, In::TimerD | In::TimerM)
        | (S::Proceeding, In::TimerA | In::TimerB | In::TimerD | In::TimerM | In::TransportError)
        | (S::Completed, In::Provisional | In::Success | In::TimerA | In::TimerB | In::TimerM)
        | (
            S::Accepted,
            In::Provisional | In::Failure | In::TimerA | In::TimerB | In::TimerD | In::TransportError,
        )
        | (
            S::Terminated,
            In::Provisional
            | In::Success
            | In::Failure
            | In::TimerA
            | In::TimerB
            | In::TimerD
            | In::TimerM
            | In::TransportError,
        ) => Step::to(state, &[]),
    }
}

/// The input that a timer of this machine is; `None` for timers of the other machines.
#[must_use]
pub fn timer(timer: Timer) -> Option<Input> {
    match timer {
        Timer::A => Some(Input::TimerA),
        Timer::B => Some(Input::TimerB),
        Timer::D => Some(Input::TimerD),
        Timer::M => Some(Input::TimerM),
        Timer::E
        | Timer::F
        | Timer::G
        | Timer::H
        | Timer::I
        | Timer::J
        | Timer::K
        | Timer::L
        | Timer::Trying => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::draw;

    #[test]
    fn every_transition_is_the_figures() {
        //= test RFC 6026 §8.4 figure 5: the whole table.
        let states =
            [State::Calling, State::Proceeding, State::Completed, State::Accepted, State::Terminated];
        let expected = "\
Calling + Provisional -> Proceeding: Stop, ToTu
Calling + Success -> Accepted: Stop, Forget, Start(M), ToTu
Calling + Failure -> Completed: Stop, Acknowledge, ToTu, Start(D)
Calling + TimerA -> Calling: Send, Again(A)
Calling + TimerB -> Terminated: TimedOut
Calling + TransportError -> Terminated: Unreachable
Proceeding + Provisional -> Proceeding: ToTu
Proceeding + Success -> Accepted: Stop, Forget, Start(M), ToTu
Proceeding + Failure -> Completed: Stop, Acknowledge, ToTu, Start(D)
Completed + Failure -> Completed: AcknowledgeAgain
Completed + TimerD -> Terminated: 
Completed + TransportError -> Terminated: Unreachable
Accepted + Success -> Accepted: ToTu
Accepted + TimerM -> Terminated: 
";
        assert_eq!(draw(&states, &Input::ALL, step), expected);
    }
}
