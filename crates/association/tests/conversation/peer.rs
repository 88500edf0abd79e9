//! The peer, what it says, and our acceptor as it is spoken to.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use packhorse_association::codec::{self, AssociateRq, UserInformation};
use packhorse_association::negotiate::{self, MAX_PDU_LENGTH};
use packhorse_association::{
    AcceptorConfig, AssociationError, CStoreRq, Pdu, Request, RequestorConfig, StoreRequest, accept, dimse, pdv,
};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    Answer, ContextAnswer, ContextResult, PresentationContextId, Proposal, ProposedContext,
};
use packhorse_dicom::sop_class::{RAW_DATA_STORAGE, VERIFICATION};
use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
/// An end that no test comes near unless something hangs.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The contexts of [`contexts`], by number.
pub(crate) const ECHO: usize = 0;
pub(crate) const STORE: usize = 1;
pub(crate) const REFUSED: usize = 2;

pub(crate) fn id(index: usize) -> PresentationContextId {
    PresentationContextId::nth(index).unwrap()
}

/// Verification, CT, and Raw Data, which [`no_raw_data`] refuses; each in Implicit VR Little Endian.
pub(crate) fn contexts() -> Vec<ProposedContext> {
    let context = |(index, class)| ProposedContext {
        id: id(index),
        abstract_syntax: AbstractSyntaxUid::try_from(class).unwrap(),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from(IMPLICIT_VR_LE).unwrap()],
    };
    [VERIFICATION, CT, RAW_DATA_STORAGE]
        .into_iter()
        .enumerate()
        .map(context)
        .collect()
}

pub(crate) fn no_raw_data(proposal: &Proposal) -> Answer {
    let answers = proposal.contexts.iter().map(|context| {
        let answer = match context.abstract_syntax.as_str() {
            RAW_DATA_STORAGE => ContextAnswer::Rejected(ContextResult::USER_REJECTION),
            _ => ContextAnswer::Accepted(context.transfer_syntaxes[0].clone()),
        };
        (context.id, answer)
    });
    Answer::Accept(answers.collect())
}

pub(crate) fn title(text: &str) -> AeTitle {
    AeTitle::try_from(text).unwrap()
}

pub(crate) fn associate_rq() -> AssociateRq {
    negotiate::request_pdu(
        &title("PEER"),
        &title("OURS"),
        contexts(),
        UserInformation::ours(MAX_PDU_LENGTH),
    )
}

pub(crate) fn encoded(pdu: &Pdu) -> BytesMut {
    let mut bytes = BytesMut::new();
    codec::encode(pdu, &mut bytes).unwrap();
    bytes
}

pub(crate) fn request_bytes() -> BytesMut {
    encoded(&Pdu::AssociateRq(Box::new(associate_rq())))
}

pub(crate) fn store_rq() -> CStoreRq {
    CStoreRq {
        message_id: 0,
        affected_sop_class_uid: Bytes::from_static(CT.as_bytes()),
        affected_sop_instance_uid: Bytes::from_static(b"1.2.3.4\0"),
        priority: 0,
        move_originator: None,
    }
}

/// A C-STORE-RQ's command.
pub(crate) fn store_command(context: usize, message_id: u16) -> BytesMut {
    let rq = CStoreRq {
        message_id,
        ..store_rq()
    };
    pdv::command_frames(id(context), &rq.to_bytes(), 16 * 1024)
}

/// A data set's fragments, one PDU each; the last is marked.
pub(crate) fn data_frames(context: usize, fragments: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::new();
    for (index, fragment) in fragments.iter().enumerate() {
        let is_last = index + 1 == fragments.len();
        out.extend_from_slice(&pdv::frame_header(id(context), false, is_last, fragment.len()));
        out.extend_from_slice(fragment);
    }
    out
}

/// A whole C-STORE of this data.
pub(crate) fn store(message_id: u16, data: &[u8]) -> BytesMut {
    let mut out = store_command(STORE, message_id);
    out.unsplit(data_frames(STORE, &[data]));
    out
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection whose every byte is the test's.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    read: BytesMut,
}

impl Peer {
    pub(crate) const fn over(stream: TcpStream, read: BytesMut) -> Self {
        Self { stream, read }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, BytesMut::new())
    }

    /// With an association established.
    pub(crate) async fn associate(address: SocketAddr) -> Self {
        let mut peer = Self::connect(address).await;
        peer.send(&request_bytes()).await;
        let answer = peer.pdu().await;
        assert!(matches!(answer, Some(Pdu::AssociateAc(_))), "{answer:?}");
        peer
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(SOON, self.stream.write_all(bytes)).await.unwrap().unwrap();
    }

    /// The next PDU; `None` when the connection was closed.
    ///
    /// # Panics
    /// When it was reset, or nothing comes.
    pub(crate) async fn pdu(&mut self) -> Option<Pdu> {
        loop {
            if let Some(pdu) = codec::next_pdu(&mut self.read, 1 << 20).unwrap() {
                return Some(pdu);
            }
            let read = self.stream.read_buf(&mut self.read);
            if timeout(SOON, read).await.unwrap().unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next message, which is an answer.
    pub(crate) async fn answer(&mut self) -> dimse::Command {
        let Some(Pdu::PDataTf(body)) = self.pdu().await else {
            panic!("no message")
        };
        let pdv = pdv::Pdvs::new(body).next_pdv().unwrap().unwrap();
        dimse::decode(pdv.data).unwrap()
    }

    /// The status of the next message, which is an answer.
    pub(crate) async fn status(&mut self) -> Status {
        self.answer().await.status().expect("a status")
    }

    pub(crate) async fn release(mut self) {
        self.send(&encoded(&Pdu::ReleaseRq)).await;
        assert_eq!(self.pdu().await, Some(Pdu::ReleaseRp));
        drop(self.stream);
    }
}

/// What our acceptor was given on one association.
#[derive(Debug)]
pub(crate) struct Served {
    /// Data sets whose last fragment came.
    pub(crate) whole: Vec<Vec<u8>>,
    pub(crate) echoes: usize,
    pub(crate) ended: Result<(), AssociationError>,
}

/// Our acceptor on one connection; it answers everything with Success.
pub(crate) async fn acceptor(config: AcceptorConfig) -> (SocketAddr, JoinHandle<Served>) {
    let (listener, address) = listen().await;
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, &config).await
    });
    (address, serving)
}

pub(crate) async fn serve(stream: TcpStream, config: &AcceptorConfig) -> Served {
    let mut served = Served {
        whole: Vec::new(),
        echoes: 0,
        ended: Ok(()),
    };
    served.ended = requests(stream, config, &mut served).await;
    served
}

async fn requests(stream: TcpStream, config: &AcceptorConfig, served: &mut Served) -> Result<(), AssociationError> {
    let mut association = accept(stream, "", config, &no_raw_data).await?;
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => {
                served.echoes += 1;
                echo.respond(Status::SUCCESS, None).await?;
            }
            Request::Store(mut store) => {
                served.whole.push(whole(&mut store).await?);
                store.respond(Status::SUCCESS, None).await?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn whole(store: &mut StoreRequest<'_>) -> Result<Vec<u8>, AssociationError> {
    let mut data = Vec::new();
    while let Some(fragment) = store.data().await? {
        data.extend_from_slice(&fragment);
    }
    Ok(data)
}

pub(crate) async fn served(serving: JoinHandle<Served>) -> Served {
    timeout(SOON, serving).await.expect("our acceptor hangs").unwrap()
}

pub(crate) fn requestor_config() -> RequestorConfig {
    RequestorConfig::new(title("OURS"), title("PEER"))
}
