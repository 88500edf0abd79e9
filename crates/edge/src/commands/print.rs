//! Answers as people read them.

mod watched;

use serde_json::Value;

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn rows<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn joined(lines: Vec<String>, nothing: &str) -> String {
    if lines.is_empty() {
        nothing.to_owned()
    } else {
        lines.join("\n")
    }
}

pub(crate) fn status(answer: &Value) -> String {
    let mut lines = Vec::new();
    let is_daemon = answer.get("daemon").and_then(Value::as_bool).unwrap_or(false);
    if is_daemon {
        let link = answer.get("link").unwrap_or(&Value::Null);
        lines.push(format!(
            "{} ({}), since {}",
            text(answer, "site"),
            text(answer, "build"),
            text(answer, "started")
        ));
        let why = text(link, "why");
        let tail = if why.is_empty() { text(link, "path") } else { why };
        lines.push(format!(
            "link {} since {}  {tail}",
            text(link, "state"),
            text(link, "since")
        ));
    } else {
        lines.push(format!("no daemon runs on {}", text(answer, "dir")));
        lines.push(format!("{} ({})", text(answer, "site"), text(answer, "build")));
    }
    let open = format!(", {} associations open", number(answer, "associations"));
    lines.push(format!(
        "{} to the relay, {} await the far site's custody, {} held, {} failed{}",
        number(answer, "to_relay"),
        number(answer, "awaiting_custody"),
        number(answer, "held"),
        number(answer, "failed"),
        if is_daemon { open.as_str() } else { "" },
    ));
    for listener in rows(answer, "listeners") {
        let name = text(listener, "name");
        lines.push(format!(
            "listener {name} at {}{}",
            text(listener, "address"),
            with_tls(listener)
        ));
    }
    for destination in rows(answer, "destinations") {
        let health = destination.get("health").unwrap_or(&Value::Null);
        let state = if is_daemon { text(health, "state") } else { "not asked" };
        lines.push(format!(
            "{} at {}{}: {state}, {}",
            text(destination, "ae_title"),
            text(destination, "address"),
            with_tls(destination),
            waiting(destination),
        ));
        if !text(health, "why").is_empty() {
            let (why, since, next) = (text(health, "why"), text(health, "since"), text(health, "next"));
            lines.push(format!("    since {since}: {why}; next try {next}"));
        }
    }
    for queue in rows(answer, "unclaimed") {
        lines.push(format!(
            "{}, no such destination: {}",
            text(queue, "ae_title"),
            waiting(queue)
        ));
        lines.push(format!("    {}", text(queue, "help")));
    }
    if number(answer, "stray") > 0 {
        lines.push(format!(
            "{} that cannot be opened (see `failed`)",
            number(answer, "stray")
        ));
        lines.push(format!("    {}", text(answer, "stray_help")));
    }
    lines.extend(kept(answer));
    if number(answer, "held") > 0 || number(answer, "failed") > 0 {
        lines.push(
            "`failed` lists what is failed and held, with its reasons; `retry` and `release` send it on".to_owned(),
        );
    }
    lines.extend(watched::of_sources(answer));
    lines.join("\n")
}

/// What was delivered and is still here.
fn kept(answer: &Value) -> Option<String> {
    let (kept, mebibytes) = (number(answer, "kept"), number(answer, "kept_bytes") >> 20);
    (kept > 0).then(|| format!("{kept} delivered ones ({mebibytes} MiB) kept for `resend`"))
}

fn with_tls(row: &Value) -> &'static str {
    match row.get("tls").and_then(Value::as_bool) {
        Some(true) => " (TLS)",
        _ => "",
    }
}

fn waiting(queue: &Value) -> String {
    format!(
        "{} waiting, {} failed, {} held",
        number(queue, "waiting"),
        number(queue, "failed"),
        number(queue, "held")
    )
}

fn study_lines(study: &Value) -> Vec<String> {
    let identity = study.get("identity").unwrap_or(&Value::Null);
    let uid = match text(study, "study") {
        "" => "no study",
        uid => uid,
    };
    vec![
        format!(
            "{}  {} {} {}  {}",
            text(study, "last_at"),
            text(identity, "patient_id"),
            text(identity, "patient_name"),
            text(identity, "accession_number"),
            uid
        ),
        format!(
            "    {} from {} to {}",
            text(study, "direction"),
            text(study, "source"),
            text(study, "to")
        ),
        format!("    {}", text(study, "words")),
    ]
    .into_iter()
    .chain(watched::of_study(study))
    .collect()
}

pub(super) fn studies(answer: &Value) -> String {
    joined(
        rows(answer, "studies").flat_map(study_lines).collect(),
        "no studies yet",
    )
}

/// `None`: there is no such study.
pub(super) fn study(answer: &Value) -> Option<String> {
    let mut lines = Vec::new();
    for detail in rows(answer, "accounts") {
        lines.extend(study_lines(detail.get("summary").unwrap_or(&Value::Null)));
        lines.extend(rows(detail, "instances").flat_map(instance_lines));
        for refusal in rows(detail, "refused_instances") {
            lines.push(format!(
                "    refused {} {} {}: {}",
                text(refusal, "status"),
                text(refusal, "class_name"),
                text(refusal, "sop_instance"),
                text(refusal, "rule")
            ));
        }
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn instance(delivery: &Value) -> String {
    let again = match text(delivery, "again") {
        "" => String::new(),
        again => format!(" (sent again: {again})"),
    };
    let is_warning = delivery.get("warning").and_then(Value::as_bool).unwrap_or(false);
    let state = match text(delivery, "state") {
        "delivered" if is_warning => "delivered with warning",
        state => state,
    };
    let line = format!(
        "    {:<10} {} {} {} {}{}{again}",
        state,
        text(delivery, "status"),
        text(delivery, "class_name"),
        text(delivery, "sop_instance"),
        text(delivery, "reason"),
        watched::of_repeat(delivery)
    );
    match delivery.get("converted").filter(|converted| converted.is_object()) {
        Some(converted) => format!("{line}\n{}", converted_lines(delivery, converted)),
        None => line,
    }
}

/// What the destination got instead of what the source sent, by both hashes.
fn converted_lines(delivery: &Value, converted: &Value) -> String {
    format!(
        "               converted to {}\n               sent     SHA-256 {}\n               received SHA-256 {}",
        text(converted, "syntax_name"),
        text(converted, "sha256"),
        text(delivery, "sha256")
    )
}

/// An instance with who did what to it.
fn instance_lines(delivery: &Value) -> Vec<String> {
    let handled = |handled: &Value| {
        let why = match text(handled, "reason") {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let (at, what, by) = (text(handled, "at"), text(handled, "what"), text(handled, "by"));
        format!("        {at}  {what} by {by}{why}")
    };
    std::iter::once(instance(delivery))
        .chain(rows(delivery, "handled").map(handled))
        .collect()
}

pub(super) fn failed(answer: &Value) -> String {
    let line = |delivery: &Value| {
        let id = text(delivery, "delivery");
        format!("{id}  to {}\n{}", text(delivery, "to"), instance(delivery))
    };
    let all = rows(answer, "failed").chain(rows(answer, "held"));
    joined(all.map(line).collect(), "nothing has failed, nothing is held")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_study_is_nothing_to_print() {
        assert_eq!(study(&json!({ "accounts": [] })), None);
        let known = study(&json!({ "accounts": [{ "summary": { "study": "1.2.3" } }] }));
        assert!(known.is_some_and(|lines| lines.contains("1.2.3")));
    }
}
