//! The conversion as a whole.

use bytes::Bytes;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use packhorse_dicom::transfer_syntax::{
    self, DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, Encoding, IMPLICIT_VR_LE, Kind,
};
use packhorse_dicom::uid::TransferSyntaxUid;

use crate::error::ConvertError;
use crate::pixels::{self, Codec};
use crate::tree::{Element, Value};
use crate::{check, dictionary, read, write};

/// What may become of a data set, best first: Explicit VR keeps private elements' VRs, and nobody takes big endian who does
/// not take little.
const TARGETS: [&str; 4] = [EXPLICIT_VR_LE, IMPLICIT_VR_LE, DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE];

/// Lossless syntaxes that are decoded here, and how.
const CODECS: [(&str, Codec); 7] = [
    ("1.2.840.10008.1.2.1.98", Codec::Native),
    ("1.2.840.10008.1.2.5", Codec::Rle),
    ("1.2.840.10008.1.2.8.1", Codec::Deflated),
    ("1.2.840.10008.1.2.4.57", Codec::JpegLossless),
    ("1.2.840.10008.1.2.4.70", Codec::JpegLossless),
    ("1.2.840.10008.1.2.4.80", Codec::JpegLs),
    ("1.2.840.10008.1.2.4.90", Codec::Jpeg2000),
];

/// Lossless by their definition, and not decoded here.
const LOSSLESS_UNDECODED: [&str; 7] = [
    "1.2.840.10008.1.2.4.65",
    "1.2.840.10008.1.2.4.66",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.7.1",
];

/// How much memory a conversion may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest data set in bytes, before, inflated, decoded and after. Each is held for itself, so that a conversion takes up
    /// to three times as much.
    pub max: usize,
}

/// A data set in another transfer syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Its bytes.
    pub data_set: Bytes,
    /// The syntax they are in.
    pub transfer_syntax: TransferSyntaxUid,
}

/// How a data set in a syntax is read.
struct Source {
    encoding: Encoding,
    codec: Option<Codec>,
}

/// The syntaxes that a data set in `from` may be converted to, best first: the uncompressed ones but itself, or none. Whether
/// one data set really can be, only [`convert`] tells.
#[must_use]
pub fn targets(from: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
    if source(from).is_err() {
        return Vec::new();
    }
    let others = TARGETS.iter().filter(|target| **target != from.as_str());
    others
        .filter_map(|target| TransferSyntaxUid::try_from(*target).ok())
        .collect()
}

/// The data set in another syntax: the same elements with the same values, and the same pixels. Converted to its own syntax
/// it stays as it is. Takes a processor for long when pixels are decoded, some 50 MB a second.
///
/// # Errors
/// [`ConvertError`]: it is lossy, is not understood to its end, cannot be the same in that syntax, or takes more than
/// `limits`.
pub fn convert(
    data_set: Bytes,
    from: &TransferSyntaxUid,
    to: &TransferSyntaxUid,
    limits: Limits,
) -> Result<Converted, ConvertError> {
    let Limits { max } = limits;
    let source = source(from)?;
    if !TARGETS.contains(&to.as_str()) {
        return Err(ConvertError::Target { to: to.clone() });
    }
    if data_set.len() > max {
        return Err(ConvertError::TooLarge { max });
    }
    let transfer_syntax = to.clone();
    if from == to {
        return Ok(Converted {
            data_set,
            transfer_syntax,
        });
    }
    let mut elements = match source.encoding {
        Encoding::Deflated => read::read(&inflated(&data_set, max)?, Encoding::ExplicitLe)?,
        encoding => read::read(&data_set, encoding)?,
    };
    convertible(&elements)?;
    if let Some(codec) = source.codec {
        let mut left = max;
        pixels::decode(&mut elements, codec, &mut left).map_err(|error| match error {
            ConvertError::TooLarge { .. } => ConvertError::TooLarge { max },
            other => other,
        })?;
    }
    let data_set = written(&mut elements, transfer_syntax::encoding_of(to), max)?;
    Ok(Converted {
        data_set,
        transfer_syntax,
    })
}

fn source(from: &TransferSyntaxUid) -> Result<Source, ConvertError> {
    let encoding = transfer_syntax::encoding_of(from);
    if TARGETS.contains(&from.as_str()) {
        return Ok(Source { encoding, codec: None });
    }
    if let Some((_, codec)) = CODECS.iter().find(|(uid, _)| *uid == from.as_str()) {
        let codec = Some(*codec);
        return Ok(Source { encoding, codec });
    }
    let from = from.clone();
    let is_lossless = LOSSLESS_UNDECODED.contains(&from.as_str());
    match transfer_syntax::by_uid(from.as_str()) {
        Some(syntax) if syntax.kind == Kind::Encapsulated && !is_lossless => Err(ConvertError::Lossy { from }),
        _ => Err(ConvertError::Unsupported { from }),
    }
}

/// That nothing in it stands for its bytes as they are.
fn convertible(elements: &[Element]) -> Result<(), ConvertError> {
    for element in elements {
        let what = match element.tag {
            // A signature is over elements as they are encoded, or over pixels as they are compressed (PS3.15 §C).
            tags::DIGITAL_SIGNATURES_SEQUENCE | tags::MAC_PARAMETERS_SEQUENCE => "signs it as it is",
            tag if tag.group() == 0x0004 => "tells where in a file something is",
            Tag(0x0008, 0x0001) => "tells its length as it is",
            tag if tag.group() <= 0x0002 => "belongs to no data set",
            _ => match &element.value {
                Value::Sequence { items, .. } => {
                    items.iter().try_for_each(|item| convertible(&item.elements))?;
                    continue;
                }
                Value::Bytes(_) | Value::Fragments(_) => continue,
            },
        };
        return Err(ConvertError::Element { tag: element.tag, what });
    }
    Ok(())
}

/// Written, read again and compared.
fn written(elements: &mut [Element], encoding: Encoding, max: usize) -> Result<Bytes, ConvertError> {
    let plain = match encoding {
        Encoding::Deflated => Encoding::ExplicitLe,
        encoding => encoding,
    };
    if plain == Encoding::ImplicitLe {
        agree(elements)?;
    } else {
        dictionary::resolve(elements, false);
    }
    let bytes = write::write(elements, plain, max)?;
    check::check(elements, &read::read(&bytes, plain)?, plain)?;
    if encoding == Encoding::Deflated {
        return deflated(&bytes, max);
    }
    Ok(bytes)
}

fn agree(elements: &[Element]) -> Result<(), ConvertError> {
    for element in elements {
        dictionary::agrees(element)?;
        if let Value::Sequence { items, .. } = &element.value {
            items.iter().try_for_each(|item| agree(&item.elements))?;
        }
    }
    Ok(())
}

fn inflated(bytes: &[u8], max: usize) -> Result<Bytes, ConvertError> {
    use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};
    let inflated = decompress_to_vec_with_limit(bytes, max);
    inflated.map(Bytes::from).map_err(|error| match error.status {
        TINFLStatus::HasMoreOutput => ConvertError::TooLarge { max },
        _ => ConvertError::Malformed {
            at: 0,
            what: "it does not inflate",
        },
    })
}

/// Raw deflate (RFC 1951), of even length (PS3.5 §A.5).
fn deflated(bytes: &[u8], max: usize) -> Result<Bytes, ConvertError> {
    const LEVEL: u8 = 6;
    let mut deflated = miniz_oxide::deflate::compress_to_vec(bytes, LEVEL);
    if deflated.len() % 2 == 1 {
        deflated.push(0);
    }
    if deflated.len() > max {
        return Err(ConvertError::TooLarge { max });
    }
    let deflated = Bytes::from(deflated);
    if inflated(&deflated, max)? != bytes {
        let tag = Tag(0, 0);
        return Err(ConvertError::Unfaithful { tag });
    }
    Ok(deflated)
}

#[cfg(test)]
mod tests;
