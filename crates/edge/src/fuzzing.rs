//! What the fuzz targets call: the decoder of messages of other edges, which must not panic.

use crate::messages::Message;

/// Bytes as a message between edges. What is read is written and read back the same.
///
/// # Panics
/// When it is not.
pub fn message(data: &[u8]) {
    let Ok(message) = Message::from_bytes(data) else {
        return;
    };
    if let Ok(bytes) = message.to_bytes() {
        assert_eq!(
            Message::from_bytes(&bytes).ok().as_ref(),
            Some(&message),
            "a message reads back as it was written"
        );
    }
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
            message(&data);
        }
    }

    #[test]
    fn nearly_right_texts_are_read_or_refused() {
        for text in [
            r#"{"v":1,"kind":"question","id":-1}"#,
            r#"{"v":1,"kind":"question","id":1,"asked_at":0,"expires_at":0,"question":{"about":"weather"}}"#,
            r#"{"v":1,"kind":"answer","id":1,"answer":{"says":"echo","check":{},"took":0}}"#,
            r#"{"v":1,"kind":"mirror","ae_title":"","at":9223372036854775807,"facts":[{"class":"\u0000"}]}"#,
            r#"{"v":1,"kind":"proposed","ae_title":"P","pairs":[["a"]]}"#,
            r#"{"v":18446744073709551616,"kind":"ask"}"#,
        ] {
            message(text.as_bytes());
        }
    }

    #[test]
    fn the_inputs_that_are_kept_are_survived_and_most_of_them_are_messages() {
        let inputs = corpus::fuzz_inputs("message");
        inputs.iter().for_each(|input| message(input));
        let read = inputs.iter().filter(|input| Message::from_bytes(input).is_ok()).count();
        assert!(read >= 6, "{read} of {}", inputs.len());
    }
}
