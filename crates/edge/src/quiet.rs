//! Which studies other sites have told to be over: nothing more of them comes, as far as they know.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;
use tokio::sync::watch;

/// Studies remembered of one site; with another, its oldest is forgotten, and goes after its longest wait.
const STUDIES_MAX: usize = 1_000;

/// Where a study comes from, where it goes, and its Study Instance UID as it is printed.
pub(crate) type QuietKey = (SiteName, AeTitle, String);

/// Studies that are quiet at their source, with how many instances were sent.
#[derive(Debug)]
pub(crate) struct QuietStudies {
    /// Of each site that may send here.
    all: Mutex<HashMap<SiteName, OfSite>>,
    version: watch::Sender<u64>,
}

/// By destination and Study Instance UID.
#[derive(Debug, Default)]
struct OfSite {
    studies: HashMap<(AeTitle, String), Quiet>,
    learned: u64,
}

#[derive(Clone, Copy, Debug)]
struct Quiet {
    instances: u64,
    /// Rises with each study.
    number: u64,
}

impl OfSite {
    /// Whether it is news.
    fn learn(&mut self, study: (AeTitle, String), instances: u64) -> bool {
        if let Some(known) = self.studies.get_mut(&study) {
            return std::mem::replace(&mut known.instances, instances) != instances;
        }
        if self.studies.len() >= STUDIES_MAX {
            let oldest = self.studies.iter().min_by_key(|(_, quiet)| quiet.number);
            if let Some(oldest) = oldest.map(|(study, _)| study.clone()) {
                self.studies.remove(&oldest);
            }
        }
        self.learned += 1;
        let number = self.learned;
        self.studies.insert(study, Quiet { instances, number });
        true
    }
}

impl Default for QuietStudies {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl QuietStudies {
    pub(crate) fn learn(&self, (site, title, study): QuietKey, instances: u64) {
        let is_news = self.lock().entry(site).or_default().learn((title, study), instances);
        if is_news {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// How many instances of a study were sent; `None`: it is not quiet, or nobody has said so.
    pub(crate) fn sent(&self, (site, title, study): &QuietKey) -> Option<u64> {
        let (all, study) = (self.lock(), (title.clone(), study.clone()));
        all.get(site)?.studies.get(&study).map(|quiet| quiet.instances)
    }

    pub(crate) fn forget(&self, (site, title, study): &QuietKey) {
        let (mut all, study) = (self.lock(), (title.clone(), study.clone()));
        if let Some(of_site) = all.get_mut(site) {
            of_site.studies.remove(&study);
        }
    }

    /// Counts what is new.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteName, OfSite>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{site, title};

    #[test]
    fn a_site_that_tells_very_many_studies_loses_its_own_oldest_only() {
        let studies = QuietStudies::default();
        let key = |from: &str, study: usize| (site(from), title("PACS"), format!("1.{study}"));
        studies.learn(key("b", 0), 7);
        for study in 0..=STUDIES_MAX {
            studies.learn(key("a", study), 1);
        }
        // What is told again is no other study.
        studies.learn(key("a", STUDIES_MAX), 2);
        assert_eq!(studies.sent(&key("b", 0)), Some(7));
        assert_eq!(studies.sent(&key("a", 0)), None);
        assert_eq!(studies.sent(&key("a", 1)), Some(1));
        assert_eq!(studies.sent(&key("a", STUDIES_MAX)), Some(2));
        studies.forget(&key("a", 1));
        assert_eq!(studies.sent(&key("a", 1)), None);
    }
}
