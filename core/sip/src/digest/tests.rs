//! Both ends, with the RFCs' own examples.

use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Rng};
use proptest::prelude::*;

use super::*;
use crate::message::Message;

const HTTP: &str = r#"realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v""#;

fn mufasa(more: &str) -> String {
    format!(
        r#"Digest username="Mufasa", {HTTP}, uri="/dir/index.html", nc=00000001, {more}, qop=auth,
           cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ""#
    )
}

#[test]
fn the_examples_of_the_rfcs_are_right() {
    //= test RFC 7616 §3.9.1: SHA-256 and MD5.
    let circle = Secret::password("Circle of Life").unwrap();
    let sha256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
    for more in [
        format!(r#"algorithm=SHA-256, response="{sha256}""#),
        r#"algorithm=MD5, response="8ca523f5e9506fed4657c9700eebdbec""#.to_owned(),
        r#"response="8CA523F5E9506FED4657C9700EEBDBEC""#.to_owned(),
    ] {
        let value = mufasa(&more);
        let credentials = Credentials::parse(value.as_bytes()).unwrap();
        assert!(circle.verifies(&credentials, "GET"), "{more}");
        assert!(!circle.verifies(&credentials, "POST"));
        assert!(!Secret::password("Circle Of Life").unwrap().verifies(&credentials, "GET"));
    }
    //= test RFC 2617 §3.5: another password, and no algorithm.
    let value = r#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b",
        response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    let credentials = Credentials::parse(value.as_bytes()).unwrap();
    assert!(Secret::password("Circle Of Life").unwrap().verifies(&credentials, "GET"));
}

#[test]
fn who_has_the_hash_needs_no_password() {
    // md5("Mufasa:testrealm@host.com:Circle Of Life"), as RFC 2617 §3.5 uses it.
    let ha1 = Ha1::parse("939E7578ED9E3C518A452ACEE763BCE9").unwrap();
    let challenge =
        Challenge::parse(br#"Digest realm="testrealm@host.com", nonce="n", qop="auth", algorithm=MD5"#)
            .unwrap();
    let answer = |secret: &Secret| {
        Session::begin(&challenge, 7).unwrap().answer("Mufasa", secret, "INVITE", "sip:b@h")
    };
    let hashed = Secret::Ha1(vec![ha1]);
    assert_eq!(answer(&hashed), answer(&Secret::password("Circle Of Life").unwrap()));
    assert!(!hashed.knows(Hash::Sha256) && hashed.knows(Hash::Md5));
    assert_eq!(format!("{hashed:?}"), "Secret(...)");
}

fn response(lines: &str) -> Message {
    let text = format!(
        "SIP/2.0 407 x\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    Message::parse(Bytes::from(text)).unwrap()
}

#[test]
fn the_topmost_challenge_that_we_can_answer_is_chosen() {
    //= test RFC 8760 §2.4: what is not understood is ignored, and the order is the server's.
    let message = response(
        "Proxy-Authenticate: Basic realm=\"a\"\r\n\
         Proxy-Authenticate: Digest realm=\"a\", nonce=\"1\", algorithm=SHA-512-256, qop=\"auth\"\r\n\
         Proxy-Authenticate: Digest realm=\"a\", nonce=\"2\", algorithm=SHA-256, qop=\"auth-int\"\r\n\
         Proxy-Authenticate: Digest realm=\"other\", nonce=\"3\", qop=\"auth\"\r\n\
         Proxy-Authenticate: Digest realm=\"a\", nonce=\"4\", algorithm=SHA-256, qop=\"auth-int , auth\"\r\n\
         WWW-Authenticate: Digest realm=\"a\", nonce=\"5\", qop=\"auth\"\r\n\
         Proxy-Authenticate: Digest realm=\"a\", nonce=\"6\"\r\n",
    );
    let nonce = |realm: &'static str| {
        Challenge::choose(&message, move |challenge| challenge.realm == realm).map(|it| it.nonce.into_owned())
    };
    assert_eq!(nonce("a").as_deref(), Some("4"));
    assert_eq!(nonce("other").as_deref(), Some("3"));
    assert_eq!(nonce("nobody"), None);
}

#[test]
fn an_answer_is_counted_and_verified() {
    for (algorithm, qop) in
        [("MD5", true), ("SHA-256", true), ("md5-SESS", true), ("SHA-256-sess", true), ("MD5", false)]
    {
        let qop = if qop { ", qop=\"auth\"" } else { "" };
        let text = format!(r#"Digest realm="r \"q\"", nonce="n", opaque="o", algorithm={algorithm}{qop}"#);
        let challenge = Challenge::parse(text.as_bytes()).unwrap();
        let (secret, mut session) =
            (Secret::password("x:\"y").unwrap(), Session::begin(&challenge, 1).unwrap());
        for count in 1..=3 {
            let value = session.answer("al\\ice", &secret, "BYE", "sip:b@h").unwrap();
            let credentials = Credentials::parse(value.as_bytes()).unwrap();
            assert_eq!((&*credentials.username, &*credentials.realm), ("al\\ice", "r \"q\""));
            assert_eq!(
                credentials.counted.as_ref().map(|counted| counted.count),
                (!qop.is_empty()).then_some(count)
            );
            assert!(value.ends_with(", opaque=\"o\""), "{value}");
            // Without `qop` there is no cnonce, and so no key of a session on the other side.
            assert!(secret.verifies(&credentials, "BYE"), "{value}");
            assert!(!Secret::password("x").unwrap().verifies(&credentials, "BYE"));
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let credentials = |text: &str| Credentials::parse(text.as_bytes()).unwrap_err();
    let all = r#"username="a", realm="r", nonce="n", uri="sip:h", response="0""#;
    assert_eq!(credentials("Basic YTpi"), Flaw::Scheme);
    assert_eq!(credentials("Digest"), Flaw::Malformed);
    assert_eq!(credentials("Digest realm"), Flaw::Malformed);
    assert_eq!(credentials("Digest realm=\"r"), Flaw::Malformed);
    assert_eq!(credentials("Digest realm=\"r\" nonce=\"n\""), Flaw::Malformed);
    assert_eq!(credentials("Digest realm=r"), Flaw::Missing("username"));
    assert_eq!(credentials(&format!("Digest {all}, Realm=\"s\"")), Flaw::Twice("realm"));
    assert_eq!(credentials(&format!("Digest {all}, algorithm=SHA-1")), Flaw::Value("algorithm"));
    assert_eq!(credentials(&format!("Digest {all}, qop=auth, cnonce=c")), Flaw::Missing("nc"));
    assert_eq!(credentials(&format!("Digest {all}, qop=auth, nc=1, cnonce=c")), Flaw::Value("nc"));
    assert_eq!(credentials(&format!("Digest {all}, qop=auth, nc=+0000001")), Flaw::Value("nc"));
    assert_eq!(credentials(&format!("Digest {all}, userhash=true")), Flaw::Value("userhash"));
    assert_eq!(credentials(&format!("Digest {}{all}", "x=1,".repeat(32))), Flaw::TooLong);
    assert_eq!(credentials(&format!("Digest {all}, x=\"{}\"", "y".repeat(4096))), Flaw::TooLong);
    let whole = format!("digest ,{all}, qop=\"auth-int\", nc=00000001, cnonce=\"c\",, x=y,");
    assert!(Credentials::parse(whole.as_bytes()).unwrap().covers_body);
    assert_eq!(Secret::password(""), None);
    assert_eq!(Secret::password("a\nb"), None);
    assert_eq!(Ha1::parse("939e7578ed9e3c518a452acee763bceg"), None);
}

#[test]
fn a_nonce_is_known_again_until_it_is_too_old() {
    let mut rng = Rng::from_number(1);
    let nonces = Nonces::new(&mut rng, Duration::from_secs(300));
    let made = Instant::from_nanos(5_000_000_000);
    let nonce = nonces.mint(made, &mut rng, "r");
    let other = nonces.mint(made, &mut rng, "r");
    assert_ne!(nonce, other);
    let after = |seconds| made + Duration::from_secs(seconds);
    assert!(matches!(nonces.check(after(299), &nonce, "r"), Validity::Fresh(_)));
    assert_eq!(nonces.check(after(300), &nonce, "r"), Validity::Stale);
    assert_eq!(nonces.check(after(1), &nonce, "s"), Validity::Stale);
    assert_eq!(nonces.check(Instant::ZERO, &nonce, "r"), Validity::Stale);
    assert_eq!(nonces.check(after(1), &nonce.replace('0', "1"), "r"), Validity::Stale);
    for strange in ["", "x", &nonce[1..], &nonce.to_uppercase(), &"é".repeat(32)] {
        assert_eq!(nonces.check(after(1), strange, "r"), Validity::Stale);
    }
    let restarted = Nonces::new(&mut rng, Duration::from_secs(300));
    assert_eq!(restarted.check(after(1), &nonce, "r"), Validity::Stale);
}

#[test]
fn no_use_of_a_nonce_counts_twice() {
    let mut counts = Counts::default();
    let id = |number| NonceId(Instant::from_nanos(number), 9);
    assert!(counts.take(id(1), 1, 2));
    assert!(!counts.take(id(1), 1, 2));
    assert!(counts.take(id(1), 3, 2));
    assert!(!counts.take(id(1), 2, 2));
    assert!(!counts.take(id(2), 0, 2));
    assert!(counts.take(id(2), 1, 2) && counts.take(id(3), 1, 2));
    // The first had to go: nobody knows any more how often it was used.
    assert_eq!(counts.len(), 2);
    assert!(!counts.take(id(1), 9, 2));
    assert!(counts.take(id(2), 2, 2));
    counts.forget_before(Instant::from_nanos(3));
    assert_eq!(counts.len(), 1);
}

proptest! {
    #[test]
    fn what_is_offered_is_read_again(realm in "\\PC{0,40}", nonce in "[0-9a-f]{0,64}", stale: bool, md5: bool) {
        let hash = if md5 { Hash::Md5 } else { Hash::Sha256 };
        let text = Offered { realm: &realm, nonce: &nonce, hash, stale }.to_string();
        let challenge = Challenge::parse(text.as_bytes()).expect("we wrote it");
        prop_assert_eq!((&*challenge.realm, &*challenge.nonce), (&*realm, &*nonce));
        prop_assert_eq!((challenge.stale, challenge.algorithm), (stale, Some(hash.into())));
        prop_assert_eq!(challenge.qop, Qop::Auth);
    }

    #[test]
    fn an_answer_is_right_for_its_own_request_only(
        user in "\\PC{1,20}", password in "\\PC{1,20}", realm in "\\PC{1,20}", uri in "sip:[a-z@.]{1,20}", random: u64,
    ) {
        let text = format!("Digest realm={}, nonce=\"n\", qop=\"auth\"", crate::message::Quoted(&realm));
        let challenge = Challenge::parse(text.as_bytes()).expect("we wrote it");
        let secret = Secret::password(&password).expect("short");
        let value = Session::begin(&challenge, random).and_then(|mut it| it.answer(&user, &secret, "INVITE", &uri));
        let value = value.expect("MD5 is known");
        let credentials = Credentials::parse(value.as_bytes()).expect("we wrote it");
        prop_assert!(secret.verifies(&credentials, "INVITE"));
        let other = Credentials { uri: "sip:other".into(), ..credentials };
        prop_assert!(!secret.verifies(&other, "INVITE") || uri == "sip:other");
    }

    #[test]
    fn whatever_comes_is_read_or_refused(text in "Digest ([a-z*]{1,8}[ =\",\\\\]{0,3}){0,12}", bytes: Vec<u8>) {
        for value in [text.as_bytes(), &bytes] {
            let _read = (Challenge::parse(value), Credentials::parse(value));
        }
    }
}
