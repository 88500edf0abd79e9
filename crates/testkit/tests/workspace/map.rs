//! Who may know whom: the table in ARCHITECTURE.md, and a line for each folder that is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Package;

/// What a crate may know, by the short names of the table.
pub(crate) type Map = BTreeMap<String, BTreeSet<String>>;

/// A package of ours, and what it needs of ours.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// From the root: `crates/spool`.
    pub(crate) folder: String,
    pub(crate) needs: Vec<&'a str>,
}

impl<'a> Member<'a> {
    /// `None` for a package that is not ours.
    pub(crate) fn of(package: &'a Package, root: &Path) -> Option<Self> {
        let folder = package.manifest.parent()?.strip_prefix(root).ok()?;
        let needs = package.needs.iter().filter_map(|name| name.strip_prefix("packhorse-"));
        package.is_ours.then(|| Self {
            folder: folder.to_str().expect("our folders are UTF-8").to_owned(),
            needs: needs.collect(),
        })
    }
}

/// The code map's rows: `` | `hop` | what it is | ids, spool | ``. "nothing" is nothing, "all of these" are all rows above.
pub(crate) fn read(architecture: &str) -> Map {
    let mut map = Map::new();
    let section = architecture
        .split("\n## ")
        .find(|section| section.starts_with("Code map"));
    for line in section.expect("there is a code map").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, _, known, _] = cells[..] else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
            continue;
        };
        let known = known.split(';').next().unwrap_or_default();
        let known = match known {
            "nothing" | "nothing of ours" => BTreeSet::new(),
            "all of these" => map.keys().cloned().collect(),
            names => names.split(", ").map(str::to_owned).collect(),
        };
        map.insert(name.to_owned(), known);
    }
    map
}

/// Edges that are not in the map, crates without a row, and rows without a crate.
pub(crate) fn complaints(map: &Map, members: &[Member<'_>]) -> Vec<String> {
    let mut complaints = Vec::new();
    for member in members {
        let Some(known) = known(map, &member.folder) else {
            complaints.push(format!("{} is not in the code map", member.folder));
            continue;
        };
        let unknown = member.needs.iter().filter(|needed| !known.contains(**needed));
        complaints.extend(unknown.map(|needed| format!("{} may not know {needed}", member.folder)));
    }
    let is_there = |name: &str| members.iter().any(|member| member.folder == format!("crates/{name}"));
    let rows = map.keys().chain(map.values().flatten());
    let gone: BTreeSet<&String> = rows.filter(|name| !is_there(name)).collect();
    complaints.extend(
        gone.iter()
            .map(|name| format!("the code map names {name}, which is no crate")),
    );
    complaints
}

/// The table says it of `crates/`; a binary knows its daemon and `daemon`; examples and benches may use any.
fn known<'a>(map: &'a Map, folder: &str) -> Option<BTreeSet<&'a str>> {
    match folder.split_once('/')? {
        ("crates", name) => Some(map.get(name)?.iter().map(String::as_str).collect()),
        ("bins", "edge-gateway") => Some(BTreeSet::from(["edge", "daemon"])),
        ("bins", "relay") => Some(BTreeSet::from(["relay", "daemon"])),
        ("examples" | "benches", _) => Some(map.keys().map(String::as_str).collect()),
        _ => None,
    }
}

const EXAMPLE: &str = "\
# Architecture

## Code map

| crate | what | may know |
|---|---|---|
| `ids` | ids | nothing |
| `dicom` | DICOM | nothing of ours |
| `policy` | rules | ids, dicom |
| `edge` | the edge | all of these |
| `testkit` | tests | ids; dev-dependency only |

## Where state lives
| `other` | table | ids |
";

fn member<'a>(folder: &str, needs: &[&'a str]) -> Member<'a> {
    Member {
        folder: folder.to_owned(),
        needs: needs.to_vec(),
    }
}

/// The example's crates with `last` in place of the one in its folder.
fn example(last: Member<'static>) -> Vec<Member<'static>> {
    let mut members: Vec<Member<'static>> = ["ids", "dicom", "policy", "edge", "testkit"]
        .map(|name| member(&format!("crates/{name}"), &[]))
        .into();
    members.retain(|member| member.folder != last.folder);
    members.push(last);
    members
}

#[test]
fn a_row_says_what_a_crate_may_know() {
    let map = read(EXAMPLE);
    let known = |name: &str| map[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(known("dicom"), [""; 0]);
    assert_eq!(known("policy"), ["dicom", "ids"]);
    assert_eq!(known("edge"), ["dicom", "ids", "policy"]);
    assert_eq!(known("testkit"), ["ids"]);
    assert!(!map.contains_key("other"));
}

#[test]
fn an_edge_that_is_not_in_the_map_is_a_complaint() {
    let map = read(EXAMPLE);
    let of = |last| complaints(&map, &example(last));
    assert_eq!(of(member("crates/policy", &["ids", "dicom"])), [""; 0]);
    assert_eq!(
        of(member("crates/policy", &["edge"])),
        ["crates/policy may not know edge"]
    );
    assert_eq!(of(member("crates/dicom", &["ids"])), ["crates/dicom may not know ids"]);
    assert_eq!(
        of(member("crates/edge", &["testkit"])),
        ["crates/edge may not know testkit"]
    );
    assert_eq!(of(member("bins/relay", &["ids"])), ["bins/relay may not know ids"]);
    assert_eq!(of(member("examples/all", &["testkit", "edge"])), [""; 0]);
}

#[test]
fn a_crate_without_a_row_and_a_row_without_a_crate_are_complaints() {
    let map = read(EXAMPLE);
    let new = example(member("crates/new", &[]));
    assert_eq!(complaints(&map, &new), ["crates/new is not in the code map"]);
    let gone: Vec<Member<'_>> = example(member("crates/ids", &[])).drain(..4).collect();
    assert_eq!(complaints(&map, &gone), ["the code map names ids, which is no crate"]);
}
