//! What descriptions say of preconditions, and how ours say it.
//!
//! The firewall's precondition is only used end to end (draft §5.2); lines with a segmented status are not ours to read.

use sdp::Session;
use sdp::precondition::{
    Directions, Place, StatusType, Strength, Table, Type, attributes, is_used, may_be_used,
};

/// How much an end-to-end precondition of the firewall is wanted: the strongest of all streams.
pub(crate) fn wanted(description: &[u8]) -> Option<Strength> {
    let session = Session::parse(description).ok()?;
    let tables = (0..session.streams()).filter_map(|stream| Table::of(&session, stream, Type::Fw));
    tables
        .flat_map(|table| [table.row(Place::E2eSend), table.row(Place::E2eRecv)])
        .filter_map(|row| row.desired)
        .max()
}

/// The strongest wish of any type; `None` if there is none.
pub(crate) fn strength(description: &[u8]) -> Option<Strength> {
    if !may_be_used(description) {
        return None;
    }
    let session = Session::parse(description).ok()?;
    let lines = (0..session.streams()).flat_map(|stream| attributes(&session, stream).collect::<Vec<_>>());
    lines
        .filter_map(|line| match line.kind {
            sdp::precondition::Kind::Desired(strength) => Some(strength),
            sdp::precondition::Kind::Current | sdp::precondition::Kind::Confirm => None,
        })
        .max()
}

/// True if a mandatory precondition of any type is not met yet.
pub(crate) fn is_unmet(description: &[u8]) -> bool {
    if !may_be_used(description) {
        return false;
    }
    let Ok(session) = Session::parse(description) else { return false };
    (0..session.streams()).any(|stream| Table::all(&session, stream).values().any(|table| !table.is_met()))
}

/// True if a description says something about this type.
pub(crate) fn mentions(description: &[u8], of: Type<'_>) -> bool {
    let Ok(session) = Session::parse(description) else { return false };
    (0..session.streams()).any(|stream| attributes(&session, stream).any(|line| line.of == of))
}

/// An answer whose pinholes are confirmed says that the firewall lets its streams through: only its agent knows.
/// `None` if it does not ask, or says so already.
pub(crate) fn confirmed(session: &Session<'_>) -> Option<Vec<u8>> {
    if !may_be_used(session.to_bytes()) || !is_used(session) {
        return None;
    }
    let said = |stream| {
        Table::of(session, stream, Type::Fw)
            .is_none_or(|table| table.row(Place::E2eSend).current && table.row(Place::E2eRecv).current)
    };
    if (0..session.streams()).all(said) {
        return None;
    }
    let patch = (0..session.streams()).fold(session.patch(), |patch, stream| {
        patch.current(stream, Type::Fw, StatusType::E2e, Directions::SENDRECV)
    });
    Some(patch.finish())
}

/// An offer with a mandatory precondition in every stream, met or not.
pub(crate) fn inserted(description: &[u8], of: Type<'_>, is_met: bool) -> Option<Vec<u8>> {
    let session = Session::parse(description).ok()?;
    let table = Table::e2e(Strength::Mandatory).with_e2e(is_met);
    let patch =
        (0..session.streams()).fold(session.patch(), |patch, stream| patch.precondition(stream, of, &table));
    Some(patch.finish())
}

/// True if lines may be inserted: there is a stream, and nobody speaks of preconditions.
pub(crate) fn is_plain(description: &[u8]) -> bool {
    Session::parse(description).is_ok_and(|session| {
        (0..session.streams()).any(|stream| session.is_in_use(stream)) && !is_used(&session)
    })
}

/// A description without the lines of a type.
pub(crate) fn without(session: &Session<'_>, of: Type<'_>) -> Vec<u8> {
    session.patch().without_precondition(of).finish()
}

/// A description without any precondition.
pub(crate) fn bare(description: &[u8]) -> Option<Vec<u8>> {
    let session = Session::parse(description).ok()?;
    let lines = session.lines().enumerate();
    let ours = lines.filter(|(_, line)| sdp::precondition::Attribute::parse(*line).is_some());
    Some(ours.fold(session.patch(), |patch, (position, _)| patch.remove(position)).finish())
}

/// What goes with a refusal because a firewall's precondition failed (RFC 3312 §8); `None` where nobody asked for it.
pub(crate) fn failed(description: &[u8], of: Type<'_>) -> Option<Vec<u8>> {
    let session = Session::parse(description).ok()?;
    mentions(description, of).then(|| session.patch().failed(of, Strength::Failure).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n\
        m=video 0 RTP/AVP 96\r\n";
    const LINES: &str = "a=curr:fw e2e none\r\na=des:fw mandatory e2e sendrecv\r\n";

    fn asked(lines: &str) -> String {
        PLAIN.replace("m=video", &format!("{lines}m=video"))
    }

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn what_is_inserted_is_taken_away_again() {
        assert!(is_plain(PLAIN.as_bytes()));
        let offer = inserted(PLAIN.as_bytes(), Type::Fw, false);
        assert_eq!(text(offer.clone()), Some(asked(LINES)));
        let offer = offer.unwrap();
        assert!(!is_plain(&offer));
        let session = Session::parse(&offer).unwrap();
        assert_eq!(text(Some(without(&session, Type::Fw))).as_deref(), Some(PLAIN));
        assert_eq!(text(bare(&offer)).as_deref(), Some(PLAIN));
        assert!(
            text(inserted(PLAIN.as_bytes(), Type::Qos, true)).unwrap().contains("a=curr:qos e2e sendrecv")
        );
    }

    #[test]
    fn a_description_without_a_stream_is_left_alone() {
        assert!(!is_plain(PLAIN.replace("audio 20000", "audio 0").as_bytes()));
    }

    #[test]
    fn only_the_firewalls_state_is_written() {
        let qos = "a=curr:qos e2e none\r\na=des:qos mandatory e2e sendrecv\r\n";
        let both = asked(&format!("{qos}{LINES}"));
        let session = Session::parse(both.as_bytes()).unwrap();
        let expected = both.replace("curr:fw e2e none", "curr:fw e2e sendrecv");
        assert_eq!(text(confirmed(&session)), Some(expected.clone()));
        assert_eq!(confirmed(&Session::parse(expected.as_bytes()).unwrap()), None);
        assert_eq!(confirmed(&Session::parse(asked(qos).as_bytes()).unwrap()), None);
        assert_eq!(confirmed(&Session::parse(PLAIN.as_bytes()).unwrap()), None);
    }

    #[test]
    fn a_segmented_status_is_not_ours() {
        let local = asked("a=curr:fw local none\r\na=des:fw mandatory local sendrecv\r\n");
        assert_eq!(wanted(local.as_bytes()), None);
        assert_eq!(strength(local.as_bytes()), Some(Strength::Mandatory));
        assert_eq!(text(confirmed(&Session::parse(local.as_bytes()).unwrap())).as_deref(), Some(&*local));
    }

    #[test]
    fn strengths_are_read_over_all_streams() {
        assert_eq!(wanted(asked(LINES).as_bytes()), Some(Strength::Mandatory));
        assert_eq!(wanted(asked("a=des:fw none e2e sendrecv\r\n").as_bytes()), Some(Strength::None));
        assert_eq!(wanted(PLAIN.as_bytes()), None);
        assert!(is_unmet(asked(LINES).as_bytes()) && !is_unmet(PLAIN.as_bytes()));
        assert!(!is_unmet(asked(LINES).replace("none", "sendrecv").as_bytes()));
        let met: String = (0..900).map(|number| format!("a=curr:x{number} e2e none\r\n")).collect();
        assert!(!is_unmet(asked(&met).as_bytes()) && is_unmet(asked(&(met + LINES)).as_bytes()));
        assert!(failed(PLAIN.as_bytes(), Type::Fw).is_none());
    }
}
