//! What is known of the PACS at the end of a route, and of ours, for `routes`.

use packhorse_policy::Route;
use serde_json::{Map, Value, json};

use super::Door;
use crate::config::mirror_word;

impl Door {
    /// Of the end of a route; with each fact when `all` is asked for.
    pub(super) fn mirror_of_route(&self, route: &Route, all: bool) -> Value {
        let mode = self.shared.directory.mirror(&route.to_site, &route.to_ae_title);
        with_mode(mode.as_deref(), self.shared.far_mirrors.shown(&self.shared, route, all))
    }

    /// Of each of our PACS.
    pub(super) fn mirrors_of_ours(&self, all: bool) -> Vec<Value> {
        let (now, patience) = (self.shared.clock.now(), self.shared.config.mirror.patience());
        let one = |destination: &crate::config::Destination| {
            let pacs = self.shared.pacs.get(&destination.ae_title)?;
            let known = pacs.mirror.shown(now, &patience, all);
            Some(json!({
                "ae_title": destination.ae_title.as_str(),
                "mirror": with_mode(Some(mirror_word(destination.mirror)), known),
            }))
        };
        self.shared.destinations().iter().filter_map(one).collect()
    }
}

/// `mode`: what is done with it, `None` as long as its site has not said.
fn with_mode(mode: Option<&str>, mut known: Value) -> Value {
    let keys: Option<&mut Map<_, _>> = known.as_object_mut();
    keys.map(|keys| keys.insert("mode".to_owned(), json!(mode)));
    known
}
