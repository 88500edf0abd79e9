//! Messages from PDVs (PS3.8 Annex E).

use std::fmt;

use bytes::{Bytes, BytesMut};
use packhorse_dicom::negotiation::PresentationContextId;

use super::{Command, decode};
use crate::codec::Violation;
use crate::pdv::{Hidden, Pdv};

/// Longest command set that is taken. Real ones have about 200 bytes.
pub const COMMAND_LEN_MAX: usize = 64 * 1024;

/// What PDVs make, in order. `Debug` shows no bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// A command has come whole.
    Command {
        /// The context it came on.
        context: PresentationContextId,
        /// The command.
        command: Command,
        /// Its bytes as they came.
        bytes: Bytes,
    },
    /// A fragment of the current command's data set.
    Data {
        /// The fragment.
        bytes: Bytes,
        /// The data set is whole now.
        is_last: bool,
    },
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { context, command, .. } => f
                .debug_struct("Command")
                .field("context", context)
                .field("command", command)
                .finish_non_exhaustive(),
            Self::Data { bytes, is_last } => f
                .debug_struct("Data")
                .field("bytes", &Hidden(bytes.len()))
                .field("is_last", is_last)
                .finish(),
        }
    }
}

/// Puts commands together from PDVs, and keeps command and data apart. `Debug` shows no bytes.
#[derive(Default)]
pub struct Assembler {
    command: BytesMut,
    /// The context of a command that is being read, or whose data set is.
    context: Option<PresentationContextId>,
    awaits_data: bool,
}

impl fmt::Debug for Assembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembler")
            .field("command", &Hidden(self.command.len()))
            .field("context", &self.context)
            .field("awaits_data", &self.awaits_data)
            .finish()
    }
}

impl Assembler {
    /// Takes the next PDV; `None` when it completes nothing.
    ///
    /// # Errors
    /// [`Violation`] when command and data are mixed up, a context changes within a message, or a command is too long.
    pub fn push(&mut self, pdv: Pdv) -> Result<Option<Piece>, Violation> {
        if self.context.is_some_and(|context| context != pdv.context) {
            return Err(Violation::Message("the presentation context changes within a message"));
        }
        match (pdv.is_command, self.awaits_data) {
            (true, true) => Err(Violation::Message(
                "a command fragment comes before the data set's last fragment",
            )),
            (false, false) => Err(Violation::Message("a data fragment comes without a command")),
            (false, true) => {
                if pdv.is_last {
                    self.awaits_data = false;
                    self.context = None;
                }
                Ok(Some(Piece::Data {
                    bytes: pdv.data,
                    is_last: pdv.is_last,
                }))
            }
            (true, false) => self.push_command(pdv),
        }
    }

    fn push_command(&mut self, pdv: Pdv) -> Result<Option<Piece>, Violation> {
        if self.command.len().saturating_add(pdv.data.len()) > COMMAND_LEN_MAX {
            return Err(Violation::Message("a command set has more than 64 KiB"));
        }
        self.command.extend_from_slice(&pdv.data);
        self.context = Some(pdv.context);
        if !pdv.is_last {
            return Ok(None);
        }
        let bytes = self.command.split().freeze();
        let command = decode(bytes.clone())?;
        self.awaits_data = command.has_data_set();
        if !self.awaits_data {
            self.context = None;
        }
        Ok(Some(Piece::Command {
            context: pdv.context,
            command,
            bytes,
        }))
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests may panic")]
mod tests;
