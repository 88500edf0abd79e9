//! The log that `xscp.py` writes: what the target received, in its own words.

use super::PeerError;

/// One C-STORE as the target received it.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Counts from 1 at each start of the target.
    pub number: u32,
    /// When it came, in seconds since 1970.
    pub time: f64,
    /// Calling AE title of the association.
    pub calling_ae_title: String,
    /// Called AE title of the association.
    pub called_ae_title: String,
    /// Affected SOP Class UID of the command.
    pub sop_class_uid: String,
    /// Affected SOP Instance UID of the command.
    pub sop_instance_uid: String,
    /// Transfer syntax of the presentation context.
    pub transfer_syntax: String,
    /// Of the data set's bytes, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The status it answered, four hexadecimal digits; `abort` when it aborted instead.
    pub status: String,
}

/// Reads the whole lines of a log; the last one, when it is still being written, is left out.
pub(super) fn read(log: &str) -> Result<Vec<LogLine>, PeerError> {
    let whole = log.rsplit_once('\n').map_or("", |(whole, _unfinished)| whole);
    whole.lines().map(line).collect()
}

fn line(text: &str) -> Result<LogLine, PeerError> {
    parse(text).ok_or_else(|| PeerError::Log(text.to_owned()))
}

fn parse(text: &str) -> Option<LogLine> {
    let columns: Vec<&str> = text.split('\t').collect();
    let [number, time, calling, called, class, instance, syntax, sha256, status] = columns[..] else {
        return None;
    };
    Some(LogLine {
        number: number.parse().ok()?,
        time: time.parse().ok()?,
        calling_ae_title: calling.trim().to_owned(),
        called_ae_title: called.trim().to_owned(),
        sop_class_uid: class.to_owned(),
        sop_instance_uid: instance.to_owned(),
        transfer_syntax: syntax.to_owned(),
        sha256: sha256.to_owned(),
        status: status.to_owned(),
    })
}
