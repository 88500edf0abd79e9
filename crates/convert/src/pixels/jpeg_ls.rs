//! JPEG-LS, lossless (ISO/IEC 14495-1). No mapping tables, no restarts, no subsampling, no colour transformation of the
//! Hewlett-Packard kind.

mod context;
mod scan;

use super::image::{Image, Samples};
use super::jpeg_bits::Stream;
use crate::error::PixelError;
use scan::{Interleave, Parameters, Scan};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOF55: u8 = 0xF7;
const LSE: u8 = 0xF8;
const SOS: u8 = 0xDA;
const DRI: u8 = 0xDD;
const APP8: u8 = 0xE8;

/// One frame.
///
/// # Errors
/// [`PixelError`].
pub(super) fn decode(frame: &[u8], image: &Image) -> Result<Samples, PixelError> {
    let mut stream = Stream::new(frame);
    if stream.marker()? != SOI {
        return Err(PixelError::Broken("no JPEG-LS stream"));
    }
    let mut decoder = Decoder {
        image,
        precision: 0,
        components: Vec::new(),
        preset: None,
        values: Vec::new(),
        decoded: [false; 3],
    };
    loop {
        match stream.marker()? {
            SOF55 => decoder.frame_header(stream.segment()?)?,
            LSE => decoder.preset(stream.segment()?)?,
            SOS => {
                let scan = decoder.scan_header(stream.segment()?)?;
                let taken = scan.decode(&mut decoder.values, stream.bits())?;
                stream.at += taken;
            }
            EOI => return decoder.finish(),
            APP8 if stream.segment()?.starts_with(b"mrfx") => {
                return Err(PixelError::Unsupported("a colour transformation"));
            }
            APP8 => {}
            DRI if stream.segment()? != [0, 0] => return Err(PixelError::Unsupported("restarts")),
            DRI => {}
            0xE0..=0xEF | 0xFE => drop(stream.segment()?),
            _ => return Err(PixelError::Unsupported("a marker of another process")),
        }
    }
}

struct Decoder<'a> {
    image: &'a Image,
    precision: u32,
    /// Component identifiers, in the frame's order.
    components: Vec<u8>,
    /// MAXVAL, T1, T2, T3, RESET; 0: the default.
    preset: Option<[u16; 5]>,
    values: Vec<u16>,
    decoded: [bool; 3],
}

impl Decoder<'_> {
    /// ISO/IEC 14495-1 §C.2.2.
    fn frame_header(&mut self, segment: &[u8]) -> Result<(), PixelError> {
        let [precision, y1, y0, x1, x0, count, specifications @ ..] = segment else {
            return Err(PixelError::Broken("the frame header"));
        };
        let (rows, columns) = (u16::from_be_bytes([*y1, *y0]), u16::from_be_bytes([*x1, *x0]));
        self.image.has_size(usize::from(columns), usize::from(rows))?;
        self.precision = u32::from(*precision);
        self.image.has_samples(usize::from(*count), self.precision)?;
        let is_second = !self.components.is_empty();
        if !(2..=16).contains(&self.precision) || specifications.len() != usize::from(*count) * 3 || is_second {
            return Err(PixelError::Broken("the frame header"));
        }
        for specification in specifications.chunks_exact(3) {
            let [id, sampling, _] = specification else { continue };
            if *sampling != 0x11 && *count > 1 {
                return Err(PixelError::Unsupported("subsampled components"));
            }
            self.components.push(*id);
        }
        self.values = vec![0; self.image.pixels() * self.image.samples];
        Ok(())
    }

    /// §C.2.4.1.1.
    fn preset(&mut self, segment: &[u8]) -> Result<(), PixelError> {
        match segment {
            [1, parameters @ ..] if parameters.len() == 10 => {
                let mut numbers = parameters.chunks_exact(2).map(|pair| match pair {
                    [high, low] => u16::from_be_bytes([*high, *low]),
                    _ => 0,
                });
                self.preset = Some(std::array::from_fn(|_| numbers.next().unwrap_or_default()));
                Ok(())
            }
            [1, ..] | [] => Err(PixelError::Broken("preset parameters")),
            _ => Err(PixelError::Unsupported("a mapping table")),
        }
    }

    /// §C.2.3.
    fn scan_header(&mut self, segment: &[u8]) -> Result<Scan, PixelError> {
        const BROKEN: PixelError = PixelError::Broken("a scan header");
        let (count, rest) = segment.split_first().ok_or(BROKEN)?;
        let (selectors, parameters) = rest.split_at_checked(usize::from(*count) * 2).ok_or(BROKEN)?;
        let [near, interleave, transform] = *parameters else {
            return Err(BROKEN);
        };
        if near != 0 {
            return Err(PixelError::Lossy("its NEAR is not 0"));
        }
        if transform != 0 {
            return Err(PixelError::Lossy("it has a point transform"));
        }
        let mut components = Vec::new();
        for selector in selectors.chunks_exact(2) {
            let [id, table] = selector else { continue };
            let component = self
                .components
                .iter()
                .position(|component| component == id)
                .ok_or(BROKEN)?;
            let done = self.decoded.get_mut(component).ok_or(BROKEN)?;
            if *table != 0 {
                return Err(PixelError::Unsupported("a mapping table"));
            }
            if std::mem::replace(done, true) {
                return Err(PixelError::Broken("a component comes twice"));
            }
            components.push(component);
        }
        let interleave = match (interleave, components.len()) {
            (0, 1) => Interleave::None,
            (1, 1..) => Interleave::Line,
            (2, 1..) => Interleave::Sample,
            _ => return Err(BROKEN),
        };
        Ok(Scan {
            parameters: Parameters::new(self.precision, self.preset)?,
            interleave,
            components,
            columns: self.image.columns,
            rows: self.image.rows,
            samples: self.image.samples,
        })
    }

    fn finish(self) -> Result<Samples, PixelError> {
        if self.components.is_empty() || self.decoded.iter().take(self.image.samples).any(|decoded| !decoded) {
            return Err(PixelError::Broken("it ends early"));
        }
        Ok(Samples(self.values))
    }
}
