//! What every message must have, whatever it is for: RFC 3261 §8.1.1, §8.2.2, §18.3, §20.

use super::{Defect, Message, Method, Name, StartLine, header, limits};

/// Checks what every element relies on, and cuts the body to its length.
pub(super) fn message(message: &mut Message) -> Result<(), Defect> {
    singles(message)?;
    if !message.is_request() {
        let value = message.header(Name::CSeq).ok_or(Defect::Missing(Name::CSeq))?;
        let (_, method) = header::cseq_parts(value).ok_or(Defect::Malformed(Name::CSeq))?;
        message.method = Method::of(method);
    }
    message.top_via()?;
    from_and_to(message)?;
    message.call_id()?;
    cseq(message)?;
    if message.is_request() {
        request(message)?;
    }
    body(message)
}

//= RFC 3261 §7.3.1: a field that is no list must not come twice.
fn singles(message: &Message) -> Result<(), Defect> {
    let mut seen = 0u128;
    for line in message.lines.iter().filter(|line| line.name.is_single()) {
        let bit = line.name.bit();
        if seen & bit != 0 {
            return Err(Defect::Duplicate(line.name));
        }
        seen |= bit;
    }
    Ok(())
}

fn from_and_to(message: &Message) -> Result<(), Defect> {
    message.from()?;
    message.to()?;
    Ok(())
}

fn cseq(message: &Message) -> Result<(), Defect> {
    let value = message.header(Name::CSeq).ok_or(Defect::Missing(Name::CSeq))?;
    let (_, method) = header::cseq_parts(value).ok_or(Defect::Malformed(Name::CSeq))?;
    //= RFC 3261 §8.1.1.5: the method of CSeq is that of the request. RFC 4475 §3.1.2.18 wants an unknown method to be
    // called unknown (501, by the TU) rather than mismatched.
    let differs = method != message.method.text() && !matches!(message.method, Method::Other(_));
    if differs { Err(Defect::CSeqMethod) } else { Ok(()) }
}

fn request(message: &Message) -> Result<(), Defect> {
    let uri = message.parsed_request_uri()?;
    //= RFC 3261 §19.1.1, table 1: a Request-URI has no headers.
    if uri.headers().next().is_some() {
        return Err(Defect::RequestUri);
    }
    message.max_forwards()?;
    Ok(())
}

//= RFC 3261 §18.3: a datagram may be longer than Content-Length says (the rest is not looked at) but not shorter.
fn body(message: &mut Message) -> Result<(), Defect> {
    let have = (message.body.end - message.body.start) as usize;
    let Some(told) = message.content_length()? else {
        return if have > limits::BODY_LEN_MAX { Err(Defect::MessageTooLong) } else { Ok(()) };
    };
    if told > limits::BODY_LEN_MAX {
        return Err(Defect::MessageTooLong);
    }
    if told > have {
        return Err(Defect::BodyTruncated);
    }
    message.body.end = message.body.start + told as u32;
    Ok(())
}

/// True if an error response can be made from it: see [`super::ParseError::partial`].
pub(super) fn is_answerable(message: &Message) -> bool {
    let is_request = matches!(message.start, StartLine::Request { .. });
    is_request && message.method != Method::Ack && message.header(Name::Via).is_some()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::ParseError;
    use super::*;

    const REQUEST: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n\
        To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 4\r\n\r\nbody";

    fn refusal(text: &str) -> ParseError {
        Message::parse(Bytes::from(text.to_owned())).expect_err(text)
    }

    #[test]
    fn each_mandatory_field_is_missed_by_name() {
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            let start = REQUEST.find(&format!("\r\n{name}")).unwrap() + 2;
            let end = start + REQUEST[start..].find("\r\n").unwrap() + 2;
            let error = refusal(&format!("{}{}", &REQUEST[..start], &REQUEST[end..]));
            assert_eq!(error.what, Defect::Missing(name));
            assert_eq!(error.partial.is_some(), name != Name::Via, "answerable if there is a Via: {name}");
        }
    }

    #[test]
    fn each_single_field_is_refused_twice() {
        for field in [
            "f: <sip:x@h>",
            "To: <sip:x@h>",
            "i: d",
            "CSeq: 2 OPTIONS",
            "Max-Forwards: 1",
            "l: 4",
            "c: a/b\r\nc: a/b",
        ] {
            let error = refusal(&REQUEST.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n")));
            let name = Name::of(field.split(':').next().unwrap().as_bytes());
            assert_eq!((error.what, error.status()), (Defect::Duplicate(name), 400));
            assert_eq!(error.to_string(), format!("Duplicate {name} Header"));
        }
    }

    #[test]
    fn several_values_of_a_list_are_no_duplicate() {
        let text = REQUEST.replace("Via:", "Via: SIP/2.0/UDP g\r\nAllow: BYE\r\nAllow: ACK\r\nVia:");
        assert!(Message::parse(text.into()).is_ok());
    }

    #[test]
    fn what_every_element_reads_is_checked_at_once() {
        for (from, to, what) in [
            ("CSeq: 1 OPTIONS", "CSeq: 1 BYE", Defect::CSeqMethod),
            ("CSeq: 1 OPTIONS", "CSeq: OPTIONS", Defect::Malformed(Name::CSeq)),
            ("Max-Forwards: 70", "Max-Forwards: 256", Defect::Malformed(Name::MaxForwards)),
            ("Call-ID: c", "Call-ID: c d", Defect::Malformed(Name::CallId)),
            ("Call-ID: c", "Call-ID:", Defect::Malformed(Name::CallId)),
            ("<sip:b@h>", "<sip:b@h", Defect::Malformed(Name::To)),
            ("UDP h", "UDP", Defect::Malformed(Name::Via)),
            ("sip:h S", "sip:h?a=b S", Defect::RequestUri),
            ("Length: 4", "Length: -4", Defect::Malformed(Name::ContentLength)),
        ] {
            assert_eq!(refusal(&REQUEST.replace(from, to)).what, what, "{to}");
        }
    }

    #[test]
    fn a_body_is_cut_to_its_length_and_never_stretched() {
        //= test RFC 3261 §18.3: longer is cut, shorter is refused, untold takes all.
        for (length, body) in [("4", "body"), ("3", "bod"), ("0", "")] {
            let message =
                Message::parse(REQUEST.replace("Length: 4", &format!("Length: {length}")).into()).unwrap();
            assert_eq!(message.body(), body.as_bytes());
        }
        assert_eq!(refusal(&REQUEST.replace("Length: 4", "Length: 5")).what, Defect::BodyTruncated);
        let untold = Message::parse(REQUEST.replace("Content-Length: 4\r\n", "").into()).unwrap();
        assert_eq!(untold.body(), b"body");
        let huge = refusal(&REQUEST.replace("Length: 4", &format!("Length: {}", limits::BODY_LEN_MAX + 1)));
        assert_eq!((huge.what, huge.status()), (Defect::MessageTooLong, 513));
    }

    #[test]
    fn acks_and_responses_are_never_answered() {
        let ack = REQUEST.replace("OPTIONS", "ACK").replace("Call-ID: c\r\n", "");
        assert!(refusal(&ack).partial.is_none());
        let response = REQUEST.replace("OPTIONS sip:h SIP/2.0", "SIP/2.0 200 OK").replace("To:", "X-To:");
        assert!(refusal(&response).partial.is_none());
    }
}
