//! What is seen of sources and of a study's sender.

use packhorse_ledger::is_for_destination;
use serde_json::Value;

use super::{number, rows, text};

/// Classes of a source that are named although no instance of them came.
const PROPOSED_MAX: u64 = 3;

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
    lines.extend(of_refused(source));
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

/// Lines about refused classes: every one of which instances came, and a few of those that were only proposed, for many
/// senders propose everything.
fn of_refused(source: &Value) -> Vec<String> {
    let (mut lines, mut not_taken, mut proposed) = (Vec::new(), 0_u64, 0_u64);
    for class in rows(source, "refused") {
        let instances = match number(class, "instances") {
            0 if is_for_destination(text(class, "rule")) => {
                not_taken += 1;
                continue;
            }
            0 => {
                proposed += 1;
                String::new()
            }
            some => format!(", {some} instances refused"),
        };
        if instances.is_empty() && proposed > PROPOSED_MAX {
            continue;
        }
        lines.push(format!(
            "    refused since {}: {} ({}), proposed in vain on {} associations{instances}",
            text(class, "first_at"),
            text(class, "name"),
            text(class, "rule"),
            number(class, "associations"),
        ));
    }
    if proposed > PROPOSED_MAX {
        lines.push(format!("    and {} more, see --json", proposed - PROPOSED_MAX));
    }
    if not_taken > 0 {
        lines.push(format!(
            "    classes that it proposes and the destination does not take: {not_taken}, see routes"
        ));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_classes_that_were_only_proposed_three_are_named() {
        let class = |number: u32, rule: &str, instances: u32| {
            let name = format!("class {number}");
            json!({ "name": name, "rule": rule, "instances": instances, "associations": 1 })
        };
        let mut refused: Vec<Value> = (1..=5).map(|number| class(number, "rule 1", 0)).collect();
        refused.push(class(6, "rule 1", 2));
        refused.push(class(7, "rule 5, but the destination does not take it", 0));
        let lines = of_refused(&json!({ "refused": refused }));
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(
            lines[2].contains("class 3") && lines[3].contains("class 6"),
            "{lines:#?}"
        );
        assert_eq!(lines[4], "    and 2 more, see --json");
        assert!(
            lines[5].ends_with("the destination does not take: 1, see routes"),
            "{lines:#?}"
        );
    }
}
