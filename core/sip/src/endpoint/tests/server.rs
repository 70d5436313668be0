use super::*;

#[test]
fn an_invite_gets_100_and_its_repetitions_the_last_response() {
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", VIA, "Timestamp: 54\n"));
    let sent = subject.transmits();
    assert!(text(&sent[0]).starts_with("SIP/2.0 100 Trying\n"));
    //= test RFC 3261 §8.2.6.1: Timestamp comes back; §17.2.1: without a To tag.
    assert!(text(&sent[0]).contains("\nTimestamp: 54\n") && text(&sent[0]).contains("\nTo: <sip:us@us>\n"));
    let (key, request) = subject.request();
    assert!(subject.respond(key, &request, 180));
    subject.receive(&asked("INVITE", VIA, ""));
    assert_eq!(subject.sent(), ["180 X", "180 X"]);
    assert!(subject.heard().is_empty());
}

#[test]
fn a_host_name_in_capitals_is_the_same_sender() {
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", "Peer.Example;branch=z9hG4bKa1", ""));
    subject.receive(&asked("INVITE", "peer.example:5060;branch=z9hG4bKa1", ""));
    assert_eq!((subject.sent().len(), subject.heard().len()), (2, 1));
}

#[test]
fn an_accepted_invite_absorbs_repetitions_until_timer_l() {
    //= test RFC 6026 §7.1: repeated INVITEs end here, repeated 2xx of the user pass, the transaction ends after 64*T1.
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", VIA, ""));
    let (key, request) = subject.request();
    assert!(subject.respond(key, &request, 200));
    subject.sent();
    subject.receive(&asked("INVITE", VIA, ""));
    assert!(subject.sent().is_empty() && subject.heard().is_empty());
    assert!(subject.respond(key, &request, 200));
    assert_eq!(subject.sent(), ["200 X"]);
    assert!(!subject.respond(key, &request, 486));
    subject.wait(Duration::from_secs(31));
    assert_eq!(subject.endpoint.len(), (0, 1));
    subject.wait(Duration::from_secs(1));
    assert!(matches!(subject.heard()[..], [Incoming::ServerGone { why: ServerEnd::Ended, .. }]));
    assert!(subject.endpoint.is_empty());
    assert!(!subject.respond(key, &request, 200));
}

#[test]
fn a_refused_invite_repeats_until_ack() {
    //= test RFC 3261 §17.2.1: timer G doubles up to T2; the ACK stops it; later ACKs are absorbed.
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", VIA, ""));
    let (key, request) = subject.request();
    subject.respond(key, &request, 486);
    subject.sent();
    subject.wait(Duration::from_millis(7_600));
    assert_eq!(subject.sent().len(), 4, "after 0.5, 1.5, 3.5 and 7.5 s");
    for _ in 0..2 {
        subject.receive(&asked("ACK", VIA, ""));
    }
    assert!(subject.heard().is_empty());
    subject.wait(Duration::from_secs(5));
    assert!(subject.sent().is_empty() && subject.endpoint.is_empty());
}

#[test]
fn a_refused_invite_without_ack_times_out() {
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", VIA, ""));
    let (key, request) = subject.request();
    subject.respond(key, &request, 486);
    subject.wait(Duration::from_secs(32));
    assert!(matches!(subject.heard()[..], [Incoming::ServerGone { why: ServerEnd::AckTimeout, .. }]));
    assert!(subject.endpoint.is_empty());
}

#[test]
fn an_ack_to_a_2xx_goes_to_the_user() {
    let mut subject = Subject::new();
    subject.receive(&asked("ACK", "192.0.2.9;branch=z9hG4bKother", ""));
    assert!(matches!(subject.heard()[..], [Incoming::Ack { .. }]));
    assert!(subject.sent().is_empty() && subject.endpoint.is_empty());
}

#[test]
fn a_non_invite_repeats_its_answer_until_timer_j() {
    let mut subject = Subject::new();
    subject.receive(&asked("BYE", VIA, "")).receive(&asked("BYE", VIA, ""));
    assert!(subject.sent().is_empty());
    let (key, request) = subject.request();
    assert!(subject.respond(key, &request, 200));
    assert!(!subject.respond(key, &request, 500));
    subject.receive(&asked("BYE", VIA, ""));
    assert_eq!(subject.sent(), ["200 X", "200 X"]);
    subject.wait(Duration::from_secs(32));
    assert!(subject.endpoint.is_empty());
}

#[test]
fn a_slow_answer_is_announced_by_100() {
    //= test RFC 4320 §4.1: not before 3.5 s, and then once.
    let mut subject = Subject::new();
    subject.receive(&asked("INFO", VIA, "")).wait(Duration::from_millis(3_499));
    assert!(subject.sent().is_empty());
    subject.wait(Duration::from_secs(10));
    assert_eq!(subject.sent(), ["100 Trying"]);
}

#[test]
fn tcp_keeps_no_finished_transaction() {
    let mut subject = Subject::new();
    subject.receive_from(tcp(PEER), &asked("BYE", VIA, ""));
    let (key, request) = subject.request();
    subject.respond(key, &request, 200);
    assert!(subject.endpoint.is_empty());
}

#[test]
fn responses_go_where_the_via_and_the_source_say() {
    let cases = [
        //= test RFC 3261 §18.2.2: source address, port of sent-by, 5060 if it has none.
        (hop("192.0.2.9:6000"), "192.0.2.9:7000;branch=z9hG4bKa", "192.0.2.9:7000"),
        (hop("192.0.2.9:6000"), "peer.example;branch=z9hG4bKa", "192.0.2.9:5060"),
        //= test RFC 3581 §4: source address and source port.
        (hop("192.0.2.9:6000"), "10.0.0.1:7000;branch=z9hG4bKa;rport", "192.0.2.9:6000"),
        // maddr is not followed.
        (hop("192.0.2.9:6000"), "192.0.2.9;maddr=198.51.100.1;branch=z9hG4bKa", "192.0.2.9:5060"),
        //= test RFC 3261 §18.2.2: over TCP the connection, and if it is closed the port of sent-by.
        (tcp("192.0.2.9:6000"), "192.0.2.9:7000;branch=z9hG4bKa;rport", "192.0.2.9:7000"),
    ];
    for (from, via, to) in cases {
        let mut subject = Subject::new();
        subject.receive_from(from, &asked("INVITE", via, ""));
        let sent = subject.transmits();
        assert_eq!((sent[0].hop.remote, sent[0].hop.connection), (to.parse().unwrap(), from.connection));
    }
}

#[test]
fn the_via_of_a_response_says_where_the_request_came_from() {
    let mut subject = Subject::new();
    subject.receive_from(hop("192.0.2.9:6000"), &asked("INVITE", "10.0.0.1;rport;branch=z9hG4bKa", ""));
    assert!(text(&subject.transmits()[0]).contains("rport=6000;branch=z9hG4bKa;received=192.0.2.9\n"));
}

#[test]
fn an_old_peer_without_branches_is_served() {
    //= test RFC 3261 §17.2.3, RFC 6026 §6: matched by the whole Via and the tags.
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", "192.0.2.9", "")).receive(&asked("INVITE", "192.0.2.9", ""));
    let (key, request) = subject.request();
    assert!(subject.heard().is_empty());
    subject.respond(key, &request, 486);
    let ack = asked("ACK", "192.0.2.9", "");
    subject.receive(&ack.replace("<sip:us@us>", "<sip:us@us>;tag=wrong"));
    assert!(matches!(subject.heard()[..], [Incoming::Ack { .. }]), "not the ACK of this transaction");
    subject.receive(&ack.replace("<sip:us@us>", "<sip:us@us>;tag=tt"));
    assert!(subject.heard().is_empty());
    subject.wait(Duration::from_secs(5));
    assert!(subject.endpoint.is_empty());
}

#[test]
fn an_old_peers_ack_to_a_2xx_goes_to_the_user() {
    //= test RFC 6026 §6: the same Via as the INVITE, but the transaction is Accepted.
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", "192.0.2.9", ""));
    let (key, request) = subject.request();
    subject.respond(key, &request, 200);
    subject.receive(&asked("ACK", "192.0.2.9", ""));
    assert!(matches!(subject.heard()[..], [Incoming::Ack { .. }]));
}

#[test]
fn a_cancel_is_answered_and_told() {
    let mut subject = Subject::new();
    subject.receive(&asked("INVITE", VIA, ""));
    let (key, request) = subject.request();
    subject.respond(key, &request, 180);
    subject.sent();
    let cancel = asked("CANCEL", VIA, "Reason: SIP;cause=200\n");
    subject.receive(&cancel).receive(&cancel);
    let sent = subject.transmits();
    assert_eq!(sent.len(), 2, "the repetition is answered by the transaction");
    //= test RFC 3261 §9.2: the same To tag as the INVITE's responses.
    assert!(text(&sent[0]).starts_with("SIP/2.0 200 OK\n") && text(&sent[0]).contains(";tag=tt\n"));
    match &subject.heard()[..] {
        [Incoming::Cancel { invite, message }] => {
            assert_eq!((*invite, message.header(Name::Reason)), (key, Some(&b"SIP;cause=200"[..])));
        }
        other => panic!("{other:?}"),
    }
    assert!(subject.respond(key, &request, 487));
}

#[test]
fn a_cancel_after_the_final_response_changes_nothing() {
    //= test RFC 3261 §9.2: 200 to the CANCEL, no effect.
    for status in [200, 486] {
        let mut subject = Subject::new();
        subject.receive(&asked("INVITE", VIA, ""));
        let (key, request) = subject.request();
        subject.respond(key, &request, status);
        subject.sent();
        subject.receive(&asked("CANCEL", VIA, ""));
        assert_eq!(subject.sent(), ["200 OK"]);
        assert!(subject.heard().is_empty());
    }
}

#[test]
fn an_undeliverable_response_is_told_and_changes_nothing() {
    //= test RFC 6026 §8.8: the transaction stays where it is.
    let mut subject = Subject::new();
    subject.receive_from(tcp("192.0.2.9:6000"), &asked("INVITE", VIA, ""));
    let (key, _) = subject.request();
    let failed = Hop { connection: None, ..subject.endpoint.response_hop(key).unwrap() };
    subject.endpoint.transport_failed(subject.now, failed, &mut subject.out, &mut subject.tu);
    assert!(matches!(subject.heard()[..], [Incoming::ServerGone { why: ServerEnd::Transport, .. }]));
    assert_eq!(subject.endpoint.len(), (0, 1));
}

#[test]
fn a_finished_transaction_is_small() {
    assert!(size_of::<Server>() <= 256, "{}", size_of::<Server>());
    assert!(size_of::<Client>() <= 256, "{}", size_of::<Client>());
}
