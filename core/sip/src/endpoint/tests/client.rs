use super::*;

#[test]
fn a_request_carries_our_via_with_rport_over_udp() {
    let mut subject = Subject::new();
    let (_, udp) = subject.ask(&Method::Options);
    let (_, tcp) = subject.ask_over(tcp(PEER), &Method::Options);
    let via = |message: &Message| String::from_utf8(message.header(Name::Via).unwrap().to_vec()).unwrap();
    assert!(via(&udp).starts_with("SIP/2.0/UDP Us.example:5060;branch=z9hG4bKPn7."), "{}", via(&udp));
    assert!(via(&udp).ends_with(";rport"));
    assert!(via(&tcp).starts_with("SIP/2.0/TCP ") && !via(&tcp).contains("rport"));
}

#[test]
fn every_2xx_goes_to_the_user_and_only_the_first_failure() {
    //= test RFC 6026 §7.2: the transaction stays 64*T1 to pass 2xx on.
    let mut subject = Subject::new();
    let (_, invite) = subject.ask(&Method::Invite);
    subject.answer(&invite, 100, "").answer(&invite, 180, "b1").answer(&invite, 200, "b1");
    subject.answer(&invite, 200, "b1").answer(&invite, 200, "b2").answer(&invite, 486, "b3");
    assert_eq!(subject.heard().len(), 5);
    assert_eq!(subject.sent().len(), 1, "no ACK of the transaction's own, no repetition");
    subject.wait(Duration::from_secs(32));
    assert!(subject.endpoint.is_empty());
}

#[test]
fn a_failure_is_acknowledged_each_time_it_comes() {
    //= test RFC 3261 §17.1.1.3: the ACK has the INVITE's Via, Route, From, Call-ID and number, and the response's To.
    let mut subject = Subject::new();
    let (_, invite) = subject.ask(&Method::Invite);
    subject.sent();
    subject.answer(&invite, 486, "b1").answer(&invite, 486, "b1");
    let sent = subject.transmits();
    assert_eq!(sent.len(), 2);
    let via = String::from_utf8_lossy(invite.header(Name::Via).unwrap()).into_owned();
    assert_eq!(
        text(&sent[1]),
        format!(
            "ACK sip:b@peer.example SIP/2.0\nVia: {via}\nMax-Forwards: 70\nRoute: <sip:p1;lr>\n\
             From: <sip:a@us.example>;tag=ft\nCall-ID: out-1\nCSeq: 5 ACK\nTo: <sip:b@peer.example>;tag=b1\n\
             Content-Length: 0\n\n"
        )
    );
    assert_eq!(subject.heard().len(), 1);
    subject.wait(Duration::from_secs(32));
    assert!(subject.endpoint.is_empty());
}

#[test]
fn over_tcp_a_failure_is_acknowledged_and_forgotten() {
    let mut subject = Subject::new();
    let (_, invite) = subject.ask_over(tcp(PEER), &Method::Invite);
    subject.answer(&invite, 486, "b1");
    assert_eq!(subject.sent(), ["INVITE sip:b@peer.example", "ACK sip:b@peer.example"]);
    assert!(subject.endpoint.is_empty());
}

#[test]
fn an_unanswered_bye_is_sent_eleven_times() {
    //= test RFC 3261 §17.1.2.2: 0, 0.5, 1.5, 3.5, 7.5 … 31.5 s, and after timer F it has failed.
    let mut subject = Subject::new();
    let (bye, _) = subject.ask(&Method::Bye);
    subject.wait(Duration::from_secs(32));
    assert_eq!(subject.sent().len(), 11);
    assert!(matches!(subject.heard()[..],
        [Incoming::ClientFailed { key, why: ClientFailure::Timeout }] if key == bye));
    assert!(subject.endpoint.is_empty());
}

#[test]
fn a_provisional_response_slows_a_request_down() {
    let mut subject = Subject::new();
    let (_, info) = subject.ask(&Method::Info);
    subject.answer(&info, 100, "");
    subject.sent();
    subject.wait(Duration::from_millis(8_600));
    assert_eq!(subject.sent().len(), 3, "after 0.5, 4.5 and 8.5 s");
}

#[test]
fn responses_that_are_not_ours_are_dropped() {
    let mut subject = Subject::new();
    let (_, invite) = subject.ask(&Method::Invite);
    subject.sent();
    let ours =
        String::from_utf8(Builder::response_to(&invite, 200, "X", Some("t")).finish().to_vec()).unwrap();
    //= test RFC 3261 §18.1.2: sent-by; §8.1.3.3: one Via; §17.1.3: branch and method.
    subject.receive(&ours.replace("Us.example", "them.example"));
    subject.receive(&ours.replace(";rport", ";rport, SIP/2.0/UDP other"));
    subject.receive(&ours.replace("z9hG4bKPn7.", "z9hG4bKPn8."));
    assert_eq!(subject.endpoint.counters().foreign_responses, 3);
    subject.receive(&ours.replace("5 INVITE", "5 BYE"));
    assert_eq!(subject.endpoint.counters().stray_responses, 1);
    subject.receive(&ours.replace("CSeq", "X-CSeq"));
    assert_eq!(subject.endpoint.counters().malformed_dropped, 1);
    assert!(matches!(subject.heard()[..], [Incoming::Malformed { .. }]) && subject.sent().is_empty());
    subject.receive(&ours.replace("Us.example", "US.EXAMPLE"));
    assert_eq!(subject.heard().len(), 1);
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    //= test RFC 3261 §9.1: not before a 1xx, not after a final response, once.
    let mut subject = Subject::new();
    let (key, invite) = subject.ask(&Method::Invite);
    let cancel = |subject: &mut Subject| {
        let reason: (Name, &[u8]) = (Name::Reason, b"SIP;cause=504");
        subject.endpoint.cancel(subject.now, key, &[reason], b"", &mut subject.out)
    };
    assert_eq!(cancel(&mut subject), None);
    subject.answer(&invite, 180, "b1");
    subject.sent();
    let cancel_key = cancel(&mut subject).unwrap();
    assert_eq!(cancel(&mut subject), None);
    let sent = subject.transmits();
    let via = String::from_utf8_lossy(invite.header(Name::Via).unwrap()).into_owned();
    assert_eq!(
        text(&sent[0]),
        format!(
            "CANCEL sip:b@peer.example SIP/2.0\nVia: {via}\nMax-Forwards: 70\nRoute: <sip:p1;lr>\n\
             From: <sip:a@us.example>;tag=ft\nCall-ID: out-1\nCSeq: 5 CANCEL\nTo: <sip:b@peer.example>\n\
             Reason: SIP;cause=504\nContent-Length: 0\n\n"
        )
    );
    subject.heard();
    let cancel_request = Message::parse(sent[0].bytes.clone()).unwrap();
    subject.answer(&cancel_request, 200, "b1").answer(&invite, 487, "b1");
    let keys: Vec<_> = subject
        .heard()
        .into_iter()
        .map(|event| match event {
            Incoming::Response { key, message } => (key, message.status()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, [(cancel_key, 200), (key, 487)]);
    assert_eq!(subject.endpoint.cancel(subject.now, key, &[], b"", &mut subject.out), None);
}

#[test]
fn a_late_2xx_of_an_abandoned_invite_is_stray() {
    let mut subject = Subject::new();
    let (key, invite) = subject.ask(&Method::Invite);
    subject.answer(&invite, 180, "b1");
    subject.endpoint.abandon(key);
    assert!(subject.endpoint.is_empty());
    subject.heard();
    subject.answer(&invite, 200, "b1").answer(&invite, 487, "b1");
    assert!(matches!(subject.heard()[..], [Incoming::Stray2xx { .. }]));
}

#[test]
fn an_unreachable_hop_fails_whoever_waits_for_it() {
    //= test RFC 3261 §17.1.4, §18.4: those transactions and no others.
    let mut subject = Subject::new();
    let (waiting, _) = subject.ask(&Method::Bye);
    let (_, ringing) = subject.ask(&Method::Invite);
    let (_, elsewhere) = subject.ask_over(hop("192.0.2.10:5060"), &Method::Bye);
    let (_, other) = subject.ask_over(tcp(PEER), &Method::Bye);
    subject.answer(&ringing, 180, "b1");
    subject.heard();
    subject.endpoint.transport_failed(subject.now, hop(PEER), &mut subject.out, &mut subject.tu);
    assert!(matches!(subject.heard()[..],
        [Incoming::ClientFailed { key, why: ClientFailure::Transport }] if key == waiting));
    let broken = Hop { connection: Some(ConnectionId(8)), ..tcp(PEER) };
    subject.endpoint.transport_failed(subject.now, broken, &mut subject.out, &mut subject.tu);
    assert!(subject.heard().is_empty(), "another connection to the same peer");
    subject.endpoint.transport_failed(subject.now, tcp(PEER), &mut subject.out, &mut subject.tu);
    assert_eq!(subject.heard().len(), 1);
    subject.answer(&elsewhere, 200, "x").answer(&other, 200, "x");
    assert_eq!(subject.heard().len(), 1, "only the one elsewhere is still there");
}

#[test]
fn an_ack_to_a_2xx_has_a_branch_of_its_own() {
    let mut subject = Subject::new();
    let (_, invite) = subject.ask(&Method::Invite);
    let ack = Builder::request(&Method::Ack, "sip:b@peer.example");
    let bytes = subject.endpoint.send_ack(hop(PEER), ack, &mut subject.out);
    let branch = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.split("branch=").nth(1).unwrap()[..27].to_owned()
    };
    assert_ne!(branch(&bytes), branch(invite.bytes()));
    subject.sent();
    subject.endpoint.repeat(hop(PEER), bytes.clone(), &mut subject.out);
    assert_eq!(subject.transmits(), [Transmit { hop: hop(PEER), bytes }]);
}

#[test]
fn a_cancel_may_say_with_a_body_what_failed() {
    //= test RFC 3312 §8: a CANCEL because of a precondition carries a description.
    let mut subject = Subject::new();
    let (key, invite) = subject.ask(&Method::Invite);
    subject.answer(&invite, 183, "b1");
    subject.sent();
    let label: (Name, &[u8]) = (Name::ContentType, b"application/sdp");
    subject.endpoint.cancel(subject.now, key, &[label], b"v=0\r\n", &mut subject.out);
    let sent = text(&subject.transmits()[0]);
    assert!(sent.ends_with("Content-Type: application/sdp\nContent-Length: 5\n\nv=0\n"), "{sent}");
}

/// A request with a body of this length.
fn long(subject: &mut Subject, hop: Hop, length: usize) -> (ClientKey, Vec<Transmit>) {
    let request = Builder::request(&Method::Invite, "sip:b@peer.example")
        .header(Name::From, "<sip:a@us.example>;tag=ft")
        .header(Name::To, "<sip:b@peer.example>")
        .header(Name::CallId, "out-1")
        .header(Name::CSeq, "5 INVITE")
        .body("text/plain", vec![b'x'; length]);
    let key = subject.endpoint.request(subject.now, hop, request, &mut subject.out);
    (key, subject.out.drain().collect())
}

#[test]
fn what_is_too_long_for_a_datagram_goes_over_a_stream() {
    //= test RFC 3261 §18.1.1: above 1300 bytes over TCP, which the Via says too.
    let mut subject = Subject::new();
    let (_, short) = long(&mut subject, hop(PEER), 700);
    assert_eq!(short[0].hop, hop(PEER));
    let (_, sent) = long(&mut subject, hop(PEER), 1_300);
    let stream = Hop { listener: ListenerId(1), protocol: Protocol::Tcp, ..hop(PEER) };
    assert_eq!(sent[0].hop, stream);
    let message = Message::parse(sent[0].bytes.clone()).unwrap();
    assert_eq!(message.top_via().unwrap().transport(), "TCP");
    assert!(message.top_via().unwrap().rport().is_none());
    assert_eq!(message.body().len(), 1_300);
    subject.wait(Duration::from_secs(4));
    assert!(subject.out.drain().all(|sent| sent.hop == hop(PEER)), "over a stream nothing is repeated");
}

#[test]
fn who_has_no_stream_gets_long_requests_in_datagrams() {
    //= test RFC 3261 §18.1.1: the same request over UDP, if the connection cannot be made.
    let mut subject = Subject::new();
    let (key, sent) = long(&mut subject, hop(PEER), 1_300);
    let branch = |sent: &Transmit| {
        let message = Message::parse(sent.bytes.clone()).unwrap();
        message.top_via().unwrap().branch().unwrap().to_owned()
    };
    subject.endpoint.transport_failed(subject.now, sent[0].hop, &mut subject.out, &mut subject.tu);
    let again: Vec<Transmit> = subject.out.drain().collect();
    assert_eq!((again[0].hop, branch(&again[0])), (hop(PEER), branch(&sent[0])));
    assert!(subject.heard().is_empty(), "nobody need know");
    subject.wait(Duration::from_millis(500));
    assert_eq!(subject.out.drain().count(), 1, "a datagram is repeated");
    let (_, next) = long(&mut subject, hop(PEER), 1_300);
    assert_eq!(next[0].hop, hop(PEER), "it is remembered");
    subject.endpoint.transport_failed(subject.now, hop(PEER), &mut subject.out, &mut subject.tu);
    let failed = subject.heard();
    assert!(
        failed
            .iter()
            .any(|heard| matches!(heard, Incoming::ClientFailed { key: failed, .. } if *failed == key))
    );
}

#[test]
fn stun_is_answered_where_sip_is() {
    //= test RFC 5626 §8: over UDP, from where it was heard.
    let mut subject = Subject::new();
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"transaction!"].concat();
    subject.endpoint.receive(subject.now, hop(PEER), request.into(), &mut subject.out, &mut subject.tu);
    let sent: Vec<Transmit> = subject.out.drain().collect();
    assert_eq!((sent.len(), sent[0].hop, &sent[0].bytes[..2]), (1, hop(PEER), &[1, 1][..]));
    assert!(subject.heard().is_empty() && subject.endpoint.is_empty());
}
