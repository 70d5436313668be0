//! Descriptions and INVITEs that are unusual, though real phones write them: drawn here, and looked at where they pass the agent.

use machine::Rng;
use phone::Reliable;
use sdp::precondition::Strength;

use crate::plan::Script;
use crate::queue::Seat;
use crate::wire;
use crate::world::World;

impl Script {
    /// Of the two phones that a call has first.
    pub(crate) fn draw_quirks(&mut self, rng: &mut Rng) {
        for party in [&mut self.caller, &mut self.callee] {
            let shape = &mut party.extensions.shape;
            shape.srtp = rng.percent(10);
            shape.turns_on = rng.percent(10);
            // With ICE the address there counts for nothing.
            shape.names_host = rng.percent(2) && shape.ice.is_none();
        }
        let can = &self.caller.extensions;
        let asks = can.precondition.is_some_and(|wanted| wanted.strength == Strength::Mandatory);
        self.caller.oddities.hides_reliable =
            rng.percent(15) && asks && can.reliable != Reliable::Required && !can.delayed_offer;
    }
}

impl World {
    /// What the agent sends to a phone says of streams and keys what it must.
    pub(crate) fn check_quirks(&mut self, seat: usize, bytes: &[u8]) {
        let Seat { call, end, branch } = self.handsets[seat].seat;
        if wire::status(bytes) == 421 && self.plan.calls[call].phone(end, branch).0.oddities.hides_reliable {
            self.books.reader.sees("asks without 100rel: 421");
        }
        let requires = wire::field(bytes, "Require").is_some_and(|value| value.contains("precondition"));
        let asks = self.plan.calls[call].caller.extensions.precondition.is_some();
        if bytes.starts_with(b"INVITE ") && wire::body(bytes).is_empty() && requires && !asks {
            self.violation(Some(call), "an INVITE without an offer requires preconditions".to_owned());
        }
        let body = String::from_utf8_lossy(wire::body(bytes)).into_owned();
        let mut port = "";
        for line in body.lines() {
            if let Some(stream) = line.strip_prefix("m=") {
                port = stream.split(' ').nth(1).unwrap_or_default();
            }
            if line == phone::MARK && port != "0" {
                self.violation(
                    Some(call),
                    "a phone is told of a stream that its offer has turned off".to_owned(),
                );
            }
        }
        let keys = |line: &&str| line.starts_with("a=crypto:") || line.starts_with("a=fingerprint:");
        let written: Vec<&str> = body.lines().filter(keys).collect();
        // One pair of lines for each stream, as some phone of this call has written them.
        let is_whole = |pair: &[&str]| {
            let users = self.handsets.iter().filter(|handset| handset.seat.call == call);
            users.into_iter().any(|handset| phone::keys(&handset.user).lines().eq(pair.iter().copied()))
        };
        if !written.chunks(2).all(is_whole) {
            self.violation(Some(call), format!("keys were changed on their way: {written:?}"));
        }
    }
}
