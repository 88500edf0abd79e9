//! What JPEG Lossless (ISO/IEC 10918-1) and JPEG-LS (ISO/IEC 14495-1) have in common: the frame header, the components that
//! scans bring, and the samples that come of them. No subsampling, which no lossless DICOM image has.

use super::image::{Image, Samples};
use crate::error::PixelError;

/// A scan header that is not one.
pub(super) const BROKEN_SCAN: PixelError = PixelError::Broken("a scan header");

/// A frame that is being decoded.
pub(super) struct Frame<'a> {
    pub(super) image: &'a Image,
    pub(super) precision: u32,
    /// Component identifiers, in the frame's order.
    components: Vec<u8>,
    pub(super) values: Vec<u16>,
    decoded: [bool; 3],
}

impl<'a> Frame<'a> {
    pub(super) const fn new(image: &'a Image) -> Self {
        Self {
            image,
            precision: 0,
            components: Vec::new(),
            values: Vec::new(),
            decoded: [false; 3],
        }
    }

    /// The frame header (ISO/IEC 10918-1 §B.2.2, ISO/IEC 14495-1 §C.2.2).
    pub(super) fn header(&mut self, segment: &[u8]) -> Result<(), PixelError> {
        let [precision, y1, y0, x1, x0, count, specifications @ ..] = segment else {
            return Err(PixelError::Broken("the frame header"));
        };
        let (rows, columns) = (u16::from_be_bytes([*y1, *y0]), u16::from_be_bytes([*x1, *x0]));
        self.image.has_size(usize::from(columns), usize::from(rows))?;
        self.precision = u32::from(*precision);
        self.image.has_samples(usize::from(*count), self.precision)?;
        if !(2..=16).contains(&self.precision) || specifications.len() != usize::from(*count) * 3 {
            return Err(PixelError::Broken("the frame header"));
        }
        if !self.components.is_empty() {
            return Err(PixelError::Broken("a second frame header"));
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

    /// The component with this identifier, by its place in the frame.
    pub(super) fn component(&self, id: u8) -> Result<usize, PixelError> {
        let mut components = self.components.iter();
        components.position(|component| *component == id).ok_or(BROKEN_SCAN)
    }

    /// A scan brings this component: once.
    pub(super) fn bring(&mut self, component: usize) -> Result<(), PixelError> {
        let done = self.decoded.get_mut(component).ok_or(BROKEN_SCAN)?;
        if std::mem::replace(done, true) {
            return Err(PixelError::Broken("a component comes twice"));
        }
        Ok(())
    }

    /// The samples, when every component has come.
    pub(super) fn finish(self) -> Result<Samples, PixelError> {
        if self.components.is_empty() || self.decoded.iter().take(self.image.samples).any(|decoded| !decoded) {
            return Err(PixelError::Broken("it ends early"));
        }
        Ok(Samples(self.values))
    }
}

/// A scan header's selectors, two bytes each, and its three parameters (ISO/IEC 10918-1 §B.2.3, ISO/IEC 14495-1 §C.2.3).
pub(super) fn scan_header(segment: &[u8]) -> Result<(&[u8], [u8; 3]), PixelError> {
    let (count, rest) = segment.split_first().ok_or(BROKEN_SCAN)?;
    let (selectors, parameters) = rest.split_at_checked(usize::from(*count) * 2).ok_or(BROKEN_SCAN)?;
    Ok((selectors, parameters.try_into().map_err(|_| BROKEN_SCAN)?))
}
