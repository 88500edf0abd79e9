use std::sync::Arc;

use packhorse_transport::{ALPN_ENROLL, ALPN_LINK};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// A certificate authority that lives as long as its test.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }

    pub(crate) fn issue(&self, name: &str, years: std::ops::Range<i32>) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
    }
}

pub(crate) fn server_tls(authority: &Authority) -> Arc<rustls::ServerConfig> {
    server_tls_with(authority, authority.issue("relay", 2020..4000))
}

pub(crate) fn server_tls_with(authority: &Authority, identity: Identity) -> Arc<rustls::ServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.0, identity.1)
        .unwrap();
    tls.send_tls13_tickets = 0;
    tls.alpn_protocols = vec![ALPN_LINK.to_vec(), ALPN_ENROLL.to_vec()];
    Arc::new(tls)
}

pub(crate) fn client_tls(authority: &Authority) -> Arc<rustls::ClientConfig> {
    client_tls_with(authority, authority.issue("site-a", 2020..4000))
}

pub(crate) fn client_tls_with(authority: &Authority, identity: Identity) -> Arc<rustls::ClientConfig> {
    let tls = client_builder(authority).with_client_auth_cert(identity.0, identity.1);
    for_links(tls.unwrap())
}

pub(crate) fn client_tls_without_certificate(authority: &Authority) -> Arc<rustls::ClientConfig> {
    for_links(client_builder(authority).with_no_client_auth())
}

fn client_builder(
    authority: &Authority,
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(authority.roots())
}

fn for_links(mut tls: rustls::ClientConfig) -> Arc<rustls::ClientConfig> {
    tls.alpn_protocols = vec![ALPN_LINK.to_vec()];
    Arc::new(tls)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
