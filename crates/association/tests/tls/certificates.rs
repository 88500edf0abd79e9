//! An acceptor's certificate, and whether our requestor believes it.

use packhorse_association::driver::tls::{Fingerprint, Reason, TlsError, TlsRequestor, Trust};
use packhorse_testkit::certs::{Cert, CertSpec};

use crate::support::*;

async fn address_of(cert: &Cert) -> (Scp, String) {
    let scp = Scp::start(Some(acceptor(cert))).await;
    let address = scp.address.to_string();
    (scp, address)
}

/// Why the certificate is not believed.
async fn reason(cert: &Cert, requestor: &TlsRequestor) -> Reason {
    let (mut scp, address) = address_of(cert).await;
    let TlsError::Distrusted(distrust) = visit_error(&address, requestor).await else {
        panic!()
    };
    assert_eq!(distrust.certificate, Some(Fingerprint::of(&cert.der)));
    // The acceptor hears of it, by an alert and not by a reset.
    assert!(matches!(scp.served().await.tls_error(), TlsError::Refused(_)));
    distrust.reason
}

async fn is_believed(cert: &Cert, requestor: &TlsRequestor) {
    let (mut scp, address) = address_of(cert).await;
    let peer = visit(&address, requestor).await.unwrap();
    assert_eq!(peer.version(), "TLS 1.3");
    assert_eq!(peer.certificate().unwrap().fingerprint, Fingerprint::of(&cert.der));
    assert!(scp.served().await.ended.is_ok());
}

#[tokio::test]
async fn a_pinned_certificate_is_believed_whatever_it_says() {
    let odd = [
        CertSpec::new("pacs").self_signed(),
        CertSpec::new("pacs").ca().self_signed(),
        CertSpec::new("pacs").name("elsewhere.example").self_signed(),
        CertSpec::new("pacs").expired().self_signed(),
        CertSpec::new("").rsa().self_signed(),
        CertSpec::new("pacs").issued_by(&CertSpec::new("CA").ca().self_signed()),
    ];
    for cert in odd {
        is_believed(&cert, &requestor(pinned(&cert))).await;
    }
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_not_and_is_shown() {
    let (cert, other) = (proper(), proper());
    assert_eq!(reason(&cert, &requestor(pinned(&other))).await, Reason::NotPinned);
    let (_scp, address) = address_of(&cert).await;
    let said = visit_error(&address, &requestor(pinned(&other))).await.to_string();
    assert!(said.contains(&Fingerprint::of(&cert.der).to_string()), "{said}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_believed_when_it_is_the_one_that_is_trusted() {
    let own = [
        CertSpec::new("pacs").self_signed(),
        CertSpec::new("pacs").ca().self_signed(),
        CertSpec::new("pacs").name("10.1.0.9").self_signed(),
    ];
    for cert in own {
        is_believed(&cert, &requestor(trusted(&cert))).await;
    }
}

#[tokio::test]
async fn a_self_signed_certificate_of_somebody_else_is_unknown() {
    for spec in [CertSpec::new("pacs"), CertSpec::new("pacs").ca()] {
        let (cert, other) = (spec.self_signed(), spec.self_signed());
        let reason = reason(&cert, &requestor(trusted(&other))).await;
        let is_unknown = matches!(&reason, Reason::UnknownIssuer { issuer, .. } if issuer == "CN=pacs");
        assert!(is_unknown || matches!(reason, Reason::Invalid { .. }), "{reason:?}");
    }
}

#[tokio::test]
async fn whoever_has_the_key_of_a_trusted_certificate_that_is_no_ca_cannot_vouch_for_others() {
    let trusted_one = proper();
    let minted = CertSpec::new("127.0.0.1").name("127.0.0.1").issued_by(&trusted_one);
    let reason = reason(&minted, &requestor(trusted(&trusted_one))).await;
    assert!(matches!(reason, Reason::UnknownIssuer { .. }), "{reason:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_under_trust_with_its_date() {
    let ca = CertSpec::new("CA").ca().self_signed();
    let own = CertSpec::new("pacs").expired().self_signed();
    let issued = CertSpec::new("pacs").name("127.0.0.1").expired().issued_by(&ca);
    for (cert, trust) in [(&own, trusted(&own)), (&issued, trusted(&ca))] {
        let since = "2021-03-04 00:00 UTC".to_owned();
        assert_eq!(reason(cert, &requestor(trust)).await, Reason::Expired { since });
    }
}

#[tokio::test]
async fn what_a_private_ca_has_issued_for_this_host_is_believed() {
    let ca = CertSpec::new("CA").ca().self_signed();
    let (by_address, by_common_name) = (
        CertSpec::new("pacs").name("127.0.0.1").issued_by(&ca),
        CertSpec::new("127.0.0.1").issued_by(&ca),
    );
    for cert in [by_address, by_common_name] {
        is_believed(&cert, &requestor(trusted(&ca))).await;
    }
}

#[tokio::test]
async fn a_name_that_is_configured_stands_for_the_host() {
    let ca = CertSpec::new("CA").ca().self_signed();
    let (san, cn) = (
        CertSpec::new("whatever").name("pacs.example").issued_by(&ca),
        CertSpec::new("PACS.example").issued_by(&ca),
    );
    for cert in [san, cn] {
        let named = requestor(trusted(&ca)).with_name("pacs.example").unwrap();
        is_believed(&cert, &named).await;
    }
}

#[tokio::test]
async fn what_a_private_ca_has_issued_for_another_host_is_not() {
    let ca = CertSpec::new("CA").ca().self_signed();
    let cases = [
        (CertSpec::new("pacs").name("10.1.0.9"), vec!["10.1.0.9"]),
        (CertSpec::new("pacs").name("pacs.example"), vec!["pacs.example"]),
        // Subject alternative names are there, so the common name does not count.
        (CertSpec::new("127.0.0.1").name("pacs.example"), vec!["pacs.example"]),
        (CertSpec::new("pacs"), vec!["pacs"]),
    ];
    for (spec, names) in cases {
        let cert = spec.issued_by(&ca);
        let expected = Reason::OtherName {
            expected: "127.0.0.1".to_owned(),
            names: names.into_iter().map(str::to_owned).collect(),
        };
        assert_eq!(reason(&cert, &requestor(trusted(&ca))).await, expected);
    }
}

#[tokio::test]
async fn a_ca_that_was_issued_by_another_is_no_peer() {
    let root = CertSpec::new("root").ca().self_signed();
    let cert = CertSpec::new("127.0.0.1").ca().issued_by(&root);
    assert_eq!(reason(&cert, &requestor(trusted(&root))).await, Reason::CaAsPeer);
}

#[tokio::test]
async fn pins_and_cas_together_are_one_or_the_other() {
    let (ca, old) = (
        CertSpec::new("CA").ca().self_signed(),
        CertSpec::new("old").self_signed(),
    );
    let new = CertSpec::new("127.0.0.1").issued_by(&ca);
    let both = requestor(pinned(&old).or(&trusted(&ca)));
    is_believed(&old, &both).await;
    is_believed(&new, &both).await;
}

#[tokio::test]
async fn both_versions_are_spoken_and_signatures_of_odd_certificates_are_verified_in_both() {
    // CA:TRUE, no names: webpki would not take it for a peer.
    let cert = CertSpec::new("pacs").ca().self_signed();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth();
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(cert.key.as_bytes()).unwrap();
        let server = builder.with_single_cert(vec![cert.der.clone().into()], key).unwrap();
        let server = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let stream = server.accept(listener.accept().await.unwrap().0).await.unwrap();
            let peer = std::net::IpAddr::from([127, 0, 0, 1]);
            let connection = packhorse_association::Connection::over(stream, peer);
            let config = packhorse_association::AcceptorConfig::default();
            let mut association = packhorse_association::accept(connection, "", &config, &everything)
                .await
                .unwrap();
            association.next().await.map(|request| assert!(request.is_none()))
        });
        let peer = visit(&address, &requestor(pinned(&cert))).await.unwrap();
        assert_eq!(
            peer.version().replace("TLS 1.", "TLSv1_"),
            format!("{:?}", version.version)
        );
        serving.await.unwrap().unwrap();
    }
}

#[test]
fn a_file_of_trust_that_is_none_is_said() {
    use packhorse_association::driver::tls::TrustError;
    assert_eq!(Trust::of_pem(b"nothing"), Err(TrustError::Empty));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(Trust::of_pem(broken.as_bytes()), Err(TrustError::Unreadable(1)));
}

/// Presents one certificate with the key of another.
#[derive(Debug)]
struct Thief(std::sync::Arc<rustls::sign::CertifiedKey>);

impl Thief {
    fn with(stolen: &Cert, own: &Cert) -> Self {
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(own.key.as_bytes()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let chain = vec![stolen.der.clone().into()];
        Self(std::sync::Arc::new(rustls::sign::CertifiedKey::new(chain, key)))
    }
}

impl rustls::server::ResolvesServerCert for Thief {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        Some(std::sync::Arc::clone(&self.0))
    }
}

impl rustls::client::ResolvesClientCert for Thief {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        Some(std::sync::Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn an_acceptor_that_has_not_the_pinned_certificates_key_is_no_peer() {
    let (stolen, own) = (proper(), proper());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth();
        let server = builder.with_cert_resolver(std::sync::Arc::new(Thief::with(&stolen, &own)));
        let server = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move { server.accept(listener.accept().await.unwrap().0).await.map(drop) });
        let error = visit_error(&address, &requestor(pinned(&stolen))).await;
        assert!(
            matches!(&error, TlsError::PeerMisbehaved(what) if what.contains("BadSignature")),
            "{error:?}"
        );
        assert!(serving.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_requestor_that_has_not_the_pinned_certificates_key_does_not_come_in() {
    use packhorse_association::driver::tls::{ClientAuthentication, TlsAcceptor};
    let (stolen, own) = (proper(), proper());
    let ca = CertSpec::new("CA").ca().self_signed();
    let ours = CertSpec::new("OURS").name("localhost").issued_by(&ca);
    let mutual = ClientAuthentication::Required(pinned(&stolen));
    let mut scp = Scp::start(Some(TlsAcceptor::new(identity(&ours), mutual).unwrap())).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = foreign_client(version, &ca);
        client.client_auth_cert_resolver = std::sync::Arc::new(Thief::with(&stolen, &own));
        let client = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
        let socket = tokio::net::TcpStream::connect(scp.address).await.unwrap();
        let _connected = client.connect("localhost".try_into().unwrap(), socket).await;
        let served = scp.served().await;
        let error = served.tls_error();
        assert!(
            matches!(error, TlsError::PeerMisbehaved(what) if what.contains("BadSignature")),
            "{error:?}"
        );
    }
}
