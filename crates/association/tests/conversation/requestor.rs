//! Our requestor: what ends a data set, and what never does.

use bytes::{Bytes, BytesMut};
use packhorse_association::codec::{Abort, UserInformation};
use packhorse_association::dimse::{CEchoRq, Command};
use packhorse_association::driver::SourceError;
use packhorse_association::negotiate::{self, MAX_PDU_LENGTH};
use packhorse_association::{AssociationError, DataSource, Pdu, RequestedAssociation, pdv};
use packhorse_dicom::status::Status;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::peer::*;

/// Our requestor, associated with the peer.
async fn associated() -> (RequestedAssociation, Peer) {
    let (listener, address) = listen().await;
    let asking = tokio::spawn(async move {
        RequestedAssociation::request(&address.to_string(), &requestor_config(), contexts()).await
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut peer = Peer::over(stream, BytesMut::new());
    let Some(Pdu::AssociateRq(rq)) = peer.pdu().await else {
        panic!()
    };
    let answer = no_raw_data(&negotiate::proposal(&rq, [127, 0, 0, 1].into(), "").unwrap());
    peer.send(&encoded(&negotiate::answer_pdu(
        &rq,
        &answer,
        UserInformation::ours(MAX_PDU_LENGTH),
    )))
    .await;
    (asking.await.unwrap().unwrap(), peer)
}

/// Reads on to the end of the connection: whether a last fragment of data came, and the last PDU.
async fn heard(mut peer: Peer) -> (bool, Option<Pdu>) {
    let (mut is_whole, mut last) = (false, None);
    while let Some(pdu) = peer.pdu().await {
        if let Pdu::PDataTf(body) = &pdu {
            let mut pdvs = pdv::Pdvs::new(body.clone());
            while let Some(pdv) = pdvs.next_pdv().unwrap() {
                is_whole |= pdv.is_last && !pdv.is_command;
            }
        }
        last = Some(pdu);
    }
    (is_whole, last)
}

/// Gives 300 KB, then fails.
struct Fails(u8);

impl DataSource for Fails {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.0 == 0 {
            return Err("the disk is gone".into());
        }
        self.0 -= 1;
        Ok(Some(Bytes::from(vec![0; 100_000])))
    }
}

/// Gives 100 KB, says so, and never goes on.
struct Stalls(Option<oneshot::Sender<()>>);

impl DataSource for Stalls {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        match self.0.take() {
            Some(stalled) => {
                stalled.send(()).unwrap();
                Ok(Some(Bytes::from(vec![0; 400_000])))
            }
            None => std::future::pending().await,
        }
    }
}

/// A store that was dropped in the middle of its data set.
async fn interrupted() -> (RequestedAssociation, Peer) {
    let (mut association, peer) = associated().await;
    let (stalls, stalled) = oneshot::channel();
    let command = store_rq();
    tokio::select! {
        stored = association.store(id(STORE), &command, Stalls(Some(stalls))) => panic!("{stored:?}"),
        begun = stalled => begun.unwrap(),
    }
    (association, peer)
}

#[tokio::test]
async fn a_data_source_that_fails_aborts_and_no_fragment_is_the_last() {
    let (mut association, peer) = associated().await;
    let hearing = tokio::spawn(heard(peer));
    let stored = association.store(id(STORE), &store_rq(), Fails(3)).await;
    assert!(matches!(stored, Err(AssociationError::Source(_))), "{stored:?}");
    drop(association);
    assert_eq!(hearing.await.unwrap(), (false, Some(Pdu::Abort(Abort::USER))));
}

#[tokio::test]
async fn an_interrupted_data_set_is_never_ended_by_what_is_asked_next() {
    let (association, peer) = interrupted().await;
    let hearing = tokio::spawn(heard(peer));
    let released = association.release().await;
    assert!(matches!(released, Err(AssociationError::Unanswered)), "{released:?}");
    assert_eq!(hearing.await.unwrap(), (false, Some(Pdu::Abort(Abort::USER))));

    let (mut association, peer) = interrupted().await;
    let hearing = tokio::spawn(heard(peer));
    let stored = association
        .store(id(STORE), &store_rq(), Some(Bytes::from_static(b"next")))
        .await;
    assert!(matches!(stored, Err(AssociationError::Unanswered)), "{stored:?}");
    assert!(association.echo().await.is_err());
    drop(association);
    assert_eq!(hearing.await.unwrap(), (false, Some(Pdu::Abort(Abort::USER))));
}

#[tokio::test]
async fn a_dropped_association_leaves_the_data_set_unfinished() {
    let (association, peer) = interrupted().await;
    let hearing = tokio::spawn(heard(peer));
    drop(association);
    let (is_whole, _) = hearing.await.unwrap();
    assert!(!is_whole);
}

#[tokio::test]
async fn a_peer_that_aborts_in_the_middle_of_a_data_set_is_heard() {
    let (mut association, mut peer) = associated().await;
    let storing = tokio::spawn(async move {
        let data = Some(Bytes::from(vec![0; 64 * 1024 * 1024]));
        association.store(id(STORE), &store_rq(), data).await
    });
    assert!(matches!(peer.pdu().await, Some(Pdu::PDataTf(_))));
    peer.send(&encoded(&Pdu::Abort(Abort { source: 0, reason: 0 }))).await;
    // Closed with unread data: the connection is reset.
    drop(peer);
    let stored = timeout(SOON, storing).await.unwrap().unwrap();
    assert!(
        matches!(stored, Err(AssociationError::Aborted(Abort::USER))),
        "{stored:?}"
    );
}

#[tokio::test]
async fn an_answer_of_another_service_aborts_though_its_message_id_is_right() {
    // The first message of an association has the id 1.
    let mut store = store_rq();
    store.message_id = 1;
    let rq = Command::from(store);
    let all = [rq.clone(), Command::from(CEchoRq::new(1))];
    let answers = all.map(|request| request.answer(Status::SUCCESS, None).unwrap());
    for (asks_echo, answer) in [(false, &answers[1]), (true, &answers[0]), (false, &rq)] {
        let (mut association, mut peer) = associated().await;
        let context = id(if asks_echo { ECHO } else { STORE });
        peer.send(&pdv::command_frames(context, &answer.to_bytes(), 1024)).await;
        let hearing = tokio::spawn(heard(peer));
        let ended = if asks_echo {
            association.echo().await.unwrap_err()
        } else {
            association.store(context, &store_rq(), None).await.unwrap_err()
        };
        assert!(matches!(ended, AssociationError::PeerMisbehaved(_)), "{ended:?}");
        assert_eq!(hearing.await.unwrap().1, Some(Pdu::Abort(Abort::PROVIDER)));
    }
}

#[tokio::test]
async fn an_answer_to_another_message_aborts() {
    let (mut association, mut peer) = associated().await;
    let storing = tokio::spawn(async move {
        let stored = association.store(id(STORE), &store_rq(), None).await;
        (association, stored)
    });
    let mut rq = store_rq();
    rq.message_id = 99;
    let rsp = rq.answer(Status::SUCCESS, None).to_bytes();
    peer.send(&pdv::command_frames(id(STORE), &rsp, 1024)).await;
    let (is_whole, last) = heard(peer).await;
    assert!(is_whole);
    assert_eq!(last, Some(Pdu::Abort(Abort::PROVIDER)));
    let (mut association, stored) = storing.await.unwrap();
    assert!(matches!(stored, Err(AssociationError::PeerMisbehaved(_))));
    assert!(association.echo().await.is_err(), "nothing is sent behind an A-ABORT");
}
