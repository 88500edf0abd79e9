//! Who gets in, what they are told when they do not, and the exchange.

use std::sync::Arc;

use packhorse_transport::{
    AskError, CertificateProblem, ConnectError, Endpoint, EndpointError, Incoming, LinkEnd, LinkStatus, Target,
    TransportConfig, keep_link,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Authority, Ends, LOOPBACK, Memory, SERVER_NAME, client_tls, client_tls_with, client_tls_without_certificate, run,
    server_tls, server_tls_with,
};

#[tokio::test]
async fn a_peer_without_certificate_is_the_callers_to_turn_away() {
    let ends = Ends::new();
    let tls = client_tls_without_certificate(&ends.authority);
    let connecting = ends.client.connect(ends.address, SERVER_NAME, tls);
    let (connected, accepted) = tokio::join!(connecting, ends.server.accept());
    let Some(Incoming::Link(accepted)) = accepted else {
        panic!("no link came in");
    };
    assert!(accepted.peer_certificates().is_empty());
    accepted.close(16, "this relay takes only sites that have joined");
    let end = run(connected.unwrap(), &Memory::new(), &CancellationToken::new()).await;
    let expected = LinkEnd::ClosedByPeer {
        code: 16,
        sentence: "this relay takes only sites that have joined".to_owned(),
    };
    assert_eq!(end.unwrap(), expected);
}

#[tokio::test]
async fn a_peers_certificates_are_shown() {
    let ends = Ends::new();
    let (client, server) = ends.link().await;
    assert_eq!(client.peer_certificates().len(), 1);
    assert_eq!(server.peer_certificates().len(), 1);
}

#[tokio::test]
async fn each_fault_of_a_certificate_has_its_own_words() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let cases = [
        (authority.issue("relay", 2020..2021), CertificateProblem::Expired),
        (authority.issue("relay", 3000..4000), CertificateProblem::NotYetValid),
        (authority.issue("another", 2020..4000), CertificateProblem::WrongName),
        (
            stranger.issue("relay", 2020..4000),
            CertificateProblem::UnknownAuthority,
        ),
    ];
    let client = Endpoint::client(LOOPBACK, TransportConfig::new("edge")).unwrap();
    for (identity, expected) in cases {
        let tls = server_tls_with(&authority, identity);
        let server = Endpoint::server(LOOPBACK, tls, TransportConfig::new("relay")).unwrap();
        let address = server.local_addr().unwrap();
        let error = client
            .connect(address, SERVER_NAME, client_tls(&authority))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::PeerCertificate { problem, .. } if problem == expected),
            "{expected:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_of_ours_that_is_not_taken_ends_the_link_with_its_fault() {
    let ends = Ends::new();
    let identity = ends.authority.issue("site-a", 2020..2021);
    let tls = client_tls_with(&ends.authority, identity);
    let problem = match ends.client.connect(ends.address, SERVER_NAME, tls).await {
        Err(ConnectError::OurCertificate { problem, .. }) => problem,
        Err(error) => panic!("{error}"),
        Ok(connection) => match run(connection, &Memory::new(), &CancellationToken::new())
            .await
            .unwrap()
        {
            LinkEnd::CertificateRejected { problem } => problem,
            end => panic!("{end}"),
        },
    };
    assert_eq!(problem, CertificateProblem::Expired);
}

#[tokio::test]
async fn tickets_and_early_data_are_not_let_in() {
    let authority = Authority::new();
    let config = || TransportConfig::new("relay");
    let mut tickets = (*server_tls(&authority)).clone();
    tickets.send_tls13_tickets = 2;
    let error = Endpoint::server(LOOPBACK, Arc::new(tickets), config()).unwrap_err();
    assert!(matches!(error, EndpointError::Tls(words) if words.contains("tickets")));

    let mut early = (*server_tls(&authority)).clone();
    early.max_early_data_size = u32::MAX;
    let server = Endpoint::server(LOOPBACK, server_tls(&authority), config()).unwrap();
    let error = server.set_server_config(Arc::new(early)).unwrap_err();
    assert!(matches!(error, EndpointError::Tls(words) if words.contains("early data")));

    let mut early = (*client_tls(&authority)).clone();
    early.enable_early_data = true;
    let connected = server.connect(LOOPBACK, SERVER_NAME, Arc::new(early)).await;
    assert!(matches!(connected, Err(ConnectError::Tls(words)) if words.contains("early data")));
}

#[tokio::test]
async fn an_exchange_is_bound_to_its_connection() {
    let ends = Ends::new();
    let tls = client_tls_without_certificate(&ends.authority);
    let asking = ends
        .client
        .ask(ends.address, SERVER_NAME, tls, |exporter| exporter.to_vec());
    let answering = async {
        let Some(Incoming::Exchange(exchange)) = ends.server.accept().await else {
            panic!("no exchange came in");
        };
        assert_eq!(
            exchange.request,
            exchange.exporter.as_slice(),
            "both ends have the same"
        );
        exchange.respond(vec![7; 64 << 10]).await.unwrap();
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.unwrap(), vec![7; 64 << 10]);
}

#[tokio::test]
async fn an_exchange_can_be_turned_away_with_words() {
    let ends = Ends::new();
    let tls = client_tls_without_certificate(&ends.authority);
    let asking = ends.client.ask(ends.address, SERVER_NAME, tls, |_| vec![1]);
    let answering = async {
        let Some(Incoming::Exchange(exchange)) = ends.server.accept().await else {
            panic!("no exchange came in");
        };
        exchange.close(20, "try again in a minute");
    };
    let (answer, ()) = tokio::join!(asking, answering);
    let Err(AskError::Connect(ConnectError::Closed { code: 20, sentence, .. })) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(sentence, "try again in a minute");
}

#[tokio::test]
async fn a_request_that_is_too_long_is_not_sent() {
    let ends = Ends::new();
    let tls = client_tls_without_certificate(&ends.authority);
    let asking = ends
        .client
        .ask(ends.address, SERVER_NAME, tls, |_| vec![0; (64 << 10) + 1]);
    assert!(matches!(asking.await, Err(AskError::RequestTooLong { length: 65_537 })));
}

#[tokio::test]
async fn a_kept_link_is_up_then_down_then_up_again() {
    let ends = Ends::new();
    let (status, mut watched) = watch::channel(LinkStatus::Connecting {
        since: packhorse_ids::WallTime::default(),
    });
    let (address, tls) = (ends.address, client_tls(&ends.authority));
    let target = move || {
        let target = Target {
            host: address.to_string(),
            server_name: SERVER_NAME.to_owned(),
            tls: Arc::clone(&tls),
        };
        std::future::ready(Ok(target))
    };
    let stop = CancellationToken::new();
    let kept = tokio::spawn(keep_link(
        ends.client.clone(),
        target,
        Memory::new(),
        status,
        stop.clone(),
    ));
    for _ in 0..2 {
        let Some(Incoming::Link(connection)) = ends.server.accept().await else {
            panic!("no link came in");
        };
        let handle = connection.handle();
        let running = run(connection, &Memory::new(), &stop);
        let is_up =
            |status: &LinkStatus| matches!(status, LinkStatus::Up { peer_build, .. } if peer_build == "relay 1.0");
        watched.wait_for(is_up).await.unwrap();
        handle.close(30, "for a test");
        let is_down =
            |status: &LinkStatus| matches!(status, LinkStatus::Down { why, .. } if why.contains("for a test"));
        watched.wait_for(is_down).await.unwrap();
        running.await.unwrap();
    }
    stop.cancel();
    kept.await.unwrap();
}

#[tokio::test]
async fn a_name_that_cannot_be_found_is_said_so() {
    let authority = Authority::new();
    let client = Endpoint::client(LOOPBACK, TransportConfig::new("edge")).unwrap();
    let (status, mut watched) = watch::channel(LinkStatus::Connecting {
        since: packhorse_ids::WallTime::default(),
    });
    let tls = client_tls(&authority);
    let target = move || {
        let target = Target {
            host: "no-such-host.invalid:1".to_owned(),
            server_name: SERVER_NAME.to_owned(),
            tls: Arc::clone(&tls),
        };
        std::future::ready(Ok(target))
    };
    let stop = CancellationToken::new();
    let kept = tokio::spawn(keep_link(client, target, Memory::new(), status, stop.clone()));
    let says_so = |status: &LinkStatus| matches!(status, LinkStatus::Down { why, .. } if why.contains("cannot find the address of no-such-host.invalid"));
    watched.wait_for(says_so).await.unwrap();
    stop.cancel();
    kept.await.unwrap();
}

/// Bits of a long header's first byte that say Retry (RFC 9000 §17.2.5).
const RETRY: u8 = 0xf0;

#[tokio::test]
async fn a_flood_of_half_open_handshakes_is_answered_with_retry() {
    let ends = Ends::new();
    // First datagrams of handshakes that nobody will go on with: dialled into a socket that only listens.
    let listener = tokio::net::UdpSocket::bind(LOOPBACK).await.unwrap();
    let nowhere = listener.local_addr().unwrap();
    let flood = tokio::net::UdpSocket::bind(LOOPBACK).await.unwrap();
    let tls = client_tls(&ends.authority);
    let mut dials = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let tls = Arc::clone(&tls);
        let client = Endpoint::client(LOOPBACK, TransportConfig::new("edge")).unwrap();
        dials.spawn(async move { client.connect(nowhere, SERVER_NAME, tls).await.map(drop) });
    }
    let (mut datagram, mut answer) = (vec![0; 2_048], vec![0; 2_048]);
    let mut forwarded = 0;
    loop {
        tokio::select! {
            received = listener.recv(&mut datagram) => {
                let length = received.unwrap();
                flood.send_to(&datagram[..length], ends.address).await.unwrap();
                forwarded += 1;
            }
            Some(_) = dials.join_next() => panic!("a dial has timed out, and there was no Retry"),
            _ = flood.recv(&mut answer) => {
                if answer[0] & RETRY == RETRY {
                    break;
                }
            }
        }
    }
    assert!(forwarded >= 64, "after {forwarded} datagrams");
    // Whoever has the address it says still gets in.
    ends.link().await;
}
