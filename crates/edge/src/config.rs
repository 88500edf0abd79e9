//! `edge.toml`.

mod delivery;
mod destination;
mod echo;
mod mirror;
mod notify;
mod problems;
mod tls;
mod watch;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use packhorse_association::AcceptorConfig;
use packhorse_association::driver::tls::{DEFAULT_HANDSHAKE, TlsAcceptor, Trust};
use packhorse_association::negotiate::OWN_MAX_RANGE;
use packhorse_daemon::config::{ConfigError, ConfigProblem, load};
use packhorse_daemon::{ByteSize, Span};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;
use packhorse_ledger::IdentityLevel;
use packhorse_policy::config::{RawRoute, RawRule, RawSource};
use packhorse_policy::{Engine, HostPattern};
use serde::Deserialize;

pub use delivery::DeliveryTimes;
use delivery::{RawDelivery, times};
pub use destination::{CallingTitle, Deliver, Destination, OnArrival, OnRefusedSyntax};
use destination::{RawDestination, destinations};
pub use echo::EchoTimes;
use echo::RawEcho;
pub use mirror::MirrorTimes;
use mirror::RawMirror;
pub(crate) use mirror::word as mirror_word;
pub(crate) use notify::{Channel, Email, Late, Notices, Security, Way, read_secret};
use notify::{RawLate, RawNotices, RawNotify, late, notices};
use problems::Problems;
pub use tls::DatedCertificate;
use tls::{RawListenerTls, TlsReader};
use watch::RawWatch;
pub use watch::WatchConfig;

/// Name of the configuration file in the edge's folder.
pub const FILE_NAME: &str = "edge.toml";
/// Title under which `edge-gateway send` asks policy, unless configured.
const SEND_AE_TITLE: &str = "PACKHORSE_SEND";

/// After which a study is over, unless configured.
const QUIET: Duration = Duration::from_secs(5 * 60);

/// Operations of one association that may be under way: they wait in its socket.
const ASYNC_OPERATIONS_MAX: u16 = 64;

/// The commented file that `edge-gateway join` writes.
pub const EXAMPLE: &str = include_str!("edge.example.toml");

/// `edge.toml` as it stands. Every table may be absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawConfig {
    listener: Vec<RawListener>,
    source: Vec<RawSource>,
    destination: Vec<RawDestination>,
    route: Vec<RawRoute>,
    rule: Vec<RawRule>,
    spool: RawSpool,
    delivery: RawDelivery,
    limits: RawLimits,
    link: RawLink,
    send_ae_title: Option<String>,
    ledger_identity: Option<String>,
    grace: Option<Span>,
    echo: RawEcho,
    watch: RawWatch,
    ledger: RawLedger,
    notify: Vec<RawNotify>,
    notices: RawNotices,
    late: RawLate,
    mirror: RawMirror,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawLedger {
    quiet: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
struct RawListener {
    name: String,
    address: SocketAddr,
    tls: Option<RawListenerTls>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawSpool {
    slab: Option<ByteSize>,
    reserve: Option<ByteSize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawLimits {
    associations: Option<usize>,
    associations_per_peer: Option<usize>,
    artim: Option<Span>,
    idle: Option<Span>,
    dimse: Option<Span>,
    send: Option<Span>,
    slowest: Option<ByteSize>,
    max_pdu_length: Option<ByteSize>,
    tls_handshake: Option<Span>,
    held: Option<ByteSize>,
    association_room: Option<ByteSize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RawLink {
    relay: Option<String>,
}

/// Where we listen for associations.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, for routes that are bound to one.
    pub name: String,
    /// Its address; port 0 is any free one.
    pub address: SocketAddr,
    /// `None`: without TLS.
    pub tls: Option<TlsAcceptor>,
}

/// The configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// Where we listen.
    pub listeners: Vec<Listener>,
    /// Whom we deliver to.
    pub destinations: Vec<Destination>,
    /// What each source must present, in their order; `None`: it may come without TLS.
    pub source_trust: Vec<Option<Trust>>,
    /// Operations that each source may have under way at a time.
    pub source_windows: Vec<u16>,
    /// Every certificate in a file that TLS uses.
    pub certificates: Vec<DatedCertificate>,
    /// Sources, routes and rules.
    pub engine: Engine,
    /// Names, and no addresses, in `hosts` of sources.
    pub host_names: Vec<String>,
    /// Bytes of a slab.
    pub slab: u64,
    /// Bytes of the disk that are never used.
    pub reserve: u64,
    /// How deliveries are tried.
    pub delivery: DeliveryTimes,
    /// Associations in all.
    pub associations: usize,
    /// Associations from one address.
    pub associations_per_peer: usize,
    /// Timers of incoming associations.
    pub acceptor: AcceptorConfig,
    /// `host:port` of the relay, instead of what the identity says.
    pub relay: Option<String>,
    /// Title under which `edge-gateway send` asks policy.
    pub send_ae_title: AeTitle,
    /// What the ledger keeps of a patient.
    pub ledger_identity: IdentityLevel,
    /// How long a shutdown waits for what is under way.
    pub grace: Duration,
    /// How often and for how long PACS are checked by C-ECHO.
    pub echo: EchoTimes,
    /// What is watched for.
    pub watch: WatchConfig,
    /// A study of which nothing came for so long, with no association open that carried it, is over. Default 5 min.
    pub quiet: Duration,
    /// Who is told what.
    pub(crate) notices: Notices,
    /// When something is late.
    pub(crate) late: Late,
    /// How it is found out what PACS take.
    pub mirror: MirrorTimes,
    /// Bytes that all rules together may hold; over it A700 is answered. Default 20 GiB.
    pub held: u64,
    /// Bytes that one association is thought to send: new ones are rejected (2/3/2) while the disk has less than that above
    /// its reserve, for each that is open and the new one. Default 64 MiB.
    pub association_room: u64,
}

impl Config {
    /// Reads `edge.toml` in `folder`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its path.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        load(&folder.join(FILE_NAME), |raw| Self::check(raw, folder))
    }

    /// Checks a configuration. Paths in it are relative to `folder`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(raw: &RawConfig, folder: &Path) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Problems::default();
        let send = raw.send_ae_title.as_deref().unwrap_or(SEND_AE_TITLE);
        let send_ae_title = problems.take("send_ae_title".to_owned(), AeTitle::try_from(send));
        let engine = Engine::with_local_titles(send_ae_title.as_slice(), &raw.source, &raw.route, &raw.rule);
        let engine = engine.map_err(|errors| {
            let same = |error: packhorse_policy::ConfigError| ConfigProblem {
                path: error.path,
                problem: error.problem,
            };
            problems.0.extend(errors.into_iter().map(same));
        });
        let handshake = raw.limits.tls_handshake.map_or(DEFAULT_HANDSHAKE, |span| span.0);
        let mut tls = TlsReader::new(folder, handshake, &mut problems);
        let source_trust = tls.sources(&raw.source);
        let acceptors = tls.acceptors(&raw.listener, &source_trust);
        let requestors = tls.requestors(&raw.destination);
        let certificates = tls.finish();
        let source_windows = windows(&raw.source, &mut problems);
        let listeners = listeners(&raw.listener, acceptors, &mut problems);
        bound_to_listeners(&raw.route, &listeners, &mut problems);
        let destinations = destinations(&raw.destination, requestors, &mut problems);
        let delivery = times(&raw.delivery, &mut problems);
        let quiet = problems.span("ledger", "quiet", raw.ledger.quiet, QUIET);
        let acceptor = acceptor(&raw.limits, &mut problems);
        let echo = echo::times(&raw.echo, &mut problems);
        let notices = notices(&raw.notices, &raw.notify, folder, &mut problems);
        let late = late(&raw.late, &raw.route, &mut problems);
        let mirror = mirror::times(&raw.mirror, &mut problems);
        let ledger_identity = ledger_identity(raw.ledger_identity.as_deref(), &mut problems);
        let watch = watch::watch(&raw.watch, &mut problems);
        let slab = raw.spool.slab.map_or(64 << 20, |size| size.0);
        if slab < 64 << 10 {
            problems.add("spool.slab".to_owned(), "a slab has at least 64KiB".to_owned());
        }
        let (Ok(engine), Some(send_ae_title), true) = (engine, send_ae_title, problems.0.is_empty()) else {
            return Err(problems.0);
        };
        Ok(Self {
            listeners,
            destinations,
            source_trust,
            source_windows,
            certificates,
            engine,
            host_names: host_names(&raw.source),
            slab,
            reserve: raw.spool.reserve.map_or(256 << 20, |size| size.0),
            delivery,
            associations: raw.limits.associations.unwrap_or(200),
            associations_per_peer: raw.limits.associations_per_peer.unwrap_or(50),
            acceptor,
            relay: raw.link.relay.clone(),
            send_ae_title,
            ledger_identity,
            grace: raw.grace.map_or(Duration::from_secs(10), |span| span.0),
            echo,
            watch,
            quiet,
            notices,
            late,
            mirror,
            held: raw.limits.held.map_or(20 << 30, |size| size.0),
            association_room: raw.limits.association_room.map_or(64 << 20, |size| size.0),
        })
    }

    /// Checks the configuration against the name of the site it is for: a route leads to another one.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check_site(&self, site: &SiteName) -> Result<(), Vec<ConfigProblem>> {
        let routes = self.engine.routes().iter().zip(1..);
        let to_itself = routes.filter(|(route, _)| route.to_site == *site);
        let problems: Vec<_> = to_itself
            .map(|(_, number)| ConfigProblem {
                path: format!("route[{number}].to"),
                problem: format!("{site} is this site: a route leads to another one"),
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// How the listener of this name does TLS; `None`: not at all.
    #[must_use]
    pub fn listener_tls(&self, name: &str) -> Option<&TlsAcceptor> {
        let listener = self.listeners.iter().find(|listener| listener.name == name)?;
        listener.tls.as_ref()
    }

    /// The destination with this title.
    #[must_use]
    pub fn destination(&self, ae_title: &AeTitle) -> Option<&Destination> {
        self.destinations
            .iter()
            .find(|destination| destination.ae_title == *ae_title)
    }
}

/// A route is bound to a listener that is there.
fn bound_to_listeners(routes: &[RawRoute], listeners: &[Listener], problems: &mut Problems) {
    for (route, number) in routes.iter().zip(1..) {
        let unknown = route
            .listener
            .as_ref()
            .filter(|name| listeners.iter().all(|other| other.name != **name));
        if let Some(name) = unknown {
            problems.add(
                format!("route[{number}].listener"),
                format!("there is no [[listener]] named \"{name}\""),
            );
        }
    }
}

fn ledger_identity(given: Option<&str>, problems: &mut Problems) -> IdentityLevel {
    match given {
        None | Some("full") => IdentityLevel::Full,
        Some("accession") => IdentityLevel::Accession,
        Some("none") => IdentityLevel::None,
        Some(other) => {
            let problem = format!("{other:?} is none of full, accession, none");
            problems.add("ledger_identity".to_owned(), problem);
            IdentityLevel::Full
        }
    }
}

fn listeners(raw: &[RawListener], acceptors: Vec<Option<TlsAcceptor>>, problems: &mut Problems) -> Vec<Listener> {
    let mut all: Vec<Listener> = Vec::new();
    for ((listener, tls), number) in raw.iter().zip(acceptors).zip(1..) {
        if all.iter().any(|other| other.name == listener.name) {
            problems.add(
                format!("listener[{number}].name"),
                format!("\"{}\" is taken already", listener.name),
            );
        }
        all.push(Listener {
            name: listener.name.clone(),
            address: listener.address,
            tls,
        });
    }
    all
}

fn host_names(sources: &[RawSource]) -> Vec<String> {
    let hosts = sources.iter().flat_map(|source| &source.hosts);
    let mut names: Vec<_> = hosts
        .filter(|host| matches!(HostPattern::parse(host), Ok(HostPattern::Name(_))))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}

fn acceptor(raw: &RawLimits, problems: &mut Problems) -> AcceptorConfig {
    let default = AcceptorConfig::default();
    let mut span = |key: &str, span: Option<Span>, default| problems.span("limits", key, span, default);
    let config = AcceptorConfig {
        artim: span("artim", raw.artim, default.artim),
        idle: span("idle", raw.idle, default.idle),
        dimse: span("dimse", raw.dimse, default.dimse),
        send: span("send", raw.send, default.send),
        slowest: bytes("slowest", raw.slowest, default.slowest, 0..=1 << 20, problems),
        max_pdu_length: bytes(
            "max_pdu_length",
            raw.max_pdu_length,
            default.max_pdu_length,
            OWN_MAX_RANGE,
            problems,
        ),
    };
    problems.span("limits", "tls_handshake", raw.tls_handshake, DEFAULT_HANDSHAKE);
    problems.count("limits.associations", raw.associations);
    problems.count("limits.associations_per_peer", raw.associations_per_peer);
    config
}

fn windows(sources: &[RawSource], problems: &mut Problems) -> Vec<u16> {
    let numbered = sources.iter().zip(1..);
    let windows = numbered.map(|(source, number)| match source.async_operations {
        Some(window) if !(1..=ASYNC_OPERATIONS_MAX).contains(&window) => {
            let problem = format!("{window} is not within 1 to {ASYNC_OPERATIONS_MAX}");
            problems.add(format!("source[{number}].async_operations"), problem);
            1
        }
        window => window.unwrap_or(1),
    });
    windows.collect()
}

/// A number of bytes in `[limits]`, within `range`.
fn bytes(key: &str, given: Option<ByteSize>, default: u32, range: RangeInclusive<u32>, problems: &mut Problems) -> u32 {
    let Some(ByteSize(given)) = given else { return default };
    match u32::try_from(given) {
        Ok(given) if range.contains(&given) => given,
        _ => {
            let (least, most) = range.into_inner();
            problems.add(
                format!("limits.{key}"),
                format!("{given} is not within {least} to {most} bytes"),
            );
            default
        }
    }
}

#[cfg(test)]
mod tests;
