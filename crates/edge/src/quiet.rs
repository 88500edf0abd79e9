//! Which studies other sites have told to be over: nothing more of them comes, as far as they know.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;
use tokio::sync::watch;

/// Studies remembered; with more, all are forgotten, and those that wait go after their longest wait.
const STUDIES_MAX: usize = 10_000;

/// Where a study comes from, where it goes, and its Study Instance UID as it is printed.
pub(crate) type QuietKey = (SiteName, AeTitle, String);

/// Studies that are quiet at their source, with how many instances were sent.
#[derive(Debug)]
pub(crate) struct QuietStudies {
    all: Mutex<HashMap<QuietKey, u64>>,
    version: watch::Sender<u64>,
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
    pub(crate) fn learn(&self, key: QuietKey, instances: u64) {
        let is_news = {
            let mut all = self.lock();
            if all.len() >= STUDIES_MAX && !all.contains_key(&key) {
                tracing::warn!(STUDIES_MAX, "more studies are told to be quiet than are remembered");
                all.clear();
            }
            all.insert(key, instances) != Some(instances)
        };
        if is_news {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// How many instances of a study were sent; `None`: it is not quiet, or nobody has said so.
    pub(crate) fn sent(&self, key: &QuietKey) -> Option<u64> {
        self.lock().get(key).copied()
    }

    pub(crate) fn forget(&self, key: &QuietKey) {
        self.lock().remove(key);
    }

    /// Counts what is new.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QuietKey, u64>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
