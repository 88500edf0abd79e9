//! Which studies are over: told by the site that sent them to a site that delivers them as a whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{SiteName, WallTime};
use packhorse_ledger::store::SentStudy;
use packhorse_spool::{Entry, StoreError};

use super::Message;
use crate::config::Deliver;
use crate::consent;
use crate::shared::Shared;

/// It is looked at least so often which studies are quiet,
const LOOK_EVERY_MAX: Duration = Duration::from_secs(10);
/// and at most so often.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(50);
/// Studies are looked at so long after something last happened to them; after a start for longer.
const LOOK_BACK: Duration = Duration::from_secs(3600);
const LOOK_BACK_AT_START: Duration = Duration::from_secs(86_400);
/// Longest Study Instance UID that is believed, in bytes; a valid one has 64.
const STUDY_LEN_MAX: usize = 256;
/// What was told is read again so often: it is remembered on disk by its message.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// Tells the sites that want to know which studies are over, each once, until the edge stops. After a start it is told again.
pub(crate) async fn tell_quiet_studies(shared: Arc<Shared>) {
    let every = (shared.config.quiet / 4).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
    let mut told = Told::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.stop.cancelled() => return,
        }
        if let Err(error) = told.look(&shared).await {
            tracing::warn!(error = chain(&error), "it cannot be told now which studies are over");
        }
    }
}

/// What was told: of a study for a destination, how many deliveries.
#[derive(Debug, Default)]
struct Told {
    studies: HashMap<(String, String), u64>,
    has_looked: bool,
}

impl Told {
    async fn look(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let wanted = wanted(shared);
        if wanted.is_empty() {
            return Ok(());
        }
        crate::ledger::catch_up(shared).await?;
        let (now, started) = (shared.clock.now(), shared.started);
        let back = if self.has_looked { LOOK_BACK } else { LOOK_BACK_AT_START };
        let since = before(now, back + shared.config.quiet);
        let Some(Ok(studies)) = shared
            .ledger(move |projection| projection.sent_studies(since, started))
            .await
        else {
            tracing::warn!("the ledger does not answer");
            return Ok(());
        };
        self.has_looked = true;
        let known: BTreeSet<_> = studies
            .iter()
            .map(|study| (study.to.as_str(), study.study.as_str()))
            .collect();
        self.studies
            .retain(|(to, study), _| known.contains(&(to.as_str(), study.as_str())));
        let is_quiet = |study: &&SentStudy| {
            let since = now.saturating_since(study.last_received);
            !study.is_open && study.deliveries > 0 && since >= shared.config.quiet
        };
        for study in studies.iter().filter(is_quiet) {
            let Some((site, title)) = wanted
                .iter()
                .find(|(site, title)| study.to == format!("{site}/{title}"))
            else {
                continue;
            };
            let key = (study.to.clone(), study.study.clone());
            if self.studies.get(&key) == Some(&study.deliveries) {
                continue;
            }
            let message = Message::StudyQuiet {
                to_ae_title: title.to_string(),
                study: study.study.clone(),
                instances: study.deliveries,
            };
            shared.send_message(site, &message).await?;
            self.studies.insert(key, study.deliveries);
        }
        Ok(())
    }
}

fn before(now: WallTime, back: Duration) -> WallTime {
    let back = i64::try_from(back.as_micros()).unwrap_or(i64::MAX);
    WallTime::from_unix_micros(now.unix_micros().saturating_sub(back))
}

/// The destinations of our routes that are delivered to study by study.
fn wanted(shared: &Shared) -> BTreeSet<(SiteName, AeTitle)> {
    let routes = shared.config.engine.routes().iter();
    let is_wanted = |site: &SiteName, title: &AeTitle| {
        let entry = shared.directory.site(site);
        entry.is_some_and(|entry| {
            let mut all = entry.destinations.iter();
            all.any(|published| published.whole_study && published.ae_title == title.as_str())
        })
    };
    let ends = routes.map(|route| (route.to_site.clone(), route.to_ae_title.clone()));
    ends.filter(|(site, title)| is_wanted(site, title)).collect()
}

/// A study is over at its source. When the message is to be read again; `None`: nobody needs it any more.
pub(super) fn came(
    shared: &Shared,
    entry: &Entry,
    to_ae_title: &str,
    study: String,
    instances: u64,
) -> Option<WallTime> {
    let (from, now) = (&entry.routing.source, shared.clock.now());
    let title = AeTitle::try_from(to_ae_title).ok()?;
    let destinations = shared.destinations();
    let destination = destinations.iter().find(|known| known.ae_title == title)?;
    let Deliver::WholeStudy { max_wait } = destination.deliver else {
        return None;
    };
    if study.len() > STUDY_LEN_MAX || !consent::accepts(&destinations, &title, from) {
        return None;
    }
    let key = (from.clone(), title, study);
    // Its first instance came before: by then it has gone.
    if now.saturating_since(entry.committed_at) >= max_wait {
        shared.quiet.forget(&key);
        return None;
    }
    shared.quiet.learn(key, instances);
    Some(now.saturating_add(READ_AGAIN.min(max_wait)))
}
