//! What a failed handshake means to a person.

use std::error::Error;

use rustls::{CertificateError, Error as TlsError};

use super::Tls;

/// What is wrong with TLS and what to do, where that is why the connection failed: the causes of the error are
/// searched for one of TLS. The server is named as in other messages, such as `Postgres at db:5432`.
#[must_use]
pub fn explain(error: &(dyn Error + 'static), tls: &Tls, section: &str, server: &str) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = of_tls(error) {
            return Some(format!("{server}: {}", meaning(error, tls, section)));
        }
        cause = error.source();
    }
    None
}

/// An error of rustls may lie in one of input and output, of which it is not the source.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref())
}

fn meaning(error: &TlsError, tls: &Tls, section: &str) -> String {
    let file = tls.root_certificate.as_deref().unwrap_or_else(|| "".as_ref()).display();
    match error {
        // An authority of the same name with another key makes a bad signature.
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!(
                "its certificate is not signed by an authority in {file}: correct {section}.tls.root_certificate, \
             or you are not speaking with your server"
            )
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "its certificate is for another name: set {section}.host to a name in it, \
             or {section}.tls.mode to verify-ca where the network is trusted"
        ),
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired: renew it, and see that this machine's clock is right".to_owned()
        }
        TlsError::InvalidCertificate(other) => format!("its certificate cannot be used: {other}"),
        TlsError::AlertReceived(alert) => format!(
            "it ended the TLS handshake ({alert:?}): see its log; it may ask for {section}.tls.client_certificate"
        ),
        other => format!("TLS failed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: CertificateError, word: &str) {
        let inner = std::io::Error::other(TlsError::InvalidCertificate(error));
        let outer = crate::Error::fatal("no").because(inner);
        let text = explain(&outer, &Tls::default(), "mysql", "MySQL at h:1").unwrap();
        assert!(text.starts_with("MySQL at h:1: ") && text.contains(word), "{text}");
    }

    #[test]
    fn causes_are_found_and_each_says_what_to_do() {
        check(CertificateError::UnknownIssuer, "mysql.tls.root_certificate");
        check(CertificateError::BadSignature, "mysql.tls.root_certificate");
        check(CertificateError::NotValidForName, "mysql.host");
        check(CertificateError::Expired, "clock");
        check(CertificateError::Revoked, "cannot be used");
        let other = crate::Error::fatal("no").because(std::io::Error::other("x"));
        assert_eq!(explain(&other, &Tls::default(), "mysql", "MySQL"), None);
    }
}
