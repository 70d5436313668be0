//! Every byte that is not ours to change leaves as it came.

use std::fmt::Write as _;
use std::net::IpAddr;

use postern_sdp as sdp;
use proptest::prelude::*;
use sdp::limits::{BYTES_MAX, STREAMS_MAX};
use sdp::{Error, Origin, Session, What};

const OFFER: &[u8] = b"v=0\r\no=alice 1 1 IN IP4 10.0.0.7\r\ns=Caf\xe9\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\n\
    m=audio 20000/2 RTP/AVP 0 \xff\r\nc=IN IP4 10.0.0.8\na=\xc3\x28 broken UTF-8\r\nm=video 20004  RTP/AVP 96\r\n";

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn a_patch_without_edits_gives_the_same_bytes() {
    let session = Session::parse(OFFER).unwrap();
    assert_eq!(session.to_bytes(), OFFER);
    assert_eq!(session.patch().finish(), OFFER);
}

#[test]
fn the_origin_is_replaced_and_nothing_else() {
    let session = Session::parse(OFFER).unwrap();
    let origin = Origin { username: "-", session_id: 7, version: 2, address: address("2001:db8::1") };
    let patched = session.patch().origin(origin).finish();
    assert_eq!(
        text(&patched),
        text(OFFER).replace("o=alice 1 1 IN IP4 10.0.0.7", "o=- 7 2 IN IP6 2001:db8::1")
    );
}

#[test]
fn a_port_is_set_and_its_count_goes() {
    let session = Session::parse(OFFER).unwrap();
    let patched = session.patch().port(0, 0).port(9, 1).finish();
    assert_eq!(text(&patched), text(OFFER).replace("m=audio 20000/2 ", "m=audio 0 "));
}

#[test]
fn addresses_are_replaced_at_their_level() {
    let session = Session::parse(OFFER).unwrap();
    let patched = session.patch().address(Some(0), address("192.0.2.1")).finish();
    assert_eq!(text(&patched), text(OFFER).replace("10.0.0.8\n", "192.0.2.1\n"));
    let patched = session.patch().address(None, address("192.0.2.1")).finish();
    assert_eq!(text(&patched), text(OFFER).replace("c=IN IP4 10.0.0.7", "c=IN IP4 192.0.2.1"));
    assert_eq!(session.patch().address(Some(1), address("192.0.2.1")).finish(), OFFER);
}

#[test]
fn lines_are_inserted_and_removed_with_their_neighbours_ends() {
    let session = Session::parse(OFFER).unwrap();
    let at = session.stream_position(0).unwrap() + 1;
    let patched = session.patch().insert(at, "a=one").insert(at, "a=two").remove(at).finish();
    assert_eq!(text(&patched), text(OFFER).replace("c=IN IP4 10.0.0.8\n", "a=one\na=two\n"));
}

#[test]
fn a_line_is_inserted_before_one_that_has_been_changed() {
    let session = Session::parse(OFFER).unwrap();
    let position = session.stream_position(0).unwrap();
    let patched = text(&session.patch().port(0, 0).insert(position, "a=one").finish());
    assert!(patched.contains("a=one\r\nm=audio 0 "), "{patched}");
}

#[test]
fn a_line_is_added_at_the_end() {
    let appended = |bytes: &[u8]| text(&Session::parse(bytes).unwrap().patch().insert(99, "a=end").finish());
    assert_eq!(appended(OFFER), text(OFFER) + "a=end\r\n");
    let bare = OFFER.strip_suffix(b"\r\n").unwrap();
    assert_eq!(appended(bare), text(OFFER) + "a=end\r\n");
}

#[test]
fn a_line_is_appended_in_front_of_empty_lines_at_the_end() {
    let appended = |end: &str| {
        let bytes = format!("v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-{end}");
        let session = Session::parse(bytes.as_bytes()).unwrap();
        let patched = session.patch().insert(9, "a=1").insert(9, "a=2").finish();
        text(&patched).strip_prefix("v=0\no=- 1 1 IN IP4 10.0.0.1\n").unwrap().to_owned()
    };
    assert_eq!(appended("\n\n"), "s=-\na=1\na=2\n\n");
    assert_eq!(appended("\r\n\r\n"), "s=-\r\na=1\r\na=2\r\n\r\n");
    assert_eq!(appended("\r"), "s=-\r\na=1\r\na=2\r\n");
}

#[test]
fn ten_thousand_streams_are_refused_at_the_limit() {
    let head = "v=0\no=- 1 1 IN IP4 10.0.0.7\ns=-\n".to_owned();
    let many = head.clone() + &"m=a 9 b c\n".repeat(10_000);
    assert!(many.len() > BYTES_MAX);
    assert_eq!(Session::parse(many.as_bytes()).unwrap_err().what, What::TooLong);
    let fewer = head + &"m=a 9 b c\n".repeat(5000);
    let error = Session::parse(fewer.as_bytes()).unwrap_err();
    assert_eq!(error, Error { line: 4 + STREAMS_MAX as u32, what: What::TooManyStreams });
}

#[test]
fn two_readers_cannot_see_two_descriptions() {
    for inside in ["\r", "\0", "\rc=IN IP4 192.0.2.1\r"] {
        let text = format!("v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=a{inside}b\r\n");
        assert_eq!(Session::parse(text.as_bytes()).unwrap_err().what, What::ControlCharacter);
    }
}

proptest! {
    /// Whatever is read is given back; whatever bytes come, nothing panics.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(session) = Session::parse(&bytes) {
            prop_assert_eq!(session.patch().finish(), bytes);
        }
    }

    /// Lines of any content between a good head and streams: the same bytes back, and a patch touches its line only.
    #[test]
    fn any_lines(
        lines in proptest::collection::vec((0..13_usize, "[^\r\n\0]{0,20}", any::<bool>()), 0..30),
        stream in 0..4_u16,
        ports in any::<u16>(),
    ) {
        let mut text = String::from("v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\n");
        for (kind, value, crlf) in &lines {
            let kind = char::from(b"siuepcbtrzkam"[*kind]);
            let value = if kind == 'm' { format!("audio {ports} RTP/AVP {value}0") } else { value.clone() };
            write!(text, "{kind}={value}{}", if *crlf { "\r\n" } else { "\n" }).unwrap();
        }
        let session = Session::parse(text.as_bytes()).unwrap();
        let _ = sdp::flows(&session);
        prop_assert_eq!(session.patch().finish(), text.as_bytes());
        let patched = session.patch().port(stream, 0).finish();
        let reread = Session::parse(&patched).unwrap();
        prop_assert_eq!(reread.lines().count(), session.lines().count());
        let different = reread.lines().zip(session.lines()).filter(|(new, old)| new != old).count();
        prop_assert!(different <= 1);
    }
}

#[test]
fn a_line_is_added_where_the_last_one_without_an_end_was_removed() {
    let text = "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\nm=audio 0 RTP/AVP 0\r\na=bundle-only";
    let session = Session::parse(text.as_bytes()).unwrap();
    let bytes = session.patch().port(0, 0).insert(4, "a=x").insert(9, "a=y").finish();
    let expected = "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\nm=audio 0 RTP/AVP 0\r\na=x\r\na=y\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}
