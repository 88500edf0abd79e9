//! The messages of PS3.7: the command sets of all C- and N- services (Annex E), and how they are put together from PDVs.
//!
//! Strict in what is written: every field of the standard's table, ascending tags, even lengths, NUL behind UIDs and a
//! space behind text, and on a failure always an Error Comment. Tolerant in what is read: elements in any order, group
//! length not believed, unknown elements skipped. UIDs are kept byte for byte, since an answer repeats them as they came.
//! What is absent: any reading of data sets, and any check of values against a service.
//!
//! ```
//! use packhorse_association::dimse::{CEchoRq, Command, decode};
//! use packhorse_dicom::status::Status;
//!
//! let request = decode(CEchoRq::new(7).to_bytes())?;
//! let answer = request.answer(Status(0x0110), Some("no way to the archive")).expect("a request has an answer");
//! assert!(answer.is_response_to(&request));
//! let Command::CEchoRsp(echo) = decode(answer.to_bytes())? else { panic!() };
//! assert_eq!(echo.error_comment.as_deref(), Some("no way to the archive"));
//! # Ok::<(), packhorse_association::Violation>(())
//! ```
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod assemble;
mod composite;
mod element;
mod message;
mod normalized;

use std::fmt;

use bytes::Bytes;
use packhorse_dicom::status::Status;

use crate::codec::Violation;
use element::{Elements, Value as _, Writer};
use message::comment_of;

pub use assemble::{Assembler, COMMAND_LEN_MAX, Piece};
pub use composite::{
    CCancelRq, CEchoRq, CEchoRsp, CFindRq, CFindRsp, CGetRq, CGetRsp, CMoveRq, CMoveRsp, CStoreRq, CStoreRsp,
};
pub use element::{AttributeTag, ERROR_COMMENT_LEN_MAX, MoveOriginator};
pub use normalized::{
    NActionRq, NActionRsp, NCreateRq, NCreateRsp, NDeleteRq, NDeleteRsp, NEventReportRq, NEventReportRsp, NGetRq,
    NGetRsp, NSetRq, NSetRsp,
};

/// Bit of the Command Field that tells a response from its request.
const RESPONSE: u16 = 0x8000;

macro_rules! commands {
    (requests: $($rq:ident -> $rsp:ident,)*) => {
        /// A command that has come whole.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Command {
            $(
                #[doc = concat!("[`", stringify!($rq), "`].")]
                $rq($rq),
                #[doc = concat!("[`", stringify!($rsp), "`].")]
                $rsp($rsp),
            )*
            /// [`CCancelRq`].
            CCancelRq(CCancelRq),
            /// With a Command Field that the standard does not have.
            Unknown(UnknownCommand),
        }

        impl Command {
            /// Command Field (0000,0100).
            #[must_use]
            pub const fn command_field(&self) -> u16 {
                match self {
                    $(
                        Self::$rq(_) => $rq::COMMAND_FIELD,
                        Self::$rsp(_) => $rsp::COMMAND_FIELD,
                    )*
                    Self::CCancelRq(_) => CCancelRq::COMMAND_FIELD,
                    Self::Unknown(unknown) => unknown.command_field,
                }
            }

            /// Message ID of a request; of a response and a C-CANCEL-RQ the Message ID Being Responded To.
            #[must_use]
            pub const fn message_id(&self) -> u16 {
                match self {
                    $(
                        Self::$rq(request) => request.message_id,
                        Self::$rsp(response) => response.message_id_being_responded_to,
                    )*
                    Self::CCancelRq(cancel) => cancel.message_id_being_responded_to,
                    Self::Unknown(unknown) => unknown.message_id,
                }
            }

            /// Status (0000,0900) of a response; `None` when it is a request.
            #[must_use]
            pub const fn status(&self) -> Option<Status> {
                match self {
                    $(
                        Self::$rq(_) => None,
                        Self::$rsp(response) => Some(response.status),
                    )*
                    Self::CCancelRq(_) => None,
                    Self::Unknown(unknown) => unknown.status,
                }
            }

            /// Whether a data set follows.
            #[must_use]
            pub const fn has_data_set(&self) -> bool {
                match self {
                    $(
                        Self::$rq(request) => request.has_data_set(),
                        Self::$rsp(response) => response.has_data_set(),
                    )*
                    Self::CCancelRq(_) => false,
                    Self::Unknown(unknown) => unknown.has_data_set,
                }
            }

            /// The command set's bytes.
            #[must_use]
            pub fn to_bytes(&self) -> Bytes {
                match self {
                    $(
                        Self::$rq(request) => request.to_bytes(),
                        Self::$rsp(response) => response.to_bytes(),
                    )*
                    Self::CCancelRq(cancel) => cancel.to_bytes(),
                    Self::Unknown(unknown) => unknown.to_bytes(),
                }
            }

            /// The answer with this status and no data set, of the request's kind, with its UIDs as they came; `None` to
            /// a response and to a C-CANCEL-RQ, which have none. `comment` is cut to 64 characters; a failure without
            /// one carries the status's meaning.
            #[must_use]
            pub fn answer(&self, status: Status, comment: Option<&str>) -> Option<Self> {
                match self {
                    $(
                        Self::$rq(request) => Some(Self::$rsp(request.answer(status, comment))),
                        Self::$rsp(_) => None,
                    )*
                    Self::CCancelRq(_) => None,
                    Self::Unknown(unknown) => unknown.answer(status, comment).map(Self::Unknown),
                }
            }
        }

        $(
            impl From<$rq> for Command {
                fn from(request: $rq) -> Self {
                    Self::$rq(request)
                }
            }

            impl From<$rsp> for Command {
                fn from(response: $rsp) -> Self {
                    Self::$rsp(response)
                }
            }
        )*

        /// Reads a whole command set.
        ///
        /// # Errors
        /// [`Violation`] when elements are cut short or have lengths that cannot be, or what its kind of command cannot do
        /// without is missing.
        pub fn decode(bytes: Bytes) -> Result<Command, Violation> {
            let elements = Elements::new(bytes)?;
            match u16::read(&elements, &element::COMMAND_FIELD)? {
                $(
                    $rq::COMMAND_FIELD => $rq::read(&elements).map(Command::$rq),
                    $rsp::COMMAND_FIELD => $rsp::read(&elements).map(Command::$rsp),
                )*
                CCancelRq::COMMAND_FIELD => CCancelRq::read(&elements).map(Command::CCancelRq),
                field => UnknownCommand::read(field, &elements).map(Command::Unknown),
            }
        }
    };
}

commands! {
    requests:
    CStoreRq -> CStoreRsp,
    CFindRq -> CFindRsp,
    CGetRq -> CGetRsp,
    CMoveRq -> CMoveRsp,
    CEchoRq -> CEchoRsp,
    NEventReportRq -> NEventReportRsp,
    NGetRq -> NGetRsp,
    NSetRq -> NSetRsp,
    NActionRq -> NActionRsp,
    NCreateRq -> NCreateRsp,
    NDeleteRq -> NDeleteRsp,
}

impl Command {
    /// Whether it is a response, of whatever kind.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.command_field() & RESPONSE != 0
    }

    /// Whether it is a response of the kind that belongs to `request`, with its Message ID.
    #[must_use]
    pub const fn is_response_to(&self, request: &Self) -> bool {
        !request.is_response()
            && self.command_field() == request.command_field() | RESPONSE
            && self.message_id() == request.message_id()
    }
}

impl From<CCancelRq> for Command {
    fn from(cancel: CCancelRq) -> Self {
        Self::CCancelRq(cancel)
    }
}

/// A command with a Command Field that the standard does not have: what it takes to answer it.
#[derive(Clone, PartialEq, Eq)]
pub struct UnknownCommand {
    /// Command Field (0000,0100); bit 15 says that it is a response.
    pub command_field: u16,
    /// Message ID (0000,0110); of a response the Message ID Being Responded To (0000,0120).
    pub message_id: u16,
    /// Status (0000,0900); `None`: not said.
    pub status: Option<Status>,
    /// Error Comment (0000,0902), as in every response; `None`: not said.
    pub error_comment: Option<String>,
    /// Affected SOP Class UID (0000,0002), else the Requested one (0000,0003), as it came; `None`: not said.
    pub sop_class_uid: Option<Bytes>,
    /// Affected SOP Instance UID (0000,1000), else the Requested one (0000,1001), as it came; `None`: not said.
    pub sop_instance_uid: Option<Bytes>,
    /// Whether a data set follows (0000,0800).
    pub has_data_set: bool,
}

impl UnknownCommand {
    const fn is_response(&self) -> bool {
        self.command_field & RESPONSE != 0
    }

    const fn id_tag(command_field: u16) -> &'static element::Tag {
        if command_field & RESPONSE == 0 {
            &element::MESSAGE_ID
        } else {
            &element::MESSAGE_ID_BEING_RESPONDED_TO
        }
    }

    fn read(command_field: u16, elements: &Elements) -> Result<Self, Violation> {
        let uid = |affected, requested| -> Result<Option<Bytes>, Violation> {
            Ok(Option::read(elements, affected)?.or(Option::read(elements, requested)?))
        };
        Ok(Self {
            command_field,
            message_id: u16::read(elements, Self::id_tag(command_field))?,
            status: Option::read(elements, &element::STATUS)?,
            error_comment: Option::read(elements, &element::ERROR_COMMENT)?,
            sop_class_uid: uid(&element::AFFECTED_SOP_CLASS_UID, &element::REQUESTED_SOP_CLASS_UID)?,
            sop_instance_uid: uid(
                &element::AFFECTED_SOP_INSTANCE_UID,
                &element::REQUESTED_SOP_INSTANCE_UID,
            )?,
            has_data_set: bool::read(elements, &element::COMMAND_DATA_SET_TYPE)?,
        })
    }

    fn to_bytes(&self) -> Bytes {
        let mut out = Writer::default();
        self.sop_class_uid.write(&element::AFFECTED_SOP_CLASS_UID, &mut out);
        self.command_field.write(&element::COMMAND_FIELD, &mut out);
        self.message_id.write(Self::id_tag(self.command_field), &mut out);
        self.has_data_set.write(&element::COMMAND_DATA_SET_TYPE, &mut out);
        self.status.write(&element::STATUS, &mut out);
        self.error_comment.write(&element::ERROR_COMMENT, &mut out);
        self.sop_instance_uid
            .write(&element::AFFECTED_SOP_INSTANCE_UID, &mut out);
        out.finish()
    }

    fn answer(&self, status: Status, comment: Option<&str>) -> Option<Self> {
        (!self.is_response()).then(|| Self {
            command_field: self.command_field | RESPONSE,
            status: Some(status),
            error_comment: comment_of(status, comment),
            has_data_set: false,
            ..self.clone()
        })
    }
}

/// Without UIDs.
impl fmt::Debug for UnknownCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownCommand")
            .field("command_field", &format_args!("{:04X}H", self.command_field))
            .field("message_id", &self.message_id)
            .field("status", &self.status)
            .field("error_comment", &self.error_comment)
            .field("has_data_set", &self.has_data_set)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
