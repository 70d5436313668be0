//! The files of TLS of one realm: what its listeners show, whom they let in, and whom it trusts where it connects.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::address::Listen;
use super::key::{Absent, Key, Table};
use super::kind::{AbsolutePath, Chosen, Either, List, OneOf, Text};
use super::problem::Problems;

/// Certificates of one realm.
const CERTIFICATES_MAX: usize = 16;

/// The files of a realm that speaks TLS, each with its place in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SipTls {
    /// Certificates with their keys, at least one. The first is shown to whoever asks for no name we have.
    pub own: Vec<(Placed, Placed)>,
    /// Whom peers that connect must have been signed by, if they are asked.
    pub client_ca: Option<Placed>,
    /// True if a peer without a certificate is let in all the same.
    pub client_optional: bool,
    /// Whom servers must have been signed by; `None`: whom the system trusts.
    pub ca: Option<Placed>,
    /// What stands in Via and Contact instead of an address.
    pub host: Option<String>,
}

/// A file, and where the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub path: PathBuf,
    pub place: Range<usize>,
}

impl SipTls {
    /// Every file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Placed> {
        let own = self.own.iter().flat_map(|(certificate, key)| [certificate, key]);
        own.chain(&self.client_ca).chain(&self.ca)
    }

    /// The certificate that most peers see.
    pub(crate) fn first(&self) -> &Path {
        self.own.first().map_or_else(|| Path::new(""), |(certificate, _)| &certificate.path)
    }

    /// Where a file is named.
    pub(crate) fn place(&self, path: &Path) -> Option<Range<usize>> {
        self.files().find(|file| file.path == path).map(|file| file.place.clone())
    }
}

type Files = Either<AbsolutePath, List<AbsolutePath>>;

pub(super) static CERTIFICATE: Key<Files> = Key {
    name: "certificate",
    kind: Either(AbsolutePath, List { of: AbsolutePath, max: CERTIFICATES_MAX }),
    absent: Absent::Derived("none; needed where `listen` has tls or wss"),
    text: "Our certificate with those that lead to its CA, in PEM. Of several a peer is shown the one with the name that it \
           asks for (SNI), else the first, which is also shown to servers that ask for one. The files of TLS are read again \
           when they change, and by `postern reload`: connections go on, new ones use the new files. The user of the agent \
           half must be able to read them.",
};
pub(super) static KEY: Key<Files> = Key {
    name: "key",
    kind: Either(AbsolutePath, List { of: AbsolutePath, max: CERTIFICATES_MAX }),
    absent: Absent::Derived("none; needed with `certificate`"),
    text: "The private key of `certificate`, in PEM, not encrypted; of several in the same order.",
};
pub(super) static CLIENT_CA: Key<AbsolutePath> = Key {
    name: "client-ca",
    kind: AbsolutePath,
    absent: Absent::Derived("none: peers that connect are not asked for a certificate"),
    text: "The CA certificates, in PEM, that the certificates of peers that connect must come from: mutual TLS.",
};
pub(super) static CLIENT_CERTIFICATE: Key<OneOf<bool>> = Key {
    name: "client-certificate",
    kind: OneOf { words: &[("required", false), ("optional", true)] },
    absent: Absent::Literal("\"required\""),
    text: "With `client-ca`: whether a peer without a certificate is let in. One with a bad certificate never is.",
};
pub(super) static CA: Key<AbsolutePath> = Key {
    name: "ca",
    kind: AbsolutePath,
    absent: Absent::Derived("the system's, `/etc/ssl/certs/ca-certificates.crt`"),
    text: "The CA certificates, in PEM, that certificates of next hops must come from. A next hop that is a name must show a \
           certificate for that name (RFC 5922: a `sip:` URI or DNS name among its alternative names, no wildcards; the \
           common name only where there is no other), one that is an address a certificate for that address.",
};
pub(super) static HOST: Key<Text> = Key {
    name: "host",
    kind: Text { what: "host name" },
    absent: Absent::Derived("the address of the listener"),
    text: "What stands in Via and Contact over tls and wss, for peers that will only connect to a name of our certificate. \
           The name must lead to the realm's listeners.",
};

/// The files of a realm, if its listeners need any.
pub(super) fn read(
    table: &Table<'_, '_>,
    listen: &[(Listen, Range<usize>)],
    problems: &mut Problems,
) -> Option<SipTls> {
    let secure = |listen: &Listen| listen.transport.protocol().is_secure();
    let wanted = listen.iter().find(|(listen, _)| secure(listen));
    let certificates = files(table, &CERTIFICATE, problems);
    let keys = files(table, &KEY, problems);
    let client_ca = file(table, &CLIENT_CA, problems);
    let client_optional = table.value(&CLIENT_CERTIFICATE, problems);
    let ca = file(table, &CA, problems);
    let host = host(table, problems);
    if wanted.is_none() {
        without_listener(table, problems);
        return None;
    }
    if client_ca.is_none() && table.is_given(&CLIENT_CERTIFICATE) {
        problems.push(
            table.place(&CLIENT_CERTIFICATE),
            "nobody is asked for a certificate",
            "needs `client-ca`",
        );
    }
    let missing = [(certificates.is_empty(), "certificate"), (keys.is_empty(), "key")];
    let missing: Vec<_> = missing.iter().filter(|(is, _)| *is).map(|(_, name)| format!("`{name}`")).collect();
    let given = table.is_given(&CERTIFICATE) && table.is_given(&KEY);
    if let Some((listen, span)) = wanted.filter(|_| !missing.is_empty() && !given) {
        problems.push_with_help(
            span.clone(),
            format!("{} needs {}", listen.transport, missing.join(" and ")),
            "a server shows a certificate",
            "certificate = \"/etc/postern/tls/cert.pem\" and key = \"/etc/postern/tls/key.pem\" in this realm",
        );
    }
    if certificates.len() != keys.len() && given {
        let title = format!("{} certificates, {} keys", certificates.len(), keys.len());
        problems.push(table.place(&KEY), title, "each certificate has a key, in the same order");
    }
    Some(SipTls { own: certificates.into_iter().zip(keys).collect(), client_ca, client_optional, ca, host })
}

/// Files that nobody would read are a mistake.
fn without_listener(table: &Table<'_, '_>, problems: &mut Problems) {
    let given = [
        (table.is_given(&CERTIFICATE), table.place(&CERTIFICATE), CERTIFICATE.name),
        (table.is_given(&KEY), table.place(&KEY), KEY.name),
        (table.is_given(&CLIENT_CA), table.place(&CLIENT_CA), CLIENT_CA.name),
        (table.is_given(&CLIENT_CERTIFICATE), table.place(&CLIENT_CERTIFICATE), CLIENT_CERTIFICATE.name),
        (table.is_given(&CA), table.place(&CA), CA.name),
        (table.is_given(&HOST), table.place(&HOST), HOST.name),
    ];
    if let Some((_, place, name)) = given.into_iter().find(|(given, _, _)| *given) {
        problems.push_with_help(
            place,
            format!("`{name}` in a realm that does not speak TLS"),
            "nothing would use it",
            "add \"tls:ADDRESS:5061\" to `listen`, or remove the key",
        );
    }
}

fn files(table: &Table<'_, '_>, key: &Key<Files>, problems: &mut Problems) -> Vec<Placed> {
    let place = table.place(key);
    let list = match table.given(key, problems) {
        Some(Chosen::One(path)) => vec![path],
        Some(Chosen::Other(list)) => list,
        None => Vec::new(),
    };
    if list.is_empty() && table.is_given(key) {
        problems.push(place.clone(), format!("`{}` names no file", key.name), "needs at least one");
    }
    list.into_iter().map(|path| Placed { path, place: place.clone() }).collect()
}

fn file(table: &Table<'_, '_>, key: &Key<AbsolutePath>, problems: &mut Problems) -> Option<Placed> {
    table.given(key, problems).map(|path| Placed { path, place: table.place(key) })
}

fn host(table: &Table<'_, '_>, problems: &mut Problems) -> Option<String> {
    let host = table.given(&HOST, problems)?;
    if !matches!(super::address::host_and_port(&host), Some((super::address::Host::Name(_), None))) {
        problems.push(table.place(&HOST), format!("`{host}` is not a host name"), "a name, without a port");
        return None;
    }
    Some(host)
}
