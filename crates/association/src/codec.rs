//! PDUs of PS3.8 §9.3 and their bytes.
//!
//! Strict in what is written, tolerant in what is read: unknown items and sub-items are skipped, unknown codes kept,
//! padding taken off. Every length is checked before it is used.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod read;
#[cfg(feature = "dicom-ul")]
mod ul;
mod write;

use std::fmt;

use bytes::{Bytes, BytesMut};
use packhorse_dicom::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use packhorse_dicom::negotiation::{
    AsyncOperationsWindow, CommonExtended, ContextResult, ExtendedNegotiation, PresentationContextId, ProposedContext,
    Rejection, RoleSelection, UserIdentity,
};
use packhorse_dicom::uid::TransferSyntaxUid;

use crate::pdv::Hidden;

pub use read::decode;
#[cfg(feature = "dicom-ul")]
pub use ul::NoCounterpart;
pub use write::{TooLong, encode};

/// The DICOM application context name (PS3.7 §A.2.1).
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Bytes of the PDU header: type, reserved, length (PS3.8 §9.3.1).
pub const PDU_HEADER_LEN: usize = 6;
/// An A-ASSOCIATE-RQ or -AC is refused above 256 KiB: 128 contexts with all transfer syntaxes have about 130 KiB.
pub const ASSOCIATE_LEN_MAX: u32 = 256 * 1024;
/// Presentation contexts in a proposal: there are 128 odd ids (PS3.8 §9.3.2.2).
pub const CONTEXTS_MAX: usize = 128;
/// Transfer syntaxes read of one context; the standard has 63. Further ones are skipped.
pub const TRANSFER_SYNTAXES_MAX: usize = 256;
/// Transfer syntaxes read of a whole proposal: 64 for each context. Further ones are skipped.
pub const ALL_TRANSFER_SYNTAXES_MAX: usize = 64 * CONTEXTS_MAX;
/// Items of one kind read of the user information, of common extended negotiation with the classes in them: one for each
/// class of a full proposal, twice over. Further ones are skipped.
pub const USER_ITEMS_MAX: usize = 256;
/// Characters kept of an implementation version name; the standard has 16 (PS3.7 §D.3.3.2.4).
pub const VERSION_NAME_LEN_MAX: usize = 64;
/// Bytes of the longest user identity field that is sent or kept; a token or assertion has a few thousand. The user
/// information item with all it holds has at most 65,535.
pub const USER_IDENTITY_LEN_MAX: usize = 48 * 1024;

/// One PDU. `match` on it has no `_`. `Debug` shows no data.
#[derive(Clone, PartialEq, Eq)]
pub enum Pdu {
    /// A-ASSOCIATE-RQ.
    AssociateRq(Box<AssociateRq>),
    /// A-ASSOCIATE-AC.
    AssociateAc(Box<AssociateAc>),
    /// A-ASSOCIATE-RJ.
    AssociateRj(Rejection),
    /// P-DATA-TF: the variable field, not yet taken apart (see [`pdv`](crate::pdv)).
    PDataTf(Bytes),
    /// A-RELEASE-RQ.
    ReleaseRq,
    /// A-RELEASE-RP.
    ReleaseRp,
    /// A-ABORT.
    Abort(Abort),
}

impl fmt::Debug for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AssociateRq(rq) => fmt::Debug::fmt(rq, f),
            Self::AssociateAc(ac) => fmt::Debug::fmt(ac, f),
            Self::AssociateRj(rejection) => f.debug_tuple("AssociateRj").field(rejection).finish(),
            Self::PDataTf(body) => f.debug_tuple("PDataTf").field(&Hidden(body.len())).finish(),
            Self::ReleaseRq => f.write_str("ReleaseRq"),
            Self::ReleaseRp => f.write_str("ReleaseRp"),
            Self::Abort(abort) => fmt::Debug::fmt(abort, f),
        }
    }
}

/// Source and reason of an A-ABORT (PS3.8 Table 9-26), kept as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// 0 service user, 2 service provider.
    pub source: u8,
    /// Significant when the source is the provider.
    pub reason: u8,
}

impl Abort {
    /// By the service user.
    pub const USER: Self = Self { source: 0, reason: 0 };
    /// By the provider, no reason.
    pub const PROVIDER: Self = Self { source: 2, reason: 0 };
    /// By the provider: unrecognized PDU.
    pub const UNRECOGNIZED_PDU: Self = Self { source: 2, reason: 1 };
    /// By the provider: unexpected PDU.
    pub const UNEXPECTED_PDU: Self = Self { source: 2, reason: 2 };
    /// By the provider: invalid PDU parameter value.
    pub const INVALID_PARAMETER: Self = Self { source: 2, reason: 6 };
}

/// `service provider: unexpected PDU (2/2)`.
impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match (self.source, self.reason) {
            (0, _) => "service user",
            (2, 0) => "service provider: no reason given",
            (2, 1) => "service provider: unrecognized PDU",
            (2, 2) => "service provider: unexpected PDU",
            (2, 4) => "service provider: unrecognized PDU parameter",
            (2, 5) => "service provider: unexpected PDU parameter",
            (2, 6) => "service provider: invalid PDU parameter value",
            _ => "unknown source or reason",
        };
        write!(f, "{words} ({}/{})", self.source, self.reason)
    }
}

/// A-ASSOCIATE-RQ (PS3.8 §9.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociateRq {
    /// Bit 0 says version 1.
    pub protocol_version: u16,
    /// Called AE title as it came, 16 bytes.
    pub called_ae_title: [u8; 16],
    /// Calling AE title as it came, 16 bytes.
    pub calling_ae_title: [u8; 16],
    /// Application context name without padding.
    pub application_context: Box<str>,
    /// The contexts with odd, different ids; with [`unusable`](Self::unusable) 1 to 128.
    pub contexts: Vec<ProposedContext>,
    /// Contexts whose abstract syntax is no UID of 1 to 64 bytes. They are answered with "abstract syntax not supported".
    pub unusable: Vec<PresentationContextId>,
    /// The user information item.
    pub user: UserInformation,
}

/// A-ASSOCIATE-AC (PS3.8 §9.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociateAc {
    /// Bit 0 says version 1.
    pub protocol_version: u16,
    /// Sent back as it came in the request; not significant.
    pub called_ae_title: [u8; 16],
    /// Sent back as it came in the request; not significant.
    pub calling_ae_title: [u8; 16],
    /// Application context name.
    pub application_context: Box<str>,
    /// One result for each proposed context.
    pub contexts: Vec<AnsweredContext>,
    /// The user information item.
    pub user: UserInformation,
}

/// One context of an A-ASSOCIATE-AC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredContext {
    /// The proposed context's id.
    pub id: PresentationContextId,
    /// Acceptance, or why not.
    pub result: ContextResult,
    /// The chosen syntax; not significant (and often absent) in a rejected context.
    pub transfer_syntax: Option<TransferSyntaxUid>,
}

/// The user information item (PS3.7 Annex D). Unknown sub-items are skipped, and what is cut short in one costs only it.
/// `Debug` shows of the user identity its kind, and of the response its length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserInformation {
    /// Longest P-DATA-TF variable field its sender takes, in bytes; 0: no limit. `None`: not given.
    pub max_pdu_length: Option<u32>,
    /// Implementation class UID.
    pub implementation_class_uid: Option<Box<str>>,
    /// Implementation version name.
    pub implementation_version_name: Option<Box<str>>,
    /// Asynchronous operations window. `None`: one operation at a time.
    pub async_operations: Option<AsyncOperationsWindow>,
    /// Role selection items.
    pub roles: Vec<RoleSelection>,
    /// SOP class extended negotiation items.
    pub extended: Vec<ExtendedNegotiation>,
    /// SOP class common extended negotiation items. Only in a request.
    pub common_extended: Vec<CommonExtended>,
    /// User identity. Only in a request.
    pub user_identity: Option<UserIdentity>,
    /// The server response to a user identity that asked for one (59H). Only in an answer.
    pub user_identity_response: Option<Bytes>,
}

impl fmt::Debug for UserInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let response = self
            .user_identity_response
            .as_ref()
            .map(|response| Hidden(response.len()));
        f.debug_struct("UserInformation")
            .field("max_pdu_length", &self.max_pdu_length)
            .field("implementation_class_uid", &self.implementation_class_uid)
            .field("implementation_version_name", &self.implementation_version_name)
            .field("async_operations", &self.async_operations)
            .field("roles", &self.roles)
            .field("extended", &self.extended)
            .field("common_extended", &self.common_extended)
            .field("user_identity", &self.user_identity)
            .field("user_identity_response", &response)
            .finish()
    }
}

impl UserInformation {
    /// What Packhorse says of itself: this maximum length, its implementation class UID and version name.
    #[must_use]
    pub fn ours(max_pdu_length: u32) -> Self {
        Self {
            max_pdu_length: Some(max_pdu_length),
            implementation_class_uid: Some(IMPLEMENTATION_CLASS_UID.into()),
            implementation_version_name: Some(IMPLEMENTATION_VERSION_NAME.into()),
            ..Self::default()
        }
    }
}

/// How a peer broke PS3.8. Leads to an A-ABORT.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A PDU type that PS3.8 does not have.
    #[error("PDU type {_0:02X}H is unknown")]
    UnknownPdu(u8),
    /// A PDU longer than its kind may be, here.
    #[error("a PDU of type {pdu_type:02X}H has {length} bytes, at most {most} are taken")]
    TooLong {
        /// Its type.
        pdu_type: u8,
        /// Its length field.
        length: u32,
        /// What is taken.
        most: u32,
    },
    /// An item or field reaches past its container, or a fixed field is missing.
    #[error("{_0} is cut short")]
    Truncated(&'static str),
    /// A value that cannot be.
    #[error("{_0}")]
    Invalid(&'static str),
    /// A PDU of the standard that cannot come in this state.
    #[error("{pdu} cannot come in state {state}")]
    Unexpected {
        /// Its name.
        pdu: &'static str,
        /// The state of PS3.8 §9.2.
        state: &'static str,
    },
    /// A message of PS3.7 that cannot be.
    #[error("{_0}")]
    Message(&'static str),
}

impl Violation {
    /// What is answered (PS3.8 Table 9-26).
    #[must_use]
    pub const fn abort(&self) -> Abort {
        match self {
            Self::UnknownPdu(_) => Abort::UNRECOGNIZED_PDU,
            Self::Unexpected { .. } => Abort::UNEXPECTED_PDU,
            Self::TooLong { .. } | Self::Truncated(_) | Self::Invalid(_) => Abort::INVALID_PARAMETER,
            Self::Message(_) => Abort::PROVIDER,
        }
    }
}

impl Pdu {
    /// Its name in PS3.8.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AssociateRq(_) => "A-ASSOCIATE-RQ",
            Self::AssociateAc(_) => "A-ASSOCIATE-AC",
            Self::AssociateRj(_) => "A-ASSOCIATE-RJ",
            Self::PDataTf(_) => "P-DATA-TF",
            Self::ReleaseRq => "A-RELEASE-RQ",
            Self::ReleaseRp => "A-RELEASE-RP",
            Self::Abort(_) => "A-ABORT",
        }
    }
}

/// Takes the next whole PDU off `buffer`; `None` when more bytes are needed. `p_data_len_max` is the longest P-DATA-TF
/// variable field that is taken: what we advertised.
///
/// # Errors
/// [`Violation`] when the bytes are no PDU; nothing more can be read from this peer then.
pub fn next_pdu(buffer: &mut BytesMut, p_data_len_max: u32) -> Result<Option<Pdu>, Violation> {
    let Some((&[pdu_type, _, a, b, c, d], _)) = buffer.split_first_chunk::<PDU_HEADER_LEN>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    let most = match pdu_type {
        1 | 2 => ASSOCIATE_LEN_MAX,
        3 | 5 | 6 | 7 => 4,
        4 => p_data_len_max,
        other => return Err(Violation::UnknownPdu(other)),
    };
    if length > most {
        return Err(Violation::TooLong { pdu_type, length, most });
    }
    let whole = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .saturating_add(PDU_HEADER_LEN);
    if buffer.len() < whole {
        buffer.reserve(whole.saturating_sub(buffer.len()));
        return Ok(None);
    }
    let mut pdu = buffer.split_to(whole).freeze();
    let body = pdu.split_off(PDU_HEADER_LEN);
    decode(pdu_type, body).map(Some)
}

#[cfg(test)]
mod tests;
