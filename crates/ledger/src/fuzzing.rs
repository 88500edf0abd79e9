//! What the fuzz targets call: every decoder of stored and foreign bytes, which must not panic.

use crate::fact::Fact;
use crate::receipt::ReceiptBatch;

/// Bytes as a fact. What is read is written and read back the same.
///
/// # Panics
/// When it is not.
pub fn fact(data: &[u8]) {
    let Ok(fact) = Fact::from_bytes(data) else { return };
    if let Ok(bytes) = fact.to_bytes() {
        assert_eq!(
            Fact::from_bytes(&bytes).ok().as_ref(),
            Some(&fact),
            "a fact reads back as it was written"
        );
    }
}

/// Bytes as a batch of receipts. What is read is written and read back the same.
///
/// # Panics
/// When it is not.
pub fn receipts(data: &[u8]) {
    let Ok(batch) = ReceiptBatch::from_bytes(data) else {
        return;
    };
    if let Ok(bytes) = batch.to_bytes() {
        assert_eq!(
            ReceiptBatch::from_bytes(&bytes).ok().as_ref(),
            Some(&batch),
            "receipts read back as written"
        );
    }
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
            super::fact(&data);
            super::receipts(&data);
        }
    }

    #[test]
    fn nearly_right_texts_are_read_or_refused() {
        for text in [
            r#"{"v":1}"#,
            r#"{"v":1,"kind":"custody-received"}"#,
            r#"{"v":1,"kind":"held","delivery":"00","by":"","at":1}"#,
            r#"{"v":4294967296,"kind":"held"}"#,
            r#"{"v":1,"kind":"new\u0041"}"#,
            r#"{"site":"a","fingerprint":"","receipts":[{"kind":"custody"}]}"#,
        ] {
            super::fact(text.as_bytes());
            super::receipts(text.as_bytes());
        }
    }

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("fact").iter().for_each(|input| super::fact(input));
        corpus::fuzz_inputs("receipts")
            .iter()
            .for_each(|input| super::receipts(input));
    }
}
