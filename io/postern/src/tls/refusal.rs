//! Why a handshake failed, in words that tell whose certificate is meant.

use rustls::{AlertDescription, CertificateError, Error};

use super::x509::date;

/// What is wrong; `peer` is whom the other end is called.
pub(crate) fn in_words(error: &Error, peer: &str) -> String {
    match error {
        Error::InvalidCertificate(why) => format!("the certificate of {peer} {}", theirs(why)),
        Error::NoCertificatesPresented => format!("{peer} showed no certificate"),
        Error::AlertReceived(alert) => ours(*alert, peer),
        Error::InvalidMessage(_) => format!("{peer} does not speak TLS here"),
        other => other.to_string(),
    }
}

fn theirs(why: &CertificateError) -> String {
    match why {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}", date(not_after.as_secs()))
        }
        CertificateError::Expired => "has expired".into(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", date(not_before.as_secs()))
        }
        CertificateError::UnknownIssuer => "was signed by nobody we trust".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is not for {}, but for {}", expected.to_str(), presented.join(", "))
        }
        other => format!("is refused: {other}"),
    }
}

/// What the other end thinks of our certificate.
fn ours(alert: AlertDescription, peer: &str) -> String {
    match alert {
        AlertDescription::CertificateExpired => format!("{peer} refuses our certificate: expired"),
        AlertDescription::UnknownCA => {
            format!("{peer} refuses our certificate: signed by nobody it trusts")
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::AccessDenied => format!("{peer} refuses our certificate ({alert:?})"),
        other => format!("{peer} refuses the connection ({other:?})"),
    }
}
