//! The SIP parser, its accessors, the builder and the stream framer.

use bytes::Bytes;
use sip::message::stream::Framer;
use sip::message::{Builder, Defect, Message, Name, limits};

use crate::{Corpus, Target};

/// See [`run`].
pub const TARGET: Target = Target {
    name: "sip_message",
    run,
    mutations: 100_000,
    corpora: &[
        Corpus::Inputs("fuzz/corpus/sip_message"),
        Corpus::Inputs("torture/rfc4475"),
        Corpus::Inputs("torture/rfc5118"),
    ],
    words: &[
        b"\r\n",
        b"\r\n ",
        b"\n",
        b"\r",
        b":",
        b";",
        b",",
        b"\"",
        b"\\",
        b"<",
        b">",
        b"%",
        b"%41",
        b"%0",
        b"@",
        b"=",
        b"[",
        b"]",
        b"(",
        b"::",
        b"\0",
        b"\xff",
        b" ",
        b"4294967296",
        b"-1",
        b"0",
        b"SIP/2.0",
        b"SIP/2.0/UDP ",
        b"sip:",
        b"tel:",
        b";tag=",
        b";branch=z9hG4bK",
        b";rport",
        b";received=",
        b"Via: ",
        b"v: ",
        b"l: ",
        b"Content-Length: ",
        b"Contact: ",
        b"*",
        b"Reason: ",
        b"Warning: 399 a \"b\"\r\n",
        b"Session-ID: ",
        b"Replaces: ",
        b"RAck: ",
        b"INVITE",
        b"ACK",
    ],
};

/// Parses, reads everything, answers, copies, and frames in pieces.
pub fn run(input: &[u8]) {
    match Message::parse(Bytes::copy_from_slice(input)) {
        Ok(message) => accepted(&message, input),
        Err(error) => {
            assert!((400..600).contains(&error.status()) && !error.to_string().is_empty());
            if let Some(partial) = error.partial {
                read_everything(&partial);
                answer(&partial, error.what.status());
            }
        }
    }
    frame(input);
}

fn accepted(message: &Message, input: &[u8]) {
    assert_eq!(message.bytes(), input);
    assert!(message.top_via().is_ok() && message.from().is_ok() && message.to().is_ok());
    assert!(message.call_id().is_ok() && message.cseq().is_ok());
    assert!(message.headers().count() <= limits::LINE_COUNT_MAX);
    read_everything(message);
    if message.is_request() {
        assert!(message.parsed_request_uri().is_ok() && message.max_forwards().is_ok());
        let response = answer(message, 200);
        let Ok(response) = Message::parse(response) else { panic!("our own response is broken") };
        assert_eq!(response.cseq(), message.cseq());
        assert_eq!(response.values(Name::Via).count(), message.values(Name::Via).count() + 1);
    }
    copy(message);
}

/// Every line copied, the same lines come out.
fn copy(message: &Message) {
    let mut builder = match message.status() {
        0 => Builder::request(message.method(), message.request_uri()),
        status => Builder::response(status, ""),
    };
    for header in message.headers().filter(|header| header.name != Name::ContentLength) {
        builder = builder.copy_line(header);
    }
    let lines = |message: &Message| -> Vec<Vec<u8>> {
        let others = message.headers().filter(|header| header.name != Name::ContentLength);
        others.map(|header| header.line.to_vec()).collect()
    };
    match Message::parse(builder.body("", message.body()).finish()) {
        Ok(copied) => assert_eq!((lines(&copied), copied.body()), (lines(message), message.body())),
        // A Content-Length more than the original had may be what is too much.
        Err(error) => {
            assert!(matches!(error.what, Defect::TooManyLines | Defect::HeadTooLong), "{}", error.what)
        }
    }
}

fn answer(request: &Message, status: u16) -> Bytes {
    let mut request = request.clone();
    request.set_source(([192, 0, 2, 1], 5060).into());
    let response =
        Builder::response_to(&request, status, "Any", Some("t")).via("SIP/2.0/UDP h;branch=z9hG4bKx");
    response.header(Name::Server, request.body()).finish()
}

fn read_everything(message: &Message) {
    for header in message.headers() {
        assert!(header.line.starts_with(header.raw_name) && header.line.ends_with(b"\r\n"));
        for value in message.values(header.name) {
            assert!(!value.is_empty());
        }
        for address in message.addresses(header.name).flatten() {
            assert!(address.params().iter().count() <= address.as_bytes().len());
            if let Ok(uri) = address.parsed_uri() {
                assert!(uri.is_equivalent(&uri), "{uri}");
            }
        }
        let _tokens = message.tokens(header.name).count();
    }
    let _fields =
        (message.content_type().is_ok(), message.sdp().is_some(), message.session_expires().is_ok());
    let _more =
        (message.min_se().is_ok(), message.rack().is_ok(), message.rseq().is_ok(), message.event().is_ok());
    let _rest = (message.replaces().is_ok(), message.session_id().is_ok(), message.retry_after().is_ok());
    for reason in message.reasons().flatten() {
        let text = reason.to_string();
        assert!(sip::message::Reason::parse(text.as_bytes()).is_ok(), "{text}");
    }
    for warning in message.warnings().flatten() {
        let text = warning.to_string();
        assert!(sip::message::Warning::parse(text.as_bytes()).is_ok(), "{text}");
    }
}

/// What comes out of a stream does not depend on how it was cut.
fn frame(input: &[u8]) {
    let frames = |size: usize| {
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for part in input.chunks(size) {
            framer.push(part);
            loop {
                match framer.next() {
                    Ok(Some(frame)) => frames.push(Some(frame)),
                    Ok(None) => break,
                    Err(_) => frames.push(None),
                }
            }
            assert!(framer.buffered() <= limits::HEAD_LEN_MAX + limits::BODY_LEN_MAX + size);
        }
        // How a ping was cut may show: as one frame, or as a pong and a ping.
        frames.retain(|frame| matches!(frame, None | Some(sip::message::stream::Frame::Message(_))));
        frames
    };
    assert_eq!(frames(input.len().max(1)), frames(7));
}
