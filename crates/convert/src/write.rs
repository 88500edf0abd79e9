//! A tree to bytes.

use bytes::Bytes;
use dicom_core::{Tag, VR};
use packhorse_dicom::transfer_syntax::Encoding;

use crate::dictionary::{self, SHORT_LEN_MAX};
use crate::error::ConvertError;
use crate::tree::{Element, Value, is_long, swapped};

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = u32::MAX;

/// Writes a data set whose elements all have a VR, unless `encoding` carries none. Deflating is the caller's.
///
/// # Errors
/// [`ConvertError`]: longer than `max`, or a value that its VR cannot have.
pub(crate) fn write(elements: &[Element], encoding: Encoding, max: usize) -> Result<Bytes, ConvertError> {
    let mut writer = Writer {
        out: Vec::new(),
        encoding,
        max,
    };
    writer.elements(elements)?;
    Ok(writer.out.into())
}

/// Whether a sequence ends by a delimiter whatever it did before: without VR and dictionary only that tells that it is one.
pub(crate) fn is_delimited_in(tag: Tag, encoding: Encoding) -> bool {
    encoding == Encoding::ImplicitLe && !dictionary::is_sequence(tag)
}

struct Writer {
    out: Vec<u8>,
    encoding: Encoding,
    max: usize,
}

impl Writer {
    fn elements(&mut self, elements: &[Element]) -> Result<(), ConvertError> {
        // Where the length of the group that is being written stands.
        let mut open: Option<(usize, Tag)> = None;
        for element in elements {
            if let Some((at, tag)) = open.take_if(|(_, tag)| tag.group() != element.tag.group()) {
                self.close(at, tag)?;
            }
            self.element(element)?;
            if element.is_group_length() {
                open = Some((self.out.len(), element.tag));
            }
        }
        open.map_or(Ok(()), |(at, tag)| self.close(at, tag))
    }

    /// Puts the number of bytes since `at` into the four before it.
    fn close(&mut self, at: usize, tag: Tag) -> Result<(), ConvertError> {
        let length = length(self.out.len() - at, tag)?;
        let bytes = self.number(length);
        let place = at.checked_sub(4).and_then(|from| self.out.get_mut(from..at));
        place.expect("written before").copy_from_slice(&bytes);
        Ok(())
    }

    fn element(&mut self, element: &Element) -> Result<(), ConvertError> {
        let tag = element.tag;
        match &element.value {
            Value::Bytes(bytes) => {
                let vr = self.header(element, bytes.len())?;
                let is_turned = self.encoding == Encoding::ExplicitBe;
                let turned = match vr {
                    Some(vr) if is_turned => swapped(vr, bytes),
                    _ => Some(bytes.clone()),
                };
                let what = "is no whole number of its VR's numbers";
                self.push(&turned.ok_or(ConvertError::Element { tag, what })?)?;
            }
            Value::Sequence { items, is_delimited } => {
                self.header(element, 0)?;
                let at = self.out.len();
                let is_delimited = *is_delimited || is_delimited_in(tag, self.encoding);
                if is_delimited {
                    self.undefined();
                }
                for item in items {
                    self.delimiter(ITEM, 0)?;
                    let at = self.out.len();
                    if item.is_delimited {
                        self.undefined();
                    }
                    self.elements(&item.elements)?;
                    if item.is_delimited {
                        self.delimiter(ITEM_END, 0)?;
                    } else {
                        self.close(at, tag)?;
                    }
                }
                if is_delimited {
                    self.delimiter(SEQUENCE_END, 0)?;
                } else {
                    self.close(at, tag)?;
                }
            }
            Value::Fragments(_) => {
                let what = "is in fragments, which no uncompressed syntax has";
                return Err(ConvertError::Element { tag, what });
            }
        }
        Ok(())
    }

    /// Tag, VR and length; gives the VR that was written. The last four bytes are the length wherever a sequence's may have
    /// to be put in later.
    fn header(&mut self, element: &Element, len: usize) -> Result<Option<VR>, ConvertError> {
        let tag = element.tag;
        self.tag(tag)?;
        let length = length(len, tag)?;
        if self.encoding == Encoding::ImplicitLe {
            let bytes = self.number(length);
            self.push(&bytes)?;
            return Ok(None);
        }
        let vr = match element.vr {
            Some(vr) if is_long(vr) || len <= SHORT_LEN_MAX => vr,
            Some(_) => VR::UN,
            None => {
                let what = "has no VR";
                return Err(ConvertError::Element { tag, what });
            }
        };
        self.push(&vr.to_bytes())?;
        match u16::try_from(len) {
            Ok(short) if !is_long(vr) => {
                let bytes = self.short(short);
                self.push(&bytes)?;
            }
            _ => {
                self.push(&[0, 0])?;
                let bytes = self.number(length);
                self.push(&bytes)?;
            }
        }
        Ok(Some(vr))
    }

    fn delimiter(&mut self, tag: Tag, length: u32) -> Result<(), ConvertError> {
        self.tag(tag)?;
        let bytes = self.number(length);
        self.push(&bytes)
    }

    /// The last four bytes are a length: there is none.
    fn undefined(&mut self) {
        let at = self.out.len().saturating_sub(4);
        if let Some(place) = self.out.get_mut(at..) {
            place.copy_from_slice(&UNDEFINED.to_le_bytes());
        }
    }

    fn tag(&mut self, tag: Tag) -> Result<(), ConvertError> {
        let (group, element) = (self.short(tag.group()), self.short(tag.element()));
        self.push(&group)?;
        self.push(&element)
    }

    const fn short(&self, number: u16) -> [u8; 2] {
        match self.encoding {
            Encoding::ExplicitBe => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        }
    }

    const fn number(&self, number: u32) -> [u8; 4] {
        match self.encoding {
            Encoding::ExplicitBe => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        if self.out.len().saturating_add(bytes.len()) > self.max {
            return Err(ConvertError::TooLarge { max: self.max });
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

fn length(len: usize, tag: Tag) -> Result<u32, ConvertError> {
    let length = u32::try_from(len).ok().filter(|length| *length != UNDEFINED);
    let what = "is longer than a length can say";
    length.ok_or(ConvertError::Element { tag, what })
}
