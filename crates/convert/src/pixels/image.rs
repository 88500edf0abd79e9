//! What the data set says of its pixels, and where decoded ones are gathered.

use bytes::Bytes;
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::error::{ConvertError, PixelError};
use crate::tree::{Element, text_of, u16_of};

/// The Image Pixel Module (PS3.3 §C.7.6.3), as far as it tells how pixels are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Rows (0028,0010); not 0.
    pub(super) rows: usize,
    /// Columns (0028,0011); not 0.
    pub(super) columns: usize,
    /// Samples per Pixel (0028,0002): 1 or 3.
    pub(super) samples: usize,
    /// Bits Allocated (0028,0100): 1, 8, 16 or 32.
    pub(super) bits_allocated: u32,
    /// Bits Stored (0028,0101): 1 to Bits Allocated.
    pub(super) bits_stored: u32,
    /// Pixel Representation (0028,0103) is 1.
    pub(super) is_signed: bool,
    /// Planar Configuration (0028,0006) is 1.
    pub(super) is_by_plane: bool,
    /// Photometric Interpretation (0028,0004) is `YBR_RCT`.
    pub(super) is_rct: bool,
    /// Photometric Interpretation is one of three colours.
    pub(super) is_rgb: bool,
    /// Number of Frames (0028,0008); 1 when it is absent.
    pub(super) frames: usize,
}

impl Image {
    pub(super) fn of(elements: &[Element]) -> Result<Self, PixelError> {
        let number = |tag: Tag| u16_of(elements, tag).ok_or(PixelError::Attribute { tag });
        let one_of = |tag: Tag, allowed: &[u16]| {
            let value = number(tag)?;
            allowed
                .contains(&value)
                .then_some(value)
                .ok_or(PixelError::Attribute { tag })
        };
        let size = |tag: Tag| {
            let size = usize::from(number(tag)?);
            (size > 0).then_some(size).ok_or(PixelError::Attribute { tag })
        };
        let samples = usize::from(one_of(tags::SAMPLES_PER_PIXEL, &[1, 3])?);
        let bits_allocated = u32::from(one_of(tags::BITS_ALLOCATED, &[1, 8, 16, 32])?);
        let bits_stored = u32::from(number(tags::BITS_STORED)?);
        let tag = tags::BITS_STORED;
        if bits_stored == 0 || bits_stored > bits_allocated || (bits_allocated == 1 && samples > 1) {
            return Err(PixelError::Attribute { tag });
        }
        // Elsewhere than at the bottom of their cell pixels were only before 1998.
        let tag = tags::HIGH_BIT;
        if u32::from(number(tag)?) != bits_stored - 1 {
            return Err(PixelError::Attribute { tag });
        }
        let is_by_plane = samples > 1 && one_of(tags::PLANAR_CONFIGURATION, &[0, 1]).unwrap_or(0) == 1;
        let photometric = text_of(elements, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
        let tag = tags::PHOTOMETRIC_INTERPRETATION;
        let needed = match photometric {
            "MONOCHROME1" | "MONOCHROME2" | "PALETTE COLOR" => 1,
            "RGB" | "YBR_FULL" | "YBR_RCT" => 3,
            // Subsampled, or of an irreversible transformation.
            _ => return Err(PixelError::Attribute { tag }),
        };
        if needed != samples {
            return Err(PixelError::Attribute { tag });
        }
        Ok(Self {
            rows: size(tags::ROWS)?,
            columns: size(tags::COLUMNS)?,
            samples,
            bits_allocated,
            bits_stored,
            is_signed: one_of(tags::PIXEL_REPRESENTATION, &[0, 1])? == 1,
            is_by_plane,
            is_rct: photometric == "YBR_RCT",
            is_rgb: photometric == "RGB",
            frames: frames(elements)?,
        })
    }

    /// Pixels of one frame.
    pub(super) const fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Bytes of one frame that stands alone.
    pub(super) const fn stored_len(&self) -> usize {
        (self.pixels() * self.samples * self.bits_allocated as usize).div_ceil(8)
    }

    /// Bytes of all frames; single bits go on from frame to frame (PS3.5 §8.1.1).
    pub(super) fn total_len(&self) -> Result<usize, PixelError> {
        let bits = self.pixels() * self.samples * self.bits_allocated as usize;
        let total = bits.checked_mul(self.frames).map(|bits| bits.div_ceil(8));
        total.ok_or(PixelError::Attribute {
            tag: tags::NUMBER_OF_FRAMES,
        })
    }

    /// That a stream has this image's size.
    pub(super) fn has_size(&self, columns: usize, rows: usize) -> Result<(), PixelError> {
        if (columns, rows) == (self.columns, self.rows) {
            Ok(())
        } else {
            Err(PixelError::Disagrees("Rows and Columns"))
        }
    }

    /// That a stream has this many samples, of so many bits.
    pub(super) const fn has_samples(&self, samples: usize, precision: u32) -> Result<(), PixelError> {
        if samples != self.samples {
            return Err(PixelError::Disagrees("Samples per Pixel"));
        }
        if precision > self.bits_allocated {
            return Err(PixelError::Disagrees("Bits Allocated"));
        }
        // A stream of unsigned samples carries signed ones as their bits: the sign must be one of them.
        if precision < self.bits_stored && self.is_signed {
            return Err(PixelError::Disagrees("Bits Stored"));
        }
        Ok(())
    }
}

fn frames(elements: &[Element]) -> Result<usize, PixelError> {
    let tag = tags::NUMBER_OF_FRAMES;
    match text_of(elements, tag) {
        None | Some("") => Ok(1),
        Some(text) => match text.parse() {
            Ok(frames) if frames > 0 => Ok(frames),
            _ => Err(PixelError::Attribute { tag }),
        },
    }
}

/// One decoded frame: sample by sample, pixel by pixel, as the bits of their cells. A stream of signed samples gives whole
/// numbers; one of unsigned samples gives signed ones as the bits it has, with zeros above.
#[derive(Debug)]
pub(super) struct Samples(pub(super) Vec<u16>);

/// Native Pixel Data as it grows.
pub(super) struct Output<'a> {
    image: &'a Image,
    bytes: Vec<u8>,
    total: usize,
    /// Bits behind the last whole byte, when one bit is allocated.
    bits: (u8, u32),
}

impl<'a> Output<'a> {
    pub(super) const fn new(image: &'a Image, total: usize) -> Self {
        Self {
            image,
            bytes: Vec::new(),
            total,
            bits: (0, 0),
        }
    }

    /// One frame in the form in which it is stored.
    pub(super) fn push_stored(&mut self, frame: &[u8]) -> Result<(), PixelError> {
        if self.image.bits_allocated == 1 {
            let bits = frame.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
            bits.take(self.image.pixels()).for_each(|bit| self.push_bit(bit));
            return Ok(());
        }
        self.bytes.extend_from_slice(frame);
        Ok(())
    }

    /// One decoded frame.
    pub(super) fn push(&mut self, Samples(values): &Samples) -> Result<(), PixelError> {
        if values.len() != self.image.pixels() * self.image.samples {
            return Err(PixelError::Broken("a frame has not all its pixels"));
        }
        match self.image.bits_allocated {
            1 => values
                .iter()
                .for_each(|value| self.push_bit(value.to_le_bytes()[0] & 1)),
            8 => self.bytes.extend(values.iter().map(|value| value.to_le_bytes()[0])),
            16 => self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            _ => return Err(PixelError::Unsupported("more than 16 bits")),
        }
        Ok(())
    }

    fn push_bit(&mut self, bit: u8) {
        let (byte, len) = self.bits;
        let byte = byte | bit << len;
        self.bits = if len == 7 {
            self.bytes.push(byte);
            (0, 0)
        } else {
            (byte, len + 1)
        };
    }

    /// All of it, of even length.
    pub(super) fn finish(mut self) -> Result<Bytes, ConvertError> {
        if self.bits.1 > 0 {
            self.bytes.push(self.bits.0);
        }
        if self.bytes.len() != self.total {
            return Err(PixelError::Disagrees("a frame's length").into());
        }
        if self.bytes.len() % 2 == 1 {
            self.bytes.push(0);
        }
        Ok(self.bytes.into())
    }
}
