//! The messages of the C- services (PS3.7 §9.3).

use std::fmt;

use bytes::Bytes;
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{InvalidUid, SopClassUid, SopInstanceUid};

use super::element::{self, AttributeTag, Elements, MoveOriginator, Value, Vr, Writer};
use super::message::{comment_of, message, request, response};
use crate::codec::Violation;

/// The Verification SOP class as a value of VR UI.
pub(super) const VERIFICATION_UID: &[u8] = b"1.2.840.10008.1.1\0";

request! {
    /// C-STORE-RQ (PS3.7 §9.3.1.1); its data set is the instance.
    CStoreRq = 0x0001, always {
        /// Affected SOP Class UID (0000,0002) as it came.
        affected_sop_class_uid: Bytes = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000) as it came.
        affected_sop_instance_uid: Bytes = AFFECTED_SOP_INSTANCE_UID,
        /// Priority (0000,0700): 0 medium, 1 high, 2 low. As it came; 0 when it was not said.
        priority: u16 = PRIORITY,
        /// Move Originator (0000,1030 and 1031); `None` when it is part of no C-MOVE.
        move_originator: Option<MoveOriginator> = MOVE_ORIGINATOR,
    }
}

response! {
    /// C-STORE-RSP (PS3.7 §9.3.1.2).
    CStoreRsp = 0x8001, never {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000); `None`: not said.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
        /// Offending Element (0000,0901); empty: not said.
        offending_element: Vec<AttributeTag> = OFFENDING_ELEMENT,
    }
}

request! {
    /// C-FIND-RQ (PS3.7 §9.3.2.1); its data set is the Identifier.
    CFindRq = 0x0020, always {
        /// Affected SOP Class UID (0000,0002) as it came.
        affected_sop_class_uid: Bytes = AFFECTED_SOP_CLASS_UID,
        /// Priority (0000,0700): 0 medium, 1 high, 2 low. As it came; 0 when it was not said.
        priority: u16 = PRIORITY,
    }
}

response! {
    /// C-FIND-RSP (PS3.7 §9.3.2.2); a pending one has an Identifier as data set.
    CFindRsp = 0x8020, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Offending Element (0000,0901); empty: not said.
        offending_element: Vec<AttributeTag> = OFFENDING_ELEMENT,
    }
}

request! {
    /// C-GET-RQ (PS3.7 §9.3.3.1); its data set is the Identifier.
    CGetRq = 0x0010, always {
        /// Affected SOP Class UID (0000,0002) as it came.
        affected_sop_class_uid: Bytes = AFFECTED_SOP_CLASS_UID,
        /// Priority (0000,0700): 0 medium, 1 high, 2 low. As it came; 0 when it was not said.
        priority: u16 = PRIORITY,
    }
}

response! {
    /// C-GET-RSP (PS3.7 §9.3.3.2); a last one may have a data set that names the instances that failed.
    CGetRsp = 0x8010, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Offending Element (0000,0901); empty: not said.
        offending_element: Vec<AttributeTag> = OFFENDING_ELEMENT,
        /// Number of Remaining Sub-operations (0000,1020); `None`: not said.
        remaining_sub_operations: Option<u16> = REMAINING_SUB_OPERATIONS,
        /// Number of Completed Sub-operations (0000,1021); `None`: not said.
        completed_sub_operations: Option<u16> = COMPLETED_SUB_OPERATIONS,
        /// Number of Failed Sub-operations (0000,1022); `None`: not said.
        failed_sub_operations: Option<u16> = FAILED_SUB_OPERATIONS,
        /// Number of Warning Sub-operations (0000,1023); `None`: not said.
        warning_sub_operations: Option<u16> = WARNING_SUB_OPERATIONS,
    }
}

request! {
    /// C-MOVE-RQ (PS3.7 §9.3.4.1); its data set is the Identifier.
    CMoveRq = 0x0021, always {
        /// Affected SOP Class UID (0000,0002) as it came.
        affected_sop_class_uid: Bytes = AFFECTED_SOP_CLASS_UID,
        /// Priority (0000,0700): 0 medium, 1 high, 2 low. As it came; 0 when it was not said.
        priority: u16 = PRIORITY,
        /// Move Destination (0000,0600), an AE title as it came.
        move_destination: Bytes = MOVE_DESTINATION,
    }
}

response! {
    /// C-MOVE-RSP (PS3.7 §9.3.4.2); a last one may have a data set that names the instances that failed.
    CMoveRsp = 0x8021, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Offending Element (0000,0901); empty: not said.
        offending_element: Vec<AttributeTag> = OFFENDING_ELEMENT,
        /// Number of Remaining Sub-operations (0000,1020); `None`: not said.
        remaining_sub_operations: Option<u16> = REMAINING_SUB_OPERATIONS,
        /// Number of Completed Sub-operations (0000,1021); `None`: not said.
        completed_sub_operations: Option<u16> = COMPLETED_SUB_OPERATIONS,
        /// Number of Failed Sub-operations (0000,1022); `None`: not said.
        failed_sub_operations: Option<u16> = FAILED_SUB_OPERATIONS,
        /// Number of Warning Sub-operations (0000,1023); `None`: not said.
        warning_sub_operations: Option<u16> = WARNING_SUB_OPERATIONS,
    }
}

request! {
    /// C-ECHO-RQ (PS3.7 §9.3.5.1).
    CEchoRq = 0x0030, never {
        /// Affected SOP Class UID (0000,0002) as it came: Verification.
        affected_sop_class_uid: Bytes = AFFECTED_SOP_CLASS_UID,
    }
}

response! {
    /// C-ECHO-RSP (PS3.7 §9.3.5.2).
    CEchoRsp = 0x8030, never {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
    }
}

message! {
    /// C-CANCEL-RQ (PS3.7 §9.3.2.3, §9.3.3.3, §9.3.4.3). It has no answer of its own.
    CCancelRq = 0x0FFF, never {
        /// Message ID Being Responded To (0000,0120): of the request that is to be cancelled.
        message_id_being_responded_to: u16 = MESSAGE_ID_BEING_RESPONDED_TO,
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

    /// The answer; repeats the UIDs as they came. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> CStoreRsp {
        CStoreRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.affected_sop_class_uid.clone()),
            affected_sop_instance_uid: Some(self.affected_sop_instance_uid.clone()),
            offending_element: Vec::new(),
        }
    }
}

impl CFindRq {
    /// An answer without Identifier. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> CFindRsp {
        CFindRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.affected_sop_class_uid.clone()),
            offending_element: Vec::new(),
            has_data_set: false,
        }
    }
}

impl CGetRq {
    /// An answer without data set and numbers. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> CGetRsp {
        CGetRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.affected_sop_class_uid.clone()),
            offending_element: Vec::new(),
            remaining_sub_operations: None,
            completed_sub_operations: None,
            failed_sub_operations: None,
            warning_sub_operations: None,
            has_data_set: false,
        }
    }
}

impl CMoveRq {
    /// An answer without data set and numbers. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> CMoveRsp {
        CMoveRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.affected_sop_class_uid.clone()),
            offending_element: Vec::new(),
            remaining_sub_operations: None,
            completed_sub_operations: None,
            failed_sub_operations: None,
            warning_sub_operations: None,
            has_data_set: false,
        }
    }
}

impl CEchoRq {
    /// Of the Verification SOP class.
    #[must_use]
    pub const fn new(message_id: u16) -> Self {
        Self {
            message_id,
            affected_sop_class_uid: Bytes::from_static(VERIFICATION_UID),
        }
    }

    /// The answer. It names the class, which some SCUs (Odil) want in it, also when the request did not. A failure
    /// without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> CEchoRsp {
        let class = Some(&self.affected_sop_class_uid).filter(|class| !class.is_empty());
        CEchoRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(class.cloned().unwrap_or(Bytes::from_static(VERIFICATION_UID))),
        }
    }
}
