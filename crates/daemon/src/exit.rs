//! Exit codes (`sysexits.h`), and how an error is told to whoever ran the command.

use std::error::Error;
use std::process::ExitCode;

/// Why a command failed, for its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 1: it was done and the answer is no.
    No,
    /// 64: it was asked wrongly.
    Usage,
    /// 69: something it needs is not there: a daemon, a relay.
    Unavailable,
    /// 70: a bug of ours.
    Bug,
    /// 74: the disk.
    Disk,
    /// 78: the configuration.
    Config,
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::No => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::Disk => 74,
            Self::Config => 78,
        })
    }
}

/// An error with all its causes on one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
