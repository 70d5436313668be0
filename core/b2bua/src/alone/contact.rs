//! What a Contact of a REGISTER may say, on its way to the registrar and back.

use sip::message::{NameAddr, Params, Scheme};

/// Feature tags without a plus sign (RFC 3840 §9), and what RFC 3261 §10 and RFC 5626 §4 know.
const PASSED: [&str; 22] = [
    "actor",
    "application",
    "audio",
    "automata",
    "class",
    "control",
    "data",
    "description",
    "duplex",
    "events",
    "expires",
    "extensions",
    "isfocus",
    "language",
    "methods",
    "mobility",
    "priority",
    "q",
    "reg-id",
    "schemes",
    "text",
    "video",
];

/// The parameters that travel, each with its `;`. Anything else stays: some registrars take `received` for the place to call,
/// and what they add tells where hosts are.
pub(super) fn params(params: Params<'_>) -> Vec<u8> {
    written(params, |_| true)
}

/// The same but for how long.
pub(super) fn features(params: Params<'_>) -> Vec<u8> {
    written(params, |name| !name.eq_ignore_ascii_case("expires"))
}

/// A Contact, with how many seconds it lives if that is to be said.
pub(super) fn value(uri: &str, params: &[u8], expires_s: Option<u32>) -> Vec<u8> {
    let expires = expires_s.map(|seconds| format!(";expires={seconds}")).unwrap_or_default();
    [b"<", uri.as_bytes(), b">", params, expires.as_bytes()].concat()
}

fn written(params: Params<'_>, wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let is_passed = |name: &str| {
        wanted(name)
            && (name.starts_with('+') || PASSED.iter().any(|passed| passed.eq_ignore_ascii_case(name)))
    };
    let mut text = Vec::new();
    for (name, value) in params.iter().filter(|(name, _)| is_passed(name)) {
        text.push(b';');
        text.extend_from_slice(name.as_bytes());
        let Some(value) = value else { continue };
        let plain = !value.is_empty()
            && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte));
        let quote: &[u8] = if plain { b"" } else { b"\"" };
        // A quoted value came with its escapes.
        text.extend_from_slice(&[b"=", quote, value, quote].concat());
    }
    text
}

/// The URI of a phone, as a Request-URI; `None` if it is none.
//= RFC 3261 §19.1.1 table 1: no headers there.
pub(super) fn uri<'a>(contact: &NameAddr<'a>) -> Option<&'a str> {
    let is_sip = contact.parsed_uri().is_ok_and(|uri| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips));
    is_sip.then(|| contact.uri().split('?').next().unwrap_or_default())
}
