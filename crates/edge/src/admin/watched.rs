//! What is seen of each source and what rules hold, for `status`.

use packhorse_daemon::admin::AdminError;
use packhorse_ledger::store::ProjectionError;
use packhorse_ledger::view::SourceView;
use serde_json::{Value, json};

use super::Door;
use crate::watch::hold_rule;

impl Door {
    /// The status with what is seen of the sources, and what rules hold.
    pub(super) async fn with_sources(&self, mut status: Value) -> Result<Value, AdminError> {
        self.fresh().await?;
        let asked = self
            .shared
            .ledger(|projection| Ok::<_, ProjectionError>((projection.sources()?, projection.held_by_rules()?)))
            .await;
        let (sources, held) = match asked {
            Some(Ok(answers)) => answers,
            Some(Err(error)) => return Err(AdminError::failed(&error)),
            None => return Err(AdminError::new("failed", "the ledger does not answer")),
        };
        let sources: Vec<Value> = sources.iter().map(shown).collect();
        if let Value::Object(keys) = &mut status {
            keys.insert("sources".to_owned(), Value::Array(sources));
            keys.insert("held_by_rules".to_owned(), json!(held));
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
