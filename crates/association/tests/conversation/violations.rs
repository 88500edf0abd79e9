//! A peer that breaks PS3.8 or PS3.7 reads the A-ABORT that says so.

use packhorse_association::codec::Abort;
use packhorse_association::{AcceptorConfig, AssociationError, Pdu, Request, accept, dimse, pdv};
use packhorse_dicom::status::Status;
use tokio::time::timeout;

use crate::peer::*;

/// Offset of the first presentation context's id in [`request_bytes`]: behind the PDU header, the fixed part, the
/// application context item and the item's own header.
const FIRST_ID: usize = 6 + 68 + 4 + 21 + 4;

/// Sends these bytes and reads the A-ABORT; what our acceptor made of it.
async fn aborted(peer: &mut Peer, bytes: &[u8]) -> Abort {
    peer.send(bytes).await;
    let Some(Pdu::Abort(abort)) = peer.pdu().await else {
        panic!("no A-ABORT")
    };
    assert_eq!(peer.pdu().await, None);
    abort
}

#[tokio::test]
async fn an_even_or_doubled_context_id_is_an_invalid_parameter() {
    for wrong in [2, 3] {
        let (address, serving) = acceptor(AcceptorConfig::default()).await;
        let mut bytes = request_bytes();
        assert_eq!(bytes[FIRST_ID], 1);
        bytes[FIRST_ID] = wrong;
        let mut peer = Peer::connect(address).await;
        assert_eq!(aborted(&mut peer, &bytes).await, Abort::INVALID_PARAMETER);
        drop(peer);
        let ended = served(serving).await.ended;
        assert!(matches!(ended, Err(AssociationError::PeerMisbehaved(_))), "{ended:?}");
    }
}

#[tokio::test]
async fn before_an_association_what_is_no_request_is_aborted_by_the_user() {
    let release = encoded(&Pdu::ReleaseRq);
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &*release] {
        let (address, serving) = acceptor(AcceptorConfig::default()).await;
        let mut peer = Peer::connect(address).await;
        // AA-1, PS3.8 Table 9-10.
        assert_eq!(aborted(&mut peer, bytes).await, Abort::USER);
        drop(peer);
        served(serving).await.ended.unwrap_err();
    }
}

#[tokio::test]
async fn the_abort_is_read_though_much_was_sent_behind_the_fault() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    let mut bytes = vec![4, 0, 0x7F, 0xFF, 0xFF, 0xFF];
    bytes.resize(400_000, 0);
    assert_eq!(aborted(&mut peer, &bytes).await, Abort::INVALID_PARAMETER);
    drop(peer);
    served(serving).await.ended.unwrap_err();
}

#[tokio::test]
async fn no_message_is_served_on_a_context_that_was_not_accepted() {
    let echo = |context| pdv::command_frames(id(context), &dimse::CEchoRq::new(1).to_bytes(), 1024);
    for message in [echo(REFUSED), echo(77), store_command(REFUSED, 1), store_command(77, 1)] {
        let (address, serving) = acceptor(AcceptorConfig::default()).await;
        let mut peer = Peer::associate(address).await;
        assert_eq!(aborted(&mut peer, &message).await, Abort::PROVIDER);
        drop(peer);
        let served = served(serving).await;
        assert_eq!((served.echoes, served.whole.len()), (0, 0));
        served.ended.unwrap_err();
    }
}

#[tokio::test]
async fn a_response_without_a_request_aborts() {
    let request = dimse::Command::from(store_rq());
    let known = request.answer(Status::SUCCESS, None).unwrap().to_bytes();
    let mut unknown = known.to_vec();
    // Command Field (0000,0100), behind the group length and the class: 8777H.
    let field = unknown.windows(4).position(|element| element == [0, 0, 0, 1]).unwrap();
    unknown[field + 8..field + 10].copy_from_slice(&[0x77, 0x87]);
    for response in [&*known, &*unknown] {
        let (address, serving) = acceptor(AcceptorConfig::default()).await;
        let mut peer = Peer::associate(address).await;
        let frames = pdv::command_frames(id(STORE), response, 1024);
        assert_eq!(aborted(&mut peer, &frames).await, Abort::PROVIDER);
        drop(peer);
        served(serving).await.ended.unwrap_err();
    }
}

#[tokio::test]
async fn a_command_inside_a_data_set_aborts_and_nothing_is_whole() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    let mut bytes = store_command(STORE, 1);
    bytes.extend_from_slice(&pdv::frame_header(id(STORE), false, false, 4));
    bytes.extend_from_slice(b"part");
    bytes.unsplit(store(2, b"another"));
    assert_eq!(aborted(&mut peer, &bytes).await, Abort::PROVIDER);
    drop(peer);
    let served = served(serving).await;
    assert!(served.whole.is_empty());
    served.ended.unwrap_err();
}

#[tokio::test]
async fn a_release_inside_a_data_set_is_no_end_of_it() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    peer.send(&store_command(STORE, 1)).await;
    let mut bytes = data_frames(STORE, &[b"part", b""]);
    bytes.truncate(12 + 4);
    peer.send(&bytes).await;
    peer.send(&encoded(&Pdu::ReleaseRq)).await;
    let served = served(serving).await;
    assert!(served.whole.is_empty());
    assert!(matches!(served.ended, Err(AssociationError::ReleasedEarly)));
}

#[tokio::test]
async fn whoever_goes_on_after_an_error_gets_errors_and_no_hang() {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut association = accept(stream, "", &AcceptorConfig::default(), &no_raw_data)
            .await
            .unwrap();
        let Some(Request::Store(mut store)) = association.next().await.unwrap() else {
            panic!()
        };
        let first = store.data().await.unwrap_err();
        let second = store.data().await.unwrap_err();
        let third = store.respond(Status::SUCCESS, None).await.unwrap_err();
        let fourth = association.next().await.unwrap_err();
        (first, second, third, fourth)
    });
    let mut peer = Peer::associate(address).await;
    let mut bytes = store_command(STORE, 1);
    bytes.extend_from_slice(&[0xEE; 64]);
    assert_eq!(aborted(&mut peer, &bytes).await, Abort::UNRECOGNIZED_PDU);
    drop(peer);
    let errors = timeout(SOON, serving).await.expect("it hangs").unwrap();
    assert!(
        matches!(
            errors,
            (
                AssociationError::PeerMisbehaved(_),
                AssociationError::Lost,
                AssociationError::Lost,
                AssociationError::Unanswered
            )
        ),
        "{errors:?}"
    );
}

#[tokio::test]
async fn a_request_without_an_answer_aborts() {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut association = accept(stream, "", &AcceptorConfig::default(), &no_raw_data)
            .await
            .unwrap();
        drop(association.next().await.unwrap());
        association.next().await.map(drop)
    });
    let mut peer = Peer::associate(address).await;
    assert_eq!(aborted(&mut peer, &store(1, b"data")).await, Abort::USER);
    drop(peer);
    assert!(matches!(serving.await.unwrap(), Err(AssociationError::Unanswered)));
}
