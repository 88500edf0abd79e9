//! Bytes to a tree. Nothing of the bytes is trusted: what is counted is bounded, and values are pieces of the input.

use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use packhorse_dicom::transfer_syntax::Encoding;

use crate::dictionary;
use crate::error::ConvertError;
use crate::tree::{Element, Item, Value, is_long, swapped};

/// Sequences in sequences. Real ones have ten.
const DEPTH_MAX: usize = 64;
/// Elements, items and fragments of one data set: some 200 MB of tree. A real enhanced multi-frame has 400,000.
const NODES_MAX: usize = 2 << 20;

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = u32::MAX;

/// Reads a data set. Deflated ones are inflated before.
///
/// # Errors
/// [`ConvertError::Malformed`].
pub(crate) fn read(bytes: &Bytes, encoding: Encoding) -> Result<Vec<Element>, ConvertError> {
    let mut reader = Reader {
        bytes,
        at: 0,
        encoding,
        nodes_left: NODES_MAX,
    };
    reader.elements(End::At(bytes.len()), bytes.len(), 0)
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    encoding: Encoding,
    nodes_left: usize,
}

/// Where a list of elements ends.
#[derive(Clone, Copy)]
enum End {
    At(usize),
    Delimiter,
}

struct Header {
    tag: Tag,
    vr: Option<VR>,
    /// `None`: undefined.
    length: Option<usize>,
}

impl Reader<'_> {
    /// `limit`: where the enclosing value ends.
    fn elements(&mut self, end: End, limit: usize, depth: usize) -> Result<Vec<Element>, ConvertError> {
        let mut elements = Vec::new();
        loop {
            if matches!(end, End::At(at) if self.at == at) {
                return Ok(elements);
            }
            let header = self.header(limit)?;
            if header.tag == ITEM_END && matches!(end, End::Delimiter) {
                self.no_length(&header)?;
                return Ok(elements);
            }
            elements.push(self.element(header, limit, depth)?);
        }
    }

    fn element(&mut self, header: Header, limit: usize, depth: usize) -> Result<Element, ConvertError> {
        let Header { tag, vr, length } = header;
        if tag.group() == 0xFFFE {
            return Err(self.malformed("is a delimiter where an element should be"));
        }
        let value = match (vr, length) {
            (Some(VR::OB | VR::OW), None) if tag == tags::PIXEL_DATA => self.fragments(limit)?,
            (Some(VR::SQ), _) => self.sequence(length, limit, depth)?,
            (Some(VR::UN), None) => self.implicit(|reader| reader.sequence(None, limit, depth))?,
            (Some(VR::UN), Some(len)) if len > 0 && dictionary::is_sequence(tag) => {
                self.implicit(|reader| reader.sequence(length, limit, depth))?
            }
            (None, _) if length.is_none() || dictionary::is_sequence(tag) => self.sequence(length, limit, depth)?,
            (_, None) => return Err(self.malformed("an element that is no sequence has no length")),
            (vr, Some(len)) => {
                let bytes = self.take(len, limit)?;
                let is_turned = self.encoding == Encoding::ExplicitBe;
                match vr {
                    Some(vr) if is_turned => Value::Bytes(
                        swapped(vr, &bytes)
                            .ok_or_else(|| self.malformed("a value is no whole number of its VR's numbers"))?,
                    ),
                    _ => Value::Bytes(bytes),
                }
            }
        };
        // What was read as implicit inside UN has its VR from the dictionary, as all implicit elements do.
        let vr = match (&value, vr) {
            (Value::Sequence { .. }, Some(VR::UN)) => None,
            (_, vr) => vr,
        };
        Ok(Element { tag, vr, value })
    }

    /// UN of undefined length, and of a sequence, is Implicit VR Little Endian in every syntax (PS3.5 §6.2.2).
    fn implicit<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ConvertError>) -> Result<T, ConvertError> {
        let outer = std::mem::replace(&mut self.encoding, Encoding::ImplicitLe);
        let value = read(self);
        self.encoding = outer;
        value
    }

    fn sequence(&mut self, length: Option<usize>, limit: usize, depth: usize) -> Result<Value, ConvertError> {
        if depth == DEPTH_MAX {
            return Err(self.malformed("sequences are nested too deep"));
        }
        let end = self.end(length, limit)?;
        let mut items = Vec::new();
        while self.at < end || length.is_none() {
            let header = self.header(end)?;
            if header.tag == SEQUENCE_END && length.is_none() {
                self.no_length(&header)?;
                break;
            }
            if header.tag != ITEM {
                return Err(self.malformed("something else is where an item should be"));
            }
            let item_end = self.end(header.length, end)?;
            let elements_end = header.length.map_or(End::Delimiter, |_| End::At(item_end));
            items.push(Item {
                elements: self.elements(elements_end, item_end, depth + 1)?,
                is_delimited: header.length.is_none(),
            });
        }
        let is_delimited = length.is_none();
        Ok(Value::Sequence { items, is_delimited })
    }

    fn fragments(&mut self, limit: usize) -> Result<Value, ConvertError> {
        let mut fragments = Vec::new();
        loop {
            let header = self.header(limit)?;
            match (header.tag, header.length) {
                (ITEM, Some(len)) => fragments.push(self.take(len, limit)?),
                (SEQUENCE_END, _) => {
                    self.no_length(&header)?;
                    return Ok(Value::Fragments(fragments));
                }
                _ => return Err(self.malformed("something else is where a fragment should be")),
            }
        }
    }

    fn header(&mut self, limit: usize) -> Result<Header, ConvertError> {
        self.nodes_left = match self.nodes_left.checked_sub(1) {
            Some(left) => left,
            None => return Err(self.malformed("there are too many elements")),
        };
        let tag = Tag(self.u16(limit)?, self.u16(limit)?);
        let (vr, length) = if tag.group() == 0xFFFE || self.encoding == Encoding::ImplicitLe {
            (None, self.u32(limit)?)
        } else {
            self.vr_and_length(limit)?
        };
        let length = match length {
            UNDEFINED => None,
            length => Some(length as usize),
        };
        Ok(Header { tag, vr, length })
    }

    fn vr_and_length(&mut self, limit: usize) -> Result<(Option<VR>, u32), ConvertError> {
        let letters = self.array::<2>(limit)?;
        let Some(vr) = VR::from_binary(letters) else {
            return Err(self.malformed("a VR is none of the standard's"));
        };
        let length = if is_long(vr) {
            let _reserved = self.array::<2>(limit)?;
            self.u32(limit)?
        } else {
            u32::from(self.u16(limit)?)
        };
        Ok((Some(vr), length))
    }

    fn end(&self, length: Option<usize>, limit: usize) -> Result<usize, ConvertError> {
        let Some(length) = length else { return Ok(limit) };
        let end = self.at.checked_add(length).filter(|end| *end <= limit);
        end.ok_or_else(|| self.malformed("a value is longer than what it is in"))
    }

    fn take(&mut self, len: usize, limit: usize) -> Result<Bytes, ConvertError> {
        let end = self.end(Some(len), limit)?;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, limit: usize) -> Result<[u8; N], ConvertError> {
        let end = self.end(Some(N), limit)?;
        let array = self.bytes.get(self.at..end).and_then(<[u8]>::first_chunk);
        let array = *array.ok_or_else(|| self.malformed("the data set ends"))?;
        self.at = end;
        Ok(array)
    }

    fn u16(&mut self, limit: usize) -> Result<u16, ConvertError> {
        let bytes = self.array(limit)?;
        Ok(match self.encoding {
            Encoding::ExplicitBe => u16::from_be_bytes(bytes),
            _ => u16::from_le_bytes(bytes),
        })
    }

    fn u32(&mut self, limit: usize) -> Result<u32, ConvertError> {
        let bytes = self.array(limit)?;
        Ok(match self.encoding {
            Encoding::ExplicitBe => u32::from_be_bytes(bytes),
            _ => u32::from_le_bytes(bytes),
        })
    }

    fn no_length(&self, header: &Header) -> Result<(), ConvertError> {
        match header.length {
            Some(0) => Ok(()),
            _ => Err(self.malformed("a delimiter has a length")),
        }
    }

    const fn malformed(&self, what: &'static str) -> ConvertError {
        ConvertError::Malformed { at: self.at, what }
    }
}
