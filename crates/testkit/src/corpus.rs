//! The corpus of real instances, which is not part of the repository: without it the tests that need it say so and pass.
//! And the corpora of the fuzz targets, which are.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Names the corpus's folder when it is not beside the workspace.
pub const ENVIRONMENT_VARIABLE: &str = "PACKHORSE_CORPUS";
/// Where the corpus is looked for otherwise, from the workspace's root.
const BESIDE_THE_WORKSPACE: &str = "../shared/corpus";

/// The corpus's folder; `None` when there is none.
#[must_use]
pub fn find() -> Option<PathBuf> {
    let folder = match env::var_os(ENVIRONMENT_VARIABLE) {
        Some(named) => PathBuf::from(named),
        None => workspace_root().join(BESIDE_THE_WORKSPACE),
    };
    folder.is_dir().then_some(folder)
}

/// The corpus's folder; when there is none, says on standard error that the test named so is skipped, and why.
#[must_use]
pub fn require_or_skip(test: &str) -> Option<PathBuf> {
    let found = find();
    if found.is_none() {
        say(&format!(
            "{test}: skipped, no corpus (neither {ENVIRONMENT_VARIABLE} nor {BESIDE_THE_WORKSPACE})"
        ));
    }
    found
}

/// All files below a folder of the corpus, sorted, without its lists and notes (`.tsv`, `.md`).
///
/// # Errors
/// When a folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            let note = path
                .extension()
                .is_some_and(|extension| extension == "tsv" || extension == "md");
            if path.is_dir() {
                folders.push(path);
            } else if !note {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What is kept in `fuzz/corpus` for a fuzz target: made inputs, and those that once broke something.
///
/// # Panics
/// When there is nothing, or it cannot be read: a test that replays it must not pass for want of it.
#[must_use]
pub fn fuzz_inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = workspace_root().join("fuzz/corpus").join(target);
    let files = files(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    assert!(!files.is_empty(), "{} is empty", folder.display());
    let read = |path: &PathBuf| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    files.iter().map(read).collect()
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Straight to standard error: the test harness hides what a passing test prints.
fn say(line: &str) {
    if let Err(closed) = writeln!(io::stderr(), "{line}") {
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_root_holds_the_lock_file() {
        assert!(workspace_root().join("Cargo.lock").is_file());
    }

    #[test]
    fn every_fuzz_target_has_inputs() {
        let targets = files(&workspace_root().join("fuzz/fuzz_targets")).unwrap();
        assert!(targets.len() > 10, "only {} targets", targets.len());
        for target in targets {
            let target = target.file_stem().unwrap().to_str().unwrap();
            assert!(fuzz_inputs(target).iter().all(|input| input.len() < 4096), "{target}");
        }
    }

    #[test]
    #[should_panic(expected = "fuzz/corpus/none")]
    fn a_target_without_inputs_fails_its_test() {
        drop(fuzz_inputs("none"));
    }

    #[test]
    fn notes_are_no_instances() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("mix")).unwrap();
        for name in ["MANIFEST.tsv", "README.md", "mix/one", "a.dcm"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let found = files(folder.path()).unwrap();
        assert_eq!(found, [folder.path().join("a.dcm"), folder.path().join("mix/one")]);
    }
}
