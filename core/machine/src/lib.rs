//! The one shape of everything that decides.
//!
//! A [`Machine`] takes inputs that are values, at a time that is an argument, and writes what must now be done
//! into an [`Outbox`] that belongs to the caller. It owns no socket, no clock, no thread and no lock, so the same
//! inputs at the same times with the same seed always give the same outputs.

pub mod map;
pub mod onlooker;
mod outbox;
mod rng;
mod text;
mod time;
mod timers;
pub mod week;

pub use outbox::Outbox;
pub use rng::Rng;
pub use text::Text;
pub use time::Instant;
pub use timers::{TimerId, Timers};

/// Something that decides. See `docs/` of the repository, "the machine", for the rules that come with it.
pub trait Machine {
    /// Everything that can happen to it: a closed set.
    type Input;
    /// Everything it can ask for: a closed set, carried out by the caller in order.
    type Output;

    /// Takes one input and says what must now be done, in order.
    fn handle(&mut self, now: Instant, input: Self::Input, out: &mut Outbox<Self::Output>);

    /// Does whatever is due at `now`. Calling it early does nothing.
    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Self::Output>);

    /// When [`Machine::handle_timeout`] is next worth calling, and why.
    fn next_timeout(&self) -> Option<(Instant, &'static str)>;
}
