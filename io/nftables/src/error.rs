//! Why the engine could not start or look.

use std::io;

use thiserror::Error;

/// What went wrong, by fault.
#[derive(Debug, Error)]
pub enum Error {
    /// Refused: another middlebox works in this network namespace.
    #[error(
        "another middlebox already works in this network namespace (process {0}); stop it first, or use another namespace"
    )]
    Held(i32),
    /// Refused: the table belongs to a program that is running.
    #[error("the table inet {0} belongs to another running program")]
    Owned(&'static str),
    /// Environment: the kernel said no.
    #[error("{what}: {source}{}", hint(.source))]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// Names what was tried.
    pub(crate) fn kernel<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Kernel { what, source: source.into() }
    }
}

/// What to do next, for the errors that people meet.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => " (the middlebox needs CAP_NET_ADMIN in this network namespace)",
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            " (this kernel has no nf_tables; it needs CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET)"
        }
        _ => "",
    }
}
