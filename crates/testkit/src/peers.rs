//! Real DICOM peers, as the tests meet them: DCMTK, a byte-exact pair on pynetdicom, Orthanc; and of dicom-rs, ODIL,
//! dcmjs-dimse and CTN what a matrix of interoperability needs.
//!
//! A peer that is not installed skips its test, and says so on standard error; under `REQUIRE_PEERS=1` it fails it:
//!
//! ```no_run
//! use packhorse_testkit::peers::{Peer, Xscp, XscpOptions, require};
//!
//! # fn a_test() -> Result<(), packhorse_testkit::peers::PeerError> {
//! let Some(_) = require(Peer::Pynetdicom) else { return Ok(()) };
//! let target = Xscp::start(XscpOptions::default())?;
//! // ... send two instances to 127.0.0.1:target.port() ...
//! let log = target.wait_for(2, std::time::Duration::from_secs(30))?;
//! assert!(log.iter().all(|line| line.status == "0000"));
//! # Ok(())
//! # }
//! ```
//!
//! Which of them re-encode: `storescu -R` and `dcmsend` re-encode many data sets before they send, and most SCPs before
//! they store. Only [`Xscu`], [`Xscp`] and [`Storescp`] (started with `+B`) show that nothing was changed in between.
//! All calls block; every wait has an end.

mod ctn;
mod dcmjs;
mod dcmtk;
mod dicom_rs;
mod find;
mod http;
mod log;
mod odil;
mod orthanc;
mod pynetdicom;
mod receiver;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packhorse_dicom::part10;
use sha2::{Digest as _, Sha256};

use crate::process::ProcessError;

pub use ctn::Ctn;
pub use dcmjs::Dcmjs;
pub use dcmtk::{Scu, Storescp, StorescpOptions, dcmsend, echoscu, storescu, storescu_proposing_all};
pub use dicom_rs::DicomRs;
pub use find::{Peer, find, require};
pub use http::HttpError;
pub use log::LogLine;
pub use odil::Odil;
pub use orthanc::{Modality, Orthanc, OrthancOptions};
pub use pynetdicom::{PeerTls, Propose, PynetdicomApps, Xscp, XscpOptions, Xscu, XscuReport};
pub use receiver::{Program, Receiver};

/// What can go wrong with a peer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It is not installed.
    #[error("{0} is not installed")]
    Missing(Peer),
    /// Its process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its folder, its log or a port.
    #[error("cannot use {what}")]
    Io {
        /// What was read or written.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line of the log is not as `xscp.py` writes it.
    #[error("cannot read this line of the log: {0}")]
    Log(String),
    /// Fewer instances came than were waited for.
    #[error("{came} instances came instead of {wanted}")]
    TooFew {
        /// Lines in the log.
        came: usize,
        /// Lines waited for.
        wanted: usize,
    },
    /// Its REST interface.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// SHA-256 of a file's data set, in lower-case hexadecimal digits, as [`LogLine::sha256`] has it.
///
/// # Errors
/// When the file cannot be read, or is no DICOM file.
pub fn dataset_sha256(file: &Path) -> Result<String, PeerError> {
    let bytes = fs::read(file).map_err(|source| io_error(file, source))?;
    let meta = part10::read_file_meta(&bytes)
        .map_err(|error| io_error(file, io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let offset = usize::try_from(meta.data_set_offset).unwrap_or(usize::MAX);
    let dataset = bytes.get(offset..).unwrap_or_default();
    Ok(sha256(dataset))
}

/// SHA-256 of a data set, in lower-case hexadecimal digits.
#[must_use]
pub fn sha256(dataset: &[u8]) -> String {
    format!("{:x}", Sha256::digest(dataset))
}

/// Files directly in a folder, sorted.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, PeerError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let entries = folder.read_dir()?;
        entries.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut files = read().map_err(|source| io_error(folder, source))?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn io_error(what: &Path, source: io::Error) -> PeerError {
    PeerError::Io {
        what: what.display().to_string(),
        source,
    }
}

/// A folder that is given, or a new one that goes with its owner.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn new(given: Option<PathBuf>) -> Result<Self, PeerError> {
        if let Some(path) = given {
            fs::create_dir_all(&path).map_err(|source| io_error(&path, source))?;
            return Ok(Self { path, _temporary: None });
        }
        let temporary = tempfile::tempdir().map_err(|source| io_error(Path::new("a temporary folder"), source))?;
        Ok(Self {
            path: temporary.path().to_path_buf(),
            _temporary: Some(temporary),
        })
    }
}

/// The scripts lie beside the sources, so that they can be run by hand too.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// How often a listener is started again when somebody took its free port first.
const PORTS_TRIED_MAX: usize = 5;

/// Starts a listener on the given port, or on a free one: on another when that was taken in between.
fn start_on_port<T>(given: Option<u16>, start: impl Fn(u16) -> Result<T, PeerError>) -> Result<T, PeerError> {
    if let Some(port) = given {
        return start(port);
    }
    let mut tried = 1;
    loop {
        let port = crate::process::free_port().map_err(|source| io_error(Path::new("a free port"), source))?;
        match start(port) {
            Err(PeerError::Process(ProcessError::Ended { .. })) if tried < PORTS_TRIED_MAX => tried += 1,
            settled => return settled,
        }
    }
}
