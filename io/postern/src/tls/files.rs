//! Certificate, key and roots in files, read again when a file changes.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::x509::{Certificate, date};
use super::{End, roots};
use crate::config::Tls;
use crate::log;

/// None of these files is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What stood in the files.
pub(crate) struct Stored {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub roots: Arc<RootCertStore>,
    /// What our certificate says.
    pub own: Certificate,
}

/// What is wrong with which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub file: PathBuf,
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl Wrong {
    pub(super) fn new(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), what: what.into() }
    }

    /// What TLS has against files that can be read.
    pub(crate) fn of(error: &rustls::Error, files: &Tls) -> Self {
        Self::of_pair(error, &files.certificate, &files.key)
    }

    /// The same for a certificate and its key.
    pub(super) fn of_pair(error: &rustls::Error, certificate: &Path, key: &Path) -> Self {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                let of = certificate.display();
                Self::new(key, format!("this key is not that of the certificate in {of}"))
            }
            other => Self::new(certificate, other.to_string()),
        }
    }
}

impl Stored {
    /// Reads all three.
    pub(crate) fn read(files: &Tls) -> Result<Self, Wrong> {
        let (chain, own) = own_chain(&files.certificate)?;
        let key = private_key(&files.key)?;
        Ok(Self { chain, key, roots: Arc::new(anchors(&files.ca)?), own })
    }
}

/// A certificate of ours with those that lead to its CA, and what it says.
pub(super) fn own_chain(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Certificate), Wrong> {
    let chain = certificates(path)?;
    let own = chain.first().and_then(|first| Certificate::read(first));
    let own = own.ok_or_else(|| Wrong::new(path, "not an X.509 certificate"))?;
    Ok((chain, own))
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Wrong> {
    let pem = content(path)?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| Wrong::new(path, format!("no private key in PEM: {error}")))
}

/// The CA certificates in a file, each of which must be one.
pub(super) fn anchors(path: &Path) -> Result<RootCertStore, Wrong> {
    roots(certificates(path)?)
        .map_err(|error| Wrong::new(path, format!("no CA certificate in it can be read: {error}")))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let pem = content(path)?;
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match list {
        Ok(list) if list.is_empty() => Err(Wrong::new(path, "no certificate in PEM")),
        Ok(list) => Ok(list),
        Err(error) => Err(Wrong::new(path, format!("not PEM: {error}"))),
    }
}

fn content(path: &Path) -> Result<Vec<u8>, Wrong> {
    let say = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Wrong::new(path, "no such file"),
        io::ErrorKind::PermissionDenied => Wrong::new(path, "this process may not read it"),
        _other => Wrong::new(path, error.to_string()),
    };
    let found = fs::metadata(path).map_err(say)?;
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        return Err(Wrong::new(path, format!("not a file of at most {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(say)
}

/// How a file looked: whether it has changed is seen by this. `None`: it cannot be looked at.
pub(super) type Look = Option<(u64, u64, i64, i64)>;

pub(super) fn look(path: &Path) -> Look {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// One end's files and what was made of them. Connections that exist keep what they were made with.
pub(crate) struct Credentials<E> {
    files: Tls,
    looked: [Look; 3],
    made: Result<(E, Certificate), String>,
}

impl<E: End + Clone> Credentials<E> {
    /// Reads the files.
    pub(crate) fn new(files: Tls) -> Self {
        let looked = files.paths().map(look);
        let made = make(&files);
        let credentials = Self { files, looked, made };
        credentials.tell();
        credentials
    }

    /// Reads the files again if one has changed. New files that are of no use change nothing but the log.
    pub(crate) fn refresh(&mut self) {
        let looked = self.files.paths().map(look);
        if looked == self.looked {
            return;
        }
        self.looked = looked;
        match (make(&self.files), &self.made) {
            (Err(why), Ok(_)) => {
                log::error(format_args!("{why}; the certificate read before stays in use"));
            }
            (made, _) => {
                self.made = made;
                self.tell();
            }
        }
    }

    /// What new connections are made with.
    pub(crate) fn get(&self) -> Result<E, String> {
        self.made.as_ref().map(|(end, _)| end.clone()).map_err(Clone::clone)
    }

    /// What is to be known of our certificate, for people.
    pub(crate) fn state(&self) -> String {
        let path = self.files.certificate.display();
        match &self.made {
            Ok((_, own)) if is_over(own) => format!("{path} EXPIRED on {}", date(own.not_after)),
            Ok((_, own)) => format!("{path} is valid until {}", date(own.not_after)),
            Err(why) => why.clone(),
        }
    }

    fn tell(&self) {
        match &self.made {
            Ok((_, own)) if is_over(own) => {
                let until = date(own.not_after);
                log::error(format_args!(
                    "{}: expired on {until}: no new session until the file is replaced",
                    self.files.certificate.display()
                ));
            }
            Ok(_) => log::info(format_args!("certificate {}", self.state())),
            Err(why) => log::error(format_args!("{why}: no TLS session until that is mended")),
        }
    }
}

/// True if a certificate is not valid any more.
pub(crate) fn is_over(certificate: &Certificate) -> bool {
    certificate.not_after < now()
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Days that a certificate is still valid.
pub(crate) fn days_left(certificate: &Certificate) -> u64 {
    certificate.not_after.saturating_sub(now()) / 86_400
}

fn make<E: End>(files: &Tls) -> Result<(E, Certificate), String> {
    let stored = Stored::read(files).map_err(|wrong| wrong.to_string())?;
    let own = stored.own.clone();
    let end = E::make(stored).map_err(|error| Wrong::of(&error, files).to_string())?;
    Ok((end, own))
}
