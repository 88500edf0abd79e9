//! Servers that keep what they are told: as much of HTTP/1.1 and SMTP as a client that behaves needs, on loopback, one
//! thread for each connection.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::process::poll;

/// Longest line and body in bytes.
const LEN_MAX: u64 = 1 << 20;
/// Longest silence on a connection.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Request line and headers.
    pub head: Vec<String>,
    /// Body.
    pub body: Vec<u8>,
    /// What it was answered.
    pub status: u16,
}

impl HttpRequest {
    /// The value of a header, whose name is compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.head.iter().filter_map(|line| line.split_once(':'));
        let mut its = values.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        its.next().map(|(_, value)| value.trim())
    }
}

/// Shared between a server's threads and the test.
#[derive(Debug)]
struct Kept<T>(Arc<Mutex<T>>);

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Kept<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Http {
    /// Still to be answered, the next one last.
    answers: Vec<u16>,
    requests: Vec<HttpRequest>,
}

/// An HTTP server that answers as it is told. It serves until the process ends.
#[derive(Debug)]
pub struct HttpSink {
    address: SocketAddr,
    kept: Kept<Http>,
}

impl HttpSink {
    /// Answers with `answers`, one after the other, and 204 behind them.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(answers: &[u16]) -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), answers)
    }

    /// The same at an address.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start_at(address: SocketAddr, answers: &[u16]) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let kept = Kept(Arc::new(Mutex::new(Http {
            answers: answers.iter().rev().copied().collect(),
            requests: Vec::new(),
        })));
        let (address, its) = (listener.local_addr()?, kept.clone());
        serve(listener, move |stream| answer(stream, &its));
        Ok(Self { address, kept })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.kept.lock().requests.clone()
    }

    /// Waits until `is_enough`; what has come then, or `None`.
    pub fn wait_until(&self, within: Duration, is_enough: impl Fn(&[HttpRequest]) -> bool) -> Option<Vec<HttpRequest>> {
        poll(within, || Some(self.requests()).filter(|requests| is_enough(requests)))
    }
}

fn serve(listener: TcpListener, answer: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // A client that goes away is its own affair.
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
}

fn answer(stream: TcpStream, kept: &Kept<Http>) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        match line(&mut reader)? {
            Some(text) if !text.is_empty() => head.push(text),
            Some(_) => break,
            None => return Ok(()),
        }
    }
    let mut request = HttpRequest {
        head,
        body: Vec::new(),
        status: 0,
    };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    (&mut reader).take(length.unwrap_or(0)).read_to_end(&mut request.body)?;
    let status = {
        let mut kept = kept.lock();
        request.status = kept.answers.pop().unwrap_or(204);
        kept.requests.push(request.clone());
        request.status
    };
    let mut stream = stream;
    stream.write_all(format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
}

/// A line without its end; `None` when nothing more comes.
fn line(reader: &mut impl io::BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.take(LEN_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// An e-mail that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// MAIL FROM.
    pub from: String,
    /// RCPT TO, each.
    pub to: Vec<String>,
    /// Headers and body, dots unstuffed, lines ended by a line feed.
    pub text: String,
    /// The AUTH command, as it came; `None`: there was none.
    pub auth: Option<String>,
}

/// An SMTP server (RFC 5321) that takes every e-mail but the first few.
#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    kept: Kept<Vec<Mail>>,
}

/// Turns a plain connection into one with TLS.
pub type StartTls = Arc<dyn Fn(TcpStream) -> io::Result<Box<dyn Both>> + Send + Sync>;

/// Something to read from and write to.
pub trait Both: Read + Write {}

impl<T: Read + Write> Both for T {}

impl SmtpSink {
    /// Answers the first `refused` messages with 451. With `starttls` it offers STARTTLS, and AUTH PLAIN behind it.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(refused: usize, starttls: Option<StartTls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, kept) = (listener.local_addr()?, Kept(Arc::new(Mutex::new(Vec::new()))));
        let (its, refused) = (kept.clone(), Kept(Arc::new(Mutex::new(refused))));
        serve(listener, move |stream| {
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            let mut conversation = Smtp::new(its.clone(), refused.clone(), starttls.is_some());
            let mut plain = BufReader::new(stream.try_clone()?);
            plain.get_mut().write_all(b"220 sink\r\n")?;
            if conversation.hold(&mut plain)?
                && let Some(starttls) = &starttls
            {
                conversation.offers_tls = false;
                conversation.hold(&mut BufReader::new(starttls(stream)?))?;
            }
            Ok(())
        });
        Ok(Self { address, kept })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was taken.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.kept.lock().clone()
    }
}

struct Smtp {
    kept: Kept<Vec<Mail>>,
    refused: Kept<usize>,
    offers_tls: bool,
    mail: Mail,
}

impl Smtp {
    fn new(kept: Kept<Vec<Mail>>, refused: Kept<usize>, offers_tls: bool) -> Self {
        let mail = Mail {
            from: String::new(),
            to: Vec::new(),
            text: String::new(),
            auth: None,
        };
        Self {
            kept,
            refused,
            offers_tls,
            mail,
        }
    }

    /// Talks until the end. Whether TLS is to begin.
    fn hold<S: Read + Write>(&mut self, stream: &mut BufReader<S>) -> io::Result<bool> {
        while let Some(command) = line(stream)? {
            let word = command
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            let argument = command.split_once(':').map_or("", |(_, argument)| argument).to_owned();
            let answer = match word.as_str() {
                "EHLO" if self.offers_tls => "250-sink\r\n250 STARTTLS",
                "EHLO" => "250-sink\r\n250 AUTH PLAIN",
                "STARTTLS" if self.offers_tls => {
                    stream.get_mut().write_all(b"220 go\r\n")?;
                    return Ok(true);
                }
                "AUTH" => {
                    self.mail.auth = Some(command.clone());
                    "235 ok"
                }
                "MAIL" => {
                    self.mail.from = argument;
                    self.mail.to.clear();
                    "250 ok"
                }
                "RCPT" => {
                    self.mail.to.push(argument);
                    "250 ok"
                }
                "DATA" => {
                    stream.get_mut().write_all(b"354 go\r\n")?;
                    self.data(stream)?
                }
                "QUIT" => "221 bye",
                "RSET" | "NOOP" | "HELO" => "250 ok",
                _ => "502 no",
            };
            stream.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
            stream.get_mut().flush()?;
            if word == "QUIT" {
                break;
            }
        }
        Ok(false)
    }

    fn data<S: Read + Write>(&mut self, stream: &mut BufReader<S>) -> io::Result<&'static str> {
        self.mail.text.clear();
        while let Some(text) = line(stream)? {
            if text == "." {
                break;
            }
            self.mail.text.push_str(text.strip_prefix('.').unwrap_or(&text));
            self.mail.text.push('\n');
        }
        let mut refused = self.refused.lock();
        if *refused > 0 {
            *refused -= 1;
            return Ok("451 later");
        }
        self.kept.lock().push(self.mail.clone());
        Ok("250 taken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_sink_answers_as_it_is_told_and_keeps_what_came() {
        let sink = HttpSink::start(&[500]).unwrap();
        for expected in ["HTTP/1.1 500", "HTTP/1.1 204"] {
            let mut stream = TcpStream::connect(sink.address()).unwrap();
            stream
                .write_all(b"POST /x HTTP/1.1\r\nContent-Length: 2\r\nA-B: c\r\n\r\nhi")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(expected), "{answer}");
        }
        let requests = sink.requests();
        assert_eq!((requests.len(), requests[1].body.as_slice()), (2, b"hi".as_slice()));
        assert_eq!(requests[0].header("a-b"), Some("c"));
    }
}
