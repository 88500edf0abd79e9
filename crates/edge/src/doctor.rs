//! `edge-gateway doctor`: what this gateway needs, looked at, with what is wrong and what to do about it.
//!
//! Looks at what is here, and connects to our own PACS (TCP only; what they answer to an association is known from the
//! deliveries). Waits for nobody longer than some seconds. Absent: asking other sites, which answer when they can; what
//! they have said is shown.

mod custody;
mod destinations;
mod link;
mod routes;
mod sources;

use std::time::Duration;

use serde::Serialize;

use crate::shared::Shared;

/// How long a name or a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Findings of one sort that are told one by one; of more only the number.
const SAME_MAX: usize = 20;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Somebody should know.
    Warn,
    /// Something does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What was looked at: `destination PACS_B`.
    pub(crate) about: String,
    /// How it is, in one line.
    pub(crate) what: String,
    /// What to do, in one line; empty: nothing.
    pub(crate) remedy: String,
}

impl Finding {
    fn new(level: Level, about: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level,
            about: about.into(),
            what: crate::notices::line(&what.into()),
            remedy: crate::notices::line(&remedy.into()),
        }
    }

    fn ok(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Level::Ok, about, what, "")
    }
}

/// Looks at everything. Without a daemon nothing is known of what only a running one sees.
pub(crate) async fn examine(shared: &Shared, is_daemon: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !is_daemon {
        let remedy = format!("edge-gateway run --dir {}", shared.folder.display());
        let what = "no daemon runs: nothing is taken and nothing delivered";
        findings.push(Finding::new(Level::Bad, "gateway", what, remedy));
    }
    findings.extend(link::examine(shared, is_daemon).await);
    findings.extend(sources::examine(shared, is_daemon).await);
    findings.extend(routes::examine(shared, is_daemon).await);
    findings.extend(destinations::examine(shared, is_daemon).await);
    findings.extend(custody::examine(shared).await);
    findings.extend(custody::notices(shared).await);
    findings
}

/// At most [`SAME_MAX`] of them, and how many more there are.
fn bounded(mut findings: Vec<Finding>, about: &str, remedy: &str) -> Vec<Finding> {
    let more = findings.len().saturating_sub(SAME_MAX);
    findings.truncate(SAME_MAX);
    if more > 0 {
        findings.push(Finding::new(
            Level::Warn,
            about,
            format!("{more} more like these"),
            remedy,
        ));
    }
    findings
}

#[cfg(test)]
mod tests;
