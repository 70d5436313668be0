//! The SDP parser, the flows it finds, the policy, and patches.

use std::net::IpAddr;

use sdp::{MediaPolicy, Origin, Session, limits};

use crate::{Corpus, Target};

/// See [`run`].
pub const TARGET: Target = Target {
    name: "sdp",
    run,
    mutations: 100_000,
    corpora: &[Corpus::Cases("sdp", "sdp", descriptions)],
    words: &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b" ",
        b"=",
        b"/",
        b"/2",
        b":",
        b"0",
        b"-1",
        b"65535",
        b"65536",
        b"4294967296",
        b"v=0\n",
        b"o=- 1 1 IN IP4 10.0.0.7\n",
        b"s=-\n",
        b"t=0 0\n",
        b"c=IN IP4 10.0.0.7\n",
        b"c=IN IP6 2001:db8:40::7\n",
        b"c=IN IP4 0.0.0.0\n",
        b"c=IN IP4 224.2.1.1/127/3\n",
        b"m=audio 20000 RTP/AVP 0\n",
        b"m=video 65535/4 RTP/AVP 96\n",
        b"m=image 20010 udptl t38\n",
        b"m=audio 0 RTP/AVP 0\n",
        b"a=rtcp:20003\n",
        b"a=rtcp:20003 IN IP4 10.0.0.8\n",
        b"a=rtcp-mux\n",
        b"a=rtcp-mux-only\n",
        b"a=sendonly\n",
        b"a=inactive\n",
        b"IN",
        b"IP4",
        b"IP6",
        b"TCP",
        b"RTP/SAVPF",
        b"UDP/TLS/RTP/SAVPF",
        b"::ffff:10.0.0.7",
        b"---\n",
    ],
};

/// The description of a case of `tests/sdp`, once with each end of line.
fn descriptions(case: &str) -> Vec<Vec<u8>> {
    let text = case.split("---\n").next().unwrap_or(case);
    let text: String = text.split_inclusive('\n').skip_while(|line| line.starts_with('#')).collect();
    vec![text.replace('\n', "\r\n").into(), text.into()]
}

/// Reads a description, asks what it wants, and changes it in every way there is.
pub fn run(input: &[u8]) {
    let session = match Session::parse(input) {
        Ok(session) => session,
        Err(error) => return assert!(error.line > 0 && !error.to_string().is_empty()),
    };
    assert_eq!(session.to_bytes(), input);
    lines(&session);
    wants(&session);
    patched(&session);
}

/// Every line once, in order, none with what would split it.
fn lines(session: &Session<'_>) {
    let streams = (0..session.streams()).flat_map(|stream| session.stream_lines(stream));
    assert!(session.session_lines().chain(streams).eq(session.lines()));
    assert!(session.lines().count() <= limits::LINES_MAX);
    assert!(usize::from(session.streams()) <= limits::STREAMS_MAX);
    for line in session.lines() {
        assert!(!line.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
}

/// What is let through is where the policy says.
fn wants(session: &Session<'_>) {
    let policy = policy();
    let flows = match sdp::flows(session) {
        Ok(flows) => flows,
        Err(refusal) => return assert!(is_one_line(&refusal.to_string())),
    };
    let per_stream = limits::PORT_PAIRS_MAX.max(limits::CANDIDATES_MAX + 1);
    assert!(flows.len() <= limits::STREAMS_MAX * usize::from(per_stream));
    assert!(flows.iter().all(|flow| flow.rtp != 0 && flow.stream < session.streams()));
    if let Err(refusal) = sdp::check(&flows, &policy) {
        return assert!(is_one_line(&refusal.to_string()));
    }
    let is_named = |flow: &&sdp::MediaFlow| !flow.ice.is_candidate();
    assert!(flows.iter().filter(is_named).count() <= usize::from(policy.flows_max));
    let is_used = |flow: &&sdp::MediaFlow| match flow.ice {
        sdp::Ice::None => !flow.is_held() && flow.setup != sdp::Setup::Active,
        sdp::Ice::Default => false,
        sdp::Ice::Rtp | sdp::Ice::Rtcp => policy.admits(flow),
    };
    for flow in flows.iter().filter(is_used) {
        let rtcp = flow.rtcp.map(|rtcp| (rtcp.address, rtcp.port));
        for (address, port) in [(flow.address, flow.rtp)].into_iter().chain(rtcp) {
            assert!(policy.ports.contains(&port), "{flow}");
            assert!(policy.networks.iter().any(|network| network.contains(&address)), "{flow}");
            assert!(!policy.own_addresses.contains(&address), "{flow}");
        }
    }
}

/// What a user is shown must not break the header field it stands in.
fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(['\r', '\n'])
}

/// What goes with the port of a stream that is turned off; at session level it means nothing.
fn is_bundle_only(line: &sdp::Line<'_>) -> bool {
    line.attribute("bundle-only").is_some()
}

/// Each change by itself, then all together: the result is a description again, and says what was asked.
fn patched(session: &Session<'_>) {
    assert_eq!(session.patch().finish(), session.to_bytes());
    let address: IpAddr = [10, 0, 0, 9].into();
    let origin = Origin { username: "-", session_id: 1, version: 2, address };
    let count = session.lines().count();

    let bytes = session.patch().origin(origin).finish();
    let changed = reparsed(&bytes);
    assert_eq!(changed.lines().nth(1).map(|line| line.value), Some(&b"- 1 2 IN IP4 10.0.0.9"[..]));
    assert!(changed.lines().skip(2).eq(session.lines().skip(2)));

    for stream in 0..session.streams() {
        let bytes = session.patch().port(stream, 0).address(Some(stream), address).finish();
        let changed = reparsed(&bytes);
        let gone = session.stream_lines(stream).filter(is_bundle_only).count();
        assert_eq!((changed.streams(), changed.lines().count()), (session.streams(), count - gone));
        // A stream that is off is no flow, whatever else is wrong with it.
        assert!(!sdp::flows(&changed).is_ok_and(|flows| flows.iter().any(|flow| flow.stream == stream)));
    }
    let all = session.patch().origin(origin).address(None, address);
    let all = (0..session.streams()).fold(all, |patch, stream| patch.port(stream, 0));
    let all = all.insert(2, "a=x").insert(count, "a=last").insert(count + 7, "a=very-last");
    if count + 3 <= limits::LINES_MAX {
        let bytes = all.finish();
        if bytes.len() <= limits::BYTES_MAX {
            let changed = reparsed(&bytes);
            let streams = (0..session.streams()).flat_map(|stream| session.stream_lines(stream));
            let gone = streams.filter(is_bundle_only).count();
            assert_eq!(changed.lines().count(), count + 3 - gone);
            assert!(sdp::flows(&changed).is_ok_and(|flows| flows.is_empty()));
        }
    }
    removed(session, count);
}

fn removed(session: &Session<'_>, count: usize) {
    for position in (2..count).filter(|position| *position < 8 || position + 1 == count) {
        let bytes = session.patch().remove(position).insert(position, "a=x").finish();
        let changed = reparsed(&bytes);
        assert_eq!(changed.lines().count(), count);
        assert!(changed.lines().take(position).eq(session.lines().take(position)));
        let bytes = session.patch().remove(position).finish();
        assert_eq!(reparsed(&bytes).lines().count(), count - 1);
    }
}

fn reparsed(bytes: &[u8]) -> Session<'_> {
    match Session::parse(bytes) {
        Ok(session) => session,
        Err(error) => panic!("a patch broke a description: {error}: {}", bytes.escape_ascii()),
    }
}

fn policy() -> MediaPolicy {
    let parse = |networks: &[&str]| networks.iter().filter_map(|network| network.parse().ok()).collect();
    MediaPolicy {
        networks: parse(&["10.0.0.0/24", "2001:db8:40::/64"]),
        ports: 16384..=32767,
        own_addresses: vec![[10, 0, 0, 1].into()],
        outside_places: Vec::new(),
        flows_max: 8,
    }
}
