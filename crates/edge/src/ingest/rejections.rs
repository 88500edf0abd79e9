//! Associations that were rejected lately, for whoever asks why nothing comes.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::Proposal;
use packhorse_ids::WallTime;

/// Callers that are remembered; of more, the one that called longest ago is forgotten.
const CALLERS_MAX: usize = 64;

/// A caller that was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) calling: AeTitle,
    pub(crate) called: AeTitle,
    pub(crate) peer: IpAddr,
    /// The last reason, with what to do.
    pub(crate) why: String,
    pub(crate) times: u64,
    pub(crate) last: WallTime,
}

/// The callers that were rejected since the start, the one that called last behind.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<Vec<Rejected>>);

impl Rejections {
    fn lock(&self) -> MutexGuard<'_, Vec<Rejected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remember(&self, proposal: &Proposal, why: &str, now: WallTime) {
        let (calling, called, peer) = (&proposal.calling_ae_title, &proposal.called_ae_title, proposal.peer);
        let mut all = self.lock();
        let is_known = |known: &Rejected| known.calling == *calling && known.called == *called && known.peer == peer;
        let times = match all.iter().position(is_known) {
            Some(place) => all.remove(place).times,
            None => 0,
        };
        if all.len() >= CALLERS_MAX {
            all.remove(0);
        }
        all.push(Rejected {
            calling: calling.clone(),
            called: called.clone(),
            peer,
            why: why.to_owned(),
            times: times + 1,
            last: now,
        });
    }

    /// One that calls and is called so may come in now: what it was rejected for is over, wherever it called from.
    pub(crate) fn forget(&self, proposal: &Proposal) {
        let (calling, called) = (&proposal.calling_ae_title, &proposal.called_ae_title);
        self.lock()
            .retain(|known| known.calling != *calling || known.called != *called);
    }

    /// All of them, the one that called last first.
    pub(crate) fn all(&self) -> Vec<Rejected> {
        self.lock().iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::proposal;

    #[test]
    fn callers_are_counted_and_only_the_last_are_remembered() {
        let (rejections, at) = (Rejections::default(), WallTime::from_unix_micros);
        rejections.remember(&proposal("FIRST", "X"), "who is that", at(1));
        rejections.remember(&proposal("OTHER", "X"), "who is that", at(2));
        rejections.remember(&proposal("FIRST", "X"), "no", at(3));
        let all = rejections.all();
        assert_eq!(
            (all[0].calling.as_str(), all[0].times, all[0].why.as_str()),
            ("FIRST", 2, "no")
        );
        rejections.forget(&proposal("FIRST", "OTHER"));
        assert_eq!(rejections.all().len(), 2);
        rejections.forget(&proposal("FIRST", "X"));
        let all = rejections.all();
        assert_eq!((all.len(), all[0].calling.as_str()), (1, "OTHER"));
        for number in 0..100 {
            rejections.remember(&proposal(&format!("N{number}"), "X"), "no", at(4));
        }
        let all = rejections.all();
        assert_eq!((all.len(), all[0].calling.as_str()), (CALLERS_MAX, "N99"));
    }
}
