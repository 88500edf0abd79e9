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

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("rules")
            .iter()
            .for_each(|input| super::rules(input));
    }
}
