//! `deliver = "whole-study"`: what has come of a study is put off until it is quiet at its source and all of it is here,
//! or until it has waited long enough; then it goes over one association.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use packhorse_association::InstanceContext;
use packhorse_ids::{DeliveryId, SiteName, WallTime};

use super::parcel::{Owner, Parcel};

/// Studies that are gathered at a time; another goes as it comes.
const STUDIES_MAX: usize = 2_000;
/// Instances that are gathered at a time, over all studies; with more, the study goes that has them.
const INSTANCES_MAX: usize = 200_000;
/// Contexts remembered of one study: what an association can propose.
const CONTEXTS_MAX: usize = 128;

/// A study of one site: its Study Instance UID is an [`Owner::Study`].
pub(super) type StudyKey = (SiteName, Owner);

/// The studies that are gathered, or are going.
#[derive(Debug)]
pub(super) struct Studies {
    max_wait: Duration,
    all: HashMap<StudyKey, Study>,
}

#[derive(Debug)]
struct Study {
    /// When its first instance came.
    first: WallTime,
    waiting: HashSet<DeliveryId>,
    contexts: Vec<InstanceContext>,
    is_going: bool,
}

/// What is to become of an instance that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// It goes in its turn.
    Goes,
    /// Not before this, unless its study goes before.
    Waits(WallTime),
}

impl Studies {
    pub(super) fn new(max_wait: Duration) -> Self {
        Self {
            max_wait,
            all: HashMap::new(),
        }
    }

    /// Which study `parcel` is gathered with; `None`: it goes alone, for it has none, or was tried before.
    pub(super) fn key_of(parcel: &Parcel) -> Option<StudyKey> {
        if parcel.entry.attempts > 0 {
            return None;
        }
        let study = parcel.owners.iter().find(|owner| matches!(owner, Owner::Study(_)))?;
        Some((parcel.entry.routing.source.clone(), study.clone()))
    }

    /// Whether it is the first of its study.
    pub(super) fn is_new(&self, parcel: &Parcel) -> bool {
        Self::key_of(parcel).is_some_and(|key| !self.all.contains_key(&key))
    }

    /// An instance has come.
    pub(super) fn gather(&mut self, parcel: &Parcel) -> Gathered {
        let Some(key) = Self::key_of(parcel) else {
            return Gathered::Goes;
        };
        let gathered: usize = self.all.values().map(|study| study.waiting.len()).sum();
        let is_too_much = self.all.len() >= STUDIES_MAX || gathered >= INSTANCES_MAX;
        let first = parcel.entry.committed_at;
        let study = self.all.entry(key).or_insert_with(|| Study {
            first,
            waiting: HashSet::new(),
            contexts: Vec::new(),
            is_going: false,
        });
        study.first = study.first.min(first);
        study.is_going |= is_too_much;
        let context = parcel.context();
        if study.contexts.len() < CONTEXTS_MAX && !study.contexts.contains(context) {
            study.contexts.push(context.clone());
        }
        if study.is_going {
            return Gathered::Goes;
        }
        study.waiting.insert(parcel.delivery());
        Gathered::Waits(study.first.saturating_add(self.max_wait))
    }

    /// The studies that do not go yet, and whether they have waited long enough.
    pub(super) fn waiting(&self, now: WallTime) -> Vec<(StudyKey, bool)> {
        let waiting = self.all.iter().filter(|(_, study)| !study.is_going);
        let is_late = |study: &Study| now.saturating_since(study.first) >= self.max_wait;
        waiting.map(|(key, study)| (key.clone(), is_late(study))).collect()
    }

    /// In how long the next study will have waited long enough.
    pub(super) fn next_end(&self, now: WallTime) -> Option<Duration> {
        let waiting = self.all.values().filter(|study| !study.is_going);
        let left = waiting.map(|study| self.max_wait.saturating_sub(now.saturating_since(study.first)));
        left.min()
    }

    /// A study goes from now on. What of it waits.
    pub(super) fn go(&mut self, key: &StudyKey) -> Vec<DeliveryId> {
        let Some(study) = self.all.get_mut(key) else {
            return Vec::new();
        };
        study.is_going = true;
        study.waiting.drain().collect()
    }

    /// What its association proposes.
    pub(super) fn contexts(&self, key: &StudyKey) -> Vec<InstanceContext> {
        self.all
            .get(key)
            .map(|study| study.contexts.clone())
            .unwrap_or_default()
    }

    /// Studies that were let go and of which nothing is here any more: somebody discarded the rest, or it went in between.
    pub(super) fn forget_gone(&mut self, is_here: impl Fn(&StudyKey) -> bool) {
        self.all.retain(|key, study| !study.is_going || is_here(key));
    }

    /// All of it that was here is done with.
    pub(super) fn forget(&mut self, key: &StudyKey) {
        self.all.remove(key);
    }
}
