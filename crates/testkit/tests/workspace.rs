//! What ARCHITECTURE.md and deny.toml say about the crates is so: who knows whom, what is linked, under which licence, and
//! which words stand in which files. Needs no network beyond what building needed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "workspace/bans.rs"]
mod bans;
#[path = "workspace/licences.rs"]
mod licences;
#[path = "workspace/linked.rs"]
mod linked;
#[path = "workspace/manifests.rs"]
mod manifests;
#[path = "workspace/map.rs"]
mod map;
#[path = "workspace/sources.rs"]
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// A package, ours or not.
struct Package {
    name: String,
    licence: Option<String>,
    description: Option<String>,
    manifest: PathBuf,
    is_ours: bool,
    is_from_crates_io: bool,
    /// What it declares for itself and its build script, optional ones too; not what its tests need.
    needs: Vec<String>,
    /// What it declares at all.
    declares: Vec<String>,
}

fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked", "--offline", "--filter-platform", "host-tuple"].map(str::to_owned))
        .exec()
        .unwrap()
}

fn packages() -> Vec<Package> {
    let metadata = metadata();
    let declared = |package: &cargo_metadata::Package, with_tests: bool| {
        let dependencies = package.dependencies.iter();
        dependencies
            .filter(|dependency| with_tests || dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    let read = |package: &cargo_metadata::Package| Package {
        name: package.name.to_string(),
        licence: package.license.clone(),
        description: package.description.clone(),
        manifest: package.manifest_path.clone().into(),
        is_ours: metadata.workspace_members.contains(&package.id),
        is_from_crates_io: package.source.as_ref().is_some_and(|source| source.is_crates_io()),
        needs: declared(package, false),
        declares: declared(package, true),
    };
    metadata.packages.iter().map(read).collect()
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_package_needs_another_that_the_map_does_not_let_it_know() {
    let packages = packages();
    let ours: Vec<map::Member<'_>> = packages
        .iter()
        .filter_map(|package| map::Member::of(package, &root()))
        .collect();
    assert_none(&map::complaints(&map::read(&text("ARCHITECTURE.md")), &ours));
}

#[test]
fn the_relay_links_nothing_that_reads_dicom() {
    for package in ["packhorse-relay", "relay"] {
        assert_none(&linked::reading_dicom(package, &linked::by(&root(), &["-p", package])));
    }
}

#[test]
fn what_is_sans_io_links_no_io() {
    for package in ["packhorse-association", "packhorse-transport", "packhorse-envelope"] {
        let linked = linked::by(&root(), &["-p", package, "--no-default-features"]);
        assert_none(&linked::doing_io(package, &linked));
    }
}

#[test]
fn what_deny_toml_bans_is_nowhere_and_what_it_confines_stays_where_it_belongs() {
    let bans = bans::read(&text("deny.toml"));
    let linked = linked::by(&root(), &["--workspace"]);
    assert_none(&bans::linked(&bans, &linked));
    assert_none(&bans::declared(&bans, &packages()));
}

#[test]
fn deny_toml_bans_at_least_what_the_house_bans() {
    assert_none(&bans::missing(&bans::read(&text("deny.toml"))));
}

#[test]
fn every_package_is_ours_or_from_crates_io_and_under_a_licence_on_the_list() {
    let allowed = licences::allowed(&text("deny.toml"));
    assert_none(&licences::complaints(&allowed, &packages()));
}

#[test]
fn every_package_of_ours_has_the_lints_the_licence_and_a_description() {
    let packages = packages();
    let ours: Vec<&Package> = packages.iter().filter(|package| package.is_ours).collect();
    assert!(ours.len() > 15, "only {} packages", ours.len());
    for package in ours {
        assert_none(&manifests::complaints(
            package,
            &fs::read_to_string(&package.manifest).unwrap(),
        ));
    }
}

#[test]
fn confined_words_stand_only_where_they_may() {
    let sources = sources::below(&root(), &["crates", "bins", "examples", "benches", "fuzz"]);
    assert!(sources.len() > 100, "only {} files", sources.len());
    assert_none(&sources::complaints(&sources));
}
