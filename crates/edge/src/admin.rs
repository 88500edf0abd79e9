//! What the running gateway answers at its admin door.

use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_daemon::admin::{AdminError, AdminHandler, Upload};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{DeliveryId, SiteName};
use packhorse_ledger::StudyFilter;
use packhorse_ledger::fact::{Fact, Reopened};
use packhorse_spool::{EntryState, Filter, Index as _};
use packhorse_transport::LinkStatus;
use serde_json::{Value, json};

use crate::config;
use crate::directory::Standing;
use crate::ingest::Sender;
use crate::shared::{Health, LINK_QUEUE, Shared, fact_bytes, queue_to};

/// Rows that a question answers at most.
const ROWS_MAX: usize = 1000;

/// The door of a running gateway, or of a folder that a command has opened itself.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
}

#[async_trait]
impl AdminHandler for Door {
    async fn handle(&self, command: &str, args: Value, upload: &mut Upload) -> Result<Value, AdminError> {
        match command {
            "send" => self.send(&args, upload).await,
            other => self.answer(other, &args).await,
        }
    }
}

fn text<'a>(args: &'a Value, key: &str) -> Option<&'a str> {
    args.get(key).and_then(Value::as_str)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(args: &Value, key: &str) -> Result<T, AdminError> {
    let given = text(args, key).unwrap_or_default();
    given
        .parse()
        .map_err(|error| AdminError::new("bad-request", format!("{key} {given:?}: {error}")))
}

impl Door {
    /// Everything that needs no upload.
    pub(crate) async fn answer(&self, command: &str, args: &Value) -> Result<Value, AdminError> {
        match command {
            "status" => Ok(self.status()),
            "routes" => Ok(self.routes()),
            "studies" => self.studies(args).await,
            "study" => self.study(args).await,
            "failed" => self.failed().await,
            "retry" => self.retry(args).await,
            "accept" => self.accept(args),
            "sheet" => self.sheet(args),
            other => Err(AdminError::new("unknown-command", format!("no command {other}"))),
        }
    }

    fn status(&self) -> Value {
        let shared = &self.shared;
        let counts = shared.spool.counts();
        let sum = |name: &str, states: &[EntryState]| -> u64 {
            let some = counts
                .iter()
                .filter(|count| count.queue.as_str() == name && states.contains(&count.state));
            some.map(|count| count.entries).sum()
        };
        let every = [EntryState::Ready, EntryState::Acked];
        let destinations: Vec<Value> = shared
            .destinations()
            .iter()
            .map(|destination| {
                let queue = queue_to(&destination.ae_title);
                json!({
                    "ae_title": destination.ae_title.as_str(),
                    "address": destination.address,
                    "calling_ae_title": destination.calling_ae_title.as_str(),
                    "accept_from": destination.accept_from.iter().map(SiteName::as_str).collect::<Vec<_>>(),
                    "waiting": sum(queue.as_str(), &every),
                    "failed": sum(queue.as_str(), &[EntryState::Failed]),
                    "held": sum(queue.as_str(), &[EntryState::Held]),
                    "health": self.health(&destination.ae_title),
                })
            })
            .collect();
        let total = |states: &[EntryState]| -> u64 {
            counts
                .iter()
                .filter(|count| states.contains(&count.state))
                .map(|count| count.entries)
                .sum()
        };
        let bytes: u64 = counts.iter().map(|count| count.bytes).sum();
        json!({
            "site": shared.site.as_str(),
            "build": crate::gateway::BUILD,
            "started": shared.started.to_string(),
            "link": link(&shared.link.borrow()),
            "associations": shared.association_count(),
            "to_relay": sum(LINK_QUEUE, &[EntryState::Ready]),
            "awaiting_custody": sum(LINK_QUEUE, &[EntryState::Acked]),
            "in_flight": total(&every),
            "held": total(&[EntryState::Held]),
            "failed": total(&[EntryState::Failed]),
            "spool_bytes": bytes,
            "destinations": destinations,
        })
    }

    fn health(&self, ae_title: &AeTitle) -> Value {
        let health = self.shared.health.lock().unwrap_or_else(PoisonError::into_inner);
        match health.get(ae_title) {
            None => json!({ "state": "not tried yet" }),
            Some(Health::Good { since }) => json!({ "state": "good", "since": since.to_string() }),
            Some(Health::Down { since, why, next }) => {
                json!({ "state": "down", "since": since.to_string(), "why": why, "next": next.to_string() })
            }
            Some(Health::Paused { since, why, next }) => {
                json!({ "state": "paused", "since": since.to_string(), "why": why, "next": next.to_string() })
            }
        }
    }

    fn routes(&self) -> Value {
        let route = |route: &packhorse_policy::Route| {
            let standing = self.shared.directory.standing(&route.to_site, &route.to_ae_title);
            let (word, since) = match standing {
                Standing::NotAnnounced => ("not yet announced", None),
                Standing::NoSuchDestination => ("no such destination there", None),
                Standing::NotAccepted => ("not accepted there yet", None),
                Standing::Accepted { announced_at } => ("accepted", Some(announced_at.to_string())),
            };
            json!({
                "called_ae_title": route.called_ae_title.as_str(),
                "to": format!("{}/{}", route.to_site, route.to_ae_title),
                "listener": route.listener,
                "standing": word,
                "announced_at": since,
            })
        };
        json!({ "routes": self.shared.config.engine.routes().iter().map(route).collect::<Vec<_>>() })
    }

    async fn fresh(&self) -> Result<(), AdminError> {
        let caught_up = crate::ledger::catch_up(&self.shared).await;
        caught_up.map(drop).map_err(|error| AdminError::failed(&error))
    }

    async fn studies(&self, args: &Value) -> Result<Value, AdminError> {
        self.fresh().await?;
        let owned = |key: &str| text(args, key).map(str::to_owned);
        let filter = StudyFilter {
            patient: owned("patient"),
            accession: owned("accession"),
            ..StudyFilter::default()
        };
        let limit = args
            .get("limit")
            .and_then(Value::as_u64)
            .and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(ROWS_MAX);
        let studies = self
            .shared
            .ledger(move |projection| projection.studies(&filter, limit))
            .await;
        answer(studies, "studies")
    }

    async fn study(&self, args: &Value) -> Result<Value, AdminError> {
        self.fresh().await?;
        let uid = text(args, "uid").unwrap_or_default().to_owned();
        let found = self
            .shared
            .ledger(move |projection| projection.study(&uid, ROWS_MAX))
            .await;
        answer(found, "accounts")
    }

    async fn failed(&self) -> Result<Value, AdminError> {
        self.fresh().await?;
        answer(
            self.shared.ledger(|projection| projection.failed(ROWS_MAX)).await,
            "failed",
        )
    }

    async fn retry(&self, args: &Value) -> Result<Value, AdminError> {
        let given = args
            .get("deliveries")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let mut deliveries: Vec<DeliveryId> = Vec::new();
        for id in given {
            let delivery = id
                .parse()
                .map_err(|error| AdminError::new("bad-request", format!("{id:?}: {error}")))?;
            deliveries.push(delivery);
        }
        let failed = |error: packhorse_spool::StoreError| AdminError::failed(&error);
        if deliveries.is_empty() {
            let filter = Filter {
                state: Some(EntryState::Failed),
                queue: None,
            };
            let page = self.shared.spool.page(0, filter, ROWS_MAX).await.map_err(failed)?;
            deliveries = page.into_iter().map(|(_, entry)| entry.routing.delivery).collect();
        }
        let reopened = self
            .shared
            .spool
            .reopen(self.shared.epoch, deliveries.clone())
            .await
            .map_err(failed)?;
        let at = self.shared.clock.now();
        let fact = |delivery| {
            fact_bytes(&Fact::Reopened(Reopened {
                delivery,
                by: "retry".to_owned(),
                at,
            }))
        };
        let facts = deliveries.into_iter().filter_map(fact).collect();
        self.shared
            .spool
            .commit(self.shared.epoch, Vec::new(), facts)
            .await
            .map_err(failed)?;
        Ok(json!({ "reopened": reopened }))
    }

    fn accept(&self, args: &Value) -> Result<Value, AdminError> {
        let (site, destination): (SiteName, AeTitle) = (parsed(args, "site")?, parsed(args, "destination")?);
        let changed = config::accept(&self.shared.folder, &site, &destination);
        let changed = changed.map_err(|why| AdminError::new("not-found", why))?;
        self.shared.set_consent(&site, &destination);
        Ok(json!({ "changed": changed }))
    }

    fn sheet(&self, args: &Value) -> Result<Value, AdminError> {
        let called: AeTitle = parsed(args, "route")?;
        let routes = self.shared.config.engine.routes();
        let route = routes.iter().find(|route| route.called_ae_title == called);
        let Some(route) = route else {
            let known: Vec<_> = routes.iter().map(|route| route.called_ae_title.as_str()).collect();
            let why = format!(
                "no [[route]] with called_ae_title = \"{called}\"; there are: {}",
                known.join(", ")
            );
            return Err(AdminError::new("not-found", why));
        };
        Ok(json!({ "sheet": crate::commands::sheet(&self.shared, route) }))
    }

    async fn send(&self, args: &Value, upload: &mut Upload) -> Result<Value, AdminError> {
        let to: AeTitle = parsed(args, "to")?;
        let sender = Sender::new(Arc::clone(&self.shared), to);
        let result = sender.send(Uploaded { upload, ended: false }).await;
        let result = result.map_err(|error| AdminError::failed(&error))?;
        serde_json::to_value(result).map_err(|error| AdminError::failed(&error))
    }
}

/// A file that comes through the door.
struct Uploaded<'a> {
    upload: &'a mut Upload,
    ended: bool,
}

impl crate::ingest::FileBytes for Uploaded<'_> {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let chunk = self.upload.next_chunk().await?;
        self.ended = chunk.is_none();
        Ok(chunk.map(Bytes::from))
    }
}

fn answer<T: serde::Serialize>(
    asked: Option<Result<T, packhorse_ledger::store::ProjectionError>>,
    key: &str,
) -> Result<Value, AdminError> {
    match asked {
        Some(Ok(rows)) => Ok(json!({ key: rows })),
        Some(Err(error)) => Err(AdminError::failed(&error)),
        None => Err(AdminError::new("failed", "the ledger does not answer")),
    }
}

fn link(status: &LinkStatus) -> Value {
    match status {
        LinkStatus::Connecting { since } => json!({ "state": "connecting", "since": since.to_string() }),
        LinkStatus::Up {
            since,
            path,
            peer_build,
        } => {
            json!({ "state": "up", "since": since.to_string(), "path": path, "relay": peer_build })
        }
        LinkStatus::Down { since, why, .. } => json!({ "state": "down", "since": since.to_string(), "why": why }),
    }
}
