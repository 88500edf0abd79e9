//! What an attempt to deliver means: for the instance, or for the whole destination.

use std::time::Duration;

use packhorse_association::driver::tls::TlsError;
use packhorse_association::{AssociationError, InstanceContext};
use packhorse_daemon::exit::chain;
use packhorse_dicom::negotiation::{ContextResult, Rejection};
use packhorse_dicom::status::{Status, StoreOutcome};
use packhorse_envelope::ReadError;
use packhorse_spool::StoreError;

/// What became of one instance at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered with success or a warning: delivered, by its word.
    Delivered(Status),
    /// Not this instance, now or later: the failed list.
    Failed(Reason),
    /// This instance again later; after the last try the failed list.
    Again(Reason),
    /// Nothing to do with this instance: the destination is to be left alone for a while.
    Destination(Trouble),
}

/// Why an instance is not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// In words; what the destination added stands behind the first colon.
    pub(crate) why: String,
    /// What it answered; `None`: it did not.
    pub(crate) status: Option<Status>,
}

impl From<String> for Reason {
    fn from(why: String) -> Self {
        Self { why, status: None }
    }
}

/// Why a destination is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may work again by itself: refused connection, time-out, transient rejection, out of resources.
    Passing(String),
    /// Somebody must change something: permanent rejection, no context at all. Instances stay queued.
    Lasting(String),
    /// It answered none of several instances: by its fault, or because all of these are such that it cannot.
    Unanswered(String),
}

impl Verdict {
    /// What a C-STORE's answer means.
    pub(crate) fn of_status(status: Status, comment: Option<&str>) -> Self {
        let why = said(status, comment);
        let reason = |why| Reason {
            why,
            status: Some(status),
        };
        match status.store_outcome() {
            StoreOutcome::Delivered | StoreOutcome::DeliveredWithWarning => Self::Delivered(status),
            StoreOutcome::RetryDestination => Self::Destination(Trouble::Passing(why)),
            StoreOutcome::RetryInstance => Self::Again(reason(why)),
            StoreOutcome::Duplicate => Self::Failed(reason(format!(
                "{why}; whether it is there already, only a query could confirm"
            ))),
            StoreOutcome::Final => Self::Failed(reason(why)),
        }
    }

    /// What it means that the destination takes others, but not this class in this transfer syntax. `not_converted`: why it
    /// was not converted, when that was asked for.
    pub(crate) fn of_refused_context(
        context: &InstanceContext,
        result: ContextResult,
        not_converted: Option<&str>,
    ) -> Self {
        let said = format!("the destination does not take {context}: {result}");
        Self::Failed(match not_converted {
            Some(why) => format!("{said}; not converted: {why}").into(),
            None => said.into(),
        })
    }

    /// What an error of the data set's own bytes means.
    pub(crate) fn of_source(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Self {
        let said = chain(error);
        match error.downcast_ref::<ReadError<StoreError>>() {
            Some(ReadError::Read(_)) => Self::Again(format!("its bytes cannot be read: {said}").into()),
            _ => Self::Failed(format!("its bytes are not those that were sealed: {said}").into()),
        }
    }
}

impl Trouble {
    /// What a failed attempt to open an association means for the destination.
    pub(crate) fn of_request(error: &AssociationError, calling: &str) -> Self {
        match error {
            AssociationError::Rejected { rejection, .. } if !rejection.is_transient() => {
                Self::Lasting(rejected(*rejection, calling))
            }
            // The other protocol, or a certificate that is not trusted: nothing of that goes by itself.
            AssociationError::PeerSpeaksTls => Self::Lasting(chain(error)),
            AssociationError::Tls(tls) if is_lasting(tls) => Self::Lasting(chain(error)),
            other => Self::Passing(chain(other)),
        }
    }
}

const fn is_lasting(error: &TlsError) -> bool {
    !matches!(error, TlsError::Closed | TlsError::TimedOut { .. } | TlsError::Io(_))
}

fn rejected(rejection: Rejection, calling: &str) -> String {
    format!("called with our title {calling:?}, the destination answered: {rejection}")
}

/// An answer as it is shown: the status, what the standard calls it, what the destination added.
fn said(status: Status, comment: Option<&str>) -> String {
    match comment {
        Some(comment) if !comment.is_empty() => format!("answered {status} ({}): {comment}", status.meaning()),
        _ => format!("answered {status} ({})", status.meaning()),
    }
}

/// How often, and after how long, one instance is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Tries in all, the first included.
    pub(crate) most: u32,
    /// Between two tries.
    pub(crate) pause: Duration,
}

impl Tries {
    /// The pause before the next try of an instance that was tried `attempts` times; `None`: no more.
    pub(crate) fn next(self, attempts: u32) -> Option<Duration> {
        (attempts < self.most).then_some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16) -> Verdict {
        Verdict::of_status(Status(status), None)
    }

    #[test]
    fn a_final_answer_goes_to_the_failed_list_with_the_destinations_words() {
        let verdict = Verdict::of_status(Status(0xA900), Some("no such patient"));
        let Verdict::Failed(reason) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(
            reason.why,
            "answered A900 (error: data set does not match SOP class): no such patient"
        );
        assert_eq!(reason.status, Some(Status(0xA900)));
    }

    /// Each row of the table in dicom-practice, by what comes of it.
    #[test]
    fn every_status_means_what_its_row_says() {
        for status in [0x0000, 0xB000, 0xB006, 0xB007, 0xBFFF, 0x0001, 0x0107, 0x0116] {
            assert_eq!(of(status), Verdict::Delivered(Status(status)), "{status:04X}");
        }
        for status in [0xA700, 0xA7FF] {
            assert!(
                matches!(of(status), Verdict::Destination(Trouble::Passing(_))),
                "{status:04X}"
            );
        }
        for status in [0x0110, 0x0213, 0xC000, 0xCFFF, 0x4242] {
            assert!(matches!(of(status), Verdict::Again(_)), "{status:04X}");
        }
        for status in [0xA900, 0xA9FF, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212] {
            assert!(matches!(of(status), Verdict::Failed(_)), "{status:04X}");
        }
    }

    #[test]
    fn a_duplicate_is_on_the_failed_list_and_says_that_only_a_query_could_confirm_it() {
        let Verdict::Failed(reason) = of(0x0111) else {
            panic!("failed")
        };
        assert!(reason.why.contains("only a query could confirm"), "{}", reason.why);
    }

    #[test]
    fn a_rejection_for_good_is_somebodys_to_mend_and_names_our_title() {
        let rejected = |rejection| {
            let called = packhorse_dicom::ae_title::AeTitle::try_from("PACS").unwrap();
            Trouble::of_request(&AssociationError::Rejected { called, rejection }, "US")
        };
        for rejection in [
            Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED,
            Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED,
        ] {
            let Trouble::Lasting(why) = rejected(rejection) else {
                panic!("lasting")
            };
            assert!(
                why.starts_with("called with our title \"US\", the destination answered: "),
                "{why}"
            );
        }
        assert!(matches!(rejected(Rejection::LOCAL_LIMIT_EXCEEDED), Trouble::Passing(_)));
    }

    #[test]
    fn the_third_try_is_the_last() {
        let tries = Tries {
            most: 3,
            pause: Duration::from_secs(1200),
        };
        assert_eq!(
            (1..=4).map(|n| tries.next(n).is_some()).collect::<Vec<_>>(),
            [true, true, false, false]
        );
    }
}
