//! Non-INVITE server transaction. RFC 3261 §17.2.2 (figure 8), with the 100 of RFC 4320 §4.1 and the transport
//! errors of RFC 6026 §8.8.
//!
//! ```text
//!                         | request: to TU
//!                         V
//!                   +------------+
//!                   |   Trying   | request: -
//!                   +------------+
//!   1xx from TU or    |        | 200-699 from TU: send
//!   100 due: send     V        |
//!   request:  +-- +------------+ <--+ 1xx from TU: send
//!   repeat    +-> | Proceeding | ---+
//!                 +------------+
//!                     |        | 200-699 from TU: send
//!   request:  +-- +------------+
//!   repeat    +-> | Completed  | (other final responses are discarded)
//!                 +------------+
//!                     | timer J
//!                     V
//!                 +------------+
//!                 | Terminated |
//!                 +------------+
//! ```

use super::{ServerAction, ServerAction as Do, Step, Timer};

/// Where a non-INVITE server transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The transaction user is at work; repeated requests are absorbed. Any response leads out.
    Trying,
    /// A provisional response was sent and is repeated on demand. The final response leads out.
    Proceeding,
    /// The final response was sent and is repeated on demand. Timer J leads out.
    Completed,
    /// Gone: destroyed at once.
    Terminated,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The request came again.
    Request,
    /// 1xx from the transaction user.
    Provisional,
    /// 200–699 from the transaction user.
    Final,
    /// The transaction user is slow: a 100 is due.
    TimerTrying,
    /// End of the repetition of the final response.
    TimerJ,
    /// A response could not be delivered.
    TransportError,
}

impl Input {
    /// Every one, for those who draw or check the whole table.
    pub const ALL: [Self; 6] = [
        Self::Request,
        Self::Provisional,
        Self::Final,
        Self::TimerTrying,
        Self::TimerJ,
        Self::TransportError,
    ];
}

/// Done when the request is handed to the transaction user; the state is then [`State::Trying`].
pub const START: &[ServerAction] = &[Do::Start(Timer::Trying)];

/// The whole machine.
#[must_use]
pub fn step(state: State, input: Input) -> Step<State, ServerAction> {
    use {Input as In, State as S};
    match (state, input) {
        (S::Trying, In::Provisional) => Step::to(S::Proceeding, &[Do::Stop, Do::Send]),
        (S::Proceeding, In::Provisional) => Step::to(S::Proceeding, &[Do::Send]),
        (S::Trying | S::Proceeding, In::Final) => {
            Step::to(S::Completed, &[Do::Stop, Do::Send, Do::Start(Timer::J)])
        }
        (S::Trying, In::TimerTrying) => Step::to(S::Proceeding, &[Do::SendTrying]),
        (S::Proceeding | S::Completed, In::Request) => Step::to(state, &[Do::Repeat]),
        (S::Completed, In::TimerJ) => Step::to(S::Terminated, &[]),
        //= RFC 6026 §8.8: an undeliverable response is told, and changes nothing.
        (S::Proceeding | S::Completed, In::TransportError) => Step::to(state, &[Do::Undelivered]),
        // Nothing the figure draws: absorbed.
        (S::Trying, In::Request | In::TimerJ | In::TransportError)
        | (S::Proceeding, In::TimerTrying | In::TimerJ)
        | (S::Completed, In::Provisional | In::Final | In::TimerTrying)
        | (
            S::Terminated,
            In::Request | In::Provisional | In::Final | In::TimerTrying | In::TimerJ | In::TransportError,
        ) => Step::to(state, &[]),
    }
}

/// The input that a timer of this machine is; `None` for timers of the other machines.
#[must_use]
pub fn timer(timer: Timer) -> Option<Input> {
    match timer {
        Timer::J => Some(Input::TimerJ),
        Timer::Trying => Some(Input::TimerTrying),
        Timer::A
        | Timer::B
        | Timer::D
        | Timer::E
        | Timer::F
        | Timer::G
        | Timer::H
        | Timer::I
        | Timer::K
        | Timer::L
        | Timer::M => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::draw;

    #[test]
    fn every_transition_is_the_figures() {
        //= test RFC 3261 §17.2.2 figure 8: the whole table, with RFC 4320 and RFC 6026.
        let states = [State::Trying, State::Proceeding, State::Completed, State::Terminated];
        let expected = "\
Trying + Provisional -> Proceeding: Stop, Send
Trying + Final -> Completed: Stop, Send, Start(J)
Trying + TimerTrying -> Proceeding: SendTrying
Proceeding + Request -> Proceeding: Repeat
Proceeding + Provisional -> Proceeding: Send
Proceeding + Final -> Completed: Stop, Send, Start(J)
Proceeding + TransportError -> Proceeding: Undelivered
Completed + Request -> Completed: Repeat
Completed + TimerJ -> Terminated: 
Completed + TransportError -> Completed: Undelivered
";
        assert_eq!(draw(&states, &Input::ALL, step), expected);
    }
}
