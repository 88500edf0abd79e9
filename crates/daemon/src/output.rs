//! The one place that prints. A closed pipe (`| head`) is no error.

use std::io::{self, Write as _};

/// Prints a line on standard output.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _closed = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
}

/// Prints a line on standard error.
pub fn error_line(text: &str) {
    let _closed = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
