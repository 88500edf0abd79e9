//! What `inspect` shows.

use std::time::Duration;

use packhorse_association::driver::tls::{
    ClientAuthentication, Fingerprint, Inspection, Reason, TlsAcceptor, TlsError, inspect,
};
use packhorse_testkit::certs::CertSpec;
use packhorse_testkit::peers::{Peer, Storescp, StorescpOptions, require};
use rustls::pki_types::UnixTime;
use tokio::task::spawn_blocking;

use crate::support::*;

async fn look(address: &str) -> Inspection {
    inspect(address, SOON, Duration::from_secs(10)).await.unwrap()
}

#[tokio::test]
async fn a_certificate_is_shown_without_being_believed_and_nothing_is_sent() {
    let cert = CertSpec::new("pacs").ca().expired().self_signed();
    let mut scp = Scp::start(Some(acceptor(&cert))).await;
    let inspection = look(&scp.address.to_string()).await;
    assert_eq!(
        (inspection.error.clone(), inspection.asks_for_certificate),
        (None, false)
    );
    assert_eq!(inspection.tls.as_ref().unwrap().version(), "TLS 1.3");
    let shown = inspection.certificates().remove(0);
    assert_eq!(
        (shown.subject.as_str(), shown.is_ca, shown.is_self_signed),
        ("CN=pacs", true, true)
    );
    assert_eq!(shown.fingerprint, Fingerprint::of(&cert.der));
    let now = UnixTime::now();
    assert!(shown.is_expired(now));
    let against = inspection.against(&trusted(&cert), now).unwrap().reason;
    assert!(matches!(against, Reason::Expired { .. }));
    assert_eq!(inspection.against(&pinned(&cert), now), None);
    let served = scp.served().await;
    assert!(served.stored.is_empty() && served.ended.is_err());
}

#[tokio::test]
async fn a_peer_that_requires_a_certificate_of_ours_is_told() {
    let cert = proper();
    let mutual = ClientAuthentication::Required(pinned(&proper()));
    let scp = Scp::start(Some(TlsAcceptor::new(identity(&cert), mutual).unwrap())).await;
    let inspection = look(&scp.address.to_string()).await;
    assert!(inspection.asks_for_certificate);
    assert!(
        matches!(inspection.error, Some(TlsError::Refused(_))),
        "{:?}",
        inspection.error
    );
    assert_eq!(inspection.certificates()[0].fingerprint, Fingerprint::of(&cert.der));
}

#[tokio::test]
async fn a_plain_port_is_told() {
    let scp = Scp::start(None).await;
    let inspection = look(&scp.address.to_string()).await;
    assert_eq!(inspection.error, Some(TlsError::PeerSpeaksDicom));
    assert!(inspection.chain.is_empty());
}

#[tokio::test]
async fn a_storescp_with_tls_is_shown_and_one_with_retired_suites_named() {
    let Some(_) = require(Peer::Storescp) else { return };
    let (cert, folder) = (
        CertSpec::new("storescp").rsa().self_signed(),
        tempfile::tempdir().unwrap(),
    );
    let files = cert.write(folder.path(), "own").unwrap();
    let own: [String; 2] = [files.key.display().to_string(), files.certificate.display().to_string()];
    let start = |more: &[&str]| {
        let options = ["+tls", own[0].as_str(), own[1].as_str(), "-ic"];
        let options = options.into_iter().chain(more.iter().copied());
        let options = StorescpOptions {
            options: options.map(str::to_owned).collect(),
            ..StorescpOptions::default()
        };
        spawn_blocking(|| Storescp::start(options))
    };
    let modern = start(&[]).await.unwrap().unwrap();
    let inspection = look(&format!("127.0.0.1:{}", modern.port())).await;
    assert_eq!(inspection.certificates()[0].fingerprint, Fingerprint::of(&cert.der));
    assert!(inspection.tls.unwrap().suite().contains("GCM"));
    let old = start(&["+pa"]).await.unwrap().unwrap();
    let inspection = look(&format!("127.0.0.1:{}", old.port())).await;
    let retired = inspection.retired.map(|choice| choice.to_string()).unwrap_or_default();
    assert!(
        retired.starts_with("TLS 1.2 with TLS_RSA_WITH_AES_128_CBC_SHA"),
        "{inspection:?}"
    );
}
