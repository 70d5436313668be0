use bytes::Bytes;

use super::route::as_request_uri;
use super::*;

fn message(text: &str) -> Message {
    Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
}

fn invite(extra: &str) -> Message {
    message(&format!(
        "INVITE sip:bob@b.example SIP/2.0\nVia: SIP/2.0/UDP a.example;branch=z9hG4bKa\nFrom: A <sip:alice@a.example>;tag=fa\n\
         To: <sip:bob@b.example>\nCall-ID: c1\nCSeq: 7 INVITE\n{extra}\n"
    ))
}

fn response(status: u16, extra: &str) -> Message {
    message(&format!(
        "SIP/2.0 {status} X\nVia: SIP/2.0/UDP us;branch=z9hG4bKa\nFrom: <sip:alice@a.example>;tag=fa\n\
         To: <sip:bob@b.example>;tag=tb\nCall-ID: c1\nCSeq: 1 INVITE\n{extra}\n"
    ))
}

fn initial() -> Initial {
    Initial::new("c1", (b"<sip:alice@a.example>", "fa"), b"<sip:bob@b.example>", "sip:bob@b.example", &[], 1)
        .unwrap()
}

fn text(builder: Builder) -> String {
    String::from_utf8(builder.finish().to_vec()).unwrap().replace("\r\n", "\n")
}

#[test]
fn the_callee_reads_everything_from_the_invite() {
    let contact = "Contact: <sip:alice@192.0.2.1:5070;ob>\nRecord-Route: <sip:p2;lr>, <sip:p1;lr>\n";
    let mut dialog = Dialog::uas(&invite(contact), "tb").unwrap();
    assert_eq!((dialog.call_id(), dialog.local_tag(), dialog.remote_tag()), ("c1", "tb", "fa"));
    assert_eq!((dialog.remote_cseq(), dialog.local_cseq(), dialog.is_early()), (Some(7), 0, true));
    assert_eq!(dialog.next_hop(), "sip:p2;lr");
    dialog.confirm();
    assert!(!dialog.is_early());
    assert_eq!(
        text(dialog.request(&Method::Bye)),
        "BYE sip:alice@192.0.2.1:5070;ob SIP/2.0\nMax-Forwards: 70\nRoute: <sip:p2;lr>\nRoute: <sip:p1;lr>\n\
         From: <sip:bob@b.example>;tag=tb\nTo: A <sip:alice@a.example>;tag=fa\nCall-ID: c1\nCSeq: 1 BYE\n\
         Content-Length: 0\n\n"
    );
}

#[test]
fn a_route_set_that_cannot_be_requested_makes_no_dialog() {
    let broken = invite("Contact: <sip:a@a>\nRecord-Route: sip:p>\n");
    assert_eq!(Dialog::uas(&broken, "tb").unwrap_err(), Defect::Malformed(Name::RecordRoute));
}

#[test]
fn an_invite_without_contact_makes_no_dialog() {
    assert_eq!(Dialog::uas(&invite(""), "tb").unwrap_err(), Defect::Missing(Name::Contact));
    assert_eq!(Dialog::uas(&invite("Contact: *\n"), "tb").unwrap_err(), Defect::Malformed(Name::Contact));
    let broken = invite("Contact: sip:b@10.0.0.5:5060>\n");
    assert_eq!(Dialog::uas(&broken, "tb").unwrap_err(), Defect::Malformed(Name::Contact));
    let mail = invite("Contact: <mailto:a@a.example>\n");
    assert_eq!(Dialog::uas(&mail, "tb").unwrap_err(), Defect::Malformed(Name::Contact));
}

#[test]
fn the_callers_route_set_is_reversed() {
    //= test RFC 3261 §12.1.2: Record-Route of the response in reverse order.
    let mut initial = initial();
    let first = text(initial.request(&Method::Invite));
    assert!(first.contains("From: <sip:alice@a.example>;tag=fa\nTo: <sip:bob@b.example>\n"), "{first}");
    let ringing = response(180, "Record-Route: <sip:p2;lr>,<sip:p1;lr>\n");
    let mut dialog = Dialog::uac(&initial, &ringing).unwrap();
    assert!(dialog.is_early());
    assert_eq!(dialog.remote_target(), "sip:bob@b.example");
    assert_eq!(dialog.next_hop(), "sip:p1;lr");
    let answer = response(200, "Record-Route: <sip:p3;lr>\nContact: <sip:bob@192.0.2.9>\n");
    dialog.confirm_by(&answer).unwrap();
    assert_eq!((dialog.is_early(), dialog.next_hop()), (false, "sip:p3;lr"));
    assert_eq!(
        text(dialog.ack(1)),
        "ACK sip:bob@192.0.2.9 SIP/2.0\nMax-Forwards: 70\nRoute: <sip:p3;lr>\nFrom: <sip:alice@a.example>;tag=fa\n\
         To: <sip:bob@b.example>;tag=tb\nCall-ID: c1\nCSeq: 1 ACK\nContent-Length: 0\n\n"
    );
}

#[test]
fn a_strict_router_moves_into_the_request_line() {
    //= test RFC 3261 §12.2.1.1: the example of the section.
    let routes = "Record-Route: <sip:proxy1?x=y>, <sip:proxy2>, <sip:proxy3;lr>, <sip:proxy4>\nContact: <sip:user@remoteua>\n";
    let mut dialog = Dialog::uas(&invite(routes), "tb").unwrap();
    let request = text(dialog.request(&Method::Info));
    assert!(
        request.starts_with(
            "INFO sip:proxy1 SIP/2.0\nMax-Forwards: 70\nRoute: <sip:proxy2>\nRoute: <sip:proxy3;lr>\nRoute: <sip:proxy4>\n\
             Route: <sip:user@remoteua>\nFrom:"
        ),
        "{request}"
    );
}

#[test]
fn a_request_line_has_no_method_and_no_headers() {
    //= test RFC 3261 §19.1.1 table 1: both are allowed in a Contact only.
    assert_eq!(as_request_uri("sip:a@b;method=INFO;lr?Subject=x"), "sip:a@b;lr");
    assert_eq!(as_request_uri("sip:a@b"), "sip:a@b");
}
#[test]
fn requests_count_up_and_retries_go_on_counting() {
    let mut initial = initial();
    assert!(text(initial.request(&Method::Invite)).contains("CSeq: 1 INVITE\n"));
    assert!(text(initial.request(&Method::Invite)).contains("CSeq: 2 INVITE\n"));
    let mut dialog = Dialog::uac(&initial, &response(200, "")).unwrap();
    assert!(text(dialog.request(&Method::Bye)).contains("CSeq: 3 BYE\n"));
}

#[test]
fn an_older_request_is_out_of_order() {
    //= test RFC 3261 §12.2.2: lower is refused with 500, gaps are fine.
    let request = |number: u32| {
        message(&format!(
            "BYE sip:x SIP/2.0\nVia: SIP/2.0/UDP a;branch=z9hG4bKb\nFrom: <sip:a@a>;tag=fa\nTo: <sip:b@b>;tag=tb\n\
             Call-ID: c1\nCSeq: {number} BYE\n\n"
        ))
    };
    let mut dialog = Dialog::uas(&invite("Contact: <sip:a@a>\n"), "tb").unwrap();
    assert!(dialog.is_of_request(&request(9)));
    assert_eq!(dialog.receive(&request(9)), Ok(()));
    assert_eq!(dialog.receive(&request(8)), Err(OutOfOrder));
    assert_eq!(dialog.receive(&request(30)), Ok(()));
    assert_eq!(OutOfOrder.status(), 500);
}

#[test]
fn a_stranger_is_not_of_the_dialog() {
    let dialog = Dialog::uas(&invite("Contact: <sip:a@a>\n"), "tb").unwrap();
    assert!(!dialog.is_of_request(&invite("")));
}

#[test]
fn a_refresh_moves_the_target_and_nothing_else() {
    let mut dialog = Dialog::uas(&invite("Contact: <sip:a@a>\nRecord-Route: <sip:p;lr>\n"), "tb").unwrap();
    dialog.refresh(&invite("Contact: <sip:new@a>\nRecord-Route: <sip:other;lr>\n")).unwrap();
    assert_eq!((dialog.remote_target(), dialog.next_hop()), ("sip:new@a", "sip:p;lr"));
    dialog.refresh(&invite("")).unwrap();
    assert_eq!(dialog.remote_target(), "sip:new@a");
}

#[test]
fn a_dialog_is_small_and_a_huge_one_is_refused() {
    assert!(size_of::<Dialog>() <= 128, "{}", size_of::<Dialog>());
    let route = format!("Record-Route: <sip:{};lr>\n", "p".repeat(80));
    let routes = |count| format!("Contact: <sip:a@a>\n{}", route.repeat(count));
    assert!(Dialog::uas(&invite(&routes(50)), "tb").is_ok());
    let routes = routes(100);
    assert_eq!(Dialog::uas(&invite(&routes), "tb").unwrap_err(), Defect::HeadTooLong);
}
