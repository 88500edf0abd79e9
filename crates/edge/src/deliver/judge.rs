//! What an attempt came to, and what it means for the destination.

use std::sync::Arc;
use std::time::Duration;

use packhorse_association::{AssociationError, CStoreRsp, StoreError};
use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::DeliveryId;
use packhorse_spool::backoff;
use tokio::time::Instant;

use super::losses::Blame;
use super::parcel::Parcel;
use super::verdict::{Reason, Trouble, Verdict};
use super::{Alone, Deliverer, health, settle};
use crate::config::CallingTitle;

/// An association that is lost, or an answer that does not come, during one instance so often while others are answered, is
/// that instance's fault.
const LOST_MAX: u32 = 3;
/// A destination that answered none of several instances is asked for others so soon, however long these are left alone.
const OTHERS_AFTER: Duration = Duration::from_secs(10);
/// Titles that a destination rejects at a time; with more, it is paused as a whole.
const REJECTED_MAX: usize = 256;

impl Deliverer {
    pub(super) fn judge(
        &mut self,
        parcel: &Parcel,
        calling: &AeTitle,
        stored: Result<CStoreRsp, StoreError>,
    ) -> Verdict {
        match stored {
            Ok(response) => {
                self.losses.answered();
                let verdict = Verdict::of_status(response.status, response.error_comment.as_deref());
                // An answer that it takes nothing now is no sign of health.
                if !matches!(verdict, Verdict::Destination(_)) {
                    self.good(calling);
                }
                verdict
            }
            Err(StoreError::ContextRefused { context, result }) => {
                self.losses.answered();
                self.good(calling);
                Verdict::of_refused_context(&context, result, parcel.not_converted())
            }
            Err(StoreError::NoAssociation { error, .. }) => {
                Verdict::Destination(Trouble::of_request(&error, calling.as_str()))
            }
            Err(error @ StoreError::NothingAccepted { .. }) => {
                Verdict::Destination(Trouble::Lasting(error.to_string()))
            }
            // The envelope is damaged, or the spool cannot be read: nothing of it has passed for the whole.
            Err(StoreError::Interrupted(AssociationError::Source(error))) => Verdict::of_source(&*error),
            Err(StoreError::Interrupted(error)) => self.unanswered(parcel, &error),
        }
    }

    /// The association was lost while an instance was under way, or its answer did not come in time: three times while
    /// others are answered is its own fault; with different ones in a row it is the destination's.
    fn unanswered(&mut self, parcel: &Parcel, error: &AssociationError) -> Verdict {
        let said = chain(error);
        let (on_it, in_general, once) = match error {
            AssociationError::TimedOut { .. } => (
                "the PACS does not answer on it",
                "it does not answer one instance after the other",
                "it was not answered in time",
            ),
            _ => (
                "the PACS drops the association on it",
                "it drops one association after the other",
                "the association was lost",
            ),
        };
        match self.losses.lost(parcel.delivery()) {
            Blame::Destination => Verdict::Destination(Trouble::Unanswered(format!("{in_general}: {said}"))),
            Blame::Instance(times) if times >= LOST_MAX => {
                Verdict::Failed(Reason::from(format!("{on_it} ({times} times): {said}")))
            }
            Blame::Instance(_) => Verdict::Again(Reason::from(format!("{once}: {said}"))),
        }
    }

    fn good(&mut self, calling: &AeTitle) {
        self.failures = 0;
        self.rejected.remove(calling);
        // A title that nobody goes under any more is rejected no more.
        let (now, again) = (Instant::now(), self.shared.config.delivery.paused_again);
        self.rejected.retain(|_, until| *until + again > now);
        // What it says to one title is no reason to call it well when it rejects another.
        if self.rejected.is_empty() {
            health::good(&self.shared, &self.destination);
        }
    }

    /// Leaves the destination alone for a while; its instances stay queued.
    pub(super) async fn leave_alone(&mut self, trouble: Trouble, (delivery, calling): (DeliveryId, &AeTitle)) {
        self.failures = self.failures.saturating_add(1);
        let (shared, to) = (Arc::clone(&self.shared), Arc::clone(&self.destination));
        let times = &shared.config.delivery;
        let pause = backoff(self.failures, times.retry_min, times.retry_max, rand::random());
        let (wait, others) = match &trouble {
            Trouble::Passing(_) => (pause, pause),
            Trouble::Unanswered(_) => (pause, pause.min(OTHERS_AFTER)),
            Trouble::Lasting(_) => (times.paused_again, times.paused_again),
        };
        let (now, next) = (Instant::now(), shared.clock.now().saturating_add(wait));
        match trouble {
            Trouble::Passing(why) => {
                health::down(&shared, &to, &why, next);
                settle::give_back(&shared, vec![delivery]).await;
            }
            Trouble::Unanswered(why) => {
                health::down(&shared, &to, &why, next);
                // However many there are of such, they are not in the way of others.
                let suspects = self.room.take_all(|parcel| self.losses.is_suspect(parcel.delivery()));
                let suspects = suspects.iter().map(Parcel::delivery).chain([delivery]);
                settle::postpone(&shared, suspects.collect(), next).await;
            }
            Trouble::Lasting(why) => {
                settle::give_back(&shared, vec![delivery]).await;
                health::paused(&shared, &to, &why, next).await;
                if self.has_titles() && self.rejected.len() < REJECTED_MAX {
                    // Others may be welcome.
                    self.rejected.insert(calling.clone(), now + wait);
                    let theirs = |parcel: &Parcel| {
                        let site = &parcel.entry.routing.source;
                        to.calling_ae_title_for(site, parcel.original.as_ref()) == *calling
                    };
                    let put_off = self.room.take_all(theirs);
                    let deliveries = put_off.iter().map(Parcel::delivery).collect();
                    settle::postpone(&shared, deliveries, next).await;
                    return;
                }
            }
        }
        self.alone = Some(Alone {
            until: now + wait,
            others_from: now + others,
        });
        self.empty_room().await;
        self.release_those(|lane| lane.idle().is_some());
    }

    /// Whether it may be called by several titles.
    fn has_titles(&self) -> bool {
        !self.destination.calling_ae_titles.is_empty() || self.destination.calling_ae_title == CallingTitle::Original
    }

    pub(super) fn rejected_until(&self, calling: &AeTitle) -> Option<Instant> {
        let until = self.rejected.get(calling)?;
        (*until > Instant::now()).then_some(*until)
    }
}
