use super::*;

/// What a request is answered with, and that nothing is left of it.
fn refusal(text: &str) -> String {
    let mut subject = Subject::new();
    subject.receive(text);
    let heard = subject.heard();
    assert!(
        heard.iter().all(|heard| matches!(heard, Incoming::Malformed { .. })) && subject.endpoint.is_empty()
    );
    let sent = subject.sent();
    assert_eq!(sent.len(), 1, "one answer: {sent:?}");
    sent[0].clone()
}

fn passes(text: &str) {
    let mut subject = Subject::new();
    subject.receive(text);
    subject.request();
}

#[test]
fn hops_are_counted_outside_dialogs() {
    //= test RFC 3261 §16.3, RFC 7332 §5: 483 at zero, nothing if the field is missing.
    assert_eq!(refusal(&asked("INVITE", VIA, "Max-Forwards: 0\n")), "483 Too Many Hops");
    passes(&asked("INVITE", VIA, "Max-Forwards: 1\n"));
    passes(&asked("INVITE", VIA, ""));
    passes(&asked("OPTIONS", VIA, "Max-Forwards: 0\n"));
    let in_dialog = asked("BYE", VIA, "Max-Forwards: 0\n").replace("<sip:us@us>", "<sip:us@us>;tag=x");
    passes(&in_dialog);
}

#[test]
fn schemes_we_do_not_know_are_refused() {
    //= test RFC 3261 §8.2.2.1.
    let with = |uri: &str| asked("INVITE", VIA, "").replace("sip:us@192.0.2.1", uri);
    assert_eq!(refusal(&with("http://example.org/")), "416 Unsupported URI Scheme");
    passes(&with("tel:+49123"));
    passes(&with("sips:us@192.0.2.1"));
}

#[test]
fn a_broken_request_is_told_what_is_wrong() {
    //= test RFC 3261 §21.4.1, §21.5.6: a phrase that says it.
    let good = asked("INVITE", VIA, "");
    assert_eq!(refusal(&good.replace("SIP/2.0\nVia", "SIP/3.0\nVia")), "505 Version Not Supported");
    assert_eq!(refusal(&good.replace("CSeq: 3 INVITE", "CSeq: x INVITE")), "400 Malformed CSeq Header");
    assert_eq!(refusal(&asked("INVITE", VIA, "Max-Forwards: many\n")), "400 Malformed Max-Forwards Header");
}

#[test]
fn the_same_request_gets_the_same_tag_without_state() {
    //= test RFC 3261 §8.2.7.
    let mut subject = Subject::new();
    let request = asked("INVITE", VIA, "Max-Forwards: 0\n");
    subject.receive(&request).receive(&request);
    let sent = subject.transmits();
    assert!(text(&sent[0]).contains("To: <sip:us@us>;tag="));
    assert_eq!(sent[0], sent[1]);
}

#[test]
fn acks_and_responses_are_never_answered() {
    let mut subject = Subject::new();
    for broken in ["CSeq: x ACK", "CSeq: 3 INVITE", ""] {
        subject.receive(&asked("ACK", VIA, "Max-Forwards: 0\n").replace("CSeq: 3 ACK", broken));
    }
    subject.receive("SIP/2.0 200 OK\n\n").receive("SIP/2.0 999 x\nVia: SIP/2.0/UDP us.example\n\n");
    subject.receive("\n\n").receive("nonsense").receive("");
    assert!(subject.sent().is_empty());
    assert_eq!(subject.endpoint.counters().keep_alives, 2);
}

#[test]
fn the_same_request_by_another_path_is_merged() {
    //= test RFC 3261 §8.2.2.2: same From tag, Call-ID and CSeq, another branch.
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", VIA, ""));
    subject.receive(&asked("INVITE", "192.0.2.9;branch=z9hG4bKa2", ""));
    assert_eq!(subject.sent(), ["100 Trying", "482 Merged Request"]);
    assert_eq!(subject.heard().len(), 1);
    let (key, request) = {
        subject.receive(&asked("OPTIONS", VIA, "").replace("in-1", "in-2"));
        subject.request()
    };
    subject.respond(key, &request, 200);
    subject.wait(Duration::from_secs(32));
    subject.receive(&asked("OPTIONS", "192.0.2.9;branch=z9hG4bKa3", "").replace("in-1", "in-2"));
    subject.request();
}

#[test]
fn forks_to_two_targets_and_retries_are_not_merged() {
    let mut subject = Subject::new();
    let by = |branch: &str| asked("INVITE", &format!("192.0.2.9;branch=z9hG4bK{branch}"), "");
    subject.receive(&by("first"));
    let (key, request) = subject.request();
    subject.receive(&by("fork").replace("sip:us@", "sip:other@"));
    subject.request();
    subject.respond(key, &request, 486);
    subject.receive(&by("retry"));
    subject.request();
}

#[test]
fn a_request_that_comes_back_unchanged_is_a_loop() {
    //= test RFC 5393 §4.2.2, RFC 7332 §4: and one that comes back with another Request-URI is not.
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", VIA, ""));
    let (cause, _) = subject.request();
    let request = Builder::request(&Method::Invite, "sip:x@peer").header(Name::CallId, "y");
    subject.endpoint.forward(subject.now, cause, hop(PEER), request, &mut subject.out);
    let sent = subject.transmits().pop().unwrap();
    let ours = text(&sent).lines().find_map(|line| line.strip_prefix("Via: ").map(str::to_owned)).unwrap();
    let back = asked("INVITE", &format!("proxy;branch=z9hG4bKp, {ours}"), "").replace("in-1", "y");
    subject.receive(&back);
    assert_eq!(subject.sent(), ["482 Loop Detected"]);
    subject.receive(&back.replace("sip:us@192.0.2.1", "sip:elsewhere@192.0.2.1"));
    assert_eq!(subject.sent(), ["100 Trying"]);
}

#[test]
fn a_cancel_of_nothing_gets_481() {
    assert_eq!(refusal(&asked("CANCEL", VIA, "")), "481 Call/Transaction Does Not Exist");
}

#[test]
fn at_the_limit_new_requests_wait_and_bye_does_not() {
    let mut subject = Subject::with_limit(8);
    for number in 0..8 {
        let request = asked("OPTIONS", &format!("192.0.2.9;branch=z9hG4bKn{number}"), "");
        subject.receive(&request.replace("in-1", &format!("in-{number}")));
    }
    assert_eq!(subject.endpoint.len(), (0, 8));
    subject.receive(&asked("INVITE", "192.0.2.9;branch=z9hG4bKx", ""));
    let sent = subject.transmits();
    assert!(text(&sent[0]).starts_with("SIP/2.0 503 ") && text(&sent[0]).contains("\nRetry-After: 5\n"));
    subject.receive(&asked("ACK", "192.0.2.9;branch=z9hG4bKx", ""));
    assert!(subject.sent().is_empty());
    subject.heard();
    subject.receive(&asked("BYE", "192.0.2.9;branch=z9hG4bKy", ""));
    subject.request();
    assert_eq!(subject.endpoint.counters().overloaded, 1);
}

#[test]
fn damaged_messages_never_panic_and_never_amplify() {
    let mut rng = Rng::from_number(4711);
    let mut subject = Subject::new();
    let (_, ours) = subject.ask(&Method::Invite);
    let answer = Builder::response_to(&ours, 183, "X", Some("t")).finish().to_vec();
    let samples: Vec<Vec<u8>> = ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"]
        .iter()
        .map(|method| {
            asked(method, VIA, "Max-Forwards: 7\nRoute: <sip:a;lr>\n").replace('\n', "\r\n").into_bytes()
        })
        .chain([answer])
        .collect();
    subject.sent();
    for _ in 0..20_000 {
        let mut bytes = samples[rng.below(samples.len() as u64) as usize].clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.bits() as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b" ;,:<>\"\r\n"[rng.below(9) as usize]),
            }
        }
        subject.endpoint.receive(
            subject.now,
            hop(PEER),
            Bytes::from(bytes),
            &mut subject.out,
            &mut subject.tu,
        );
        assert!(subject.sent().len() <= 1, "one datagram, at most one answer");
        subject.heard();
        subject.wait(Duration::from_millis(5));
        subject.sent();
    }
    assert!(subject.endpoint.len().1 <= 1_000);
}
