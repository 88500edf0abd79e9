//! The lines of one output stream, collected by a thread.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::now;

/// Lines kept of one stream; older ones are forgotten.
const LINES_MAX: usize = 20_000;
/// Bytes of one line; the rest of a longer one counts as the next line. A `--json` answer is one line.
const LINE_LEN_MAX: u64 = 16 << 20;

/// What one stream said until now.
#[derive(Debug)]
pub(super) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: VecDeque<String>,
    ended: bool,
}

impl Lines {
    /// Reads the stream to its end on a thread of its own; no stream is an ended one.
    pub(super) fn collect(stream: Option<impl Read + Send + 'static>) -> Self {
        let shared = Arc::new(Shared::default());
        let collecting = Arc::clone(&shared);
        thread::spawn(move || {
            if let Some(stream) = stream {
                collecting.read(stream);
            }
            collecting.lock().ended = true;
            collecting.more.notify_all();
        });
        Self { shared }
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.shared.lock().lines.iter().cloned().collect()
    }

    /// The first line that fits, also one that came already; `None` at the end of the stream or of the time.
    pub(super) fn wait_for(&self, fits: impl Fn(&str) -> bool, within: Duration) -> Option<String> {
        self.wait(within, |said| said.lines.iter().find(|line| fits(line)).cloned())
    }

    pub(super) fn wait_for_end(&self, within: Duration) {
        self.wait::<()>(within, |_| None);
    }

    fn wait<T>(&self, within: Duration, found: impl Fn(&Said) -> Option<T>) -> Option<T> {
        let end = now() + within;
        let mut said = self.shared.lock();
        loop {
            if let Some(found) = found(&said) {
                return Some(found);
            }
            let left = end.saturating_duration_since(now());
            if said.ended || left.is_zero() {
                return None;
            }
            let woken = self.shared.more.wait_timeout(said, left);
            (said, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match stream.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => self.keep(String::from_utf8_lossy(&line).trim_end().to_owned()),
            }
        }
    }

    fn keep(&self, line: String) {
        let mut said = self.lock();
        if said.lines.len() == LINES_MAX {
            said.lines.pop_front();
        }
        said.lines.push_back(line);
        drop(said);
        self.more.notify_all();
    }
}
