//! Command sets (PS3.7 §6.3, Annex E): Implicit VR Little Endian, at most 64 KiB.
//!
//! Strict in what is written, tolerant in what is read: elements in any order, group length ignored, unknown elements
//! skipped. UIDs are kept byte for byte, since an answer repeats them as they came.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fmt;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use packhorse_dicom::negotiation::PresentationContextId;
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{InvalidUid, SopClassUid, SopInstanceUid};

use crate::codec::Violation;
use crate::pdv::Pdv;

/// Longest command set that is taken. Real ones have about 200 bytes.
pub const COMMAND_LEN_MAX: usize = 64 * 1024;
/// Longest Error Comment (0000,0902), VR LO.
pub const ERROR_COMMENT_LEN_MAX: usize = 64;

/// Command Field values (PS3.7 Table E.1-1).
const C_STORE_RQ: u16 = 0x0001;
const C_STORE_RSP: u16 = 0x8001;
const C_ECHO_RQ: u16 = 0x0030;
const C_ECHO_RSP: u16 = 0x8030;
const C_CANCEL_RQ: u16 = 0x0FFF;
/// Command Data Set Type: no data set follows.
const NO_DATA_SET: u16 = 0x0101;
/// Any other value says that a data set follows; this is what most write.
const DATA_SET: u16 = 0x0001;

/// C-ECHO-RQ (PS3.7 §9.3.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CEchoRq {
    /// Message ID (0000,0110).
    pub message_id: u16,
}

/// C-STORE-RQ (PS3.7 §9.3.1.1).
#[derive(Clone, PartialEq, Eq)]
pub struct CStoreRq {
    /// Message ID (0000,0110).
    pub message_id: u16,
    /// Affected SOP Class UID (0000,0002) as it came.
    pub affected_sop_class_uid: Bytes,
    /// Affected SOP Instance UID (0000,1000) as it came.
    pub affected_sop_instance_uid: Bytes,
    /// Priority (0000,0700): 0 medium, 1 high, 2 low. As it came.
    pub priority: u16,
    /// Move Originator AE title (0000,1030) and Message ID (0000,1031), as they came.
    pub move_originator: Option<(Bytes, u16)>,
}

/// UIDs are not shown: a log line names a delivery by our own id.
impl fmt::Debug for CStoreRq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CStoreRq")
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

impl CStoreRq {
    /// The class as a value.
    ///
    /// # Errors
    /// [`InvalidUid`] when it is none that can be carried.
    pub fn sop_class_uid(&self) -> Result<SopClassUid, InvalidUid> {
        SopClassUid::try_from(&*self.affected_sop_class_uid)
    }

    /// The instance as a value.
    ///
    /// # Errors
    /// [`InvalidUid`] when it is none that can be carried.
    pub fn sop_instance_uid(&self) -> Result<SopInstanceUid, InvalidUid> {
        SopInstanceUid::try_from(&*self.affected_sop_instance_uid)
    }

    /// The command set's bytes, with `message_id` of its own: a message id belongs to one association.
    #[must_use]
    pub fn to_bytes(&self, message_id: u16) -> Bytes {
        let mut elements = Elements::default();
        elements.uid(0x0002, &self.affected_sop_class_uid);
        elements.us(0x0100, C_STORE_RQ);
        elements.us(0x0110, message_id);
        elements.us(0x0700, self.priority);
        elements.us(0x0800, DATA_SET);
        elements.uid(0x1000, &self.affected_sop_instance_uid);
        if let Some((title, id)) = &self.move_originator {
            elements.text(0x1030, title);
            elements.us(0x1031, *id);
        }
        elements.finish()
    }
}

/// C-STORE-RSP (PS3.7 §9.3.1.2), or C-ECHO-RSP: what the SCP said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CStoreRsp {
    /// Message ID Being Responded To (0000,0120).
    pub message_id: u16,
    /// Status (0000,0900).
    pub status: Status,
    /// Error Comment (0000,0902), printable characters only.
    pub error_comment: Option<String>,
}

/// A command that has come whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// C-ECHO-RQ.
    EchoRq(CEchoRq),
    /// C-STORE-RQ; its data set follows.
    StoreRq(CStoreRq),
    /// C-ECHO-RSP or C-STORE-RSP.
    Response(CStoreRsp),
    /// C-CANCEL-RQ: nothing here can be cancelled, so it is passed over.
    Cancel,
    /// Another request: answered 0211H.
    Unknown {
        /// Command Field (0000,0100).
        field: u16,
        /// Message ID.
        message_id: u16,
        /// Affected or Requested SOP Class UID as it came.
        sop_class_uid: Bytes,
        /// Whether a data set follows.
        has_data_set: bool,
    },
}

impl Command {
    /// Whether a data set follows.
    #[must_use]
    pub const fn has_data_set(&self) -> bool {
        match self {
            Self::StoreRq(_) => true,
            Self::Unknown { has_data_set, .. } => *has_data_set,
            Self::EchoRq(_) | Self::Response(_) | Self::Cancel => false,
        }
    }
}

/// Reads a whole command set.
///
/// # Errors
/// [`Violation`] when elements are cut short, or what its kind of command cannot do without is missing.
pub fn decode(mut bytes: Bytes) -> Result<Command, Violation> {
    let mut read = Read::default();
    while !bytes.is_empty() {
        read.element(&mut bytes)?;
    }
    read.command()
}

#[derive(Default)]
struct Read {
    field: Option<u16>,
    message_id: Option<u16>,
    responded_to: Option<u16>,
    status: Option<u16>,
    priority: Option<u16>,
    data_set_type: Option<u16>,
    sop_class_uid: Option<Bytes>,
    sop_instance_uid: Option<Bytes>,
    originator: Option<Bytes>,
    originator_id: Option<u16>,
    error_comment: Option<Bytes>,
}

impl Read {
    fn element(&mut self, bytes: &mut Bytes) -> Result<(), Violation> {
        const CUT: Violation = Violation::Truncated("a command element");
        if bytes.len() < 8 {
            return Err(CUT);
        }
        let (group, element) = (bytes.get_u16_le(), bytes.get_u16_le());
        let length = usize::try_from(bytes.get_u32_le()).unwrap_or(usize::MAX);
        if length > bytes.len() {
            return Err(CUT);
        }
        let value = bytes.split_to(length);
        if group != 0 {
            return Err(Violation::Message("a command set has an element outside group 0000"));
        }
        let us = || value.first_chunk().copied().map(u16::from_le_bytes);
        match element {
            0x0002 | 0x0003 => self.sop_class_uid = Some(value),
            0x0100 => self.field = us(),
            0x0110 => self.message_id = us(),
            0x0120 => self.responded_to = us(),
            0x0700 => self.priority = us(),
            0x0800 => self.data_set_type = us(),
            0x0900 => self.status = us(),
            0x0902 => self.error_comment = Some(value),
            0x1000 | 0x1001 => self.sop_instance_uid = Some(value),
            0x1030 => self.originator = Some(value),
            0x1031 => self.originator_id = us(),
            _ => {}
        }
        Ok(())
    }

    fn command(self) -> Result<Command, Violation> {
        let field = self
            .field
            .ok_or(Violation::Message("a command set without Command Field (0000,0100)"))?;
        if field & 0x8000 != 0 {
            return self.response();
        }
        if field == C_CANCEL_RQ {
            return Ok(Command::Cancel);
        }
        let message_id = self
            .message_id
            .ok_or(Violation::Message("a request without Message ID (0000,0110)"))?;
        let has_data_set = self.data_set_type != Some(NO_DATA_SET);
        match field {
            // Some forget the element where there is nothing to say.
            C_ECHO_RQ if !has_data_set || self.data_set_type.is_none() => Ok(Command::EchoRq(CEchoRq { message_id })),
            C_STORE_RQ if has_data_set => Ok(Command::StoreRq(CStoreRq {
                message_id,
                affected_sop_class_uid: self.sop_class_uid.unwrap_or_default(),
                affected_sop_instance_uid: self.sop_instance_uid.unwrap_or_default(),
                priority: self.priority.unwrap_or(0),
                move_originator: self.originator.map(|title| (title, self.originator_id.unwrap_or(0))),
            })),
            C_STORE_RQ => Err(Violation::Message("a C-STORE-RQ without a data set")),
            C_ECHO_RQ => Err(Violation::Message("a C-ECHO-RQ with a data set")),
            field => Ok(Command::Unknown {
                field,
                message_id,
                sop_class_uid: self.sop_class_uid.unwrap_or_default(),
                has_data_set,
            }),
        }
    }

    fn response(self) -> Result<Command, Violation> {
        let status = self
            .status
            .ok_or(Violation::Message("a response without Status (0000,0900)"))?;
        let message_id = self.responded_to.ok_or(Violation::Message(
            "a response without Message ID Being Responded To (0000,0120)",
        ))?;
        let error_comment = self
            .error_comment
            .as_deref()
            .map(printable)
            .filter(|comment| !comment.is_empty());
        Ok(Command::Response(CStoreRsp {
            message_id,
            status: Status(status),
            error_comment,
        }))
    }
}

/// What may be shown of a peer's text: printable ASCII, at most 64 characters.
fn printable(text: &[u8]) -> String {
    let shown = text.iter().take(ERROR_COMMENT_LEN_MAX);
    let shown: String = shown
        .map(|byte| {
            if matches!(byte, b' '..=b'~') {
                char::from(*byte)
            } else {
                ' '
            }
        })
        .collect();
    shown.trim().to_owned()
}

/// C-ECHO-RQ.
#[must_use]
pub fn echo_rq(message_id: u16) -> Bytes {
    let mut elements = Elements::default();
    elements.uid(0x0002, VERIFICATION.as_bytes());
    elements.us(0x0100, C_ECHO_RQ);
    elements.us(0x0110, message_id);
    elements.us(0x0800, NO_DATA_SET);
    elements.finish()
}

/// C-ECHO-RSP, with the Affected SOP Class UID that some SCUs (Odil) want in it.
#[must_use]
pub fn echo_rsp(message_id: u16, status: Status, comment: Option<&str>) -> Bytes {
    response(C_ECHO_RSP, message_id, VERIFICATION.as_bytes(), None, status, comment)
}

/// C-STORE-RSP; repeats the request's UIDs as they came.
#[must_use]
pub fn store_rsp(request: &CStoreRq, status: Status, comment: Option<&str>) -> Bytes {
    let instance = Some(&*request.affected_sop_instance_uid);
    response(
        C_STORE_RSP,
        request.message_id,
        &request.affected_sop_class_uid,
        instance,
        status,
        comment,
    )
}

/// The answer to a request that this crate has no service for: 0211H, unrecognized operation.
#[must_use]
pub fn unrecognized_rsp(field: u16, message_id: u16, sop_class_uid: &[u8]) -> Bytes {
    response(
        field | 0x8000,
        message_id,
        sop_class_uid,
        None,
        Status::UNRECOGNIZED_OPERATION,
        None,
    )
}

fn response(
    field: u16,
    id: u16,
    class: &[u8],
    instance: Option<&[u8]>,
    status: Status,
    comment: Option<&str>,
) -> Bytes {
    let mut elements = Elements::default();
    elements.uid(0x0002, class);
    elements.us(0x0100, field);
    elements.us(0x0120, id);
    elements.us(0x0800, NO_DATA_SET);
    elements.us(0x0900, status.0);
    if let Some(comment) = comment {
        elements.text(0x0902, comment_text(comment).as_bytes());
    }
    if let Some(instance) = instance {
        elements.uid(0x1000, instance);
    }
    elements.finish()
}

/// An Error Comment as VR LO has it: printable ASCII, one value (a `\\` would begin a second), at most 64 characters.
fn comment_text(comment: &str) -> String {
    let shown = comment.chars().filter(|c| matches!(c, ' '..='~'));
    let shown = shown.map(|c| if c == '\\' { '/' } else { c });
    shown.take(ERROR_COMMENT_LEN_MAX).collect()
}

/// Writes command elements in the order they are given, which is by tag.
#[derive(Default)]
struct Elements(BytesMut);

impl Elements {
    fn element(&mut self, element: u16, value: &[u8], pad: u8) {
        let odd = value.len() % 2 == 1;
        let length = value.len().saturating_add(usize::from(odd));
        self.0.put_u16_le(0);
        self.0.put_u16_le(element);
        self.0.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        self.0.put_slice(value);
        if odd {
            self.0.put_u8(pad);
        }
    }

    fn uid(&mut self, element: u16, value: &[u8]) {
        self.element(element, value, 0);
    }

    fn text(&mut self, element: u16, value: &[u8]) {
        self.element(element, value, b' ');
    }

    fn us(&mut self, element: u16, value: u16) {
        self.element(element, &value.to_le_bytes(), 0);
    }

    /// The command set behind its group length (0000,0000).
    fn finish(self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.0.len().saturating_add(12));
        whole.put_slice(&[0, 0, 0, 0, 4, 0, 0, 0]);
        whole.put_u32_le(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        whole.put_slice(&self.0);
        whole.freeze()
    }
}

/// What PDVs make, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Puts commands together from PDVs, and keeps command and data apart.
#[derive(Debug, Default)]
pub struct Assembler {
    command: BytesMut,
    /// The context of a command that is being read, or whose data set is.
    context: Option<PresentationContextId>,
    awaits_data: bool,
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
