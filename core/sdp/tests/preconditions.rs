//! RFC 3312 and RFC 4032: what descriptions say of preconditions, and how they are written with others.

use postern_sdp as sdp;
use proptest::prelude::*;
use sdp::Session;
use sdp::precondition::{
    Attribute, Directions, Kind, Place, Row, StatusType, Strength, Table, Type, attributes, is_used,
};

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\n";

const PLACES: [Place; 6] = [
    Place::E2eSend,
    Place::E2eRecv,
    Place::LocalSend,
    Place::LocalRecv,
    Place::RemoteSend,
    Place::RemoteRecv,
];

fn described(media: &str) -> String {
    format!("{HEAD}{media}").replace('|', "\r\n")
}

fn table(lines: &str) -> Table {
    let text = described(&format!("m=audio 20000 RTP/AVP 0|{lines}|"));
    let session = Session::parse(text.as_bytes()).expect("a description");
    Table::of(&session, 0, Type::Fw).expect("lines of this type")
}

fn patched(text: &str, patch: impl for<'s, 'a> FnOnce(sdp::Patch<'s, 'a>) -> sdp::Patch<'s, 'a>) -> String {
    let session = Session::parse(text.as_bytes()).expect("a description");
    String::from_utf8(patch(session.patch()).finish()).expect("text")
}

#[test]
fn figure_6_of_the_draft_as_tables() {
    let offer = table("a=curr:fw e2e none|a=des:fw mandatory e2e sendrecv");
    assert_eq!(offer, Table::e2e(Strength::Mandatory));
    let mut callee = Table::default();
    let answer = callee.answer(&offer, &[]);
    let expected = "a=curr:fw e2e none|a=des:fw mandatory e2e sendrecv|a=conf:fw e2e sendrecv";
    assert_eq!(answer, table(expected));
    assert!(!callee.is_met());
    // The middlebox's agent has written what only it knows.
    let answer = answer.with_e2e(true);
    let mut caller = answer.inverted();
    assert!(caller.is_to_be_confirmed());
    caller = caller.with_e2e(true);
    for place in PLACES {
        caller.row_mut(place).confirm = false;
    }
    assert_eq!(caller, table("a=curr:fw e2e sendrecv|a=des:fw mandatory e2e sendrecv"));
    let answer = callee.answer(&caller, &[]);
    assert!(callee.is_met());
    assert_eq!(answer, table("a=curr:fw e2e sendrecv|a=des:fw mandatory e2e sendrecv"));
}

#[test]
fn an_answerer_corrects_only_what_it_knows() {
    //= test RFC 4032 §4.1: the value of the offer stands where the answerer has no local information.
    for (offered, local, is_known, shared) in [
        (false, false, false, false),
        (true, true, false, true),
        (true, false, false, true),
        (false, true, false, false),
        (true, false, true, false),
        (false, true, true, true),
    ] {
        let offer = Table::e2e(Strength::Mandatory).with_e2e(offered);
        let mut own = Table::e2e(Strength::Mandatory).with_e2e(local);
        let known: &[Place] = if is_known { &[Place::E2eSend, Place::E2eRecv] } else { &[] };
        let answer = own.answer(&offer, known);
        assert_eq!(answer.row(Place::E2eSend).current, shared);
        assert_eq!(own.is_met(), shared);
    }
}

#[test]
fn a_wish_is_raised_and_never_lowered() {
    //= test RFC 3312 §5.2: the strength of an answer is at least that of the offer.
    for (offered, own, answered) in [
        (Strength::None, Strength::Mandatory, Strength::Mandatory),
        (Strength::Mandatory, Strength::None, Strength::Mandatory),
        (Strength::Optional, Strength::None, Strength::Optional),
    ] {
        let answer = Table::e2e(own).answer(&Table::e2e(offered), &[]);
        assert_eq!(answer.strength(), Some(answered));
    }
}

#[test]
fn what_is_there_is_rewritten_and_nothing_else() {
    let text = described(
        "m=audio 20000 RTP/AVP 0|a=curr:qos e2e none|a=curr:fw e2e none|a=des:fw mandatory e2e sendrecv|a=x|\
         m=video 0 RTP/AVP 96|a=curr:fw e2e none|m=audio 20002 RTP/AVP 0|",
    );
    let done = patched(&text, |patch| {
        (0..4).fold(patch, |patch, stream| {
            patch.current(stream, Type::Fw, StatusType::E2e, Directions::SENDRECV)
        })
    });
    assert_eq!(done, text.replacen("a=curr:fw e2e none", "a=curr:fw e2e sendrecv", 1));
}

#[test]
fn what_is_there_is_said_where_only_the_wish_was() {
    let text = described("m=audio 20000 RTP/AVP 0|a=des:fw mandatory e2e sendrecv|a=x|");
    let done = patched(&text, |patch| patch.current(0, Type::Fw, StatusType::E2e, Directions::SENDRECV));
    let expected = "a=curr:fw e2e sendrecv\r\na=des:fw";
    assert_eq!(done, text.replace("a=des:fw", expected));
}

#[test]
fn lines_are_inserted_at_the_end_of_their_stream_and_taken_away_again() {
    let text = described(
        "m=audio 20000 RTP/AVP 0|a=x|m=video 0 RTP/AVP 96|m=audio 20002 RTP/AVP 0|a=curr:qos e2e send",
    );
    let offer = Table::e2e(Strength::Mandatory);
    let done = patched(&text, |patch| {
        (0..4).fold(patch, |patch, stream| patch.precondition(stream, Type::Fw, &offer))
    });
    let lines = "a=curr:fw e2e none\r\na=des:fw mandatory e2e sendrecv\r\n";
    let expected = text.replace("a=x\r\n", &format!("a=x\r\n{lines}"));
    assert_eq!(done, format!("{expected}\r\n{}", lines.trim_end()) + "\r\n");
    let session = Session::parse(done.as_bytes()).unwrap();
    assert!(is_used(&session));
    assert_eq!(patched(&done, |patch| patch.without_precondition(Type::Fw)).trim_end(), text);
}

#[test]
fn a_refusal_names_what_failed_and_turns_every_stream_off() {
    //= test RFC 3312 §8: as many m-lines, each with port 0, and the wish that failed.
    let text = described(
        "m=audio 20000 RTP/AVP 0|a=curr:qos e2e none|a=des:qos optional e2e sendrecv|a=curr:fw e2e none|\
         a=des:fw mandatory e2e sendrecv|a=conf:fw e2e sendrecv|m=video 20002 RTP/AVP 96|",
    );
    let done = patched(&text, |patch| patch.failed(Type::Fw, Strength::Failure));
    let expected = "m=audio 0 RTP/AVP 0|a=des:fw failure e2e sendrecv|m=video 0 RTP/AVP 96|";
    assert_eq!(done, described(expected));
}

fn strengths() -> impl Strategy<Value = Option<Strength>> {
    let all = vec![None, Some(Strength::None), Some(Strength::Optional), Some(Strength::Mandatory)];
    proptest::sample::select(all)
}

fn tables() -> impl Strategy<Value = Table> {
    let row = (any::<bool>(), strengths(), any::<bool>());
    proptest::collection::vec(row, 6).prop_map(|rows| {
        let mut table = Table::default();
        for (place, (current, desired, confirm)) in PLACES.into_iter().zip(rows) {
            *table.row_mut(place) = Row { current, desired, confirm };
        }
        table
    })
}

proptest! {
    /// A table is the same after it has been written and read, and both ways of looking at it are one.
    #[test]
    fn tables_travel(table in tables(), eol in "\r?\n") {
        let text = described("m=audio 20000 RTP/AVP 0|a=x|").replace("\r\n", &eol);
        let session = Session::parse(text.as_bytes()).unwrap();
        let written = session.patch().precondition(0, Type::Fw, &table).finish();
        let reread = Session::parse(&written).unwrap();
        let expected = (table != Table::default()).then_some(table);
        prop_assert_eq!(Table::of(&reread, 0, Type::Fw), expected);
        prop_assert_eq!(table.inverted().inverted(), table);
        prop_assert_eq!(reread.patch().without_precondition(Type::Fw).finish(), text.as_bytes());
    }

    /// After an exchange both sides have the same view, no wish is weaker, and nobody is told better than is known.
    #[test]
    fn an_exchange_synchronises(offer in tables(), mut local in tables(), known in any::<[bool; 6]>()) {
        let before = local;
        let known: Vec<Place> = PLACES.into_iter().zip(known).filter(|(_, is)| *is).map(|(place, _)| place).collect();
        let answer = local.answer(&offer, &known);
        let caller = answer.inverted();
        for place in PLACES {
            let (theirs, ours) = (caller.row(place), local.row(place.inverted()));
            prop_assert_eq!((theirs.current, theirs.desired), (ours.current, ours.desired));
            prop_assert!(theirs.desired >= offer.row(place).desired);
            let is_known = known.contains(&place.inverted());
            let source = if is_known { before.row(place.inverted()) } else { offer.row(place) };
            prop_assert_eq!(theirs.current, source.current);
        }
        prop_assert_eq!(caller.is_met(), local.is_met());
    }

    /// Any words behind the names of the attributes: what is read is written the same, whatever is patched stays SDP.
    #[test]
    fn any_lines(
        names in proptest::collection::vec("(curr|des|conf):(fw|qos|x) (none|mandatory|e2e|local|q) (e2e|send|none) ?(sendrecv)?", 0..8),
        port in prop_oneof![Just(0_u16), Just(20_000)],
    ) {
        let lines: String = names.iter().map(|name| format!("a={name}|")).collect();
        let text = described(&format!("m=audio {port} RTP/AVP 0|{lines}m=audio 20002 RTP/AVP 0|"));
        let session = Session::parse(text.as_bytes()).unwrap();
        for attribute in attributes(&session, 0) {
            let line = format!("{HEAD}m=audio 9 x 0\r\na={attribute}\r\n");
            let again = Session::parse(line.as_bytes()).unwrap();
            prop_assert_eq!(attributes(&again, 0).next(), Some(attribute));
        }
        let current = session.patch().current(0, Type::Fw, StatusType::E2e, Directions::SENDRECV).finish();
        let reread = Session::parse(&current).unwrap();
        let others = |session: &Session<'_>| -> Vec<String> {
            let is_ours = |line: &Attribute<'_>| {
                line.of == Type::Fw && line.status == StatusType::E2e && line.kind == Kind::Current
            };
            attributes(session, 0).filter(|line| !is_ours(line)).map(|line| line.to_string()).collect()
        };
        prop_assert_eq!(others(&reread), others(&session));
        if let Some(table) = Table::of(&reread, 0, Type::Fw) && table.row(Place::E2eSend).desired.is_some() {
            prop_assert!(table.row(Place::E2eSend).current && table.row(Place::E2eRecv).current);
        }
        let failed = session.patch().failed(Type::Fw, Strength::Failure).finish();
        let failed = Session::parse(&failed).unwrap();
        prop_assert_eq!(failed.streams(), 2);
        prop_assert!((0..2).all(|stream| !failed.is_in_use(stream)));
    }
}
