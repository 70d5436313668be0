//! Octets as text, a message to a paragraph and an attribute to a line.

use std::fmt::Write as _;

use simco::wire::{HEADER_LEN, Header};

/// The octets of hexadecimal text; spaces do not matter.
///
/// # Errors
/// What is not hexadecimal.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap_or("?");
        u8::from_str_radix(pair, 16).map_err(|_| format!("{pair:?} is no octet"))
    });
    pairs.collect()
}

/// Messages as text: one for each message in `bytes`.
#[must_use]
pub fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let len =
            Header::split(bytes).map_or(bytes.len(), |(header, _)| HEADER_LEN + usize::from(header.length));
        let (message, rest) = bytes.split_at(len.min(bytes.len()));
        texts.push(message_text(message));
        bytes = rest;
    }
    texts
}

fn message_text(message: &[u8]) -> String {
    let (header, mut payload) = message.split_at(HEADER_LEN.min(message.len()));
    let mut text = hex(header);
    let attributes = payload.len();
    // A list of thousands of rules is shown by its length.
    if attributes > 512 {
        let _ = write!(text, "\n         … {attributes} octets");
        return text;
    }
    while !payload.is_empty() {
        let len = payload
            .get(2..4)
            .map_or(payload.len(), |len| 4 + usize::from(len[0]) * 256 + usize::from(len[1]));
        let (attribute, rest) = payload.split_at(len.min(payload.len()));
        let _ = write!(text, "\n         {}", hex(attribute));
        payload = rest;
    }
    text
}

fn hex(octets: &[u8]) -> String {
    let words: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    words.join(" ")
}
