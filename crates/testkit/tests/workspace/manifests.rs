//! What each Cargo.toml of ours must say.

use crate::Package;

const LICENCE: &str = "MIT OR Apache-2.0";

pub(crate) fn complaints(package: &Package, manifest: &str) -> Vec<String> {
    let manifest: toml::Table = toml::from_str(manifest).unwrap();
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    let description = package.description.as_deref().unwrap_or_default();
    let rules = [
        (lints == Some(&toml::Value::Boolean(true)), "has lints of its own"),
        (
            package.licence.as_deref() == Some(LICENCE),
            "is not under MIT OR Apache-2.0",
        ),
        (!description.trim().is_empty(), "has no description"),
    ];
    let broken = rules.iter().filter(|(holds, _)| !holds);
    broken
        .map(|(_, complaint)| format!("{} {complaint}", package.name))
        .collect()
}

#[test]
fn own_lints_another_licence_and_no_description_are_complaints() {
    let package = |licence: &str, description: Option<&str>| Package {
        name: "x".to_owned(),
        licence: Some(licence.to_owned()),
        description: description.map(str::to_owned),
        manifest: "Cargo.toml".into(),
        is_ours: true,
        is_from_crates_io: false,
        needs: Vec::new(),
        declares: Vec::new(),
    };
    let good = package(LICENCE, Some("does x"));
    assert_eq!(complaints(&good, "[lints]\nworkspace = true"), [""; 0]);
    for manifest in ["", "[lints]\nworkspace = false", "[lints.rust]\nunsafe_code = \"warn\""] {
        assert_eq!(complaints(&good, manifest), ["x has lints of its own"]);
    }
    assert_eq!(
        complaints(&package("MIT", Some(" ")), "[lints]\nworkspace = true"),
        ["x is not under MIT OR Apache-2.0", "x has no description"]
    );
}
