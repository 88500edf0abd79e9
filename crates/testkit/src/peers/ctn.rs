//! The Central Test Node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Peer, PeerError, Program, find};
use crate::process::{Process, ProcessError, READY_WITHIN, poll};

/// `dicom_echo`, `send_image` and `simple_storage`.
#[derive(Clone, Copy, Debug)]
pub struct Ctn;

impl Ctn {
    fn program(name: &str) -> Result<Command, PeerError> {
        let beside = find(Peer::Ctn).ok_or(PeerError::Missing(Peer::Ctn))?;
        Ok(Command::new(beside.with_file_name(name)))
    }
}

impl Program for Ctn {
    fn echo(&self, port: u16) -> Result<Command, PeerError> {
        let mut command = Self::program("dicom_echo")?;
        command.args(["-a", "CTN", "-c", "OURS", "127.0.0.1", &port.to_string()]);
        Ok(command)
    }

    fn send(&self, port: u16, files: &[PathBuf]) -> Result<Command, PeerError> {
        let mut command = Self::program("send_image")?;
        command.args(["-a", "CTN", "-c", "OURS", "127.0.0.1", &port.to_string()]);
        command.args(files);
        Ok(command)
    }

    fn receive(&self, port: u16, folder: &Path, max_pdu_length: Option<u32>) -> Result<Command, PeerError> {
        let mut command = Self::program("simple_storage")?;
        // Any titles, a process for each association, no dump of what comes.
        command.args(["-f", "-i", "-s", "-c", "CTN", "-x"]).arg(folder);
        // What it has no folder for, it puts where it was started.
        command.current_dir(folder);
        if let Some(length) = max_pdu_length {
            command.args(["-m", &length.to_string()]);
        }
        command.arg(port.to_string());
        Ok(command)
    }

    /// A connection that asks for nothing ends `simple_storage`: it is asked for an echo.
    fn ready(&self, process: &mut Process, port: u16) -> Result<(), ProcessError> {
        let echoes = || {
            self.run_echo(port, READY_WITHIN)
                .is_ok_and(|finished| finished.status.success())
        };
        match poll(READY_WITHIN, || (!process.is_running() || echoes()).then_some(())) {
            Some(()) if process.is_running() => Ok(()),
            _ => process.listens(port, Duration::ZERO),
        }
    }
}
