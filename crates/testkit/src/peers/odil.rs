//! ODIL, through its Python wrappers.

use std::path::Path;
use std::process::Command;

use super::receiver::Script;
use super::{Peer, PeerError, SCRIPTS, find};

/// `peers/odil_peer.py`: an SCU and an SCP as ODIL's own programs and examples are.
#[derive(Clone, Copy, Debug)]
pub struct Odil;

impl Script for Odil {
    fn script(&self, role: &str, port: u16) -> Result<Command, PeerError> {
        let mut command = Command::new(find(Peer::Odil).ok_or(PeerError::Missing(Peer::Odil))?);
        command.args(["-u", "-B"]).arg(Path::new(SCRIPTS).join("odil_peer.py"));
        command.args([role, &port.to_string()]);
        Ok(command)
    }
}
