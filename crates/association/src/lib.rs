//! DICOM associations (PS3.8) and the storage service (PS3.7, PS3.4 Annex B), asynchronous, with a policy of yours, and
//! bit-exact: a data set goes in and comes out as it was encoded, never parsed and written again.
//!
//! # The smallest SCP
//!
//! [`accept`] serves one connection up to the established association; a [`Decide`], here a closure, says what is
//! accepted. What a peer asks then comes from [`AcceptedAssociation::next`], a data set fragment by fragment from
//! [`StoreRequest::data`]. Answer [`Status::SUCCESS`](packhorse_dicom::status::Status::SUCCESS) when the bytes are safe, not
//! before: many senders delete on it.
//!
//! ```
//! use packhorse_association::{AcceptorConfig, AssociationError, Request, accept};
//! use packhorse_dicom::negotiation::{Proposal, ProposedContext};
//! use packhorse_dicom::status::Status;
//!
//! async fn serve(stream: tokio::net::TcpStream) -> Result<usize, AssociationError> {
//!     let everything = |proposal: &Proposal| proposal.answer_each(ProposedContext::accept_first);
//!     let mut association = accept(stream, "lan", &AcceptorConfig::default(), &everything).await?;
//!     let mut received = 0;
//!     while let Some(request) = association.next().await? {
//!         match request {
//!             Request::Echo(echo) => echo.respond(Status::SUCCESS, None).await?,
//!             Request::Store(mut store) => {
//!                 while let Some(fragment) = store.data().await? {
//!                     received += fragment.len();
//!                 }
//!                 store.respond(Status::SUCCESS, None).await?;
//!             }
//!         }
//!     }
//!     Ok(received)
//! }
//! # // The smallest SCU below sends to it.
//! # fn main() {}
//! ```
//!
//! An error means that the association is over and the instance under way is not whole: keep nothing of it. A request
//! that is dropped without an answer aborts the association; nothing is ever answered by default.
//!
//! # The smallest SCU
//!
//! [`StorageScu`] opens an association when an instance needs one, proposes exactly what the instance (and those behind it)
//! need, and keeps it for the next. [`store_all`] sends many, over several associations if you like. The last-fragment bit
//! leaves only behind a data set that was read to its end: a [`DataSource`] that fails, or a future that is dropped, aborts.
//!
//! ```
//! use bytes::Bytes;
//! use packhorse_association::{CStoreRq, InstanceContext, RequestorConfig, StorageScu};
//! # use packhorse_association::{AcceptorConfig, Request, accept};
//! # use packhorse_dicom::negotiation::{Proposal, ProposedContext};
//! # use packhorse_dicom::status::Status;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?.to_string();
//! # let serving = tokio::spawn(async move {
//! #     let (stream, _) = listener.accept().await.unwrap();
//! #     let everything = |proposal: &Proposal| proposal.answer_each(ProposedContext::accept_first);
//! #     let mut association = accept(stream, "lan", &AcceptorConfig::default(), &everything).await.unwrap();
//! #     let Some(Request::Store(mut store)) = association.next().await.unwrap() else { panic!() };
//! #     assert_eq!(store.data().await.unwrap().unwrap(), "the data set");
//! #     store.respond(Status::SUCCESS, None).await.unwrap();
//! #     assert!(association.next().await.unwrap().is_none());
//! # });
//! let config = RequestorConfig::new("MY_TITLE".try_into()?, "PACS".try_into()?);
//! let mut scu = StorageScu::new(address, config);
//!
//! let ct = InstanceContext {
//!     sop_class: "1.2.840.10008.5.1.4.1.1.2".parse()?,
//!     transfer_syntax: "1.2.840.10008.1.2.1".parse()?,
//! };
//! let command = CStoreRq {
//!     message_id: 0, // the association has its own
//!     affected_sop_class_uid: Bytes::from_static(b"1.2.840.10008.5.1.4.1.1.2"),
//!     affected_sop_instance_uid: Bytes::from_static(b"1.2.3.4"),
//!     priority: 0,
//!     move_originator: None,
//! };
//! let data_set = Bytes::from_static(b"the data set"); // of a file: what is behind the file meta information
//!
//! let response = scu.store(&ct, &[], &command, || Some(data_set.clone())).await?;
//! println!("answered {} {:?}", response.status, response.error_comment);
//! scu.release().await;
//! # serving.await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`RequestedAssociation`] is the layer below: one association, its [contexts](RequestedAssociation::contexts) with the
//! acceptor's answers, refused ones too, and an [asynchronous operations window](RequestedAssociation::send).
//!
//! # Policy
//!
//! A [`Decide`] sees the whole [`Proposal`](packhorse_dicom::negotiation::Proposal): who calls whom and from where, every
//! context with its syntaxes, roles, extended negotiation, the user's identity. It answers context by context, or rejects.
//! Whatever it says, the wire stays right: a context it forgot, a syntax that was not proposed, a role that was not asked
//! for do not get out.
//!
//! ```
//! use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal, Rejection};
//! use packhorse_dicom::sop_class::RAW_DATA_STORAGE;
//!
//! /// PACS_A may send everything but Raw Data.
//! fn no_raw_data(proposal: &Proposal) -> Answer {
//!     if proposal.calling_ae_title.as_str() != "PACS_A" {
//!         return Answer::Reject(Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED);
//!     }
//!     proposal.answer_each(|context| match context.abstract_syntax.as_str() {
//!         RAW_DATA_STORAGE => ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
//!         _ => context.accept_first(),
//!     })
//! }
//! # let title = |text: &str| text.try_into().unwrap();
//! # let context = packhorse_dicom::negotiation::ProposedContext {
//! #     id: packhorse_dicom::negotiation::PresentationContextId::nth(0).unwrap(),
//! #     abstract_syntax: RAW_DATA_STORAGE.parse().unwrap(),
//! #     transfer_syntaxes: vec!["1.2.840.10008.1.2".parse().unwrap()],
//! # };
//! # let proposal = Proposal {
//! #     peer: [127, 0, 0, 1].into(), listener: "lan".into(), calling_ae_title: title("PACS_A"),
//! #     called_ae_title: title("US"), contexts: vec![context], extended: vec![], common_extended: vec![], roles: vec![],
//! #     user_identity: None, async_operations: None, implementation_class_uid: None, implementation_version_name: None,
//! # };
//! # let Answer::Accept(answers) = no_raw_data(&proposal) else { panic!() };
//! # assert!(matches!(answers[..], [(_, ContextAnswer::Rejected(_))]));
//! ```
//!
//! A [`Decide`] that implements [`user_information`](Decide::user_information) too grants roles, answers extended
//! negotiation and a user identity, and opens an asynchronous operations window.
//!
//! # Limits
//!
//! Nothing a peer says is an allocation size. An A-ASSOCIATE-RQ has at most 256 KiB
//! ([`ASSOCIATE_LEN_MAX`](codec::ASSOCIATE_LEN_MAX)), a command set 64 KiB ([`COMMAND_LEN_MAX`](dimse::COMMAND_LEN_MAX)), a
//! P-DATA-TF what we said we take ([`AcceptorConfig::max_pdu_length`]). Fragments that you have not asked for wait in the
//! socket. Every wait has an end: [`artim`](AcceptorConfig::artim), [`idle`](AcceptorConfig::idle),
//! [`dimse`](AcceptorConfig::dimse), [`send`](AcceptorConfig::send), and [`slowest`](AcceptorConfig::slowest) for a peer that
//! drips. How many connections and associations there may be is the listener's to say, which is yours: reject what is too
//! much with [`LOCAL_LIMIT_EXCEEDED`](packhorse_dicom::negotiation::Rejection::LOCAL_LIMIT_EXCEEDED), so that the peer tries
//! again.
//!
//! # Inside
//!
//! ```text
//!   bytes ── codec, pdv ──▶ Pdu ── machine ──▶ Event ── dimse ──▶ C-STORE-RQ, C-ECHO-RQ
//!     ▲                                                                   │
//!     └──────────────── driver (tokio, feature `driver`) ◀── answers ─────┘
//! ```
//!
//! - [`codec`], [`pdv`], [`dimse`], [`machine`], [`negotiate`]: no I/O, no clock, no tokio. Time is an input. The machine is
//!   PS3.8 Table 9-10, cell by cell.
//! - [`driver`] (feature `driver`, default): over TCP, or any other stream of bytes ([`Connection`]).
//! - `driver::tls` (feature `tls`): DICOM TLS for both roles, with pins and private CAs.
//!
//! What is absent: any reading of data sets, any re-encoding, and every other service (answered 0211H); [`dimse`] has their
//! commands.

pub mod codec;
pub mod dimse;
pub mod fuzzing;
pub mod machine;
pub mod negotiate;
pub mod pdv;

#[cfg(feature = "driver")]
pub mod driver;

pub use codec::{Abort, Pdu, Violation};
pub use dimse::{CEchoRq, CStoreRq, CStoreRsp};
#[cfg(feature = "driver")]
pub use driver::{
    AcceptedAssociation, AcceptorConfig, AssociationError, Connection, DataSource, EchoRequest, Instance,
    InstanceContext, NegotiatedContext, Request, RequestedAssociation, RequestorConfig, StorageScu, StoreError,
    StoreRequest, Transport, accept, store_all,
};
pub use negotiate::Decide;
