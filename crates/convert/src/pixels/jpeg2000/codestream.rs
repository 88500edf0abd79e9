//! What the headers of a codestream say (ISO/IEC 15444-1 Annex A), and whether all of it is reversible.

use crate::error::PixelError;

const SOC: u16 = 0xFF4F;
const SIZ: u16 = 0xFF51;
const COD: u16 = 0xFF52;
const COC: u16 = 0xFF53;
const QCD: u16 = 0xFF5C;
const QCC: u16 = 0xFF5D;
const SOT: u16 = 0xFF90;
const SOD: u16 = 0xFF93;
const EOC: u16 = 0xFFD9;
/// TLM, PLM, PLT, CRG and COM tell nothing that changes pixels; PPM and PPT hold packet headers.
const HARMLESS: [u16; 7] = [0xFF55, 0xFF57, 0xFF58, 0xFF63, 0xFF64, 0xFF60, 0xFF61];

const JP2_SIGNATURE: &[u8] = b"\0\0\0\x0CjP  \r\n\x87\n";
const BROKEN: PixelError = PixelError::Broken("the JPEG 2000 codestream");

/// The codestream, also when it stands in a JP2 file: PS3.5 §A.4.4 forbids one, and some write it all the same. What its
/// boxes say of colours the data set says too.
pub(super) fn unwrapped(frame: &[u8]) -> Result<&[u8], PixelError> {
    if !frame.starts_with(JP2_SIGNATURE) {
        return Ok(frame);
    }
    let mut rest = frame;
    while let Some((header, _)) = rest.split_first_chunk::<8>() {
        let [l3, l2, l1, l0, kind @ ..] = *header;
        let len = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        // 0: to the end; 1: a length of 64 bits, which nobody needs here.
        let len = if len == 0 { rest.len() } else { len };
        if len < 8 {
            return Err(BROKEN);
        }
        let (found, behind) = rest.split_at_checked(len).ok_or(BROKEN)?;
        if kind == *b"jp2c" {
            return found.get(8..).ok_or(BROKEN);
        }
        rest = behind;
    }
    Err(BROKEN)
}

/// A codestream that is reversible in all its parts.
#[derive(Debug)]
pub(super) struct Codestream<'a> {
    /// From SOC to EOC.
    pub(super) bytes: &'a [u8],
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Ssiz of each.
    pub(super) components: Vec<u8>,
    /// Any tile's.
    pub(super) has_colour_transform: bool,
}

impl<'a> Codestream<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, PixelError> {
        let mut headers = Headers { bytes, at: 0 };
        if headers.u16()? != SOC || headers.u16()? != SIZ {
            return Err(BROKEN);
        }
        let mut stream = Self::of_size(headers.segment()?)?;
        let mut transforms = Vec::new();
        let mut marker = headers.u16()?;
        loop {
            match marker {
                SOT => headers.tile_part(&mut stream, &mut transforms)?,
                EOC => break,
                marker => stream.segment(marker, headers.segment()?, &mut transforms)?,
            }
            marker = headers.u16()?;
        }
        stream.has_colour_transform = transforms.contains(&1);
        // Whether RCT was undone must be true of the whole picture.
        if transforms.is_empty() || (stream.has_colour_transform && transforms.contains(&0)) {
            return Err(PixelError::Unsupported(
                "tiles with and without a colour transformation",
            ));
        }
        stream.bytes = bytes.get(..headers.at).ok_or(BROKEN)?;
        Ok(stream)
    }

    /// SIZ (§A.5.1).
    fn of_size(segment: &'a [u8]) -> Result<Self, PixelError> {
        let word = |at: usize| {
            let bytes = segment.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(BROKEN)
        };
        let capabilities = segment
            .first_chunk()
            .map(|bytes| u16::from_be_bytes(*bytes))
            .ok_or(BROKEN)?;
        if capabilities & 0x4000 != 0 {
            return Err(PixelError::Unsupported("High-Throughput JPEG 2000"));
        }
        let size = |end: usize, start: usize| word(end)?.checked_sub(word(start)?).ok_or(BROKEN);
        let (columns, rows) = (size(2, 10)?, size(6, 14)?);
        let mut components = Vec::new();
        for component in segment.get(36..).ok_or(BROKEN)?.chunks(3) {
            match component {
                [depth, 1, 1] => components.push(*depth),
                [_, _, _] => return Err(PixelError::Unsupported("subsampled components")),
                _ => return Err(BROKEN),
            }
        }
        let count = segment
            .get(34..)
            .and_then(<[u8]>::first_chunk)
            .map(|bytes| u16::from_be_bytes(*bytes));
        if count.map(usize::from) != Some(components.len()) {
            return Err(BROKEN);
        }
        Ok(Self {
            bytes: &[],
            columns: columns as usize,
            rows: rows as usize,
            components,
            has_colour_transform: false,
        })
    }

    /// A marker segment of the main header or a tile-part's. `transforms`: what each COD says of colour.
    fn segment(&self, marker: u16, segment: &[u8], transforms: &mut Vec<u8>) -> Result<(), PixelError> {
        let is_wide = self.components.len() > 256;
        match marker {
            // §A.6.1: Scod, progression, layers, colour, levels, width, height, style, wavelet.
            COD => match segment {
                [_, _, _, _, colour @ 0..=1, _, _, _, style, wavelet, ..] => {
                    transforms.push(*colour);
                    reversible(*style, *wavelet)
                }
                _ => Err(BROKEN),
            },
            COC if !is_wide => match segment {
                [_, _, _, _, _, style, wavelet, ..] => reversible(*style, *wavelet),
                _ => Err(BROKEN),
            },
            QCD => unquantized(segment.first()),
            QCC if !is_wide => unquantized(segment.get(1)),
            marker if HARMLESS.contains(&marker) => Ok(()),
            _ => Err(PixelError::Unsupported("a marker segment that is rare")),
        }
    }

    /// Bits and sign of every component.
    pub(super) fn component(&self) -> Result<(u32, bool), PixelError> {
        let first = *self.components.first().ok_or(BROKEN)?;
        if self.components.iter().any(|other| *other != first) {
            return Err(PixelError::Unsupported("components of different depth"));
        }
        let precision = u32::from(first & 0x7F) + 1;
        if precision > 16 {
            return Err(PixelError::Unsupported("more than 16 bits"));
        }
        Ok((precision, first & 0x80 != 0))
    }
}

/// Style and wavelet transformation (Tables A.19, A.20).
fn reversible(style: u8, wavelet: u8) -> Result<(), PixelError> {
    if wavelet != 1 {
        return Err(PixelError::Lossy("its wavelet transformation is irreversible"));
    }
    if style & 0xC0 != 0 {
        return Err(PixelError::Unsupported("High-Throughput JPEG 2000"));
    }
    if style != 0 {
        return Err(PixelError::Unsupported("a code-block style that is rare"));
    }
    Ok(())
}

/// Sqcd, Sqcc (Table A.28).
fn unquantized(style: Option<&u8>) -> Result<(), PixelError> {
    match style {
        Some(style) if style & 0x1F == 0 => Ok(()),
        Some(_) => Err(PixelError::Lossy("it is quantized")),
        None => Err(BROKEN),
    }
}

struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Headers<'a> {
    /// Behind the SOT marker: its header, and past its data (§A.4.2).
    fn tile_part(&mut self, stream: &mut Codestream<'_>, transforms: &mut Vec<u8>) -> Result<(), PixelError> {
        let start = self.at - 2;
        let [_, _, p3, p2, p1, p0, _, _] = *self.segment()? else {
            return Err(BROKEN);
        };
        let len = u32::from_be_bytes([p3, p2, p1, p0]) as usize;
        loop {
            match self.u16()? {
                SOD => break,
                marker => stream.segment(marker, self.segment()?, transforms)?,
            }
        }
        self.at = match len {
            // The last one may say that it goes to EOC, which may have padding behind.
            0 => {
                let rest = self.bytes.get(self.at..).ok_or(BROKEN)?;
                let end = rest.windows(2).rposition(|pair| pair == EOC.to_be_bytes());
                self.at + end.ok_or(PixelError::Broken("it ends early"))?
            }
            len => start.checked_add(len).filter(|end| *end >= self.at).ok_or(BROKEN)?,
        };
        Ok(())
    }

    fn u16(&mut self) -> Result<u16, PixelError> {
        let bytes = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        let bytes = bytes.ok_or(PixelError::Broken("it ends early"))?;
        self.at += 2;
        Ok(u16::from_be_bytes(*bytes))
    }

    /// A marker segment's parameters, without its length.
    fn segment(&mut self) -> Result<&'a [u8], PixelError> {
        let len = usize::from(self.u16()?).checked_sub(2).ok_or(BROKEN)?;
        let segment = self.bytes.get(self.at..self.at + len);
        let segment = segment.ok_or(PixelError::Broken("it ends early"))?;
        self.at += len;
        Ok(segment)
    }
}
