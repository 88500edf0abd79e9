//! The link, the clocks, the certificates, the listeners.

use packhorse_association::driver::tls::Certificate;
use packhorse_identity::SiteIdentity;
use packhorse_transport::LinkStatus;
use rustls::pki_types::UnixTime;

use super::{Finding, Level};
use crate::gateway::IDENTITY_FOLDER;
use crate::shared::Shared;

/// A certificate that ends within so many days is told of.
const EXPIRY_TOLD_DAYS: i64 = 30;
/// Clocks that differ by less are as good as the same, in microseconds: the far edge took no time at all then.
const SKEW_MIN: i64 = 5_000_000;
const SECOND: i64 = 1_000_000;

pub(super) async fn examine(shared: &Shared, is_daemon: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if is_daemon {
        findings.push(link(shared));
        findings.extend(listeners(shared));
    }
    findings.extend(clocks(shared).await);
    findings.push(identity(shared));
    findings.extend(certificates(shared));
    findings
}

fn link(shared: &Shared) -> Finding {
    let relay = shared.config.relay.as_ref().or_else(|| shared.relay.first());
    let relay = relay.map_or("(no address)", String::as_str);
    let about = format!("link to the relay at {relay}");
    let remedy = format!(
        "let UDP to {relay} out of the site; at the relay, `relay status` says whether it runs and knows {}",
        shared.site
    );
    match &*shared.link.borrow() {
        LinkStatus::Up { since, path, .. } => Finding::ok(about, format!("up since {since} over {path}")),
        LinkStatus::Connecting { since } => {
            Finding::new(Level::Warn, about, format!("being dialled since {since}"), remedy)
        }
        LinkStatus::Down { since, why, .. } => {
            Finding::new(Level::Bad, about, format!("down since {since}: {why}"), remedy)
        }
    }
}

fn listeners(shared: &Shared) -> Vec<Finding> {
    let bound = shared.bound.get().into_iter().flatten();
    let mut findings: Vec<_> = bound
        .map(|(name, address)| Finding::ok(format!("listener {name}"), format!("listens on {address}")))
        .collect();
    if findings.is_empty() && !shared.config.engine.routes().is_empty() {
        let what = "there are routes and no listener: no PACS can send to them";
        findings.push(Finding::new(
            Level::Bad,
            "listener",
            what,
            "add a [[listener]] to edge.toml",
        ));
    }
    findings
}

/// A site that had something on disk before we did, each by its own clock, has a clock that is behind.
async fn clocks(shared: &Shared) -> Vec<Finding> {
    let asked = shared.ledger(|projection| projection.clocks_behind()).await;
    let behind = asked.and_then(Result::ok).unwrap_or_default().into_iter();
    let behind = behind.filter(|(_, micros)| *micros >= SKEW_MIN);
    let finding = |(site, micros): (String, i64)| {
        let what = format!("it is at least {} s behind ours, or ours ahead", micros / SECOND);
        Finding::new(
            Level::Warn,
            format!("clock of {site}"),
            what,
            "let both follow a time server (NTP)",
        )
    };
    behind.map(finding).collect()
}

fn identity(shared: &Shared) -> Finding {
    let about = "certificate for the link";
    let identity = match SiteIdentity::open(&shared.folder.join(IDENTITY_FOLDER)) {
        Ok(identity) => identity,
        Err(error) => {
            let what = packhorse_daemon::exit::chain(&error);
            return Finding::new(Level::Bad, about, what, "join again: `relay invite` makes the token");
        }
    };
    let (ends, now) = (identity.not_after(), shared.clock.now());
    if ends <= now {
        let remedy = format!(
            "at the relay, `relay invite {}`; here, `edge-gateway join TOKEN`",
            shared.site
        );
        return Finding::new(Level::Bad, about, format!("it has ended at {ends}"), remedy);
    }
    // With the latest share of its life left at which renewal begins.
    if identity.renew_at(0.0) < now {
        let what = format!("it ends at {ends} and could not be renewed yet");
        return Finding::new(
            Level::Warn,
            about,
            what,
            "it is renewed over the link: see that that is up",
        );
    }
    Finding::ok(about, format!("it ends at {ends} and renews by itself"))
}

fn certificates(shared: &Shared) -> Vec<Finding> {
    let now = UnixTime::now();
    let finding = |dated: &crate::config::DatedCertificate| {
        let (certificate, about) = (&dated.certificate, format!("certificate of {}", dated.path));
        let (days, ends) = (certificate.days_left(now), Certificate::date(certificate.not_after));
        let remedy = "put a new one in its place and start the gateway again";
        match days {
            ..0 => Finding::new(
                Level::Bad,
                about,
                format!("{} has expired on {ends}", certificate.subject),
                remedy,
            ),
            0..EXPIRY_TOLD_DAYS => {
                let what = format!("{} expires in {days} days, on {ends}", certificate.subject);
                Finding::new(Level::Warn, about, what, remedy)
            }
            _ => Finding::ok(about, format!("{} is good until {ends}", certificate.subject)),
        }
    };
    shared.config.certificates.iter().map(finding).collect()
}
