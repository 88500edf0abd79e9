//! Instances of any size that are made while they are read and never held as a whole.

use std::fmt;
use std::io::{self, Read};

use packhorse_dicom::part10;
use packhorse_dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

use super::data_set::{element_header, smooth_image, swap_bytes};
use super::{DataSet, ImageSize, Study, Writing, uid};

/// Multi-frame Grayscale Word Secondary Capture Image Storage.
const CLASS: &str = "1.2.840.10008.5.1.4.1.1.7.3";
/// 512 KiB of pixels a frame.
const FRAME: ImageSize = ImageSize::square(512);
const FRAME_LEN: u64 = 512 * 1024;
/// Series of large instances, apart from others of the study.
const SERIES: u32 = 900;

/// A multi-frame image of at least the size that was asked for. [`Read`] gives its data set from the beginning.
#[derive(Clone)]
pub struct LargeInstance {
    /// SOP class, in the data set too.
    pub sop_class_uid: SopClassUid,
    /// SOP instance, in the data set too.
    pub sop_instance_uid: SopInstanceUid,
    /// How the data set is written.
    pub transfer_syntax: TransferSyntaxUid,
    /// Everything before the first pixel.
    pub(super) head: Vec<u8>,
    pub(super) frame: Vec<u8>,
    /// Which byte of each pixel is the low one.
    low_byte: u64,
    frames: u64,
    position: u64,
}

impl fmt::Debug for LargeInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeInstance")
            .field("sop_instance_uid", &self.sop_instance_uid)
            .field("len", &self.len())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl LargeInstance {
    /// The study's large instance of this number, with at least so many bytes of pixels: at most 4 GiB less one frame,
    /// what one data element holds.
    ///
    /// # Panics
    /// When more is asked for.
    #[must_use]
    pub fn new(study: &Study, number: u32, pixels_len: u64) -> Self {
        let frames = pixels_len.div_ceil(FRAME_LEN).max(1);
        let pixels = u32::try_from(frames * FRAME_LEN).expect("one data element holds less than 4 GiB");
        let instance_uid = uid(&format!("{}/{SERIES}/{number}", study.seed));
        let mut head = study
            .common(CLASS, "OT", SERIES, number)
            .text(0x0020_000E, b"UI", &uid(&format!("{}/{SERIES}", study.seed)))
            .text(0x0008_0018, b"UI", &instance_uid)
            .and(DataSet::default().text(0x0008_0064, b"CS", "WSD"))
            .text(0x0028_0008, b"IS", &frames.to_string())
            .image_attributes(FRAME)
            .encode(study.writing);
        element_header(0x7FE0_0010, *b"OW", pixels, study.writing, &mut head);
        let mut frame = smooth_image(FRAME, number);
        let big_endian = study.writing == Writing::BigEndian;
        if big_endian {
            swap_bytes(*b"OW", &mut frame);
        }
        Self {
            sop_class_uid: SopClassUid::try_from(CLASS).expect("a UID of the standard"),
            sop_instance_uid: SopInstanceUid::try_from(instance_uid.as_str()).expect("made by uid()"),
            transfer_syntax: study.transfer_syntax(),
            head,
            frame,
            low_byte: u64::from(big_endian),
            frames,
            position: 0,
        }
    }

    /// Bytes of the whole data set.
    #[must_use]
    pub fn len(&self) -> u64 {
        len_of(&self.head) + self.frames * FRAME_LEN
    }

    /// Never: every instance has a header.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// What comes before the data set in a file.
    #[must_use]
    pub fn file_meta(&self) -> Vec<u8> {
        part10::write_file_meta(&self.sop_class_uid, &self.sop_instance_uid, &self.transfer_syntax)
    }

    /// The rest of the data set in pieces of `chunk_len` bytes, the last one shorter.
    pub fn chunks(mut self, chunk_len: usize) -> impl Iterator<Item = Vec<u8>> {
        std::iter::from_fn(move || {
            let mut chunk = vec![0; chunk_len.max(1)];
            let mut filled = 0;
            while filled < chunk.len() {
                match self.fill(&mut chunk[filled..]) {
                    0 => break,
                    some => filled += some,
                }
            }
            chunk.truncate(filled);
            (filled > 0).then_some(chunk)
        })
    }

    fn fill(&mut self, out: &mut [u8]) -> usize {
        let head_len = len_of(&self.head);
        let filled = match self.position.checked_sub(head_len) {
            None => copy(&self.head, self.position, out),
            Some(pixels) if pixels >= self.frames * FRAME_LEN => 0,
            Some(pixels) => {
                let filled = copy(&self.frame, pixels % FRAME_LEN, out);
                let turn = (pixels / FRAME_LEN).to_le_bytes()[0];
                // Frames differ in their low bytes: no two are the same to a deduplicating codec.
                let skipped = usize::from(pixels % 2 != self.low_byte);
                let low_bytes = out[..filled].iter_mut().skip(skipped).step_by(2);
                low_bytes.for_each(|byte| *byte = byte.wrapping_add(turn));
                filled
            }
        };
        self.position += u64::try_from(filled).expect("a slice's length");
        filled
    }
}

impl Read for LargeInstance {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.fill(out))
    }
}

fn copy(from: &[u8], position: u64, out: &mut [u8]) -> usize {
    let rest = &from[usize::try_from(position).expect("within a slice")..];
    let len = rest.len().min(out.len());
    out[..len].copy_from_slice(&rest[..len]);
    len
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a slice's length")
}
