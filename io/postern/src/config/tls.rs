//! The files of TLS: whose they are is checked here, what stands in them is not.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::key::{Absent, Key, Table};
use super::kind::AbsolutePath;
use super::problem::Problems;

/// The files of one end of TLS, each with its place in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whom the other end must have been signed by.
    pub ca: PathBuf,
    pub places: [Range<usize>; 3],
}

impl Tls {
    /// Certificate, key and roots.
    pub(crate) fn paths(&self) -> [&Path; 3] {
        [&self.certificate, &self.key, &self.ca]
    }
}

pub(super) static CERTIFICATE: Key<AbsolutePath> = Key {
    name: "certificate",
    kind: AbsolutePath,
    absent: Absent::Derived("none; needed for TLS"),
    text: "Our certificate with those that lead to its CA, in PEM: what is shown to agents (`listen`) or to the middlebox \
           (`connect`). Certificate, key and CA are read again when a file changes: sessions go on, new ones use the new \
           files. The user of the half must be able to read them.",
};
pub(super) static KEY: Key<AbsolutePath> = Key {
    name: "key",
    kind: AbsolutePath,
    absent: Absent::Derived("none; needed for TLS"),
    text: "The private key of `certificate`, in PEM, not encrypted.",
};
pub(super) static CLIENT_CA: Key<AbsolutePath> = Key {
    name: "client-ca",
    kind: AbsolutePath,
    absent: Absent::Derived("none; needed for `listen` with TLS"),
    text: "The CA certificates, in PEM, that agents' certificates must come from. It should sign nobody else's: who it has \
           signed is asked for a name and told no, but heard.",
};
pub(super) static CA: Key<AbsolutePath> = Key {
    name: "ca",
    kind: AbsolutePath,
    absent: Absent::Derived("none; needed for `connect` with TLS"),
    text: "The CA certificates, in PEM, that the middlebox's certificate must come from.",
};

/// The files for agents that connect here, if they are `wanted`.
pub(super) fn to_serve(
    table: &Table<'_, '_>,
    wanted: Option<Range<usize>>,
    problems: &mut Problems,
) -> Option<Tls> {
    read(table, &CLIENT_CA, wanted, problems)
}

/// The files for connecting to a middlebox, if they are `wanted`.
pub(super) fn to_connect(
    table: &Table<'_, '_>,
    wanted: Option<Range<usize>>,
    problems: &mut Problems,
) -> Option<Tls> {
    read(table, &CA, wanted, problems)
}

fn read(
    table: &Table<'_, '_>,
    ca: &Key<AbsolutePath>,
    wanted: Option<Range<usize>>,
    problems: &mut Problems,
) -> Option<Tls> {
    let wanted = wanted?;
    let keys = [&CERTIFICATE, &KEY, ca];
    let files = keys.map(|key| table.given(key, problems));
    let missing: Vec<String> =
        keys.iter().filter(|key| !table.is_given(*key)).map(|key| format!("`{}`", key.name)).collect();
    if !missing.is_empty() {
        problems.push_with_help(
            wanted,
            format!("TLS needs {}", missing.join(", ")),
            "both ends show a certificate and check the other's",
            "certificate = \"/etc/postern/tls/cert.pem\" and so on: docs/examples has a whole file",
        );
    }
    let [certificate, key, ca_file] = files;
    let places = keys.map(|key| table.place(key));
    Some(Tls { certificate: certificate?, key: key?, ca: ca_file?, places })
}
