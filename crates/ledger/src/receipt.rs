//! Receipts: what the far edge says of deliveries, in batches, as bytes to sign.
//!
//! Signing and checking are the caller's: [`ReceiptBatch::signed_bytes`] gives what the signature is over. Only the far
//! edge's own signed [`CustodyReceipt`] frees a copy; never trust a batch whose signature was not checked.

use packhorse_dicom::status::{Status, StatusCategory};
use packhorse_ids::{DeliveryId, Digest, SiteName, WallTime};
use serde::{Deserialize, Serialize};

use crate::fact::{Conversion, CustodyReceived, Discarded, Fact, Held, OutcomeKnown, Reopened, Resent};
use crate::{text, text::micros};

/// Most receipts in one batch.
pub const RECEIPTS_MAX: usize = 256;
/// Longest batch in bytes that is read.
pub const BATCH_LEN_MAX: usize = 1 << 20;
/// Stands before the bytes that are signed, so that a signature means receipts and nothing else.
const SIGNED_PREFIX: &[u8] = b"packhorse receipts 1\n";

/// The far edge has the instance on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyReceipt {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// SHA-256 of the original bytes, by the envelope's word.
    #[serde(with = "text")]
    pub sha256: Digest,
    /// When, by the far edge's clock.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// What the destination said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeReceipt {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// The status that was answered; `None`: the destination never answered, or never took it: it is on the far edge's
    /// failed list.
    pub status: Option<u16>,
    /// Error Comment, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SHA-256 of the original bytes, which are those that were sent unless they were `converted`.
    #[serde(with = "text")]
    pub sha256: Digest,
    /// When, by the far edge's clock.
    #[serde(with = "micros")]
    pub at: WallTime,
    /// What was sent instead; `None`: the original bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted: Option<Conversion>,
}

impl OutcomeReceipt {
    /// Whether the destination took it: success, or a warning.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        is_delivered(self.status)
    }
}

/// What a person is called by, in who did something to a delivery: `operator root`.
const OPERATOR: &str = "operator ";

/// The far edge keeps it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldReceipt {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Why, for people: `no consent: …`.
    pub reason: String,
    /// When, by the far edge's clock.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// The far edge works on it again: it was held, or on the failed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumedReceipt {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// When, by the far edge's clock.
    #[serde(with = "micros")]
    pub at: WallTime,
    /// Who let it go on, or tried it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The far edge will not deliver it: somebody there has decided so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscardedReceipt {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Who, or which rule.
    pub by: String,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, by the far edge's clock.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// It was delivered, and the far edge sends it to the destination again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResentReceipt {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Who asked for it.
    pub by: String,
    /// When, by the far edge's clock.
    #[serde(with = "micros")]
    pub at: WallTime,
}

pub(crate) fn is_delivered(status: Option<u16>) -> bool {
    status.is_some_and(|status| {
        matches!(
            Status(status).category(),
            StatusCategory::Success | StatusCategory::Warning
        )
    })
}

/// One receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Receipt {
    /// On disk at the far edge.
    Custody(CustodyReceipt),
    /// Answered by the destination, or failed for good.
    Outcome(OutcomeReceipt),
    /// Kept back at the far edge.
    Held(HeldReceipt),
    /// No longer held or failed there.
    Resumed(ResumedReceipt),
    /// Given up there for good.
    Discarded(DiscardedReceipt),
    /// Sent to the destination once more.
    Resent(ResentReceipt),
}

impl Receipt {
    /// Which delivery.
    #[must_use]
    pub const fn delivery(&self) -> DeliveryId {
        match self {
            Self::Custody(receipt) => receipt.delivery,
            Self::Outcome(receipt) => receipt.delivery,
            Self::Held(receipt) => receipt.delivery,
            Self::Resumed(receipt) => receipt.delivery,
            Self::Discarded(receipt) => receipt.delivery,
            Self::Resent(receipt) => receipt.delivery,
        }
    }
}

/// Receipts of one site, with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptBatch {
    /// The site that speaks.
    #[serde(with = "text")]
    pub site: SiteName,
    /// Fingerprint of its signing key.
    pub fingerprint: String,
    /// 1 to [`RECEIPTS_MAX`].
    pub receipts: Vec<Receipt>,
    /// Signature over [`ReceiptBatch::signed_bytes`], as text (base64); empty: not signed yet, or carried beside.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
}

/// Bytes that are no batch.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Not JSON, or impossible values.
    #[error("not a batch of receipts")]
    Malformed(#[source] serde_json::Error),
    /// More receipts or bytes than a batch has.
    #[error("a batch has at most {RECEIPTS_MAX} receipts and {BATCH_LEN_MAX} bytes")]
    TooLong,
}

#[derive(Serialize)]
struct Signed<'a> {
    site: &'a str,
    fingerprint: &'a str,
    receipts: &'a [Receipt],
}

impl ReceiptBatch {
    /// A batch that is not signed yet.
    #[must_use]
    pub const fn new(site: SiteName, fingerprint: String, receipts: Vec<Receipt>) -> Self {
        Self {
            site,
            fingerprint,
            receipts,
            signature: String::new(),
        }
    }

    /// What the signature is over: everything but the signature, in one form only.
    ///
    /// # Errors
    /// [`ReceiptError::TooLong`] with more than [`RECEIPTS_MAX`] receipts.
    pub fn signed_bytes(&self) -> Result<Vec<u8>, ReceiptError> {
        if self.receipts.len() > RECEIPTS_MAX {
            return Err(ReceiptError::TooLong);
        }
        let signed = Signed {
            site: self.site.as_str(),
            fingerprint: &self.fingerprint,
            receipts: &self.receipts,
        };
        let mut bytes = SIGNED_PREFIX.to_vec();
        serde_json::to_writer(&mut bytes, &signed).map_err(ReceiptError::Malformed)?;
        Ok(bytes)
    }

    /// The batch as bytes, signature included.
    ///
    /// # Errors
    /// [`ReceiptError::TooLong`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, ReceiptError> {
        if self.receipts.len() > RECEIPTS_MAX {
            return Err(ReceiptError::TooLong);
        }
        serde_json::to_vec(self).map_err(ReceiptError::Malformed)
    }

    /// Reads a batch. The signature is not checked.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > BATCH_LEN_MAX {
            return Err(ReceiptError::TooLong);
        }
        let batch: Self = serde_json::from_slice(bytes).map_err(ReceiptError::Malformed)?;
        if batch.receipts.len() > RECEIPTS_MAX {
            return Err(ReceiptError::TooLong);
        }
        Ok(batch)
    }

    /// The facts that follow from it, once its signature is checked.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let fact = |receipt: &Receipt| match receipt {
            Receipt::Custody(receipt) => Fact::CustodyReceived(CustodyReceived {
                delivery: receipt.delivery,
                by: self.site.clone(),
                at: receipt.at,
            }),
            Receipt::Outcome(receipt) => Fact::OutcomeKnown(OutcomeKnown {
                delivery: receipt.delivery,
                status: receipt.status,
                reason: receipt.reason.clone(),
                sha256: receipt.sha256,
                at: receipt.at,
                converted: receipt.converted.clone(),
            }),
            Receipt::Held(receipt) => Fact::Held(Held {
                delivery: receipt.delivery,
                by: if receipt.reason.starts_with(OPERATOR) {
                    format!("{} at {}", receipt.reason, self.site)
                } else {
                    format!("{}: {}", self.site, receipt.reason)
                },
                at: receipt.at,
            }),
            Receipt::Resumed(receipt) => Fact::Reopened(Reopened {
                delivery: receipt.delivery,
                by: match &receipt.by {
                    Some(by) => format!("{by} at {}", self.site),
                    None => self.site.to_string(),
                },
                at: receipt.at,
            }),
            Receipt::Discarded(receipt) => Fact::Discarded(Discarded {
                delivery: receipt.delivery,
                by: format!("{} at {}", receipt.by, self.site),
                at: receipt.at,
                reason: receipt.reason.clone(),
            }),
            Receipt::Resent(receipt) => Fact::Resent(Resent {
                delivery: receipt.delivery,
                by: format!("{} at {}", receipt.by, self.site),
                at: receipt.at,
            }),
        };
        self.receipts.iter().map(fact).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> ReceiptBatch {
        let delivery = DeliveryId::from_bytes([7; 16]);
        let (sha256, at) = (Digest::from_bytes([9; 32]), WallTime::from_unix_micros(5));
        let custody = Receipt::Custody(CustodyReceipt { delivery, sha256, at });
        let outcome = OutcomeReceipt {
            delivery,
            status: Some(0xB000),
            reason: None,
            sha256,
            at,
            converted: None,
        };
        let receipts = vec![custody, Receipt::Outcome(outcome)];
        ReceiptBatch::new(SiteName::try_from("st-mary").unwrap(), "ab12".to_owned(), receipts)
    }

    #[test]
    fn version_1_signs_the_bytes_it_signed_then() {
        let hex = |byte: &str, count| byte.repeat(count);
        let expected = format!(
            "packhorse receipts 1\n{{\"site\":\"st-mary\",\"fingerprint\":\"ab12\",\"receipts\":[\
             {{\"kind\":\"custody\",\"delivery\":\"{id}\",\"sha256\":\"{sha}\",\"at\":5}},\
             {{\"kind\":\"outcome\",\"delivery\":\"{id}\",\"status\":45056,\"sha256\":\"{sha}\",\"at\":5}}]}}",
            id = hex("07", 16),
            sha = hex("09", 32)
        );
        assert_eq!(String::from_utf8(batch().signed_bytes().unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_was_converted_is_signed_with_both_hashes() {
        let mut converted = batch();
        let Some(Receipt::Outcome(outcome)) = converted.receipts.last_mut() else {
            panic!("an outcome")
        };
        outcome.converted = Some(Conversion {
            transfer_syntax: "1.2.840.10008.1.2".parse().unwrap(),
            sha256: Digest::from_bytes([8; 32]),
        });
        let signed = String::from_utf8(converted.signed_bytes().unwrap()).unwrap();
        let said = r#""converted":{"transfer_syntax":"1.2.840.10008.1.2","sha256":"0808"#;
        assert!(signed.contains(said) && signed.contains(&"09".repeat(32)), "{signed}");
        let read = ReceiptBatch::from_bytes(&converted.to_bytes().unwrap()).unwrap();
        assert_eq!(read, converted);
        let facts = read.facts();
        assert!(matches!(&facts[1], Fact::OutcomeKnown(outcome) if outcome.converted.is_some()));
    }

    #[test]
    fn what_a_far_edge_holds_is_held_by_that_site_until_it_goes_on() {
        let (delivery, at) = (DeliveryId::from_bytes([7; 16]), WallTime::from_unix_micros(5));
        let reason = "no consent".to_owned();
        let receipts = vec![
            Receipt::Held(HeldReceipt { delivery, reason, at }),
            Receipt::Resumed(ResumedReceipt { delivery, at, by: None }),
            Receipt::Resumed(ResumedReceipt {
                delivery,
                at,
                by: Some("operator root".to_owned()),
            }),
        ];
        let batch = ReceiptBatch::new(SiteName::try_from("st-mary").unwrap(), "ab12".to_owned(), receipts);
        let read = ReceiptBatch::from_bytes(&batch.to_bytes().unwrap()).unwrap();
        assert_eq!(read, batch);
        let facts = read.facts();
        let by_a_person = Receipt::Held(HeldReceipt {
            delivery,
            reason: "operator root".to_owned(),
            at,
        });
        let of_a_person = ReceiptBatch::new(read.site.clone(), "ab12".to_owned(), vec![by_a_person]).facts();
        assert!(matches!(&of_a_person[0], Fact::Held(held) if held.by == "operator root at st-mary"));
        assert!(matches!(&facts[0], Fact::Held(held) if held.by == "st-mary: no consent"));
        assert!(matches!(&facts[1], Fact::Reopened(reopened) if reopened.by == "st-mary"));
        assert!(matches!(&facts[2], Fact::Reopened(reopened) if reopened.by == "operator root at st-mary"));
    }

    #[test]
    fn what_a_far_edge_discards_is_discarded_by_that_person_at_that_site() {
        let (delivery, at) = (DeliveryId::from_bytes([7; 16]), WallTime::from_unix_micros(5));
        let (by, reason) = ("root".to_owned(), Some("wrong patient".to_owned()));
        let discarded = DiscardedReceipt {
            delivery,
            by: by.clone(),
            reason: reason.clone(),
            at,
        };
        let resent = ResentReceipt { delivery, by, at };
        let receipts = vec![Receipt::Discarded(discarded), Receipt::Resent(resent)];
        let batch = ReceiptBatch::new(SiteName::try_from("st-mary").unwrap(), "ab12".to_owned(), receipts);
        let read = ReceiptBatch::from_bytes(&batch.to_bytes().unwrap()).unwrap();
        assert_eq!(read, batch);
        let facts = read.facts();
        let Fact::Discarded(discarded) = &facts[0] else {
            panic!()
        };
        assert_eq!((discarded.by.as_str(), &discarded.reason), ("root at st-mary", &reason));
        assert!(matches!(&facts[1], Fact::Resent(resent) if resent.by == "root at st-mary"));
    }

    #[test]
    fn what_is_signed_does_not_depend_on_the_signature_and_survives_the_way() {
        let mut signed = batch();
        signed.signature = "MEUC".to_owned();
        assert_eq!(signed.signed_bytes().unwrap(), batch().signed_bytes().unwrap());
        let read = ReceiptBatch::from_bytes(&signed.to_bytes().unwrap()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.signed_bytes().unwrap(), batch().signed_bytes().unwrap());
    }

    #[test]
    fn a_batch_has_a_bound() {
        let mut long = batch();
        long.receipts = vec![long.receipts[0].clone(); RECEIPTS_MAX + 1];
        assert!(matches!(long.to_bytes(), Err(ReceiptError::TooLong)));
        assert!(matches!(long.signed_bytes(), Err(ReceiptError::TooLong)));
        let unchecked = serde_json::to_vec(&long).unwrap();
        assert!(matches!(
            ReceiptBatch::from_bytes(&unchecked),
            Err(ReceiptError::TooLong)
        ));
    }

    #[test]
    fn a_warning_is_delivered_and_a_failure_is_not() {
        let outcome = |status| is_delivered(status);
        assert!(outcome(Some(0)) && outcome(Some(0xB007)));
        assert!(!outcome(Some(0xA900)) && !outcome(None));
    }

    #[test]
    fn a_checked_batch_gives_one_fact_for_each_receipt() {
        let facts = batch().facts();
        assert!(matches!(&facts[0], Fact::CustodyReceived(custody) if custody.by.as_str() == "st-mary"));
        assert!(matches!(&facts[1], Fact::OutcomeKnown(outcome) if outcome.status == Some(0xB000)));
    }
}
