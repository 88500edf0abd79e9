//! A peer that says nothing more. Time is paused once nothing is on its way, so that hours pass at once.

use std::time::Duration;

use packhorse_association::codec::Abort;
use packhorse_association::{
    AcceptorConfig, AssociationError, Connection, Pdu, Request, RequestedAssociation, accept, pdv,
};
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::peer::*;

fn timed_out(ended: &Result<(), AssociationError>) -> (&'static str, Duration) {
    match ended {
        Err(AssociationError::TimedOut { what, waited }) => (what, *waited),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn artim_closes_on_a_peer_that_asks_for_nothing() {
    let config = AcceptorConfig::default();
    let (address, serving) = acceptor(config.clone()).await;
    let mut peer = Peer::connect(address).await;
    peer.send(&request_bytes()[..50]).await;
    tokio::time::pause();
    let ended = serving.await.unwrap().ended;
    assert_eq!(timed_out(&ended), ("an A-ASSOCIATE-RQ", config.artim));
    assert_eq!(peer.pdu().await, None);
}

#[tokio::test]
async fn an_association_without_requests_is_aborted() {
    let config = AcceptorConfig::default();
    let (address, serving) = acceptor(config.clone()).await;
    let mut peer = Peer::associate(address).await;
    tokio::time::pause();
    let ended = serving.await.unwrap().ended;
    assert_eq!(timed_out(&ended), ("a request", config.idle));
    assert_eq!(peer.pdu().await, Some(Pdu::Abort(Abort::USER)));
}

#[tokio::test]
async fn a_data_set_that_does_not_go_on_is_aborted_and_not_whole() {
    let config = AcceptorConfig::default();
    let (listener, address) = listen().await;
    let (begins, begun) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut association = accept(stream, "", &AcceptorConfig::default(), &no_raw_data).await?;
        let Some(Request::Store(mut store)) = association.next().await? else {
            panic!()
        };
        begins.send(store.data().await?).unwrap();
        store.data().await.map(|more| panic!("{more:?}"))
    });
    let mut peer = Peer::associate(address).await;
    let mut bytes = store_command(STORE, 1);
    bytes.extend_from_slice(&pdv::frame_header(id(STORE), false, false, 4));
    bytes.extend_from_slice(b"part");
    peer.send(&bytes).await;
    assert_eq!(begun.await.unwrap().as_deref(), Some(b"part".as_slice()));
    tokio::time::pause();
    assert_eq!(timed_out(&serving.await.unwrap()), ("the next fragment", config.dimse));
    assert_eq!(peer.pdu().await, Some(Pdu::Abort(Abort::USER)));
}

#[tokio::test]
async fn a_requestor_gives_up_on_an_acceptor_that_does_not_answer() {
    let (listener, address) = listen().await;
    let asking = tokio::spawn(async move {
        RequestedAssociation::request(&address.to_string(), &requestor_config(), contexts()).await
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut peer = Peer::over(stream, bytes::BytesMut::new());
    assert!(matches!(peer.pdu().await, Some(Pdu::AssociateRq(_))));
    tokio::time::pause();
    let ended = asking.await.unwrap().map(drop);
    assert_eq!(
        timed_out(&ended),
        ("an answer to the A-ASSOCIATE-RQ", requestor_config().artim)
    );
    assert_eq!(peer.pdu().await, Some(Pdu::Abort(Abort::USER)));
}

#[tokio::test]
async fn a_peer_that_keeps_the_connection_open_behind_our_abort_holds_nobody_up() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    peer.send(&[0xEE; 6]).await;
    assert_eq!(peer.pdu().await, Some(Pdu::Abort(Abort::UNRECOGNIZED_PDU)));
    tokio::time::pause();
    let ended = timeout(Duration::from_secs(3), serving).await.unwrap().unwrap().ended;
    assert!(matches!(ended, Err(AssociationError::PeerMisbehaved(_))));
}

/// A fragment of one byte every half minute keeps every other deadline.
#[tokio::test(start_paused = true)]
async fn a_data_set_that_drips_is_aborted_and_not_whole() {
    // In memory, for time is paused: it must not pass while bytes are under way.
    let (ours, mut theirs) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let connection = Connection::over(ours, [127, 0, 0, 1].into());
        let mut association = accept(connection, "", &AcceptorConfig::default(), &no_raw_data).await?;
        let Some(Request::Store(mut store)) = association.next().await? else {
            panic!()
        };
        while store.data().await?.is_some() {}
        Ok::<_, AssociationError>(())
    });
    theirs.write_all(&request_bytes()).await.unwrap();
    theirs.write_all(&store_command(STORE, 1)).await.unwrap();
    let mut drops = 0;
    while !serving.is_finished() {
        let mut drop = pdv::frame_header(id(STORE), false, false, 1).to_vec();
        drop.push(7);
        if theirs.write_all(&drop).await.is_err() {
            break;
        }
        drops += 1;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(drops < 10, "for ever");
    }
    let ended = serving.await.unwrap();
    assert!(
        matches!(ended, Err(AssociationError::Dripping { received: 1..=4, .. })),
        "{ended:?}"
    );
}
