//! Conversations that end well, whatever way their bytes come.

use bytes::Bytes;
use packhorse_association::dimse::{
    CFindRq, CGetRq, CMoveRq, Command, NActionRq, NCreateRq, NDeleteRq, NEventReportRq, NGetRq, NSetRq, UnknownCommand,
};
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
        pdv::command_frames(id(ECHO), &dimse::CEchoRq::new(2).to_bytes(), 1024),
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
    let nothing = encoded(&Pdu::PDataTf(Bytes::new()));
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

const CLASS: &[u8] = b"1.2.840.10008.5.1.4.1.1.2\0";
const INSTANCE: &[u8] = b"1.2.3.4.5\0";

/// A request of every service that a storage SCP does not have.
fn other_services() -> Vec<Command> {
    let (class, instance) = (Bytes::from_static(CLASS), Bytes::from_static(INSTANCE));
    vec![
        Command::from(CFindRq {
            message_id: 1,
            affected_sop_class_uid: class.clone(),
            priority: 0,
        }),
        Command::from(CGetRq {
            message_id: 2,
            affected_sop_class_uid: class.clone(),
            priority: 0,
        }),
        Command::from(CMoveRq {
            message_id: 3,
            affected_sop_class_uid: class.clone(),
            priority: 0,
            move_destination: Bytes::from_static(b"ELSEWHERE "),
        }),
        Command::from(NEventReportRq {
            message_id: 4,
            affected_sop_class_uid: class.clone(),
            affected_sop_instance_uid: instance.clone(),
            event_type_id: 1,
            has_data_set: true,
        }),
        Command::from(NGetRq {
            message_id: 5,
            requested_sop_class_uid: class.clone(),
            requested_sop_instance_uid: instance.clone(),
            attribute_identifier_list: Vec::new(),
        }),
        Command::from(NSetRq {
            message_id: 6,
            requested_sop_class_uid: class.clone(),
            requested_sop_instance_uid: instance.clone(),
            has_data_set: true,
        }),
        Command::from(NActionRq {
            message_id: 7,
            requested_sop_class_uid: class.clone(),
            requested_sop_instance_uid: instance.clone(),
            action_type_id: 1,
            has_data_set: true,
        }),
        Command::from(NCreateRq {
            message_id: 8,
            affected_sop_class_uid: class.clone(),
            affected_sop_instance_uid: Some(instance.clone()),
            has_data_set: false,
        }),
        Command::from(NDeleteRq {
            message_id: 9,
            requested_sop_class_uid: class.clone(),
            requested_sop_instance_uid: instance.clone(),
        }),
        Command::Unknown(UnknownCommand {
            command_field: 0x0777,
            message_id: 10,
            status: None,
            error_comment: None,
            sop_class_uid: Some(class),
            sop_instance_uid: Some(instance),
            has_data_set: true,
        }),
    ]
}

#[tokio::test]
async fn every_service_that_we_do_not_have_is_answered_0211_in_its_own_kind_with_its_uids() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    for request in other_services() {
        peer.send(&pdv::command_frames(id(STORE), &request.to_bytes(), 1024))
            .await;
        if request.has_data_set() {
            peer.send(&data_frames(STORE, &[b"any", b"thing"])).await;
        }
        let answer = peer.answer().await;
        assert!(answer.is_response_to(&request), "{answer:?}");
        assert_eq!(answer.status(), Some(Status::UNRECOGNIZED_OPERATION));
        let bytes = answer.to_bytes();
        let says = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(says(b"unrecognized operation") && says(CLASS), "{answer:?}");
        assert_eq!(says(INSTANCE), request.message_id() > 3, "{answer:?}");
    }
    peer.send(&store(11, b"data")).await;
    assert_eq!(peer.status().await, Status::SUCCESS);
    peer.release().await;
    assert_eq!(served(serving).await.whole, [b"data"]);
}

#[tokio::test]
async fn a_cancel_is_passed_over_without_an_answer() {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::associate(address).await;
    let cancel = dimse::CCancelRq {
        message_id_being_responded_to: 1,
    };
    peer.send(&pdv::command_frames(id(STORE), &cancel.to_bytes(), 1024))
        .await;
    peer.send(&store(2, b"data")).await;
    let answer = peer.answer().await;
    assert_eq!((answer.message_id(), answer.status()), (2, Some(Status::SUCCESS)));
    peer.release().await;
    served(serving).await.ended.unwrap();
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
