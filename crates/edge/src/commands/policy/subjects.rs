//! What is tried: files, or classes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use packhorse_daemon::ByteSize;
use packhorse_dicom::header::Header;
use packhorse_dicom::part10::{BEGINNING_LEN, read_file_meta};
use packhorse_dicom::sop_class::{self, Group};
use packhorse_dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use packhorse_dicom::uid::{SopClassUid, TransferSyntaxUid};
use packhorse_ledger::identity;
use packhorse_policy::config::transfer_syntax;
use packhorse_policy::{Attribute, ClassPattern, HeaderValues};

use crate::commands::CommandError;
use crate::commands::args::PolicyTest;
use crate::commands::send::gather;

/// Bytes read of a file at a time.
const CHUNK_LEN: usize = 128 << 10;

/// An instance, or a class of which none is at hand.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) file: Option<PathBuf>,
    pub(super) class: SopClassUid,
    pub(super) dataset_class: Option<SopClassUid>,
    pub(super) transfer_syntax: TransferSyntaxUid,
    /// `None`: not known.
    pub(super) header: Option<HeaderValues>,
    pub(super) length: Option<u64>,
}

/// The files of these paths, folders and those in them.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = Vec::new();
    for path in paths {
        let gathered = gather(path, &mut files);
        gathered.map_err(|error| CommandError::No(format!("{}: {error}", path.display())))?;
    }
    files.sort();
    Ok(files)
}

impl Subject {
    /// What a file holds, as it would be sent: in its own transfer syntax, under its data set's class.
    ///
    /// # Errors
    /// Why it is nothing to send.
    pub(super) fn of_file(path: &Path, wanted: &[Attribute]) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| error.to_string();
        let mut file = File::open(path).map_err(unreadable)?;
        let mut beginning = Vec::new();
        let limit = u64::try_from(BEGINNING_LEN).unwrap_or(u64::MAX);
        (&mut file)
            .take(limit)
            .read_to_end(&mut beginning)
            .map_err(unreadable)?;
        let meta = read_file_meta(&beginning).map_err(|error| error.to_string())?;
        let offset = usize::try_from(meta.data_set_offset).unwrap_or(usize::MAX);
        let mut scan = meta.header_scan();
        scan.push(beginning.get(offset..).unwrap_or_default());
        let mut chunk = vec![0; CHUNK_LEN];
        while !scan.is_done() {
            match file.read(&mut chunk).map_err(unreadable)? {
                0 => break,
                read => scan.push(chunk.get(..read).unwrap_or_default()),
            }
        }
        let header = scan.finish();
        let file_len = file.metadata().map_err(unreadable)?.len();
        let length = file_len.saturating_sub(meta.data_set_offset);
        let meta = meta.corrected_by_data_set(&header);
        let class = meta.sop_class_uid.ok_or("it has no usable SOP Class UID")?;
        Ok(Self {
            file: Some(path.into()),
            class,
            dataset_class: dataset_class(&header),
            transfer_syntax: meta.transfer_syntax,
            header: Some(values(&header, wanted)),
            length: Some(length),
        })
    }

    /// What `--class` and its companions name: each class in each transfer syntax.
    pub(super) fn of_words(asked: &PolicyTest) -> Result<Vec<Self>, CommandError> {
        let no = |error: String| CommandError::No(error);
        let mut classes = Vec::new();
        for word in &asked.class {
            classes.extend(classes_of(word).map_err(no)?);
        }
        let native = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(str::to_owned);
        let syntaxes = if asked.syntax.is_empty() {
            &native[..]
        } else {
            &asked.syntax
        };
        let syntaxes: Result<Vec<_>, _> = syntaxes.iter().map(|word| transfer_syntax(word)).collect();
        let syntaxes = syntaxes.map_err(no)?;
        let header = header_of(&asked.header).map_err(no)?;
        let size = asked.size.as_deref().map(ByteSize::parse).transpose();
        let length = size.map_err(no)?.map(|size| size.0);
        let pairs = classes
            .iter()
            .flat_map(|class| syntaxes.iter().map(move |syntax| (class, syntax)));
        let subject = |(class, syntax): (&SopClassUid, &TransferSyntaxUid)| Self {
            file: None,
            class: class.clone(),
            dataset_class: None,
            transfer_syntax: syntax.clone(),
            header: header.clone(),
            length,
        };
        Ok(pairs.map(subject).collect())
    }
}

fn dataset_class(header: &Header) -> Option<SopClassUid> {
    SopClassUid::try_from(header.sop_class_uid.as_deref()?).ok()
}

fn values(header: &Header, wanted: &[Attribute]) -> HeaderValues {
    HeaderValues::of(header, wanted, |attribute, value| {
        identity::text(header, value, attribute == Attribute::PatientName)
    })
}

/// A class by UID or keyword, or all of a group.
fn classes_of(word: &str) -> Result<Vec<SopClassUid>, String> {
    let known = |wanted: &dyn Fn(&sop_class::SopClass) -> bool| -> Vec<SopClassUid> {
        let some = sop_class::storage().iter().filter(|class| wanted(class));
        some.filter_map(|class| class.uid.parse().ok()).collect()
    };
    match word.parse()? {
        ClassPattern::Group(group @ (Group::Private | Group::New | Group::Service)) => {
            Err(format!("\"{group}\" has no end: name one of its classes by UID"))
        }
        ClassPattern::Group(group) => Ok(known(&|class| class.group == group)),
        ClassPattern::Retired => Ok(known(&|class| class.retired)),
        ClassPattern::Uid(uid) => uid
            .parse()
            .map(|uid| vec![uid])
            .map_err(|error| format!("{word:?}: {error}")),
    }
}

/// `Keyword=value`, each; `None` when there is none.
fn header_of(given: &[String]) -> Result<Option<HeaderValues>, String> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut values = HeaderValues::default();
    for text in given {
        let (keyword, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?}: write it like PatientName=TEST^1"))?;
        let attribute = Attribute::by_keyword(keyword).ok_or_else(|| {
            let known: Vec<_> = Attribute::KEYWORDS.iter().map(|(_, keyword)| *keyword).collect();
            format!("rules cannot ask for {keyword:?}; they can for {}", known.join(", "))
        })?;
        values.insert(attribute, value);
    }
    Ok(Some(values))
}
