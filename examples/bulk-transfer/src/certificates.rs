//! An authority that lives for one run, and a certificate for each end.

use std::sync::Arc;

use packhorse_transport::ALPN_LINK;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// The name that the receiver's certificate is for.
pub(crate) const SERVER_NAME: &str = "receiver";

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Both configurations: TLS 1.3, certificates both ways, no tickets, no early data.
pub(crate) fn pair() -> anyhow::Result<(Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>)> {
    let authority_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(params.self_signed(&authority_key)?.der().clone())?;
    let (roots, issuer) = (Arc::new(roots), Issuer::new(params, authority_key));
    Ok((server(&roots, &issuer)?, client(roots, &issuer)?))
}

fn server(
    roots: &Arc<rustls::RootCertStore>,
    issuer: &Issuer<'_, KeyPair>,
) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let (chain, key) = issue(issuer, SERVER_NAME)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider()).build()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    tls.send_tls13_tickets = 0;
    tls.alpn_protocols = vec![ALPN_LINK.to_vec()];
    Ok(Arc::new(tls))
}

fn client(
    roots: Arc<rustls::RootCertStore>,
    issuer: &Issuer<'_, KeyPair>,
) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let (chain, key) = issue(issuer, "sender")?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN_LINK.to_vec()];
    Ok(Arc::new(tls))
}

fn issue(issuer: &Issuer<'_, KeyPair>, name: &str) -> anyhow::Result<Identity> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, issuer)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok((vec![certificate.der().clone()], key))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
