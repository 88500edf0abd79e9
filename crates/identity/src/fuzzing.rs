//! What the fuzz targets call: decoders of foreign bytes, which must not panic.

use crate::enroll::{EnrollAnswer, EnrollRequest};
use crate::tls::certificate_facts;
use crate::token::Token;

/// Bytes as a join token.
pub fn token(data: &[u8]) {
    drop(String::from_utf8_lossy(data).parse::<Token>());
}

/// Bytes as a join or renew request, an answer, and a certificate.
pub fn enroll_request(data: &[u8]) {
    drop(serde_json::from_slice::<EnrollRequest>(data));
    drop(serde_json::from_slice::<EnrollAnswer>(data));
    drop(certificate_facts(data));
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("token")
            .iter()
            .for_each(|input| super::token(input));
        corpus::fuzz_inputs("enroll_request")
            .iter()
            .for_each(|input| super::enroll_request(input));
    }

    #[test]
    fn the_corpus_holds_requests_and_answers_of_this_version() {
        use super::{EnrollAnswer, EnrollRequest};

        let reads = |input: &[u8]| {
            serde_json::from_slice::<EnrollRequest>(input).is_ok()
                || serde_json::from_slice::<EnrollAnswer>(input).is_ok()
        };
        let inputs = corpus::fuzz_inputs("enroll_request");
        let messages = inputs.iter().filter(|input| input.first() == Some(&b'{'));
        assert_eq!(messages.filter(|input| reads(input)).count(), 5);
    }
}
