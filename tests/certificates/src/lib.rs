//! Certificates for tests (RFC 5280): a CA of the moment, and what it signs, valid or not. ECDSA over P-256.

mod der;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::der::{bits, boolean, context, integer, octets, oid, pem, sequence, set, text, time, with_tag};

/// In seconds.
pub const DAY: u64 = 86_400;

static SERIALS: AtomicU64 = AtomicU64::new(1);

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub struct Leaf<'a> {
    /// Of the subject.
    pub common_name: &'a str,
    /// DNS names; what reads like an address or a URI is one.
    pub names: &'a [&'a str],
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970.
    pub not_after: u64,
}

impl Leaf<'_> {
    /// Valid since yesterday, for a month.
    #[must_use]
    pub fn valid() -> Self {
        Self { common_name: "leaf", names: &[], not_before: now() - DAY, not_after: now() + 30 * DAY }
    }

    /// Expired an hour ago.
    #[must_use]
    pub fn expired() -> Self {
        Self { not_after: now() - 3_600, ..Self::valid() }
    }
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The certificate.
    pub der: Vec<u8>,
    /// The certificate in PEM.
    pub certificate: String,
    /// The private key in PEM (PKCS#8).
    pub key: String,
}

/// A CA.
#[derive(Debug)]
pub struct Ca {
    name: String,
    key: EcdsaKeyPair,
    /// Its own certificate in PEM.
    pub certificate: String,
}

impl Ca {
    /// A new one, valid for a year.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = new_key();
        let mut ca = Self { name: name.to_owned(), key, certificate: String::new() };
        //= RFC 5280 §4.2.1.9: only with basicConstraints is it a CA.
        let constraints = extension(&[0x55, 0x1d, 0x13], true, &sequence(&[boolean(true)]));
        let public = ca.key.public_key().as_ref().to_vec();
        let leaf = Leaf { common_name: name, not_after: now() + 365 * DAY, ..Leaf::valid() };
        let der = ca.certificate(&leaf, &public, &[constraints]);
        ca.certificate = pem("CERTIFICATE", &der);
        ca
    }

    /// Signs a certificate for a new key.
    ///
    /// # Panics
    /// If the new key cannot be written down, which does not happen.
    #[must_use]
    pub fn sign(&self, leaf: &Leaf<'_>) -> Signed {
        let key = new_key();
        let names: Vec<Vec<u8>> = leaf.names.iter().map(|name| general_name(name)).collect();
        let names = extension(&[0x55, 0x1d, 0x11], false, &sequence(&names));
        let extensions = if leaf.names.is_empty() { Vec::new() } else { vec![names] };
        let der = self.certificate(leaf, key.public_key().as_ref(), &extensions);
        let key = key.to_pkcs8v1().expect("a key that was just made can be written");
        Signed { certificate: pem("CERTIFICATE", &der), key: pem("PRIVATE KEY", key.as_ref()), der }
    }

    fn certificate(&self, leaf: &Leaf<'_>, public: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
        let algorithm = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])]);
        let mut fields = vec![
            context(0, &integer(2)),
            integer(SERIALS.fetch_add(1, Ordering::Relaxed)),
            algorithm.clone(),
            name(&self.name),
            sequence(&[time(leaf.not_before), time(leaf.not_after)]),
            name(leaf.common_name),
            sequence(&[
                sequence(&[
                    oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]),
                    oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
                ]),
                bits(public),
            ]),
        ];
        if !extensions.is_empty() {
            fields.push(context(3, &sequence(extensions)));
        }
        let signed = sequence(&fields);
        let signature = self
            .key
            .sign(&SystemRandom::new(), &signed)
            .expect("a whole key signs anything")
            .as_ref()
            .to_vec();
        sequence(&[signed, algorithm, bits(&signature)])
    }
}

fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("the system has randomness")
}

fn name(common_name: &str) -> Vec<u8> {
    sequence(&[set(&sequence(&[oid(&[0x55, 0x04, 0x03]), text(common_name)]))])
}

fn general_name(name: &str) -> Vec<u8> {
    match name.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => with_tag(0x87, &address.octets()),
        Ok(std::net::IpAddr::V6(address)) => with_tag(0x87, &address.octets()),
        Err(_) if name.contains(':') => with_tag(0x86, name.as_bytes()),
        Err(_) => with_tag(0x82, name.as_bytes()),
    }
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { boolean(true) } else { Vec::new() };
    sequence(&[oid(id), critical, octets(value)])
}
