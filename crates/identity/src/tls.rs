//! rustls configurations, and what a certificate says.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use packhorse_ids::{SiteName, WallTime};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A site's name stands in its certificate as this URI.
pub(crate) const URI_PREFIX: &str = "spiffe://packhorse/site/";

/// aws-lc-rs; X25519MLKEM768 comes first through the feature `prefer-post-quantum`.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Bytes that are no certificate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate of this relay's sites")]
pub struct InvalidCertificate;

/// What a site's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is.
    pub site: SiteName,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// When it begins.
    pub not_before: WallTime,
    /// When it ends.
    pub not_after: WallTime,
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
    /// Its public key, as SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
}

/// Reads a site's certificate.
///
/// # Errors
/// [`InvalidCertificate`].
pub fn certificate_facts(certificate: &[u8]) -> Result<CertificateFacts, InvalidCertificate> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| InvalidCertificate)?;
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .ok_or(InvalidCertificate)?;
    let site = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => SiteName::try_from(uri.strip_prefix(URI_PREFIX)?).ok(),
        _ => None,
    });
    let seconds =
        |time: x509_parser::time::ASN1Time| WallTime::from_unix_micros(time.timestamp().saturating_mul(1_000_000));
    Ok(CertificateFacts {
        site: site.ok_or(InvalidCertificate)?,
        serial: parsed.raw_serial().to_vec(),
        not_before: seconds(parsed.validity().not_before),
        not_after: seconds(parsed.validity().not_after),
        fingerprint: Sha256::digest(certificate).into(),
        spki: parsed.public_key().raw.to_vec(),
    })
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo: what a token pins.
pub(crate) fn pin_of(certificate: &[u8]) -> Result<[u8; 32], InvalidCertificate> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| InvalidCertificate)?;
    Ok(Sha256::digest(parsed.public_key().raw).into())
}

/// Serial numbers of revoked certificates, as every handshake sees them.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<RwLock<HashSet<Vec<u8>>>>);

impl Revocations {
    /// These, and no others, from now on.
    pub fn set(&self, serials: impl IntoIterator<Item = Vec<u8>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = serials.into_iter().collect();
    }

    fn contains(&self, serial: &[u8]) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(serial)
    }
}

/// Certificate chain and key of one end.
pub(crate) struct Own {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A relay's configuration: a client may show no certificate (to join), but none that is revoked or not ours.
pub(crate) fn server_config(
    own: Own,
    root: &CertificateDer<'static>,
    revocations: Revocations,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).allow_unauthenticated();
    let inner = inner.build().map_err(|error| Error::General(error.to_string()))?;
    let verifier = Arc::new(NotRevoked { inner, revocations });
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain, own.key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// An edge's configuration: trusts one root, shows its certificate if it has one.
pub(crate) fn client_config(
    own: Option<Own>,
    root: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = builder.with_root_certificates(roots);
    let config = match own {
        Some(own) => builder.with_client_auth_cert(own.chain, own.key)?,
        None => builder.with_no_client_auth(),
    };
    Ok(finished(config, alpn))
}

/// A joining edge's configuration: trusts the root in the chain whose key has this hash.
pub(crate) fn pinned_client_config(pin: [u8; 32], alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let verifier = Arc::new(Pinned {
        pin,
        provider: provider(),
    });
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(finished(config, alpn))
}

fn finished(mut config: ClientConfig, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    Arc::new(config)
}

/// The usual checks, and the registry's.
#[derive(Debug)]
struct NotRevoked {
    inner: Arc<dyn ClientCertVerifier>,
    revocations: Revocations,
}

impl ClientCertVerifier for NotRevoked {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let facts =
            certificate_facts(end_entity).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.revocations.contains(&facts.serial) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The usual checks against the root that the token names, which the chain must have.
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates
            .iter()
            .find(|certificate| pin_of(certificate) == Ok(self.pin));
        let Some(root) = root else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
