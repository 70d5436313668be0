//! The contract of engines: one list of cases, run against every engine there is.
//!
//! An engine brings a [`Bench`]: itself, a way to send packets through its gate, and time. Each case starts with an
//! empty engine and panics, with the broken promise in words, when something is wrong. In a test:
//!
//! ```ignore
//! for case in engine_contract::CASES {
//!     case.run(&mut bench);
//! }
//! ```

mod cases;
mod held;
mod lifetimes;
mod nat;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use middlebox::{Engine, Transport};

pub use world::{
    AGENT, GATEWAY, Host, INSIDE, INSIDE_OTHER, OUTSIDE, OUTSIDE_OTHER, Place, THIRD, authority,
    foreign_authority, nat, realms, unmanaged,
};

/// A packet to be sent through the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    /// Where it really comes from, whatever its source address says.
    pub from: Place,
    /// UDP or TCP.
    pub transport: Transport,
    /// What its header says.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// TCP: SYN without ACK. Otherwise the packet carries ACK.
    pub opens: bool,
    /// Source and destination with which it arrives, if it does.
    pub arrives: (SocketAddr, SocketAddr),
}

/// An engine with everything a case needs to look at it.
///
/// Around the gate there is an administrator's firewall that drops by default, accepts what the gate has marked,
/// accepts what connection tracking knows as established, and lets everything go out from the inside. The hosts are
/// those of this crate; the engine knows [`realms`].
pub trait Bench {
    /// The engine.
    fn engine(&mut self) -> &mut dyn Engine;

    /// Sends `count` such packets and says how many reached the host with the destination address they are to arrive with.
    /// One that arrives there with another source fails the case.
    fn send(&mut self, shot: Shot, count: u32) -> u32;

    /// Lets time pass.
    fn wait(&mut self, time: Duration);

    /// Does to one entry what a stranger with the right tools could do: deletes it behind the engine's back. False if
    /// strangers cannot.
    fn sabotage(&mut self, key: &middlebox::Key) -> bool;

    /// Whether the engine can do TCP rules and the bench send TCP packets.
    fn tcp(&self) -> bool;
}

/// One promise.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is promised.
    pub name: &'static str,
    run: fn(&mut dyn Bench),
}

impl Case {
    /// Empties the engine and tries the promise.
    ///
    /// # Panics
    /// If it is broken.
    pub fn run(&self, bench: &mut dyn Bench) {
        world::empty(bench);
        (self.run)(bench);
        world::empty(bench);
    }
}

/// All cases.
pub const CASES: &[Case] = &[
    Case { name: "nothing passes before, everything between, nothing after", run: cases::opens_and_closes },
    Case { name: "every key class works in both IP versions", run: cases::every_class },
    Case { name: "a pair is two ports and no third", run: cases::pair_is_two_ports },
    Case { name: "exact ports are not crossed", run: cases::exact_is_not_crossed },
    Case { name: "another host is not the host", run: cases::other_hosts_stay_out },
    Case { name: "a network is its members only", run: cases::network_is_its_members },
    Case { name: "a borrowed source address opens nothing", run: cases::spoofed_source },
    Case { name: "one direction does not open the other", run: cases::directions_are_separate },
    Case { name: "closing stops both phones while they keep sending", run: cases::close_under_fire },
    Case { name: "what is not managed is left to the administrator", run: cases::unmanaged_is_untouched },
    Case { name: "one entry does not close another", run: cases::closing_is_exact },
    Case { name: "a refused operation harms no other", run: cases::refusal_is_single },
    Case { name: "removing what is not there succeeds", run: cases::remove_missing },
    Case { name: "large batches are carried out whole", run: cases::large_batch },
    Case { name: "a TCP rule lets one side open and the other answer", run: cases::tcp_answers },
    Case { name: "an entry ends by itself at its lifetime", run: lifetimes::ends_by_itself },
    Case { name: "extending with an equal lifetime extends", run: lifetimes::equal_extension },
    Case { name: "a lifetime can be shortened", run: lifetimes::shortened },
    Case {
        name: "adding what is there and extending what is not both hold",
        run: lifetimes::add_and_extend_agree,
    },
    Case { name: "packets are counted, and extending keeps the count", run: lifetimes::counter_survives },
    Case { name: "everything there is listed", run: lifetimes::lists_entries },
    Case { name: "what is missing and what is foreign is found and can be repaired", run: lifetimes::drift },
];

/// The cases for an engine that has been given [`nat()`] too. Its outside addresses are addresses of the gate itself.
pub const NAT_CASES: &[Case] = &[
    Case { name: "what comes in arrives at the inside address, and only while it may", run: nat::inward },
    Case { name: "what goes out says the outside address, and only while it may", run: nat::outward },
    Case { name: "every class of source finds its way to an outside port", run: nat::every_class },
    Case { name: "an outside port is nobody else's", run: nat::ports_are_separate },
    Case { name: "a borrowed source address finds no outside port", run: nat::spoofed },
    Case {
        name: "closing a translated call stops both phones while they keep sending",
        run: nat::close_a_call,
    },
    Case { name: "a translated entry lives as long as it is told, and counts", run: nat::lifetimes },
    Case { name: "translated entries are listed as they are", run: nat::lists },
    Case { name: "a flow can get another outside port", run: nat::another_port },
    Case { name: "a translation that is missing or foreign is found and can be repaired", run: nat::drift },
];

/// The cases for an engine that has been given [`unmanaged()`] realms.
pub const HELD_CASES: &[Case] = &[
    Case { name: "what passed is kept out when it is closed", run: held::stays_closed },
    Case { name: "a new call on held ports wins, and is held again", run: held::new_call_wins },
    Case { name: "what never passed through an entry is not held", run: held::others_pass },
];
