//! Every kind of message, made of the same parts.

use proptest::prelude::*;

use super::super::*;

/// What the fields of all messages are made of.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) id: u16,
    pub(super) status: Status,
    pub(super) class: Bytes,
    pub(super) instance: Bytes,
    pub(super) title: Bytes,
    /// Numbers count up from here, so that no two fields are alike.
    pub(super) number: u16,
    pub(super) tags: Vec<AttributeTag>,
    pub(super) comment: Option<String>,
    /// Whether fields that may be absent are there.
    pub(super) optional: bool,
    pub(super) data: bool,
}

impl Parts {
    /// Every field is there.
    pub(super) fn full() -> Self {
        Self {
            id: 7,
            status: Status(0xA900),
            class: Bytes::from_static(b"1.2.840.10008.5.1.4.1.1.2\0"),
            instance: Bytes::from_static(b"1.2.392.200036.9116.2.6.1.48"),
            title: Bytes::from_static(b"MOVE_SCP1 "),
            number: 2,
            tags: vec![tag(0x0010, 0x0010), tag(0x7FE0, 0x0010)],
            comment: Some("no such thing".to_owned()),
            optional: true,
            data: true,
        }
    }

    /// Only what every message of its kind has.
    pub(super) fn least() -> Self {
        Self {
            tags: Vec::new(),
            comment: None,
            optional: false,
            data: false,
            ..Self::full()
        }
    }
}

const fn tag(group: u16, element: u16) -> AttributeTag {
    AttributeTag { group, element }
}

/// A value of VR UI or AE as it comes: of even length.
fn value() -> impl Strategy<Value = Bytes> {
    let pairs = prop::collection::vec(any::<[u8; 2]>(), 0..40);
    pairs.prop_map(|pairs| Bytes::from(pairs.concat()))
}

pub(super) fn parts() -> impl Strategy<Value = Parts> {
    let tags = prop::collection::vec((any::<u16>(), any::<u16>()), 0..5);
    let comment = prop::option::of("[!-\\[\\]-~]([ -\\[\\]-~]{0,62}[!-\\[\\]-~])?");
    let numbers = (any::<u16>(), any::<u16>(), any::<u16>());
    let flags = (any::<bool>(), any::<bool>());
    (numbers, value(), value(), value(), tags, comment, flags).prop_map(
        |((id, status, number), class, instance, title, tags, comment, (optional, data))| Parts {
            id,
            status: Status(status),
            class,
            instance,
            title,
            number,
            tags: tags.into_iter().map(|(group, element)| tag(group, element)).collect(),
            comment,
            optional,
            data,
        },
    )
}

/// One message of every kind: each request before its response, C-CANCEL and the unknown ones last.
pub(super) fn commands(parts: &Parts) -> Vec<Command> {
    let mut all = composite(parts);
    all.extend(normalized(parts));
    all.push(Command::CCancelRq(CCancelRq {
        message_id_being_responded_to: parts.id,
    }));
    let unknown = UnknownCommand {
        command_field: 0x0777,
        message_id: parts.id,
        status: None,
        error_comment: None,
        sop_class_uid: Some(parts.class.clone()),
        sop_instance_uid: Some(parts.instance.clone()),
        has_data_set: parts.data,
    };
    all.push(Command::Unknown(unknown.clone()));
    all.push(Command::Unknown(UnknownCommand {
        command_field: 0x8777,
        status: Some(parts.status),
        error_comment: parts.comment.clone(),
        ..unknown
    }));
    all
}

#[expect(clippy::too_many_lines, reason = "a flat table")]
fn composite(parts: &Parts) -> Vec<Command> {
    let Parts { id, status, .. } = *parts;
    let class = || parts.class.clone();
    let instance = || parts.instance.clone();
    let maybe = |value: &Bytes| parts.optional.then(|| value.clone());
    let number = |n: u16| parts.optional.then(|| parts.number.wrapping_add(n));
    let comment = || parts.comment.clone();
    vec![
        Command::from(CStoreRq {
            message_id: id,
            affected_sop_class_uid: class(),
            affected_sop_instance_uid: instance(),
            priority: parts.number,
            move_originator: maybe(&parts.title).map(|ae_title| MoveOriginator {
                ae_title,
                message_id: parts.number.wrapping_add(1),
            }),
        }),
        Command::from(CStoreRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            affected_sop_instance_uid: maybe(&parts.instance),
            offending_element: parts.tags.clone(),
        }),
        Command::from(CFindRq {
            message_id: id,
            affected_sop_class_uid: class(),
            priority: parts.number,
        }),
        Command::from(CFindRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            offending_element: parts.tags.clone(),
            has_data_set: parts.data,
        }),
        Command::from(CGetRq {
            message_id: id,
            affected_sop_class_uid: class(),
            priority: parts.number,
        }),
        Command::from(CGetRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            offending_element: parts.tags.clone(),
            remaining_sub_operations: number(3),
            completed_sub_operations: number(4),
            failed_sub_operations: number(5),
            warning_sub_operations: number(6),
            has_data_set: parts.data,
        }),
        Command::from(CMoveRq {
            message_id: id,
            affected_sop_class_uid: class(),
            priority: parts.number,
            move_destination: parts.title.clone(),
        }),
        Command::from(CMoveRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            offending_element: parts.tags.clone(),
            remaining_sub_operations: number(3),
            completed_sub_operations: number(4),
            failed_sub_operations: number(5),
            warning_sub_operations: number(6),
            has_data_set: parts.data,
        }),
        Command::from(CEchoRq {
            message_id: id,
            affected_sop_class_uid: class(),
        }),
        Command::from(CEchoRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
        }),
    ]
}

#[expect(clippy::too_many_lines, reason = "a flat table")]
fn normalized(parts: &Parts) -> Vec<Command> {
    let Parts { id, status, .. } = *parts;
    let class = || parts.class.clone();
    let instance = || parts.instance.clone();
    let maybe = |value: &Bytes| parts.optional.then(|| value.clone());
    let error_id = parts.optional.then_some(parts.number);
    let event_type_id = parts.number.wrapping_add(1);
    let action_type_id = parts.number.wrapping_add(2);
    let comment = || parts.comment.clone();
    let tags = || parts.tags.clone();
    vec![
        Command::from(NEventReportRq {
            message_id: id,
            affected_sop_class_uid: class(),
            affected_sop_instance_uid: instance(),
            event_type_id,
            has_data_set: parts.data,
        }),
        Command::from(NEventReportRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            affected_sop_instance_uid: maybe(&parts.instance),
            event_type_id: parts.optional.then_some(event_type_id),
            error_id,
            has_data_set: parts.data,
        }),
        Command::from(NGetRq {
            message_id: id,
            requested_sop_class_uid: class(),
            requested_sop_instance_uid: instance(),
            attribute_identifier_list: tags(),
        }),
        Command::from(NGetRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            affected_sop_instance_uid: maybe(&parts.instance),
            attribute_identifier_list: tags(),
            error_id,
            has_data_set: parts.data,
        }),
        Command::from(NSetRq {
            message_id: id,
            requested_sop_class_uid: class(),
            requested_sop_instance_uid: instance(),
            has_data_set: parts.data,
        }),
        Command::from(NSetRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            affected_sop_instance_uid: maybe(&parts.instance),
            attribute_identifier_list: tags(),
            error_id,
            has_data_set: parts.data,
        }),
        Command::from(NActionRq {
            message_id: id,
            requested_sop_class_uid: class(),
            requested_sop_instance_uid: instance(),
            action_type_id,
            has_data_set: parts.data,
        }),
        Command::from(NActionRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            affected_sop_instance_uid: maybe(&parts.instance),
            action_type_id: parts.optional.then_some(action_type_id),
            error_id,
            has_data_set: parts.data,
        }),
        Command::from(NCreateRq {
            message_id: id,
            affected_sop_class_uid: class(),
            affected_sop_instance_uid: maybe(&parts.instance),
            has_data_set: parts.data,
        }),
        Command::from(NCreateRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            affected_sop_instance_uid: maybe(&parts.instance),
            attribute_identifier_list: tags(),
            error_id,
            has_data_set: parts.data,
        }),
        Command::from(NDeleteRq {
            message_id: id,
            requested_sop_class_uid: class(),
            requested_sop_instance_uid: instance(),
        }),
        Command::from(NDeleteRsp {
            message_id_being_responded_to: id,
            status,
            error_comment: comment(),
            affected_sop_class_uid: maybe(&parts.class),
            affected_sop_instance_uid: maybe(&parts.instance),
            error_id,
        }),
    ]
}

/// An element as it stands in a command set.
pub(super) fn element(number: u16, value: &[u8]) -> Vec<u8> {
    let [a, b] = number.to_le_bytes();
    let [c, d, e, f] = u32::try_from(value.len()).unwrap().to_le_bytes();
    [&[0, 0, a, b, c, d, e, f], value].concat()
}

/// An element with a number.
pub(super) fn us(number: u16, value: u16) -> Vec<u8> {
    element(number, &value.to_le_bytes())
}

/// The elements of a command set that we wrote.
pub(super) fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        let (element, rest) = bytes.split_at(8 + length);
        elements.push(element.to_vec());
        bytes = rest;
    }
    elements
}
