//! What the process asks of the system before it does anything else.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Called first in `main`: files and folders made from now on are their owner's alone (umask 077), whatever makes them:
/// spool and registry hold patients' data and secrets.
pub fn start() {
    umask(Mode::from_raw_mode(0o077));
}

/// Raises the limit of open files to what the system lets us have, and logs it: associations, links and slabs need one
/// each, and the usual soft limit of 1,024 is for programs that use `select`.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let words = |files: Option<u64>| files.map_or_else(|| "unlimited".to_owned(), |files| files.to_string());
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::info!(
            from = words(limit.current),
            to = words(limit.maximum),
            "limit of open files"
        ),
        Err(error) => tracing::warn!(stays = words(limit.current), %error, "the limit of open files is not raised"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_made_after_the_start_is_its_owners_alone() {
        start();
        let folder = tempfile::tempdir().unwrap();
        let (file, below) = (folder.path().join("file"), folder.path().join("below"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&below).unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&below)), (0o600, 0o700));
    }

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit {
            current: Some(256),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, low).unwrap();
        raise_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
