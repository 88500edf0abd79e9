//! Probing our PACS, telling other sites what they take, and telling them what our sources propose.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{DeliveryId, SiteName};
use packhorse_spool::backoff;
use tokio::time::Instant;

use super::belief::{Heard, Source, Word};
use super::far::mode;
use super::{ours, probe};
use crate::config::Destination;
use crate::messages::Message;
use crate::shared::Shared;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest pause after probes that teach nothing.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Sites that have lost what they were told, by their asking, and of which PACS.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Mutex<BTreeSet<(SiteName, AeTitle)>>);

impl Wanted {
    /// `site` has asked for everything: it is told again of each PACS that it may send to.
    pub(crate) fn again(&self, site: &SiteName, destinations: &[Destination]) {
        let theirs = destinations.iter().filter(|known| known.accept_from.contains(site));
        let theirs = theirs.map(|known| (site.clone(), known.ae_title.clone()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(theirs);
    }

    fn take(&self, key: &(SiteName, AeTitle)) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

/// Probes, tells and writes down until the edge stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    for destination in &shared.config.destinations {
        tokio::spawn(keep_probing(Arc::clone(&shared), destination.ae_title.clone()));
    }
    let (mut telling, mut proposing) = (Telling::default(), Proposing::default());
    while looks_again(&shared).await {
        ours::save(
            &shared.folder,
            &shared.config.destinations,
            &shared.pacs,
            shared.clock.now(),
        );
        for destination in shared.destinations() {
            telling.tell(&shared, &destination).await;
        }
        proposing.tell(&shared).await;
    }
    ours::save(
        &shared.folder,
        &shared.config.destinations,
        &shared.pacs,
        shared.clock.now(),
    );
}

/// `false`: the edge stops.
async fn looks_again(shared: &Shared) -> bool {
    tokio::select! {
        () = tokio::time::sleep(LOOK_EVERY) => true,
        () = shared.draining.cancelled() => false,
        () = shared.stop.cancelled() => false,
    }
}

/// Probes one of our PACS: once somebody may send to it, and only what is to be asked, with pauses.
async fn keep_probing(shared: Arc<Shared>, title: AeTitle) {
    let (mut next, mut failures) = (Instant::now(), 0_u32);
    while looks_again(&shared).await {
        if next > Instant::now() {
            continue;
        }
        let known = shared.destinations().into_iter().find(|known| known.ae_title == title);
        let Some(destination) = known.filter(|known| known.mirror.is_some() && !known.accept_from.is_empty()) else {
            continue;
        };
        let Some(taught) = probe_once(&shared, &destination).await else {
            continue;
        };
        let pace = shared.config.mirror.pace;
        next = Instant::now();
        if taught {
            failures = 0;
            next += pace;
        } else {
            failures = failures.saturating_add(1);
            next += backoff(failures, pace, PAUSE_MAX.max(pace), rand::random()).max(pace);
        }
    }
}

/// One probe. Whether it taught anything; `None`: there was nothing to ask, or a delivery has the association.
async fn probe_once(shared: &Shared, destination: &Destination) -> Option<bool> {
    let (pacs, patience) = (shared.pacs.get(&destination.ae_title)?, shared.config.mirror.patience());
    let contexts = pacs.mirror.due(shared.clock.now(), &patience);
    if contexts.is_empty() {
        return None;
    }
    let _turn = pacs.try_lone_turn()?;
    let (title, proposed) = (&destination.ae_title, contexts.len() - 1);
    let answered = match probe::probe(shared, destination, contexts).await {
        Ok(answered) => answered,
        Err(error) => {
            let why = chain(&error);
            tracing::info!(destination = %title, why, "asked what it takes, without an answer; nothing is concluded from that");
            return Some(false);
        }
    };
    let word = Word {
        at: shared.clock.now(),
        source: Source::Probe,
    };
    match pacs.mirror.hear(&answered, word, &patience) {
        Heard::Nothing => {
            tracing::info!(destination = %title, "asked what it takes; it accepts nothing, so nothing is concluded from that");
            Some(false)
        }
        heard @ (Heard::Same | Heard::Changed) => {
            let is_changed = heard == Heard::Changed;
            tracing::info!(destination = %title, proposed, is_changed, "asked what it takes");
            Some(true)
        }
    }
}

/// What one site was told of one PACS.
struct ToldSite {
    revision: u64,
    at: Instant,
    message: Option<DeliveryId>,
}

/// Tells sites what our PACS take: those that may send there, when something of it has changed, and now and then.
#[derive(Default)]
struct Telling(HashMap<(SiteName, AeTitle), ToldSite>);

impl Telling {
    async fn tell(&mut self, shared: &Shared, destination: &Destination) {
        let Some(pacs) = shared
            .pacs
            .get(&destination.ae_title)
            .filter(|_| destination.mirror.is_some())
        else {
            return;
        };
        let revision = pacs.mirror.revision();
        for site in &destination.accept_from {
            let key = (site.clone(), destination.ae_title.clone());
            if shared.mirror_wanted.take(&key) {
                self.0.remove(&key);
            }
            if let Some(told) = self.0.get(&key) {
                let is_same = told.revision == revision && told.at.elapsed() < shared.config.mirror.refresh;
                let waits = match told.message {
                    Some(message) => !shared.has_gone(message).await,
                    None => false,
                };
                if is_same || waits {
                    continue;
                }
            }
            let patience = shared.config.mirror.patience();
            let Some((revision, probed_at, facts)) = pacs.mirror.told(shared.clock.now(), &patience) else {
                continue;
            };
            let Ok(at) = shared.directory.next_announcement(shared.clock.now()) else {
                continue;
            };
            let message = Message::Mirror {
                ae_title: destination.ae_title.to_string(),
                at,
                probed_at: probed_at.map(packhorse_ids::WallTime::unix_micros),
                facts,
            };
            match shared.send_message(site, &message).await {
                Ok(message) => {
                    let at = Instant::now();
                    self.0.insert(key, ToldSite { revision, at, message });
                }
                Err(error) => tracing::warn!(%site, error = chain(&error), "it cannot be told now what a PACS takes"),
            }
        }
    }
}

/// Tells far sites which pairs our sources propose for their PACS.
#[derive(Default)]
struct Proposing(HashMap<SiteName, DeliveryId>);

impl Proposing {
    async fn tell(&mut self, shared: &Shared) {
        for route in shared.config.engine.routes() {
            if mode(shared, route).is_none() {
                continue;
            }
            // One at a time, however long the link is down.
            if let Some(last) = self.0.get(&route.to_site)
                && !shared.has_gone(*last).await
            {
                continue;
            }
            let pairs = shared.far_mirrors.untold(route);
            if pairs.is_empty() {
                continue;
            }
            let ae_title = route.to_ae_title.to_string();
            match shared
                .send_message(&route.to_site, &Message::Proposed { ae_title, pairs })
                .await
            {
                Ok(sent) => drop(sent.map(|sent| self.0.insert(route.to_site.clone(), sent))),
                Err(error) => tracing::warn!(error = chain(&error), "proposed pairs cannot be told now"),
            }
        }
    }
}
