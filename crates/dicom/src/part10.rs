//! The file format (PS3.10): file meta information in and out. Tolerant of what real files lack: preamble, group length,
//! transfer syntax, the whole file meta group. No I/O, and nothing of a data set but what [`crate::header`] finds.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::header::{Header, HeaderScan};
use crate::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use crate::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, encoding_of};
use crate::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// Bytes of a file's beginning that [`read_file_meta`] needs at most; a longer file meta group is no file meta group.
pub const BEGINNING_LEN: usize = 64 * 1024;
const PREAMBLE_LEN: usize = 128;
const PREFIX: &[u8] = b"DICM";

/// What a file's beginning says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// (0002,0002); `None` when absent or no UID.
    pub sop_class_uid: Option<SopClassUid>,
    /// (0002,0003); `None` when absent or no UID. It may differ from the data set's.
    pub sop_instance_uid: Option<SopInstanceUid>,
    /// (0002,0010), or what the first bytes of the data set look like.
    pub transfer_syntax: TransferSyntaxUid,
    /// Where the data set begins, in bytes.
    pub data_set_offset: u64,
}

impl FileMeta {
    /// A scan in this file's encoding: push the bytes from `data_set_offset` on, then ask
    /// [`or_from_data_set`](Self::or_from_data_set) or [`corrected_by_data_set`](Self::corrected_by_data_set).
    #[must_use]
    pub fn header_scan(&self) -> HeaderScan {
        HeaderScan::new(encoding_of(&self.transfer_syntax))
    }

    /// With class and instance as the data set says where the file meta information does not.
    #[must_use]
    pub fn or_from_data_set(mut self, header: &Header) -> Self {
        self.sop_class_uid = self.sop_class_uid.or_else(|| class_of(header));
        self.sop_instance_uid = self.sop_instance_uid.or_else(|| instance_of(header));
        self
    }

    /// With class and instance as the data set says wherever it does: what a C-STORE-RQ must name, since the data set is
    /// what is sent.
    #[must_use]
    pub fn corrected_by_data_set(mut self, header: &Header) -> Self {
        self.sop_class_uid = class_of(header).or(self.sop_class_uid);
        self.sop_instance_uid = instance_of(header).or(self.sop_instance_uid);
        self
    }
}

fn class_of(header: &Header) -> Option<SopClassUid> {
    SopClassUid::try_from(header.sop_class_uid.as_deref()?).ok()
}

fn instance_of(header: &Header) -> Option<SopInstanceUid> {
    SopInstanceUid::try_from(header.sop_instance_uid.as_deref()?).ok()
}

/// Why a file is no DICOM file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Part10Error {
    /// Neither `DICM` at byte 128 nor anything that looks like a data set at the beginning.
    #[error("not a DICOM file: no DICM prefix, and it does not begin with a data element")]
    NotDicom,
    /// The file meta group is cut short, or longer than [`BEGINNING_LEN`].
    #[error("the file meta information is cut short")]
    Truncated,
    /// Nothing behind the file meta group.
    #[error("the file has no data set")]
    NoDataSet,
}

/// Reads the file meta information in `beginning`, the first [`BEGINNING_LEN`] bytes of the file (or all of a shorter one).
///
/// # Errors
/// [`Part10Error`] when there is no data set to send.
pub fn read_file_meta(beginning: &[u8]) -> Result<FileMeta, Part10Error> {
    let prefix = prefix_len(beginning);
    let mut meta = Meta {
        bytes: beginning,
        at: prefix,
        class: None,
        instance: None,
        syntax: None,
    };
    while meta.element()? {}
    let data_set = beginning.get(meta.at..).unwrap_or_default();
    let has_meta = meta.at > 0;
    if data_set.is_empty() && has_meta {
        return Err(Part10Error::NoDataSet);
    }
    let said = meta.syntax.and_then(|value| TransferSyntaxUid::try_from(value).ok());
    let transfer_syntax = match said {
        Some(syntax) => syntax,
        None => guess(data_set, has_meta).ok_or(Part10Error::NotDicom)?,
    };
    Ok(FileMeta {
        sop_class_uid: meta.class.and_then(|value| SopClassUid::try_from(value).ok()),
        sop_instance_uid: meta.instance.and_then(|value| SopInstanceUid::try_from(value).ok()),
        transfer_syntax,
        data_set_offset: u64::try_from(meta.at).unwrap_or(u64::MAX),
    })
}

/// Bytes before the first data element: preamble and prefix, the prefix alone, or nothing.
fn prefix_len(beginning: &[u8]) -> usize {
    let behind_preamble = beginning.get(PREAMBLE_LEN..).unwrap_or_default();
    if behind_preamble.starts_with(PREFIX) {
        PREAMBLE_LEN.saturating_add(PREFIX.len())
    } else if beginning.starts_with(PREFIX) {
        PREFIX.len()
    } else {
        0
    }
}

struct Meta<'a> {
    bytes: &'a [u8],
    at: usize,
    class: Option<&'a [u8]>,
    instance: Option<&'a [u8]>,
    syntax: Option<&'a [u8]>,
}

impl Meta<'_> {
    /// Reads the next element of group 0002; `false` at another group. It is Explicit VR Little Endian, though some
    /// writers leave the VR out. The group length is not believed.
    fn element(&mut self) -> Result<bool, Part10Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let &[2, 0, c, d, e, f, g, h, ..] = rest else {
            return Ok(false);
        };
        let (length, header) = match &[e, f] {
            b"OB" | b"UN" | b"OW" | b"UT" | b"UC" | b"UR" | b"SQ" => {
                let length = rest.get(8..).and_then(<[u8]>::first_chunk);
                (u32::from_le_bytes(*length.ok_or(Part10Error::Truncated)?), 12_usize)
            }
            vr if vr.iter().all(u8::is_ascii_uppercase) => (u32::from(u16::from_le_bytes([g, h])), 8),
            _ => (u32::from_le_bytes([e, f, g, h]), 8),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let end = header.saturating_add(length);
        let value = rest.get(header..end).ok_or(Part10Error::Truncated)?;
        match u16::from_le_bytes([c, d]) {
            0x0002 => self.class = Some(value),
            0x0003 => self.instance = Some(value),
            0x0010 => self.syntax = Some(value),
            _ => {}
        }
        self.at = self.at.saturating_add(end);
        Ok(true)
    }
}

/// The syntax that a data set looks like by its first tag's byte order and VR; `None` when it looks like no data set.
/// Without file meta information the tag must be of group 0008, where every data set begins, and its value short: a file
/// may be anything.
fn guess(data_set: &[u8], has_meta: bool) -> Option<TransferSyntaxUid> {
    let &[a, b, _, _, e, f, g, h, ..] = data_set else {
        return None;
    };
    let groups = if has_meta { 1..=0x20 } else { 8..=8 };
    let has_vr = e.is_ascii_uppercase() && f.is_ascii_uppercase();
    let length = u32::from_le_bytes([e, f, g, h]);
    let uid = match (a, b) {
        (0, group) if has_vr && groups.contains(&group) => EXPLICIT_VR_BE,
        (group, 0) if has_vr && groups.contains(&group) => EXPLICIT_VR_LE,
        (group, 0) if (has_meta || length <= FIRST_VALUE_LEN_MAX) && groups.contains(&group) => IMPLICIT_VR_LE,
        _ => return None,
    };
    TransferSyntaxUid::try_from(uid).ok()
}

/// No first element of a data set (group length, character set, image type, SOP class) has a longer value.
const FIRST_VALUE_LEN_MAX: u32 = 1024;

/// A file's beginning for a data set as it came: preamble of zeros (a preamble of somebody else's may be a program),
/// `DICM`, file meta group.
#[must_use]
pub fn write_file_meta(class: &SopClassUid, instance: &SopInstanceUid, syntax: &TransferSyntaxUid) -> Vec<u8> {
    let mut group = Vec::new();
    long_element(&mut group, 0x0001, *b"OB", &[0, 1]);
    element(&mut group, 0x0002, *b"UI", class.as_str(), 0);
    element(&mut group, 0x0003, *b"UI", instance.as_str(), 0);
    element(&mut group, 0x0010, *b"UI", syntax.as_str(), 0);
    element(&mut group, 0x0012, *b"UI", IMPLEMENTATION_CLASS_UID, 0);
    element(&mut group, 0x0013, *b"SH", IMPLEMENTATION_VERSION_NAME, b' ');
    let mut out = vec![0; PREAMBLE_LEN];
    out.extend_from_slice(b"DICM\x02\x00\x00\x00UL\x04\x00");
    out.extend_from_slice(&u32::try_from(group.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&group);
    out
}

fn element(out: &mut Vec<u8>, element: u16, vr: [u8; 2], value: &str, pad: u8) {
    let odd = value.len() % 2 == 1;
    out.extend_from_slice(&[2, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&vr);
    let length = value.len().saturating_add(usize::from(odd));
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
    out.extend(odd.then_some(pad));
}

fn long_element(out: &mut Vec<u8>, element: u16, vr: [u8; 2], value: &[u8]) {
    out.extend_from_slice(&[2, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&vr);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> Vec<u8> {
        let class = SopClassUid::try_from("1.2.840.10008.5.1.4.1.1.2").unwrap();
        let instance = SopInstanceUid::try_from("1.2.3").unwrap();
        let syntax = TransferSyntaxUid::try_from(EXPLICIT_VR_LE).unwrap();
        let mut file = write_file_meta(&class, &instance, &syntax);
        file.extend_from_slice(b"\x08\x00\x05\x00CS\x00\x00");
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let meta = read_file_meta(&file()).unwrap();
        assert_eq!(meta.sop_instance_uid.unwrap().as_str(), "1.2.3");
        assert_eq!(meta.transfer_syntax.as_str(), EXPLICIT_VR_LE);
        assert_eq!(meta.data_set_offset, u64::try_from(file().len() - 8).unwrap());
    }

    #[test]
    fn files_without_preamble_or_without_meta_are_read() {
        let whole = file();
        assert!(read_file_meta(&whole[128..]).is_ok());
        let bare = &whole[whole.len() - 8..];
        let meta = read_file_meta(bare).unwrap();
        assert_eq!(
            (meta.transfer_syntax.as_str(), meta.data_set_offset),
            (EXPLICIT_VR_LE, 0)
        );
    }

    #[test]
    fn file_meta_without_vrs_or_transfer_syntax_is_read() {
        let mut file = b"DICM\x02\x00\x03\x00\x06\x00\x00\x001.2.3\x00".to_vec();
        file.extend_from_slice(b"\x08\x00\x05\x00\x00\x00\x00\x00");
        let meta = read_file_meta(&file).unwrap();
        assert_eq!(meta.sop_instance_uid.unwrap().as_str(), "1.2.3");
        assert_eq!(
            (meta.transfer_syntax.as_str(), meta.data_set_offset),
            (IMPLICIT_VR_LE, 18)
        );
    }

    #[test]
    fn a_bare_data_set_is_known_by_its_byte_order_and_vr() {
        let syntax = |bytes: &[u8]| read_file_meta(bytes).map(|meta| meta.transfer_syntax.as_str().to_owned());
        assert_eq!(syntax(b"\x08\x00\x05\x00CS\x00\x00").unwrap(), EXPLICIT_VR_LE);
        assert_eq!(syntax(b"\x00\x08\x00\x05CS\x00\x00").unwrap(), EXPLICIT_VR_BE);
        assert_eq!(syntax(b"\x08\x00\x05\x00\x00\x00\x00\x00").unwrap(), IMPLICIT_VR_LE);
        assert_eq!(syntax(b"\x08\x00 text and no data set"), Err(Part10Error::NotDicom));
        assert_eq!(syntax(b"\x01\x00\x05\x00\x00\x00\x00\x00"), Err(Part10Error::NotDicom));
    }

    #[test]
    fn what_file_meta_lacks_is_found_in_the_data_set_and_the_data_set_wins_where_it_must() {
        let element = |number: u8, value: &[u8]| [&[8, 0, number, 0, b'U', b'I', 6, 0], value].concat();
        let bare = [element(0x16, b"1.2.9\0"), element(0x18, b"1.2.8\0")].concat();
        let meta = read_file_meta(&bare).unwrap();
        let mut scan = meta.header_scan();
        scan.push(&bare);
        let header = scan.finish();
        let found = meta.or_from_data_set(&header);
        assert_eq!(found.sop_class_uid.unwrap().as_str(), "1.2.9");
        assert_eq!(found.sop_instance_uid.unwrap().as_str(), "1.2.8");
        let other = read_file_meta(&file()).unwrap();
        assert_eq!(
            other
                .clone()
                .or_from_data_set(&header)
                .sop_instance_uid
                .unwrap()
                .as_str(),
            "1.2.3"
        );
        assert_eq!(
            other.corrected_by_data_set(&header).sop_instance_uid.unwrap().as_str(),
            "1.2.8"
        );
    }

    #[test]
    fn what_is_no_dicom_file() {
        assert_eq!(
            read_file_meta(b"\xff\xd8\xff\xe0 a picture"),
            Err(Part10Error::NotDicom)
        );
        assert_eq!(read_file_meta(b""), Err(Part10Error::NotDicom));
        let whole = file();
        assert_eq!(read_file_meta(&whole[..whole.len() - 8]), Err(Part10Error::NoDataSet));
        assert_eq!(read_file_meta(&whole[..180]), Err(Part10Error::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_file_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut file = file();
            for (place, byte) in changed {
                let place = place.index(file.len());
                file[place] = byte;
            }
            for beginning in [bytes, file] {
                if let Ok(meta) = read_file_meta(&beginning) {
                    prop_assert!(meta.data_set_offset <= u64::try_from(beginning.len()).unwrap());
                }
            }
        }
    }
}
