//! `edge-gateway echo`: the whole way to a PACS, each leg with its time.

use std::path::Path;

use packhorse_daemon::{admin, output};
use packhorse_dicom::ae_title::AeTitle;
use serde_json::{Value, json};

use super::{CommandError, Output};

/// Asks the daemon; an exit code other than 0 says that the way ends before the PACS.
pub(super) async fn run(dir: &Path, ae_title: &AeTitle, how: Output) -> Result<(), CommandError> {
    let answer = admin::ask(dir, "echo", json!({ "ae": ae_title.as_str() })).await?;
    output::line(&if how.json { answer.to_string() } else { print(&answer) });
    let stopped = answer.get("stopped").filter(|stopped| !stopped.is_null());
    match stopped {
        None => Ok(()),
        Some(stopped) => Err(CommandError::No(format!(
            "{ae_title}: stopped at {}",
            text(stopped, "at")
        ))),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn ms(value: &Value) -> String {
    match value.get("ms").and_then(Value::as_f64) {
        Some(ms) => format!("{ms:.1} ms"),
        None => "-".to_owned(),
    }
}

fn print(answer: &Value) -> String {
    let mut lines = vec![text(answer, "what").to_owned()];
    let legs = || answer.get("legs").and_then(Value::as_array).into_iter().flatten();
    let width = legs().map(|leg| text(leg, "leg").chars().count()).max().unwrap_or(0);
    lines.extend(legs().map(|leg| {
        let line = format!("  {:<width$}  {:>10}  {}", text(leg, "leg"), ms(leg), text(leg, "said"));
        line.trim_end().to_owned()
    }));
    let note = text(answer, "note");
    if !note.is_empty() {
        lines.push(format!("  {note}"));
    }
    match answer.get("stopped").filter(|stopped| !stopped.is_null()) {
        None if answer.get("in_use").and_then(Value::as_bool) == Some(true) => {
            lines.push("all well as far as it was walked".to_owned());
        }
        None => lines.push(format!("all well, {}", ms(answer))),
        Some(stopped) => {
            lines.push(format!("stopped at {}: {}", text(stopped, "at"), text(stopped, "why")));
            lines.push(format!("  {}", text(stopped, "remedy")));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_only_when_the_whole_way_was_walked() {
        let last = |in_use: bool| {
            let answer = json!({ "what": "P of this site", "legs": [], "in_use": in_use, "stopped": null, "ms": 1.5 });
            print(&answer).lines().last().unwrap().to_owned()
        };
        assert_eq!(last(false), "all well, 1.5 ms");
        assert_eq!(last(true), "all well as far as it was walked");
    }
}
