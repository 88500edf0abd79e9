//! `edge-gateway doctor tls`, without a daemon and without a folder.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use packhorse_testkit::certs::{Cert, CertFiles, CertSpec};
use packhorse_testkit::peers::{Peer, Storescp, StorescpOptions, require, sha256};
use packhorse_testkit::process::{Finished, run};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn doctor(port: u16, more: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-gateway"));
    command.args(["doctor", "tls", &format!("127.0.0.1:{port}")]).args(more);
    run(&mut command, PATIENCE).unwrap()
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout.join("\n")).unwrap()
}

fn storescp(own: &CertFiles, trusts: &Path, more: &[&str]) -> Storescp {
    let text = |path: &Path| path.display().to_string();
    let mut options = vec!["+tls".to_owned(), text(&own.key), text(&own.certificate)];
    options.extend(["+cf".to_owned(), text(trusts)]);
    options.extend(more.iter().map(|option| (*option).to_owned()));
    Storescp::start(StorescpOptions {
        options,
        ..StorescpOptions::default()
    })
    .unwrap()
}

fn pasted(cert: &Cert) -> String {
    format!("tls = {{ pin = \"sha256:{}\"", sha256(&cert.der))
}

#[test]
fn a_pacs_with_tls_is_shown_with_the_line_to_paste() {
    let Some(_) = require(Peer::Storescp) else { return };
    let folder = tempfile::tempdir().unwrap();
    let cert = CertSpec::new("PACS B").rsa().ca().expired().self_signed();
    let own = cert.write(folder.path(), "own").unwrap();
    let pacs = storescp(&own, &own.certificate, &["-ic"]);
    let finished = doctor(pacs.port(), &[]);
    assert!(finished.status.success(), "{}", finished.said());
    let said = finished.stdout.join("\n");
    for part in [
        "TLS 1.3",
        "CN=PACS B",
        "to 2021-03-04 00:00 UTC",
        "RSA 2048, CA:TRUE, self-signed",
        "has expired on 2021-03-04",
        &pasted(&cert),
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let trust = own.certificate.display().to_string();
    let told = json(&doctor(pacs.port(), &["--json", "--trust", &trust]));
    assert_eq!(told["chain"][0]["self_signed"], true);
    assert!(told["trust"].as_str().unwrap().contains("expired"), "{told}");
}

#[test]
fn a_pacs_that_requires_our_certificate_says_so_in_the_line_to_paste() {
    let Some(_) = require(Peer::Storescp) else { return };
    let folder = tempfile::tempdir().unwrap();
    let cert = CertSpec::new("PACS B").self_signed();
    let own = cert.write(folder.path(), "own").unwrap();
    let pacs = storescp(&own, &own.certificate, &[]);
    let told = json(&doctor(pacs.port(), &["--json"]));
    assert_eq!(told["asks_for_certificate"], true, "{told}");
    let paste = told["paste"].as_str().unwrap();
    assert!(
        paste.starts_with(&pasted(&cert)) && paste.contains("certificate = "),
        "{paste}"
    );
}

#[test]
fn a_plain_port_and_a_dead_one_are_told_apart() {
    let Some(_) = require(Peer::Storescp) else { return };
    let plain = Storescp::start(StorescpOptions::default()).unwrap();
    let finished = doctor(plain.port(), &[]);
    assert!(!finished.status.success());
    assert!(finished.said().contains("speaks plain DICOM"), "{}", finished.said());
    let port = plain.port();
    drop(plain);
    let finished = doctor(port, &[]);
    assert!(!finished.status.success());
    assert!(finished.said().contains("cannot connect"), "{}", finished.said());
}
