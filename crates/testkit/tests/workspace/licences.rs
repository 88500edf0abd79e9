//! The `[licenses]` of deny.toml: of `A OR B` one must be on the list, of `A AND B` both.

use spdx::{Expression, Licensee, ParseMode};

use crate::Package;

pub(crate) fn allowed(deny: &str) -> Vec<Licensee> {
    let deny: toml::Table = toml::from_str(deny).unwrap();
    let list = deny["licenses"]["allow"].as_array().unwrap().iter();
    list.map(|licence| Licensee::parse(licence.as_str().unwrap()).unwrap())
        .collect()
}

/// Packages under a licence that is not on the list, under none, or from somewhere else.
pub(crate) fn complaints(allowed: &[Licensee], packages: &[Package]) -> Vec<String> {
    let complaint = |package: &Package| {
        let name = &package.name;
        match &package.licence {
            Some(licence) if !is_allowed(allowed, licence) => Some(format!("{name} is under {licence}")),
            None => Some(format!("{name} does not say its licence")),
            Some(_) if !package.is_ours && !package.is_from_crates_io => Some(format!("{name} is not from crates.io")),
            Some(_) => None,
        }
    };
    packages.iter().filter_map(complaint).collect()
}

fn is_allowed(allowed: &[Licensee], licence: &str) -> bool {
    // Old packages write `MIT/Apache-2.0`.
    let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|requirement| allowed.iter().any(|licensee| licensee.satisfies(requirement)))
}

const EXAMPLE: &str = r#"
[licenses]
allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"]
"#;

#[test]
fn of_alternatives_one_must_be_allowed_and_of_several_all() {
    let allowed = allowed(EXAMPLE);
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "ISC AND (GPL-3.0-only OR Apache-2.0)",
    ] {
        assert!(is_allowed(&allowed, good), "{good}");
    }
    for bad in [
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "(MIT OR ISC) AND (MPL-2.0 OR GPL-3.0-only)",
        "MIT WITH LLVM-exception",
        "LicenseRef-ours",
        "no licence at all",
        "",
    ] {
        assert!(!is_allowed(&allowed, bad), "{bad}");
    }
}

#[test]
fn a_bad_licence_none_and_another_registry_are_complaints() {
    let package = |name: &str, licence: Option<&str>, is_from_crates_io| Package {
        name: name.to_owned(),
        licence: licence.map(str::to_owned),
        description: None,
        manifest: "Cargo.toml".into(),
        is_ours: false,
        is_from_crates_io,
        needs: Vec::new(),
        declares: Vec::new(),
    };
    let packages = [
        package("good", Some("MIT OR GPL-2.0-only"), true),
        package("copyleft", Some("AGPL-3.0-or-later"), true),
        package("silent", None, true),
        package("elsewhere", Some("MIT"), false),
    ];
    assert_eq!(
        complaints(&allowed(EXAMPLE), &packages),
        [
            "copyleft is under AGPL-3.0-or-later",
            "silent does not say its licence",
            "elsewhere is not from crates.io"
        ]
    );
}
