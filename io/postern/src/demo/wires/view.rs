//! What the packets on both cables mean, one after the other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;

use crate::demo::media::{self, Phase, SENTINEL_PORT};
use crate::demo::verdict::Count;

/// Protocol number (IANA).
const UDP: u8 = 17;
const SIP_PORT: u16 = 5060;

/// Where a call was, by the SIP messages on the wires, when a packet entered the firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Time {
    /// No INVITE has come.
    Before,
    /// No final response has left.
    Ringing,
    /// The caller has a 2xx, and nobody has said BYE.
    Talking,
    /// The call was refused, or somebody has said BYE.
    Closing,
    /// The sentinel of the end has come.
    After,
}

const TIMES: usize = 5;

/// One packet of the call's flows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) inward: bool,
    time: Time,
    pub(super) phase: u8,
    passed: bool,
}

/// Packets of one direction by time: entered as `sent`, left on the other wire as `heard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Way {
    pub(crate) before: Count,
    pub(crate) ringing: Count,
    pub(crate) talking: Count,
    pub(crate) closing: Count,
    pub(crate) after: Count,
    /// A packet passed although one after the answer and before it had not.
    #[serde(skip)]
    pub(crate) has_gap: bool,
}

impl Way {
    pub(crate) fn all(&self) -> [Count; TIMES] {
        [self.before, self.ringing, self.talking, self.closing, self.after]
    }
}

/// What was seen of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Seen {
    /// From the caller (outside) to the callee (inside).
    pub(crate) inward: Way,
    /// From the callee to the caller.
    pub(crate) outward: Way,
    /// Packets that were forwarded, either way, and belong to no flow of the call.
    pub(crate) strange: u64,
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct View {
    /// The firewall's own addresses.
    own: [IpAddr; 2],
    /// RTP of caller and callee.
    media: [SocketAddr; 2],
    now: Time,
    packets: Vec<Packet>,
    /// By direction, port and number.
    places: BTreeMap<(bool, u16, u16), usize>,
    strange: u64,
}

impl View {
    /// Before anything was seen; `own` are the firewall's addresses, `media` where caller and callee want RTP.
    pub(super) fn new(own: [IpAddr; 2], media: [SocketAddr; 2]) -> Self {
        let (packets, places) = (Vec::new(), BTreeMap::new());
        Self { own, media, now: Time::Before, packets, places, strange: 0 }
    }

    /// One packet on one wire; nothing if it is no IPv4.
    pub(super) fn take(&mut self, is_outside: bool, leaves: bool, ip: &[u8]) -> Option<()> {
        let (first, addresses) = (*ip.first()?, ip.get(12..20)?);
        if first >> 4 != 4 {
            return None;
        }
        let address = |at: usize| {
            IpAddr::V4(Ipv4Addr::new(addresses[at], addresses[at + 1], addresses[at + 2], addresses[at + 3]))
        };
        let (source, own) = (address(0), self.own);
        // What is no UDP has no ports, and is of no flow.
        let udp = ip.get(usize::from(first & 0xf) * 4..).filter(|_| ip.get(9) == Some(&UDP));
        let port = |at| {
            udp.and_then(|udp| udp.get(at..at + 2))
                .map_or(0, |two| u16::from(two[0]) << 8 | u16::from(two[1]))
        };
        let (from, to) = (SocketAddr::new(source, port(0)), SocketAddr::new(address(4), port(2)));
        let octets = udp.and_then(|udp| udp.get(8..)).unwrap_or_default();
        if from.port() == SIP_PORT && to.port() == SIP_PORT {
            self.now = self.now.max(said(is_outside, leaves, octets).unwrap_or(Time::Before));
        }
        let inward = is_outside != leaves;
        match self.number(inward, from, to, octets) {
            Some((key, phase)) if !leaves => {
                self.places.insert(key, self.packets.len());
                self.packets.push(Packet { inward, time: self.now, phase, passed: false });
            }
            Some((key, _)) => match self.places.get(&key).and_then(|place| self.packets.get_mut(*place)) {
                Some(packet) => packet.passed = true,
                None => self.strange += 1,
            },
            None if to.port() == SENTINEL_PORT && media::phase_of(octets) == Some(Phase::After as u8) => {
                self.now = Time::After;
            }
            None if to.port() == SENTINEL_PORT => {}
            None if leaves && !own.contains(&source) => self.strange += 1,
            None => {}
        }
        Some(())
    }

    /// Which packet of the call's flows this is, and its phase; none if it is of no flow.
    fn number(
        &self,
        inward: bool,
        from: SocketAddr,
        to: SocketAddr,
        octets: &[u8],
    ) -> Option<((bool, u16, u16), u8)> {
        let [caller, callee] = self.media;
        let (source, target) = if inward { (caller, callee) } else { (callee, caller) };
        // RTP, and RTCP behind it.
        let is_flow = [0, 1].iter().any(|more| {
            let at = |media: SocketAddr| SocketAddr::new(media.ip(), media.port() + more);
            from == at(source) && to == at(target)
        });
        let phase = media::phase_of(octets).filter(|_| is_flow)?;
        Some(((inward, to.port(), media::sequence_of(octets)), phase))
    }

    pub(super) fn count(&self, which: impl Fn(&Packet) -> bool) -> Count {
        let of = |wanted: fn(&Packet) -> bool| {
            self.packets.iter().filter(|packet| which(packet) && wanted(packet)).count() as u64
        };
        Count { sent: of(|_| true), heard: of(|packet| packet.passed) }
    }

    /// What was seen up to now.
    pub(super) fn seen(&self) -> Seen {
        Seen { inward: self.way(true), outward: self.way(false), strange: self.strange }
    }

    fn way(&self, inward: bool) -> Way {
        let at = |time| self.count(|packet| packet.inward == inward && packet.time == time);
        let since =
            self.packets.iter().filter(|packet| packet.inward == inward && packet.time >= Time::Talking);
        Way {
            before: at(Time::Before),
            ringing: at(Time::Ringing),
            talking: at(Time::Talking),
            closing: at(Time::Closing),
            after: at(Time::After),
            has_gap: since.skip_while(|packet| packet.passed).any(|packet| packet.passed),
        }
    }
}

/// The time that begins with a SIP message, if one does.
fn said(is_outside: bool, leaves: bool, message: &[u8]) -> Option<Time> {
    let text = String::from_utf8_lossy(message);
    let is_of_invite = text.lines().any(|line| line.starts_with("CSeq:") && line.ends_with("INVITE"));
    match text.split(' ').next()? {
        "INVITE" if is_outside && !leaves => Some(Time::Ringing),
        "BYE" => Some(Time::Closing),
        "SIP/2.0" if is_outside && leaves && is_of_invite => match text.as_bytes().get(8)? {
            b'1' => None,
            b'2' => Some(Time::Talking),
            _ => Some(Time::Closing),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [&str; 2] = ["198.51.100.1:5060", "10.0.40.1:5060"];
    const CALLER: &str = "198.51.100.20:20000";
    const CALLEE: &str = "10.0.40.20:22000";

    struct Bench(View);

    impl Bench {
        fn new() -> Self {
            let ip = |at: &str| at.parse::<SocketAddr>().unwrap().ip();
            Self(View::new(OWN.map(ip), [CALLER, CALLEE].map(|at| at.parse().unwrap())))
        }

        fn wire(&mut self, (is_outside, leaves): (bool, bool), from: &str, to: &str, octets: &[u8]) {
            let [from, to]: [SocketAddr; 2] = [from, to].map(|at| at.parse().unwrap());
            let mut ip = vec![0; 28];
            (ip[0], ip[9]) = (0x45, UDP);
            for (at, address) in [(12, from), (16, to)] {
                let IpAddr::V4(four) = address.ip() else { unreachable!("IPv4 here") };
                ip[at..at + 4].copy_from_slice(&four.octets());
            }
            ip[20..22].copy_from_slice(&from.port().to_be_bytes());
            ip[22..24].copy_from_slice(&to.port().to_be_bytes());
            ip.extend_from_slice(octets);
            self.0.take(is_outside, leaves, &ip).unwrap();
        }

        /// A packet from the caller, and whether the firewall lets it pass.
        fn says(&mut self, number: u16, phase: Phase, passes: bool) {
            let packet = media::packet(number, phase as u8);
            self.wire((true, false), CALLER, CALLEE, &packet);
            if passes {
                self.wire((false, true), CALLER, CALLEE, &packet);
            }
        }

        fn sip(&mut self, leaves: bool, message: &str) {
            let text = format!("{message}\r\nCSeq: 1 INVITE\r\n\r\n");
            let (from, to) = ("198.51.100.20:5060", OWN[0]);
            let (from, to) = if leaves { (to, from) } else { (from, to) };
            self.wire((true, leaves), from, to, text.as_bytes());
        }
    }

    #[test]
    fn packets_belong_to_the_time_the_messages_on_the_wire_say() {
        let mut bench = Bench::new();
        bench.says(1, Phase::Before, false);
        bench.sip(false, "INVITE sip:bob@198.51.100.1 SIP/2.0");
        bench.sip(true, "SIP/2.0 180 Ringing");
        bench.says(2, Phase::Between, false);
        bench.sip(true, "SIP/2.0 200 OK");
        bench.says(3, Phase::During, true);
        bench.sip(false, "BYE sip:bob@198.51.100.1 SIP/2.0");
        bench.says(4, Phase::Between, false);
        bench.wire((true, false), "198.51.100.20:7", "10.0.40.20:7", &media::packet(0, Phase::After as u8));
        bench.says(5, Phase::After, false);
        let Seen { inward, outward, strange } = bench.0.seen();
        let (lost, passed) = (Count { sent: 1, heard: 0 }, Count { sent: 1, heard: 1 });
        assert_eq!(inward.all(), [lost, lost, passed, lost, lost]);
        assert_eq!((outward.all(), strange, inward.has_gap), ([Count { sent: 0, heard: 0 }; 5], 0, false));
        assert_eq!(bench.0.count(|packet| packet.phase == Phase::During as u8), passed);
    }

    #[test]
    fn what_passes_again_is_a_gap_and_what_is_of_no_flow_is_strange() {
        let mut bench = Bench::new();
        bench.sip(false, "INVITE sip:bob@198.51.100.1 SIP/2.0");
        bench.sip(true, "SIP/2.0 200 OK");
        for (number, passes) in [(1, true), (2, false), (3, true)] {
            bench.says(number, Phase::During, passes);
        }
        let never_came = media::packet(9, Phase::During as u8);
        bench.wire((false, true), CALLER, CALLEE, &never_came);
        let elsewhere = media::packet(1, Phase::During as u8);
        bench.wire((false, true), CALLER, "10.0.40.20:22004", &elsewhere);
        bench.wire((false, true), "198.51.100.99:20000", CALLEE, &elsewhere);
        // What is stopped, and what the firewall says itself, is not.
        bench.wire((true, false), "198.51.100.99:20000", CALLEE, &elsewhere);
        bench.wire((false, true), OWN[1], "10.0.40.20:5060", b"INVITE sip:bob@10.0.40.20 SIP/2.0");
        let seen = bench.0.seen();
        assert!(seen.inward.has_gap);
        assert_eq!(seen.strange, 3);
    }
}
