//! Files sent by `edge-gateway send`: the same policy, ledger and spool as a C-STORE, under a source of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use packhorse_association::CStoreRq;
use packhorse_association::dimse::{self, Command};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, PresentationContextId, Proposal, ProposedContext};
use packhorse_dicom::part10::{BEGINNING_LEN, FileMeta, read_file_meta};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_ledger::Origin;
use serde::{Deserialize, Serialize};

use super::journal::Journal;
use super::record::{consent, decide, known};
use super::take::{Data, Offered, take};
use crate::shared::Shared;

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileResult {
    /// In custody.
    pub(crate) sent: bool,
    /// Status, hexadecimal; empty when it did not come so far.
    pub(crate) status: String,
    /// Why not.
    pub(crate) why: String,
}

impl FileResult {
    fn refused(status: &str, why: impl Into<String>) -> Self {
        Self {
            sent: false,
            status: status.to_owned(),
            why: why.into(),
        }
    }
}

/// Sends files to one route.
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    to: AeTitle,
}

/// A file's bytes as they come.
pub(crate) trait FileBytes: Send {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = std::io::Result<Option<Bytes>>> + Send;
}

impl Sender {
    pub(crate) const fn new(shared: Arc<Shared>, to: AeTitle) -> Self {
        Self { shared, to }
    }

    /// Sends one file.
    ///
    /// # Errors
    /// When its bytes end before the file does; nothing is kept then.
    pub(crate) async fn send(&self, mut file: impl FileBytes) -> std::io::Result<FileResult> {
        let mut beginning = Vec::new();
        while beginning.len() < BEGINNING_LEN
            && let Some(bytes) = file.next().await?
        {
            beginning.extend_from_slice(&bytes);
        }
        let result = match read_file_meta(&beginning) {
            Ok(meta) => self.send_data_set(meta, Bytes::from(beginning), &mut file).await?,
            Err(error) => FileResult::refused("", error.to_string()),
        };
        while file.next().await?.is_some() {}
        Ok(result)
    }

    async fn send_data_set(
        &self,
        meta: FileMeta,
        mut beginning: Bytes,
        file: &mut impl FileBytes,
    ) -> std::io::Result<FileResult> {
        let offset = usize::try_from(meta.data_set_offset)
            .unwrap_or(usize::MAX)
            .min(beginning.len());
        let data_set = beginning.split_off(offset);
        let mut scan = meta.header_scan();
        scan.push(&data_set);
        // The data set's own class and instance, for file meta of real files may name others.
        let meta = meta.corrected_by_data_set(&scan.finish());
        let (Some(class), Some(instance)) = (&meta.sop_class_uid, &meta.sop_instance_uid) else {
            return Ok(FileResult::refused(
                "",
                "it has no usable SOP Class UID or SOP Instance UID",
            ));
        };
        let proposal = self.proposal(AbstractSyntaxUid::from(class), meta.transfer_syntax.clone());
        if let Err(refused) = consent(&self.shared, &proposal) {
            return Ok(FileResult::refused("", refused.why));
        }
        let known = known(&self.shared, &proposal);
        let (_, contexts) = decide(&self.shared, &proposal, &known);
        if let Some(context) = contexts.first()
            && let ContextAnswer::Rejected(result) = &context.answer
        {
            let class = packhorse_dicom::sop_class::name_of(class.as_str());
            let rule = known.decided_by(context, &[meta.transfer_syntax]);
            return Ok(FileResult::refused(
                "",
                format!("{class} is refused at negotiation by {rule}: {result}"),
            ));
        }
        let uid = |uid: &str| {
            let mut bytes = uid.as_bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            Bytes::from(bytes)
        };
        let command = CStoreRq {
            message_id: 1,
            affected_sop_class_uid: uid(class.as_str()),
            affected_sop_instance_uid: uid(instance.as_str()),
            priority: 0,
            move_originator: None,
        };
        let command_set = command.to_bytes();
        debug_assert!(
            matches!(dimse::decode(command_set.clone()), Ok(Command::CStoreRq(_))),
            "ours can be read"
        );
        let offered = Offered {
            origin: Origin::Send,
            source: "send".to_owned(),
            proposal: &proposal,
            context_class: AbstractSyntaxUid::from(class),
            transfer_syntax: meta.transfer_syntax,
            command,
            command_set,
            told: Arc::default(),
        };
        let taken = take(
            &self.shared,
            offered,
            &mut Journal::default(),
            &mut Rest {
                first: Some(data_set),
                file,
            },
        )
        .await?;
        let sent = taken.status == packhorse_dicom::status::Status::SUCCESS;
        Ok(FileResult {
            sent,
            status: taken.status.to_string(),
            why: taken.comment.unwrap_or_default(),
        })
    }

    fn proposal(&self, class: AbstractSyntaxUid, syntax: TransferSyntaxUid) -> Proposal {
        let listener = self
            .shared
            .config
            .engine
            .routes()
            .iter()
            .find(|route| route.called_ae_title == self.to);
        let id = PresentationContextId::nth(0).expect("the first of 128");
        Proposal::of_contexts(
            (
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                &listener.and_then(|route| route.listener.clone()).unwrap_or_default(),
            ),
            self.shared.config.send_ae_title.clone(),
            self.to.clone(),
            vec![ProposedContext {
                id,
                abstract_syntax: class,
                transfer_syntaxes: vec![syntax],
            }],
        )
    }
}

/// What is left of a file behind its beginning.
struct Rest<'a, F> {
    first: Option<Bytes>,
    file: &'a mut F,
}

impl<F: FileBytes> Data for Rest<'_, F> {
    type Error = std::io::Error;

    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.file.next().await,
        }
    }
}
