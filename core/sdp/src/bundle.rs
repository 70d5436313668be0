//! Which m-lines share a transport: the `BUNDLE` groups of RFC 8843 (which RFC 9143 replaces), RFC 5888 `mid`.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::line::words;
use crate::media::MediaFlow;
use crate::{Flows, Session};

/// By stream: the stream whose transport it is bundled into, or itself. Empty without any group.
pub(crate) type Transports = SmallVec<[u16; 4]>;

/// Reads the groups of a description.
//= RFC 8843 §5: a stream is in a group if its mid is in the group's list; §7.2.1, §7.3.1: the first of the list is the
//= tagged one, whose transport all of them use.
pub(crate) fn transports(session: &Session<'_>) -> Transports {
    let mut transports = Transports::new();
    let mut mids = None;
    for group in session.session_lines().filter_map(|line| line.attribute("group")) {
        let mut tags = words(group);
        if tags.next() != Some(b"BUNDLE") {
            continue;
        }
        if transports.is_empty() {
            transports.extend(0..session.streams());
        }
        let mids = mids.get_or_insert_with(|| Mids::of(session));
        let streams: SmallVec<[u16; 4]> = tags.filter_map(|tag| mids.streams.get(tag).copied()).collect();
        //= RFC 8843 §7.3.1: a stream with port 0 is passed over.
        let in_use = |stream: &&u16| session.is_in_use(**stream);
        let Some(tagged) = streams.iter().find(in_use).or_else(|| streams.first()).copied() else { continue };
        for stream in streams {
            if let Some(transport) = transports.get_mut(usize::from(stream)) {
                *transport = tagged;
            }
        }
    }
    transports
}

/// The first stream that has a mid, for each mid: read once, because lists and lines may both be long.
struct Mids<'s> {
    streams: BTreeMap<&'s [u8], u16>,
}

impl<'s> Mids<'s> {
    fn of(session: &'s Session<'_>) -> Self {
        let mut streams = BTreeMap::new();
        for stream in 0..session.streams() {
            for mid in session.stream_lines(stream).filter_map(|line| line.attribute("mid")) {
                streams.entry(mid).or_insert(stream);
            }
        }
        Self { streams }
    }
}

/// Gives streams without a port of their own the transport they are bundled into, and takes out those that have none.
pub(crate) fn settle(flows: &mut Flows) {
    for index in 0..flows.len() {
        let flow = flows[index];
        if flow.transport == flow.stream {
            continue;
        }
        let is_tagged = |other: &&MediaFlow| other.stream == flow.transport && other.rtp != 0;
        match flows.iter().find(is_tagged).copied() {
            Some(tagged) if flow.rtp == 0 || flow.destination() == tagged.destination() => {
                let MediaFlow { address, rtp, rtcp, rtcp_mux, ice, .. } = tagged;
                flows[index] = MediaFlow { address, rtp, rtcp, rtcp_mux, ice, ..flow };
            }
            Some(_) => {}
            None => flows[index].transport = flow.stream,
        }
    }
    flows.retain(|flow| flow.rtp != 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_and_many_mids_are_read_once() {
        let lines = "a=mid:x\r\n".repeat(900);
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{} v a\r\n\
            m=audio 4000 RTP/AVP 0\r\n{lines}a=mid:a\r\nm=video 4002 RTP/AVP 96\r\n{lines}a=mid:v\r\n",
            " y".repeat(4000)
        );
        let session = Session::parse(text.as_bytes()).unwrap();
        assert_eq!(transports(&session).as_slice(), [1, 1]);
        let session_mids = Mids::of(&session);
        assert_eq!(session_mids.streams.len(), 3);
        assert_eq!(session_mids.streams.get(&b"x"[..]), Some(&0));
    }
}
