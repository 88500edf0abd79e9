//! What is seen of each source and what rules hold, for `status`.

use packhorse_daemon::admin::AdminError;
use packhorse_ledger::store::ProjectionError;
use packhorse_ledger::view::SourceView;
use serde_json::{Value, json};

use super::Door;
use crate::watch::hold_rule;

impl Door {
    /// The status with what is seen of the sources, and what rules hold. A ledger that does not answer is told in their
    /// place: the rest of the status is wanted then above all.
    pub(super) async fn with_sources(&self, mut status: Value) -> Value {
        let seen = match self.seen().await {
            Ok(seen) => seen,
            Err(error) => json!({ "ledger_says": error.message }),
        };
        if let (Value::Object(keys), Value::Object(seen)) = (&mut status, seen) {
            keys.extend(seen);
        }
        status
    }

    async fn seen(&self) -> Result<Value, AdminError> {
        self.fresh().await?;
        let asked = self
            .shared
            .ledger(|projection| Ok::<_, ProjectionError>((projection.sources()?, projection.held_by_rules()?)))
            .await;
        match asked {
            Some(Ok((sources, held))) => {
                let sources: Vec<Value> = sources.iter().map(shown).collect();
                Ok(json!({ "sources": sources, "held_by_rules": held }))
            }
            Some(Err(error)) => Err(AdminError::failed(&error)),
            None => Err(AdminError::new("failed", "the ledger does not answer")),
        }
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
