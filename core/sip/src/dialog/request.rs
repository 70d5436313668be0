//! Requests inside a dialog: RFC 3261 §12.2.1.1; the ACK to a 2xx: §13.2.2.4.

use crate::message::{Builder, CSeq, Method, Name};

use super::route::as_request_uri;
use super::{CSEQ_MAX, Dialog};

/// What we write when nothing says otherwise: RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u8 = 70;

impl Dialog {
    /// The next request of ours: Request-URI, Route, Max-Forwards 70, From, To, Call-ID and a CSeq one higher than
    /// the last. Contact, which BYE and INFO do not need, and all else is the caller's.
    pub fn request(&mut self, method: &Method) -> Builder {
        self.request_with_hops(method, MAX_FORWARDS)
    }

    /// As [`Dialog::request`], with another Max-Forwards.
    pub fn request_with_hops(&mut self, method: &Method, max_forwards: u8) -> Builder {
        let number = self.next_cseq();
        self.build(method, number, max_forwards)
    }

    /// Takes the CSeq number of the next request: for one that is sent again with credentials (RFC 3261 §22.2).
    pub fn next_cseq(&mut self) -> u32 {
        //= RFC 3261 §12.2.1.1: one higher; a dialog ends long before it gets near the limit.
        self.local_cseq = self.local_cseq.min(CSEQ_MAX) + 1;
        self.local_cseq
    }

    /// The ACK to a 2xx of the INVITE with this CSeq number. Credentials of that INVITE are the caller's to copy.
    ///
    //= RFC 3261 §13.2.2.4: the number of the INVITE, the method ACK.
    pub fn ack(&self, invite_cseq: u32) -> Builder {
        self.build(&Method::Ack, invite_cseq, MAX_FORWARDS)
    }

    fn build(&self, method: &Method, number: u32, max_forwards: u8) -> Builder {
        let strict = self.routes.strict_uri();
        let mut builder = Builder::request(method, &as_request_uri(strict.unwrap_or(&self.target)))
            .header_fmt(Name::MaxForwards, format_args!("{max_forwards}"));
        //= RFC 3261 §12.2.1.1: a strict router stands in the request line, the target behind the last route.
        for value in self.routes.values().skip(usize::from(strict.is_some())) {
            builder = builder.header(Name::Route, value);
        }
        if strict.is_some() {
            builder = builder.header_fmt(Name::Route, format_args!("<{}>", self.target));
        }
        builder
            .header(Name::From, self.local())
            .header(Name::To, self.remote())
            .header(Name::CallId, self.call_id())
            .header_fmt(Name::CSeq, format_args!("{}", CSeq { number, method: method.clone() }))
    }
}
