//! What the fuzz target calls: rules as text, which must not panic.

use crate::config::RawRule;
use crate::engine::Engine;

/// Bytes as the rules of an `edge.toml`.
pub fn rules(data: &[u8]) {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        rule: Vec<RawRule>,
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(file) = toml::from_str::<File>(&text) {
        drop(Engine::new(&[], &[], &file.rule));
    }
}
