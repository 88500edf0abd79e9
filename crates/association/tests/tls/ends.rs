//! Much data over TLS, and the three ends: release, a connection that is cut, and one that TLS has closed.

use std::sync::Arc;

use packhorse_association::driver::tls::{TlsError, TlsRequestor};
use packhorse_association::{AssociationError, RequestedAssociation};
use packhorse_testkit::certs::CertSpec;
use packhorse_testkit::instances::{ImageSize, Study};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::support::*;

#[tokio::test]
async fn a_study_with_a_large_instance_arrives_byte_for_byte_and_is_released() {
    let ours = proper();
    let mut scp = Scp::start(Some(acceptor(&ours))).await;
    let mut study = study();
    study.push(Study::new("large").secondary_capture(1, 1, ImageSize::square(4001)));
    assert!(study.last().unwrap().dataset.len() > 16_000_000);
    let tls = requestor(pinned(&ours));
    let address = scp.address.to_string();
    let association = RequestedAssociation::request_tls(&address, &tls, &config(), contexts(&study))
        .await
        .unwrap();
    deliver(association, &study).await.unwrap();
    let served = scp.served().await;
    assert!(served.ended.is_ok(), "{:?}", served.ended);
    assert_eq!(served.stored, expected(&study));
    let tls = served.tls.unwrap();
    assert_eq!(tls.to_string(), "TLS 1.3 with TLS_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn many_associations_at_once_are_served() {
    let ours = proper();
    let mut scp = Scp::start(Some(acceptor(&ours))).await;
    let tls = requestor(pinned(&ours));
    let mut visits = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (tls, address): (TlsRequestor, _) = (tls.clone(), scp.address.to_string());
        visits.spawn(async move { visit(&address, &tls).await.map(drop) });
    }
    while let Some(visited) = visits.join_next().await {
        visited.unwrap().unwrap();
    }
    for _ in 0..32 {
        assert!(scp.served().await.ended.is_ok());
    }
}

/// A foreign requestor's TLS connection to our acceptor, and the first bytes of an A-ASSOCIATE-RQ on it.
async fn begun(scp: &Scp, ca: &packhorse_testkit::certs::Cert) -> TlsStream<TcpStream> {
    let client = tokio_rustls::TlsConnector::from(Arc::new(foreign_client(&rustls::version::TLS13, ca)));
    let socket = TcpStream::connect(scp.address).await.unwrap();
    let mut stream = client.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    stream.write_all(&[1, 0, 0, 0, 0, 200]).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

#[tokio::test]
async fn a_connection_that_is_cut_is_lost_with_or_without_the_close_of_tls() {
    let ca = CertSpec::new("CA").ca().self_signed();
    let ours = CertSpec::new("OURS").name("localhost").issued_by(&ca);
    let mut scp = Scp::start(Some(acceptor(&ours))).await;
    // Cut below TLS, as somebody in between can.
    let (mut socket, session) = begun(&scp, &ca).await.into_inner();
    socket.shutdown().await.unwrap();
    let ended = scp.served().await.ended;
    assert!(matches!(ended, Err(AssociationError::Lost)), "{ended:?}");
    drop((socket, session));
    // Closed by TLS, without release.
    let mut stream = begun(&scp, &ca).await;
    stream.shutdown().await.unwrap();
    let ended = scp.served().await.ended;
    assert!(matches!(ended, Err(AssociationError::Lost)), "{ended:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_below_tls_is_no_release() {
    let cert = proper();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepting = acceptor(&cert);
    let serving = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        // A second handle on the socket, to cut it under TLS.
        let std = socket.into_std().unwrap();
        let below = std.try_clone().unwrap();
        let connection = accepting.accept(TcpStream::from_std(std).unwrap()).await.unwrap();
        let config = packhorse_association::AcceptorConfig::default();
        let association = packhorse_association::accept(connection, "", &config, &everything)
            .await
            .unwrap();
        below.shutdown(std::net::Shutdown::Write).unwrap();
        association
    });
    let tls = requestor(pinned(&cert));
    let association = RequestedAssociation::request_tls(&address, &tls, &config(), contexts(&study()))
        .await
        .unwrap();
    let _kept = serving.await.unwrap();
    let released = association.release().await;
    assert!(matches!(released, Err(AssociationError::Lost)), "{released:?}");
}

#[tokio::test]
async fn a_release_closes_tls_in_order() {
    let ca = CertSpec::new("CA").ca().self_signed();
    let ours = CertSpec::new("OURS").name("localhost").issued_by(&ca);
    let mut scp = Scp::start(Some(acceptor(&ours))).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = tokio_rustls::TlsConnector::from(Arc::new(foreign_client(version, &ca)));
        let socket = TcpStream::connect(scp.address).await.unwrap();
        let mut stream = client.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        let rq = packhorse_association::negotiate::request_pdu(
            &config().calling,
            &config().called,
            contexts(&study()),
            packhorse_association::codec::UserInformation::ours(16 * 1024),
        );
        let mut bytes = bytes::BytesMut::new();
        packhorse_association::codec::encode(&packhorse_association::Pdu::AssociateRq(Box::new(rq)), &mut bytes)
            .unwrap();
        packhorse_association::codec::encode(&packhorse_association::Pdu::ReleaseRq, &mut bytes).unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        // An end without close_notify would be an error here.
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[answer.len() - 10..][..2], [6, 0], "an A-RELEASE-RP");
        drop(stream);
        assert!(scp.served().await.ended.is_ok());
    }
}

#[tokio::test]
async fn what_an_acceptor_has_against_us_is_heard_though_it_comes_late() {
    // In TLS 1.3 a requestor's handshake is done before the acceptor has seen its certificate.
    let (ours, theirs) = (proper(), proper());
    let refusing = packhorse_association::driver::tls::ClientAuthentication::Required(pinned(&ours));
    let accepting = packhorse_association::driver::tls::TlsAcceptor::new(identity(&ours), refusing).unwrap();
    let scp = Scp::start(Some(accepting)).await;
    let tls = TlsRequestor::new(pinned(&ours), Some(identity(&theirs))).unwrap();
    for _ in 0..20 {
        let error = visit_error(&scp.address.to_string(), &tls).await;
        assert!(matches!(error, TlsError::Refused(_)), "{error:?}");
    }
}
