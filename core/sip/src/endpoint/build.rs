//! Requests that a transaction makes by itself: the ACK to a failure (RFC 3261 §17.1.1.3) and CANCEL (§9.1).

use bytes::Bytes;

use crate::message::{Builder, CSeq, Message, Method, Name};

/// The ACK to `response`, a final failure of `invite`.
pub(super) fn ack(invite: &Message, response: &Message) -> Bytes {
    //= RFC 3261 §17.1.1.3: To with the tag of the response; all else as in the INVITE, without its body.
    same_hop(invite, &Method::Ack).copy(response, Name::To).finish()
}

/// The CANCEL of `invite`. Its header fields label the body.
pub(super) fn cancel(invite: &Message, extra: &[(Name, &[u8])], body: &[u8]) -> Bytes {
    //= RFC 3261 §9.1: To as in the INVITE, without the tag of any response; no Require, no Proxy-Require.
    let mut builder = same_hop(invite, &Method::Cancel).copy(invite, Name::To);
    for (name, value) in extra {
        builder = builder.header(*name, value);
    }
    let builder = if body.is_empty() { builder } else { builder.body("", body) };
    builder.finish()
}

/// What both copy: Request-URI, top Via, Route, From, Call-ID and the number of CSeq.
fn same_hop(invite: &Message, method: &Method) -> Builder {
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    let mut builder = Builder::request(method, invite.request_uri());
    if let Some(via) = invite.values(Name::Via).next() {
        builder = builder.header(Name::Via, via);
    }
    builder
        .header(Name::MaxForwards, "70")
        .copy(invite, Name::Route)
        .copy(invite, Name::From)
        .copy(invite, Name::CallId)
        .header_fmt(Name::CSeq, format_args!("{}", CSeq { number, method: method.clone() }))
}
