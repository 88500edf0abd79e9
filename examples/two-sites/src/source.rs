//! The source PACS: a storage SCU that goes on after a refusal.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use packhorse_association::{CStoreRq, NegotiatedContext, RequestedAssociation, RequestorConfig};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, ContextResult, PresentationContextId, ProposedContext};
use packhorse_dicom::part10::{BEGINNING_LEN, read_file_meta};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_dicom::{sop_class, transfer_syntax};
use packhorse_testkit::instances;
use sha2::{Digest as _, Sha256};

/// Contexts of one association.
const CONTEXTS_MAX: usize = 128;

/// One object to send.
#[derive(Debug)]
pub(crate) struct Object {
    name: String,
    class: SopClassUid,
    instance: SopInstanceUid,
    syntax: TransferSyntaxUid,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Memory(Bytes),
    File { path: PathBuf, offset: usize },
}

impl Object {
    fn bytes(&self) -> anyhow::Result<Bytes> {
        match &self.data {
            Data::Memory(bytes) => Ok(bytes.clone()),
            Data::File { path, offset } => Ok(Bytes::from(std::fs::read(path)?).slice(*offset..)),
        }
    }

    fn pair(&self) -> (SopClassUid, TransferSyntaxUid) {
        (self.class.clone(), self.syntax.clone())
    }
}

/// Two CT images, one Raw Data instance and one dose report that declare 4.
pub(crate) fn made_study() -> anyhow::Result<Vec<Object>> {
    let object = |(made, number): (instances::Instance, u32)| {
        Ok(Object {
            name: format!("object {number}"),
            class: SopClassUid::try_from(made.sop_class_uid.as_str())?,
            instance: SopInstanceUid::try_from(made.sop_instance_uid.as_str())?,
            syntax: TransferSyntaxUid::try_from(made.transfer_syntax.as_str())?,
            data: Data::Memory(Bytes::from(made.dataset)),
        })
    };
    instances::demo_study().into_iter().zip(1..).map(object).collect()
}

/// All DICOM files of a folder.
pub(crate) fn from_folder(folder: &Path) -> anyhow::Result<Vec<Object>> {
    let mut paths = Vec::new();
    gather(folder, &mut paths).with_context(|| format!("{} cannot be read", folder.display()))?;
    paths.sort();
    let mut objects = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path)?;
        let beginning = bytes.get(..BEGINNING_LEN.min(bytes.len())).unwrap_or_default();
        let Ok(meta) = read_file_meta(beginning) else { continue };
        let offset = usize::try_from(meta.data_set_offset)?;
        let mut scan = meta.header_scan();
        scan.push(bytes.get(offset..).unwrap_or_default());
        let meta = meta.corrected_by_data_set(&scan.finish());
        if let (Some(class), Some(instance)) = (meta.sop_class_uid, meta.sop_instance_uid) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let data = Data::File { path, offset };
            objects.push(Object {
                name,
                class,
                instance,
                syntax: meta.transfer_syntax,
                data,
            });
        }
    }
    anyhow::ensure!(!objects.is_empty(), "{} has no DICOM files", folder.display());
    Ok(objects)
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        gather(&entry?.path(), files)?;
    }
    Ok(())
}

/// What became of one object at the edge.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Its presentation context was refused.
    RefusedContext(ContextResult),
    /// It was offered and answered.
    Answered(Status, Option<String>),
}

/// One object that was sent, or not.
#[derive(Debug)]
pub(crate) struct SentObject {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) instance: String,
    pub(crate) sha256: [u8; 32],
    pub(crate) fate: Fate,
}

impl SentObject {
    /// Whether it was answered Success.
    pub(crate) const fn is_accepted(&self) -> bool {
        matches!(self.fate, Fate::Answered(Status::SUCCESS, _))
    }
}

/// A presentation context that was proposed, in words.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) class: String,
    pub(crate) syntax: String,
    pub(crate) answer: String,
}

/// The whole sending.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) proposed: Vec<Proposed>,
    pub(crate) objects: Vec<SentObject>,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

impl Sent {
    /// What was answered Success.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &SentObject> {
        self.objects.iter().filter(|object| object.is_accepted())
    }
}

/// Sends the objects by C-STORE to the edge at `port`, as the AE `PACS_A` to `ST_MARY`.
pub(crate) async fn send(objects: &[Object], port: u16, with_bar: bool) -> anyhow::Result<Sent> {
    let begun = tokio::time::Instant::now();
    let length = u64::try_from(objects.len())?;
    let bar = if with_bar {
        ProgressBar::new(length)
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} instances, {per_sec}",
    )?);
    let mut sent = Sent::default();
    let mut rest = objects;
    while !rest.is_empty() {
        let mut pairs = BTreeSet::new();
        let fits = |object: &&Object| {
            pairs.insert(object.pair());
            pairs.len() <= CONTEXTS_MAX
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count());
        send_association(now, port, &mut sent, &bar).await?;
        rest = later;
    }
    bar.finish_and_clear();
    sent.took = begun.elapsed();
    Ok(sent)
}

async fn send_association(objects: &[Object], port: u16, sent: &mut Sent, bar: &ProgressBar) -> anyhow::Result<()> {
    let pairs: BTreeSet<_> = objects.iter().map(Object::pair).collect();
    let contexts = pairs.into_iter().enumerate().filter_map(|(index, (class, syntax))| {
        let id = PresentationContextId::nth(index)?;
        Some(ProposedContext {
            id,
            abstract_syntax: AbstractSyntaxUid::from(&class),
            transfer_syntaxes: vec![syntax],
        })
    });
    let config = RequestorConfig::new(AeTitle::try_from("PACS_A")?, AeTitle::try_from("ST_MARY")?);
    let address = format!("127.0.0.1:{port}");
    let mut association = RequestedAssociation::request(&address, &config, contexts.collect()).await?;
    sent.proposed.extend(association.contexts().iter().map(proposed));
    for object in objects {
        let data = object.bytes()?;
        let sha256 = Sha256::digest(&data).into();
        let length = u64::try_from(data.len())?;
        let fate = store(&mut association, object, data).await?;
        if matches!(fate, Fate::Answered(..)) {
            sent.bytes += length;
        }
        sent.objects.push(SentObject {
            name: object.name.clone(),
            class: object.class.to_string(),
            instance: object.instance.to_string(),
            sha256,
            fate,
        });
        bar.inc(1);
    }
    association.release().await?;
    Ok(())
}

fn proposed(context: &NegotiatedContext) -> Proposed {
    let syntaxes = &context.proposed.transfer_syntaxes;
    Proposed {
        class: sop_class::name_of(context.proposed.abstract_syntax.as_str()).to_owned(),
        syntax: syntaxes
            .iter()
            .map(|syntax| transfer_syntax::name_of(syntax.as_str()))
            .collect::<Vec<_>>()
            .join(" or "),
        answer: match &context.answer {
            ContextAnswer::Accepted(_) => "accepted".to_owned(),
            ContextAnswer::Rejected(result) => format!("refused: {result}"),
        },
    }
}

async fn store(association: &mut RequestedAssociation, object: &Object, data: Bytes) -> anyhow::Result<Fate> {
    let class = AbstractSyntaxUid::from(&object.class);
    let Some(context) = association.accepted(&class, &object.syntax) else {
        let refused = association
            .contexts()
            .iter()
            .find(|context| context.proposed.abstract_syntax == class);
        return Ok(Fate::RefusedContext(match refused.map(|context| &context.answer) {
            Some(ContextAnswer::Rejected(result)) => *result,
            _ => ContextResult::NO_REASON,
        }));
    };
    let padded = |uid: &str| {
        let mut bytes = uid.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        Bytes::from(bytes)
    };
    let command = CStoreRq {
        message_id: 0,
        affected_sop_class_uid: padded(object.class.as_str()),
        affected_sop_instance_uid: padded(object.instance.as_str()),
        priority: 0,
        move_originator: None,
    };
    let response = association.store(context, &command, Some(data)).await?;
    Ok(Fate::Answered(response.status, response.error_comment))
}
