//! Command elements (PS3.7 §6.3.1): Implicit VR Little Endian, all of group 0000.
//!
//! Taken in any order; the group length is not believed, unknown elements are skipped. Of a doubled element the first
//! counts. An element without a value is none. Of several numbers where one belongs the first counts. A length that
//! reaches past the end, or that no number can have, is a [`Violation`].

use std::fmt;
use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};
use packhorse_dicom::status::Status;

use super::{CCancelRq, RESPONSE};
use crate::codec::Violation;

/// Longest Error Comment (0000,0902), VR LO.
pub const ERROR_COMMENT_LEN_MAX: usize = 64;
/// Bytes before an element's value: group, element, length.
const HEADER_LEN: usize = 8;
/// Command Data Set Type: no data set follows.
const NO_DATA_SET: u16 = 0x0101;
/// Any other value says that a data set follows; this is what most write.
const DATA_SET: u16 = 0x0001;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vr {
    /// An AE title, padded with a space.
    Ae,
    /// Attribute tags.
    At,
    /// Text of one value, padded with a space.
    Lo,
    /// A UID, padded with NUL.
    Ui,
    /// A number of 16 bits.
    Us,
}

/// A command element that the standard has (PS3.7 §E.1).
#[derive(Debug)]
pub(super) struct Tag {
    element: u16,
    pub(super) vr: Vr,
    missing: &'static str,
    wrong_length: &'static str,
}

macro_rules! tags {
    ($($name:ident = $element:literal, $vr:ident, $words:literal;)*) => {$(
        pub(super) const $name: Tag = Tag {
            element: $element,
            vr: Vr::$vr,
            missing: concat!("a command set without ", $words),
            wrong_length: concat!("a command set with a wrong length of ", $words),
        };
    )*};
}

tags! {
    AFFECTED_SOP_CLASS_UID = 0x0002, Ui, "Affected SOP Class UID (0000,0002)";
    REQUESTED_SOP_CLASS_UID = 0x0003, Ui, "Requested SOP Class UID (0000,0003)";
    COMMAND_FIELD = 0x0100, Us, "Command Field (0000,0100)";
    MESSAGE_ID = 0x0110, Us, "Message ID (0000,0110)";
    MESSAGE_ID_BEING_RESPONDED_TO = 0x0120, Us, "Message ID Being Responded To (0000,0120)";
    MOVE_DESTINATION = 0x0600, Ae, "Move Destination (0000,0600)";
    PRIORITY = 0x0700, Us, "Priority (0000,0700)";
    COMMAND_DATA_SET_TYPE = 0x0800, Us, "Command Data Set Type (0000,0800)";
    STATUS = 0x0900, Us, "Status (0000,0900)";
    OFFENDING_ELEMENT = 0x0901, At, "Offending Element (0000,0901)";
    ERROR_COMMENT = 0x0902, Lo, "Error Comment (0000,0902)";
    ERROR_ID = 0x0903, Us, "Error ID (0000,0903)";
    AFFECTED_SOP_INSTANCE_UID = 0x1000, Ui, "Affected SOP Instance UID (0000,1000)";
    REQUESTED_SOP_INSTANCE_UID = 0x1001, Ui, "Requested SOP Instance UID (0000,1001)";
    EVENT_TYPE_ID = 0x1002, Us, "Event Type ID (0000,1002)";
    ATTRIBUTE_IDENTIFIER_LIST = 0x1005, At, "Attribute Identifier List (0000,1005)";
    ACTION_TYPE_ID = 0x1008, Us, "Action Type ID (0000,1008)";
    REMAINING_SUB_OPERATIONS = 0x1020, Us, "Number of Remaining Sub-operations (0000,1020)";
    COMPLETED_SUB_OPERATIONS = 0x1021, Us, "Number of Completed Sub-operations (0000,1021)";
    FAILED_SUB_OPERATIONS = 0x1022, Us, "Number of Failed Sub-operations (0000,1022)";
    WARNING_SUB_OPERATIONS = 0x1023, Us, "Number of Warning Sub-operations (0000,1023)";
    MOVE_ORIGINATOR = 0x1030, Ae, "Move Originator Application Entity Title (0000,1030)";
    MOVE_ORIGINATOR_MESSAGE_ID = 0x1031, Us, "Move Originator Message ID (0000,1031)";
}

/// A tag of a data set's attribute, as Offending Element and Attribute Identifier List name them (VR AT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeTag {
    /// Group.
    pub group: u16,
    /// Element.
    pub element: u16,
}

/// `(7FE0,0010)`.
impl fmt::Display for AttributeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.group, self.element)
    }
}

/// Who asked for the C-MOVE that a C-STORE is part of (PS3.7 §9.1.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveOriginator {
    /// Move Originator Application Entity Title (0000,1030) as it came.
    pub ae_title: Bytes,
    /// Move Originator Message ID (0000,1031); 0 when it was not said.
    pub message_id: u16,
}

/// The elements of a command set, each of them within it.
#[derive(Debug)]
pub(super) struct Elements(Bytes);

impl Elements {
    pub(super) fn new(bytes: Bytes) -> Result<Self, Violation> {
        let mut rest = &*bytes;
        while let Some(first) = First::of(rest)? {
            rest = first.behind;
        }
        Ok(Self(bytes))
    }

    /// The value of the first such element, without a copy.
    fn value(&self, tag: &Tag) -> Option<Bytes> {
        let mut rest = &*self.0;
        while let Ok(Some(first)) = First::of(rest) {
            if first.element == tag.element {
                return Some(self.0.slice_ref(first.value));
            }
            rest = first.behind;
        }
        None
    }

    /// That a request of a kind that always has a data set, or never, does not say otherwise. Not to say it is forgiven,
    /// and so is an answer or a C-CANCEL-RQ that says it wrong.
    pub(super) fn check_data_set(&self, command_field: u16, always: bool) -> Result<(), Violation> {
        if command_field & RESPONSE != 0 || command_field == CCancelRq::COMMAND_FIELD {
            return Ok(());
        }
        match Option::<u16>::read(self, &COMMAND_DATA_SET_TYPE)?.map(|said| said != NO_DATA_SET) {
            Some(false) if always => Err(Violation::Message("a message of a kind that has a data set has none")),
            Some(true) if !always => Err(Violation::Message("a message of a kind without data set has one")),
            _ => Ok(()),
        }
    }
}

/// The first element of some bytes.
struct First<'a> {
    element: u16,
    value: &'a [u8],
    behind: &'a [u8],
}

impl<'a> First<'a> {
    /// `None` at the end.
    fn of(bytes: &'a [u8]) -> Result<Option<Self>, Violation> {
        const CUT: Violation = Violation::Truncated("a command element");
        if bytes.is_empty() {
            return Ok(None);
        }
        let (&[g, h, e, f, a, b, c, d], rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(CUT)?;
        if u16::from_le_bytes([g, h]) != 0 {
            return Err(Violation::Message("a command set has an element outside group 0000"));
        }
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let (value, behind) = rest.split_at_checked(length).ok_or(CUT)?;
        let element = u16::from_le_bytes([e, f]);
        Ok(Some(Self { element, value, behind }))
    }
}

/// Writes a command set. The order of the calls does not matter.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: BytesMut,
    elements: Vec<(u16, Range<usize>)>,
}

impl Writer {
    fn element(&mut self, tag: &Tag, value: &[u8]) {
        let start = self.bytes.len();
        let length = value.len().next_multiple_of(2);
        self.bytes.put_u16_le(0);
        self.bytes.put_u16_le(tag.element);
        self.bytes.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        self.bytes.put_slice(value);
        if length != value.len() {
            self.bytes.put_u8(if tag.vr == Vr::Ui { 0 } else { b' ' });
        }
        self.elements.push((tag.element, start..self.bytes.len()));
    }

    /// The elements by ascending tag, behind their group length (0000,0000).
    pub(super) fn finish(mut self) -> Bytes {
        self.elements.sort_by_key(|(element, _)| *element);
        let mut whole = BytesMut::with_capacity(self.bytes.len().saturating_add(12));
        whole.put_slice(&[0, 0, 0, 0, 4, 0, 0, 0]);
        whole.put_u32_le(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        for (_, range) in self.elements {
            whole.put_slice(self.bytes.get(range).unwrap_or_default());
        }
        whole.freeze()
    }
}

/// What a message's field is read from and written as.
pub(super) trait Value: Sized {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation>;
    fn write(&self, tag: &Tag, out: &mut Writer);
}

impl Value for Option<u16> {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        let Some(value) = elements.value(tag).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        match value.first_chunk() {
            Some(first) if value.len().is_multiple_of(2) => Ok(Some(u16::from_le_bytes(*first))),
            _ => Err(Violation::Message(tag.wrong_length)),
        }
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        if let Some(number) = self {
            out.element(tag, &number.to_le_bytes());
        }
    }
}

/// It must be there; only a priority that was not said is medium.
impl Value for u16 {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        match Option::<Self>::read(elements, tag)? {
            Some(number) => Ok(number),
            None if tag.element == PRIORITY.element => Ok(0),
            None => Err(Violation::Message(tag.missing)),
        }
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        Some(*self).write(tag, out);
    }
}

impl Value for Option<Status> {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        Ok(Option::<u16>::read(elements, tag)?.map(Status))
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        self.map(|status| status.0).write(tag, out);
    }
}

impl Value for Status {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        u16::read(elements, tag).map(Self)
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        self.0.write(tag, out);
    }
}

/// Whether a data set follows, where the kind of message leaves it open.
impl Value for bool {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        u16::read(elements, tag).map(|said| said != NO_DATA_SET)
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        let said = if *self { DATA_SET } else { NO_DATA_SET };
        said.write(tag, out);
    }
}

/// A UID or an AE title as it came. A missing one is empty: what to answer then is for the service to say.
impl Value for Bytes {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        Ok(elements.value(tag).unwrap_or_default())
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        out.element(tag, self);
    }
}

impl Value for Option<Bytes> {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        Ok(elements.value(tag))
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        if let Some(value) = self {
            out.element(tag, value);
        }
    }
}

impl Value for Option<String> {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        let value = elements.value(tag).unwrap_or_default();
        let shown = value.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => ' ',
        });
        Ok(Some(one_value(shown)).filter(|text| !text.is_empty()))
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        if let Some(text) = self.as_deref().and_then(comment_text) {
            out.element(tag, text.as_bytes());
        }
    }
}

impl Value for Vec<AttributeTag> {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        let value = elements.value(tag).unwrap_or_default();
        let (tags, rest) = value.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Violation::Message(tag.wrong_length));
        }
        let tags = tags.iter().map(|&[g, h, e, f]| AttributeTag {
            group: u16::from_le_bytes([g, h]),
            element: u16::from_le_bytes([e, f]),
        });
        Ok(tags.collect())
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        if self.is_empty() {
            return;
        }
        let mut value = Vec::with_capacity(self.len().saturating_mul(4));
        for AttributeTag { group, element } in self {
            value.extend_from_slice(&group.to_le_bytes());
            value.extend_from_slice(&element.to_le_bytes());
        }
        out.element(tag, &value);
    }
}

/// Two elements; the title says that there is one.
impl Value for Option<MoveOriginator> {
    fn read(elements: &Elements, tag: &Tag) -> Result<Self, Violation> {
        let message_id = Option::<u16>::read(elements, &MOVE_ORIGINATOR_MESSAGE_ID)?.unwrap_or(0);
        Ok(elements
            .value(tag)
            .map(|ae_title| MoveOriginator { ae_title, message_id }))
    }

    fn write(&self, tag: &Tag, out: &mut Writer) {
        if let Some(MoveOriginator { ae_title, message_id }) = self {
            out.element(tag, ae_title);
            message_id.write(&MOVE_ORIGINATOR_MESSAGE_ID, out);
        }
    }
}

/// An Error Comment as we send it: printable ASCII only, one value, at most 64 characters; `None` when nothing is left.
pub(super) fn comment_text(comment: &str) -> Option<String> {
    let text = one_value(comment.chars().filter(|c| matches!(c, ' '..='~')));
    Some(text).filter(|text| !text.is_empty())
}

/// One value of VR LO: a `\` would begin a second, outer spaces are padding.
fn one_value(text: impl Iterator<Item = char>) -> String {
    let text = text.map(|c| if c == '\\' { '/' } else { c });
    let text: String = text.skip_while(|c| *c == ' ').take(ERROR_COMMENT_LEN_MAX).collect();
    text.trim_end().to_owned()
}
