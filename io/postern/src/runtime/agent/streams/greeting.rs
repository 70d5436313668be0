//! The handshake of HTTP that begins a WebSocket: RFC 7118 §4.1.
//!
//! What the header fields mean is said there by example; the value that proves the handshake is checked against it.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// A request is longer in no browser.
const HEAD_LEN_MAX: usize = 8_192;
/// What the key is hashed with.
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What came of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// The request is not whole.
    Unfinished,
    /// It is what it should be: the answer, and how long the request was.
    Welcome(String, usize),
    /// It is not: the answer, after which the connection is closed.
    Refused(String),
}

/// Reads a request.
pub(super) fn read(bytes: &[u8]) -> Greeting {
    let Some(length) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        return match bytes.len() > HEAD_LEN_MAX {
            true => refused("431 Request Header Fields Too Large", "", "The request is too long."),
            false => Greeting::Unfinished,
        };
    };
    let Ok(head) = std::str::from_utf8(&bytes[..length - 4]) else {
        return refused("400 Bad Request", "", "The request is not text.");
    };
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    match answer(start, &fields) {
        Ok(text) => Greeting::Welcome(text, length),
        Err(greeting) => greeting,
    }
}

fn answer(start: &str, fields: &[(&str, &str)]) -> Result<String, Greeting> {
    let mut words = start.split(' ');
    if words.next() != Some("GET") || !matches!(words.nth(1), Some("HTTP/1.1")) {
        return Err(refused(
            "405 Method Not Allowed",
            "Allow: GET\r\n",
            "SIP over WebSocket is served here.",
        ));
    }
    if !has(fields, "Upgrade", "websocket") || !has(fields, "Connection", "upgrade") {
        let lines = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        return Err(refused("426 Upgrade Required", lines, "SIP over WebSocket is served here."));
    }
    if value(fields, "Sec-WebSocket-Version") != Some("13") {
        let lines = "Sec-WebSocket-Version: 13\r\n";
        return Err(refused("426 Upgrade Required", lines, "WebSocket version 13 is spoken here."));
    }
    //= RFC 7118 §4.1: the client names the subprotocol, and is told the same.
    if !has(fields, "Sec-WebSocket-Protocol", "sip") {
        return Err(refused("400 Bad Request", "", "Sec-WebSocket-Protocol must name sip (RFC 7118)."));
    }
    let key = value(fields, "Sec-WebSocket-Key").filter(|key| is_key(key));
    let Some(key) = key else {
        return Err(refused("400 Bad Request", "", "Sec-WebSocket-Key must be 16 octets in base64."));
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
        proof(key)
    ))
}

fn refused(status: &str, lines: &str, text: &str) -> Greeting {
    let length = text.len() + 1;
    Greeting::Refused(format!(
        "HTTP/1.1 {status}\r\n{lines}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{text}\n"
    ))
}

/// The value of a field that stands there once.
fn value<'f>(fields: &[(&'f str, &'f str)], name: &str) -> Option<&'f str> {
    let mut values = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.trim())
}

/// True if a list has this token, however many lines it has.
fn has(fields: &[(&str, &str)], name: &str, token: &str) -> bool {
    let values = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    values.flat_map(|(_, value)| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// True if it may be 16 octets in base64.
fn is_key(key: &str) -> bool {
    let body = key.strip_suffix("==").unwrap_or_default();
    body.len() == 22 && body.bytes().all(|byte| BASE64.contains(&byte))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What proves that the request was read: the hash of its key.
fn proof(key: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{SUFFIX}").as_bytes());
    let mut text = String::with_capacity(28);
    for chunk in hash.as_ref().chunks(3) {
        let number = chunk.iter().fold(0_usize, |number, octet| number << 8 | usize::from(*octet));
        let number = number << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let sextet = number >> (6 * (3 - position)) & 63;
            text.push(if position <= chunk.len() { char::from(BASE64[sextet]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET / HTTP/1.1\r\nHost: sip-ws.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://www.example.com\r\n\
                        Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn status(request: &str) -> String {
        match read(request.as_bytes()) {
            Greeting::Unfinished => "unfinished".into(),
            Greeting::Welcome(text, _) | Greeting::Refused(text) => text[9..12].to_owned(),
        }
    }

    #[test]
    fn the_example_of_the_rfc_is_welcome() {
        //= test RFC 7118 §4.1: the example, with its Sec-WebSocket-Accept.
        let request = format!("{GOOD}rest");
        let Greeting::Welcome(answer, length) = read(request.as_bytes()) else { panic!("refused") };
        assert_eq!(length, GOOD.len());
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: sip\r\n"), "{answer}");
    }

    #[test]
    fn what_is_missing_is_refused() {
        //= test RFC 7118 §4.1: without the subprotocol there is no connection.
        for (old, new, wanted) in [
            ("Sec-WebSocket-Protocol: sip", "Sec-WebSocket-Protocol: msrp, xmpp", "400"),
            ("Sec-WebSocket-Protocol: sip\r\n", "", "400"),
            ("Protocol: sip", "Protocol: msrp, sip", "101"),
            ("Version: 13", "Version: 8", "426"),
            ("Upgrade: websocket", "Upgrade: h2c", "426"),
            ("keep-alive, Upgrade", "keep-alive", "426"),
            ("GET /", "POST /", "405"),
            ("HTTP/1.1", "HTTP/1.0", "405"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", "400"),
            ("Origin:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin:", "400"),
        ] {
            assert_eq!(status(&GOOD.replacen(old, new, 1)), wanted, "{new}");
        }
    }

    #[test]
    fn a_request_may_come_in_pieces_but_not_without_end() {
        for length in 0..GOOD.len() {
            assert_eq!(read(&GOOD.as_bytes()[..length]), Greeting::Unfinished);
        }
        assert_eq!(status(&"x".repeat(HEAD_LEN_MAX + 1)), "431");
    }
}
