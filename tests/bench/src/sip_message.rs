//! An INVITE as a desk phone sends it, and what a B2BUA does with one.

use bytes::Bytes;
use sip::message::{Builder, Message, Method, Name};

/// 1.4 kB with SDP: two Via, a Route, six unknown or uninteresting fields.
#[must_use]
pub fn invite() -> Bytes {
    let head = HEAD.replace('\n', "\r\n");
    let sdp = SDP.replace('\n', "\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{sdp}", sdp.len()).into()
}

/// Reads what every request needs read: who, which dialog, which transaction, is it for us, what does it insist on.
///
/// # Panics
/// If the message is not the one above.
#[must_use]
pub fn read(message: &Message) -> usize {
    let via = message.top_via().expect("checked");
    let from = message.from().expect("checked");
    let to = message.to().expect("checked");
    via.rfc3261_branch().map_or(0, str::len)
        + from.tag().map_or(0, str::len)
        + to.tag().map_or(0, str::len)
        + message.call_id().expect("checked").len()
        + message.cseq().expect("checked").number as usize
        + usize::from(message.max_forwards().expect("checked").unwrap_or(70))
        + message.contacts().filter_map(Result::ok).map(|contact| contact.uri().len()).sum::<usize>()
        + message.require().count()
        + usize::from(message.has_option(Name::Supported, "timer"))
        + message.sdp().map_or(0, <[u8]>::len)
}

/// Writes the INVITE of the other leg: own dialog fields, unknown ones copied, the body passed on.
#[must_use]
pub fn relay(message: &Message) -> Bytes {
    let mut builder = Builder::request(&Method::Invite, "sip:bob@198.51.100.7:5060;transport=udp")
        .header_fmt(Name::MaxForwards, format_args!("{}", 69))
        .header(Name::From, "\"Alice\" <sip:alice@example.com>;tag=p1-8f2c6a90d1")
        .header(Name::To, "<sip:bob@example.com>")
        .header(Name::CallId, "p1-6f1a2b3c4d5e6f708192a3b4c5d6e7f8")
        .header(Name::CSeq, "1 INVITE")
        .header(Name::Contact, "<sip:198.51.100.1:5060>")
        .header(Name::Supported, "replaces")
        .header(Name::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS");
    for header in
        message.headers().filter(|header| header.name == Name::Other || header.name == Name::UserAgent)
    {
        builder = builder.copy_line(header);
    }
    builder
        .via("SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKp1-3c9d2e1f;rport")
        .body("application/sdp", message.body())
        .finish()
}

const HEAD: &str = "INVITE sip:bob@example.com;user=phone SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bK-524287-1---8d0a1e3c2f4b5a69;rport=5060;received=203.0.113.9
Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-524287-1---77b1c0ffee;rport
Max-Forwards: 70
Route: <sip:203.0.113.1;lr>
Contact: <sip:alice@10.0.0.7:5060;transport=udp>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>\"
To: <sip:bob@example.com>
From: \"Alice\" <sip:alice@example.com>;tag=2fb0dcc9
Call-ID: 98765-ZTI4YjQ3MWE5ZGY0NDA3MWE5ZGY0@10.0.0.7
CSeq: 101 INVITE
Session-Expires: 1800
Min-SE: 90
Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE, PRACK, UPDATE
Content-Type: application/sdp
Supported: replaces, norefersub, extended-refer, timer, outbound, path
User-Agent: ExamplePhone 5.10.3 (build 1234)
P-Preferred-Identity: <sip:alice@example.com>
X-Account: 4711
X-Trace: 7b1c0ffee-4f2a
Date: Sat, 21 Nov 2026 10:00:00 GMT
";

const SDP: &str = "v=0
o=- 13374485 13374485 IN IP4 10.0.0.7
s=call
c=IN IP4 10.0.0.7
t=0 0
m=audio 49170 RTP/AVP 9 8 0 18 101
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
a=ptime:20
";
