//! The four state machines of RFC 3261 §17 as corrected by RFC 6026, each a table of its own file:
//! `step(state, input)` gives the next state and what to do, in order. The tables know no messages, no addresses and
//! no time; [`crate::endpoint`] carries the actions out.

pub mod invite_client;
pub mod invite_server;
pub mod non_invite_client;
pub mod non_invite_server;
mod timer;

pub use timer::{Timer, TimerValues};

/// One row of a table: where to, and what to do on the way, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<S, A: 'static> {
    /// The next state.
    pub to: S,
    /// What to do, in order.
    pub actions: &'static [A],
}

impl<S, A> Step<S, A> {
    const fn to(to: S, actions: &'static [A]) -> Self {
        Self { to, actions }
    }
}

/// What a client transaction asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAction {
    /// Send the request, or send it once more.
    Send,
    /// Make the ACK to this failure response, send it and keep it instead of the request.
    Acknowledge,
    /// Send the kept ACK once more.
    AcknowledgeAgain,
    /// Hand the response to the transaction user.
    ToTu,
    /// Tell the transaction user that nobody answered.
    TimedOut,
    /// Tell the transaction user that the request could not be delivered.
    Unreachable,
    /// The request is needed no more: give its memory back.
    Forget,
    /// Start a timer.
    Start(Timer),
    /// Start a repetition timer again, with the longer interval.
    Again(Timer),
    /// Start a repetition timer again, with interval T2.
    AgainAtT2(Timer),
    /// Stop all timers of this transaction.
    Stop,
}

/// What a server transaction asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAction {
    /// Send the response that the transaction user gives, and keep it.
    Send,
    /// Send the kept response once more.
    Repeat,
    /// Make and send a 100, and keep it.
    SendTrying,
    /// Hand the ACK to the transaction user.
    AckToTu,
    /// Tell the transaction user that the ACK never came.
    AckMissing,
    /// Tell the transaction user that a response could not be delivered.
    Undelivered,
    /// Tell the transaction user that the transaction is over.
    Ended,
    /// The kept response is needed no more: give its memory back.
    Forget,
    /// Start a timer.
    Start(Timer),
    /// Start a repetition timer again, with the longer interval.
    Again(Timer),
    /// Stop all timers of this transaction.
    Stop,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::{Debug, Write};

    use super::Step;

    /// All rows of a table that do something, as text.
    pub(crate) fn draw<S, I, A>(states: &[S], inputs: &[I], step: fn(S, I) -> Step<S, A>) -> String
    where
        S: Copy + Debug + PartialEq,
        I: Copy + Debug,
        A: Debug,
    {
        let mut text = String::new();
        for &state in states {
            for &input in inputs {
                let next = step(state, input);
                if next.to == state && next.actions.is_empty() {
                    continue;
                }
                let actions: Vec<_> = next.actions.iter().map(|action| format!("{action:?}")).collect();
                writeln!(text, "{state:?} + {input:?} -> {:?}: {}", next.to, actions.join(", ")).unwrap();
            }
        }
        text
    }
}
