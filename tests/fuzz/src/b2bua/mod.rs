//! The B2BUA with two phones and up to two middleboxes, all of which do what the input says.
//!
//! An input is an octet of settings, or two with `FEATURES` between them, and then steps, see `step`: each an octet that
//! says what happens and one to four that say how. Whatever happens,
//!
//! - what leaves is a SIP message, with every mandatory field once and no line that somebody else has made;
//! - one input has a bounded number of outputs;
//! - an INVITE has at most one final response, and one at the end;
//! - a rule that a middlebox has granted is closed as soon as no call is left;
//! - when all calls have ended and time has passed, nothing is left: no call, no timer, no memory.

mod firewall;
mod flow;
mod outputs;
mod phone;
mod step;
mod world;

use crate::{Corpus, Target};

/// Behind it stand more settings.
const FEATURES: u8 = 0xfe;

/// See [`run`].
pub const TARGET: Target = Target {
    name: "b2bua",
    run,
    mutations: 4_000,
    corpora: &[
        Corpus::Inputs("fuzz/corpus/b2bua"),
        Corpus::Cases("flows/calls", "flow", flow::inputs),
        Corpus::Cases("flows/figures", "flow", flow::inputs),
        Corpus::Cases("flows/forks", "flow", flow::inputs),
        Corpus::Cases("flows/inside", "flow", flow::inputs),
        Corpus::Cases("flows/offers", "flow", flow::inputs),
        Corpus::Cases("flows/races", "flow", flow::inputs),
        Corpus::Cases("flows/restore", "flow", flow::inputs),
    ],
    words: &[
        &[step::INVITE, 0, 1, 0],
        &[step::INVITE, 1, 2, 0],
        &[step::INVITE, 2, 1, 0],
        &[step::INVITE, 0, 1, 16],
        &[step::INVITE, 0, 1, 16 + 64 + 128],
        &[step::RESPOND, 1, 0, 2, 2, 16],
        &[step::RESPOND, 1, 0, 1, 0, 16 + 32],
        &[step::RESPOND, 1, 0, 2, 2, 16 + 128],
        &[step::RESPOND, 1, 0, 0, 2, 16],
        &[step::RESPOND, 1, 0, 16, 0, 0],
        &[step::RESPOND, 1, 0, 17, 0, 0],
        &[step::REQUEST, 0, 0, 6, 0, 0],
        &[step::REQUEST, 0, 0, 6, 1, 0],
        &[step::REQUEST, 0, 0, 4, 1, 0],
        &[step::REQUEST, 1, 0, 4, 2, 0],
        &[step::REQUEST, 0, 0, 4, 0, 32],
        &[step::RESPOND, 1, 0, 0, 2, 0],
        &[step::RESPOND, 1, 0, 1, 2, 0],
        &[step::RESPOND, 1, 0, 2, 0, 1],
        &[step::RESPOND, 0, 0, 0, 0, 0],
        &[step::REQUEST, 0, 0, 0, 0, 0],
        &[step::REQUEST, 0, 0, 1, 1, 0],
        &[step::REQUEST, 1, 0, 0, 0, 0],
        &[step::REQUEST, 1, 0, 1, 2, 0],
        &[step::ACK, 0, 0, 0],
        &[step::ACK, 1, 0, 0],
        &[step::CANCEL, 0, 0],
        &[step::AGAIN, 0, 0],
        &[step::AGAIN, 1, 0],
        &[step::MIDCOM, 0, 0],
        &[step::MIDCOM, 0, 0, step::MIDCOM, 0, 0],
        &[step::MIDCOM, 0, 128],
        &[step::MIDCOM, 1, 70],
        &[step::EVENT, 0, 0],
        &[step::LINK, 0],
        &[step::LINK, 1],
        &[step::LINK, 4],
        &[step::TIME, 3],
        &[step::TIME, 5],
        &[step::TIME, 8],
        &[step::KICK, 0],
        &[step::SHUTDOWN],
        &[step::RESOLVED, 1],
        &[step::RESOLVED, 0],
        &[step::BROKEN, 0],
        &[step::BROKEN, 1],
    ],
};

/// Plays an input and then lets everything end; every sixteenth input twice, with the same outcome.
pub fn run(input: &[u8]) {
    let first = play(input);
    if input.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)).is_multiple_of(16) {
        assert_eq!(first, play(input), "the same input twice");
    }
}

/// A digest of everything that has left.
fn play(input: &[u8]) -> u64 {
    let mut reader = crate::reader::Reader(input);
    let settings = reader.octet();
    let features = match reader.0.first() {
        Some(&FEATURES) => {
            reader.octet();
            reader.octet()
        }
        Some(_) | None => 0,
    };
    let mut world = world::World::new(settings, features);
    while !reader.is_empty() {
        world.step(&mut reader);
    }
    world.end();
    world.digest()
}
