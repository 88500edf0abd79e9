//! A requestor's certificate, and whether our acceptor wants and believes it.

use std::sync::Arc;

use packhorse_association::driver::tls::{
    Alert, ClientAuthentication, Distrust, Fingerprint, Reason, TlsAcceptor, TlsError, TlsRequestor, Trust,
};
use packhorse_testkit::certs::{Cert, CertSpec};
use rustls::pki_types::UnixTime;
use tokio::net::TcpStream;

use crate::support::*;

async fn scp(own: &Cert, trust: Trust) -> Scp {
    Scp::start(Some(
        TlsAcceptor::new(identity(own), ClientAuthentication::Required(trust)).unwrap(),
    ))
    .await
}

fn with(own: &Cert, acceptor: &Cert) -> TlsRequestor {
    TlsRequestor::new(pinned(acceptor), Some(identity(own))).unwrap()
}

#[tokio::test]
async fn a_pinned_requestor_comes_in_and_its_certificate_is_known() {
    let ours = proper();
    for theirs in [
        CertSpec::new("CT1").self_signed(),
        CertSpec::new("CT1").ca().expired().self_signed(),
    ] {
        let mut scp = scp(&ours, pinned(&theirs)).await;
        visit(&scp.address.to_string(), &with(&theirs, &ours)).await.unwrap();
        let served = scp.served().await;
        assert!(served.ended.is_ok(), "{:?}", served.ended);
        let tls = served.tls.unwrap();
        assert_eq!(tls.certificate().unwrap().fingerprint, Fingerprint::of(&theirs.der));
        let now = UnixTime::now();
        assert_eq!(pinned(&theirs).check_requestor(&tls, now), Ok(()));
        let distrust = pinned(&ours).check_requestor(&tls, now).unwrap_err();
        assert_eq!(distrust.reason, Reason::NotPinned);
    }
}

#[tokio::test]
async fn what_a_private_ca_has_issued_comes_in_whatever_its_names() {
    let (ours, ca) = (proper(), CertSpec::new("CA").ca().self_signed());
    let theirs = CertSpec::new("CT1").name("ct1.example").issued_by(&ca);
    let mut scp = scp(&ours, trusted(&ca)).await;
    visit(&scp.address.to_string(), &with(&theirs, &ours)).await.unwrap();
    assert!(scp.served().await.ended.is_ok());
}

#[tokio::test]
async fn a_stranger_is_refused_and_both_sides_say_why() {
    let (ours, known) = (proper(), CertSpec::new("CT1").self_signed());
    let ca = CertSpec::new("CA").ca().self_signed();
    let servers_only = CertSpec::new("CT1").for_servers().issued_by(&ca);
    let expired = CertSpec::new("CT1").expired().issued_by(&ca);
    let cases = [
        (proper(), pinned(&known)),
        (servers_only, trusted(&ca)),
        (expired, trusted(&ca)),
    ];
    for (theirs, trust) in cases {
        let mut scp = scp(&ours, trust).await;
        let error = visit_error(&scp.address.to_string(), &with(&theirs, &ours)).await;
        assert!(matches!(error, TlsError::Refused(Alert(46))), "{error:?}");
        let served = scp.served().await;
        let TlsError::Distrusted(distrust) = served.tls_error() else {
            panic!("{served:?}")
        };
        assert_eq!(distrust.certificate, Some(Fingerprint::of(&theirs.der)));
    }
}

#[tokio::test]
async fn a_requestor_without_a_certificate_is_told_that_one_is_required() {
    let ours = proper();
    let mut scp = scp(&ours, pinned(&proper())).await;
    let error = visit_error(&scp.address.to_string(), &requestor(pinned(&ours))).await;
    assert_eq!(error, TlsError::Refused(Alert(116)));
    assert!(error.to_string().contains("set `certificate` and `key`"), "{error}");
    let expected = TlsError::Distrusted(Distrust::NO_CERTIFICATE);
    assert_eq!(scp.served().await.tls_error(), &expected);
}

#[tokio::test]
async fn a_requestor_of_tls_1_2_without_a_certificate_is_refused_too() {
    let ours = CertSpec::new("OURS").name("localhost").ca().self_signed();
    // What a usual client believes: a CA and its host.
    let leaf = CertSpec::new("OURS").name("localhost").issued_by(&ours);
    let mut scp = scp(&leaf, pinned(&proper())).await;
    let client = tokio_rustls::TlsConnector::from(Arc::new(foreign_client(&rustls::version::TLS12, &ours)));
    let socket = TcpStream::connect(scp.address).await.unwrap();
    let connected = client.connect("localhost".try_into().unwrap(), socket).await;
    assert!(connected.is_err());
    assert_eq!(
        scp.served().await.tls_error(),
        &TlsError::Distrusted(Distrust::NO_CERTIFICATE)
    );
}

#[tokio::test]
async fn an_acceptor_that_asks_for_none_takes_whoever_has_one() {
    let (ours, theirs) = (proper(), CertSpec::new("CT1").self_signed());
    let mut scp = Scp::start(Some(acceptor(&ours))).await;
    visit(&scp.address.to_string(), &with(&theirs, &ours)).await.unwrap();
    assert_eq!(scp.served().await.tls.unwrap().certificate(), None);
}
