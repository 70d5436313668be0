//! What an offer and its answer agree on: which of the offered ports, candidates and connections are in use.

use std::net::Ipv4Addr;

use sdp::{Flows, Ice, MediaFlow, Protocol, Setup};
use smallvec::SmallVec;

use crate::side::{Side, Sides};

/// The descriptions of offer and answer with what they have agreed on.
pub(super) fn agree(by: Side, offer: &Flows, answer: &Flows) -> Sides<Flows> {
    let mut offer = offer.clone();
    let mut answer = answer.clone();
    //= RFC 3264 §6: what the offer has turned off stays off, whatever the answer says.
    answer.retain(|flow| offer.iter().any(|offered| offered.stream == flow.stream));
    let is_simple = |flow: &MediaFlow| {
        flow.ice == Ice::None && flow.transport == flow.stream && flow.protocol == Protocol::Udp
    };
    if !offer.iter().chain(&answer).all(is_simple) {
        bundle(&mut offer, &mut answer);
        for stream in streams(&answer) {
            choose_candidates(stream, &mut offer, &mut answer);
            choose_opener(stream, &mut offer, &mut answer);
        }
    }
    mux(&mut offer, &mut answer);
    match by {
        Side::A => Sides { a: offer, b: answer },
        Side::B => Sides { a: answer, b: offer },
    }
}

fn streams(flows: &Flows) -> SmallVec<[u16; 8]> {
    let mut streams: SmallVec<_> = flows.iter().map(|flow| flow.stream).collect();
    streams.dedup();
    streams
}

/// RTCP on RTP's port.
//= RFC 5761 §5.1.1: RTCP moves to RTP's port only if offer and answer both say so.
fn mux(offer: &mut Flows, answer: &mut Flows) {
    let bit = |flow: &MediaFlow| 1u64.checked_shl(flow.stream.into()).unwrap_or(0);
    let muxing =
        |flows: &Flows| flows.iter().filter(|flow| flow.rtcp_mux).fold(0, |all, flow| all | bit(flow));
    let muxed = muxing(offer) & muxing(answer);
    for flows in [offer, answer] {
        flows.retain(|flow| flow.ice != Ice::Rtcp || bit(flow) & muxed == 0);
        flows.iter_mut().filter(|flow| bit(flow) & muxed != 0).for_each(|flow| flow.rtcp = None);
    }
}

/// The groups are those of the answer; the offerer's streams use the transport of the stream that the answer has tagged.
//= RFC 8843 §7.3.1, §7.4: the answer's tag picks the offerer's tagged stream as well.
fn bundle(offer: &mut Flows, answer: &mut Flows) {
    let group = |stream: u16| offer.iter().find(|flow| flow.stream == stream).map(|flow| flow.transport);
    //= RFC 8843 §7.3: only what the offer has put into one group may be in one group of the answer.
    for flow in answer.iter_mut().filter(|flow| group(flow.stream) != group(flow.transport)) {
        flow.transport = flow.stream;
    }
    for index in 0..offer.len() {
        let stream = offer[index].stream;
        let transport =
            answer.iter().find(|flow| flow.stream == stream).map_or(stream, |flow| flow.transport);
        offer[index].transport = transport;
        let tagged = offer.iter().find(|flow| flow.stream == transport && !flow.ice.is_candidate()).copied();
        if let Some(MediaFlow { address, rtp, rtcp, rtcp_mux, .. }) = tagged.filter(|_| transport != stream) {
            offer[index] = MediaFlow { address, rtp, rtcp, rtcp_mux, ..offer[index] };
        }
    }
    offer.retain(|flow| flow.transport == flow.stream || !flow.ice.is_candidate());
}

/// Candidates where both sides have them, else what `c=` and `m=` say.
//= RFC 8839 §4.3.3: an answer without ICE ends it; the stream is then as RFC 3264 has it.
fn choose_candidates(stream: u16, offer: &mut Flows, answer: &mut Flows) {
    let uses_ice = |flows: &Flows| flows.iter().any(|flow| flow.stream == stream && flow.ice != Ice::None);
    let both = uses_ice(offer) && uses_ice(answer);
    for flows in [offer, answer] {
        let here = |flow: &MediaFlow| flow.stream == stream;
        let has_candidates = flows.iter().any(|flow| here(flow) && flow.ice.is_candidate());
        if both && has_candidates {
            flows.retain(|flow| !here(flow) || flow.ice.is_candidate());
            continue;
        }
        flows.retain(|flow| !here(flow) || !flow.ice.is_candidate());
        for flow in flows.iter_mut().filter(|flow| here(flow) && flow.ice == Ice::Default) {
            match both {
                // None of its candidates can be used: nobody knows where its media will be.
                true => flow.address = Ipv4Addr::UNSPECIFIED.into(),
                false => flow.ice = Ice::None,
            }
        }
    }
}

/// Who opens the connection of a stream over TCP, written into both.
//= RFC 4145 §4.1: the answer chooses where the offer leaves the choice; unsaid is active in an offer, passive in an answer.
fn choose_opener(stream: u16, offer: &mut Flows, answer: &mut Flows) {
    let said = |flows: &Flows| flows.iter().find(|flow| flow.stream == stream).map(|flow| flow.setup);
    let setups = match (said(offer), said(answer)) {
        (Some(Setup::Holdconn), _) | (_, Some(Setup::Holdconn)) => (Setup::Holdconn, Setup::Holdconn),
        (Some(Setup::Passive), _) => (Setup::Passive, Setup::Active),
        (Some(Setup::Actpass), Some(Setup::Active)) => (Setup::Passive, Setup::Active),
        (_, _) => (Setup::Active, Setup::Passive),
    };
    for (flows, setup) in [(offer, setups.0), (answer, setups.1)] {
        let over_tcp = |flow: &&mut MediaFlow| flow.stream == stream && flow.protocol == Protocol::Tcp;
        flows.iter_mut().filter(over_tcp).for_each(|flow| flow.setup = setup);
    }
}

/// Where both sides go on with the connection they have, it stays as it is, whatever their lines would say of a new one.
//= RFC 4145 §5: `existing` in offer and answer; a new one is opened if either says so or nothing.
pub(super) fn keep_connections(agreed: &mut Sides<Flows>, before: &Sides<Flows>) {
    let tcp = |flows: &Flows, stream: u16| {
        flows.iter().position(|flow| flow.stream == stream && flow.protocol == Protocol::Tcp)
    };
    for index in 0..agreed.a.len() {
        let stream = agreed.a[index].stream;
        let (Some(a), Some(b)) = (tcp(&agreed.a, stream), tcp(&agreed.b, stream)) else { continue };
        let (Some(old_a), Some(old_b)) = (tcp(&before.a, stream), tcp(&before.b, stream)) else { continue };
        if a == index && agreed.a[a].existing && agreed.b[b].existing {
            agreed.a[a] = MediaFlow { direction: agreed.a[a].direction, ..before.a[old_a] };
            agreed.b[b] = MediaFlow { direction: agreed.b[b].direction, ..before.b[old_b] };
        }
    }
}

/// The flows of one side that are in use on both, each with its counterpart on the other; candidates of ICE each with
/// every one it can be paired with.
pub(super) fn counterparts<'f>(
    flows: &'f Flows,
    peers: &'f Flows,
) -> impl Iterator<Item = (&'f MediaFlow, &'f MediaFlow)> {
    flows.iter().enumerate().flat_map(move |(index, flow)| {
        let same = |other: &&MediaFlow| other.stream == flow.stream;
        let position = flows[..index].iter().filter(same).count();
        // With fewer port pairs on the other side, its first stands for the missing ones.
        let plain = peers.iter().filter(same).nth(position).or_else(|| peers.iter().find(same));
        let pairs = peers.iter().filter(move |peer| peer.stream == flow.stream && can_pair(flow, peer));
        let (plain, pairs) = match flow.ice.is_candidate() {
            true => (None, Some(pairs)),
            false => (plain, None),
        };
        plain.into_iter().chain(pairs.into_iter().flatten()).map(move |peer| (flow, peer))
    })
}

/// Whether two flows of a stream with ICE belong together; one that is held stands for candidates nobody can use.
//= RFC 8445 §6.1.2.2: candidates are paired with those of the same component and the same IP version.
fn can_pair(flow: &MediaFlow, peer: &MediaFlow) -> bool {
    peer.is_held() || (peer.ice == flow.ice && peer.address.is_ipv4() == flow.address.is_ipv4())
}
