//! What the running gateway answers at its admin door.

mod custody;
mod echo;
mod mirror;
mod notices;
mod status;
mod watched;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_daemon::admin::{AdminError, AdminHandler, Caller, Upload};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;
use packhorse_ledger::StudyFilter;
use packhorse_ledger::store::ProjectionError;
use serde_json::{Value, json};

pub(crate) use status::unclaimed;

use crate::consent;
use crate::directory::Standing;
use crate::ingest::Sender;
use crate::shared::Shared;

/// Rows that a question answers at most.
const ROWS_MAX: usize = 1000;

/// The door of a running gateway, or of a folder that a command has opened itself.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    /// A daemon answers, and no command.
    pub(crate) is_daemon: bool,
}

#[async_trait]
impl AdminHandler for Door {
    async fn handle(&self, command: &str, args: Value, upload: &mut Upload) -> Result<Value, AdminError> {
        match command {
            "send" => self.send(&args, upload).await,
            other => self.answer(other, &args).await,
        }
    }

    async fn handle_from(
        &self,
        caller: &Caller,
        command: &str,
        args: Value,
        upload: &mut Upload,
    ) -> Result<Value, AdminError> {
        match command {
            "retry" | "hold" | "release" | "discard" | "resend" => self.custody(caller, command, &args).await,
            other => self.handle(other, args, upload).await,
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
            "status" => Ok(self.with_sources(self.status()).await),
            "routes" => Ok(self.routes(args)),
            "studies" => self.studies(args).await,
            "study" => self.study(args).await,
            "failed" => self.failed().await,
            "retry" | "hold" | "release" | "discard" | "resend" => self.custody(&Caller::own(), command, args).await,
            "accept" => self.accept(args).await,
            "sheet" => self.sheet(args),
            "echo" => self.echo(args).await,
            "notices" => self.notices(args).await,
            "notify-test" => self.notify_test(args).await,
            "doctor" => Ok(json!({ "findings": self.doctor().await? })),
            "conformance" => Ok(json!({ "statement": crate::conformance::statement(&self.shared) })),
            other => Err(AdminError::new("unknown-command", format!("no command {other}"))),
        }
    }

    /// All routes, or those of the title `ae`; with every fact that is known of the PACS there when `facts` is asked for.
    fn routes(&self, args: &Value) -> Value {
        let (only, all) = (
            text(args, "ae"),
            args.get("facts").and_then(Value::as_bool).unwrap_or(false),
        );
        let route = |route: &packhorse_policy::Route| {
            let standing = self.shared.directory.standing(&route.to_site, &route.to_ae_title);
            let unknown = self.shared.unknown_sites.said_of(&route.to_site);
            let (word, since) = match standing {
                _ if unknown.is_some() => ("no such site at the relay", None),
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
                "relay_says": unknown,
                "mirror": self.mirror_of_route(route, all || only.is_some()),
            })
        };
        let is_asked_for = |title: &str| only.is_none_or(|only| only == title);
        let routes = self.shared.config.engine.routes().iter();
        let routes = routes.filter(|route| is_asked_for(route.called_ae_title.as_str()));
        let mut ours = self.mirrors_of_ours(all || only.is_some());
        ours.retain(|destination| is_asked_for(text(destination, "ae_title").unwrap_or_default()));
        json!({ "routes": routes.map(route).collect::<Vec<_>>(), "destinations": ours })
    }

    async fn doctor(&self) -> Result<Vec<crate::doctor::Finding>, AdminError> {
        self.fresh().await?;
        Ok(crate::doctor::examine(&self.shared, self.is_daemon).await)
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

    /// What needs a hand: the failed list, and what is held.
    async fn failed(&self) -> Result<Value, AdminError> {
        self.fresh().await?;
        let asked = self.shared.ledger(|projection| {
            let (failed, held) = (projection.failed(ROWS_MAX)?, projection.held(ROWS_MAX)?);
            Ok::<_, ProjectionError>((failed, held))
        });
        match asked.await {
            Some(Ok((failed, held))) => Ok(json!({ "failed": failed, "held": held })),
            Some(Err(error)) => Err(AdminError::failed(&error)),
            None => Err(AdminError::new("failed", "the ledger does not answer")),
        }
    }

    async fn accept(&self, args: &Value) -> Result<Value, AdminError> {
        let (site, destination): (SiteName, AeTitle) = (parsed(args, "site")?, parsed(args, "destination")?);
        let given = consent::give(&self.shared, &site, &destination).await;
        let (changed, released) = given.map_err(|why| AdminError::new("not-found", why))?;
        Ok(json!({ "changed": changed, "released": released }))
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

fn answer<T: serde::Serialize>(asked: Option<Result<T, ProjectionError>>, key: &str) -> Result<Value, AdminError> {
    match asked {
        Some(Ok(rows)) => Ok(json!({ key: rows })),
        Some(Err(error)) => Err(AdminError::failed(&error)),
        None => Err(AdminError::new("failed", "the ledger does not answer")),
    }
}

#[cfg(test)]
mod tests;
