//! The programs of dicom-rs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Peer, PeerError, Program, find};

/// `dicom-storescu` and `dicom-storescp`.
#[derive(Clone, Copy, Debug)]
pub struct DicomRs {
    /// Sends what is in the file (`--never-transcode`), takes every class (`--promiscuous`); else as by default.
    pub careful: bool,
}

impl Program for DicomRs {
    /// `dicom-storescu` has no C-ECHO of its own; there is `dicom-echoscu`, which is not used here.
    fn echo(&self, _port: u16) -> Result<Command, PeerError> {
        Err(PeerError::Missing(Peer::DicomRsStorescu))
    }

    fn send(&self, port: u16, files: &[PathBuf]) -> Result<Command, PeerError> {
        let mut command = Command::new(find(Peer::DicomRsStorescu).ok_or(PeerError::Missing(Peer::DicomRsStorescu))?);
        if self.careful {
            command.arg("--never-transcode");
        }
        command.arg(format!("127.0.0.1:{port}")).args(files);
        Ok(command)
    }

    fn receive(&self, port: u16, folder: &Path, max_pdu_length: Option<u32>) -> Result<Command, PeerError> {
        let mut command = Command::new(find(Peer::DicomRsStorescp).ok_or(PeerError::Missing(Peer::DicomRsStorescp))?);
        command.arg("-o").arg(folder).args(["-p", &port.to_string()]);
        if self.careful {
            command.arg("--promiscuous");
        }
        if let Some(length) = max_pdu_length {
            command.args(["-s", "-m", &length.to_string()]);
        }
        Ok(command)
    }
}
