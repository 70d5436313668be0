//! Non-INVITE client transaction. RFC 3261 §17.1.2 (figure 6).
//!
//! ```text
//!                            | request from TU: send
//!      timer E: send again   V
//!              +---- +------------+ ---- timer F, transport error: inform TU ---+
//!              +---> |   Trying   |                                             |
//!                    +------------+                                             |
//!     200-699: to TU   |       | 1xx: to TU                                     |
//!         +------------+       V                                                |
//!         |          +------------+ ---- timer F, transport error: inform TU ---+
//!         |     +--- | Proceeding | <--+                                        |
//!         |     +--> +------------+ ---+ 1xx: to TU                             |
//!         |  timer E:      | 200-699: to TU                                     |
//!         |  send again    V                                                    |
//!         |          +------------+                                             |
//!         +--------> | Completed  | (repeated responses end here)               |
//!                    +------------+                                             |
//!                          | timer K                                            |
//!                          V                                                    |
//!                    +------------+                                             |
//!                    | Terminated | <-------------------------------------------+
//!                    +------------+
//! ```

use super::{ClientAction, ClientAction as Do, Step, Timer};

/// Where a non-INVITE client transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Sent, nothing heard. Any response, timer F or a transport error leads out.
    Trying,
    /// A provisional response came; repetition goes on every T2. As above.
    Proceeding,
    /// The final response was passed on; repetitions are absorbed. Timer K leads out.
    Completed,
    /// Gone: destroyed at once.
    Terminated,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A 1xx.
    Provisional,
    /// A 200–699.
    Final,
    /// Time to repeat.
    TimerE,
    /// No final response came.
    TimerF,
    /// End of the wait for repeated responses.
    TimerK,
    /// The request could not be delivered.
    TransportError,
}

impl Input {
    /// Every one, for those who draw or check the whole table.
    pub const ALL: [Self; 6] =
        [Self::Provisional, Self::Final, Self::TimerE, Self::TimerF, Self::TimerK, Self::TransportError];
}

/// Done when the transaction user hands over a request; the state is then [`State::Trying`].
pub const START: &[ClientAction] = &[Do::Send, Do::Start(Timer::E), Do::Start(Timer::F)];

/// The whole machine.
#[must_use]
pub fn step(state: State, input: Input) -> Step<State, ClientAction> {
    use {Input as In, State as S};
    match (state, input) {
        (S::Trying | S::Proceeding, In::Provisional) => Step::to(S::Proceeding, &[Do::ToTu]),
        (S::Trying | S::Proceeding, In::Final) => {
            Step::to(S::Completed, &[Do::Stop, Do::Forget, Do::ToTu, Do::Start(Timer::K)])
        }
        (S::Trying, In::TimerE) => Step::to(S::Trying, &[Do::Send, Do::Again(Timer::E)]),
        //= RFC 3261 §17.1.2.2: after a provisional response every T2, because the final one may be lost.
        (S::Proceeding, In::TimerE) => Step::to(S::Proceeding, &[Do::Send, Do::AgainAtT2(Timer::E)]),
        (S::Trying | S::Proceeding, In::TimerF) => Step::to(S::Terminated, &[Do::TimedOut]),
        (S::Trying | S::Proceeding, In::TransportError) => Step::to(S::Terminated, &[Do::Unreachable]),
        (S::Completed, In::TimerK) => Step::to(S::Terminated, &[]),
        (S::Trying | S::Proceeding, In::TimerK)
        | (S::Completed, In::Provisional | In::Final | In::TimerE | In::TimerF | In::TransportError)
        | (
            S::Terminated,
            In::Provisional | In::Final | In::TimerE | In::TimerF | In::TimerK | In::TransportError,
        ) => Step::to(state, &[]),
    }
}

/// The input that a timer of this machine is; `None` for timers of the other machines.
#[must_use]
pub fn timer(timer: Timer) -> Option<Input> {
    match timer {
        Timer::E => Some(Input::TimerE),
        Timer::F => Some(Input::TimerF),
        Timer::K => Some(Input::TimerK),
        Timer::A
        | Timer::B
        | Timer::D
        | Timer::G
        | Timer::H
        | Timer::I
        | Timer::J
        | Timer::L
        | Timer::M
        | Timer::Trying => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::draw;

    #[test]
    fn every_transition_is_the_figures() {
        //= test RFC 3261 §17.1.2.2 figure 6: the whole table.
        let states = [State::Trying, State::Proceeding, State::Completed, State::Terminated];
        let expected = "\
Trying + Provisional -> Proceeding: ToTu
Trying + Final -> Completed: Stop, Forget, ToTu, Start(K)
Trying + TimerE -> Trying: Send, Again(E)
Trying + TimerF -> Terminated: TimedOut
Trying + TransportError -> Terminated: Unreachable
Proceeding + Provisional -> Proceeding: ToTu
Proceeding + Final -> Completed: Stop, Forget, ToTu, Start(K)
Proceeding + TimerE -> Proceeding: Send, AgainAtT2(E)
Proceeding + TimerF -> Terminated: TimedOut
Proceeding + TransportError -> Terminated: Unreachable
Completed + TimerK -> Terminated: 
";
        assert_eq!(draw(&states, &Input::ALL, step), expected);
    }
}
