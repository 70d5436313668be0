//! TLS 1.2 and later (RFC 8996). For SIMCO (RFC 4540 §9) both ends show a certificate, and both check it; for SIP see [`sip`].
//!
//! Sessions of SIMCO are never resumed: who may not connect any more must not get in with what an earlier connection left behind.

mod der;
mod files;
mod refusal;
pub(crate) mod sip;
mod x509;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub(crate) use files::{Credentials, Stored, Wrong, days_left, is_over};
pub(crate) use refusal::in_words;
pub(crate) use x509::{Certificate, date};

/// What is made of the three files of one end.
pub(crate) trait End: Sized {
    /// Certificate chain, its key, and the roots that the other end must have been signed by.
    fn make(stored: Stored) -> Result<Self, rustls::Error>;
}

impl End for Arc<ServerConfig> {
    fn make(Stored { chain, key, roots, .. }: Stored) -> Result<Self, rustls::Error> {
        let provider = provider();
        //= RFC 4540 §9: the middlebox knows its agents; a connection without a certificate is none.
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            //= RFC 8996 §2: nothing below TLS 1.2.
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self::new(config))
    }
}

impl End for Arc<ClientConfig> {
    fn make(Stored { chain, key, roots, .. }: Stored) -> Result<Self, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        config.resumption = Resumption::disabled();
        Ok(Self::new(config))
    }
}

/// Whether a middlebox half can be made of what stood in the files.
pub(crate) fn is_a_server(stored: Stored) -> Result<(), rustls::Error> {
    Arc::<ServerConfig>::make(stored).map(drop)
}

/// Whether an agent half can.
pub(crate) fn is_a_client(stored: Stored) -> Result<(), rustls::Error> {
    Arc::<ClientConfig>::make(stored).map(drop)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The roots in a file; an error names the one that cannot be one.
fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, rustls::Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate)?;
    }
    Ok(store)
}
