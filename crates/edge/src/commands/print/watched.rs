//! What is seen of sources and of a study's sender.

use serde_json::Value;

use super::{number, rows, text};

/// Lines of `status` about what rules hold, and about the sources.
pub(super) fn of_sources(status: &Value) -> Vec<String> {
    let held = rows(status, "held_by_rules").map(of_hold);
    let mut lines: Vec<String> = held.chain(rows(status, "sources").flat_map(of_source)).collect();
    if !text(status, "ledger_says").is_empty() {
        lines.push(format!("the ledger does not answer: {}", text(status, "ledger_says")));
    }
    lines
}

fn of_hold(held: &Value) -> String {
    let ends = match text(held, "ends") {
        "" => "until somebody releases it".to_owned(),
        ends => format!("the first is discarded at {ends}"),
    };
    format!(
        "{} holds {} instances, {} bytes, the oldest since {}; {ends}",
        text(held, "rule"),
        number(held, "instances"),
        number(held, "bytes"),
        text(held, "oldest")
    )
}

fn of_source(source: &Value) -> Vec<String> {
    let mut lines = vec![format!("source {}", text(source, "source"))];
    for class in rows(source, "refused") {
        let instances = match number(class, "instances") {
            0 => String::new(),
            some => format!(", {some} instances refused"),
        };
        lines.push(format!(
            "    refused since {}: {} ({}), proposed in vain on {} associations{instances}",
            text(class, "first_at"),
            text(class, "name"),
            text(class, "rule"),
            number(class, "associations"),
        ));
    }
    if !text(source, "commitment_asked").is_empty() {
        lines.push(format!(
            "    asks for storage commitment since {}: it is not given; switch it off for this node, or keep copies",
            text(source, "commitment_asked")
        ));
    }
    let stopped = number(source, "stopped");
    if let Some(stop) = rows(source, "last_stops").next() {
        let study = match text(stop, "study") {
            "" => "not known",
            uid => uid,
        };
        lines.push(format!(
            "    stopped at a refusal {stopped} times, last at {}: {}; study {study}",
            text(stop, "at"),
            text(stop, "words")
        ));
    }
    for found in rows(source, "loops") {
        lines.push(format!("    study {} {}", text(found, "study"), text(found, "words")));
    }
    if !text(source, "hold_rule").is_empty() {
        lines.push("    to let it finish, put this before the other rules of edge.toml and start again:".to_owned());
        lines.extend(text(source, "hold_rule").lines().map(|line| format!("        {line}")));
    }
    lines
}

/// Lines about what is seen of a study's sender, and what is odd about it.
pub(super) fn of_study(study: &Value) -> Vec<String> {
    let words = rows(study, "watched").filter_map(Value::as_str);
    words.map(|words| format!("    {words}")).collect()
}

/// How an instance is a repeat, and how often it came again while it waited.
pub(super) fn of_repeat(delivery: &Value) -> String {
    let compared = match text(delivery, "compared") {
        "" => String::new(),
        compared => format!("; resent, {compared}"),
    };
    match number(delivery, "joined") {
        0 => compared,
        joined => format!("{compared}; came {joined} times more while it waited"),
    }
}
