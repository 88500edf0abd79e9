//! [`Trust`] as rustls asks for it. Signatures of the handshake are always verified, with the key of the certificate that
//! was presented, however odd that certificate is otherwise (version 1, unknown critical extensions): webpki would not even
//! read such a one.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved, SignatureScheme,
};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::profile;
use super::trust::{Distrust, Presenter, Trust};

/// Signature algorithms of aws-lc-rs; SHA-1 is not among them.
pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    profile::REQUESTOR.signature_verification_algorithms
}

/// A [`Distrust`] on its way through rustls.
fn distrusted(distrust: Distrust) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))))
}

/// The [`Distrust`] that came through rustls.
pub(super) fn distrust_in(error: &Error) -> Option<Distrust> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref::<Distrust>().cloned(),
        _ => None,
    }
}

fn chain_of<'a>(own: &CertificateDer<'a>, others: &[CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    [own].into_iter().chain(others).cloned().collect()
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(parsed.public_key().raw.to_vec().into())
}

/// TLS 1.2 (RFC 5246 §7.4.3, §7.4.8).
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = public_key(certificate)?;
    let key =
        RawPublicKeyEntity::try_from(&key).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let mapping = algorithms().mapping;
    let Some((_, candidates)) = mapping.iter().find(|(scheme, _)| *scheme == signed.scheme) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let is_valid = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
        key.verify_signature(*algorithm, message, signed.signature()).is_ok()
    };
    if candidates.iter().any(is_valid) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

/// TLS 1.3 (RFC 8446 §4.4.3).
pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signed, &algorithms())
}

/// Believes acceptors.
#[derive(Debug)]
pub(super) struct AcceptorVerifier(pub(super) Trust);

impl ServerCertVerifier for AcceptorVerifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = self.0.check(&chain_of(own, others), Presenter::Acceptor(name), now);
        checked.map(|()| ServerCertVerified::assertion()).map_err(distrusted)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Believes requestors. Each must present a certificate.
#[derive(Debug)]
pub(super) struct RequestorVerifier(pub(super) Trust);

impl ClientCertVerifier for RequestorVerifier {
    /// None: they would be the CAs only, and a requestor whose certificate is pinned would find it not wanted.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let checked = self.0.check(&chain_of(own, others), Presenter::Requestor, now);
        checked.map(|()| ClientCertVerified::assertion()).map_err(distrusted)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}
