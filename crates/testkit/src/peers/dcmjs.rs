//! dcmjs-dimse.

use std::path::Path;
use std::process::Command;

use super::find::node_modules;
use super::receiver::Script;
use super::{Peer, PeerError, SCRIPTS, find};

/// `peers/dcmjs_peer.js`: a client and a server as the project's own example has them.
#[derive(Clone, Copy, Debug)]
pub struct Dcmjs;

impl Script for Dcmjs {
    fn script(&self, role: &str, port: u16) -> Result<Command, PeerError> {
        let mut command = Command::new(find(Peer::Dcmjs).ok_or(PeerError::Missing(Peer::Dcmjs))?);
        command.envs(node_modules().map(|folder| ("NODE_PATH", folder)));
        command.arg(Path::new(SCRIPTS).join("dcmjs_peer.js"));
        command.args([role, &port.to_string()]);
        Ok(command)
    }
}
