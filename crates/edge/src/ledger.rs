//! Facts into the ledger: read from the spool in order, applied, and trimmed once nobody needs them.

use std::sync::Arc;
use std::time::Duration;

use packhorse_spool::{Index as _, StoreError};

use crate::messages::receipts::Receipts;
use crate::shared::Shared;
use crate::watch;

/// Facts applied at a time.
const BATCH: usize = 512;
/// How long facts may wait when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks at least. Under load facts gather meanwhile, and the ledger's sync and the receipts' commit are one
/// for many instances and not one more for each; a question at the admin door catches up by itself.
const GATHER: Duration = Duration::from_millis(100);
/// Facts that are done with are kept in the spool until so many have gathered.
const TRIM_EVERY: u64 = 256;

/// Applies what was new when it was called. Gives the number of the last fact that is in the ledger.
pub(crate) async fn catch_up(shared: &Shared) -> Result<u64, StoreError> {
    let Some(Ok(mut last)) = shared.ledger(|projection| projection.last()).await else {
        tracing::error!("the ledger does not answer");
        return Ok(0);
    };
    loop {
        let facts = shared.spool.facts_after(last, BATCH).await?;
        let Some((newest, _)) = facts.last() else {
            return Ok(last);
        };
        let (newest, is_all) = (*newest, facts.len() < BATCH);
        match shared.ledger(move |projection| projection.apply(facts)).await {
            // What came meanwhile is for the next time: here it would be synced fact by fact.
            Some(Ok(_)) if is_all => return Ok(newest),
            Some(Ok(_)) => last = newest,
            Some(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the ledger cannot be written");
                return Ok(last);
            }
            None => return Ok(last),
        }
    }
}

/// Keeps the ledger up to date and makes receipts of facts, until the edge stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut wakeups = shared.spool.wakeups();
    let mut receipts = Receipts::default();
    let mut trimmed = 0;
    loop {
        wakeups.mark_unchanged();
        let is_last = shared.stop.is_cancelled();
        let applied = catch_up(&shared).await;
        if let Err(error) = watch::look(&shared).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was noticed cannot be told now"
            );
        }
        let kept_up = receipts.keep_up(&shared).await;
        let sent = match kept_up {
            Ok(()) if is_last => receipts.send(&shared).await,
            Ok(()) => Ok(receipts.sent()),
            Err(error) => Err(error),
        };
        match (applied, sent) {
            (Ok(applied), Ok(sent)) => {
                let done = applied.min(sent);
                if done >= trimmed + TRIM_EVERY && shared.spool.trim_facts(shared.epoch, done).await.is_ok() {
                    trimmed = done;
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "facts cannot be read, or receipts not be sent, now"
                );
                shared.changed(&mut wakeups, POLL).await;
            }
        }
        if is_last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = shared.stop.cancelled() => {}
        }
        let most = receipts.due_in().map_or(POLL, |due| due.min(POLL));
        shared.changed(&mut wakeups, most).await;
    }
}
