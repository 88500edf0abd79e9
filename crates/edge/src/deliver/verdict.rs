//! What an attempt to deliver means: for the instance, or for the whole destination.

use std::time::Duration;

use packhorse_association::AssociationError;
use packhorse_association::driver::tls::TlsError;
use packhorse_daemon::exit::chain;
use packhorse_dicom::negotiation::Rejection;
use packhorse_dicom::status::{Status, StoreOutcome};
use packhorse_envelope::ReadError;
use packhorse_spool::StoreError;

/// What became of one instance at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered with success or a warning: delivered, by its word.
    Delivered(Status),
    /// Not this instance, now or later: the failed list.
    Failed(String),
    /// This instance again later; after the last try the failed list.
    Again(String),
    /// Nothing to do with this instance: the destination is to be left alone for a while.
    Destination(Trouble),
}

/// Why a destination is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may work again by itself: refused connection, time-out, transient rejection, out of resources.
    Passing(String),
    /// Somebody must change something: permanent rejection, no context at all. Instances stay queued.
    Lasting(String),
}

impl Verdict {
    /// What a C-STORE's answer means.
    pub(crate) fn of_status(status: Status, comment: Option<&str>) -> Self {
        let said = said(status, comment);
        match status.store_outcome() {
            StoreOutcome::Delivered | StoreOutcome::DeliveredWithWarning => Self::Delivered(status),
            StoreOutcome::RetryDestination => Self::Destination(Trouble::Passing(said)),
            StoreOutcome::RetryInstance => Self::Again(said),
            // Whether it is there already, only a query could confirm, which comes with `verify`.
            StoreOutcome::Duplicate | StoreOutcome::Final => Self::Failed(said),
        }
    }

    /// What an error of the data set's own bytes means.
    pub(crate) fn of_source(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Self {
        let said = chain(error);
        match error.downcast_ref::<ReadError<StoreError>>() {
            Some(ReadError::Read(_)) => Self::Again(format!("its bytes cannot be read: {said}")),
            _ => Self::Failed(format!("its bytes are not those that were sealed: {said}")),
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

    #[test]
    fn a_final_answer_goes_to_the_failed_list_with_the_destinations_words() {
        let verdict = Verdict::of_status(Status(0xA900), Some("no such patient"));
        let Verdict::Failed(said) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(
            said,
            "answered A900 (error: data set does not match SOP class): no such patient"
        );
    }

    #[test]
    fn out_of_resources_is_the_destinations_trouble_and_not_the_instances() {
        let verdict = Verdict::of_status(Status(0xA700), None);
        assert!(
            matches!(verdict, Verdict::Destination(Trouble::Passing(_))),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_warning_is_delivered_and_keeps_its_status() {
        assert_eq!(
            Verdict::of_status(Status(0xB006), None),
            Verdict::Delivered(Status(0xB006))
        );
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
