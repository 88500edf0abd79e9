//! What is sent: the real corpus where it lies, else instances made from a seed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use packhorse_dicom::part10::{BEGINNING_LEN, read_file_meta};
use packhorse_testkit::corpus;
use packhorse_testkit::instances::{ImageSize, Study};
use packhorse_testkit::peers::{LogLine, sha256};
use packhorse_testkit::raw_scu::{Pair, RawScu, RawScuError};
use tempfile::TempDir;

use crate::support::ROUTE;

/// Raw Data Storage.
pub(crate) const RAW_DATA: &str = "1.2.840.10008.5.1.4.1.1.66";

/// One instance, as its file has it.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) uid: String,
    pub(crate) syntax: String,
    pub(crate) data: Vec<u8>,
    pub(crate) sha256: String,
}

impl Instance {
    /// Reads a file; `None` when it is none that could be sent.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).unwrap();
        let meta = read_file_meta(&bytes[..bytes.len().min(BEGINNING_LEN)]).ok()?;
        let data = bytes[usize::try_from(meta.data_set_offset).unwrap()..].to_vec();
        let mut scan = meta.header_scan();
        scan.push(&data);
        let meta = meta.corrected_by_data_set(&scan.finish());
        Some(Self {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            class: meta.sop_class_uid?.to_string(),
            uid: meta.sop_instance_uid?.to_string(),
            syntax: meta.transfer_syntax.to_string(),
            sha256: sha256(&data),
            data,
        })
    }

    pub(crate) fn pair(&self) -> Pair {
        (self.class.clone(), self.syntax.clone())
    }
}

/// All instances below a folder.
pub(crate) fn read_all(folder: &Path) -> Vec<Instance> {
    let files = corpus::files(folder).unwrap();
    files.iter().filter_map(|file| Instance::read(file)).collect()
}

/// 140 slices of one CT series: the corpus's, of half a megabyte each, or made ones.
pub(crate) fn ct_series() -> Vec<Instance> {
    if let Some(corpus) = corpus::find() {
        return read_all(&corpus.join("series-ct-philips"));
    }
    made_series(140, 256)
}

/// Slices of one made study.
pub(crate) fn made_series(count: u32, side: u16) -> Vec<Instance> {
    let folder = tempfile::tempdir().unwrap();
    let study = Study::new(&format!("series of {count}, {side}"));
    for number in 1..=count {
        let slice = study.ct_slice(1, number, ImageSize::square(side));
        fs::write(folder.path().join(format!("{number:04}.dcm")), slice.to_part10()).unwrap();
    }
    read_all(folder.path())
}

/// A folder with one study: `images` CT slices, one Raw Data object and one dose report.
pub(crate) fn mixed_folder(images: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let study = Study::new("a mixed study").declaring(images + 2);
    let mut made: Vec<_> = (1..=images)
        .map(|number| study.ct_slice(1, number, ImageSize::square(64)))
        .collect();
    made.insert(1, study.raw_data(2, 1, 5_000));
    made.push(study.dose_sr(3, 1));
    for (number, instance) in made.iter().enumerate() {
        fs::write(folder.path().join(format!("{number:04}.dcm")), instance.to_part10()).unwrap();
    }
    folder
}

/// Sends those instances whose answer is not 0000 yet, on one association, until the first that has no answer. Adds what
/// was answered 0000.
pub(crate) fn send_rest(
    to: SocketAddr,
    calling: &str,
    instances: &[Instance],
    answered: &mut Vec<String>,
) -> Result<(), RawScuError> {
    let mut pairs: Vec<Pair> = instances.iter().map(Instance::pair).collect();
    pairs.sort();
    pairs.dedup();
    let mut scu = RawScu::associate(to, ROUTE, calling, &pairs)?;
    for instance in instances {
        if answered.contains(&instance.uid) {
            continue;
        }
        let context = scu.accepted(&instance.pair()).unwrap();
        let answer = scu.store(
            context,
            instance.class.as_bytes(),
            instance.uid.as_bytes(),
            &instance.data,
        )?;
        assert_eq!(answer.status, 0, "{}: {}", instance.name, answer.comment);
        answered.push(instance.uid.clone());
    }
    scu.release()
}

/// What must be true at the target: each instance is there with its own bytes, and none with others.
pub(crate) fn assert_arrived(instances: &[Instance], log: &[LogLine]) {
    for instance in instances {
        let mut lines = log
            .iter()
            .filter(|line| line.sop_instance_uid == instance.uid)
            .peekable();
        assert!(lines.peek().is_some(), "{} did not arrive", instance.name);
        for line in lines {
            assert_eq!(line.sha256, instance.sha256, "{} was changed", instance.name);
            assert_eq!(line.sop_class_uid, instance.class, "{}", instance.name);
            assert_eq!(line.transfer_syntax, instance.syntax, "{}", instance.name);
        }
    }
}

/// Instances that stand more than once in the target's log.
pub(crate) fn doubles(log: &[LogLine]) -> usize {
    let mut uids: Vec<_> = log.iter().map(|line| &line.sop_instance_uid).collect();
    let all = uids.len();
    uids.sort();
    uids.dedup();
    all - uids.len()
}
