//! What we say, as Wireshark's dissector reads it: nothing is malformed.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::Pin;
use std::process;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use packhorse_association::codec::{self, UserInformation};
use packhorse_association::dimse::Command;
use packhorse_association::negotiate::{answer_pdu, request_pdu};
use packhorse_association::{
    Abort, AcceptorConfig, CStoreRq, Connection, Pdu, Request, RequestedAssociation, RequestorConfig, accept, dimse,
    pdv,
};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    Answer, AsyncOperationsWindow, CommonExtended, ContextAnswer, ContextResult, ExtendedNegotiation,
    PresentationContextId, Proposal, ProposedContext, Rejection, RoleSelection, UserIdentity, UserIdentityType,
};
use packhorse_dicom::sop_class::{RAW_DATA_STORAGE, VERIFICATION};
use packhorse_dicom::status::Status;
use packhorse_testkit::corpus;
use packhorse_testkit::pcap::{Capture, PORT, Side};
use packhorse_testkit::peers::{Peer, require};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const IMPLICIT: &str = "1.2.840.10008.1.2";

/// The acceptor's end of a connection in memory, which writes down what passes.
struct Recorded {
    inner: DuplexStream,
    capture: Arc<Mutex<Capture>>,
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.capture
            .lock()
            .unwrap()
            .say(Side::Requestor, &buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.capture.lock().unwrap().say(Side::Acceptor, &buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn title(text: &str) -> AeTitle {
    AeTitle::try_from(text).unwrap()
}

fn id(index: usize) -> PresentationContextId {
    PresentationContextId::nth(index).unwrap()
}

fn context(index: usize, class: &str) -> ProposedContext {
    ProposedContext {
        id: id(index),
        abstract_syntax: class.parse().unwrap(),
        transfer_syntaxes: vec![IMPLICIT.parse().unwrap(), "1.2.840.10008.1.2.1".parse().unwrap()],
    }
}

fn store_rq() -> CStoreRq {
    CStoreRq {
        message_id: 1,
        affected_sop_class_uid: Bytes::from_static(CT.as_bytes()),
        affected_sop_instance_uid: Bytes::from_static(b"1.2.3.4"),
        priority: 0,
        move_originator: None,
    }
}

/// Our two roles: echo, a store of several PDUs, a failure with its comment, a refused class, release.
async fn conversation() -> Vec<u8> {
    let capture = Arc::new(Mutex::new(Capture::default()));
    let (ours, theirs) = duplex(1 << 20);
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let recorded = Recorded {
        inner: ours,
        capture: Arc::clone(&capture),
    };
    let serving = tokio::spawn(async move {
        let decide = |proposal: &Proposal| {
            proposal.answer_each(|context| match context.abstract_syntax.as_str() {
                RAW_DATA_STORAGE => ContextAnswer::Rejected(ContextResult::USER_REJECTION),
                _ => context.accept_first(),
            })
        };
        let connection = Connection::over(recorded, peer);
        let mut association = accept(connection, "", &AcceptorConfig::default(), &decide)
            .await
            .unwrap();
        let mut statuses = [Status::SUCCESS, Status::OUT_OF_RESOURCES].into_iter();
        while let Some(request) = association.next().await.unwrap() {
            match request {
                Request::Echo(echo) => echo.respond(Status::SUCCESS, None).await.unwrap(),
                Request::Store(store) => {
                    let comment = Some("the gateway's disk is full");
                    store.respond(statuses.next().unwrap(), comment).await.unwrap();
                }
            }
        }
    });
    let config = RequestorConfig::new(title("PACKHORSE"), title("PACS_B"));
    let contexts = vec![context(0, VERIFICATION), context(1, CT), context(2, RAW_DATA_STORAGE)];
    let mut association = RequestedAssociation::request_over(Connection::over(theirs, peer), &config, contexts)
        .await
        .unwrap();
    assert_eq!(association.echo().await.unwrap(), Status::SUCCESS);
    // (0008,0018) with 400,000 spaces: a data set that can be dissected, longer than a PDU.
    let mut data = vec![8, 0, 0x18, 0];
    data.extend(400_000_u32.to_le_bytes());
    data.resize(400_008, b' ');
    for status in [Status::SUCCESS, Status::OUT_OF_RESOURCES] {
        let stored = association
            .store(id(1), &store_rq(), Some(Bytes::from(data.clone())))
            .await;
        assert_eq!(stored.unwrap().status, status);
    }
    association.release().await.unwrap();
    serving.await.unwrap();
    let capture = std::mem::take(&mut *capture.lock().unwrap());
    capture.finish()
}

/// A capture of these PDUs.
fn pdus(said: &[(Side, Pdu)]) -> Vec<u8> {
    let mut capture = Capture::default();
    for (side, pdu) in said {
        let mut bytes = BytesMut::new();
        codec::encode(pdu, &mut bytes).unwrap();
        capture.say(*side, &bytes);
    }
    capture.finish()
}

/// 128 contexts and every sub-item, and an answer with every result.
fn everything_negotiated() -> Vec<u8> {
    let contexts: Vec<_> = (0..128)
        .map(|index| context(index, &format!("1.2.840.10008.5.1.4.1.1.{index}")))
        .collect();
    let class = |index: usize| contexts[index].abstract_syntax.clone();
    let window = Some(AsyncOperationsWindow {
        invoked: 8,
        performed: 1,
    });
    let user = UserInformation {
        async_operations: window,
        roles: vec![RoleSelection {
            abstract_syntax: class(3),
            scu: true,
            scp: true,
        }],
        extended: vec![ExtendedNegotiation {
            abstract_syntax: class(4),
            application_information: [2, 0, 3, 0, 1, 0].into(),
        }],
        common_extended: vec![CommonExtended {
            abstract_syntax: class(5),
            service_class: "1.2.840.10008.4.2".into(),
            related_general: vec![class(6), class(7)],
        }],
        user_identity: Some(UserIdentity {
            kind: UserIdentityType::USERNAME_AND_PASSCODE,
            positive_response_requested: true,
            primary_field: b"alice".as_slice().into(),
            secondary_field: b"secret".as_slice().into(),
        }),
        ..UserInformation::ours(16_384)
    };
    let proposal_answers = |context: &ProposedContext| match context.id.get() % 5 {
        0 => context.accept_first(),
        code => ContextAnswer::Rejected(ContextResult(code)),
    };
    let rq = request_pdu(&title("PACKHORSE"), &title("PACS_B"), contexts.clone(), user.clone());
    let answers = contexts.iter().map(|context| (context.id, proposal_answers(context)));
    let granted = UserInformation {
        user_identity_response: Some(Bytes::from_static(b"ticket")),
        ..user
    };
    let answer = Answer::Accept(answers.collect());
    let ac = answer_pdu(&rq, &answer, granted);
    pdus(&[
        (Side::Requestor, Pdu::AssociateRq(Box::new(rq))),
        (Side::Acceptor, ac),
        // A release collision.
        (Side::Requestor, Pdu::ReleaseRq),
        (Side::Acceptor, Pdu::ReleaseRq),
        (Side::Requestor, Pdu::ReleaseRp),
        (Side::Acceptor, Pdu::ReleaseRp),
    ])
}

fn request() -> Pdu {
    let contexts = vec![context(0, VERIFICATION), context(1, CT)];
    let user = UserInformation::ours(16_384);
    Pdu::AssociateRq(Box::new(request_pdu(
        &title("PACKHORSE"),
        &title("PACS_B"),
        contexts,
        user,
    )))
}

fn rejected(rejection: Rejection) -> Vec<u8> {
    pdus(&[
        (Side::Requestor, request()),
        (Side::Acceptor, Pdu::AssociateRj(rejection)),
    ])
}

fn aborted(abort: Abort) -> Vec<u8> {
    pdus(&[(Side::Requestor, request()), (Side::Acceptor, Pdu::Abort(abort))])
}

/// Every kind of message of PS3.7 as our codec writes it, a PDU each. They are read from where the fuzz target begins, which
/// has each kind.
fn every_message() -> Vec<u8> {
    let mut capture = Capture::default();
    let Pdu::AssociateRq(rq) = request() else { panic!() };
    let answers = rq.contexts.iter().map(|context| (context.id, context.accept_first()));
    let ac = answer_pdu(&rq, &Answer::Accept(answers.collect()), UserInformation::ours(16_384));
    for (side, pdu) in [(Side::Requestor, Pdu::AssociateRq(rq)), (Side::Acceptor, ac)] {
        let mut bytes = BytesMut::new();
        codec::encode(&pdu, &mut bytes).unwrap();
        capture.say(side, &bytes);
    }
    for input in corpus::fuzz_inputs("command") {
        match dimse::decode(input.into()) {
            Ok(Command::Unknown(_)) | Err(_) => {}
            Ok(command) => capture.say(
                Side::Requestor,
                &pdv::command_frames(id(1), &command.to_bytes(), 16_384),
            ),
        }
    }
    capture.finish()
}

/// What tshark prints of a capture, for this filter.
fn tshark(folder: &Path, capture: &[u8], arguments: &[&str]) -> Option<String> {
    let program = require(Peer::Tshark)?;
    let file = folder.join("said.pcap");
    fs::write(&file, capture).unwrap();
    let output = process::Command::new(program)
        .arg("-r")
        .arg(&file)
        .args(["-d", &format!("tcp.port=={PORT},dicom")])
        .args(arguments)
        .env("HOME", folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Nothing malformed, nothing that the dissector marks as an error, and it did dissect.
fn assert_well_formed(what: &str, capture: &[u8], pdus: usize) {
    let folder = tempfile::tempdir().unwrap();
    let wrong = ["-Y", "_ws.malformed || _ws.expert.severity == \"Error\""];
    let Some(wrong) = tshark(folder.path(), capture, &wrong) else {
        return;
    };
    assert_eq!(wrong, "", "{what}");
    let types = ["-Y", "dicom", "-T", "fields", "-e", "dicom.pdu.type"];
    let types = tshark(folder.path(), capture, &types).unwrap();
    let found = types.split([',', '\n']).filter(|number| !number.is_empty()).count();
    assert!(found >= pdus, "{what}: {found} PDUs dissected");
}

#[tokio::test]
async fn nothing_of_a_whole_conversation_is_malformed() {
    assert_well_formed("a conversation", &conversation().await, 12);
}

#[test]
fn nothing_of_a_negotiation_a_rejection_or_an_abort_is_malformed() {
    assert_well_formed("everything negotiated", &everything_negotiated(), 6);
    for rejection in [
        Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED,
        Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED,
        Rejection::PROTOCOL_VERSION_NOT_SUPPORTED,
        Rejection::LOCAL_LIMIT_EXCEEDED,
        Rejection::TEMPORARY_CONGESTION,
    ] {
        assert_well_formed("a rejection", &rejected(rejection), 2);
    }
    for abort in [
        Abort::USER,
        Abort::PROVIDER,
        Abort::UNEXPECTED_PDU,
        Abort::INVALID_PARAMETER,
    ] {
        assert_well_formed("an abort", &aborted(abort), 2);
    }
}

#[test]
fn no_message_is_malformed() {
    assert_well_formed("every message", &every_message(), 20);
}

/// The dissector would tell.
#[test]
fn a_damaged_item_is_told_to_be_malformed() {
    let mut bytes = BytesMut::new();
    codec::encode(&request(), &mut bytes).unwrap();
    // The length of the first presentation context item: behind the PDU header, the fixed part, the application context.
    let length = 6 + 68 + 4 + 21 + 2;
    bytes[length] = 0xFF;
    let mut capture = Capture::default();
    capture.say(Side::Requestor, &bytes);
    let folder = tempfile::tempdir().unwrap();
    let wrong = ["-Y", "_ws.malformed || _ws.expert.severity == \"Error\""];
    if let Some(wrong) = tshark(folder.path(), &capture.finish(), &wrong) {
        assert_ne!(wrong, "");
    }
}
