//! What every message must have, whatever it is for: RFC 3261 §8.1.1, §8.2.2, §18.3, §20.

use super::{Defect, Message, Method, Name, StartLine, header, limits};

/// Checks what every element relies on, and cuts the body to its length.
pub(super) fn message(message: &mut Message) -> Result<(), Defect> {
    singles(message)?;
    if !message.is_request() {
        let value = message
            .header(Name::CSeq)
            .ok_or(Defect::Missing(Name::CSeq))?;
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
        let bit = 1u128 << line.name as u8;
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
    let value = message
        .header(Name::CSeq)
        .ok_or(Defect::Missing(Name::CSeq))?;
    let (_, method) = header::cseq_parts(value).ok_or(Defect::Malformed(Name::CSeq))?;
    //= RFC 3261 §8.1.1.5: the method of CSeq is that of the request. RFC 4475 §3.1.2.18 wants an unknown method to be
    // called unknown (501, by the TU) rather than mismatched.
    let differs = method != message.method.text() && !matches!(message.method, Method::Other(_));
    if differs {
        Err(Defect::CSeqMethod)
    } else {
        Ok(())
    }
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
        return if have > limits::BODY_LEN_MAX {
            Err(Defect::MessageTooLong)
        } else {
            Ok(())
        };
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
