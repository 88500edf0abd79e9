//! One task for each channel: claims its notices, tells them, tries again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packhorse_daemon::exit::chain;
use packhorse_ids::{DeliveryId, WallTime};
use packhorse_ledger::Fact;
use packhorse_ledger::fact::NoticeTold;
use packhorse_spool::{Body, Entry, Filter, Index as _, QueueName, Settlement, StoreError, backoff};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ration::{Next, Ration};
use super::told::Telling;
use super::{ChannelState, Failing, MEMORY_QUEUE, QUEUE_PREFIX, channel, queue_of};
use crate::config::Channel;
use crate::shared::{Shared, fact_bytes};

/// How long claimed notices may be worked on: more than any time-out.
const LEASE: Duration = Duration::from_secs(3600);
/// How often the queue is looked at when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// Entries claimed, or settled, at a time.
const BATCH: usize = 256;
/// Notices summed up in one at most.
const SEVERAL_MAX: usize = 4096;
/// What is summed up is gathered for so many times as long as what fails.
const GATHERED_TIMES: u32 = 6;
/// How long a telling may go on when the edge stops.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Messages that a restart remembers to have told within the last hour.
const REMEMBERED: usize = 10_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Tells notices until the edge stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    sweep(&shared).await;
    let mut couriers = JoinSet::new();
    for channel in shared.channels() {
        couriers.spawn(Courier::new(Arc::clone(&shared), channel.clone()).run());
    }
    while couriers.join_next().await.is_some() {}
}

/// What an earlier life left: the memory of notices, which is wanted and not the entries; and notices for channels that
/// `edge.toml` does not have any more.
async fn sweep(shared: &Shared) {
    let is_gone = |queue: &QueueName| {
        let name = queue.as_str().strip_prefix(QUEUE_PREFIX);
        name.is_some_and(|name| shared.channels().all(|channel| channel.name != name))
    };
    let mut left: Vec<QueueName> = shared.spool.counts().into_iter().map(|count| count.queue).collect();
    left.dedup();
    for name in left {
        if name.as_str() != MEMORY_QUEUE && !is_gone(&name) {
            continue;
        }
        if let Err(error) = sweep_queue(shared, &name).await {
            tracing::warn!(error = chain(&error), "notices of an earlier life cannot be put away");
        }
    }
}

async fn sweep_queue(shared: &Shared, name: &QueueName) -> Result<(), StoreError> {
    let filter = Filter {
        queue: Some(name.clone()),
        state: None,
    };
    let mut cursor = 0;
    loop {
        let page = shared.spool.page(cursor, filter.clone(), BATCH).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        cursor = *last;
        let (now, mut settlements, mut facts) = (shared.clock.now(), Vec::new(), Vec::new());
        for (_, entry) in &page {
            settlements.push((entry.routing.delivery, Settlement::Released));
            let channel = name.as_str().strip_prefix(QUEUE_PREFIX);
            if let (Some(channel), Some(telling)) = (channel, telling(entry)) {
                let failure = Some("edge.toml has no such channel any more".to_owned());
                facts.extend(fact(&telling, channel, failure, now));
            }
        }
        shared.spool.settle(shared.epoch, settlements, facts).await?;
    }
}

/// What an entry says; `None`: nothing that this version understands.
fn telling(entry: &Entry) -> Option<Telling> {
    match &entry.body {
        Body::Inline(bytes) => Telling::from_bytes(bytes),
        Body::Stored(_) => None,
    }
}

fn fact(telling: &Telling, channel: &str, failure: Option<String>, at: WallTime) -> Option<Bytes> {
    let notice: DeliveryId = telling.id.parse().ok()?;
    fact_bytes(&Fact::NoticeTold(NoticeTold {
        notice,
        channel: channel.to_owned(),
        failure,
        at,
    }))
}

/// One channel's task.
struct Courier {
    shared: Arc<Shared>,
    channel: Channel,
    queue: QueueName,
    ration: Ration,
    failures: u32,
    /// Since when there is something to sum up.
    rest_since: Option<Instant>,
}

/// What to do next.
enum After {
    /// Look again at once.
    Look,
    /// Look again when something comes, or after so long.
    Wait(Duration),
    /// Look again after so long, whatever comes.
    Pause(Duration),
}

impl Courier {
    fn new(shared: Arc<Shared>, channel: Channel) -> Self {
        Self {
            queue: queue_of(&channel.name),
            ration: Ration::new(shared.config.notices.ration, Vec::new()),
            shared,
            channel,
            failures: 0,
            rest_since: None,
        }
    }

    async fn run(mut self) {
        self.remember().await;
        let mut wakeups = self.shared.spool.wakeups_of(&self.queue);
        let stop = self.shared.stop.clone();
        while !stop.is_cancelled() {
            wakeups.mark_unchanged();
            let after = self.look().await.unwrap_or_else(|error| {
                tracing::warn!(
                    channel = self.channel.name,
                    error = chain(&error),
                    "notices cannot be worked on now"
                );
                After::Pause(POLL)
            });
            match after {
                After::Look => {}
                After::Wait(most) => self.shared.changed(&mut wakeups, most).await,
                After::Pause(pause) => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => {}
                },
            }
        }
    }

    /// What was told within the last hour counts, also when it was before a restart.
    async fn remember(&mut self) {
        let (name, now) = (self.channel.name.clone(), self.shared.clock.now());
        let hour = i64::try_from(HOUR.as_micros()).unwrap_or(i64::MAX);
        let since = WallTime::from_unix_micros(now.unix_micros().saturating_sub(hour));
        let asked = self
            .shared
            .ledger(move |projection| projection.told_since(&name, since, REMEMBERED));
        if let Some(Ok(told)) = asked.await {
            self.ration = Ration::new(self.shared.config.notices.ration, told);
        }
    }

    async fn look(&mut self) -> Result<After, StoreError> {
        let next = self.ration.next(self.shared.clock.now());
        if next == Next::One {
            let claimed = self.claim(1).await?;
            return self.tell(claimed, false).await;
        }
        let urgent = self.claim_urgent().await?;
        if !urgent.is_empty() {
            return self.tell(urgent, true).await;
        }
        let after = match next {
            Next::One | Next::Rest => self.rest().await?,
            Next::Nothing(wait) => After::Pause(wait.max(Duration::from_millis(1))),
        };
        Ok(match after {
            // Something urgent may come meanwhile.
            After::Pause(pause) if self.ration.has_share() => After::Pause(pause.min(POLL)),
            after => after,
        })
    }

    /// What is urgent, as far as its share goes: one, and with the last of it all that waits.
    async fn claim_urgent(&mut self) -> Result<Vec<Entry>, StoreError> {
        let most = match self.ration.next_urgent(self.shared.clock.now()) {
            Next::One => 1,
            Next::Rest => BATCH,
            Next::Nothing(_) => return Ok(Vec::new()),
        };
        let shared = &self.shared;
        shared.spool.claim_urgent(shared.epoch, &self.queue, most, LEASE).await
    }

    /// Everything that has gathered, in one message.
    async fn rest(&mut self) -> Result<After, StoreError> {
        let counts = self.shared.spool.counts();
        if counts.iter().all(|count| count.queue != self.queue) {
            self.rest_since = None;
            return Ok(After::Wait(POLL));
        }
        let gather = self.shared.config.notices.gather.saturating_mul(GATHERED_TIMES);
        let since = *self.rest_since.get_or_insert_with(Instant::now);
        let left = gather.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Ok(After::Pause(left));
        }
        let mut all = Vec::new();
        while all.len() < SEVERAL_MAX {
            let some = self.claim(BATCH).await?;
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        self.tell(all, false).await
    }

    async fn claim(&self, most: usize) -> Result<Vec<Entry>, StoreError> {
        let shared = &self.shared;
        shared.spool.claim(shared.epoch, &self.queue, most, LEASE).await
    }

    /// Tells what was claimed in one message; `is_urgent`: out of the share for it.
    async fn tell(&mut self, claimed: Vec<Entry>, is_urgent: bool) -> Result<After, StoreError> {
        let (mut entries, mut tellings) = (Vec::new(), Vec::new());
        for entry in claimed {
            match telling(&entry) {
                Some(telling) => {
                    tellings.push(telling);
                    entries.push(entry);
                }
                None => self.discard(&entry).await?,
            }
        }
        let told = match tellings.as_slice() {
            [] => return Ok(After::Wait(POLL)),
            [one] => one.clone(),
            several => Telling::several(&self.shared, several),
        };
        let (shared, stop) = (Arc::clone(&self.shared), self.shared.stop.clone());
        let last_word = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORD).await;
        };
        let answer = tokio::select! {
            answer = channel::tell(&shared, &self.channel, &told) => answer,
            () = last_word => {
                let deliveries = entries.iter().map(|entry| entry.routing.delivery).collect();
                shared.spool.unclaim(shared.epoch, deliveries).await?;
                return Ok(After::Wait(POLL));
            }
        };
        match answer {
            Ok(answer) => {
                let now = self.shared.clock.now();
                if is_urgent {
                    self.ration.told_urgent(now);
                } else {
                    self.ration.told(now);
                    self.rest_since = None;
                }
                self.told(&entries, &tellings, &answer).await
            }
            Err(why) => self.not_told(&entries, &tellings, why).await,
        }
    }

    /// A later version wrote it, or it is a bug: nobody will ever be told.
    async fn discard(&self, entry: &Entry) -> Result<(), StoreError> {
        let shared = &self.shared;
        tracing::error!(channel = self.channel.name, "a notice cannot be read and is dropped");
        let settlement = vec![(entry.routing.delivery, Settlement::Discarded)];
        shared.spool.settle(shared.epoch, settlement, Vec::new()).await
    }

    async fn told(&mut self, entries: &[Entry], tellings: &[Telling], answer: &str) -> Result<After, StoreError> {
        let (now, name) = (self.shared.clock.now(), self.channel.name.as_str());
        tracing::info!(channel = name, notices = entries.len(), answer, "told");
        self.failures = 0;
        let state = ChannelState {
            told_at: Some(now),
            failing: None,
        };
        self.shared.notices.states().insert(name.to_owned(), state);
        self.settle(entries, tellings, |_| (Settlement::Released, Some(None)), now)
            .await?;
        Ok(After::Look)
    }

    async fn not_told(&mut self, entries: &[Entry], tellings: &[Telling], why: String) -> Result<After, StoreError> {
        let (config, now, name) = (
            &self.shared.config.notices,
            self.shared.clock.now(),
            self.channel.name.as_str(),
        );
        self.failures = self.failures.saturating_add(1);
        let pause = backoff(self.failures, config.retry_min, config.retry_max, rand::random());
        let (give_up, next) = (config.give_up, now.saturating_add(pause));
        tracing::warn!(channel = name, why, ?pause, "a notice is not told; it is tried again");
        {
            let mut states = self.shared.notices.states();
            let state = states.entry(name.to_owned()).or_default();
            let since = state.failing.as_ref().map_or(now, |failing| failing.since);
            let why = why.clone();
            state.failing = Some(Failing { since, why, next });
        }
        let settled = |entry: &Entry| {
            if now.saturating_since(entry.committed_at) < give_up {
                let note = why.clone();
                return (Settlement::Retry { at: next, note }, None);
            }
            tracing::error!(
                channel = name,
                why,
                "a notice is given up: nobody was told for too long"
            );
            (Settlement::Released, Some(Some(why.clone())))
        };
        self.settle(entries, tellings, settled, now).await?;
        Ok(After::Pause(pause))
    }

    /// Settles entries; with what is `Some` beside it, a fact says that it was told, or why not.
    async fn settle(
        &self,
        entries: &[Entry],
        tellings: &[Telling],
        settled: impl Fn(&Entry) -> (Settlement, Option<Option<String>>),
        now: WallTime,
    ) -> Result<(), StoreError> {
        let shared = &self.shared;
        for (entries, tellings) in entries.chunks(BATCH).zip(tellings.chunks(BATCH)) {
            let (mut settlements, mut facts) = (Vec::new(), Vec::new());
            for (entry, telling) in entries.iter().zip(tellings) {
                let (settlement, failure) = settled(entry);
                settlements.push((entry.routing.delivery, settlement));
                facts.extend(failure.and_then(|failure| fact(telling, &self.channel.name, failure, now)));
            }
            shared.spool.settle(shared.epoch, settlements, facts).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
