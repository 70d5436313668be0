//! Which m-lines share a transport: the `BUNDLE` groups of RFC 8843 (which RFC 9143 replaces), RFC 5888 `mid`.

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
    for group in session.session_lines().filter_map(|line| line.attribute("group")) {
        let mut tags = words(group);
        if tags.next() != Some(b"BUNDLE") {
            continue;
        }
        if transports.is_empty() {
            transports.extend(0..session.streams());
        }
        let streams: SmallVec<[u16; 4]> = tags.filter_map(|tag| stream_of(session, tag)).collect();
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

fn stream_of(session: &Session<'_>, tag: &[u8]) -> Option<u16> {
    let has_tag = |stream: &u16| session.stream_lines(*stream).any(|line| line.attribute("mid") == Some(tag));
    (0..session.streams()).find(has_tag)
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
