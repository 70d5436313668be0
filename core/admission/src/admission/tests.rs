//! What admission promises.

use std::time::Duration;

use machine::{Instant, Outbox, Rng};
use sip::transport::{ConnectionId, Hop, ListenerId, Protocol};

use super::*;
use crate::config::WhenToBan;

const S: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config {
        source: Rates { requests: 100, calls: 10, registrations: 5 },
        calls_at_once: 3,
        realms: vec![Rates { requests: 0, calls: 40, registrations: 0 }],
        never_ban: vec!["198.51.100.0/28".parse().unwrap()],
        ban: Some(WhenToBan { offences: 5, within: 60 * S, lasts: 600 * S }),
        scanners: vec!["friendly-scanner".into()],
        emergency: vec!["112".into()],
        wait: Duration::from_millis(50),
    }
}

struct World {
    admission: Admission,
    now: Instant,
    out: Outbox<Output>,
}

impl World {
    fn new() -> Self {
        let admission = Admission::new(config(), &mut Rng::from_number(1));
        Self { admission, now: Instant::ZERO + 1000 * S, out: Outbox::new() }
    }

    fn says(&mut self, hop: Hop, text: &str) -> Verdict {
        let glance = Glance::of(text.as_bytes());
        self.admission.judge(self.now, (0, hop), &glance, |tag| tag == "known", &mut self.out)
    }

    /// How many of so many go on.
    fn pass(&mut self, hop: Hop, text: &str, count: usize) -> usize {
        let heard = |verdict| matches!(verdict, Verdict::Now | Verdict::NewCall | Verdict::Emergency);
        (0..count).filter(|_| heard(self.says(hop, text))).count()
    }

    fn offend(&mut self, hop: Hop, count: usize) {
        let (address, proof) = (hop.remote.ip(), Proof::of(hop.protocol));
        for _ in 0..count {
            self.admission.offence(self.now, address, Offence::Unroutable, proof, &mut self.out);
        }
    }

    /// An INVITE to nobody is refused with this tag.
    fn refused(&mut self, hop: Hop, tag: &str) {
        let (address, proof) = (hop.remote.ip(), Proof::Asked(tag));
        self.admission.offence(self.now, address, Offence::Unroutable, proof, &mut self.out);
    }

    fn acknowledges(&mut self, hop: Hop, tag: &str) {
        let ack = format!("ACK sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag={tag}\r\n\r\n");
        assert_eq!(self.says(hop, &ack), Verdict::Now);
    }

    fn is_banned(&mut self, hop: Hop) -> bool {
        self.says(hop, OPTIONS) == Verdict::Drop(Why::Banned)
    }
}

fn udp(address: &str) -> Hop {
    let remote = std::net::SocketAddr::new(address.parse().unwrap(), 5060);
    Hop { listener: ListenerId(0), protocol: Protocol::Udp, remote, connection: None, name: None }
}

fn tcp(address: &str) -> Hop {
    Hop { protocol: Protocol::Tcp, connection: Some(ConnectionId(1)), ..udp(address) }
}

const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n";
const INVITE: &str = "INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n";
const REGISTER: &str = "REGISTER sip:b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n";
const IN_CALL: &str = "BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=known\r\n\r\n";
const SCAN: &str = "OPTIONS sip:a@b SIP/2.0\r\nUser-Agent: friendly-scanner\r\nTo: <sip:a@b>\r\n\r\n";

#[test]
fn each_source_has_rates_of_its_own() {
    let mut world = World::new();
    assert_eq!(world.pass(udp("203.0.113.1"), OPTIONS, 1_000), 200);
    assert_eq!(world.says(udp("203.0.113.1"), OPTIONS), Verdict::Drop(Why::SourceRequests));
    assert_eq!(world.pass(udp("203.0.113.2"), INVITE, 100), 20);
    assert_eq!(world.says(udp("203.0.113.2"), INVITE), Verdict::Refuse(Why::SourceCalls));
    assert_eq!(world.pass(udp("203.0.113.3"), REGISTER, 100), 10);
    assert_eq!(world.says(udp("203.0.113.3"), REGISTER), Verdict::Refuse(Why::SourceRegistrations));
    assert_eq!(world.pass(udp("203.0.113.4"), OPTIONS, 1), 1);
    world.now += S;
    assert_eq!(world.pass(udp("203.0.113.2"), INVITE, 100), 10);
}

#[test]
fn a_slash_64_is_one_source() {
    let mut world = World::new();
    let each = (0..100).map(|host| udp(&format!("2001:db8:0:7::{host:x}")));
    let passed: usize = each.map(|hop| world.pass(hop, INVITE, 1)).sum();
    assert_eq!(passed, 20);
    assert_eq!(world.pass(udp("2001:db8:0:8::1"), INVITE, 1), 1);
}

#[test]
fn the_realm_s_rate_holds_for_all_sources_together_and_for_next_hops() {
    let mut world = World::new();
    let strangers = (1..=10).map(|host| udp(&format!("203.0.113.{host}")));
    let passed: usize = strangers.map(|hop| world.pass(hop, INVITE, 10)).sum();
    assert_eq!(passed, 80);
    assert_eq!(world.says(udp("198.51.100.1"), INVITE), Verdict::Refuse(Why::RealmCalls));
}

#[test]
fn whoever_is_never_banned_has_no_rates_of_its_own() {
    let mut world = World::new();
    assert_eq!(world.pass(udp("198.51.100.1"), OPTIONS, 10_000), 10_000);
    world.admission.trust("203.0.113.7".parse().unwrap(), &mut world.out);
    assert_eq!(world.pass(udp("203.0.113.7"), SCAN, 10_000), 10_000);
}

#[test]
fn requests_inside_calls_pass_whatever_somebody_sends_in_their_name() {
    let mut world = World::new();
    assert_eq!(world.pass(udp("203.0.113.1"), OPTIONS, 1_000), 200);
    assert_eq!(world.says(udp("203.0.113.1"), IN_CALL), Verdict::Now);
    let guess = IN_CALL.replace("known", "guess");
    assert_eq!(world.says(udp("203.0.113.1"), &guess), Verdict::Drop(Why::SourceRequests));
}

#[test]
fn emergency_calls_pass_every_rate() {
    let mut world = World::new();
    world.pass(udp("203.0.113.1"), INVITE, 1_000);
    for uri in ["urn:service:sos", "urn:service:sos.fire", "sip:112@b", "tel:112", "sips:112@b;user=phone"] {
        let invite = INVITE.replacen("sip:a@b", uri, 1);
        assert_eq!(world.says(udp("203.0.113.1"), &invite), Verdict::Emergency, "{uri}");
    }
    let sos = INVITE.replacen("sip:a@b", "urn:service:sos", 1);
    assert_eq!(world.pass(udp("203.0.113.1"), &sos, 1_000), 5, "what is left of ten at once");
    for uri in ["urn:service:sosx", "sip:1123@b", "sip:a@112", "sip:x;112@b"] {
        let invite = INVITE.replacen("sip:a@b", uri, 1);
        assert_ne!(world.says(udp("203.0.113.1"), &invite), Verdict::Emergency, "{uri}");
    }
}

#[test]
fn emergency_calls_of_forged_sources_have_one_bound() {
    let mut world = World::new();
    let sos = INVITE.replacen("sip:a@b", "urn:service:sos", 1);
    let hops = (0..1_000).map(|host| udp(&format!("203.0.{}.{}", host / 250, host % 250)));
    let heard = hops.filter(|hop| world.says(*hop, &sos) == Verdict::Emergency).count();
    assert_eq!(heard, 100, "two seconds' worth");
    assert_eq!(world.says(udp("198.51.100.1"), &sos), Verdict::Emergency, "of a source that is trusted");
}

#[test]
fn whoever_has_an_established_call_is_banned_after_it() {
    let mut world = World::new();
    let (hop, address) = (tcp("203.0.113.1"), "203.0.113.1".parse().unwrap());
    world.admission.call_began(address);
    world.admission.call_established(address);
    world.offend(hop, 100);
    assert!(!world.is_banned(hop));
    world.admission.call_ended(address, true);
    world.offend(hop, 1);
    assert!(world.is_banned(hop));
    // A call that only rings protects nobody.
    let (hop, address) = (tcp("203.0.113.2"), "203.0.113.2".parse().unwrap());
    world.admission.call_began(address);
    world.offend(hop, 5);
    assert!(world.is_banned(hop));
}

#[test]
fn whoever_is_no_next_hop_any_more_is_like_others() {
    let mut world = World::new();
    let [old, new] = ["203.0.113.7", "203.0.113.8"].map(|text| text.parse().unwrap());
    world.admission.trust(old, &mut world.out);
    world.admission.trust_only([new], &mut world.out);
    assert!(!world.admission.is_trusted(old) && world.admission.is_trusted(new));
}

#[test]
fn calls_at_a_time_are_counted_by_source() {
    let mut world = World::new();
    let address = "203.0.113.1".parse().unwrap();
    (0..3).for_each(|_| world.admission.call_began(address));
    assert_eq!(world.says(udp("203.0.113.1"), INVITE), Verdict::Refuse(Why::SourceCallsAtOnce));
    world.admission.call_ended(address, false);
    assert_eq!(world.says(udp("203.0.113.1"), INVITE), Verdict::NewCall);
    (0..9).for_each(|_| world.admission.call_ended(address, false));
    assert!(world.admission.calls.is_empty());
}

#[test]
fn an_offender_over_a_connection_is_banned_for_a_while() {
    let mut world = World::new();
    world.offend(tcp("203.0.113.1"), 4);
    assert!(!world.is_banned(udp("203.0.113.1")));
    world.offend(tcp("203.0.113.1"), 1);
    assert!(world.is_banned(udp("203.0.113.1")) && world.is_banned(tcp("203.0.113.1")));
    let source = Source::of("203.0.113.1".parse().unwrap());
    assert!(world.out.iter().any(|output| *output == Output::Ban(source, 600 * S)));
    world.now += 600 * S;
    world.admission.handle_timeout(world.now, &mut world.out);
    assert!(!world.is_banned(udp("203.0.113.1")));
    assert_eq!(world.admission.next_timeout(), None);
}

#[test]
fn offences_long_ago_do_not_count() {
    let mut world = World::new();
    world.offend(tcp("203.0.113.1"), 4);
    world.now += 61 * S;
    world.offend(tcp("203.0.113.1"), 4);
    assert!(!world.is_banned(udp("203.0.113.1")));
}

#[test]
fn datagrams_that_anybody_may_have_written_ban_nobody() {
    let mut world = World::new();
    world.offend(udp("203.0.113.1"), 10_000);
    assert_eq!(world.pass(udp("203.0.113.1"), SCAN, 100), 0);
    world.pass(udp("203.0.113.1"), "GET / HTTP/1.1\r\n", 100);
    world.pass(udp("203.0.113.1"), OPTIONS, 100_000);
    assert!(world.admission.bans().is_empty());
    // An ACK whose tag is a guess proves nothing.
    let _ = world.says(udp("203.0.113.1"), "ACK sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=guess\r\n\r\n");
    assert!(world.admission.bans().is_empty());
}

#[test]
fn an_acknowledged_refusal_counts_once_and_for_nothing_else() {
    let mut world = World::new();
    let (hop, other) = (udp("203.0.113.1"), udp("203.0.113.2"));
    for number in 0..4 {
        let tag = format!("secret{number}");
        world.refused(hop, &tag);
        world.acknowledges(other, &tag);
        world.acknowledges(hop, "guess");
        world.acknowledges(hop, &tag);
        // Repetitions of the ACK.
        world.acknowledges(hop, &tag);
        // What somebody else writes in its name, before and after.
        world.offend(hop, 10_000);
        world.pass(hop, SCAN, 5);
        assert!(world.admission.bans().is_empty(), "after {number}");
        world.now += S;
    }
    world.refused(hop, "secret4");
    assert!(world.admission.bans().is_empty());
    world.acknowledges(hop, "secret4");
    assert!(world.is_banned(hop) && !world.is_banned(other));
    let proven = |output: &&Output| matches!(output, Output::Event(Event::Rejected { proven: true, .. }));
    assert_eq!(world.out.iter().filter(proven).count(), 5);
}

#[test]
fn whoever_is_too_fast_is_kept_to_its_rate_and_not_banned() {
    let mut world = World::new();
    for _ in 0..100 {
        world.pass(tcp("203.0.113.1"), OPTIONS, 1_000);
        world.now += S;
    }
    assert!(world.admission.bans().is_empty());
    let what = Offence::Flood;
    let address = "203.0.113.1".parse().unwrap();
    let said = Output::Event(Event::Rejected { address, what, proven: true });
    assert!(world.out.iter().any(|output| *output == said));
}

#[test]
fn a_tag_that_nobody_knows_makes_an_invite_no_less_a_call() {
    let mut world = World::new();
    let invite = INVITE.replacen("<sip:a@b>", "<sip:a@b>;tag=guess", 1);
    assert_eq!(world.says(udp("203.0.113.1"), &invite), Verdict::NewCall);
    assert_eq!(world.pass(udp("203.0.113.1"), &invite, 100), 19);
    assert_eq!(world.says(udp("203.0.113.1"), &invite), Verdict::Refuse(Why::SourceCalls));
    // Neither does one in a display name, nor an empty line in front.
    for dodge in [INVITE.replacen("<sip:a@b>", "\"x>;tag=1\" <sip:a@b>", 1), format!("\r\n{INVITE}")] {
        assert_eq!(world.says(udp("203.0.113.1"), &dodge), Verdict::Refuse(Why::SourceCalls), "{dodge}");
    }
    let known = INVITE.replacen("<sip:a@b>", "<sip:a@b>;tag=known", 1);
    assert_eq!(world.says(udp("203.0.113.1"), &known), Verdict::Now);
}

#[test]
fn the_allowlist_always_wins() {
    let mut world = World::new();
    world.offend(tcp("198.51.100.1"), 1_000);
    assert!(world.admission.bans().is_empty());
    let address = "198.51.100.1".parse().unwrap();
    let refused = world.admission.ban(world.now, address, S, BanReason::Operator, &mut world.out);
    assert_eq!(refused, Err("198.51.100.0/28".parse().unwrap()));
    // A next hop that is found out later is let in again.
    world.offend(tcp("203.0.113.1"), 5);
    assert!(world.is_banned(udp("203.0.113.1")));
    world.admission.trust("203.0.113.1".parse().unwrap(), &mut world.out);
    assert!(!world.is_banned(udp("203.0.113.1")));
}

#[test]
fn the_operator_bans_and_unbans() {
    let mut world = World::new();
    let address = "2001:db8::7".parse().unwrap();
    let source = world.admission.ban(world.now, address, S, BanReason::Operator, &mut world.out).unwrap();
    assert!(world.is_banned(udp("2001:db8::8")));
    assert!(world.admission.unban(source, &mut world.out));
    assert!(!world.admission.unban(source, &mut world.out));
    assert!(!world.is_banned(udp("2001:db8::8")));
}

#[test]
fn floods_write_few_lines() {
    let mut world = World::new();
    for host in 0..10_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0xcb00_0000 + host).into();
        world.admission.offence(world.now, address, Offence::Nonsense, Proof::None, &mut world.out);
    }
    assert_eq!(world.out.drain().count(), 50);
    // What is proven has lines of its own, which forgers cannot use up.
    world.offend(tcp("203.0.113.1"), 1);
    let address = "203.0.113.1".parse().unwrap();
    let said = Event::Rejected { address, what: Offence::Unroutable, proven: true };
    assert!(world.out.iter().any(|output| *output == Output::Event(said.clone())));
    assert!(world.out.iter().any(|output| *output == Output::Event(Event::LeftOut(9_950))));
}
