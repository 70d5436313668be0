//! TLS of one realm's listeners and of its connections to next hops. RFC 5922: before changing this file read its §7 whole.
//!
//! ```text
//!  files --read when they change--> Ends: server (certificates by name, who may connect), client (whom we trust, by domain)
//! ```

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::files::{Look, anchors, certificates, look, own_chain, private_key};
use super::x509::{Certificate, date};
use super::{Wrong, is_over, provider};
use crate::config::{Placed, SipTls};
use crate::log;

/// The trust anchors that Debian's `ca-certificates` keeps.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What connections are made with.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
    /// What our certificates say, in the order of the configuration.
    pub own: Arc<[Certificate]>,
}

impl Ends {
    /// Reads all files.
    pub(crate) fn read(files: &SipTls) -> Result<Self, Wrong> {
        let provider = provider();
        let (mut own, mut shown) = (Vec::new(), Vec::new());
        for (certificate, key) in &files.own {
            let (chain, says) = own_chain(&certificate.path)?;
            let certified = CertifiedKey::from_der(chain, private_key(&key.path)?, &provider)
                .map_err(|error| Wrong::of_pair(&error, &certificate.path, &key.path))?;
            shown.push((says.names.clone(), Arc::new(certified)));
            own.push(says);
        }
        let shown = Arc::new(Shown(shown));
        let server = server(files, &shown, &provider)?;
        let client = client(files, &shown, provider)?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client), own: own.into() })
    }
}

fn server(files: &SipTls, shown: &Arc<Shown>, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, Wrong> {
    let wrong = |error: &dyn ToString| Wrong::new(files.first(), error.to_string());
    //= RFC 8996 §2: nothing below TLS 1.2.
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| wrong(&error))?;
    let Some(client_ca) = &files.client_ca else {
        return Ok(builder.with_no_client_auth().with_cert_resolver(Arc::<Shown>::clone(shown)));
    };
    //= RFC 5922 §7.4: whether a peer without a certificate is let in is a matter of policy.
    let roots = Arc::new(anchors(&client_ca.path)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let verifier = if files.client_optional { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| wrong(&error))?;
    let mut config =
        builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::<Shown>::clone(shown));
    // Whoever may not connect any more must not get in with what an earlier connection left behind.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(files: &SipTls, shown: &Arc<Shown>, provider: Arc<CryptoProvider>) -> Result<ClientConfig, Wrong> {
    let roots = match &files.ca {
        Some(ca) => anchors(&ca.path)?,
        None => system_anchors(),
    };
    let verifier = Arc::new(ByDomain { roots, provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Wrong::new(files.first(), error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::<Shown>::clone(shown));
    // A session that is resumed shows no certificate, and the next name may be another.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What the system trusts; nobody where it has no such file, which matters only to who connects.
fn system_anchors() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let found = certificates(Path::new(SYSTEM_CA)).unwrap_or_default();
    let (_taken, _left_out) = store.add_parsable_certificates(found);
    store
}

/// Our certificates with their names.
#[derive(Debug)]
struct Shown(Vec<(Vec<String>, Arc<CertifiedKey>)>);

impl Shown {
    //= RFC 5922 §7.8: the one for the domain that the peer asks for.
    fn for_name(&self, asked: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let is = |name: &String| asked.is_some_and(|asked| covers(name, asked));
        let named = self.0.iter().find(|(names, _)| names.iter().any(is));
        named.or_else(|| self.0.first()).map(|(_, certified)| Arc::clone(certified))
    }
}

/// True if a name in a certificate is this one. Browsers take a wildcard for one label, so that it is shown to them.
fn covers(name: &str, asked: &str) -> bool {
    let under_wildcard = || {
        let (rest, (_, parent)) = (name.strip_prefix("*.")?, asked.split_once('.')?);
        Some(rest.eq_ignore_ascii_case(parent))
    };
    name.eq_ignore_ascii_case(asked) || under_wildcard() == Some(true)
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_name(hello.server_name())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.for_name(None)
    }
    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Trusts a server that was signed by one of these, for its SIP domains or its address.
#[derive(Debug)]
struct ByDomain {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByDomain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        //= RFC 5922 §7.1: the certificate must be valid as RFC 5280 says before its names mean anything.
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        let ServerName::DnsName(domain) = server_name else {
            verify_server_name(&certificate, server_name)?;
            return Ok(ServerCertVerified::assertion());
        };
        let says = Certificate::read(end_entity).ok_or(CertificateError::BadEncoding)?;
        //= RFC 5922 §7.3: one of its SIP domains must be the one that was looked for.
        if says.is_for(domain.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        let (expected, presented) = (server_name.to_owned(), says.domains);
        Err(CertificateError::NotValidForNameContext { expected, presented }.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// One realm's files and what was made of them. Connections that exist keep what they were made with.
pub(crate) struct Credentials {
    files: SipTls,
    looked: Vec<Look>,
    made: Result<Ends, String>,
}

impl Credentials {
    /// Reads the files.
    pub(crate) fn new(files: SipTls) -> Self {
        let looked = looks(&files);
        let made = Ends::read(&files).map_err(|wrong| wrong.to_string());
        let credentials = Self { files, looked, made };
        credentials.tell();
        credentials
    }

    /// Reads the files again if one has changed. New files that are of no use change nothing but the log.
    pub(crate) fn refresh(&mut self) {
        let looked = looks(&self.files);
        if looked == self.looked {
            return;
        }
        self.looked = looked;
        match (Ends::read(&self.files), &self.made) {
            (Err(wrong), Ok(_)) => {
                log::error(format_args!("{wrong}; the certificates read before stay in use"));
            }
            (made, _) => {
                self.made = made.map_err(|wrong| wrong.to_string());
                self.tell();
            }
        }
    }

    /// What new connections are made with.
    pub(crate) fn ends(&self) -> Result<&Ends, &str> {
        self.made.as_ref().map_err(String::as_str)
    }

    /// What is to be known of our certificates, for people: a line for each.
    pub(crate) fn state(&self) -> Vec<String> {
        let ends = match &self.made {
            Ok(ends) => ends,
            Err(why) => return vec![why.clone()],
        };
        let line = |((certificate, _), own): (&(Placed, Placed), &Certificate)| {
            let (path, until) = (certificate.path.display(), date(own.not_after));
            match is_over(own) {
                true => format!("{path} EXPIRED on {until}"),
                false => format!("{path} is valid until {until}"),
            }
        };
        self.files.own.iter().zip(ends.own.iter()).map(line).collect()
    }

    fn tell(&self) {
        match &self.made {
            Ok(ends) => {
                for (line, own) in self.state().iter().zip(ends.own.iter()) {
                    match is_over(own) {
                        true => log::error(format_args!("certificate {line}: peers will refuse it")),
                        false => log::info(format_args!("certificate {line}")),
                    }
                }
            }
            Err(why) => log::error(format_args!("{why}: no TLS until that is mended")),
        }
    }
}

fn looks(files: &SipTls) -> Vec<Look> {
    files.files().map(|file| look(&file.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_covers_itself_and_a_wildcard_one_label() {
        assert!(covers("Sip.example.net", "sip.Example.net"));
        assert!(covers("*.example.net", "a.example.net"));
        for (name, asked) in [("example.net", "a.example.net"), ("*.example.net", "b.a.example.net")] {
            assert!(!covers(name, asked), "{name} {asked}");
        }
    }
}
