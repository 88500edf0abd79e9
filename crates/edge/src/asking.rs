//! Asking another edge across the link, by messages. A site that is off answers later; nobody waits for it longer than his
//! own deadline, and what is asked of a site that does not answer is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{DeliveryId, SiteName, WallTime};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::consent;
use crate::echo;
use crate::messages::{Answer, Message, Question};
use crate::shared::Shared;

/// Questions to one site that are not answered: more are not asked.
const OUTSTANDING_MAX: usize = 8;
/// A question that was not answered for so long never will be: the relay may have lost it.
const OUTSTANDING_FOR: Duration = Duration::from_secs(3600);
/// Questions of others that are worked on at a time; further ones are passed over.
const ANSWERING_MAX: usize = 64;
/// How far the clocks of two edges may be apart; the relay lets nobody in whose clock is further off.
const CLOCKS_APART: Duration = Duration::from_secs(300);

/// Why a question is not asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAsked {
    /// It has not answered the last ones.
    #[error("{site} has not answered {OUTSTANDING_MAX} questions")]
    Outstanding {
        /// Who.
        site: SiteName,
    },
    /// The spool takes nothing.
    #[error("the question cannot be written: {_0}")]
    Spool(String),
}

/// How far a question has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// When the relay had it on disk.
    pub(crate) acked: Option<Instant>,
    /// What the relay said when it did not take it.
    pub(crate) refused: Option<String>,
    /// The answer, and when it came.
    pub(crate) answer: Option<(Instant, Answer)>,
}

#[derive(Debug)]
struct Outstanding {
    site: SiteName,
    asked: Instant,
    message: Option<DeliveryId>,
    progress: watch::Sender<Progress>,
}

/// A question that was asked. Dropping it waits no more; the question stays asked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// When.
    pub(crate) at: Instant,
    progress: watch::Receiver<Progress>,
}

impl Asked {
    /// How far it has come when it is answered or refused, or at `deadline`.
    pub(crate) async fn wait(&mut self, deadline: Instant) -> Progress {
        let settled = |progress: &Progress| progress.answer.is_some() || progress.refused.is_some();
        // Over in time, out of time, or no answer can come any more: it is as far as it has come.
        drop(tokio::time::timeout_at(deadline, self.progress.wait_for(settled)).await);
        self.progress.borrow().clone()
    }
}

/// The questions that this edge has asked.
#[derive(Debug)]
pub(crate) struct Asking {
    /// By the question's id.
    outstanding: Mutex<HashMap<u64, Outstanding>>,
    /// Questions of others that are being worked on.
    answering: Arc<Semaphore>,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            outstanding: Mutex::default(),
            answering: Arc::new(Semaphore::new(ANSWERING_MAX)),
        }
    }
}

impl Asking {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Outstanding>> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among the questions to a site.
    fn begin(&self, site: &SiteName) -> Result<(u64, Asked), NotAsked> {
        let (mut outstanding, at) = (self.lock(), Instant::now());
        outstanding.retain(|_, other| at.duration_since(other.asked) < OUTSTANDING_FOR);
        if outstanding.values().filter(|other| other.site == *site).count() >= OUTSTANDING_MAX {
            return Err(NotAsked::Outstanding { site: site.clone() });
        }
        let (sender, progress) = watch::channel(Progress::default());
        let id = rand::random();
        let asked = Outstanding {
            site: site.clone(),
            asked: at,
            message: None,
            progress: sender,
        };
        outstanding.insert(id, asked);
        Ok((id, Asked { at, progress }))
    }

    fn each_of(&self, message: DeliveryId, change: impl Fn(&mut Progress)) {
        for question in self.lock().values() {
            if question.message == Some(message) {
                question.progress.send_modify(&change);
            }
        }
    }

    /// The relay has a message of ours on disk.
    pub(crate) fn acked(&self, message: DeliveryId) {
        self.each_of(message, |progress| {
            progress.acked.get_or_insert_with(Instant::now);
        });
    }

    /// The relay does not take a message of ours: no answer comes.
    pub(crate) fn refused(&self, message: DeliveryId, why: &str) {
        self.each_of(message, |progress| progress.refused = Some(why.to_owned()));
        self.lock().retain(|_, question| question.message != Some(message));
    }

    /// An answer came from `site`. One that nobody asked it for is passed over.
    pub(crate) fn answered(&self, site: &SiteName, id: u64, answer: Answer) {
        let mut outstanding = self.lock();
        if outstanding.get(&id).is_none_or(|question| question.site != *site) {
            tracing::info!(%site, "an answer without a question is passed over");
            return;
        }
        if let Some(question) = outstanding.remove(&id) {
            let at = Instant::now();
            question.progress.send_modify(|progress| {
                progress.acked.get_or_insert(at);
                progress.answer = Some((at, answer));
            });
        }
    }
}

/// Asks `site`. An answer is of no use after `lasts`.
pub(crate) async fn ask(
    shared: &Shared,
    site: &SiteName,
    question: Question,
    lasts: Duration,
) -> Result<Asked, NotAsked> {
    let asking = &shared.asking;
    let (id, asked) = asking.begin(site)?;
    let now = shared.clock.now();
    let message = Message::Question {
        id,
        asked_at: now.unix_micros(),
        expires_at: now.saturating_add(lasts).unix_micros(),
        question,
    };
    let sent = match shared.send_message(site, &message).await {
        Ok(sent) => sent,
        Err(error) => {
            asking.lock().remove(&id);
            return Err(NotAsked::Spool(chain(&error)));
        }
    };
    if let Some(question) = asking.lock().get_mut(&id) {
        question.message = sent;
    }
    // The relay may have had it before we knew its name.
    if let Some(sent) = sent
        && shared.has_gone(sent).await
    {
        asking.acked(sent);
    }
    Ok(asked)
}

/// Answers a question that came from `site`, on a task of its own: the messages behind it do not wait.
pub(crate) fn answer(shared: &Arc<Shared>, site: &SiteName, id: u64, expires_at: i64, question: Question) {
    let Ok(permit) = Arc::clone(&shared.asking.answering).try_acquire_owned() else {
        tracing::warn!(%site, "a question is passed over: {ANSWERING_MAX} are being answered already");
        return;
    };
    let (shared, site, came) = (Arc::clone(shared), site.clone(), Instant::now());
    tokio::spawn(async move {
        let _permit = permit;
        let answer = tokio::select! {
            answer = found(&shared, &site, expires_at, question, came) => answer,
            () = shared.stop.cancelled() => return,
        };
        if let Err(error) = shared.send_message(&site, &Message::Answer { id, answer }).await {
            tracing::warn!(%site, error = chain(&error), "a question is not answered");
        }
    });
}

async fn found(shared: &Arc<Shared>, site: &SiteName, expires_at: i64, question: Question, came: Instant) -> Answer {
    let expires = WallTime::from_unix_micros(expires_at).saturating_add(CLOCKS_APART);
    if shared.clock.now() > expires {
        return Answer::TooLate;
    }
    match question {
        Question::Echo { to_ae_title, fresh } => {
            let destinations = shared.destinations();
            let title = AeTitle::try_from(to_ae_title.as_str()).ok();
            let title = title.filter(|title| destinations.iter().any(|known| known.ae_title == *title));
            let Some(title) = title else {
                let why = format!("{} has no such destination", shared.site);
                let remedy = "correct `to` of the [[route]], or add a [[destination]] there".to_owned();
                return Answer::No { why, remedy };
            };
            if !consent::accepts(&destinations, &title, site) {
                let why = format!("{} does not accept from {site} for {title} yet", shared.site);
                let remedy = format!("there: edge-gateway accept {site} --for {title}");
                return Answer::No { why, remedy };
            }
            let check = echo::of_our_pacs(shared, &title, fresh).await;
            let took = u64::try_from(came.elapsed().as_micros()).unwrap_or(u64::MAX);
            Answer::Echo { check, took }
        }
    }
}

#[cfg(test)]
mod tests;
