//! Holds the parser to `outcomes.txt`.

use std::fs;

use postern_torture::{Case, broken_fields, bytes, cases, folder, messages, page, parser_outcome};
use sip::message::stream::{Frame, Framer};
use sip::message::{Builder, Message, ParseError};

#[test]
fn every_message_has_the_outcome_of_the_table() {
    let mut wrong = Vec::new();
    for case in cases() {
        let parsed = Message::parse(bytes(&case.message));
        let parser = parser_outcome(&parsed);
        let fields = parsed.map_or_else(|_| "-".to_owned(), |message| broken_fields(&message));
        if (&parser, &fields) != (&case.parser, &case.fields) {
            wrong.push(format!("{}: {parser} | {fields}", case.message));
        }
    }
    assert!(wrong.is_empty(), "not as the table says:\n{}", wrong.join("\n"));
}

#[test]
fn every_message_is_in_the_table_once() {
    let mut listed: Vec<String> = cases().into_iter().map(|case| case.message).collect();
    listed.sort();
    assert_eq!(listed, messages());
}

#[test]
fn the_page_is_up_to_date() {
    let path = folder().join("../../docs/sip-torture.md");
    let page = page(&cases());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("docs/ can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/sip-torture.md is out of date: run with UPDATE_DOCS=1");
}

#[test]
fn accepted_messages_keep_their_bytes() {
    for Case { message, .. } in cases() {
        let input = bytes(&message);
        if let Ok(parsed) = Message::parse(input.clone()) {
            assert_eq!(parsed.bytes(), &input, "{message}");
            let lines: usize = parsed.headers().map(|header| header.line.len()).sum();
            assert!(lines + parsed.body().len() < input.len(), "{message}");
        }
    }
}

/// Over a stream the framing must come out the same however the bytes are cut.
#[test]
fn accepted_messages_come_out_of_a_stream_whole() {
    for Case { message, .. } in cases() {
        let input = bytes(&message);
        let Ok(parsed) = Message::parse(input.clone()) else { continue };
        let Ok(Some(length)) = parsed.content_length() else { continue };
        let end = body_offset(&input) + length;
        let mut framer = Framer::new();
        for byte in &input[..end - 1] {
            framer.push(&[*byte]);
            assert_eq!(framer.next(), Ok(None), "{message}");
        }
        framer.push(&input[end - 1..end]);
        assert_eq!(framer.next(), Ok(Some(Frame::Message(input.slice(..end)))), "{message}");
    }
}

fn body_offset(input: &[u8]) -> usize {
    input.windows(4).position(|four| four == b"\r\n\r\n").expect("accepted messages have a header section")
        + 4
}

/// RFC 5118 §4.6 counts 17 bytes more than its body has. What it wants to show is read once the count is right.
#[test]
fn the_body_of_rfc_5118_4_6_is_read_with_the_right_length() {
    let text = String::from_utf8(bytes("rfc5118/ipv6-in-sdp").to_vec()).expect("it is ASCII");
    let corrected = text.replace("Content-Length: 268", "Content-Length: 251");
    let message = Message::parse(corrected.into()).expect("well formed");
    assert!(message.sdp().is_some_and(|sdp| sdp.ends_with(b"H263-1998/90000\r\n")));
}

/// Whatever is refused with an answer can be answered.
#[test]
fn refusals_make_well_formed_responses() {
    for Case { message, .. } in cases() {
        let Err(ParseError { what, partial: Some(request) }) = Message::parse(bytes(&message)) else {
            continue;
        };
        let response = Builder::response_to(&request, what.status(), &what.to_string(), Some("tag")).finish();
        let is_whole = response.ends_with(b"\r\nContent-Length: 0\r\n\r\n");
        let lines = String::from_utf8_lossy(&response).to_lowercase();
        assert!(is_whole && lines.starts_with(&format!("sip/2.0 {} ", what.status())), "{message}: {lines}");
        assert!(lines.contains("\r\nvia"), "{message}: {lines}");
    }
}
