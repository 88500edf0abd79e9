//! The file format (PS3.10): file meta information in and out. Tolerant of what real files lack: preamble, group length,
//! transfer syntax, the whole file meta group.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use crate::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// Bytes of a file's beginning that [`read_file_meta`] needs at most; a longer file meta group is no file meta group.
pub const BEGINNING_LEN: usize = 64 * 1024;
const PREAMBLE_LEN: usize = 128;

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
    let start = match beginning
        .get(PREAMBLE_LEN..)
        .and_then(|rest| rest.strip_prefix(b"DICM"))
    {
        Some(_) => PREAMBLE_LEN.saturating_add(4),
        None if beginning.starts_with(b"DICM") => 4,
        None => 0,
    };
    let mut meta = Meta {
        bytes: beginning,
        at: start,
        class: None,
        instance: None,
        syntax: None,
    };
    while meta.element()? {}
    let data_set = beginning.get(meta.at..).unwrap_or_default();
    if data_set.is_empty() {
        return Err(if meta.at == 0 {
            Part10Error::NotDicom
        } else {
            Part10Error::NoDataSet
        });
    }
    let guessed = guess(data_set).ok_or(Part10Error::NotDicom);
    let said = meta.syntax.and_then(|value| TransferSyntaxUid::try_from(value).ok());
    let transfer_syntax = match said {
        Some(syntax) => syntax,
        None => guessed?,
    };
    Ok(FileMeta {
        sop_class_uid: meta.class.and_then(|value| SopClassUid::try_from(value).ok()),
        sop_instance_uid: meta.instance.and_then(|value| SopInstanceUid::try_from(value).ok()),
        transfer_syntax,
        data_set_offset: u64::try_from(meta.at).unwrap_or(u64::MAX),
    })
}

struct Meta<'a> {
    bytes: &'a [u8],
    at: usize,
    class: Option<&'a [u8]>,
    instance: Option<&'a [u8]>,
    syntax: Option<&'a [u8]>,
}

impl Meta<'_> {
    /// Reads the next element of group 0002 (Explicit VR Little Endian); `false` at another group. The group length is
    /// not believed.
    fn element(&mut self) -> Result<bool, Part10Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let &[2, 0, c, d, e, f, g, h, ..] = rest else {
            return Ok(false);
        };
        let (length, header) = if matches!(&[e, f], b"OB" | b"UN" | b"OW" | b"UT") {
            let length = rest
                .get(8..12)
                .and_then(<[u8]>::first_chunk)
                .ok_or(Part10Error::Truncated)?;
            (usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX), 12)
        } else {
            (usize::from(u16::from_le_bytes([g, h])), 8_usize)
        };
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

/// The syntax that a data set without file meta looks like: by the VR and the byte order of its first tag, which is in a
/// low group. `None` when it looks like no data set.
fn guess(data_set: &[u8]) -> Option<TransferSyntaxUid> {
    let &[a, b, _, _, e, f, ..] = data_set else { return None };
    let has_vr = e.is_ascii_uppercase() && f.is_ascii_uppercase();
    let uid = match (a, b) {
        (0, 1..=0x20) if has_vr => EXPLICIT_VR_BE,
        (1..=0x20, 0) if has_vr => EXPLICIT_VR_LE,
        (1..=0x20, 0) => IMPLICIT_VR_LE,
        _ => return None,
    };
    TransferSyntaxUid::try_from(uid).ok()
}

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
        fn any_bytes_are_a_file_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _either = read_file_meta(&bytes);
        }
    }
}
