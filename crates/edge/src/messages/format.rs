//! Messages between edges: JSON inside an envelope of kind message. Version 1.
//!
//! ```json
//! {"v":1,"kind":"ask"}
//! {"v":1,"kind":"announce","at":1795525500123456,"signing_key":"MFkw…","destinations":[{"ae_title":"PACS_B","accepts":true,"calling_ae_title":"PACKHORSE"}]}
//! {"v":1,"kind":"receipts","batch":{…},"signature":"MEUC…"}
//! {"v":1,"kind":"question","id":7,"asked_at":1795525500123456,"expires_at":1795525560123456,"question":{"about":"echo","to_ae_title":"PACS_B","fresh":false}}
//! {"v":1,"kind":"answer","id":7,"answer":{"says":"too-late"}}
//! {"v":1,"kind":"resend","study":"1.2.840…","to_ae_title":"PACS_B"}
//! {"v":1,"kind":"study-quiet","to_ae_title":"PACS_B","study":"1.2.3","instances":140}
//! {"v":1,"kind":"mirror","ae_title":"PACS_B","at":1795525500123456,"probed_at":null,"facts":[{"class":"1.2.840.10008.5.1.4.1.1.66","takes":false,"at":1795525500123456,"source":"probe"}]}
//! {"v":1,"kind":"proposed","ae_title":"PACS_B","pairs":[["1.2.840.10008.5.1.4.1.1.2","1.2.840.10008.1.2.4.90"]]}
//! ```
//! An unknown kind or a later version is passed over, with a word in the log: the other edge is newer.

use packhorse_ledger::receipt::ReceiptBatch;
use serde::{Deserialize, Serialize};

use super::question::{Answer, Question};
use crate::directory::Published;
use crate::mirror::Told;

/// The version this edge writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;

/// Bytes of a message at most: a batch of 256 receipts has about 64 KiB.
pub(crate) const LEN_MAX: u64 = 1 << 20;

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Message {
    /// "Announce yourself to me, now and whenever something changes."
    Ask,
    /// What a site publishes, as the receiver of this message may use it.
    Announce {
        /// When, by the sender's clock, in microseconds since 1970.
        at: i64,
        /// The sender's signing key (SubjectPublicKeyInfo, DER, base64).
        signing_key: String,
        /// Its destinations.
        destinations: Vec<Published>,
    },
    /// What became of deliveries, signed.
    Receipts {
        /// The receipts.
        batch: ReceiptBatch,
        /// ECDSA P-256 with SHA-256 over the batch's canonical bytes, base64.
        signature: String,
    },
    /// A question. It is answered by an [`Answer`](Self::Answer) with its id, later when the site is off.
    Question {
        /// The asker's name for it.
        id: u64,
        /// When it was asked, by the asker's clock, in microseconds since 1970.
        asked_at: i64,
        /// When nobody waits for the answer any more, by the same clock.
        expires_at: i64,
        /// What is asked.
        question: Question,
    },
    /// The answer to a question of the receiver.
    Answer {
        /// The question's.
        id: u64,
        /// What is answered.
        answer: Answer,
    },
    /// "Send what came from me of this study to its destination again, as far as you still have it." Answered by receipts.
    Resend {
        /// Study Instance UID; empty: the instances without one.
        study: String,
        /// Only to this destination; `None`: to all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_ae_title: Option<String>,
    },
    /// "A study for one of your destinations is over, as far as is known here." Only to destinations that are delivered to
    /// study by study.
    StudyQuiet {
        /// The destination.
        to_ae_title: String,
        /// Study Instance UID, as the ledger has it.
        study: String,
        /// Deliveries of it that were sent or are on their way.
        instances: u64,
    },
    /// What a PACS of the sender takes, as is believed there. To sites that may send to it.
    Mirror {
        /// AE title of the PACS.
        ae_title: String,
        /// When, by the sender's clock, in microseconds since 1970: an older one changes nothing.
        at: i64,
        /// When it was last asked, by the same clock.
        probed_at: Option<i64>,
        /// What is believed.
        facts: Vec<Told>,
    },
    /// Pairs of SOP class and transfer syntax that sources of the sender have proposed for a PACS of the receiver, each once.
    Proposed {
        /// AE title of the PACS.
        ae_title: String,
        /// Class and syntax.
        pairs: Vec<(String, String)>,
    },
}

/// Why bytes are no message for this edge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    /// The other edge writes a later version.
    #[error("a message of version {version}, this edge reads up to {VERSION}: update the edge")]
    Newer {
        /// Its version.
        version: u32,
    },
    /// Not a message at all, or of an unknown kind.
    #[error("not a message this edge understands")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    #[serde(flatten)]
    message: &'a Message,
}

impl Message {
    /// The message as bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written {
            v: VERSION,
            message: self,
        })
    }

    /// Reads a message.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let Versioned { v: version } = serde_json::from_slice(bytes).map_err(MessageError::Malformed)?;
        if version > VERSION {
            return Err(MessageError::Newer { version });
        }
        serde_json::from_slice(bytes).map_err(MessageError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_reads_what_it_wrote_then() {
        let text = r#"{"v":1,"kind":"announce","at":7,"signing_key":"a2V5","destinations":[{"ae_title":"PACS_B","accepts":true}]}"#;
        let message = Message::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(message.to_bytes().unwrap()).unwrap(), text);
        assert_eq!(Message::from_bytes(br#"{"v":1,"kind":"ask"}"#).unwrap(), Message::Ask);
    }

    #[test]
    fn a_later_version_and_garbage_are_told_apart() {
        assert!(matches!(
            Message::from_bytes(br#"{"v":2,"kind":"x"}"#),
            Err(MessageError::Newer { version: 2 })
        ));
        assert!(matches!(
            Message::from_bytes(br#"{"v":1,"kind":"x"}"#),
            Err(MessageError::Malformed(_))
        ));
        assert!(matches!(Message::from_bytes(b"\xff"), Err(MessageError::Malformed(_))));
    }
}
