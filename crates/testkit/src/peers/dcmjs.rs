//! dcmjs-dimse.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::find::node_modules;
use super::{Peer, PeerError, Program, SCRIPTS, find};

/// `peers/dcmjs_peer.js`: a client and a server as the project's own example has them.
#[derive(Clone, Copy, Debug)]
pub struct Dcmjs;

impl Dcmjs {
    fn script(role: &str, port: u16) -> Result<Command, PeerError> {
        let mut command = Command::new(find(Peer::Dcmjs).ok_or(PeerError::Missing(Peer::Dcmjs))?);
        command.envs(node_modules().map(|folder| ("NODE_PATH", folder)));
        command.arg(Path::new(SCRIPTS).join("dcmjs_peer.js"));
        command.args([role, &port.to_string()]);
        Ok(command)
    }
}

impl Program for Dcmjs {
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
