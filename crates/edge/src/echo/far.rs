//! The whole way to a PACS at the far end of a route: relay, far gateway, PACS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;
use packhorse_transport::LinkStatus;
use tokio::time::Instant;

use super::report::{Leg, PacsCheck, shown};
use super::shared_check::SharedCheck;
use crate::asking::{self, Asked, NotAsked};
use crate::messages::{Answer, Question};
use crate::shared::Shared;

/// How long an answer that comes late still counts for those who ask after it.
const LATE: Duration = Duration::from_secs(60);

/// Where the way stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Between here and the relay.
    Relay,
    /// Between the relay and the far gateway.
    Site,
    /// Between the far gateway and its PACS, in this leg.
    Pacs(Leg),
}

/// The way, as far as it was walked.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) site: SiteName,
    pub(crate) ae_title: AeTitle,
    /// What the link runs over; `None`: it is down.
    pub(crate) link: Option<String>,
    /// Until the relay had the question on disk.
    pub(crate) acked: Option<Duration>,
    /// From there to the far gateway and back, without its own work.
    pub(crate) there_and_back: Option<Duration>,
    /// What the far gateway found.
    pub(crate) pacs: Option<PacsCheck>,
    /// `None`: all is well.
    pub(crate) stopped: Option<Stopped>,
    /// From the question to its answer, or to the end of waiting.
    pub(crate) took: Duration,
}

/// Where the way stopped, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    pub(crate) place: Place,
    pub(crate) why: String,
    pub(crate) remedy: String,
}

fn stopped(place: Place, why: impl Into<String>, remedy: impl Into<String>) -> Stopped {
    Stopped {
        place,
        why: why.into(),
        remedy: remedy.into(),
    }
}

impl Way {
    /// How old what it says of the PACS is.
    fn age(&self) -> Duration {
        self.pacs.as_ref().map_or(Duration::ZERO, PacsCheck::age)
    }

    fn answered(&mut self, answer: Answer, since_asked: Duration) {
        match answer {
            Answer::Echo { check, took } => {
                let there = since_asked.saturating_sub(self.acked.unwrap_or_default());
                self.there_and_back = Some(there.saturating_sub(Duration::from_micros(took)));
                let check = check.of_peer();
                self.stopped = check
                    .stopped
                    .as_ref()
                    .map(|stop| stopped(Place::Pacs(stop.leg), stop.why.clone(), stop.remedy.clone()));
                self.pacs = Some(check);
            }
            Answer::No { why, remedy } => {
                self.there_and_back = Some(since_asked.saturating_sub(self.acked.unwrap_or_default()));
                self.stopped = Some(stopped(Place::Site, shown(&why), shown(&remedy)));
            }
            Answer::TooLate => {
                let remedy = "set the clocks of both gateways";
                self.stopped = Some(stopped(Place::Site, "says that the question came too late", remedy));
            }
        }
    }
}

/// Walks to `ae_title` at `site`. With the question, when its answer may still come.
pub(crate) async fn walk(
    shared: &Shared,
    (site, ae_title): (&SiteName, &AeTitle),
    fresh: bool,
    within: Duration,
) -> (Way, Option<Asked>) {
    let begun = Instant::now();
    let mut way = Way {
        site: site.clone(),
        ae_title: ae_title.clone(),
        link: None,
        acked: None,
        there_and_back: None,
        pacs: None,
        stopped: None,
        took: Duration::ZERO,
    };
    match &*shared.link.borrow() {
        LinkStatus::Up { path, .. } => way.link = Some(path.clone()),
        LinkStatus::Connecting { .. } => way.stopped = Some(no_link(shared, "the link is not up yet")),
        LinkStatus::Down { why, .. } => way.stopped = Some(no_link(shared, &format!("the link is down: {why}"))),
    }
    if way.stopped.is_some() {
        return (way, None);
    }
    let question = Question::Echo {
        to_ae_title: ae_title.to_string(),
        fresh,
    };
    let mut asked = match asking::ask(shared, site, question, within.max(LATE)).await {
        Ok(asked) => asked,
        Err(error) => {
            way.stopped = Some(match error {
                NotAsked::Outstanding { .. } => off(shared, site, &error.to_string()),
                NotAsked::Spool(_) => stopped(Place::Relay, error.to_string(), "see `status` here"),
            });
            return (way, None);
        }
    };
    let progress = asked.wait(begun + within).await;
    way.acked = progress.acked.map(|at| at.duration_since(asked.at));
    way.took = begun.elapsed();
    if let Some((at, answer)) = progress.answer {
        way.answered(answer, at.duration_since(asked.at));
        return (way, None);
    }
    let unknown = progress.refused.or_else(|| shared.unknown_sites.said_of(site));
    way.stopped = Some(match unknown {
        Some(said) => {
            let remedy = format!("at the relay: relay invite {site}; or correct `to` of the [[route]]");
            stopped(Place::Relay, shown(&said), remedy)
        }
        None if way.acked.is_none() => no_link(shared, &format!("the relay has not acknowledged within {within:?}")),
        None => off(shared, site, &format!("no answer within {within:?}")),
    });
    (way, Some(asked))
}

fn no_link(shared: &Shared, why: &str) -> Stopped {
    let relay = match &shared.config.relay {
        Some(configured) => configured.clone(),
        None => shared.relay.join(", "),
    };
    let remedy = format!("is the relay running, and may this gateway send UDP to {relay}?");
    stopped(Place::Relay, why, remedy)
}

/// The far gateway does not answer.
fn off(shared: &Shared, site: &SiteName, why: &str) -> Stopped {
    let remedy = match shared.directory.site(site) {
        None => format!("it has never announced itself: has the gateway of {site} joined the relay, and does it run?"),
        Some(_) => format!("does the gateway of {site} run, and is its link up? There: edge-gateway status"),
    };
    stopped(Place::Site, why, remedy)
}

/// The last checks of PACS at the far end of routes, by site and AE title.
#[derive(Debug, Default)]
pub(crate) struct FarEchoes(Mutex<HashMap<End, Arc<SharedCheck<Way>>>>);

/// Where a route leads.
type End = (SiteName, AeTitle);

impl FarEchoes {
    /// Only for what a route leads to: their number bounds it.
    fn of(&self, site: &SiteName, ae_title: &AeTitle) -> Arc<SharedCheck<Way>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((site.clone(), ae_title.clone())).or_default())
    }
}

/// The way to the end of a route, walked at most so long ago as the pace says: one walk for all who ask at the moment.
/// `None`: it did not end in time.
pub(crate) async fn shared_way(shared: &Arc<Shared>, site: &SiteName, ae_title: &AeTitle) -> Option<(Way, Duration)> {
    let times = &shared.config.echo;
    let all = shared.far_echoes.of(site, ae_title);
    let (kept, of, site, ae_title) = (Arc::clone(shared), Arc::clone(&all), site.clone(), ae_title.clone());
    let within = times.answer * 9 / 10;
    let check = move || async move {
        let (way, asked) = walk(&kept, (&site, &ae_title), false, within).await;
        if let Some(asked) = asked {
            tokio::spawn(learn_late(kept, of, asked, way.clone()));
        }
        let age = way.age();
        (way, age)
    };
    all.get(times.pace, times.answer, check).await
}

/// An answer that comes after everybody has gone is for those who come later.
async fn learn_late(shared: Arc<Shared>, of: Arc<SharedCheck<Way>>, mut asked: Asked, mut way: Way) {
    let progress = tokio::select! {
        progress = asked.wait(asked.at + LATE) => progress,
        () = shared.stop.cancelled() => return,
    };
    if let Some((at, answer)) = progress.answer {
        way.acked = progress.acked.map(|at| at.duration_since(asked.at));
        way.answered(answer, at.duration_since(asked.at));
        let age = way.age();
        of.learn(way, age);
    }
}
