//! The peer goes away behind each byte of a whole conversation, politely and with a reset.

use std::time::Duration;

use bytes::BytesMut;
use packhorse_association::codec::UserInformation;
use packhorse_association::negotiate::{self, MAX_PDU_LENGTH};
use packhorse_association::{AcceptorConfig, AssociationError, Pdu, RequestedAssociation, pdv};
use packhorse_dicom::status::Status;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::peer::*;

const DATA: [&[u8]; 3] = [b"a data set", b" in three", b" fragments"];

#[derive(Clone, Copy, PartialEq)]
enum Leaving {
    /// FIN behind the bytes.
    Closes,
    /// RST: what was not read is gone.
    Resets,
}

/// What a requestor says in one association, and where its instance is whole.
fn conversation() -> (BytesMut, usize) {
    let mut bytes = request_bytes();
    bytes.unsplit(store_command(STORE, 1));
    bytes.unsplit(data_frames(STORE, &DATA));
    let whole = bytes.len();
    bytes.unsplit(encoded(&Pdu::ReleaseRq));
    (bytes, whole)
}

async fn acceptor_after(bytes: &[u8], leaving: Leaving) -> Served {
    let (address, serving) = acceptor(AcceptorConfig::default()).await;
    let mut peer = Peer::connect(address).await;
    if leaving == Leaving::Resets {
        socket2::SockRef::from(&peer.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    peer.send(bytes).await;
    if leaving == Leaving::Closes {
        peer.stream.shutdown().await.unwrap();
        // What it is answered is read to the end, lest the kernel resets the connection.
        let mut answers = Vec::new();
        timeout(SOON, peer.stream.read_to_end(&mut answers))
            .await
            .unwrap()
            .unwrap();
    }
    drop(peer);
    served(serving).await
}

#[tokio::test]
async fn our_acceptor_ends_at_every_byte_and_takes_no_part_for_the_whole() {
    let (bytes, whole) = conversation();
    for leaving in [Leaving::Closes, Leaving::Resets] {
        for length in 0..bytes.len() {
            let served = acceptor_after(&bytes[..length], leaving).await;
            let lost = matches!(served.ended, Err(AssociationError::Lost | AssociationError::Io(_)));
            assert!(lost, "after {length} bytes: {:?}", served.ended);
            if length < whole {
                assert!(served.whole.is_empty(), "after {length} of {whole} bytes");
            } else if leaving == Leaving::Closes {
                assert_eq!(served.whole, [DATA.concat()]);
            }
        }
    }
    let served = acceptor_after(&bytes, Leaving::Closes).await;
    assert_eq!(served.whole, [DATA.concat()]);
    served.ended.unwrap();
}

/// How far our requestor came.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Reached {
    Nothing,
    Association,
    Answer,
    Release,
}

async fn ask(listener: TcpListener, answers: &[u8]) -> Reached {
    let address = listener.local_addr().unwrap().to_string();
    let asking = tokio::spawn(async move {
        let config = requestor_config();
        let Ok(mut association) = RequestedAssociation::request(&address, &config, contexts()).await else {
            return Reached::Nothing;
        };
        let data = Some(DATA.concat().into());
        let Ok(answer) = association.store(id(STORE), &store_rq(), data).await else {
            return Reached::Association;
        };
        assert_eq!(answer.status, Status::SUCCESS);
        match association.release().await {
            Ok(()) => Reached::Release,
            Err(_) => Reached::Answer,
        }
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(answers).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    timeout(SOON, stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    drop(stream);
    timeout(SOON, asking).await.expect("our requestor hangs").unwrap()
}

#[tokio::test]
async fn our_requestor_ends_at_every_byte_and_takes_no_part_of_an_answer() {
    let rq = associate_rq();
    let accepted = no_raw_data(&negotiate::proposal(&rq, [127, 0, 0, 1].into(), "").unwrap());
    let mut answers = encoded(&negotiate::answer_pdu(
        &rq,
        &accepted,
        UserInformation::ours(MAX_PDU_LENGTH),
    ));
    let association = answers.len();
    let mut store_rq = store_rq();
    store_rq.message_id = 1;
    let rsp = store_rq.answer(Status::SUCCESS, None).to_bytes();
    answers.unsplit(pdv::command_frames(id(STORE), &rsp, 1024));
    let answer = answers.len();
    answers.unsplit(encoded(&Pdu::ReleaseRp));
    for length in 0..=answers.len() {
        let (listener, _) = listen().await;
        let expected = match length {
            length if length == answers.len() => Reached::Release,
            length if length >= answer => Reached::Answer,
            length if length >= association => Reached::Association,
            _ => Reached::Nothing,
        };
        assert_eq!(
            ask(listener, &answers[..length]).await,
            expected,
            "after {length} bytes"
        );
    }
}
