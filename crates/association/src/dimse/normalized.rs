//! The messages of the N- services (PS3.7 §10.3).
//!
//! Requests to an existing instance name it by Requested, notifications and N-CREATE by Affected SOP Class and Instance
//! UID; answers by Affected.

use std::fmt;

use bytes::Bytes;
use packhorse_dicom::status::Status;

use super::element::{self, AttributeTag, Elements, Value, Vr, Writer};
use super::message::{comment_of, message, request, response};
use crate::codec::Violation;

request! {
    /// N-EVENT-REPORT-RQ (PS3.7 §10.3.1.1); its data set is the Event Information.
    NEventReportRq = 0x0100, said {
        /// Affected SOP Class UID (0000,0002) as it came.
        affected_sop_class_uid: Bytes = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000) as it came.
        affected_sop_instance_uid: Bytes = AFFECTED_SOP_INSTANCE_UID,
        /// Event Type ID (0000,1002).
        event_type_id: u16 = EVENT_TYPE_ID,
    }
}

response! {
    /// N-EVENT-REPORT-RSP (PS3.7 §10.3.1.2); its data set is the Event Reply.
    NEventReportRsp = 0x8100, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000); `None`: not said.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
        /// Event Type ID (0000,1002); `None`: not said.
        event_type_id: Option<u16> = EVENT_TYPE_ID,
        /// Error ID (0000,0903), the implementation's own; `None`: not said.
        error_id: Option<u16> = ERROR_ID,
    }
}

request! {
    /// N-GET-RQ (PS3.7 §10.3.2.1).
    NGetRq = 0x0110, never {
        /// Requested SOP Class UID (0000,0003) as it came.
        requested_sop_class_uid: Bytes = REQUESTED_SOP_CLASS_UID,
        /// Requested SOP Instance UID (0000,1001) as it came.
        requested_sop_instance_uid: Bytes = REQUESTED_SOP_INSTANCE_UID,
        /// Attribute Identifier List (0000,1005); empty: all attributes.
        attribute_identifier_list: Vec<AttributeTag> = ATTRIBUTE_IDENTIFIER_LIST,
    }
}

response! {
    /// N-GET-RSP (PS3.7 §10.3.2.2); its data set is the Attribute List.
    NGetRsp = 0x8110, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000); `None`: not said.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
        /// Attribute Identifier List (0000,1005) of what was not recognized (0107); empty: not said.
        attribute_identifier_list: Vec<AttributeTag> = ATTRIBUTE_IDENTIFIER_LIST,
        /// Error ID (0000,0903), the implementation's own; `None`: not said.
        error_id: Option<u16> = ERROR_ID,
    }
}

request! {
    /// N-SET-RQ (PS3.7 §10.3.3.1); its data set is the Modification List.
    NSetRq = 0x0120, said {
        /// Requested SOP Class UID (0000,0003) as it came.
        requested_sop_class_uid: Bytes = REQUESTED_SOP_CLASS_UID,
        /// Requested SOP Instance UID (0000,1001) as it came.
        requested_sop_instance_uid: Bytes = REQUESTED_SOP_INSTANCE_UID,
    }
}

response! {
    /// N-SET-RSP (PS3.7 §10.3.3.2); its data set is the Attribute List.
    NSetRsp = 0x8120, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000); `None`: not said.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
        /// Attribute Identifier List (0000,1005) of what was wrong (0105); empty: not said.
        attribute_identifier_list: Vec<AttributeTag> = ATTRIBUTE_IDENTIFIER_LIST,
        /// Error ID (0000,0903), the implementation's own; `None`: not said.
        error_id: Option<u16> = ERROR_ID,
    }
}

request! {
    /// N-ACTION-RQ (PS3.7 §10.3.4.1); its data set is the Action Information.
    NActionRq = 0x0130, said {
        /// Requested SOP Class UID (0000,0003) as it came.
        requested_sop_class_uid: Bytes = REQUESTED_SOP_CLASS_UID,
        /// Requested SOP Instance UID (0000,1001) as it came.
        requested_sop_instance_uid: Bytes = REQUESTED_SOP_INSTANCE_UID,
        /// Action Type ID (0000,1008).
        action_type_id: u16 = ACTION_TYPE_ID,
    }
}

response! {
    /// N-ACTION-RSP (PS3.7 §10.3.4.2); its data set is the Action Reply.
    NActionRsp = 0x8130, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000); `None`: not said.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
        /// Action Type ID (0000,1008); `None`: not said.
        action_type_id: Option<u16> = ACTION_TYPE_ID,
        /// Error ID (0000,0903), the implementation's own; `None`: not said.
        error_id: Option<u16> = ERROR_ID,
    }
}

request! {
    /// N-CREATE-RQ (PS3.7 §10.3.5.1); its data set is the Attribute List.
    NCreateRq = 0x0140, said {
        /// Affected SOP Class UID (0000,0002) as it came.
        affected_sop_class_uid: Bytes = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000) as it came; `None`: the performer is to choose it.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
    }
}

response! {
    /// N-CREATE-RSP (PS3.7 §10.3.5.2); its data set is the Attribute List.
    NCreateRsp = 0x8140, said {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000); `None`: not said.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
        /// Attribute Identifier List (0000,1005) of what was wrong or missing (0105, 0120); empty: not said.
        attribute_identifier_list: Vec<AttributeTag> = ATTRIBUTE_IDENTIFIER_LIST,
        /// Error ID (0000,0903), the implementation's own; `None`: not said.
        error_id: Option<u16> = ERROR_ID,
    }
}

request! {
    /// N-DELETE-RQ (PS3.7 §10.3.6.1).
    NDeleteRq = 0x0150, never {
        /// Requested SOP Class UID (0000,0003) as it came.
        requested_sop_class_uid: Bytes = REQUESTED_SOP_CLASS_UID,
        /// Requested SOP Instance UID (0000,1001) as it came.
        requested_sop_instance_uid: Bytes = REQUESTED_SOP_INSTANCE_UID,
    }
}

response! {
    /// N-DELETE-RSP (PS3.7 §10.3.6.2).
    NDeleteRsp = 0x8150, never {
        /// Affected SOP Class UID (0000,0002); `None`: not said.
        affected_sop_class_uid: Option<Bytes> = AFFECTED_SOP_CLASS_UID,
        /// Affected SOP Instance UID (0000,1000); `None`: not said.
        affected_sop_instance_uid: Option<Bytes> = AFFECTED_SOP_INSTANCE_UID,
        /// Error ID (0000,0903), the implementation's own; `None`: not said.
        error_id: Option<u16> = ERROR_ID,
    }
}

impl NEventReportRq {
    /// The answer without Event Reply. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> NEventReportRsp {
        NEventReportRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.affected_sop_class_uid.clone()),
            affected_sop_instance_uid: Some(self.affected_sop_instance_uid.clone()),
            event_type_id: Some(self.event_type_id),
            error_id: None,
            has_data_set: false,
        }
    }
}

impl NGetRq {
    /// The answer without Attribute List. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> NGetRsp {
        NGetRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.requested_sop_class_uid.clone()),
            affected_sop_instance_uid: Some(self.requested_sop_instance_uid.clone()),
            attribute_identifier_list: Vec::new(),
            error_id: None,
            has_data_set: false,
        }
    }
}

impl NSetRq {
    /// The answer without Attribute List. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> NSetRsp {
        NSetRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.requested_sop_class_uid.clone()),
            affected_sop_instance_uid: Some(self.requested_sop_instance_uid.clone()),
            attribute_identifier_list: Vec::new(),
            error_id: None,
            has_data_set: false,
        }
    }
}

impl NActionRq {
    /// The answer without Action Reply. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> NActionRsp {
        NActionRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.requested_sop_class_uid.clone()),
            affected_sop_instance_uid: Some(self.requested_sop_instance_uid.clone()),
            action_type_id: Some(self.action_type_id),
            error_id: None,
            has_data_set: false,
        }
    }
}

impl NCreateRq {
    /// The answer without Attribute List. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> NCreateRsp {
        NCreateRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.affected_sop_class_uid.clone()),
            affected_sop_instance_uid: self.affected_sop_instance_uid.clone(),
            attribute_identifier_list: Vec::new(),
            error_id: None,
            has_data_set: false,
        }
    }
}

impl NDeleteRq {
    /// The answer. A failure without a `comment` carries the status's meaning.
    #[must_use]
    pub fn answer(&self, status: Status, comment: Option<&str>) -> NDeleteRsp {
        NDeleteRsp {
            message_id_being_responded_to: self.message_id,
            status,
            error_comment: comment_of(status, comment),
            affected_sop_class_uid: Some(self.requested_sop_class_uid.clone()),
            affected_sop_instance_uid: Some(self.requested_sop_instance_uid.clone()),
            error_id: None,
        }
    }
}
