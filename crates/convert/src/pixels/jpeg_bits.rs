//! What JPEG and JPEG-LS have in common: markers, segments, and bits behind stuffed FF bytes.

use crate::error::PixelError;

/// A byte stream of markers and segments (ISO/IEC 10918-1 §B.1).
pub(super) struct Stream<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Stream<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next marker's second byte; fill bytes FF before it are passed.
    pub(super) fn marker(&mut self) -> Result<u8, PixelError> {
        if self.byte()? != 0xFF {
            return Err(PixelError::Broken("no marker where one should be"));
        }
        loop {
            match self.byte()? {
                0xFF => {}
                0 => return Err(PixelError::Broken("no marker where one should be")),
                marker => return Ok(marker),
            }
        }
    }

    /// The parameters of a marker segment, without its length.
    pub(super) fn segment(&mut self) -> Result<&'a [u8], PixelError> {
        let len = usize::from(u16::from_be_bytes([self.byte()?, self.byte()?]));
        let end = len.checked_sub(2).map(|len| self.at + len);
        let segment = end.and_then(|end| self.bytes.get(self.at..end)).ok_or(ENDS_EARLY)?;
        self.at += segment.len();
        Ok(segment)
    }

    /// The bits from here on.
    pub(super) fn bits(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn byte(&mut self) -> Result<u8, PixelError> {
        let byte = self.bytes.get(self.at).ok_or(ENDS_EARLY)?;
        self.at += 1;
        Ok(*byte)
    }
}

const ENDS_EARLY: PixelError = PixelError::Broken("it ends early");

/// How an entropy-coded segment keeps FF from looking like a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuffing {
    /// A zero byte follows (ISO/IEC 10918-1 §F.1.2.3).
    Byte,
    /// A zero bit follows (ISO/IEC 14495-1 §A.1).
    Bit,
}

/// Bits of an entropy-coded segment, most significant first, up to the next marker and not one further.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    stuffing: Stuffing,
    /// Bits that were taken from `bytes`, at the top.
    held: u64,
    len: u32,
    after_ff: bool,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8], stuffing: Stuffing) -> Self {
        Self {
            bytes,
            at: 0,
            stuffing,
            held: 0,
            len: 0,
            after_ff: false,
        }
    }

    /// Holds 57 bits or more, or all there are.
    fn fill(&mut self) {
        while self.len <= 56 {
            let Some(byte) = self.bytes.get(self.at).copied() else {
                return;
            };
            let next = self.bytes.get(self.at + 1).copied().unwrap_or(0xFF);
            let is_marker = byte == 0xFF
                && match self.stuffing {
                    Stuffing::Byte => next != 0,
                    Stuffing::Bit => next >= 0x80,
                };
            if is_marker {
                return;
            }
            let (value, count) = match self.stuffing {
                Stuffing::Bit if self.after_ff => (byte << 1, 7),
                Stuffing::Bit | Stuffing::Byte => (byte, 8),
            };
            self.after_ff = byte == 0xFF;
            self.at += if self.after_ff && self.stuffing == Stuffing::Byte {
                2
            } else {
                1
            };
            self.held |= u64::from(value) << (56 - self.len);
            self.len += count;
        }
    }

    /// The next 16 bits, with zeros where there are none; nothing is taken.
    pub(super) fn peek16(&mut self) -> usize {
        if self.len < 16 {
            self.fill();
        }
        (self.held >> 48) as usize
    }

    /// Takes bits that were looked at.
    pub(super) fn take(&mut self, count: u32) -> Result<(), PixelError> {
        if count > self.len {
            return Err(ENDS_EARLY);
        }
        self.held = self.held.checked_shl(count).unwrap_or(0);
        self.len -= count;
        Ok(())
    }

    /// The next bits, up to 31, as a number.
    pub(super) fn read(&mut self, count: u32) -> Result<u32, PixelError> {
        if count == 0 {
            return Ok(0);
        }
        if self.len < count {
            self.fill();
        }
        let top = self.held >> (64 - count.min(31));
        self.take(count)?;
        u32::try_from(top).map_err(|_| ENDS_EARLY)
    }

    /// How many zeros come before the next one, which is taken too; at most `max`.
    pub(super) fn zeros(&mut self, max: u32) -> Result<u32, PixelError> {
        let mut count = 0;
        loop {
            if self.len == 0 {
                self.fill();
            }
            let zeros = self.held.leading_zeros().min(self.len);
            count += zeros;
            if count > max {
                return Err(PixelError::Broken("a code is too long"));
            }
            if zeros < self.len {
                self.take(zeros + 1)?;
                return Ok(count);
            }
            if self.len == 0 {
                return Err(ENDS_EARLY);
            }
            self.take(zeros)?;
        }
    }

    /// Where the marker behind the segment stands: what is left of the last byte is padding.
    ///
    /// # Errors
    /// [`PixelError::Broken`]: whole bytes are left over.
    pub(super) fn end(mut self) -> Result<usize, PixelError> {
        self.fill();
        if self.len >= 16 {
            return Err(PixelError::Broken("there is more than its pixels"));
        }
        Ok(self.at)
    }
}
