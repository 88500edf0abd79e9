//! The admin door: a Unix socket in the daemon's folder, mode 0600. One request a connection: a JSON line, an optional
//! upload in chunks, a JSON line back.
//!
//! ```text
//! > {"command":"status","args":{}}
//! < {"ok":{…}}            or  {"error":{"code":"not-found","message":"…"}}
//! ```
//! An upload follows the request line as chunks, each behind its length (u32, big-endian); a chunk of length 0 ends it.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Name of the socket in the daemon's folder.
pub const SOCKET_NAME: &str = "admin.sock";
/// Bytes of a request line.
const LINE_LEN_MAX: u64 = 64 * 1024;
/// Bytes of one chunk of an upload.
pub const CHUNK_LEN_MAX: u32 = 256 * 1024;
/// Connections at a time; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// How long a request line may take.
const LINE_WAIT: Duration = Duration::from_secs(10);

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// For programs: `unknown-command`, `bad-request`, `not-found`, `unconfirmed`, `failed`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl AdminError {
    /// An error with its code and sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// Something went wrong inside.
    #[must_use]
    pub fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new("failed", crate::exit::chain(error))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    command: String,
    #[serde(default)]
    args: Value,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Value),
    Error(AdminError),
}

/// What follows a request line.
#[derive(Debug)]
pub struct Upload(BufReader<OwnedReadHalf>);

impl Upload {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When the client went away, or sent a chunk above [`CHUNK_LEN_MAX`].
    pub async fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = self.0.read_u32().await?;
        if length == 0 {
            return Ok(None);
        }
        if length > CHUNK_LEN_MAX {
            return Err(io::Error::other("a chunk of an upload is too long"));
        }
        let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
        self.0.read_exact(&mut chunk).await?;
        Ok(Some(chunk))
    }
}

/// Who asks, by the kernel's word (`SO_PEERCRED`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    uid: u32,
}

impl Caller {
    /// The user of this process, for a command that does its work itself.
    #[must_use]
    pub fn own() -> Self {
        Self {
            uid: rustix::process::getuid().as_raw(),
        }
    }

    /// The user's name in `/etc/passwd`, 64 printable characters at most, or `uid 1000`.
    #[must_use]
    pub fn name(&self) -> String {
        let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        name_of(self.uid, &known).unwrap_or_else(|| format!("uid {}", self.uid))
    }
}

/// The name of a user in a file like `/etc/passwd`.
fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    };
    let name = passwd.lines().find_map(user)?;
    let is_printable = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_printable.then_some(name)
}

/// Does what is asked.
#[async_trait]
pub trait AdminHandler: Send + Sync + 'static {
    /// Does `command`; `upload` is what follows the request, if anything does.
    async fn handle(&self, command: &str, args: Value, upload: &mut Upload) -> Result<Value, AdminError>;

    /// As [`handle`](Self::handle), for commands of which it is written down who gave them. By default no different.
    async fn handle_from(
        &self,
        _caller: &Caller,
        command: &str,
        args: Value,
        upload: &mut Upload,
    ) -> Result<Value, AdminError> {
        self.handle(command, args, upload).await
    }
}

/// Opens the door in `folder`. The caller holds the folder's lock, so a socket that is there is nobody's.
///
/// # Errors
/// When the socket cannot be made.
pub fn bind(folder: &Path) -> io::Result<UnixListener> {
    let path = folder.join(SOCKET_NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the door until `stop`.
pub async fn serve(listener: UnixListener, handler: Arc<dyn AdminHandler>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (Ok((stream, _)), Ok(place)) = (accepted, Arc::clone(&places).acquire_owned().await) else {
            continue;
        };
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &*handler).await {
                tracing::debug!(%error, "an admin request was not finished");
            }
            drop(place);
        });
    }
}

async fn answer(stream: UnixStream, handler: &dyn AdminHandler) -> io::Result<()> {
    let ours = rustix::process::getuid().as_raw();
    let theirs = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let line = tokio::time::timeout(LINE_WAIT, read_line(&mut reader)).await??;
    let answer = if theirs != ours && theirs != 0 {
        Err(AdminError::new(
            "forbidden",
            "the admin door is for the daemon's own user and for root",
        ))
    } else {
        match serde_json::from_slice::<Request>(&line) {
            Ok(Request { command, args }) => {
                let caller = Caller { uid: theirs };
                handler.handle_from(&caller, &command, args, &mut Upload(reader)).await
            }
            Err(error) => Err(AdminError::new("bad-request", error.to_string())),
        }
    };
    let answer = answer.map_or_else(Answer::Error, Answer::Ok);
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await
}

async fn read_line(reader: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(LINE_LEN_MAX).read_until(b'\n', &mut line).await?;
    Ok(line)
}

/// A request could not be asked, or was not done.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No daemon runs on the folder.
    #[error("no daemon runs on {}", _0.display())]
    NoDaemon(PathBuf),
    /// The socket failed.
    #[error("the daemon does not answer")]
    Io(#[source] io::Error),
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] AdminError),
}

/// A request to a running daemon.
#[derive(Debug)]
pub struct Ask {
    stream: BufReader<UnixStream>,
}

impl Ask {
    /// Asks the daemon that runs on `folder`.
    ///
    /// # Errors
    /// [`AskError::NoDaemon`], [`AskError::Io`].
    pub async fn begin(folder: &Path, command: &str, args: Value) -> Result<Self, AskError> {
        let mut stream = UnixStream::connect(folder.join(SOCKET_NAME))
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NoDaemon(folder.into()),
                _ => AskError::Io(error),
            })?;
        let request = Request {
            command: command.to_owned(),
            args,
        };
        let mut line = serde_json::to_vec(&request).map_err(|error| AskError::Io(error.into()))?;
        line.push(b'\n');
        stream.write_all(&line).await.map_err(AskError::Io)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a chunk of an upload, at most [`CHUNK_LEN_MAX`] bytes; an empty one ends it.
    ///
    /// # Errors
    /// [`AskError::Io`].
    pub async fn upload(&mut self, chunk: &[u8]) -> Result<(), AskError> {
        let length = u32::try_from(chunk.len()).map_err(|error| AskError::Io(io::Error::other(error)))?;
        let stream = self.stream.get_mut();
        stream.write_u32(length).await.map_err(AskError::Io)?;
        stream.write_all(chunk).await.map_err(AskError::Io)
    }

    /// The answer.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn answer(mut self) -> Result<Value, AskError> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.map_err(AskError::Io)?;
        match serde_json::from_slice(&line).map_err(|error| AskError::Io(error.into()))? {
            Answer::Ok(value) => Ok(value),
            Answer::Error(error) => Err(error.into()),
        }
    }
}

/// Asks the daemon that runs on `folder` and waits for its answer.
///
/// # Errors
/// [`AskError`].
pub async fn ask(folder: &Path, command: &str, args: Value) -> Result<Value, AskError> {
    Ask::begin(folder, command, args).await?.answer().await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Echo;

    #[async_trait]
    impl AdminHandler for Echo {
        async fn handle(&self, command: &str, args: Value, upload: &mut Upload) -> Result<Value, AdminError> {
            let mut bytes = 0;
            while command == "send"
                && let Some(chunk) = upload.next_chunk().await.map_err(|error| AdminError::failed(&error))?
            {
                bytes += chunk.len();
            }
            match command {
                "send" | "echo" => Ok(json!({ "args": args, "bytes": bytes })),
                other => Err(AdminError::new("unknown-command", other)),
            }
        }

        async fn handle_from(
            &self,
            caller: &Caller,
            command: &str,
            args: Value,
            upload: &mut Upload,
        ) -> Result<Value, AdminError> {
            match command {
                "who" => Ok(json!(caller.name())),
                other => self.handle(other, args, upload).await,
            }
        }
    }

    #[test]
    fn a_caller_has_its_name_and_no_other_text() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n\u{1b}[1m:x:7:7:::\nbroken\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(1000, passwd).as_deref(), Some("anna"));
        assert_eq!((name_of(7, passwd), name_of(1, passwd)), (None, None));
        assert!(!Caller::own().name().is_empty());
    }

    #[tokio::test]
    async fn a_request_an_upload_and_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            ask(folder.path(), "echo", Value::Null).await,
            Err(AskError::NoDaemon(_))
        ));
        let stop = CancellationToken::new();
        tokio::spawn(serve(bind(folder.path()).unwrap(), Arc::new(Echo), stop.clone()));
        assert_eq!(
            ask(folder.path(), "echo", json!(1)).await.unwrap(),
            json!({ "args": 1, "bytes": 0 })
        );
        let who = ask(folder.path(), "who", Value::Null).await.unwrap();
        assert_eq!(who, json!(Caller::own().name()), "by the kernel's word");
        let mut sending = Ask::begin(folder.path(), "send", Value::Null).await.unwrap();
        for chunk in [&[7; 1000][..], &[8; 5], &[]] {
            sending.upload(chunk).await.unwrap();
        }
        assert_eq!(sending.answer().await.unwrap()["bytes"], 1005);
        let Err(AskError::Refused(error)) = ask(folder.path(), "nope", Value::Null).await else {
            panic!()
        };
        assert_eq!(error.code, "unknown-command");
        stop.cancel();
    }
}
