//! Keeps a link to one peer up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use packhorse_ids::WallTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, LinkEnd};
use super::custodian::Custodian;
use super::endpoint::Endpoint;
use super::error::ConnectError;

/// Pause after the first failure.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A link that was up for so long was a good one: the next failure is a first one.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// Whom to dial, and as whom. Made anew for each dial, because certificates renew and addresses change.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`; the host is a name or an address (IPv6 in brackets).
    pub host: String,
    /// The name that the peer's certificate must be for.
    pub server_name: String,
    /// Who we are and whom we trust. Needs ALPN [`ALPN_LINK`](super::ALPN_LINK), no early data.
    pub tls: Arc<rustls::ClientConfig>,
}

/// How a kept link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkStatus {
    /// Not up, and no dial has failed yet.
    Connecting {
        /// Since when.
        since: WallTime,
    },
    /// Up.
    Up {
        /// Since when.
        since: WallTime,
        /// What it runs over, such as `QUIC 192.0.2.1:443`.
        path: String,
        /// What the peer calls itself.
        peer_build: String,
    },
    /// Down; it is dialled again.
    Down {
        /// Since when.
        since: WallTime,
        /// Why, worded for an administrator.
        why: String,
        /// How long until the next dial, as of when this was written.
        next_dial: Duration,
    },
}

/// Keeps a link up until `stop` is cancelled: dials, runs, and dials again with exponential backoff (0.5 s to 30 s, with
/// jitter) for as long as it fails. A link that was up for 10 s resets the backoff.
///
/// `target` is asked before each dial; its error is shown as the reason why the link is down.
///
/// # Cancel safety
/// Not cancel-safe, as [`Connection::run`](super::Connection::run) is not. Cancel `stop` instead.
pub async fn keep_link<F, Fut>(
    endpoint: Endpoint,
    target: F,
    custodian: Arc<dyn Custodian>,
    status: watch::Sender<LinkStatus>,
    stop: CancellationToken,
) where
    F: Fn() -> Fut + Send,
    Fut: Future<Output = Result<Target, String>> + Send,
{
    let keeper = Keeper {
        endpoint,
        custodian,
        status,
        stop,
    };
    let mut failures = 0;
    while !keeper.stop.is_cancelled() {
        let begun = tokio::time::Instant::now();
        let dialled = async { keeper.dial(target().await?).await };
        let dialled = tokio::select! {
            dialled = dialled => dialled,
            () = keeper.stop.cancelled() => return,
        };
        let why = match dialled {
            Ok(connection) => keeper.run(connection).await.to_string(),
            Err(why) => why,
        };
        failures = if begun.elapsed() >= GOOD_FOR { 0 } else { failures + 1 };
        keeper.pause(why, pause(failures, rand::random())).await;
    }
}

struct Keeper {
    endpoint: Endpoint,
    custodian: Arc<dyn Custodian>,
    status: watch::Sender<LinkStatus>,
    stop: CancellationToken,
}

impl Keeper {
    /// Tries every address of the target, in the order in which the resolver gives them.
    async fn dial(&self, target: Target) -> Result<Connection, String> {
        let addresses = tokio::net::lookup_host(&target.host).await;
        let unknown = |problem: String| ConnectError::NameLookup {
            host: target.host.clone(),
            problem,
        };
        let addresses = addresses.map_err(|error| unknown(error.to_string()).to_string())?;
        let mut last = unknown("it has no address".to_owned());
        for address in addresses {
            let dialled = self
                .endpoint
                .connect(address, &target.server_name, Arc::clone(&target.tls))
                .await;
            match dialled {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last.to_string())
    }

    async fn run(&self, connection: Connection) -> LinkEnd {
        let handle = connection.handle();
        let report = async {
            if let Some(peer_build) = handle.established().await {
                self.report(|since| LinkStatus::Up {
                    since,
                    path: format!("QUIC {}", handle.remote_address()),
                    peer_build,
                });
            }
        };
        let run = connection.run(Arc::clone(&self.custodian), self.stop.clone());
        let (end, ()) = tokio::join!(run, report);
        end
    }

    async fn pause(&self, why: String, pause: Duration) {
        if self.stop.is_cancelled() {
            return;
        }
        tracing::warn!(why, next_dial = ?pause, "link is down");
        self.report(|since| LinkStatus::Down {
            since,
            why,
            next_dial: pause,
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// A link that stays down is down since the first time.
    fn report(&self, status: impl FnOnce(WallTime) -> LinkStatus) {
        let now = self.endpoint.config().clock.now();
        let since = match &*self.status.borrow() {
            LinkStatus::Down { since, .. } => *since,
            LinkStatus::Connecting { .. } | LinkStatus::Up { .. } => now,
        };
        let status = match status(now) {
            LinkStatus::Down { why, next_dial, .. } => LinkStatus::Down { since, why, next_dial },
            other => other,
        };
        self.status.send_replace(status);
    }
}

/// Pause before the next dial after so many failures in a row; `random` is from 0 to 1. Half of it is jitter, so that
/// the sites of a relay that restarts do not come back all at once.
fn pause(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
    longest.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_half_a_second_to_half_a_minute() {
        let longest: Vec<_> = (0..9).map(|failures| pause(failures, 1.0).as_millis()).collect();
        assert_eq!(longest, [500, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(pause(3, 0.0), Duration::from_secs(1));
        assert_eq!(pause(u32::MAX, 1.0), PAUSE_MAX);
    }
}
