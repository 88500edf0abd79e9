//! What the fuzz target calls: a data set of any bytes, which must not panic, and which converted back is what it was.

use bytes::Bytes;
use packhorse_dicom::uid::TransferSyntaxUid;

use crate::{Limits, convert, targets};

/// Syntaxes by the first byte of the input.
const SYNTAXES: [&str; 10] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.8.1",
];
/// Enough for the headers that fit in an input; a large Rows and Columns ends at once.
const LIMITS: Limits = Limits { max: 1 << 20 };
/// With VRs a data set is longer.
const WITH_VRS: Limits = Limits { max: 4 << 20 };

/// The first byte chooses the syntax, the rest is the data set. It is converted to everything it can be, and from there to
/// everything again.
///
/// # Panics
/// When what was converted cannot be read.
pub fn convert_bytes(data: &[u8]) {
    let Some((choice, data_set)) = data.split_first() else {
        return;
    };
    let Some(from) = SYNTAXES.get(usize::from(*choice) % SYNTAXES.len()) else {
        return;
    };
    let from = TransferSyntaxUid::try_from(*from).expect("a UID of the standard");
    let data_set = Bytes::copy_from_slice(data_set);
    for to in targets(&from) {
        let Ok(first) = convert(data_set.clone(), &from, &to, LIMITS) else {
            continue;
        };
        let explicit = targets(&to).into_iter().find(|syntax| syntax.as_str() == SYNTAXES[1]);
        if let Some(explicit) = explicit {
            drop(convert(first.data_set, &to, &explicit, WITH_VRS).expect("what was written is read"));
        }
    }
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("convert")
            .iter()
            .for_each(|input| super::convert_bytes(input));
    }
}
