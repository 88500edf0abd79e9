//! What protects DICOM's own connections, listener by listener and destination by destination.

use std::time::Duration;

use packhorse_association::driver::tls;

use super::markdown::Document;
use crate::config::{Destination, Listener};
use crate::shared::Shared;

/// Neither encrypted nor authenticated.
const PLAIN: &str = "none: plain TCP";
/// The one profile that there is.
const PROFILE: &str = "BCP 195 RFC 8996, 9325 TLS (B.12)";

/// Section 7.
pub(super) fn section(document: &mut Document, shared: &Shared) {
    document.heading(2, "7 Security");
    document.paragraph(
        "An association is admitted by calling AE title and address (4.2.1.1), which are no proof of who calls; over TLS, where a \
         source has its certificate in edge.toml, by that too. User identity is not asked for.",
    );
    let destinations = shared.destinations();
    let listeners = shared.config.listeners.iter();
    let rows = listeners
        .clone()
        .map(of_listener)
        .chain(destinations.iter().map(of_destination));
    let columns = [
        "Connection",
        "Profile (PS3.15)",
        "Our certificate",
        "The peer's certificate",
    ];
    document.table(columns, rows);
    let acceptors = listeners.filter_map(|listener| Some(listener.tls.as_ref()?.handshake()));
    let requestors = destinations
        .iter()
        .filter_map(|destination| Some(destination.tls.as_ref()?.handshake()));
    if let Some(handshake) = acceptors.chain(requestors).next() {
        document.table(["TLS", "Value"], of_tls(handshake));
    }
}

fn of_listener(listener: &Listener) -> [String; 4] {
    let name = format!("listener {}", listener.name);
    let Some(tls) = &listener.tls else { return plain(name) };
    let asked = if tls.asks_for_certificate() {
        "asked for"
    } else {
        "not asked for"
    };
    [
        name,
        PROFILE.to_owned(),
        tls.certificate().fingerprint.to_string(),
        asked.to_owned(),
    ]
}

fn of_destination(destination: &Destination) -> [String; 4] {
    let name = format!("destination {}", destination.ae_title);
    let Some(tls) = &destination.tls else {
        return plain(name);
    };
    let ours = tls.certificate().map(|certificate| certificate.fingerprint.to_string());
    [
        name,
        PROFILE.to_owned(),
        ours.unwrap_or_else(|| "none".to_owned()),
        "checked by pin or trust".to_owned(),
    ]
}

fn plain(name: String) -> [String; 4] {
    [name, PLAIN.to_owned(), "none".to_owned(), "none".to_owned()]
}

fn of_tls(handshake: Duration) -> [[String; 2]; 4] {
    let versions: Vec<_> = tls::versions().collect();
    let suites: Vec<_> = tls::suites().collect();
    [
        ("Versions", versions.join(", ")),
        ("Suites", suites.join(", ")),
        ("For the handshake", format!("{handshake:?}")),
        ("Resumption", "none".to_owned()),
    ]
    .map(|(name, value)| [name.to_owned(), value])
}
