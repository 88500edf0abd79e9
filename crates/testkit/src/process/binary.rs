//! Where cargo put a program of this workspace.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{ProcessError, run};

/// Building one program whose libraries are built: the tests needed them too.
const BUILD_WITHIN: Duration = Duration::from_secs(900);

/// The program of this workspace that is named so, of the same profile as the running test; built when it is missing or
/// older than its sources, for a test's own cargo builds only the programs of its own package.
///
/// # Errors
/// When it does not build, with cargo's words.
pub fn binary(name: &str) -> Result<PathBuf, ProcessError> {
    static ONE_BUILD_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_BUILD_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let profile = profile_folder().map_err(|source| failed(name, source))?;
    let program = profile.join(name);
    if !is_current(&program) {
        build(name, &profile)?;
    }
    Ok(program)
}

/// `target/debug` for `target/debug/deps/some_test-0123`.
fn profile_folder() -> std::io::Result<PathBuf> {
    let this = env::current_exe()?;
    let folder = this.parent().unwrap_or(&this);
    let below = ["deps", "examples"].iter().any(|name| folder.ends_with(name));
    let profile = if below {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(profile.to_path_buf())
}

fn build(name: &str, profile: &Path) -> Result<(), ProcessError> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", name, "--target-dir"]);
    cargo.arg(profile.parent().unwrap_or(profile));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = run(&mut cargo, BUILD_WITHIN)?;
    if built.status.success() {
        return Ok(());
    }
    Err(ProcessError::Ended {
        program: format!("cargo build --package {name}"),
        what: "the program".to_owned(),
        status: built.status,
        said: built.said(),
    })
}

/// Whether the program is there and no source that cargo noted beside it (`program.d`) is newer.
fn is_current(program: &Path) -> bool {
    let Some(built) = changed(program) else { return false };
    let Ok(noted) = fs::read_to_string(program.with_extension("d")) else {
        return false;
    };
    let sources = noted.split_once(": ").map_or("", |(_, sources)| sources);
    sources
        .split_whitespace()
        .all(|source| changed(Path::new(source)).is_some_and(|changed| changed <= built))
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn failed(name: &str, source: std::io::Error) -> ProcessError {
    ProcessError::Run {
        program: name.to_owned(),
        source,
    }
}
