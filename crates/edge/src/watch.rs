//! What is noticed while facts go into the ledger, told to people: classes refused for the first time, senders that stop at
//! a refusal, studies that come again and again, storage commitment, pixels that changed, patients and sources that do not
//! fit a study.
//!
//! The ledger keeps what is noticed until it has been told, so a crash in between loses none; what is told twice is one
//! notice, by its key.

use std::collections::BTreeSet;

use packhorse_dicom::sop_class::name_of;
use packhorse_ids::WallTime;
use packhorse_ledger::Fact;
use packhorse_ledger::fact::{ResendLoop, SenderStopped, StoppedAt};
use packhorse_ledger::some_names;
use packhorse_ledger::store::Noticed;
use packhorse_spool::{Index as _, StoreError};
use serde_json::{Map, Value, json};

use crate::notices::{Notice, NoticeKind};
use crate::shared::{Shared, fact_bytes};

/// Read at a time.
const PAGE: usize = 64;
/// Statuses by which a rule refuses an instance: 0122H and 0124H.
const REFUSED_BY_RULE: [u16; 2] = [0x0122, 0x0124];

/// When what a rule to paste holds is discarded,
pub(crate) const HOLD_END: &str = "hold = \"30d\"";
/// and how much it may hold.
pub(crate) const HOLD_QUOTA: &str = "quota = \"20GiB\"";

/// Tells what the ledger has noticed since the last look.
pub(crate) async fn look(shared: &Shared) -> Result<(), StoreError> {
    loop {
        let noticed = shared.ledger(|projection| projection.noticed(PAGE)).await;
        let Some(Ok(noticed)) = noticed else { return Ok(()) };
        let Some((last, _)) = noticed.last() else { return Ok(()) };
        let last = *last;
        for (_, what) in noticed {
            tell(shared, what).await?;
        }
        if !matches!(
            shared.ledger(move |projection| projection.told(last)).await,
            Some(Ok(()))
        ) {
            return Ok(());
        }
    }
}

async fn tell(shared: &Shared, noticed: Noticed) -> Result<(), StoreError> {
    let notice = match noticed {
        Noticed::EndedRefused { association } => return find_loop(shared, association).await,
        Noticed::ClassRefused {
            source,
            calling,
            route,
            class,
            rule,
        } => class_refused(&source, &calling, &route, StoppedAt { class, rule }),
        Noticed::ClassesRefused {
            source,
            calling,
            route,
            association,
            classes,
            for_destination,
        } => {
            let who = (source.as_str(), calling.as_str(), route.as_str());
            if for_destination {
                not_taken(who, &classes)
            } else {
                classes_refused(who, &association, &classes)
            }
        }
        Noticed::CommitmentAsked { source, calling } => commitment_asked(&source, &calling),
        Noticed::Stopped(stopped) => sender_stopped(&stopped),
        Noticed::ResendLoop(found) => resend_loop(&found),
        Noticed::PixelsChanged { source, route, study } => pixels_changed(&source, &route, study.as_deref()),
        Noticed::TwoPatients { study, source } => two_patients(&study, &source),
        Noticed::TwoSources { study, sources } => two_sources(&study, &sources),
    };
    shared.notify(notice).await;
    Ok(())
}

/// Writes a resend loop down, which is noticed then.
async fn find_loop(shared: &Shared, association: String) -> Result<(), StoreError> {
    let watch = shared.config.watch;
    let within = i64::try_from(watch.resend_within.as_micros()).unwrap_or(i64::MAX);
    let since = WallTime::from_unix_micros(shared.clock.now().unix_micros().saturating_sub(within));
    let found = shared
        .ledger(move |projection| projection.find_loop(&association, watch.resend_times, since))
        .await;
    let Some(Ok(Some(found))) = found else { return Ok(()) };
    let facts = fact_bytes(&Fact::ResendLoop(found)).into_iter().collect();
    shared.spool.commit(shared.epoch, Vec::new(), facts).await.map(drop)
}

/// The rule, to be pasted into `edge.toml`, that takes what a sender stops at and keeps it here: not for ever, and not
/// whatever comes.
pub(crate) fn hold_rule(source: &str, calling: &str, route: &str, classes: &[StoppedAt]) -> String {
    let quoted = |text: &str| toml_edit::Value::from(text).to_string().trim().to_owned();
    let uids: Vec<String> = classes.iter().map(|at| quoted(&at.class)).collect();
    format!(
        "[[rule]]\nname = {}\nsource = [{}]\nroute = [{}]\nclass = [{}]\noutcome = \"hold\"\n\
         # What nobody released by then is discarded; over the quota the source is answered A700 (out of resources).\n\
         {HOLD_END}\n{HOLD_QUOTA}\n",
        quoted(&format!("keep {} of {source}", names(classes))),
        quoted(calling),
        quoted(route),
        uids.join(", ")
    )
}

fn names(classes: &[StoppedAt]) -> String {
    let names: Vec<&str> = classes.iter().map(|at| name_of(&at.class)).collect();
    some_names(&names, " or ")
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn class_refused(source: &str, calling: &str, route: &str, at: StoppedAt) -> Notice {
    let (key, name) = (format!("{source}/{}", at.class), name_of(&at.class).to_owned());
    let rule = hold_rule(source, calling, route, std::slice::from_ref(&at));
    Notice {
        kind: NoticeKind::ClassRefused,
        key,
        what: format!("{name} is refused to {source} ({calling}) on {route}, by {}", at.rule),
        remedy: format!(
            "look whether its studies come whole, for most senders stop at a refusal; if not, let it go on behind one, or \
             keep {name} here: outcome = \"hold\""
        ),
        fields: fields(json!({
            "source": source, "calling_ae_title": calling, "route": route, "class": at.class, "rule": at.rule,
            "hold_rule": rule,
        })),
    }
}

/// Several classes that rules refused to a source for the first time on one association.
fn classes_refused((source, calling, route): (&str, &str, &str), association: &str, classes: &[StoppedAt]) -> Notice {
    let names: Vec<&str> = classes.iter().map(|at| name_of(&at.class)).collect();
    let uids: Vec<&str> = classes.iter().map(|at| at.class.as_str()).collect();
    let rules: BTreeSet<&str> = classes.iter().map(|at| at.rule.as_str()).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    Notice {
        kind: NoticeKind::ClassRefused,
        key: format!("{source}/{association}"),
        what: format!(
            "{} are refused to {source} ({calling}) on {route}, by {}",
            some_names(&names, ", "),
            some_names(&rules, ", ")
        ),
        remedy:
            "many senders propose everything: look whether its studies come whole, for most senders stop at a refusal; \
                 if not, let it go on behind one, or keep what it stops at here: outcome = \"hold\""
                .to_owned(),
        fields: fields(json!({
            "source": source, "calling_ae_title": calling, "route": route, "association": association, "classes": uids,
        })),
    }
}

/// What a source proposes and the destination does not take: told once for a route, whatever comes to it later.
fn not_taken((source, calling, route): (&str, &str, &str), classes: &[StoppedAt]) -> Notice {
    let uids: Vec<&str> = classes.iter().map(|at| at.class.as_str()).collect();
    let count = match uids.len() {
        1 => "1 class".to_owned(),
        many => format!("{many} classes"),
    };
    Notice {
        kind: NoticeKind::ClassRefused,
        key: format!("{source}/{route}/not taken"),
        what: format!(
            "the destination does not take {count} that {source} ({calling}) proposes on {route}: see routes"
        ),
        remedy: format!(
            "`edge-gateway routes {route}` names them; have those enabled at the PACS that {source} has to send"
        ),
        fields: fields(json!({
            "source": source, "calling_ae_title": calling, "route": route, "classes": uids,
        })),
    }
}

fn commitment_asked(source: &str, calling: &str) -> Notice {
    Notice {
        kind: NoticeKind::CommitmentAsked,
        key: source.to_owned(),
        what: format!("{source} ({calling}) asks for storage commitment, which this version does not give"),
        remedy: "switch it off for this node at the source, or keep copies there".to_owned(),
        fields: fields(json!({ "source": source, "calling_ae_title": calling })),
    }
}

fn sender_stopped(stopped: &SenderStopped) -> Notice {
    let (source, calling, route) = (&stopped.source, stopped.calling.as_str(), stopped.route.as_str());
    let classes: Vec<&str> = stopped.classes.iter().map(|at| at.class.as_str()).collect();
    let name = names(&stopped.classes);
    let is_by_rule = stopped.status.is_none_or(|status| REFUSED_BY_RULE.contains(&status));
    let remedy = if is_by_rule {
        format!(
            "let it go on behind a refusal, or keep {name} here: outcome = \"hold\" for this class from this source; \
             edge-gateway status prints the [[rule]]"
        )
    } else {
        "see the log for why it was not taken, then have the study sent again".to_owned()
    };
    Notice {
        kind: NoticeKind::SenderStopped,
        key: format!("{source}/{}", classes.join("+")),
        what: format!(
            "{source} ({calling}) stopped at refused {name} in the middle of what it sends to {route}, after {} instances",
            stopped.instances
        ),
        remedy,
        fields: fields(json!({
            "source": source, "calling_ae_title": calling, "route": route, "classes": classes,
            "status": stopped.status.map(|status| packhorse_dicom::status::Status(status).to_string()),
            "study": stopped.study, "instances": stopped.instances, "evidence": stopped.evidence,
            "association": stopped.association.to_string(), "at": stopped.at.to_string(),
            "hold_rule": is_by_rule.then(|| hold_rule(source, calling, route, &stopped.classes)),
        })),
    }
}

fn resend_loop(found: &ResendLoop) -> Notice {
    let (source, calling, route) = (&found.source, found.calling.as_str(), found.route.as_str());
    let study = found.study.as_deref().unwrap_or("(not known)");
    let classes: Vec<&str> = found.classes.iter().map(|at| at.class.as_str()).collect();
    let name = names(&found.classes);
    Notice {
        kind: NoticeKind::ResendLoop,
        key: format!("{source}/{route}/{study}/{}", found.since.unix_micros()),
        what: format!(
            "{source} ({calling}) sends study {study} to {route} again and again: {} times since {}, {name} refused each \
             time",
            found.times, found.since
        ),
        remedy: format!(
            "stop the job at the source, or keep {name} here: outcome = \"hold\"; edge-gateway status prints the [[rule]]"
        ),
        fields: fields(json!({
            "source": source, "calling_ae_title": calling, "route": route, "study": found.study, "classes": classes,
            "times": found.times, "since": found.since.to_string(),
            "hold_rule": hold_rule(source, calling, route, &found.classes),
        })),
    }
}

fn pixels_changed(source: &str, route: &str, study: Option<&str>) -> Notice {
    let of = study.unwrap_or("(no study)");
    Notice {
        kind: NoticeKind::Suspicious,
        key: format!("pixels/{source}/{route}/{of}"),
        what: format!("{source} sent an instance of study {of} to {route} again, with other pixels under the same UID"),
        remedy: "compare the two at the target: edge-gateway study has both hashes".to_owned(),
        fields: fields(json!({ "source": source, "route": route, "study": study })),
    }
}

fn two_patients(study: &str, source: &str) -> Notice {
    Notice {
        kind: NoticeKind::Suspicious,
        key: format!("patients/{study}"),
        what: format!("study {study} comes from {source} with two Patient IDs"),
        remedy: "look at the study at the source: one of them is wrong, or two studies have one UID".to_owned(),
        fields: fields(json!({ "study": study, "source": source })),
    }
}

fn two_sources(study: &str, [first, second]: &[String; 2]) -> Notice {
    Notice {
        kind: NoticeKind::Suspicious,
        key: format!("sources/{study}"),
        what: format!("study {study} comes from {first} and from {second}"),
        remedy: "have it sent by one of them, or it may be at the target in part from each".to_owned(),
        fields: fields(json!({ "study": study, "sources": [first, second] })),
    }
}

#[cfg(test)]
mod tests;
