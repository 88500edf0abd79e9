//! `edge-gateway doctor`: looks at somebody from here, without the daemon.

use std::path::Path;
use std::time::Duration;

use packhorse_association::driver::tls::{Certificate, DEFAULT_HANDSHAKE, Inspection, Trust, inspect};
use packhorse_daemon::exit::chain;
use packhorse_daemon::output;
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};

use super::{CommandError, Output};

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What a peer presents on its TLS port.
pub(super) async fn tls(address: &str, trust: Option<&Path>, how: Output) -> Result<(), CommandError> {
    let trust = trust.map(read_trust).transpose()?;
    let inspected = inspect(address, CONNECT, DEFAULT_HANDSHAKE).await;
    let inspection = inspected.map_err(|error| CommandError::No(format!("{address}: {}", chain(&error))))?;
    let told = told(address, &inspection, trust.as_ref(), UnixTime::now());
    output::line(&if how.json { told.to_string() } else { print(&told) });
    if inspection.chain.is_empty() {
        let why = inspection.error.map(|error| chain(&error)).unwrap_or_default();
        return Err(CommandError::No(format!("{address} presents no certificate: {why}")));
    }
    Ok(())
}

fn read_trust(path: &Path) -> Result<Trust, CommandError> {
    Trust::of_pem(&std::fs::read(path)?).map_err(|error| CommandError::No(format!("{}: {error}", path.display())))
}

/// Everything that is known, as JSON.
fn told(address: &str, inspection: &Inspection, trust: Option<&Trust>, now: UnixTime) -> Value {
    let certificates = inspection.certificates();
    let chain_told: Vec<_> = certificates
        .iter()
        .map(|certificate| certificate_told(certificate, now))
        .collect();
    json!({
        "address": address,
        "version": inspection.tls.as_ref().map(|tls| tls.version().to_owned()),
        "suite": inspection.tls.as_ref().map(|tls| tls.suite().to_owned()),
        "chain": chain_told,
        "asks_for_certificate": inspection.asks_for_certificate,
        "error": inspection.error.as_ref().map(|error| chain(error)),
        "retired": inspection.retired.map(|choice| choice.to_string()),
        "notes": notes(inspection, &certificates, now),
        "trust": trust.map(|trust| match inspection.against(trust, now) {
            None => "it would do".to_owned(),
            Some(distrust) => distrust.to_string(),
        }),
        // Not of a peer that did not show that the certificate is its own.
        "paste": certificates
            .first()
            .filter(|_| inspection.tls.is_some() || inspection.asks_for_certificate)
            .map(|own| paste(own, inspection.asks_for_certificate)),
    })
}

fn certificate_told(certificate: &Certificate, now: UnixTime) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": certificate.names,
        "not_before": Certificate::date(certificate.not_before),
        "not_after": Certificate::date(certificate.not_after),
        "days_left": certificate.days_left(now),
        "key": certificate.key,
        "self_signed": certificate.is_self_signed,
        "ca": certificate.is_ca,
        "fingerprint": certificate.fingerprint.to_string(),
    })
}

/// What `trust` would have against it, and what one may do about that.
fn notes(inspection: &Inspection, certificates: &[Certificate], now: UnixTime) -> Vec<String> {
    let Some(own) = certificates.first() else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    // Trusted as itself, nothing but its dates and its key can be in the way.
    let itself = Trust::of_certificates(inspection.chain.iter().take(1).cloned().collect());
    if let Ok(itself) = itself
        && let Some(distrust) = inspection.against(&itself, now)
    {
        notes.push(distrust.reason.to_string());
    }
    if own.is_self_signed {
        notes.push("it is self-signed: for trust, the file must hold this very certificate".to_owned());
    } else {
        notes.push(format!(
            "for trust, the file must hold its CA \"{}\", or this very certificate",
            own.issuer
        ));
        if own.is_ca {
            notes.push("it is a CA's certificate: under its CA it is refused".to_owned());
        }
        if let Some(reason) = inspection.other_name() {
            notes.push(format!("under its CA: {reason}"));
        } else if own.names.is_empty() {
            notes.push("it has no subject alternative name: its common name is taken".to_owned());
        }
    }
    notes
}

fn paste(own: &Certificate, asks_for_certificate: bool) -> String {
    let ours = if asks_for_certificate {
        ", certificate = \"tls/edge.pem\", key = \"tls/edge.key\""
    } else {
        ""
    };
    format!("tls = {{ pin = \"{}\"{ours} }}", own.fingerprint)
}

/// The same, for people.
fn print(told: &Value) -> String {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let rows = |key: &str| told.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = vec![text(told, "address")];
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<14} {value}"));
        }
    };
    add(
        "TLS",
        format!("{} {}", text(told, "version"), text(told, "suite"))
            .trim()
            .to_owned(),
    );
    for (certificate, number) in rows("chain").iter().zip(0_u32..) {
        add(
            if number == 0 { "certificate" } else { "issued by" },
            text(certificate, "subject"),
        );
        add("  issuer", text(certificate, "issuer"));
        let names = certificate
            .get("names")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        add(
            "  names",
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        );
        add(
            "  valid",
            format!(
                "{} to {}",
                text(certificate, "not_before"),
                text(certificate, "not_after")
            ),
        );
        let is = |key: &str| certificate.get(key).and_then(Value::as_bool).unwrap_or(false);
        let ca = if is("ca") { ", CA:TRUE" } else { "" };
        let own = if is("self_signed") { ", self-signed" } else { "" };
        add("  key", format!("{}{ca}{own}", text(certificate, "key")));
        add("  fingerprint", text(certificate, "fingerprint"));
    }
    if told.get("asks_for_certificate").and_then(Value::as_bool) == Some(true) {
        add("asks for", "a certificate of ours".to_owned());
    }
    add("error", text(told, "error"));
    add("takes only", text(told, "retired"));
    for note in rows("notes") {
        add("note", note.as_str().unwrap_or_default().to_owned());
    }
    add("that trust", text(told, "trust"));
    let paste = text(told, "paste");
    if !paste.is_empty() {
        lines.push(
            "Compare the fingerprint with what its administrator sees there, then paste into its [[destination]]:"
                .to_owned(),
        );
        lines.push(format!("  {paste}"));
    }
    lines.join("\n")
}
