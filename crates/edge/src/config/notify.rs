//! `[[notify]]`, `[notices]` and `[late]`: who is told what, how often, and when something is late.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::Mailbox;
use packhorse_daemon::{ByteSize, Span};
use packhorse_ids::Priority;
use packhorse_policy::config::RawRoute;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::problems::Problems;
use crate::notices::NoticeKind;

/// Longest name of a channel: it is part of a queue's name.
const NAME_LEN_MAX: usize = 32;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawNotify {
    name: String,
    kinds: Option<Vec<String>>,
    webhook: Option<String>,
    authorization_file: Option<PathBuf>,
    email: Option<RawEmail>,
    command: Option<Vec<String>>,
    trust: Option<PathBuf>,
    timeout: Option<Span>,
    include_patient: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawEmail {
    smtp: String,
    from: String,
    to: Vec<String>,
    security: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawNotices {
    ration: Option<usize>,
    gather: Option<Span>,
    give_up: Option<Span>,
    retry_min: Option<Span>,
    retry_max: Option<Span>,
    link_down: Option<Span>,
    disk_low: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawLate {
    stat: Option<Span>,
    routine: Option<Span>,
    bulk: Option<Span>,
}

/// Whom notices go to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    /// 1 to 32 letters, digits, `-`, `_`, `.`; no other has it.
    pub(crate) name: String,
    /// What it is told of.
    pub(crate) kinds: Vec<NoticeKind>,
    /// How long one telling may take. Default 15 s.
    pub(crate) timeout: Duration,
    /// Whether patient and accession number go with a notice about a study. Default no.
    pub(crate) include_patient: bool,
    /// How.
    pub(crate) way: Way,
}

/// How a channel is told.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// A POST of JSON.
    Webhook {
        /// Where to.
        url: Url,
        /// What its certificate must come from; `None`: the system's roots.
        trust: Option<Vec<CertificateDer<'static>>>,
        /// A file with the value of the header Authorization; read each time.
        authorization: Option<PathBuf>,
    },
    /// An e-mail over SMTP.
    Email(Box<Email>),
    /// A program that gets JSON on its standard input.
    Command {
        /// Its absolute path.
        program: PathBuf,
        /// What it is called with.
        arguments: Vec<String>,
    },
}

/// How an e-mail goes.
#[derive(Clone, Debug)]
pub(crate) struct Email {
    /// The server.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// Default STARTTLS.
    pub(crate) security: Security,
    /// Sender.
    pub(crate) from: Mailbox,
    /// Receivers, at least one.
    pub(crate) to: Vec<Mailbox>,
    /// User and the file of the password, which is read each time; `None`: the server asks for neither.
    pub(crate) login: Option<(String, PathBuf)>,
    /// PEM of what the server's certificate must come from; `None`: the system's roots.
    pub(crate) trust: Option<Vec<u8>>,
}

/// What protects an e-mail on its way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS from the second word on; refused when the server has none.
    StartTls,
    /// TLS from the beginning.
    Tls,
    /// Nothing.
    None,
}

/// How notices are told.
#[derive(Clone, Debug)]
pub(crate) struct Notices {
    /// The channels.
    pub(crate) channels: Vec<Channel>,
    /// Messages on one channel within an hour at most; what is more is summed up in the last of them. Default 60.
    pub(crate) ration: usize,
    /// What fails, or is held, is gathered for so long before it is told. Default 10 s.
    pub(crate) gather: Duration,
    /// A notice that could not be told for so long is given up. Default 3 days.
    pub(crate) give_up: Duration,
    /// Pause of a channel after its first failure. Default 5 s.
    pub(crate) retry_min: Duration,
    /// Longest pause. Default 15 min.
    pub(crate) retry_max: Duration,
    /// The link is told to be down after so long. Default 5 min.
    pub(crate) link_down: Duration,
    /// When the disk is told to be nearly full.
    pub(crate) disk_low: DiskLow,
}

/// When a disk is nearly full, in bytes that are free above the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskLow {
    /// Less than 5 % of the disk, or 2 GiB, whichever is less: the default.
    Usual,
    /// Less than so many hundredths of the disk.
    Percent(u8),
    /// Less than so many bytes.
    Bytes(u64),
}

impl DiskLow {
    /// The bytes for a disk of `total`.
    pub(crate) const fn bytes(self, total: u64) -> u64 {
        const USUAL: u64 = 2 << 30;
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total / 100 * percent as u64,
            Self::Usual if total / 20 < USUAL => total / 20,
            Self::Usual => USUAL,
        }
    }
}

/// After which time in custody something is late that is neither delivered, held nor failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    stat: Duration,
    routine: Duration,
    bulk: Duration,
    /// Routes with a time of their own, by called AE title.
    routes: BTreeMap<String, Duration>,
}

impl Late {
    /// The time for a priority. Default 10 min, 4 h, 24 h.
    pub(crate) const fn of(&self, priority: Priority) -> Duration {
        match priority {
            Priority::Stat => self.stat,
            Priority::Routine => self.routine,
            Priority::Bulk => self.bulk,
        }
    }

    /// The time for a priority on a route with a time of its own: that one; for STAT the shorter of both.
    pub(crate) fn on(&self, route: Duration, priority: Priority) -> Duration {
        match priority {
            Priority::Stat => route.min(self.stat),
            Priority::Routine | Priority::Bulk => route,
        }
    }

    /// Routes with a time of their own.
    pub(crate) const fn routes(&self) -> &BTreeMap<String, Duration> {
        &self.routes
    }

    /// The shortest of all.
    pub(crate) fn shortest(&self) -> Duration {
        let all = [self.stat, self.routine, self.bulk];
        let all = all.iter().chain(self.routes.values());
        all.copied().min().unwrap_or_default()
    }
}

pub(super) fn late(raw: &RawLate, routes: &[RawRoute], problems: &mut Problems) -> Late {
    let mut span = |key: &str, span, default| problems.span("late", key, span, Duration::from_secs(default));
    let mut late = Late {
        stat: span("stat", raw.stat, 600),
        routine: span("routine", raw.routine, 4 * 3600),
        bulk: span("bulk", raw.bulk, 24 * 3600),
        routes: BTreeMap::new(),
    };
    for (route, number) in routes.iter().zip(1..) {
        let Some(text) = &route.late else { continue };
        let path = format!("route[{number}].late");
        let Some(Span(time)) = problems.take(path, Span::parse(text)) else {
            continue;
        };
        let time = problems.span(&format!("route[{number}]"), "late", Some(Span(time)), time);
        let title = route.called_ae_title.trim().to_owned();
        let shortest = late.routes.get(&title).map_or(time, |other| time.min(*other));
        late.routes.insert(title, shortest);
    }
    late
}

pub(super) fn notices(raw: &RawNotices, channels: &[RawNotify], folder: &Path, problems: &mut Problems) -> Notices {
    let channels = self::channels(channels, folder, problems);
    let mut span =
        |key: &str, span: Option<Span>, default| problems.span("notices", key, span, Duration::from_secs(default));
    let retry_max = span("retry_max", raw.retry_max, 900);
    let mut notices = Notices {
        channels,
        ration: raw.ration.unwrap_or(60),
        gather: span("gather", raw.gather, 10),
        give_up: span("give_up", raw.give_up, 3 * 86_400),
        retry_min: match raw.retry_min {
            Some(_) => span("retry_min", raw.retry_min, 5),
            None => Duration::from_secs(5).min(retry_max),
        },
        retry_max,
        link_down: span("link_down", raw.link_down, 300),
        disk_low: DiskLow::Usual,
    };
    if notices.retry_min > notices.retry_max {
        let problem = format!(
            "{:?} is longer than retry_max, {:?}",
            notices.retry_min, notices.retry_max
        );
        problems.add("notices.retry_min".to_owned(), problem);
    }
    problems.count("notices.ration", raw.ration);
    if let Some(text) = &raw.disk_low {
        let read = problems.take("notices.disk_low".to_owned(), disk_low(text));
        notices.disk_low = read.unwrap_or(DiskLow::Usual);
    }
    notices
}

fn disk_low(text: &str) -> Result<DiskLow, String> {
    let Some(percent) = text.strip_suffix('%') else {
        let bytes = ByteSize::parse(text).map_err(|_| format!("{text:?} is neither like \"5%\" nor like \"2GiB\""))?;
        return Ok(DiskLow::Bytes(bytes.0));
    };
    match percent.trim().parse() {
        Ok(percent) if percent <= 100 => Ok(DiskLow::Percent(percent)),
        _ => Err(format!("{text:?} is not within 0% to 100%")),
    }
}

fn channels(all_raw: &[RawNotify], folder: &Path, problems: &mut Problems) -> Vec<Channel> {
    let mut all: Vec<Channel> = Vec::new();
    for (raw, number) in all_raw.iter().zip(1..) {
        let path = |key: &str| format!("notify[{number}].{key}");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if raw.name.is_empty() || raw.name.len() > NAME_LEN_MAX || !raw.name.bytes().all(is_plain) {
            let problem = format!(
                "{:?} is no name: 1 to {NAME_LEN_MAX} letters, digits, -, _ or .",
                raw.name
            );
            problems.add(path("name"), problem);
        } else if all_raw.iter().take(number - 1).any(|other| other.name == raw.name) {
            problems.add(path("name"), format!("\"{}\" is taken already", raw.name));
        }
        let timeout = problems.span(
            &format!("notify[{number}]"),
            "timeout",
            raw.timeout,
            Duration::from_secs(15),
        );
        let kinds = kinds(raw, &path, problems);
        let reader = Reader {
            raw,
            folder,
            path: &path,
        };
        if let Some(way) = reader.way(problems) {
            all.push(Channel {
                name: raw.name.clone(),
                kinds,
                timeout,
                include_patient: raw.include_patient,
                way,
            });
        }
    }
    all
}

fn kinds(raw: &RawNotify, path: &dyn Fn(&str) -> String, problems: &mut Problems) -> Vec<NoticeKind> {
    let Some(words) = &raw.kinds else {
        return NoticeKind::ALL.to_vec();
    };
    if words.is_empty() {
        problems.add(
            path("kinds"),
            "it would be told of nothing: leave kinds out for all".to_owned(),
        );
    }
    let mut kinds = Vec::new();
    for (word, number) in words.iter().zip(1..) {
        match NoticeKind::ALL.into_iter().find(|kind| kind.as_str() == word) {
            Some(kind) => kinds.push(kind),
            None => {
                let all: Vec<_> = NoticeKind::ALL.into_iter().map(NoticeKind::as_str).collect();
                let problem = format!("{word:?} is none of {}", all.join(", "));
                problems.add(format!("{}[{number}]", path("kinds")), problem);
            }
        }
    }
    kinds
}

/// Reads how one channel is told.
struct Reader<'a> {
    raw: &'a RawNotify,
    folder: &'a Path,
    path: &'a dyn Fn(&str) -> String,
}

impl Reader<'_> {
    fn way(&self, problems: &mut Problems) -> Option<Way> {
        let raw = self.raw;
        if raw.authorization_file.is_some() && raw.webhook.is_none() {
            problems.add((self.path)("authorization_file"), "only a webhook has one".to_owned());
        }
        if raw.trust.is_some() && raw.command.is_some() {
            problems.add((self.path)("trust"), "a command has no use for it".to_owned());
        }
        match (&raw.webhook, &raw.email, &raw.command) {
            (Some(url), None, None) => self.webhook(url, problems),
            (None, Some(email), None) => self.email(email, problems),
            (None, None, Some(command)) => self.command(command, problems),
            _ => {
                let problem = "it has exactly one of webhook, email and command";
                problems.add((self.path)("webhook"), problem.to_owned());
                None
            }
        }
    }

    fn webhook(&self, url: &str, problems: &mut Problems) -> Option<Way> {
        let parsed = Url::parse(url).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|url| match url.scheme() {
            "https" | "http" if url.has_host() => Ok(url),
            _ => Err("write it like \"https://HOST/PATH\"".to_owned()),
        });
        let url = problems.take((self.path)("webhook"), parsed);
        let authorization = self.raw.authorization_file.as_ref();
        let authorization = authorization.map(|file| self.secret("authorization_file", file, problems));
        let trust = self.trust(problems);
        Some(Way::Webhook {
            url: url?,
            trust: trust.map(|(certificates, _)| certificates),
            authorization,
        })
    }

    fn email(&self, raw: &RawEmail, problems: &mut Problems) -> Option<Way> {
        let path = |key: &str| (self.path)(&format!("email.{key}"));
        let server = raw.smtp.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            (!host.is_empty()).then(|| (host.to_owned(), port))
        });
        let server = server.ok_or_else(|| format!("{:?} is no \"host:port\"", raw.smtp));
        let server = problems.take(path("smtp"), server);
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text:?}: {error}"));
        let from = problems.take(path("from"), mailbox(&raw.from));
        let receivers = raw.to.iter().zip(1..);
        let to: Vec<_> = receivers
            .filter_map(|(text, number)| problems.take(format!("{}[{number}]", path("to")), mailbox(text)))
            .collect();
        if raw.to.is_empty() {
            problems.add(path("to"), "there is at least one receiver".to_owned());
        }
        let security = match raw.security.as_deref() {
            None | Some("starttls") => Ok(Security::StartTls),
            Some("tls") => Ok(Security::Tls),
            Some("none") => Ok(Security::None),
            Some(other) => Err(format!("{other:?} is none of starttls, tls, none")),
        };
        let security = problems.take(path("security"), security);
        let login = match (&raw.user, &raw.password_file) {
            (Some(user), Some(file)) => Some((user.clone(), self.secret("email.password_file", file, problems))),
            (None, None) => None,
            _ => {
                problems.add(path("user"), "user and password_file go together".to_owned());
                None
            }
        };
        if security == Some(Security::None) && login.is_some() {
            let problem = "a password is not sent in clear: starttls or tls";
            problems.add(path("security"), problem.to_owned());
        }
        let trust = self.trust(problems);
        let (host, port) = server?;
        Some(Way::Email(Box::new(Email {
            host,
            port,
            security: security?,
            from: from?,
            to,
            login,
            trust: trust.map(|(_, pem)| pem),
        })))
    }

    fn command(&self, command: &[String], problems: &mut Problems) -> Option<Way> {
        let (program, arguments) = command.split_first().unzip();
        let program = PathBuf::from(program.map(String::as_str).unwrap_or_default());
        if !program.is_absolute() {
            let problem = "its first word is the program's absolute path; no shell is asked";
            problems.add((self.path)("command"), problem.to_owned());
            return None;
        }
        if !program.is_file() {
            problems.add((self.path)("command"), format!("{} is no file", program.display()));
        }
        Some(Way::Command {
            program,
            arguments: arguments.map(<[String]>::to_vec).unwrap_or_default(),
        })
    }

    /// A file with a secret; that it can be read is looked at now.
    fn secret(&self, key: &str, file: &Path, problems: &mut Problems) -> PathBuf {
        let file = self.folder.join(file);
        if let Err(why) = read_secret(&file) {
            problems.add((self.path)(key), why);
        }
        file
    }

    /// What certificates must come from, and the same as PEM.
    fn trust(&self, problems: &mut Problems) -> Option<(Vec<CertificateDer<'static>>, Vec<u8>)> {
        let file = self.folder.join(self.raw.trust.as_ref()?);
        let read = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()));
        let read = read.and_then(|pem| {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            match certificates {
                Ok(certificates) if !certificates.is_empty() => Ok((certificates, pem)),
                Ok(_) => Err(format!("{} has no certificate", file.display())),
                Err(error) => Err(format!("{}: {error}", file.display())),
            }
        });
        problems.take((self.path)("trust"), read)
    }
}

/// The first line of a file with a secret.
///
/// # Errors
/// In words, without anything of what it holds.
pub(crate) fn read_secret(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    match text.lines().next().map(str::trim_end) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{} has nothing on its first line", file.display())),
    }
}
