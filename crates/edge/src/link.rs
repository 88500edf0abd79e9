//! The link to the relay, and the certificate it needs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_hop::{Hop, HopConfig};
use packhorse_identity::{IdentityError, SiteIdentity};
use packhorse_transport::{ALPN_ENROLL, ALPN_LINK, Endpoint, Target, keep_link};

use crate::place::EdgePlace;
use crate::shared::{LINK_QUEUE, Shared, queue};

/// How often it is looked whether the certificate is to be renewed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a renewal that failed.
const RENEW_AGAIN: Duration = Duration::from_secs(600);

/// The identity as it is now: it renews.
pub(crate) type CurrentIdentity = Arc<Mutex<SiteIdentity>>;

fn current(identity: &CurrentIdentity) -> SiteIdentity {
    identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Host part of `host:port`, without the brackets of an IPv6 address.
pub(crate) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn target(shared: &Shared, identity: &SiteIdentity) -> Result<Target, String> {
    let configured = shared.config.relay.as_ref();
    let host = configured
        .or_else(|| identity.relay().first())
        .ok_or("the identity names no relay")?
        .clone();
    // The certificate is for the name that the token gave, wherever the relay is dialled.
    let named = identity.relay().first().unwrap_or(&host);
    let tls = identity.client_config(&[ALPN_LINK]).map_err(|error| chain(&error))?;
    Ok(Target {
        server_name: host_of(named).to_owned(),
        host,
        tls,
    })
}

/// Keeps the link up until the edge stops.
pub(crate) async fn keep(shared: Arc<Shared>, endpoint: Endpoint, identity: CurrentIdentity) {
    let place = Arc::new(EdgePlace {
        shared: Arc::clone(&shared),
    });
    let hop = Hop::new(
        shared.store(),
        shared.epoch,
        Arc::clone(&shared.clock),
        place,
        HopConfig::new(queue(LINK_QUEUE)),
    );
    let dial = Arc::clone(&shared);
    let target = move || {
        let target = target(&dial, &current(&identity));
        async move { target }
    };
    keep_link(
        endpoint,
        target,
        Arc::new(hop),
        shared.link.clone(),
        shared.stop.clone(),
    )
    .await;
}

/// Asks the relay for what `request` says.
pub(crate) async fn exchange(
    endpoint: &Endpoint,
    host: &str,
    server_name: &str,
    tls: Arc<rustls::ClientConfig>,
    request: impl Fn(&[u8; 32]) -> Vec<u8> + Send + Sync,
) -> Result<Vec<u8>, String> {
    let addresses: Vec<SocketAddr> = match tokio::net::lookup_host(host).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Err(format!("the relay's name in {host} cannot be looked up: {error}")),
    };
    let mut last = format!("{host} has no address");
    for address in addresses {
        match endpoint.ask(address, server_name, Arc::clone(&tls), &request).await {
            Ok(answer) => return Ok(answer),
            Err(error) => last = chain(&error),
        }
    }
    Err(last)
}

async fn renew(shared: &Shared, endpoint: &Endpoint, identity: &SiteIdentity) -> Result<SiteIdentity, String> {
    let words = |error: IdentityError| chain(&error);
    let renewal = identity.begin_renewal().map_err(words)?;
    let tls = identity.renewal_config(&[ALPN_ENROLL]).map_err(words)?;
    let host = target(shared, identity)?;
    let answer = exchange(endpoint, &host.host, &host.server_name, tls, |exporter| {
        renewal.request(exporter, shared.clock.now())
    })
    .await?;
    renewal.complete(&answer).map_err(words)
}

/// Renews the certificate when two thirds of its life are over.
pub(crate) async fn keep_renewed(shared: Arc<Shared>, endpoint: Endpoint, identity: CurrentIdentity) {
    let random = rand::random();
    loop {
        let held = current(&identity);
        let wait = if held.renew_at(random) > shared.clock.now() {
            LOOK_EVERY
        } else {
            match renew(&shared, &endpoint, &held).await {
                Ok(renewed) => {
                    tracing::info!(until = %renewed.not_after(), "certificate renewed");
                    *identity.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
                    LOOK_EVERY
                }
                Err(why) => {
                    tracing::error!(why, until = %held.not_after(), "the certificate cannot be renewed now");
                    RENEW_AGAIN
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}
