use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use packhorse_testkit::certs::CertSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::testing::{Edge, eventually};

/// Connects and says nothing.
async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn connections_that_say_nothing_are_bounded_and_take_no_place() {
    let edge = Edge::new("a", "[limits]\nassociations = 3\n");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = TaskTracker::new();
    let serving = tokio::spawn(serve(
        Arc::clone(&edge.shared),
        "lan".to_owned(),
        listener,
        tasks.clone(),
    ));
    let mut first = connect(address).await;
    let mut others = Vec::new();
    for _ in 0..HALL_MAX {
        others.push(connect(address).await);
    }
    // The first had to go for the last: the end of the stream, or a reset.
    let ended = first.read(&mut [0; 1]).await;
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    eventually("as many as the hall holds", async || tasks.len() == HALL_MAX).await;
    assert_eq!((edge.shared.hall.len(), edge.shared.association_count()), (HALL_MAX, 0));
    others.clear();
    eventually("an empty hall", async || edge.shared.hall.len() == 0).await;
    edge.shared.draining.cancel();
    serving.await.unwrap();
}

/// A log that is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged when somebody begins with these bytes on a plain listener or one with TLS.
async fn logged(listener_toml: &str, begin: &[u8], wanted: &str) -> String {
    let files = tempfile::tempdir().unwrap();
    let own = CertSpec::new("edge").self_signed().write(files.path(), "own").unwrap();
    let tls = listener_toml
        .replace("CERTIFICATE", &own.certificate.display().to_string())
        .replace("KEY", &own.key.display().to_string());
    let edge = Edge::new(
        "a",
        &format!("[[listener]]\nname = \"lan\"\naddress = \"127.0.0.1:0\"\n{tls}\n"),
    );
    let log = Log::default();
    let kept = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || kept.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = TaskTracker::new();
    let serving = tokio::spawn(serve(Arc::clone(&edge.shared), "lan".to_owned(), listener, tasks));
    let mut peer = connect(address).await;
    peer.write_all(begin).await.unwrap();
    eventually("a line in the log", async || log.text().contains(wanted)).await;
    edge.shared.draining.cancel();
    serving.await.unwrap();
    log.text()
}

#[tokio::test]
async fn a_peer_that_speaks_the_other_protocol_is_in_the_log_with_just_that() {
    let tls = "tls = { certificate = \"CERTIFICATE\", key = \"KEY\" }";
    let line = logged(
        tls,
        &[1, 0, 0, 0, 0, 200, 0, 1],
        "speaks plain DICOM where TLS is configured",
    )
    .await;
    assert!(
        line.contains("WARN") && line.contains("listener=\"lan\"") && line.contains("peer=127.0.0.1"),
        "{line}"
    );
    let line = logged("", &[22, 3, 1, 0, 200, 1, 0, 0], "speaks TLS on a plain connection").await;
    assert!(
        line.contains("WARN") && line.contains("listener=\"lan\"") && line.contains("peer=127.0.0.1"),
        "{line}"
    );
}

#[tokio::test]
async fn a_peer_with_only_what_is_retired_is_in_the_log_with_what_it_has() {
    // A ClientHello of TLS 1.0 with TLS_RSA_WITH_3DES_EDE_CBC_SHA.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x0A, 1, 0]);
    let tls = "tls = { certificate = \"CERTIFICATE\", key = \"KEY\" }";
    let line = logged(tls, &hello, "TLS 1.0 with TLS_RSA_WITH_3DES_EDE_CBC_SHA").await;
    assert!(line.contains("WARN") && line.contains("RFC 8996"), "{line}");
}
