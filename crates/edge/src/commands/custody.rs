//! `retry`, `hold`, `release`, `discard`, `resend`.

use std::path::Path;

use packhorse_daemon::output;
use serde_json::{Value, json};

use super::args::{Discard, Which};
use super::{CommandError, ask};

/// Asks for it, and prints what came of it. What was not done shows in the exit code.
pub(super) async fn run(dir: &Path, command: &str, which: &Which, more: Value) -> Result<(), CommandError> {
    let answer = ask(dir, command, args(which, more)).await?;
    if which.output.json {
        output::line(&answer.to_string());
    } else if let Some(said) = done(command, &answer) {
        output::line(&said);
    }
    match not_done(&answer) {
        // What would not be done is what was asked.
        Some(not) if which.dry_run && number(&answer, "done") > 0 => {
            output::error_line(&not);
            Ok(())
        }
        Some(not) => Err(CommandError::No(not)),
        None => Ok(()),
    }
}

pub(super) async fn discard(dir: &Path, what: &Discard) -> Result<(), CommandError> {
    let more = json!({
        "reason": what.reason,
        "yes": what.yes,
        "expect": what.expect,
        "force": what.force,
    });
    run(dir, "discard", &what.which, more).await
}

fn args(which: &Which, more: Value) -> Value {
    let mut args = json!({
        "deliveries": which.deliveries,
        "study": which.study,
        "instance": which.instance,
        "class": which.class,
        "status": which.status,
        "to": which.to,
        "from": which.from,
        "rule": which.rule,
        "all": which.all,
        "dry_run": which.dry_run,
    });
    if let (Some(args), Value::Object(more)) = (args.as_object_mut(), more) {
        args.extend(more);
    }
    args
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn rows<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// What was done, to how many of which study; `None`: nothing.
pub(crate) fn done(command: &str, answer: &Value) -> Option<String> {
    let is_dry_run = answer.get("dry_run").and_then(Value::as_bool).unwrap_or(false);
    let words = match (command, is_dry_run) {
        ("retry", false) => "to be tried again",
        ("retry", true) => "would be tried again",
        ("hold", false) => "held",
        ("hold", true) => "would be held",
        ("release", false) => "go on",
        ("release", true) => "would go on",
        ("discard", false) => "discarded",
        ("discard", true) => "would be discarded",
        (_, false) => "to be sent again",
        (_, true) => "would be sent again",
    };
    let mut lines = Vec::new();
    if number(answer, "done") > 0 || (command == "retry" && answer.get("nothing").is_none()) {
        lines.push(format!("{} {words}", number(answer, "done")));
    }
    for study in rows(answer, "studies") {
        let instances = number(study, "instances");
        let uid = match (text(study, "study"), text(study, "to")) {
            ("", "") => "others".to_owned(),
            ("", _) => "no study".to_owned(),
            (uid, _) => format!("study {uid}"),
        };
        let way = match (text(study, "from"), text(study, "to")) {
            ("", _) => String::new(),
            (from, to) => format!(" from {from} to {to}"),
        };
        lines.push(format!("    {instances} of {uid}{way}"));
    }
    for asked in rows(answer, "asked").filter_map(Value::as_str) {
        let word = if is_dry_run { "would be" } else { "is" };
        lines.push(format!(
            "{asked} {word} asked to send the study again; what it still has shows as \"sent again\" in `study`"
        ));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What was not done, and why; `None`: all was.
pub(crate) fn not_done(answer: &Value) -> Option<String> {
    if let Some(nothing) = answer.get("nothing").and_then(Value::as_str) {
        return Some(nothing.to_owned());
    }
    let line = |not: &Value| match text(not, "instance") {
        "" => format!("{}: {}", text(not, "delivery"), text(not, "why")),
        instance => format!("{} ({instance}): {}", text(not, "delivery"), text(not, "why")),
    };
    let mut lines: Vec<_> = rows(answer, "not").map(line).collect();
    let unsaid = number(answer, "not_done").saturating_sub(lines.len() as u64);
    if unsaid > 0 {
        lines.push(format!("and {unsaid} more"));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
