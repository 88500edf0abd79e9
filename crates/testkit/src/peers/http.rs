//! As much of HTTP/1.1 as Orthanc's REST interface on loopback needs: one request, one answer, no chunks.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest answer that is taken, in bytes.
const ANSWER_LEN_MAX: u64 = 1 << 30;
/// Longest silence within an exchange: Orthanc answers `/store` only when all is sent.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// What can go wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection.
    #[error("{method} {path} failed")]
    Io {
        /// Its method.
        method: &'static str,
        /// Its path.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another answer than 200.
    #[error("{method} {path} was answered {status}: {body}")]
    Status {
        /// Its method.
        method: &'static str,
        /// Its path.
        path: String,
        /// The answer's code; 0 when it was no HTTP.
        status: u16,
        /// The answer's body, as text.
        body: String,
    },
}

/// Sends a request to 127.0.0.1 and returns the body of its answer.
pub(super) fn request(port: u16, method: &'static str, path: &str, body: &[u8]) -> Result<Vec<u8>, HttpError> {
    let answer = exchange(port, method, path, body).map_err(|source| HttpError::Io {
        method,
        path: path.to_owned(),
        source,
    })?;
    let (status, body) = read(&answer).unwrap_or((0, &answer));
    if status == 200 {
        return Ok(body.to_vec());
    }
    Err(HttpError::Status {
        method,
        path: path.to_owned(),
        status,
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

fn exchange(port: u16, method: &str, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LEN_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body of an answer; `None` when it is none, or shorter than it says.
pub(super) fn read(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end_of_head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end_of_head + 4);
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    match length {
        Some(length) => Some((status, body.get(..length.parse().ok()?)?)),
        None => Some((status, body)),
    }
}
