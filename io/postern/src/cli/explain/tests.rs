//! The answers of `postern explain`, on one file.

use std::path::PathBuf;

use super::*;

const FILE: &str = "[realm.outside]
listen = [\"udp:203.0.113.1:5060\"]
[realm.inside]
listen = [\"udp:10.0.0.1:5060\"]
media = [\"10.0.40.0/24\"]
[middlebox]
time-zone = \"Europe/Berlin\"
[[route]]
users = [\"0900*\"]
refuse = 603
[[route]]
to = \"inside\"
next-hop = \"sip:10.0.0.5\"
[[route]]
to = \"outside\"
next-hop = [\"sip:192.0.2.10\", \"sip:pbx.example:5080\"]
[[call-policy]]
do = \"limit\"
to = \"outside\"
max-calls = 30
[[call-policy]]
do = \"deny\"
users = [\"+49900*\"]
[[call-policy]]
do = \"allow\"
when = \"Mon-Fri 08:00-18:00\"
media = [\"audio\"]
[[call-policy]]
do = \"deny\"
";

const OFFER: &str = "v=0\no=- 1 1 IN IP4 10.0.40.7\ns=-\nc=IN IP4 10.0.40.7\nt=0 0\nm=audio 20000 RTP/AVP 0\nm=video 20002 RTP/AVP 96\n";

fn asked(to: &str, at: &str) -> Explain {
    Explain {
        from: "201".into(),
        to: to.into(),
        sdp: None,
        source: "10.0.40.7".parse().ok(),
        realm: None,
        at: Some(at.into()),
    }
}

fn report(asked: &Explain) -> Report {
    let config = Config::parse("postern.toml", FILE).unwrap();
    let question = Question::of(asked, &config).map_err(|complaint| complaint.text).unwrap();
    let explanation = explain(settings::b2bua(&config), &question.hypothesis(), CAPABILITIES).unwrap();
    Report::new(&config, &question, &explanation)
}

fn refused(to: &str, at: &str) -> (u16, String) {
    let refused = report(&asked(to, at)).refused.unwrap();
    (refused.status, refused.why)
}

#[test]
fn a_call_that_goes_on_has_its_route_its_lines_and_its_pinholes() {
    let file = std::env::temp_dir().join(format!("postern-explain-{}.sdp", std::process::id()));
    std::fs::write(&file, OFFER).unwrap();
    let report = report(&Explain { sdp: Some(file.clone()), ..asked("+4930123", "Mon 09:00") });
    std::fs::remove_file::<PathBuf>(file).unwrap();
    let text = report.text();
    let expected = "call         sip:201@10.0.0.1:5060 -> sip:+4930123@10.0.0.1:5060
arrives      from 10.0.40.7 in realm inside, Mon 09:00
route        3 (line 14) into realm outside
next hops    sip:192.0.2.10, then sip:pbx.example:5080
call policy  3 (line 24)
limits of    1 (line 17), 3 (line 24)
";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("udp 10.0.40.7:20000-20001 <- udp 0.0.0.0/0:*"), "{text}");
    assert!(!text.contains("20002"), "video is not allowed, and no pinhole is asked for it: {text}");
    assert!(text.ends_with("goes on      yes\n"), "{text}");
}

#[test]
fn a_refusal_is_that_of_the_program_itself() {
    let by_line = (403, "Forbidden: call policy 2 denies this call".to_owned());
    assert_eq!(refused("sip:+49-900-1@10.0.0.1", "Mon 09:00"), by_line);
    let by_time = (403, "Forbidden: call policy 4 denies this call".to_owned());
    assert_eq!(refused("+4930", "Mon 18:00"), by_time);
    // A date is read in the time zone of the file: a Saturday.
    assert_eq!(refused("+4930", "2026-12-05T12:00"), by_time);
    let by_route = (603, "Decline: route 1 refuses this call".to_owned());
    assert_eq!(refused("0900123", "Mon 09:00"), by_route);
}

#[test]
fn a_question_that_cannot_be_answered_says_what_is_missing() {
    let config = Config::parse("postern.toml", FILE).unwrap();
    let complaint = |asked: Explain| Question::of(&asked, &config).map(|_| ()).unwrap_err().text;
    let nowhere = complaint(Explain { source: None, ..asked("b", "Mon 09:00") });
    assert!(nowhere.contains("--realm: outside, inside"), "{nowhere}");
    assert!(complaint(asked("b", "tomorrow")).contains("is no time"));
    assert!(complaint(asked("a b", "Mon 09:00")).contains("is no SIP URI"));
    let unknown = Explain { realm: Some("indoors".into()), ..asked("b", "Mon 09:00") };
    assert!(complaint(unknown).contains("there is no realm `indoors`"));
}

#[test]
fn the_realm_is_the_one_closest_around_the_source() {
    let from = |source: &str| {
        let asked = Explain { source: source.parse().ok(), ..asked("b", "Mon 09:00") };
        report(&asked).realm
    };
    assert_eq!((from("10.0.40.9").as_str(), from("198.51.100.7").as_str()), ("inside", "outside"));
}
