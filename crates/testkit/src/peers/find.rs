//! Where a peer is, and what happens when it is nowhere.

use std::env;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::process::run;

/// Names the Python that has pynetdicom.
const PYTHON_VARIABLE: &str = "PACKHORSE_PYTHON";
/// `1`: a missing peer fails its test.
const REQUIRE_VARIABLE: &str = "REQUIRE_PEERS";
/// Where `.ci/run` puts its virtual environment, below its cache folder.
const CACHED_PYTHON: &str = "venv/bin/python";
/// Where Debian puts ODIL's wrappers.
const ODIL_MODULE: &str = "/usr/lib/python3/dist-packages/odil";
/// Importing pynetdicom takes a second, ten on a busy machine.
const IMPORT_WITHIN: Duration = Duration::from_secs(60);

/// A program that tests talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A Python with pynetdicom, for the byte-exact pair.
    Pynetdicom,
    /// DCMTK's sender.
    Storescu,
    /// DCMTK's other sender.
    Dcmsend,
    /// DCMTK's C-ECHO.
    Echoscu,
    /// DCMTK's receiver.
    Storescp,
    /// Orthanc.
    Orthanc,
    /// Not a peer: a Python with sslyze, which scans a TLS port.
    Sslyze,
    /// The sender of dicom-rs.
    DicomRsStorescu,
    /// The receiver of dicom-rs.
    DicomRsStorescp,
    /// A Python with the wrappers of ODIL.
    Odil,
    /// A Node.js beside which `.ci/run` put dcmjs-dimse.
    Dcmjs,
    /// The Central Test Node's programs.
    Ctn,
    /// Not a peer: shows what a process asks of the system.
    Strace,
    /// Not a peer: reads what went over the wire.
    Tshark,
}

impl Peer {
    /// What to install on Debian, or by pip.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Pynetdicom => "pip: pynetdicom",
            Self::Storescu | Self::Dcmsend | Self::Echoscu | Self::Storescp => "Debian: dcmtk",
            Self::Orthanc => "Debian: orthanc",
            Self::Sslyze => "pip: sslyze",
            Self::DicomRsStorescu => "cargo: dicom-storescu",
            Self::DicomRsStorescp => "cargo: dicom-storescp",
            Self::Odil => "Debian: python3-odil",
            Self::Dcmjs => "Debian: nodejs, npm: dcmjs-dimse",
            Self::Ctn => "Debian: ctn",
            Self::Strace => "Debian: strace",
            Self::Tshark => "Debian: tshark",
        }
    }

    /// Where the program may be. DCMTK's by full path: pip puts programs of the same names ahead of them on `PATH`.
    const fn places(self) -> &'static [&'static str] {
        match self {
            Self::Pynetdicom
            | Self::Sslyze
            | Self::DicomRsStorescu
            | Self::DicomRsStorescp
            | Self::Odil
            | Self::Dcmjs => &[],
            Self::Storescu => &["/usr/bin/storescu"],
            Self::Dcmsend => &["/usr/bin/dcmsend"],
            Self::Echoscu => &["/usr/bin/echoscu"],
            Self::Storescp => &["/usr/bin/storescp"],
            Self::Orthanc => &["/usr/sbin/Orthanc", "/usr/bin/Orthanc"],
            Self::Ctn => &["/usr/bin/simple_storage"],
            Self::Strace => &["/usr/bin/strace"],
            Self::Tshark => &["/usr/bin/tshark"],
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pynetdicom => "pynetdicom",
            Self::Storescu => "storescu",
            Self::Dcmsend => "dcmsend",
            Self::Echoscu => "echoscu",
            Self::Storescp => "storescp",
            Self::Orthanc => "Orthanc",
            Self::Sslyze => "sslyze",
            Self::DicomRsStorescu => "dicom-storescu",
            Self::DicomRsStorescp => "dicom-storescp",
            Self::Odil => "ODIL",
            Self::Dcmjs => "dcmjs-dimse",
            Self::Ctn => "CTN",
            Self::Strace => "strace",
            Self::Tshark => "tshark",
        })
    }
}

/// The peer's program; `None` when it is not installed. pynetdicom's is the Python of `PACKHORSE_PYTHON`, else `python3`,
/// else the one of `.ci/run`, whichever can import it.
#[must_use]
pub fn find(peer: Peer) -> Option<PathBuf> {
    if peer == Peer::Pynetdicom {
        static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
        return FOUND.get_or_init(|| find_python("pydicom, pynetdicom")).clone();
    }
    if peer == Peer::Sslyze {
        return find_python("sslyze");
    }
    match peer {
        Peer::DicomRsStorescu | Peer::DicomRsStorescp => cached(&format!("dicom-rs/bin/{peer}")),
        Peer::Odil => beside("/usr/bin/python3", Path::new(ODIL_MODULE).is_dir()),
        Peer::Dcmjs => beside("/usr/bin/node", node_modules().is_some_and(|folder| folder.is_dir())).or_else(|| {
            beside(
                "/usr/local/bin/node",
                node_modules().is_some_and(|folder| folder.is_dir()),
            )
        }),
        _ => peer.places().iter().map(PathBuf::from).find(|place| place.is_file()),
    }
}

/// Where `.ci/run` puts the packages of npm; they are found through `NODE_PATH`.
pub(super) fn node_modules() -> Option<PathBuf> {
    Some(cache()?.join("npm/node_modules"))
}

/// A program that was put into our cache.
fn cached(path: &str) -> Option<PathBuf> {
    cache().map(|cache| cache.join(path)).filter(|place| place.is_file())
}

/// The interpreter of what is there.
fn beside(interpreter: &str, is_there: bool) -> Option<PathBuf> {
    Some(PathBuf::from(interpreter)).filter(|place| is_there && place.is_file())
}

/// The folder of `.ci/run` below the user's cache folder.
fn cache() -> Option<PathBuf> {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .map(|folder| folder.join("packhorse"))
}

/// The peer's program; `None` when it is not installed: then it says on standard error that the running test is skipped,
/// and why.
///
/// # Panics
/// When it is not installed and `REQUIRE_PEERS=1`.
#[must_use]
pub fn require(peer: Peer) -> Option<PathBuf> {
    let found = find(peer);
    if found.is_none() {
        let missing = format!("{peer} is not installed ({})", peer.package());
        let required = env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "1");
        assert!(!required, "{missing}, and {REQUIRE_VARIABLE}=1");
        let this = thread::current();
        say(&format!("{}: skipped, {missing}", this.name().unwrap_or("a test")));
    }
    found
}

fn find_python(modules: &str) -> Option<PathBuf> {
    if let Some(named) = env::var_os(PYTHON_VARIABLE) {
        // A Python that was named and cannot is not silently another one.
        return Some(PathBuf::from(named)).filter(|python| imports(python, modules));
    }
    let candidates = [
        Some(PathBuf::from("python3")),
        cache().map(|cache| cache.join(CACHED_PYTHON)),
    ];
    candidates.into_iter().flatten().find(|python| imports(python, modules))
}

fn imports(python: &Path, modules: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", &format!("import {modules}")]);
    run(&mut command, IMPORT_WITHIN).is_ok_and(|finished| finished.status.success())
}

/// Straight to standard error: the test harness hides what a passing test prints.
fn say(line: &str) {
    if let Err(closed) = writeln!(io::stderr(), "{line}") {
        drop(closed);
    }
}
