//! A program that gets JSON on its standard input. Exit code 0 is told. No shell is asked, and nothing of a notice stands
//! in its command line.

use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::told::Telling;

/// Bytes of standard error that are read; what comes behind them goes nowhere.
const SAID_MAX: u64 = 4096;
/// How long standard error is read once the program has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// # Cancel safety
/// Dropped while it waits, the program is killed.
pub(super) async fn tell(program: &Path, arguments: &[String], telling: &Telling) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            let mut bytes = telling.to_bytes();
            bytes.push(b'\n');
            // A program that does not read is not therefore one that failed.
            drop(stdin.write_all(&bytes).await);
        }
    };
    let mut said = Vec::new();
    let listen = async {
        if let Some(stderr) = stderr {
            listen(stderr, &mut said).await;
        }
    };
    // What it started may hold its standard error open, or its standard input without reading: its own end counts.
    let ended = {
        let mut talk = pin!(async { tokio::join!(write, listen) });
        let mut is_over = false;
        let ended = loop {
            tokio::select! {
                ended = child.wait() => break ended,
                _ = &mut talk, if !is_over => is_over = true,
            }
        };
        if !is_over {
            drop(tokio::time::timeout(LAST_WORDS, talk).await);
        }
        ended.map_err(|error| error.to_string())?
    };
    let said = String::from_utf8_lossy(&said);
    if ended.success() {
        return Ok("exit code 0".to_owned());
    }
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let last = if last.is_empty() {
        String::new()
    } else {
        format!(": {last}")
    };
    Err(match ended.code() {
        Some(code) => format!("exit code {code}{last}"),
        None => format!("{ended}{last}"),
    })
}

async fn listen(mut stderr: impl AsyncRead + Unpin, said: &mut Vec<u8>) {
    drop((&mut stderr).take(SAID_MAX).read_to_end(said).await);
    drop(tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await);
}
