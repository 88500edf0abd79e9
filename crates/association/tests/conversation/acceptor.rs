//! Conversations that end well, whatever way their bytes come.

use packhorse_association::{AcceptorConfig, AssociationError, Pdu, Request, accept, codec, dimse, pdv};
use packhorse_dicom::status::Status;

use crate::peer::*;

#[tokio::test]
async fn a_conversation_may_come_byte_by_byte() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::connect(address).await;
    let mut bytes = request_bytes();
    bytes.unsplit(store(1, b"data"));
    for byte in &bytes {
        peer.send(&[*byte]).await;
    }
    assert!(matches!(peer.pdu().await, Some(Pdu::AssociateAc(_))));
    assert_eq!(peer.status().await, Status::SUCCESS);
    peer.release().await;
    let served = served(serving).await;
    assert_eq!(served.whole, [b"data"]);
    served.ended.unwrap();
}

#[tokio::test]
async fn an_echo_between_instances_is_answered() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    for message in [
        store(1, b"one"),
        pdv::command_frames(id(ECHO), &dimse::echo_rq(2), 1024),
        store(3, b"two"),
    ] {
        peer.send(&message).await;
        assert_eq!(peer.status().await, Status::SUCCESS);
    }
    peer.release().await;
    let served = served(serving).await;
    assert_eq!((served.echoes, served.whole.len()), (1, 2));
}

#[tokio::test]
async fn one_pdu_may_hold_a_command_and_its_data_set_and_another_message() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    // The PDVs of five PDUs, some empty, behind one header.
    let mut frames = store_command(STORE, 1);
    frames.unsplit(data_frames(STORE, &[b"", b"one", b"", b" data set", b""]));
    frames.unsplit(store(2, b"another"));
    let mut pdvs = Vec::new();
    while let Some(Pdu::PDataTf(body)) = codec::next_pdu(&mut frames, 1 << 20).unwrap() {
        pdvs.extend_from_slice(&body);
    }
    peer.send(&encoded(&Pdu::PDataTf(pdvs.into()))).await;
    assert_eq!(peer.status().await, Status::SUCCESS);
    assert_eq!(peer.status().await, Status::SUCCESS);
    peer.release().await;
    assert_eq!(
        served(serving).await.whole,
        [b"one data set".as_slice(), b"another".as_slice()]
    );
}

#[tokio::test]
async fn an_empty_p_data_tf_is_nothing() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    let nothing = encoded(&Pdu::PDataTf(bytes::Bytes::new()));
    peer.send(&nothing).await;
    peer.send(&store_command(STORE, 1)).await;
    peer.send(&nothing).await;
    peer.send(&data_frames(STORE, &[b"data"])).await;
    assert_eq!(peer.status().await, Status::SUCCESS);
    peer.release().await;
    assert_eq!(served(serving).await.whole, [b"data"]);
}

#[tokio::test]
async fn unread_data_of_a_refused_instance_is_passed_over() {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut association = accept(stream, "", &AcceptorConfig::default(), &no_raw_data).await?;
        let mut wanted = Vec::new();
        while let Some(request) = association.next().await? {
            let Request::Store(mut store) = request else { panic!() };
            if store.command().message_id == 1 {
                store.respond(Status(0xA700), Some("no room")).await?;
            } else {
                wanted = whole(&mut store).await?;
                store.respond(Status::SUCCESS, None).await?;
            }
        }
        Ok::<_, AssociationError>(wanted)
    });
    let mut peer = Peer::associate(address).await;
    peer.send(&store(1, &[7; 100_000])).await;
    assert_eq!(peer.status().await, Status(0xA700));
    peer.send(&store(2, b"this one")).await;
    assert_eq!(peer.status().await, Status::SUCCESS);
    peer.release().await;
    assert_eq!(serving.await.unwrap().unwrap(), b"this one");
}

#[tokio::test]
async fn a_request_of_another_service_is_answered_0211_and_its_identifier_passed_over() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    // C-FIND-RQ (0020H) with Message ID 5 and an identifier.
    let command: &[u8] = b"\0\0\0\x01\x02\0\0\0\x20\0\0\0\x10\x01\x02\0\0\0\x05\0\0\0\0\x08\x02\0\0\0\x01\0";
    peer.send(&pdv::command_frames(id(STORE), command, 1024)).await;
    peer.send(&data_frames(STORE, &[b"identi", b"fier"])).await;
    assert_eq!(peer.status().await, Status::UNRECOGNIZED_OPERATION);
    peer.send(&store(6, b"data")).await;
    assert_eq!(peer.status().await, Status::SUCCESS);
    peer.release().await;
    assert_eq!(served(serving).await.whole, [b"data"]);
}

#[tokio::test]
async fn an_answer_keeps_to_the_peers_small_maximum() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::connect(address).await;
    let mut rq = associate_rq();
    rq.user.max_pdu_length = Some(20);
    peer.send(&encoded(&Pdu::AssociateRq(Box::new(rq)))).await;
    assert!(matches!(peer.pdu().await, Some(Pdu::AssociateAc(_))));
    peer.send(&store(1, b"data")).await;
    let mut assembler = dimse::Assembler::default();
    loop {
        let Some(Pdu::PDataTf(body)) = peer.pdu().await else {
            panic!("the answer is not whole")
        };
        assert!(body.len() <= 20);
        let pdv = pdv::Pdvs::new(body).next_pdv().unwrap().unwrap();
        if assembler.push(pdv).unwrap().is_some() {
            break;
        }
    }
    peer.release().await;
    served(serving).await.ended.unwrap();
}
