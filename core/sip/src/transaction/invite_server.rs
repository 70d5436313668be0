//! INVITE server transaction. RFC 3261 §17.2.1 as corrected by RFC 6026 §7.1 and §8.5–8.8 (figure 7).
//! Before changing this file read RFC 6026 whole; it is short.
//!
//! ```text
//!                          | INVITE: to TU, send 100
//!   INVITE: repeat         V
//!            +---- +----------------+ <--+ 1xx from TU: send
//!            +---> |   Proceeding   | ---+ transport error: inform TU
//!                  +----------------+
//!     300-699 from TU: |        | 2xx from TU: send
//!     send             |        +-----------------------+
//!   INVITE: repeat     V                                V   INVITE: -
//!      +---- +-----------+ <--+ timer G: repeat    +----------+ <--+ ACK: to TU
//!      +---> | Completed | ---+ transport error:   | Accepted |    | 2xx from TU: send
//!            +-----------+      inform TU          |          | ---+ transport error: inform TU
//!    timer H:  |       | ACK: -                    +----------+
//!    inform TU |       V                                |
//!              |   +-----------+                        |
//!              |   | Confirmed | INVITE, ACK: -         |
//!              |   +-----------+                        |
//!              |       | timer I                        | timer L
//!              V       V                                V
//!            +------------------------------------------------+
//!            |                   Terminated                   |
//!            +------------------------------------------------+
//! ```

use super::{ServerAction, ServerAction as Do, Step, Timer};

/// Where an INVITE server transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The transaction user is at work. Its final response leads out; no timer runs.
    Proceeding,
    /// A final failure was sent and waits for its ACK. ACK or timer H leads out.
    Completed,
    /// The ACK came; further ones are absorbed. Timer I leads out.
    Confirmed,
    /// A 2xx was sent; the transaction user repeats it. Timer L leads out.
    Accepted,
    /// Gone: destroyed at once.
    Terminated,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The INVITE came again.
    Invite,
    /// An ACK with the INVITE's branch.
    Ack,
    /// 1xx from the transaction user.
    Provisional,
    /// 2xx from the transaction user.
    Success,
    /// 300–699 from the transaction user.
    Failure,
    /// Time to repeat the failure.
    TimerG,
    /// The ACK never came.
    TimerH,
    /// End of the absorption of ACKs.
    TimerI,
    /// End of the absorption of INVITEs.
    TimerL,
    /// A response could not be delivered.
    TransportError,
}

impl Input {
    /// Every one, for those who draw or check the whole table.
    pub const ALL: [Self; 10] = [
        Self::Invite,
        Self::Ack,
        Self::Provisional,
        Self::Success,
        Self::Failure,
        Self::TimerG,
        Self::TimerH,
        Self::TimerI,
        Self::TimerL,
        Self::TransportError,
    ];
}

/// The whole machine. It starts in [`State::Proceeding`].
#[must_use]
pub fn step(state: State, input: Input) -> Step<State, ServerAction> {
    use {Input as In, State as S};
    match (state, input) {
        (S::Proceeding | S::Completed, In::Invite) => Step::to(state, &[Do::Repeat]),
        (S::Proceeding, In::Provisional) => Step::to(S::Proceeding, &[Do::Send]),
        //= RFC 6026 §8.5: after a 2xx the transaction stays, to absorb INVITEs; it does not repeat the 2xx itself.
        (S::Proceeding, In::Success) => Step::to(S::Accepted, &[Do::Send, Do::Forget, Do::Start(Timer::L)]),
        (S::Proceeding, In::Failure) => {
            Step::to(S::Completed, &[Do::Send, Do::Start(Timer::G), Do::Start(Timer::H)])
        }
        //= RFC 6026 §8.8: an undeliverable response is told, and changes nothing.
        (S::Proceeding | S::Completed | S::Accepted, In::TransportError) => {
            Step::to(state, &[Do::Undelivered])
        }
        (S::Completed, In::Ack) => Step::to(S::Confirmed, &[Do::Stop, Do::Forget, Do::Start(Timer::I)]),
        (S::Completed, In::TimerG) => Step::to(S::Completed, &[Do::Repeat, Do::Again(Timer::G)]),
        (S::Completed, In::TimerH) => Step::to(S::Terminated, &[Do::AckMissing]),
        (S::Confirmed, In::TimerI) | (S::Accepted, In::TimerL) => Step::to(S::Terminated, &[Do::Ended]),
        //= RFC 6026 §7.1: an ACK that still carries the INVITE's branch (RFC 2543) is the transaction user's.
        (S::Accepted, In::Ack) => Step::to(S::Accepted, &[Do::AckToTu]),
        (S::Accepted, In::Success) => Step::to(S::Accepted, &[Do::Send, Do::Forget]),
        // Nothing the figure draws: absorbed.
        (S::Proceeding, In::Ack | In::TimerG | In::TimerH | In::TimerI | In::TimerL)
        | (S::Completed, In::Provisional | In::Success | In::Failure | In::TimerI | In::TimerL)
        | (
            S::Confirmed,
            In::Invite
            | In::Ack
            | In::Provisional
            | In::Success
            | In::Failure
            | In::TimerG
            | In::TimerH
            | In::TimerL
            | In::TransportError,
        )
        | (S::Accepted, In::Invite | In::Provisional | In::Failure | In::TimerG | In::TimerH | In::TimerI)
        | (
            S::Terminated,
            In::Invite
            | In::Ack
            | In::Provisional
            | In::Success
            | In::Failure
            | In::TimerG
            | In::TimerH
            | In::TimerI
            | In::TimerL
            | In::TransportError,
        ) => Step::to(state, &[]),
    }
}

/// The input that a timer of this machine is; `None` for timers of the other machines.
#[must_use]
pub fn timer(timer: Timer) -> Option<Input> {
    match timer {
        Timer::G => Some(Input::TimerG),
        Timer::H => Some(Input::TimerH),
        Timer::I => Some(Input::TimerI),
        Timer::L => Some(Input::TimerL),
        Timer::A
        | Timer::B
        | Timer::D
        | Timer::E
        | Timer::F
        | Timer::J
        | Timer::K
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
        //= test RFC 6026 §8.6 figure 7: the whole table.
        let states =
            [State::Proceeding, State::Completed, State::Confirmed, State::Accepted, State::Terminated];
        let expected = "\
Proceeding + Invite -> Proceeding: Repeat
Proceeding + Provisional -> Proceeding: Send
Proceeding + Success -> Accepted: Send, Forget, Start(L)
Proceeding + Failure -> Completed: Send, Start(G), Start(H)
Proceeding + TransportError -> Proceeding: Undelivered
Completed + Invite -> Completed: Repeat
Completed + Ack -> Confirmed: Stop, Forget, Start(I)
Completed + TimerG -> Completed: Repeat, Again(G)
Completed + TimerH -> Terminated: AckMissing
Completed + TransportError -> Completed: Undelivered
Confirmed + TimerI -> Terminated: Ended
Accepted + Ack -> Accepted: AckToTu
Accepted + Success -> Accepted: Send, Forget
Accepted + TimerL -> Terminated: Ended
Accepted + TransportError -> Accepted: Undelivered
";
        assert_eq!(draw(&states, &Input::ALL, step), expected);
    }
}
