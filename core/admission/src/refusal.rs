//! 503 without a transaction: RFC 3261 §8.2.7, §21.5.4.

use bytes::Bytes;
use machine::Rng;
use sip::message::{Builder, Message, Method, Name};
use sip::transport::Hop;

use crate::glance::{Glance, Kind};

/// Writes refusals that nobody remembers, and knows the ACKs that answer them.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The tag in every To of ours.
    tag: String,
}

impl Refusal {
    /// Refusals that no other instance writes.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        //= RFC 3261 §8.2.7: the tag is the same for the same request, so that it is made without memory.
        Self { tag: format!("r{:016x}", rng.bits()) }
    }

    /// The answer to a request; none to an ACK.
    #[must_use]
    pub fn answer(&self, hop: Hop, mut request: Message, retry_after_s: u32) -> Option<Bytes> {
        if !request.is_request() || *request.method() == Method::Ack {
            return None;
        }
        request.set_source(hop.remote);
        let builder = Builder::response_to(&request, 503, "Service Unavailable", Some(&self.tag));
        Some(builder.header_fmt(Name::RetryAfter, format_args!("{retry_after_s}")).finish())
    }

    /// True for the ACK of a refusal of ours: it ends here.
    #[must_use]
    pub fn is_acknowledged_by(&self, glance: &Glance<'_>) -> bool {
        glance.kind == Kind::Ack && glance.to_tag() == Some(&self.tag)
    }
}

#[cfg(test)]
mod tests {
    use sip::transport::{ListenerId, Protocol};

    use super::*;

    fn hop() -> Hop {
        let remote = "203.0.113.9:5061".parse().unwrap();
        Hop { listener: ListenerId(0), protocol: Protocol::Udp, remote, connection: None, name: None }
    }

    fn request(method: &str, tag: &str) -> Bytes {
        format!(
            "{method} sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bKx;rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:bob@example.org>{tag}\r\nCall-ID: x\r\n\
             CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        )
        .into()
    }

    fn parsed(bytes: Bytes) -> Message {
        Message::parse(bytes).unwrap()
    }

    //= test RFC 3261 §21.5.4: Retry-After says when it is worth trying again.
    #[test]
    fn a_request_is_answered_503_where_it_came_from() {
        let refusal = Refusal::new(&mut Rng::from_number(1));
        let answer = refusal.answer(hop(), parsed(request("INVITE", "")), 7).unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("SIP/2.0 503 Service Unavailable\r\n"), "{text}");
        assert!(text.contains("Retry-After: 7\r\n") && text.contains("rport=5061"), "{text}");
        //= test RFC 3261 §8.2.7: the same request gets the same answer.
        assert_eq!(refusal.answer(hop(), parsed(request("INVITE", "")), 7), Some(answer.clone()));
        let tag = Glance::of(&answer).to_tag().unwrap().to_owned();
        assert!(refusal.is_acknowledged_by(&Glance::of(&request("ACK", &format!(";tag={tag}")))));
        assert!(!refusal.is_acknowledged_by(&Glance::of(&request("ACK", ";tag=r123"))));
        assert!(!refusal.is_acknowledged_by(&Glance::of(&request("BYE", &format!(";tag={tag}")))));
    }

    #[test]
    fn an_ack_is_not_answered() {
        let refusal = Refusal::new(&mut Rng::from_number(1));
        assert_eq!(refusal.answer(hop(), parsed(request("ACK", "")), 1), None);
    }
}
