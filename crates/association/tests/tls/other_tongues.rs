//! Peers that speak something else, too old a TLS, or nothing.

use std::time::Duration;

use packhorse_association::driver::tls::{Alert, DEFAULT_HANDSHAKE, TlsError};
use packhorse_association::{AssociationError, RequestedAssociation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::*;

/// An acceptor that answers whatever comes first with these bytes, and closes.
async fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut hello = [0; 4096];
            assert!(socket.read(&mut hello).await.unwrap() > 0);
            socket.write_all(bytes).await.unwrap();
            socket.shutdown().await.unwrap();
            while matches!(socket.read(&mut hello).await, Ok(1..)) {}
        }
    });
    address
}

async fn ask_plainly(address: &str) -> AssociationError {
    let asked = RequestedAssociation::request(address, &config(), contexts(&study())).await;
    asked.map(drop).unwrap_err()
}

#[tokio::test]
async fn plain_dicom_on_the_tls_port_is_told_to_both_sides() {
    let mut scp = Scp::start(Some(acceptor(&proper()))).await;
    let error = ask_plainly(&scp.address.to_string()).await;
    assert!(matches!(error, AssociationError::PeerSpeaksTls), "{error:?}");
    assert_eq!(scp.served().await.tls_error(), &TlsError::PeerSpeaksDicom);
}

#[tokio::test]
async fn tls_on_the_plain_port_is_told_to_both_sides() {
    let mut scp = Scp::start(None).await;
    let error = visit_error(&scp.address.to_string(), &requestor(pinned(&proper()))).await;
    assert_eq!(error, TlsError::PeerSpeaksDicom);
    let ended = scp.served().await.ended;
    assert!(matches!(ended, Err(AssociationError::PeerSpeaksTls)), "{ended:?}");
}

#[tokio::test]
async fn an_acceptor_that_rejects_or_aborts_plainly_speaks_dicom() {
    for answer in [&[3, 0, 0, 0, 0, 4, 0, 1, 1, 1][..], &[7, 0, 0, 0, 0, 4, 0, 0, 2, 1]] {
        let address = answering(answer).await;
        let error = visit_error(&address, &requestor(pinned(&proper()))).await;
        assert_eq!(error, TlsError::PeerSpeaksDicom);
    }
}

#[tokio::test]
async fn an_acceptor_that_closes_or_speaks_http_is_told_so() {
    let tls = requestor(pinned(&proper()));
    assert_eq!(visit_error(&answering(b"").await, &tls).await, TlsError::Closed);
    let begin = "48 54 54 50 2F 31 2E 31".to_owned();
    let error = visit_error(&answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await, &tls).await;
    assert_eq!(error, TlsError::PeerSpeaksSomethingElse { begin });
}

/// A ClientHello of this version with these suites and no extensions, as appliances sent it before TLS 1.2.
fn old_hello(version: [u8; 2], suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    let len = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, len + 4, 1, 0, 0, len];
    hello.extend(body);
    hello
}

#[tokio::test]
async fn a_requestor_with_only_what_is_retired_is_named_with_what_it_has() {
    let mut scp = Scp::start(Some(acceptor(&proper()))).await;
    let cases = [
        (
            [3, 1],
            vec![0x002F, 0x0035, 0x000A],
            "TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_CBC_SHA, TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        ),
        (
            [3, 3],
            vec![0x003C, 0xC027],
            "TLS 1.2 with TLS_RSA_WITH_AES_128_CBC_SHA256, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        ),
        ([3, 0], vec![0x0005], "SSL 3 with TLS_RSA_WITH_RC4_128_SHA"),
    ];
    for (version, suites, named) in cases {
        let mut peer = TcpStream::connect(scp.address).await.unwrap();
        peer.write_all(&old_hello(version, &suites)).await.unwrap();
        let mut answer = Vec::new();
        timeout(SOON, peer.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer.first(), Some(&21), "an alert");
        drop(peer);
        let served = scp.served().await;
        let TlsError::OffersRetired(offer) = served.tls_error() else {
            panic!("{served:?}")
        };
        assert_eq!(offer.to_string(), named);
    }
}

#[tokio::test]
async fn an_acceptor_with_only_what_is_retired_is_named_with_what_it_chose() {
    // A ServerHello of TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA.
    const HELLO: &[u8] = &[
        22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 0, 0, 0x2F, 0,
    ];
    let error = visit_error(&answering(HELLO).await, &requestor(pinned(&proper()))).await;
    let TlsError::ChoseRetired(choice) = error else {
        panic!("{error:?}")
    };
    assert_eq!(choice.to_string(), "TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA");
}

#[tokio::test]
async fn an_acceptor_that_knows_no_version_of_ours_says_so_by_its_alert() {
    let error = visit_error(
        &answering(&[21, 3, 1, 0, 2, 2, 70]).await,
        &requestor(pinned(&proper())),
    )
    .await;
    assert_eq!(error, TlsError::Refused(Alert(70)));
}

#[tokio::test]
async fn a_silent_requestor_is_gone_after_the_handshakes_own_deadline() {
    let mut scp = Scp::start(Some(acceptor(&proper()))).await;
    let mut peer = TcpStream::connect(scp.address).await.unwrap();
    // The begin of a hello, and no more.
    peer.write_all(&[22, 3, 1, 1]).await.unwrap();
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let served = scp.served().await;
    let waited = DEFAULT_HANDSHAKE;
    assert_eq!(served.tls_error(), &TlsError::TimedOut { waited });
    assert!(begun.elapsed() < DEFAULT_HANDSHAKE + Duration::from_secs(1));
}

#[tokio::test]
async fn a_silent_acceptor_is_given_up_after_the_handshakes_own_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let waited = Duration::from_secs(3);
    let tls = requestor(pinned(&proper())).with_handshake(waited);
    let visiting = tokio::spawn(async move { visit_error(&address, &tls).await });
    let (_silent, _) = listener.accept().await.unwrap();
    tokio::time::pause();
    assert_eq!(visiting.await.unwrap(), TlsError::TimedOut { waited });
}

#[tokio::test]
async fn a_requestor_that_goes_at_once_is_told_apart() {
    let mut scp = Scp::start(Some(acceptor(&proper()))).await;
    drop(TcpStream::connect(scp.address).await.unwrap());
    assert_eq!(scp.served().await.tls_error(), &TlsError::Closed);
}
