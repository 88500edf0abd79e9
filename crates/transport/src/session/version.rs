//! Which version two sides speak, and what to say when there is none.

use crate::frame::Versions;

/// The newest version that both speak.
pub(super) fn common(ours: Versions, theirs: Versions) -> Option<u16> {
    let newest = ours.max.min(theirs.max);
    (newest >= ours.min.max(theirs.min)).then_some(newest)
}

/// Who speaks what, and who should be updated: the same sentence on both sides.
pub(super) fn mismatch(ours: (&str, Versions), theirs: (&str, Versions)) -> String {
    let (newer, older) = if ours.1.max >= theirs.1.max {
        (ours, theirs)
    } else {
        (theirs, ours)
    };
    let (newer_speaks, older_speaks) = (words(newer.1), words(older.1));
    let (newer, older) = (newer.0, older.0);
    format!("{newer} speaks {newer_speaks}, {older} {older_speaks}: update {older}")
}

fn words(versions: Versions) -> String {
    if versions.min == versions.max {
        return versions.min.to_string();
    }
    format!("{} to {}", versions.min, versions.max)
}
