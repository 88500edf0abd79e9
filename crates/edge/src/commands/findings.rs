//! `edge-gateway doctor`: everything that this gateway needs.

use std::path::Path;

use packhorse_daemon::output;
use serde_json::{Value, json};

use super::print::{rows, text};
use super::{CommandError, Output, ask};

/// # Errors
/// [`CommandError::No`] when something is bad.
pub(super) async fn run(dir: &Path, how: Output) -> Result<(), CommandError> {
    let answer = ask(dir, "doctor", json!({})).await?;
    let bad = rows(&answer, "findings")
        .filter(|finding| text(finding, "level") == "bad")
        .count();
    output::line(&if how.json { answer.to_string() } else { print(&answer) });
    match bad {
        0 => Ok(()),
        1 => Err(CommandError::No("1 thing is bad".to_owned())),
        _ => Err(CommandError::No(format!("{bad} things are bad"))),
    }
}

fn print(answer: &Value) -> String {
    let line = |finding: &Value| {
        let mut line = format!(
            "{:<4} {}: {}",
            text(finding, "level"),
            text(finding, "about"),
            text(finding, "what")
        );
        let remedy = text(finding, "remedy");
        if !remedy.is_empty() {
            line = format!("{line}\n     to do: {remedy}");
        }
        line
    };
    rows(answer, "findings").map(line).collect::<Vec<_>>().join("\n")
}
