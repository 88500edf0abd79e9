//! What is wrong with a configuration, gathered.

use std::time::Duration;

use packhorse_daemon::Span;
use packhorse_daemon::config::ConfigProblem;

/// Shortest time that anything may be configured to wait.
const SPAN_MIN: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<ConfigProblem>);

impl Problems {
    pub(super) fn add(&mut self, path: String, problem: String) {
        self.0.push(ConfigProblem { path, problem });
    }

    /// A time that something waits for: none at all would be a busy loop, or an end before the beginning.
    pub(super) fn span(&mut self, table: &str, key: &str, given: Option<Span>, default: Duration) -> Duration {
        let span = given.map_or(default, |span| span.0);
        if span < SPAN_MIN {
            self.add(
                format!("{table}.{key}"),
                format!("{span:?} is too short: {SPAN_MIN:?} at least"),
            );
        }
        span
    }

    pub(super) fn count(&mut self, path: &str, given: Option<usize>) {
        if given == Some(0) {
            self.add(path.to_owned(), "there is at least 1".to_owned());
        }
    }

    pub(super) fn take<T, E: std::fmt::Display>(&mut self, path: String, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(path, error.to_string())).ok()
    }
}
