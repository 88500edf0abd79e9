//! Who sends, and who may not.

use std::collections::BTreeMap;
use std::time::Duration;

use packhorse_ids::WallTime;
use packhorse_ledger::some_names;
use packhorse_ledger::store::ProjectionError;
use packhorse_ledger::view::{AssociationView, NoticeView};
use packhorse_policy::{HostPattern, Source};

use super::{Finding, Level, PATIENCE, bounded};
use crate::ingest::Rejected;
use crate::shared::Shared;
use crate::watch::{HOLD_END, HOLD_QUOTA};

/// What is older is history.
const LATELY: Duration = Duration::from_secs(86_400);
/// Notices and associations that are looked at.
const LOOKED_AT: usize = 500;
/// Notices about what a source does.
const OF_SOURCES: [&str; 5] = [
    "sender-stopped",
    "resend-loop",
    "class-refused",
    "suspicious",
    "commitment-asked",
];

pub(super) async fn examine(shared: &Shared, is_daemon: bool) -> Vec<Finding> {
    let lately = i64::try_from(LATELY.as_micros()).unwrap_or(i64::MAX);
    let since = WallTime::from_unix_micros(shared.clock.now().unix_micros().saturating_sub(lately));
    let asked = shared.ledger(move |projection| {
        let seen = projection.last_seen()?;
        let (notices, associations) = (projection.notices(LOOKED_AT)?, projection.associations(LOOKED_AT)?);
        Ok::<_, ProjectionError>((seen, notices, associations, projection.refused_since(since)?))
    });
    let (seen, notices, associations, refused) = asked.await.and_then(Result::ok).unwrap_or_default();
    let seen: BTreeMap<String, String> = seen.into_iter().collect();
    let mut findings = Vec::new();
    for source in shared.config.engine.sources() {
        findings.push(source_found(source, seen.get(source.name())).await);
    }
    if is_daemon && shared.config.engine.sources().is_empty() && !shared.config.engine.routes().is_empty() {
        let what = "there are routes and no source: nobody may send to them";
        findings.push(Finding::new(
            Level::Bad,
            "source",
            what,
            "add a [[source]] to edge.toml",
        ));
    }
    let rejected = shared.rejections.all().into_iter().map(rejected_found).collect();
    findings.extend(bounded(rejected, "rejected callers", "the log has all of them"));
    let refused = refused.into_iter().map(|(source, rule, count, at)| {
        let what = format!("{count} instances were refused since yesterday, last at {at}, by: {rule}");
        Finding::new(
            Level::Warn,
            format!("source {source}"),
            what,
            "`edge-gateway study UID` names them",
        )
    });
    findings.extend(bounded(refused.collect(), "refused instances", "edge-gateway studies"));
    let since = since.to_string();
    let is_of_sources = |notice: &&NoticeView| OF_SOURCES.contains(&&*notice.kind) && notice.at >= since;
    let notices: Vec<_> = notices.iter().filter(is_of_sources).collect();
    findings.extend(stopped(&notices, &associations, &since));
    let noticed = notices.iter().map(|notice| {
        let about = format!("{}, {}", notice.kind, notice.at);
        Finding::new(Level::Warn, about, notice.what.clone(), notice.remedy.clone())
    });
    findings.extend(bounded(noticed.collect(), "notices", "edge-gateway notices"));
    findings
}

/// A name that does not resolve lets nobody in.
async fn source_found(source: &Source, seen: Option<&String>) -> Finding {
    let about = format!("source {}", source.name());
    let mut unknown = Vec::new();
    for host in source.hosts() {
        let HostPattern::Name(name) = host else { continue };
        let looked_up = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((&**name, 0))).await;
        let is_known = looked_up.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()));
        if !is_known {
            unknown.push(&**name);
        }
    }
    if !unknown.is_empty() {
        let what = format!("{} cannot be looked up: nobody comes in from there", unknown.join(", "));
        return Finding::new(Level::Bad, about, what, "correct hosts in its [[source]], or the DNS");
    }
    match seen {
        Some(at) => Finding::ok(about, format!("its last association began at {at}")),
        None => {
            let remedy = "`edge-gateway sheet ROUTE` prints what has to be entered there";
            Finding::new(Level::Warn, about, "it has never had an association here", remedy)
        }
    }
}

fn times(times: u64) -> String {
    match times {
        1 => "once".to_owned(),
        many => format!("{many} times"),
    }
}

fn rejected_found(rejected: Rejected) -> Finding {
    let about = format!("caller {} at {}", rejected.calling, rejected.peer);
    let what = format!(
        "its associations for {} are rejected, {} since the start, last at {}",
        rejected.called,
        times(rejected.times),
        rejected.last
    );
    Finding::new(Level::Warn, about, what, rejected.why)
}

/// Senders that aborted where a class was refused, unless it was noticed already.
fn stopped(notices: &[&NoticeView], associations: &[AssociationView], since: &str) -> Vec<Finding> {
    let is_noticed = |source: &str| {
        let mut all = notices.iter().filter(|notice| notice.kind == "sender-stopped");
        all.any(|notice| notice.fields.get("source").and_then(serde_json::Value::as_str) == Some(source))
    };
    let mut by_source: BTreeMap<&str, (&AssociationView, u64)> = BTreeMap::new();
    for association in associations {
        let is_aborted = association.ended.as_deref() == Some("aborted") && !association.refused.is_empty();
        if is_aborted && association.opened_at.as_str() >= since && !is_noticed(&association.source) {
            // The newest comes first.
            by_source.entry(&association.source).or_insert((association, 0)).1 += 1;
        }
    }
    let finding = |(source, (association, times)): (&str, (&AssociationView, u64))| {
        let names: Vec<_> = association.refused.iter().map(|class| class.name.as_str()).collect();
        let names = some_names(&names, ", ");
        let what = format!(
            "{} an association of it ended by A-ABORT after {names} was refused, the last of {}: the rest of the study may \
             be missing",
            self::times(times),
            association.opened_at
        );
        let remedy = format!(
            "put a [[rule]] with source = [\"{}\"], class = [\"{}\"], outcome = \"hold\", {HOLD_END} and {HOLD_QUOTA} before \
             the others (what nobody released by then is discarded), and have it sent again",
            association.calling,
            association
                .refused
                .first()
                .map(|class| class.uid.as_str())
                .unwrap_or_default()
        );
        Finding::new(Level::Warn, format!("source {source}"), what, remedy)
    };
    by_source.into_iter().map(finding).collect()
}
