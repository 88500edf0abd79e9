//! What other sites have told of their PACS, in memory and in `mirror-far.json`, and which pairs our sources have proposed
//! for them. The file may be deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, Proposal};
use packhorse_ids::{SiteName, WallTime};
use packhorse_policy::{ContextDecision, MirrorMode, Route};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::known::Known;
use super::ours;
use super::probe::Pair;
use super::told::{Told, written};
use crate::directory::replace_file;
use crate::shared::Shared;

/// Facts of one PACS that are believed of its site.
const FACTS_MAX: usize = 2048;
/// Pairs that our sources have proposed for one PACS: further ones are not asked about.
const PROPOSED_MAX: usize = 512;
/// Pairs in one message.
const PAIRS_MAX: usize = 256;
/// How long what policy gets is used before it is made again: facts expire.
const MADE_FOR: Duration = Duration::from_secs(1);
/// Name of the file in the edge's folder.
const FILE_NAME: &str = "mirror-far.json";

/// One PACS of another site, as that site has told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Far {
    /// When the site told it, by its clock: an older message changes nothing.
    at: i64,
    probed_at: Option<i64>,
    facts: Vec<Told>,
}

/// Pairs that our sources have proposed.
#[derive(Debug, Default)]
struct Proposed {
    all: BTreeSet<Pair>,
    untold: Vec<Pair>,
}

/// What policy gets, when and for which mode it was made.
#[derive(Debug)]
struct Made {
    at: Instant,
    mode: MirrorMode,
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct State {
    /// By `site/AE title`; only ends of our routes.
    far: BTreeMap<String, Far>,
    made: HashMap<String, Made>,
    proposed: BTreeMap<String, Proposed>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FarMirrors {
    path: PathBuf,
    state: Mutex<State>,
}

fn key(site: &SiteName, ae_title: &AeTitle) -> String {
    format!("{site}/{ae_title}")
}

impl FarMirrors {
    /// What the file in `folder` knows. One that cannot be read is no loss: the sites tell it again.
    pub(crate) fn load(folder: &Path) -> Self {
        let path = folder.join(FILE_NAME);
        let far = std::fs::read(&path).ok();
        let far = far
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let state = State {
            far,
            ..State::default()
        };
        Self {
            path,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what `site` tells of its PACS, if a route of ours leads there.
    pub(crate) fn told(&self, shared: &Shared, site: &SiteName, ae_title: &str, told: (i64, Option<i64>, Vec<Told>)) {
        let (at, probed_at, mut facts) = told;
        let mut routes = shared.config.engine.routes().iter();
        let Some(route) = routes.find(|route| route.to_site == *site && route.to_ae_title.as_str() == ae_title) else {
            tracing::info!(%site, "what a PACS takes is passed over: no [[route]] leads there");
            return;
        };
        // Only UIDs, so that they can be shown; and nothing from the future, which would never expire.
        facts.retain(|fact| fact.read().is_some());
        facts.truncate(FACTS_MAX);
        let now = shared.clock.now().unix_micros();
        facts.iter_mut().for_each(|fact| fact.at = fact.at.min(now));
        let key = key(site, &route.to_ae_title);
        let mut state = self.lock();
        if state.far.get(&key).is_some_and(|known| known.at > at) {
            return;
        }
        tracing::info!(%site, destination = %route.to_ae_title, facts = facts.len(), "told what its PACS takes");
        state.made.remove(&key);
        state.far.insert(key, Far { at, probed_at, facts });
        let bytes = serde_json::to_vec(&state.far).map_err(std::io::Error::other);
        drop(state);
        if let Err(error) = bytes.and_then(|bytes| replace_file(&self.path, &bytes)) {
            tracing::warn!(%error, "{FILE_NAME} is not written; the sites tell it again");
        }
    }

    /// What policy gets for a route now.
    pub(crate) fn known(&self, shared: &Shared, route: &Route) -> Arc<Known> {
        let Some(mode) = mode(shared, route) else {
            return Arc::default();
        };
        let (key, now) = (key(&route.to_site, &route.to_ae_title), Instant::now());
        let mut state = self.lock();
        if let Some(made) = state.made.get(&key)
            && made.mode == mode
            && now.duration_since(made.at) < MADE_FOR
        {
            return Arc::clone(&made.known);
        }
        let Some(far) = state.far.get(&key) else {
            return Arc::default();
        };
        let (today, expire) = (shared.clock.now(), shared.config.mirror.expire);
        let read = far.facts.iter().filter_map(Told::read);
        let believed = read.filter(|(_, takes, word)| *takes || today.saturating_since(word.at) < expire);
        let known = Arc::new(Known::new(mode, believed));
        let made = Made {
            at: now,
            mode,
            known: Arc::clone(&known),
        };
        state.made.insert(key, made);
        known
    }

    /// Remembers which pairs a source has proposed, of classes that the rules accept.
    pub(crate) fn proposed(&self, shared: &Shared, proposal: &Proposal, contexts: &[ContextDecision]) {
        let route = shared
            .config
            .engine
            .route(&proposal.called_ae_title, &proposal.listener);
        let Some(route) = route.filter(|route| mode(shared, route).is_some()) else {
            return;
        };
        let is_accepted = |context: &&ContextDecision| {
            let by_rule = matches!(context.answer, ContextAnswer::Accepted(_)) || context.not_taken.is_some();
            context.is_storage && by_rule
        };
        let mut state = self.lock();
        let known = state
            .proposed
            .entry(key(&route.to_site, &route.to_ae_title))
            .or_default();
        for context in contexts.iter().filter(is_accepted) {
            let offered = proposal.contexts.iter().find(|offered| offered.id == context.id);
            for syntax in offered.into_iter().flat_map(|offered| &offered.transfer_syntaxes) {
                let pair = (context.abstract_syntax.clone(), syntax.clone());
                if known.all.len() < PROPOSED_MAX && known.all.insert(pair.clone()) {
                    known.untold.push(pair);
                }
            }
        }
    }

    /// Pairs for `route`'s end that its site has not been told of yet, as many as one message has.
    pub(super) fn untold(&self, route: &Route) -> Vec<(String, String)> {
        let mut state = self.lock();
        let Some(known) = state.proposed.get_mut(&key(&route.to_site, &route.to_ae_title)) else {
            return Vec::new();
        };
        let rest = known.untold.split_off(known.untold.len().min(PAIRS_MAX));
        let now = std::mem::replace(&mut known.untold, rest);
        written(now.iter())
    }

    /// For `routes`: what is known of a route's end, each with its age and source when `all` is asked for.
    pub(crate) fn shown(&self, shared: &Shared, route: &Route, all: bool) -> Value {
        let state = self.lock();
        match state.far.get(&key(&route.to_site, &route.to_ae_title)) {
            None => json!({ "facts_known": 0 }),
            Some(far) => {
                let probed_at = far.probed_at.map(WallTime::from_unix_micros);
                ours::shown(probed_at, far.facts.iter(), shared.clock.now(), all)
            }
        }
    }
}

/// What the far site wants to be done with what is known. `None`: nothing, or it has not said anything.
pub(crate) fn mode(shared: &Shared, route: &Route) -> Option<MirrorMode> {
    match shared.directory.mirror(&route.to_site, &route.to_ae_title)?.as_str() {
        "advise" => Some(MirrorMode::Advise),
        "strict" => Some(MirrorMode::Strict),
        // `off`, or what a newer edge says.
        _ => None,
    }
}

#[cfg(test)]
mod tests;
