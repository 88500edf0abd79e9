//! `notices`, and `notify test`: what was noticed, who was told, and whether who should be can be.

use packhorse_daemon::admin::AdminError;
use packhorse_spool::{Filter, Index as _};
use serde_json::{Value, json};

use super::{Door, ROWS_MAX, text};
use crate::config::Channel;
use crate::notices::{self, Telling, queue_of};

/// Notices that are listed when nobody says how many.
const LISTED: usize = 50;

impl Door {
    pub(super) async fn notices(&self, args: &Value) -> Result<Value, AdminError> {
        self.fresh().await?;
        let limit = args.get("limit").and_then(Value::as_u64);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LISTED);
        let asked = self
            .shared
            .ledger(move |projection| projection.notices(limit.min(ROWS_MAX)))
            .await;
        let Value::Object(mut answer) = super::answer(asked, "notices")? else {
            return Err(AdminError::new("failed", "the ledger does not answer"));
        };
        let mut channels = Vec::new();
        for channel in self.shared.channels() {
            channels.push(self.channel(channel).await);
        }
        answer.insert("channels".to_owned(), channels.into());
        Ok(answer.into())
    }

    /// How a channel does.
    pub(super) async fn channel(&self, channel: &Channel) -> Value {
        let (shared, queue) = (&self.shared, queue_of(&channel.name));
        let counts = shared.spool.counts();
        let waiting: u64 = counts
            .iter()
            .filter(|count| count.queue == queue)
            .map(|count| count.entries)
            .sum();
        let state = shared.notices.state(&channel.name);
        let mut failing = state.failing.map(|failing| {
            json!({ "since": failing.since.to_string(), "why": failing.why, "next": failing.next.to_string() })
        });
        // Before anything was tried since the start, what waits says why it does.
        if failing.is_none() && waiting > 0 {
            let filter = Filter {
                queue: Some(queue),
                state: None,
            };
            let first = shared.spool.page(0, filter, 1).await.unwrap_or_default();
            let tried = first.into_iter().find(|(_, entry)| !entry.note.is_empty());
            failing = tried.map(|(_, entry)| {
                json!({ "since": entry.committed_at.to_string(), "why": entry.note, "next": entry.due.to_string() })
            });
        }
        json!({
            "name": channel.name,
            "address": notices::address(&channel.way),
            "kinds": channel.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
            "include_patient": channel.include_patient,
            "waiting": waiting,
            "told_at": state.told_at.map(|at| at.to_string()),
            "failing": failing,
        })
    }

    /// Tells every channel, or the named one, and says what it answered.
    pub(super) async fn notify_test(&self, args: &Value) -> Result<Value, AdminError> {
        let shared = &self.shared;
        let name = text(args, "name");
        let channels: Vec<&Channel> = shared
            .channels()
            .filter(|channel| name.is_none_or(|name| channel.name == name))
            .collect();
        if channels.is_empty() {
            let known: Vec<_> = shared.channels().map(|channel| channel.name.as_str()).collect();
            let why = match name {
                Some(name) => format!("no [[notify]] has name = \"{name}\"; there are: {}", known.join(", ")),
                None => "edge.toml has no [[notify]]: nobody is told anything".to_owned(),
            };
            return Err(AdminError::new("not-found", why));
        }
        let telling = Telling::test(shared);
        let mut told = Vec::new();
        for channel in channels {
            let answer = notices::tell(shared, channel, &telling).await;
            told.push(json!({
                "name": channel.name,
                "address": notices::address(&channel.way),
                "told": answer.is_ok(),
                "answer": answer.unwrap_or_else(|why| why),
            }));
        }
        Ok(json!({ "channels": told }))
    }
}
