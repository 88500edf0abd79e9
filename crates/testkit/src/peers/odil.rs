//! ODIL, through its Python wrappers.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Peer, PeerError, Program, SCRIPTS, find};

/// `peers/odil_peer.py`: an SCU and an SCP as ODIL's own programs and examples are.
#[derive(Clone, Copy, Debug)]
pub struct Odil;

impl Odil {
    fn script(role: &str, port: u16) -> Result<Command, PeerError> {
        let mut command = Command::new(find(Peer::Odil).ok_or(PeerError::Missing(Peer::Odil))?);
        command.args(["-u", "-B"]).arg(Path::new(SCRIPTS).join("odil_peer.py"));
        command.args([role, &port.to_string()]);
        Ok(command)
    }
}

impl Program for Odil {
    fn echo(&self, port: u16) -> Result<Command, PeerError> {
        Self::script("echo", port)
    }

    fn send(&self, port: u16, files: &[PathBuf]) -> Result<Command, PeerError> {
        let mut command = Self::script("send", port)?;
        command.args(files);
        Ok(command)
    }

    fn receive(&self, port: u16, folder: &Path, max_pdu_length: Option<u32>) -> Result<Command, PeerError> {
        let mut command = Self::script("receive", port)?;
        command
            .arg(folder)
            .args(max_pdu_length.map(|length| length.to_string()));
        Ok(command)
    }
}
