//! What the fuzz target calls: sources, routes and rules as text, which must not panic, nor must what is asked of them.

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::uid::{SopClassUid, TransferSyntaxUid};

use crate::attribute::{Attribute, HeaderValues};
use crate::config::{RawRoute, RawRule, RawSource};
use crate::engine::Engine;
use crate::knowledge::DestinationKnowledge;
use crate::trial::Trial;

/// Bytes as the sources, routes and rules of an `edge.toml`; where they are an engine, it is asked about an instance.
pub fn rules(data: &[u8]) {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        source: Vec<RawSource>,
        #[serde(default)]
        route: Vec<RawRoute>,
        #[serde(default)]
        rule: Vec<RawRule>,
    }
    let text = String::from_utf8_lossy(data);
    let Ok(file) = toml::from_str::<File>(&text) else {
        return;
    };
    if let Ok(engine) = Engine::new(&file.source, &file.route, &file.rule) {
        ask(&engine);
    }
}

fn ask(engine: &Engine) {
    let parsed = (
        AeTitle::try_from("PACS_A"),
        SopClassUid::try_from("1.2.840.10008.5.1.4.1.1.66"),
        TransferSyntaxUid::try_from("1.2.840.10008.1.2"),
    );
    let (Ok(calling), Ok(class), Ok(transfer_syntax)) = parsed else {
        return;
    };
    let mut header = HeaderValues::default();
    header.insert(Attribute::PatientName, "TEST^ä=ß");
    for route in engine.routes() {
        for (header, length) in [(None, None), (Some(&header), Some(1 << 20))] {
            let trial = Trial {
                calling: &calling,
                route,
                class: &class,
                dataset_class: None,
                transfer_syntax: &transfer_syntax,
                header,
                length,
            };
            drop(engine.try_out(&trial, &DestinationKnowledge::default()));
        }
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
