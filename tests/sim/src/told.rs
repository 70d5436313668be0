//! What phones are told where there is a NAT: those outside of no address inside, and only of places that are the NAT's;
//! nobody of ICE. `docs/calls.md` §4, "NAT".

use std::net::SocketAddr;

use memchr::memmem;

use crate::carry::Ends;
use crate::model::receives;
use crate::queue::Seat;
use crate::wire;
use crate::world::World;

/// Where somebody outside was told that media is wanted: RTP, and RTCP if that has a port of its own.
pub(crate) type Told = (SocketAddr, Option<SocketAddr>);

impl World {
    /// A description leaves for a phone.
    pub(crate) fn check_shown(&mut self, seat: usize, bytes: &[u8]) {
        let body = wire::body(bytes);
        let Some(nat) = self.plan.house.nat.clone().filter(|_| !body.is_empty()) else { return };
        let Seat { call, .. } = self.handsets[seat].seat;
        let text = String::from_utf8_lossy(body);
        let wrong = match self.handsets[seat].outside {
            true => speaks_of_ice(&text).or_else(|| inside_of(&text, self.plan.house.v6)),
            false => speaks_of_ice(&text),
        };
        if let Some(line) = wrong {
            let what = wire::Headline(bytes);
            return self.violation(Some(call), format!("{what} shows across the NAT: {line}"));
        }
        if !self.handsets[seat].outside {
            return;
        }
        let Some(flows) = sdp::Session::parse(body).ok().and_then(|session| sdp::flows(&session).ok()) else {
            return;
        };
        let in_use: Vec<_> =
            flows.iter().filter(|flow| flow.protocol == sdp::Protocol::Udp && !flow.is_held()).collect();
        let places = in_use.iter().flat_map(|flow| {
            let rtcp = flow.rtcp.map(|rtcp| SocketAddr::new(rtcp.address, rtcp.port));
            [Some(flow.destination()), rtcp].into_iter().flatten()
        });
        if let Some(place) = places.clone().find(|place| !nat.owns(place.ip(), place.port())) {
            let what = wire::Headline(bytes);
            return self
                .violation(Some(call), format!("{what} tells of {place}, which is no place of the NAT"));
        }
        if in_use.len() > 1 {
            self.books.reader.note("NAT: several streams");
        }
        if let Some(first) = in_use.first() {
            let rtcp = first.rtcp.map(|rtcp| SocketAddr::new(rtcp.address, rtcp.port));
            self.remember(seat, (first.destination(), rtcp), bytes);
        }
    }

    fn remember(&mut self, seat: usize, told: Told, bytes: &[u8]) {
        let all = self.books.told.entry(seat).or_default();
        let is_last = all.last() == Some(&told);
        let is_inside_a_call = wire::status(bytes) == 0 && is_in_dialog(bytes);
        if is_last && is_inside_a_call {
            self.books.reader.note("NAT: the outside place stays");
        }
        all.retain(|other| *other != told);
        all.push(told);
    }

    /// A phone sends a description.
    pub(crate) fn note_ice(&mut self, bytes: &[u8]) {
        if self.plan.house.nat.is_some() && memmem::find(wire::body(bytes), b"\r\na=candidate:").is_some() {
            self.books.reader.note("NAT: ICE left out");
        }
    }

    /// The media of a call have passed as they must.
    pub(crate) fn note_translated(&mut self, call: usize) {
        if self.plan.house.nat.is_none() {
            return;
        }
        let life = self.gates.iter().map(|gate| gate.life).sum();
        let name = match self.books.translated.insert(call, life) {
            None if self.plan.calls[call].from_outside => "NAT: call from outside",
            None => "NAT: call from inside",
            Some(before) if before < life => "NAT: kept over a restart",
            Some(_) => return,
        };
        self.books.reader.note(name);
    }

    /// True if a packet between the ends of a call has become what it must: one from outside leads to a place that somebody
    /// inside has named, one from inside seems to come from the NAT.
    pub(crate) fn is_well_carried(&self, call: usize, sent: Ends, arrived: Ends) -> bool {
        let view = &self.model.views[call];
        let is_named = |end: usize| view.named[end].iter().any(|(_, (_, place))| receives(*place, arrived.1));
        self.model.is_translated(sent, arrived) && (is_named(0) || is_named(1))
    }

    /// Where a datagram that nobody asked for is sent: a place where a phone wants media, or an outside place.
    pub(crate) fn aim(&mut self, to: Seat) -> SocketAddr {
        let Some(nat) = self.plan.house.nat.clone() else { return *self.model.views[to.call].wanted(to) };
        match self.rng.below(4) {
            0 => *self.model.views[to.call].wanted(to),
            1 => {
                let port = nat.ports.start() + self.rng.below(nat.ports.len() as u64) as u16;
                SocketAddr::new(nat.addresses[0], port)
            }
            _ => {
                let told: Vec<SocketAddr> = self.books.told.values().flatten().map(|(rtp, _)| *rtp).collect();
                let chosen = self.rng.below(told.len().max(1) as u64) as usize;
                told.get(chosen).copied().unwrap_or_else(|| *self.model.views[to.call].wanted(to))
            }
        }
    }

    /// A NAT may refuse a call in which nothing goes wrong: no port is left, a stream goes over TCP, or another call has the
    /// same two places.
    pub(crate) fn is_hard_to_translate(&self, call: usize) -> bool {
        if self.plan.house.nat.is_none() {
            return false;
        }
        let (script, view) = (&self.plan.calls[call], &self.model.views[call]);
        let has_chat = script.parties().any(|party| party.extensions.shape.chat.is_some());
        let mut others = self.model.views.iter().enumerate().filter(|(other, _)| *other != call);
        let is_same = |other| [false, true].into_iter().all(|outside| view.shares(other, outside));
        self.plan.house.may_run_out() || has_chat || others.any(|(_, other)| is_same(other))
    }

    /// What keeps a datagram of a phone from reaching a place on the other side as it must. Somebody outside sends to the
    /// places it was told, one of which must lead there; one that was told nothing yet sends nothing.
    pub(crate) fn hindrance(&mut self, sender: usize, from: SocketAddr, to: SocketAddr) -> Option<String> {
        let outside = self.handsets[sender].outside;
        let places = match (outside, self.books.told.get(&sender)) {
            (false, _) => vec![to],
            (true, _) if self.plan.house.nat.is_none() => vec![to],
            (true, None) => return None,
            (true, Some(told)) => told.iter().flat_map(|(rtp, rtcp)| [Some(*rtp), *rtcp]).flatten().collect(),
        };
        let arrived: Vec<_> =
            places.iter().map(|place| (*place, self.carried(from, *place, outside))).collect();
        let is_right = |(place, arrived): &(SocketAddr, Result<Ends, usize>)| {
            let is_translated = |ends| self.model.is_translated((from, *place), ends);
            arrived.is_ok_and(|ends| ends.1 == to && is_translated(ends))
        };
        match arrived.iter().any(is_right) {
            true => None,
            false => Some(format!("{from} does not reach {to}: {arrived:?}")),
        }
    }
}

/// A line about ICE.
fn speaks_of_ice(text: &str) -> Option<String> {
    let names = ["a=candidate:", "a=ice-", "a=remote-candidates:", "a=end-of-candidates"];
    let line = text.lines().find(|line| names.iter().any(|name| line.starts_with(name)));
    line.map(ToOwned::to_owned)
}

/// A line with an address inside. The path of a chat (RFC 4975 §8) stays as it came, like every line that we do not read;
/// no packet of it passes.
fn inside_of(text: &str, v6: bool) -> Option<String> {
    let network = if v6 { "2001:db8:2:" } else { "10.0.40." };
    let mut lines = text.lines().filter(|line| !line.starts_with("a=path:"));
    lines.find(|line| line.contains(network)).map(ToOwned::to_owned)
}

fn is_in_dialog(bytes: &[u8]) -> bool {
    wire::field(bytes, "To").is_some_and(|to| to.contains(";tag="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inside_address_is_found_wherever_it_stands() {
        for line in [
            "o=- 1 1 IN IP4 10.0.40.7",
            "c=IN IP4 10.0.40.7",
            "a=rtcp:20003 IN IP4 10.0.40.11",
            "a=x:10.0.40.1",
        ] {
            let text = format!("v=0\r\ns=-\r\nc=IN IP4 203.0.113.200\r\n{line}\r\n");
            assert_eq!(inside_of(&text, false).as_deref(), Some(line));
        }
        assert_eq!(inside_of("c=IN IP4 203.0.113.200\r\n", false), None);
        assert!(inside_of("c=IN IP6 2001:db8:2::b\r\n", true).is_some());
        assert_eq!(inside_of("c=IN IP6 2001:db8:1::c8\r\n", true), None);
    }

    #[test]
    fn what_is_left_of_ice_is_found() {
        assert!(speaks_of_ice("m=audio 4000 RTP/AVP 0\r\na=ice-ufrag:x\r\n").is_some());
        assert_eq!(speaks_of_ice("m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n"), None);
    }
}
