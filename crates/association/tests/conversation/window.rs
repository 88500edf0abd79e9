//! Asynchronous operations: several C-STOREs under way where both sides say so, one where they do not. And who the user is.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use packhorse_association::codec::UserInformation;
use packhorse_association::{
    AcceptorConfig, AssociationError, Connection, Decide, Request, RequestedAssociation, RequestorConfig, accept, pdv,
};
use packhorse_dicom::negotiation::{
    Answer, AsyncOperationsWindow, Proposal, Rejection, UserIdentity, UserIdentityType,
};
use packhorse_dicom::status::Status;
use tokio::io::duplex;
use tokio::task::JoinHandle;

use crate::peer::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Grants a window, knows one user, and answers it.
struct Grants(Option<AsyncOperationsWindow>);

impl Decide for Grants {
    fn decide(&self, proposal: &Proposal) -> Answer {
        match &proposal.user_identity {
            Some(identity) if &*identity.primary_field != b"alice" => {
                Answer::Reject(Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED)
            }
            _ => no_raw_data(proposal),
        }
    }

    fn user_information(&self, _: &Proposal, ours: UserInformation) -> UserInformation {
        UserInformation {
            async_operations: self.0,
            user_identity_response: Some(Bytes::from_static(b"welcome")),
            ..ours
        }
    }
}

fn window(invoked: u16) -> AsyncOperationsWindow {
    AsyncOperationsWindow { invoked, performed: 1 }
}

/// An acceptor that stores what comes, and a requestor associated with it.
async fn associated(
    grants: Option<AsyncOperationsWindow>,
    fill: impl FnOnce(&mut RequestorConfig),
) -> (Result<RequestedAssociation, AssociationError>, JoinHandle<usize>) {
    let (ours, theirs) = duplex(1 << 20);
    let serving = tokio::spawn(async move {
        let connection = Connection::over(ours, PEER);
        let Ok(mut association) = accept(connection, "", &AcceptorConfig::default(), &Grants(grants)).await else {
            return 0;
        };
        let mut stored = 0;
        while let Ok(Some(request)) = association.next().await {
            let Request::Store(mut store) = request else { panic!() };
            whole(&mut store).await.unwrap();
            store.respond(Status::SUCCESS, None).await.unwrap();
            stored += 1;
        }
        stored
    });
    let mut config = requestor_config();
    fill(&mut config);
    let association = RequestedAssociation::request_over(Connection::over(theirs, PEER), &config, contexts()).await;
    (association, serving)
}

#[tokio::test]
async fn as_many_stores_are_under_way_as_both_sides_allow() {
    let (association, serving) = associated(Some(window(3)), |config| {
        config.user.async_operations = Some(window(8));
    })
    .await;
    let mut association = association.unwrap();
    assert_eq!(association.window(), 3);
    let mut sent = Vec::new();
    for _ in 0..3 {
        let data = Some(Bytes::from(vec![7; 1000]));
        sent.push(association.send(id(STORE), &store_rq(), data).await.unwrap());
    }
    assert_eq!(association.unanswered(), 3);
    let mut answered = Vec::new();
    while let Some(answer) = association.answer().await.unwrap() {
        assert_eq!(answer.status, Status::SUCCESS);
        answered.push(answer.message_id_being_responded_to);
    }
    assert_eq!(answered, sent);
    association.release().await.unwrap();
    assert_eq!(serving.await.unwrap(), 3);
}

#[tokio::test]
async fn one_is_under_way_unless_both_sides_say_more() {
    for (grants, asks) in [(None, Some(window(8))), (Some(window(8)), None), (None, None)] {
        let (association, _serving) = associated(grants, |config| config.user.async_operations = asks).await;
        let mut association = association.unwrap();
        assert_eq!(association.window(), 1);
        let data = || Some(Bytes::from_static(b"data"));
        association.send(id(STORE), &store_rq(), data()).await.unwrap();
        let second = association.send(id(STORE), &store_rq(), data()).await;
        assert!(matches!(second, Err(AssociationError::Unanswered)), "{second:?}");
    }
}

/// PS3.7 §D.3.3.3: within the window a performer may answer in any order.
#[tokio::test]
async fn answers_come_in_any_order_and_each_once() {
    let (listener, address) = listen().await;
    let asking = tokio::spawn(async move {
        let mut config = requestor_config();
        config.user.async_operations = Some(window(0));
        let mut association = RequestedAssociation::request(&address.to_string(), &config, contexts()).await?;
        for _ in 0..2 {
            association
                .send(id(STORE), &store_rq(), Some(Bytes::from_static(b"data")))
                .await?;
        }
        let first = association
            .answer()
            .await?
            .map(|answer| answer.message_id_being_responded_to);
        let second = association
            .answer()
            .await?
            .map(|answer| answer.message_id_being_responded_to);
        // The third answer is to nothing.
        association
            .send(id(STORE), &store_rq(), Some(Bytes::from_static(b"data")))
            .await?;
        let third = association.answer().await;
        Ok::<_, AssociationError>((first, second, third.map(|_| ())))
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut peer = Peer::over(stream, bytes::BytesMut::new());
    let Some(packhorse_association::Pdu::AssociateRq(rq)) = peer.pdu().await else {
        panic!()
    };
    let grants = Grants(Some(window(5)));
    let proposal = packhorse_association::negotiate::proposal(&rq, PEER, "").unwrap();
    let user = grants.user_information(&proposal, UserInformation::ours(0));
    let ac = packhorse_association::negotiate::answer_pdu(&rq, &grants.decide(&proposal), user);
    peer.send(&encoded(&ac)).await;
    let answer = |message_id| {
        let mut command = store_rq();
        command.message_id = message_id;
        pdv::command_frames(id(STORE), &command.answer(Status::SUCCESS, None).to_bytes(), 1024)
    };
    for message_id in [2, 1, 1] {
        peer.send(&answer(message_id)).await;
    }
    let (first, second, third) = asking.await.unwrap().unwrap();
    assert_eq!((first, second), (Some(2), Some(1)));
    assert!(matches!(third, Err(AssociationError::PeerMisbehaved(_))), "{third:?}");
}

#[tokio::test]
async fn a_user_is_known_answered_or_rejected() {
    let identity = |name: &[u8]| UserIdentity {
        kind: UserIdentityType::USERNAME_AND_PASSCODE,
        positive_response_requested: true,
        primary_field: name.into(),
        secondary_field: b"secret".as_slice().into(),
    };
    let (association, _serving) = associated(None, |config| config.user.user_identity = Some(identity(b"alice"))).await;
    let response = association.unwrap().peer().user_identity_response.clone();
    assert_eq!(response.as_deref(), Some(b"welcome".as_slice()));
    let (association, _serving) =
        associated(None, |config| config.user.user_identity = Some(identity(b"mallory"))).await;
    assert!(
        matches!(association, Err(AssociationError::Rejected { .. })),
        "{association:?}"
    );
}

/// What does not fit into the A-ASSOCIATE-RQ is told before anything is sent.
#[tokio::test]
async fn a_token_that_does_not_fit_is_an_error() {
    let (association, serving) = associated(None, |config| {
        config.user.user_identity = Some(UserIdentity {
            kind: UserIdentityType::JWT,
            positive_response_requested: false,
            primary_field: vec![b'a'; 70_000].into(),
            secondary_field: [].into(),
        });
    })
    .await;
    assert!(
        matches!(association, Err(AssociationError::TooLong(_))),
        "{association:?}"
    );
    assert_eq!(serving.await.unwrap(), 0);
}

#[tokio::test]
async fn a_peer_without_the_item_aborts_nothing() {
    let (association, serving) = associated(None, |config| config.user.async_operations = Some(window(4))).await;
    let mut association = association.unwrap();
    let stored = association
        .store(id(STORE), &store_rq(), Some(Bytes::from_static(b"data")))
        .await;
    assert_eq!(stored.unwrap().status, Status::SUCCESS);
    association.abort().await;
    assert_eq!(serving.await.unwrap(), 1);
}
