//! Challenges and their answers: whatever a server asks is answered so that it can be verified, and whatever a client sends is
//! read or refused.

use sip::digest::{Challenge, Credentials, Secret, Session};

use crate::{Corpus, Target};

/// See [`run`].
pub const TARGET: Target = Target {
    name: "digest",
    run,
    mutations: 100_000,
    corpora: &[Corpus::Inputs("fuzz/corpus/digest")],
    words: &[
        b"Digest ",
        b", ",
        b"=",
        b"\"",
        b"\\",
        b"\\\"",
        b"realm=\"a\"",
        b"nonce=\"n\"",
        b"opaque=\"\"",
        b"algorithm=MD5",
        b"algorithm=SHA-256-sess",
        b"qop=\"auth,auth-int\"",
        b"qop=auth",
        b"nc=00000001",
        b"nc=ffffffff",
        b"cnonce=\"c\"",
        b"stale=true",
        b"userhash=true",
        b"username*=UTF-8''a",
        b"username=\"a\"",
        b"uri=\"sip:b@h\"",
        b"response=\"00000000000000000000000000000000\"",
        b"\0",
        b"\xff",
        b"\r\n ",
        "\u{e9}".as_bytes(),
    ],
};

/// Reads a value as a challenge, and answers it if it can be; reads it as an answer, and verifies it.
pub fn run(input: &[u8]) {
    let Some(secret) = Secret::password("secret") else { unreachable!("it is short enough") };
    match Challenge::parse(input) {
        Ok(challenge) => answered(&challenge, &secret),
        Err(flaw) => assert!(!flaw.to_string().is_empty()),
    }
    match Credentials::parse(input) {
        // Nobody finds a digest of a password that he does not know.
        Ok(credentials) => assert!(!secret.verifies(&credentials, "INVITE")),
        Err(flaw) => assert!(!flaw.to_string().is_empty()),
    }
}

fn answered(challenge: &Challenge<'_>, secret: &Secret) {
    let Some(mut session) = Session::begin(challenge, 1) else { return assert!(!challenge.is_answerable()) };
    let answer = session.answer("a\"b", secret, "BYE", "sip:b@h");
    let Some(answer) = answer else { unreachable!("a password answers every algorithm") };
    // Control characters in a realm or nonce are written as spaces, and what is long is longer with its escapes.
    let texts = [&challenge.realm, &challenge.nonce];
    if texts.iter().any(|text| text.chars().any(char::is_control)) || answer.len() > 4_096 {
        return;
    }
    let credentials = Credentials::parse(answer.as_bytes());
    let Ok(credentials) = credentials else { panic!("{answer} is not read: {credentials:?}") };
    assert!(secret.verifies(&credentials, "BYE"), "{answer}");
    assert!(!secret.verifies(&credentials, "INVITE"), "{answer}");
}
