//! What a package links, with the features it resolves to. `cargo metadata` unites the features of the whole workspace and
//! of all platforms, so it is `cargo tree` that is asked.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The names of the crates that are linked on this platform into what `selection` selects, build scripts' too.
pub(crate) fn by(root: &Path, selection: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}"])
        .args(selection)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let linked = names(&String::from_utf8(output.stdout).unwrap());
    assert!(!linked.is_empty(), "nothing is linked by {selection:?}");
    linked
}

fn names(tree: &str) -> BTreeSet<String> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What of it knows DICOM.
pub(crate) fn reading_dicom(package: &str, linked: &BTreeSet<String>) -> Vec<String> {
    const OURS: [&str; 5] = [
        "packhorse-dicom",
        "packhorse-association",
        "packhorse-policy",
        "packhorse-ledger",
        "packhorse-envelope",
    ];
    let bad = linked
        .iter()
        .filter(|name| OURS.contains(&name.as_str()) || name.starts_with("dicom-"));
    bad.map(|name| format!("{package} links {name}, which knows DICOM"))
        .collect()
}

/// What of it does I/O or cryptography, or needs a C compiler's long work.
pub(crate) fn doing_io(package: &str, linked: &BTreeSet<String>) -> Vec<String> {
    const BAD: [&str; 8] = [
        "tokio",
        "tokio-util",
        "quinn",
        "quinn-proto",
        "quinn-udp",
        "socket2",
        "rustls",
        "libsqlite3-sys",
    ];
    let bad = linked
        .iter()
        .filter(|name| BAD.contains(&name.as_str()) || name.starts_with("aws-lc-"));
    bad.map(|name| format!("{package} links {name} without its default features"))
        .collect()
}

fn of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_tree_is_read_line_by_line() {
    let tree = "relay v0.1.0 (/x/relay)\nbytes v1.0.0\nsyn v2.0.0 (proc-macro)\nbytes v1.0.0 (*)\n\n";
    assert_eq!(names(tree), of(&["relay", "bytes", "syn"]));
}

#[test]
fn whatever_knows_dicom_is_a_complaint() {
    assert_eq!(reading_dicom("relay", &of(&["packhorse-spool", "bytes"])), [""; 0]);
    for bad in ["packhorse-policy", "packhorse-envelope", "dicom-core"] {
        let complaints = reading_dicom("relay", &of(&["packhorse-spool", bad]));
        assert_eq!(complaints, [format!("relay links {bad}, which knows DICOM")]);
    }
}

#[test]
fn whatever_does_io_is_a_complaint() {
    assert_eq!(doing_io("packhorse-envelope", &of(&["bytes", "blake3"])), [""; 0]);
    for bad in ["tokio", "quinn", "aws-lc-sys", "libsqlite3-sys"] {
        assert_eq!(doing_io("packhorse-envelope", &of(&["bytes", bad])).len(), 1, "{bad}");
    }
}
