//! What is seen of each source, for `status`.

use packhorse_daemon::admin::AdminError;
use packhorse_ledger::view::SourceView;
use serde_json::{Value, json};

use super::Door;
use crate::watch::hold_rule;

impl Door {
    /// The status with what is seen of the sources.
    pub(super) async fn with_sources(&self, mut status: Value) -> Result<Value, AdminError> {
        self.fresh().await?;
        let sources = self.shared.ledger(|projection| projection.sources()).await;
        let sources = match sources {
            Some(Ok(sources)) => sources,
            Some(Err(error)) => return Err(AdminError::failed(&error)),
            None => return Err(AdminError::new("failed", "the ledger does not answer")),
        };
        let sources: Vec<Value> = sources.iter().map(shown).collect();
        if let Value::Object(keys) = &mut status {
            keys.insert("sources".to_owned(), Value::Array(sources));
        }
        Ok(status)
    }
}

/// A source, with the rule that would keep what it stops at.
fn shown(source: &SourceView) -> Value {
    let mut shown = json!(source);
    let of_stop = source
        .last_stops
        .first()
        .map(|stop| (&stop.calling, &stop.route, &stop.classes));
    let of_loop = source
        .loops
        .first()
        .map(|found| (&found.calling, &found.route, &found.classes));
    let rule = of_stop
        .or(of_loop)
        .map(|(calling, route, classes)| hold_rule(&source.source, calling, route, classes));
    if let Value::Object(keys) = &mut shown {
        keys.insert("hold_rule".to_owned(), json!(rule));
    }
    shown
}
