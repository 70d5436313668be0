//! What holds for every message, not only for those somebody thought of.

use bytes::Bytes;
use postern_sip::message::stream::{Frame, Framer};
use postern_sip::message::{Builder, Message, Method, Name, NameAddr, Quoted, Reason, Uri};
use proptest::prelude::*;

/// Text for a header value: any bytes without line breaks, no white space at the ends.
fn value() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b' '), 0x21u8..=0x7e, 0x80u8..=0xff], 0..60).prop_map(
        |mut value| {
            while value.last() == Some(&b' ') {
                value.pop();
            }
            let start = value.iter().position(|byte| *byte != b' ').unwrap_or(0);
            value.split_off(start)
        },
    )
}

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.!%*_+`'~-]{1,20}"
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        proptest::sample::select(Method::KNOWN.to_vec()),
        token().prop_map(|token| Method::of(&token))
    ]
}

fn mandatory(builder: Builder, method: &Method, tag: &str, number: u32) -> Builder {
    builder
        .header(Name::From, format!("<sip:a@example.org>;tag={tag}"))
        .header(Name::To, "<sip:b@example.org>")
        .header(Name::CallId, format!("{tag}@example.org"))
        .header_fmt(Name::CSeq, format_args!("{number} {method}"))
        .via(format!("SIP/2.0/UDP example.org;branch=z9hG4bK{tag}"))
}

proptest! {
    #[test]
    fn what_is_built_is_parsed_again(
        method in method(),
        tag in token(),
        number in 0u32..1 << 31,
        unknown in proptest::collection::vec((token(), value()), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut builder = mandatory(Builder::request(&method, "sip:b@example.org"), &method, &tag, number);
        for (name, value) in &unknown {
            builder = builder.raw_header(&format!("X-{name}"), value);
        }
        let bytes = builder.body("application/x", &body).finish();
        let message = Message::parse(bytes.clone()).expect("well formed");
        prop_assert_eq!(message.bytes(), &bytes);
        prop_assert_eq!(message.method(), &method);
        prop_assert_eq!(message.from().expect("well formed").tag(), Some(tag.as_str()));
        prop_assert_eq!(message.cseq().expect("well formed").number, number);
        prop_assert_eq!(message.body(), &body[..]);
        let others: Vec<_> = message.headers().filter(|header| header.name == Name::Other).collect();
        prop_assert_eq!(others.len(), unknown.len());
        for (header, (name, value)) in others.iter().zip(&unknown) {
            prop_assert_eq!(&header.raw_name[2..], name.as_bytes());
            prop_assert_eq!(header.value, &value[..]);
        }
    }

    #[test]
    fn copied_lines_are_the_same_bytes(unknown in proptest::collection::vec((token(), value()), 1..8)) {
        let mut builder = mandatory(Builder::request(&Method::Info, "sip:b@example.org"), &Method::Info, "t", 1);
        for (name, value) in &unknown {
            builder = builder.raw_header(&format!("X-{name}"), value);
        }
        let first = Message::parse(builder.finish()).expect("well formed");
        let mut copy = mandatory(Builder::response(200, "OK"), &Method::Info, "t", 1);
        for header in first.headers().filter(|header| header.name == Name::Other) {
            copy = copy.copy_line(header);
        }
        let second = Message::parse(copy.finish()).expect("well formed");
        let lines = |message: &Message| -> Vec<Vec<u8>> {
            let others = message.headers().filter(|header| header.name == Name::Other);
            others.map(|header| header.line.to_vec()).collect()
        };
        prop_assert_eq!(lines(&first), lines(&second));
    }

    #[test]
    fn no_value_breaks_out_of_its_line(value in proptest::collection::vec(any::<u8>(), 0..80)) {
        let builder = Builder::request(&Method::Info, "sip:b@example.org").header(Name::Subject, &value);
        let bytes = mandatory(builder, &Method::Info, "t", 1).body("", "b").finish();
        let message = Message::parse(bytes).expect("well formed");
        prop_assert_eq!(message.headers().count(), 7);
        prop_assert_eq!(message.body(), b"b");
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Message::parse(Bytes::from(bytes.clone())) {
            prop_assert_eq!(&message.bytes()[..], &bytes[..]);
        }
        let mut framer = Framer::new();
        framer.push(&bytes);
        while let Ok(Some(_)) = framer.next() {}
    }

    #[test]
    fn arbitrary_values_never_panic(value in value()) {
        for name in [Name::Via, Name::From, Name::Contact, Name::CSeq, Name::Reason, Name::Warning, Name::SessionId] {
            let builder = Builder::request(&Method::Info, "sip:b@example.org").header(name, &value);
            let parsed = Message::parse(builder.via("SIP/2.0/UDP h").finish());
            let message = match parsed {
                Ok(message) => message,
                Err(error) => *error.partial.expect("it has a Via"),
            };
            let addresses = message.addresses(name).filter_map(Result::ok).filter_map(|a| a.parsed_uri().ok()).count();
            prop_assert!(addresses <= message.values(name).count());
            let _read = (message.top_via().is_ok(), message.reasons().count(), message.session_id().is_ok());
            let _response = Builder::response_to(&message, 400, "Bad Request", Some("t")).finish();
        }
    }

    #[test]
    fn a_uri_is_equivalent_to_itself(text in "(sip|sips|tel):[a-z0-9%:@;=?&.\\[\\]-]{0,40}") {
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert!(uri.is_equivalent(&uri));
            prop_assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn quoted_text_is_read_again(text in "[^\\p{C}]{0,40}") {
        let reason = Reason::sip(480, &text).to_string();
        prop_assert_eq!(Reason::parse(reason.as_bytes()), Ok(Reason::sip(480, &text)));
        let contact = format!("{} <sip:a@b>", Quoted(&text));
        let message = mandatory(Builder::request(&Method::Info, "sip:b"), &Method::Info, "t", 1)
            .header(Name::Contact, &contact)
            .finish();
        let message = Message::parse(message).expect("well formed");
        let contacts: Vec<NameAddr<'_>> = message.contacts().filter_map(Result::ok).collect();
        prop_assert_eq!(contacts.len(), 1);
        prop_assert_eq!(contacts[0].uri(), "sip:a@b");
    }

    #[test]
    fn a_stream_gives_what_was_put_in(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..5),
        size in 1usize..100,
    ) {
        let messages: Vec<Bytes> = bodies
            .iter()
            .map(|body| mandatory(Builder::response(200, "OK"), &Method::Info, "t", 1).body("", body).finish())
            .collect();
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for part in messages.concat().chunks(size) {
            framer.push(part);
            while let Some(frame) = framer.next().expect("well formed") {
                frames.push(frame);
            }
        }
        let expected: Vec<Frame> = messages.into_iter().map(Frame::Message).collect();
        prop_assert_eq!(frames, expected);
    }
}
