//! Native Pixel Data: where it lies and how its samples are laid out (PS3.3 §C.7.6.3).

use std::num::ParseIntError;

/// Native Pixel Data, for whoever codes it by its samples. Attributes are those beside it, not those of an icon within a
/// sequence; each is `None` when it is absent or not one number of two bytes, as where a writer made it UL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelData {
    /// Which element it is.
    pub kind: PixelDataKind,
    /// Where its value begins, in bytes from the data set's beginning.
    pub offset: u64,
    /// Bytes of its value as the element says: a data set that was cut has fewer.
    pub len: u32,
    /// (0028,0002)
    pub samples_per_pixel: Option<u16>,
    /// (0028,0006), which stands only beside several samples per pixel.
    pub planar_configuration: Option<u16>,
    /// (0028,0008), the number its text says; `None` when absent, which is one frame, or no number.
    pub number_of_frames: Option<u32>,
    /// (0028,0010)
    pub rows: Option<u16>,
    /// (0028,0011)
    pub columns: Option<u16>,
    /// (0028,0100)
    pub bits_allocated: Option<u16>,
    /// (0028,0103), which does not stand beside floats.
    pub pixel_representation: Option<u16>,
}

/// Where the value of Pixel Data lies, native or encapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelsPlace {
    /// Where its value begins, in bytes from the data set's beginning: at the Basic Offset Table when it is encapsulated.
    pub offset: u64,
    /// Bytes of the value as the element says; `None` when it is encapsulated, for its end is not looked for.
    pub len: Option<u32>,
}

/// The three elements that pixels are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelDataKind {
    /// Float Pixel Data (7FE0,0008)
    Float,
    /// Double Float Pixel Data (7FE0,0009)
    DoubleFloat,
    /// Pixel Data (7FE0,0010)
    Integer,
}

impl PixelDataKind {
    pub(super) const fn of(tag: u32) -> Option<Self> {
        Some(match tag {
            0x7FE0_0008 => Self::Float,
            0x7FE0_0009 => Self::DoubleFloat,
            0x7FE0_0010 => Self::Integer,
            _ => return None,
        })
    }
}

const NUMBER_OF_FRAMES: u32 = 0x0028_0008;

/// What has been read of the attributes of [`PixelData`].
#[derive(Debug, Default)]
pub(super) struct PixelAttributes {
    samples_per_pixel: Option<u16>,
    planar_configuration: Option<u16>,
    number_of_frames: Option<u32>,
    rows: Option<u16>,
    columns: Option<u16>,
    bits_allocated: Option<u16>,
    pixel_representation: Option<u16>,
}

impl PixelAttributes {
    /// Whether this element is one of them.
    pub(super) const fn keeps(&mut self, tag: u32) -> bool {
        tag == NUMBER_OF_FRAMES || self.short(tag).is_some()
    }

    pub(super) fn keep(&mut self, tag: u32, value: &[u8], big_endian: bool) {
        if tag == NUMBER_OF_FRAMES {
            self.number_of_frames = integer_string(value).ok();
        } else if let Some(place) = self.short(tag) {
            let read = if big_endian {
                u16::from_be_bytes
            } else {
                u16::from_le_bytes
            };
            *place = value.try_into().ok().map(read);
        }
    }

    pub(super) const fn place(&self, kind: PixelDataKind, offset: u64, len: u32) -> PixelData {
        PixelData {
            kind,
            offset,
            len,
            samples_per_pixel: self.samples_per_pixel,
            planar_configuration: self.planar_configuration,
            number_of_frames: self.number_of_frames,
            rows: self.rows,
            columns: self.columns,
            bits_allocated: self.bits_allocated,
            pixel_representation: self.pixel_representation,
        }
    }

    const fn short(&mut self, tag: u32) -> Option<&mut Option<u16>> {
        Some(match tag {
            0x0028_0002 => &mut self.samples_per_pixel,
            0x0028_0006 => &mut self.planar_configuration,
            0x0028_0010 => &mut self.rows,
            0x0028_0011 => &mut self.columns,
            0x0028_0100 => &mut self.bits_allocated,
            0x0028_0103 => &mut self.pixel_representation,
            _ => return None,
        })
    }
}

/// The number of a value of VR IS, which may be padded.
pub(super) fn integer_string(value: &[u8]) -> Result<u32, ParseIntError> {
    let text = str::from_utf8(value).unwrap_or_default();
    text.trim_matches([' ', '\0']).parse()
}
