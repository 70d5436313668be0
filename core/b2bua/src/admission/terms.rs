//! The terms on which a call has been let in: they stay when other lines come into force.

use std::time::Duration;

use bytes::Bytes;
use sdp::Session;
use sip::message::{Builder, Message, Name};
use smallvec::SmallVec;

use super::{Decision, Line, name};
use crate::failure::Verdict;
use crate::leg::body::Body;

/// The terms of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    /// The lines that count it, by position.
    pub(crate) limiting: SmallVec<[u16; 2]>,
    /// How long it may last from its answer, and which line says so.
    pub(crate) duration: Option<(u16, Duration)>,
    /// Media types that its m-lines may have, by the lines that say so.
    media: Vec<(u16, Vec<String>)>,
}

/// What becomes of a description.
#[derive(Debug)]
pub(crate) enum Filtered {
    /// It stays as it is.
    AsItCame,
    /// Some of its streams are turned off.
    Other(Message),
    /// All that it has are: what its sender is told if that can be refused, and the message where it cannot.
    Nothing(Verdict, Message),
}

impl Terms {
    pub(crate) fn of(lines: &[Line], decision: &Decision) -> Self {
        let lines = || {
            let limiting = decision.limiting.iter().copied();
            limiting.filter_map(|position| Some((position, lines.get(usize::from(position))?)))
        };
        let durations = lines().filter_map(|(position, line)| Some((position, line.limits.duration?)));
        let media = lines().filter(|(_, line)| !line.limits.media.is_empty());
        Self {
            limiting: decision.limiting.clone(),
            duration: durations.min_by_key(|(_, duration)| *duration),
            media: media.map(|(position, line)| (position, line.limits.media.clone())).collect(),
        }
    }

    /// A message with those streams turned off that the call may not have.
    //= RFC 3264 §5.1, §6: port 0 in an offer is a stream that must not be used; the answer to it has port 0 as well.
    pub(crate) fn filter(&self, message: &Message) -> Filtered {
        if self.media.is_empty() {
            return Filtered::AsItCame;
        }
        let Body::Description(text) = Body::of(message) else { return Filtered::AsItCame };
        // What cannot be read is refused by whoever needs it.
        let Ok(session) = Session::parse(text) else { return Filtered::AsItCame };
        let off: Vec<u16> = sdp::turned_off(&session).collect();
        let used = || (0..session.streams()).filter(|stream| !off.contains(stream));
        let forbidden: Vec<(u16, u16)> =
            used().filter_map(|stream| Some((stream, self.forbids(&session, stream)?))).collect();
        let Some((_, by)) = forbidden.first() else { return Filtered::AsItCame };
        let text =
            forbidden.iter().fold(session.patch(), |patch, (stream, _)| patch.port(*stream, 0)).finish();
        let other = with_body(message, &text).unwrap_or_else(|| message.clone());
        if used().count() > forbidden.len() {
            return Filtered::Other(other);
        }
        Filtered::Nothing(
            Verdict::plain(488, format!("{} allows none of the offered media", name(*by))),
            other,
        )
    }

    /// The line that forbids a stream.
    fn forbids(&self, session: &Session<'_>, stream: u16) -> Option<u16> {
        let line = session.stream_lines(stream).next()?;
        let word = line.value.split(|octet| *octet == b' ').next().unwrap_or_default();
        let allows = |media: &[String]| media.iter().any(|media| media.as_bytes().eq_ignore_ascii_case(word));
        self.media.iter().find(|(_, media)| !allows(media)).map(|(position, _)| *position)
    }
}

/// The same message with another body. If that makes it too long, which a missing Content-Length can do, it has none: the label
/// that falls away is as long.
fn with_body(message: &Message, body: &[u8]) -> Option<Message> {
    labelled(message, body, &[Name::ContentLength])
        .or_else(|| labelled(message, b"", &[Name::ContentLength, Name::ContentType]))
}

fn labelled(message: &Message, body: &[u8], left_out: &[Name]) -> Option<Message> {
    let mut builder = match message.is_request() {
        true => Builder::request(message.method(), message.request_uri()),
        false => Builder::response(
            message.status(),
            std::str::from_utf8(message.reason_phrase()).unwrap_or_default(),
        ),
    };
    for header in message.headers().filter(|header| !left_out.contains(&header.name)) {
        builder = builder.copy_line(header);
    }
    let bytes: Bytes = builder.body("", body).finish();
    let mut other = Message::parse(bytes).ok()?;
    if let Some(source) = message.source() {
        other.set_source(source);
    }
    Some(other)
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::super::{Limits, Says};
    use super::*;

    fn terms(media: &[&[&str]]) -> Terms {
        let of = |types: &&[&str]| Line {
            limits: Limits { media: types.iter().map(|word| (*word).into()).collect(), ..Limits::default() },
            ..line(Says::Limit)
        };
        let lines: Vec<Line> = media.iter().map(of).collect();
        let limiting = (0..).take(lines.len()).collect();
        Terms::of(&lines, &Decision { limiting, by: None, admits: true })
    }

    fn invite(streams: &str) -> Message {
        let body =
            format!("v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\n{streams}");
        let text = format!(
            "INVITE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 9\r\nX: 1\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    const AUDIO: &str = "m=audio 4000 RTP/AVP 0\r\n";
    const VIDEO: &str = "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";

    fn streams(filtered: Filtered) -> String {
        match filtered {
            Filtered::AsItCame => "as it came".into(),
            Filtered::Nothing(verdict, message) => {
                assert!(Session::parse(message.body()).unwrap().streams() == 1, "all is turned off");
                assert!(String::from_utf8_lossy(message.body()).contains("m=video 0 "));
                format!("{} {}", verdict.code, verdict.what)
            }
            Filtered::Other(message) => {
                let text = String::from_utf8_lossy(message.body()).into_owned();
                assert_eq!(message.source(), None);
                assert!(
                    String::from_utf8_lossy(message.bytes()).contains("\r\nX: 1\r\nc: application/sdp\r\n")
                );
                text.lines().filter(|line| line.starts_with("m=")).collect::<Vec<_>>().join("|")
            }
        }
    }

    #[test]
    fn streams_of_other_types_are_turned_off_and_the_rest_stays() {
        let both = invite(&format!("{AUDIO}{VIDEO}"));
        let off = "m=audio 4000 RTP/AVP 0|m=video 0 RTP/AVP 96";
        assert_eq!(streams(terms(&[&["audio"]]).filter(&both)), off);
        assert_eq!(streams(terms(&[&["audio", "video"], &["audio", "image"]]).filter(&both)), off);
        assert_eq!(streams(terms(&[&["audio", "video"]]).filter(&both)), "as it came");
        assert_eq!(streams(terms(&[]).filter(&both)), "as it came");
        let shouted = invite(&format!("{AUDIO}{}", VIDEO.replace("video", "VIDEO")));
        assert_eq!(streams(terms(&[&["audio", "video"]]).filter(&shouted)), "as it came");
    }

    #[test]
    fn an_offer_of_nothing_else_is_refused_by_name() {
        let refused = "488 call policy 2 allows none of the offered media";
        assert_eq!(streams(terms(&[&["audio", "video"], &["audio"]]).filter(&invite(VIDEO))), refused);
        // Turned off by its sender: nothing is forbidden.
        let off = VIDEO.replace("4002", "0");
        assert_eq!(streams(terms(&[&["audio"]]).filter(&invite(&off))), "as it came");
        assert_eq!(streams(terms(&[&["audio"]]).filter(&invite(&format!("{AUDIO}{off}")))), "as it came");
    }

    #[test]
    fn the_shortest_of_all_lines_counts() {
        let lasting = |seconds| Line {
            limits: Limits { duration: Some(Duration::from_secs(seconds)), ..Limits::default() },
            ..line(Says::Limit)
        };
        let lines = [lasting(90), lasting(60), line(Says::Allow)];
        let decision = Decision { limiting: [0, 1, 2].into_iter().collect(), by: Some(2), admits: true };
        assert_eq!(Terms::of(&lines, &decision).duration, Some((1, Duration::from_secs(60))));
    }
}
