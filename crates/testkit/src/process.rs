//! Child processes under a test: killed when dropped, their output kept, every wait with an end.
//!
//! All of it blocks the calling thread; a test that runs a gateway on the same tokio thread uses `spawn_blocking`.

mod binary;
mod lines;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use binary::binary;
use lines::Lines;

/// How long a daemon or peer of ours may take to say that it is ready, on a busy machine.
pub const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time between two looks at something another process does and cannot tell us: a file, a port, an exit.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What can go wrong with a child process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started, signalled or waited for.
    #[error("cannot run {program}")]
    Run {
        /// Program as it was named.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was waited for did not come.
    #[error("{program} did not {what} within {within:?}; it said:\n{said}")]
    TooLate {
        /// Program as it was named.
        program: String,
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// All it printed.
        said: String,
    },
    /// It ended instead.
    #[error("{program} ended with {status} instead of going on to {what}; it said:\n{said}")]
    Ended {
        /// Program as it was named.
        program: String,
        /// What was waited for.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// All it printed.
        said: String,
    },
    /// What stands behind `ready` is no JSON.
    #[error("{program} said ready without a JSON object: {line}")]
    NotReady {
        /// Program as it was named.
        program: String,
        /// The line.
        line: String,
    },
}

/// A child process with its output collected; killed and waited for when dropped.
#[derive(Debug)]
pub struct Process {
    program: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts the command with no input, its output collected (the last 20,000 lines of each stream).
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ProcessError::Run {
                program: program.clone(),
                source,
            })?;
        let stdout = Lines::collect(child.stdout.take());
        let stderr = Lines::collect(child.stderr.take());
        Ok(Self {
            program,
            child,
            stdout,
            stderr,
        })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lines printed on standard output until now.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// Lines printed on standard error until now.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for a line on standard output that begins so, also one that came already; the line.
    ///
    /// # Errors
    /// [`ProcessError::TooLate`], or [`ProcessError::Ended`] when the output ended without it.
    pub fn stdout_line(&mut self, beginning: &str, within: Duration) -> Result<String, ProcessError> {
        let what = format!("print a line that begins \"{beginning}\"");
        if let Some(line) = self.stdout.wait_for(|line| line.starts_with(beginning), within) {
            return Ok(line);
        }
        Err(self.failed(&what, within))
    }

    /// Waits for a line on standard error that contains this, also one that came already; the line.
    ///
    /// # Errors
    /// As for [`Self::stdout_line`].
    pub fn stderr_line(&mut self, containing: &str, within: Duration) -> Result<String, ProcessError> {
        let what = format!("log \"{containing}\"");
        if let Some(line) = self.stderr.wait_for(|line| line.contains(containing), within) {
            return Ok(line);
        }
        Err(self.failed(&what, within))
    }

    /// Waits until something listens on the port of 127.0.0.1.
    ///
    /// # Errors
    /// [`ProcessError::TooLate`], or [`ProcessError::Ended`] when the process ended first (a taken port).
    pub fn listens(&mut self, port: u16, within: Duration) -> Result<(), ProcessError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connected = poll(within, || {
            if !self.is_running() {
                return Some(false);
            }
            TcpStream::connect_timeout(&address, LOOK_EVERY * 10)
                .is_ok()
                .then_some(true)
        });
        // Somebody else may hold the port: then ours has ended, or is about to.
        if connected == Some(true) && self.is_running() {
            return Ok(());
        }
        Err(self.failed(&format!("listen on port {port}"), within))
    }

    /// Waits for its end, and for the end of its output.
    ///
    /// # Errors
    /// [`ProcessError::TooLate`]; it runs on then.
    pub fn ended(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        let status = poll(within, || self.child.try_wait().ok().flatten());
        let status = status.ok_or_else(|| self.failed("end", within))?;
        self.stdout.wait_for_end(LAST_WORDS_WITHIN);
        self.stderr.wait_for_end(LAST_WORDS_WITHIN);
        Ok(status)
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it cannot be signalled, or does not end in time; it runs on then.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        if self.is_running() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|errno| ProcessError::Run {
                program: self.program.clone(),
                source: errno.into(),
            })?;
        }
        self.ended(within)
    }

    /// SIGKILL, and its end. One that has ended stays so.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map_err(|source| ProcessError::Run {
                program: self.program.clone(),
                source,
            })
    }

    fn failed(&mut self, what: &str, within: Duration) -> ProcessError {
        let (program, what) = (self.program.clone(), what.to_owned());
        // One that closed its output is about to end.
        let ended = poll(LOOK_EVERY * 10, || self.child.try_wait().ok().flatten());
        if ended.is_some() {
            self.stdout.wait_for_end(LAST_WORDS_WITHIN);
            self.stderr.wait_for_end(LAST_WORDS_WITHIN);
        }
        let said = [self.stdout(), self.stderr()].concat().join("\n");
        match ended {
            Some(status) => ProcessError::Ended {
                program,
                what,
                status,
                said,
            },
            None => ProcessError::TooLate {
                program,
                what,
                within,
                said,
            },
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(gone) = self.kill() {
            drop(gone);
        }
    }
}

/// A daemon of ours that said it is ready.
#[derive(Debug)]
pub struct Daemon {
    /// The process.
    pub process: Process,
    /// The object behind `ready`: every bound address.
    pub ready: serde_json::Value,
}

impl Daemon {
    /// The first address under this key of the ready line: `"quic":"ip:port"` or `"dicom":["ip:port"]`.
    #[must_use]
    pub fn address(&self, key: &str) -> Option<SocketAddr> {
        let value = self.ready.get(key)?;
        let first = value.get(0).unwrap_or(value);
        first.as_str()?.parse().ok()
    }
}

/// Starts one of our daemons and waits for its `ready {json}` line, at most [`READY_WITHIN`].
///
/// # Errors
/// When it cannot be started, ends, or is not ready in time; with all it printed.
pub fn spawn_ready(command: &mut Command) -> Result<Daemon, ProcessError> {
    let mut process = Process::spawn(command)?;
    let line = process.stdout_line("ready ", READY_WITHIN)?;
    let object = line.strip_prefix("ready ").unwrap_or_default();
    match serde_json::from_str::<serde_json::Value>(object) {
        Ok(ready) if ready.is_object() => Ok(Daemon { process, ready }),
        _ => Err(ProcessError::NotReady {
            program: process.program.clone(),
            line,
        }),
    }
}

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Lines of its standard output.
    pub stdout: Vec<String>,
    /// Lines of its standard error.
    pub stderr: Vec<String>,
}

impl Finished {
    /// Both streams, one after the other.
    #[must_use]
    pub fn said(&self) -> String {
        [self.stdout.clone(), self.stderr.clone()].concat().join("\n")
    }
}

/// Runs the command to its end.
///
/// # Errors
/// When it cannot be started, or does not end in time (it is killed then).
pub fn run(command: &mut Command, within: Duration) -> Result<Finished, ProcessError> {
    let mut process = Process::spawn(command)?;
    let status = process.ended(within)?;
    Ok(Finished {
        status,
        stdout: process.stdout(),
        stderr: process.stderr(),
    })
}

/// Asks again and again until there is an answer; `None` when the time is over. For what other processes do and nobody
/// announces. It looks at once, every 10 ms, and a last time when the time is over.
pub fn poll<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now() + within;
    loop {
        let last = now() >= end;
        if let Some(found) = look() {
            return Some(found);
        }
        if last {
            return None;
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// A port of 127.0.0.1 that was free a moment ago. Somebody may take it first: who starts a listener tries again.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Real time: other processes do not follow a test's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "deadlines for other processes, which live in real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// A process's output ends with it, unless a child of its own holds the pipe.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
