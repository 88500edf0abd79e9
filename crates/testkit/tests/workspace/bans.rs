//! The `[bans]` of deny.toml.

use std::collections::BTreeSet;

use crate::Package;

/// A crate that nobody may link, but for those that wrap it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    name: String,
    wrappers: Vec<String>,
}

pub(crate) fn read(deny: &str) -> Vec<Ban> {
    let deny: toml::Table = toml::from_str(deny).unwrap();
    let ban = |entry: &toml::Value| Ban {
        name: entry["name"].as_str().unwrap().to_owned(),
        wrappers: match entry.get("wrappers") {
            Some(names) => names.clone().try_into().unwrap(),
            None => Vec::new(),
        },
    };
    deny["bans"]["deny"].as_array().unwrap().iter().map(ban).collect()
}

/// Crates that are linked although nobody may.
pub(crate) fn linked(bans: &[Ban], linked: &BTreeSet<String>) -> Vec<String> {
    let bad = bans
        .iter()
        .filter(|ban| ban.wrappers.is_empty() && linked.contains(&ban.name));
    bad.map(|ban| format!("{} is banned and linked", ban.name)).collect()
}

/// Packages of ours that declare a banned crate, for whatever purpose, and do not wrap it.
pub(crate) fn declared(bans: &[Ban], packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages.iter().filter(|package| package.is_ours) {
        let bad = bans
            .iter()
            .filter(|ban| package.declares.contains(&ban.name) && !ban.wrappers.contains(&package.name));
        complaints.extend(bad.map(|ban| format!("{} may not depend on {}", package.name, ban.name)));
    }
    complaints
}

/// What the house bans, and the one crate of ours that may wrap it.
const HOUSE: [(&str, Option<&str>); 8] = [
    ("ring", None),
    ("openssl", None),
    ("openssl-sys", None),
    ("native-tls", None),
    ("quinn", Some("packhorse-transport")),
    ("quinn-proto", Some("packhorse-transport")),
    ("quinn-udp", Some("packhorse-transport")),
    ("dicom-ul", Some("packhorse-association")),
];

/// What the house bans and deny.toml does not.
pub(crate) fn missing(bans: &[Ban]) -> Vec<String> {
    let is_banned = |(name, wrapper): &(&str, Option<&str>)| {
        let bans = bans.iter().filter(|ban| ban.name == *name);
        let ours = |ban: &Ban| {
            let mut wrappers = ban.wrappers.iter().filter(|wrapper| wrapper.starts_with("packhorse-"));
            (wrappers.next().map(String::as_str), wrappers.next()) == (*wrapper, None)
        };
        bans.into_iter().any(ours)
    };
    let missing = HOUSE.iter().filter(|ban| !is_banned(ban));
    missing
        .map(|(name, _)| format!("deny.toml does not ban {name} as the house does"))
        .collect()
}

const EXAMPLE: &str = r#"
[bans]
deny = [{ name = "ring" }, { name = "quinn", wrappers = ["packhorse-transport"], reason = "stays there" }]
"#;

fn package(name: &str, declares: &[&str]) -> Package {
    Package {
        name: name.to_owned(),
        licence: None,
        description: None,
        manifest: "Cargo.toml".into(),
        is_ours: true,
        is_from_crates_io: false,
        needs: Vec::new(),
        declares: declares.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn a_banned_crate_that_is_linked_is_a_complaint() {
    let bans = read(EXAMPLE);
    assert_eq!(linked(&bans, &BTreeSet::from(["quinn".to_owned()])), [""; 0]);
    assert_eq!(
        linked(&bans, &BTreeSet::from(["ring".to_owned(), "quinn".to_owned()])),
        ["ring is banned and linked"]
    );
}

#[test]
fn a_confined_crate_that_another_declares_is_a_complaint() {
    let bans = read(EXAMPLE);
    assert_eq!(declared(&bans, &[package("packhorse-transport", &["quinn"])]), [""; 0]);
    assert_eq!(
        declared(&bans, &[package("packhorse-hop", &["bytes", "quinn"])]),
        ["packhorse-hop may not depend on quinn"]
    );
}

#[test]
fn a_list_that_is_too_short_or_too_kind_is_a_complaint() {
    let missing = missing(&read(EXAMPLE));
    assert_eq!(missing.len(), HOUSE.len() - 2, "{missing:?}");
    let kind = EXAMPLE.replace(
        r#"["packhorse-transport"]"#,
        r#"["packhorse-transport", "packhorse-hop"]"#,
    );
    let missing = self::missing(&read(&kind));
    assert_eq!(missing.len(), HOUSE.len() - 1, "{missing:?}");
}
