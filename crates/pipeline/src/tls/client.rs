//! The settings as rustls wants them.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::{Files, Mode, Tls};
use crate::{Error, Result};

/// What a client of these settings does; `None` where they say that nothing is encrypted.
///
/// # Errors
/// Fatal, naming the setting: a file that cannot be read or holds something else.
pub fn client_config(tls: &Tls, section: &str) -> Result<Option<Arc<ClientConfig>>> {
    if !tls.is_on() {
        return Ok(None);
    }
    let files = Files::read(tls, section)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(tls.mode, &files, section, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::fatal("cannot set up TLS").because(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(identity) = files.identity else { return Ok(Some(Arc::new(builder.with_no_client_auth()))) };
    let certificates = certificates(&identity.certificate, &format!("{section}.tls.client_certificate"))?;
    let unfit = |reason: String| Error::fatal(format!("{section}.tls.client_key cannot be used: {reason}"));
    // The errors tell which kind of key is wrong and quote nothing of it.
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
    let key = key.map_err(|_| unfit("the file holds no private key in PEM without a password".to_owned()))?;
    let config = builder.with_client_auth_cert(certificates, key);
    config.map(|config| Some(Arc::new(config))).map_err(|error| unfit(error.to_string()))
}

fn verifier(
    mode: Mode,
    files: &Files,
    section: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    let lenient = |authority| Arc::new(Lenient { provider: Arc::clone(provider), authority });
    let Some(roots) = &files.roots else { return Ok(lenient(None)) };
    let setting = format!("{section}.tls.root_certificate");
    let mut store = RootCertStore::empty();
    // A machine's own list may hold some that rustls does not take.
    let (added, _) = store.add_parsable_certificates(certificates(roots, &setting)?);
    if added == 0 {
        return Err(Error::fatal(format!("{setting} holds no certificate of an authority that can be used")));
    }
    let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|error| Error::fatal(format!("{setting} cannot be used")).because(error))?;
    Ok(if mode == Mode::VerifyCa { lenient(Some(strict)) } else { strict })
}

fn certificates(pem: &str, setting: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::fatal(format!("{setting} holds no certificate in PEM"))),
    }
}

/// Takes more than rustls does by itself: `verify-ca` does not care for the name, `require` not for the authority either.
/// That the server has the key of the certificate that it shows is asked in any case.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Who must have signed the certificate.
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last: an error about it says that the rest is in order.
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
