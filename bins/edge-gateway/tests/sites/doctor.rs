//! Prepared faults, each of which `edge-gateway doctor` names with what to do about it.

use packhorse_testkit::corpus;
use packhorse_testkit::peers::{Peer, Xscp, XscpOptions, require, storescu};
use packhorse_testkit::process::free_port;
use packhorse_testkit::raw_scu::RawScu;
use serde_json::Value;

use crate::instances::{RAW_DATA, made_series, mixed_folder};
use crate::support::{Host, PATIENCE, ROUTE, Setup, Sites, rows};
use crate::told::configure;

const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

/// What `doctor` finds; with something bad it ends with exit code 1.
fn findings(sites: &Sites, host: Host) -> Vec<Value> {
    let finished = sites.run(host, &["doctor", "--json"]);
    let answer: Value = serde_json::from_str(&finished.stdout.join("\n")).unwrap();
    let findings: Vec<Value> = rows(&answer, "findings").cloned().collect();
    let is_bad = findings.iter().any(|finding| finding["level"] == "bad");
    assert_eq!(finished.status.code(), Some(i32::from(is_bad)), "{}", finished.said());
    findings
}

/// Whether something is found about `about`, with these words and this remedy.
fn is_found(findings: &[Value], level: &str, about: &str, what: &str, remedy: &str) -> bool {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings.iter().any(|finding| {
        finding["level"] == level
            && text(finding, "about").starts_with(about)
            && text(finding, "what").contains(what)
            && text(finding, "remedy").contains(remedy)
    })
}

/// Waits until each of (level, about, what, remedy) is found.
fn wait_for(sites: &Sites, host: Host, expected: &[(&str, &str, &str, &str)]) {
    let missing = |findings: &[Value]| {
        let missing = expected
            .iter()
            .filter(|(level, about, what, remedy)| !is_found(findings, level, about, what, remedy));
        missing.copied().collect::<Vec<_>>()
    };
    let mut last = Vec::new();
    let came = packhorse_testkit::process::poll(PATIENCE, || {
        last = findings(sites, host);
        missing(&last).is_empty().then_some(())
    });
    assert!(came.is_some(), "{:#?} is not in {last:#?}", missing(&last));
}

/// More of edge A: where its routes lead, what is held, and short times.
const AT_A: &str = r#"
[[route]]
called_ae_title = "FEW"
to = "st-mary/PACS_FEW"
[[route]]
called_ae_title = "OFF"
to = "st-mary/PACS_OFF"
[[route]]
called_ae_title = "CLOSED"
to = "st-mary/PACS_CLOSED"
[[route]]
called_ae_title = "NEW_SITE"
to = "new-site/PACS_C"
[[rule]]
name = "reports wait"
route = ["OFF"]
class = ["structured-reports"]
outcome = "hold"
[late]
routine = "1s"
[notices]
gather = "100ms"
retry_max = "1s"
"#;

/// Sites with everything wrong.
struct Faulty {
    sites: Sites,
    /// Where nobody listens.
    off: u16,
    _pacs: [Xscp; 2],
}

impl Faulty {
    fn prepare() -> Self {
        // PACS_B knows another title than ours.
        let rejecting = XscpOptions {
            require_calling: vec!["SOMEBODY".to_owned()],
            ..XscpOptions::default()
        };
        let few = XscpOptions {
            only_sop_classes: vec![MR.to_owned()],
            ..XscpOptions::default()
        };
        let pacs = [rejecting, few].map(|options| Xscp::start(options).unwrap());
        let setup = Setup {
            at_a: AT_A,
            ..Setup::default()
        };
        let mut sites = Sites::start(pacs[0].port(), &setup);
        let off = free_port().unwrap();
        let destination = |title: &str, port: u16, accept_from: &str| {
            format!(
                "[[destination]]\nae_title = \"{title}\"\naddress = \"127.0.0.1:{port}\"\n\
                 calling_ae_title = \"PACKHORSE\"\naccept_from = [{accept_from}]\n"
            )
        };
        let at_b = [
            destination("PACS_FEW", pacs[1].port(), "\"clinic-a\""),
            destination("PACS_OFF", off, "\"clinic-a\""),
            destination("PACS_CLOSED", off, ""),
            "[late]\nroutine = \"1s\"\n[notices]\ngather = \"100ms\"\n".to_owned(),
        ];
        configure(&mut sites, Host::B, &at_b.concat());
        let toml = std::fs::read_to_string(sites.folder(Host::A).join("edge.toml")).unwrap();
        let toml = toml.replace("ae_titles = [\"*\"]", "ae_titles = [\"PACS_A\", \"STORESCU\"]");
        sites.write(Host::A, "edge.toml", &toml);
        let channel = format!("[[notify]]\nname = \"ops\"\nwebhook = \"http://127.0.0.1:{off}/\"\n");
        configure(&mut sites, Host::A, &channel);
        sites.wait_until("the new destinations", |sites| {
            let routes = sites.json(Host::A, &["routes"]);
            rows(&routes, "routes")
                .filter(|route| route["standing"] == "accepted")
                .count()
                == 3
        });
        Self {
            sites,
            off,
            _pacs: pacs,
        }
    }
}

/// What the doctor says at the site that sends.
const FOUND_AT_A: [(&str, &str, &str, &str); 10] = [
    ("ok", "listener lan", "listens on", ""),
    (
        "bad",
        "route CLOSED",
        "no consent",
        "at st-mary, run: edge-gateway accept clinic-a --for PACS_CLOSED",
    ),
    ("bad", "route NEW_SITE", "no site new-site", "relay invite new-site"),
    (
        "warn",
        "caller NOBODY",
        "rejected, once since the start",
        "add it to ae_titles of a [[source]]",
    ),
    (
        "warn",
        "sender-stopped",
        "stopped at refused Raw Data Storage",
        "outcome = \"hold\"",
    ),
    ("bad", "failed", "the destination does not take", "at st-mary"),
    (
        "bad",
        "late",
        "at st-mary, waiting for PACS_B there",
        "at st-mary, run `edge-gateway doctor`",
    ),
    ("warn", "held", "held by rule", "edge-gateway release"),
    (
        "bad",
        "notices by ops",
        "cannot be told since",
        "edge-gateway notify test ops",
    ),
    ("ok", "disk of the spool", "MiB free", ""),
];

/// And at the one that delivers.
const FOUND_AT_B: [(&str, &str, &str, &str); 9] = [
    ("ok", "link to the relay", "up since", ""),
    (
        "bad",
        "destination PACS_B",
        "called as PACS_B by PACKHORSE, it rejects us",
        "at the PACS, enter PACKHORSE",
    ),
    ("ok", "destination PACS_FEW", "takes what it is sent", ""),
    (
        "bad",
        "failed",
        "the destination does not take",
        "class and transfer syntax enabled at the PACS",
    ),
    ("bad", "destination PACS_OFF", "cannot be connected", "listens on port"),
    (
        "warn",
        "destination PACS_CLOSED",
        "no site may send to it",
        "accept SITE --for PACS_CLOSED",
    ),
    (
        "bad",
        "late",
        "waiting for PACS_B, which rejects us",
        "edge-gateway doctor",
    ),
    (
        "bad",
        "late",
        "waiting for PACS_OFF, which is down",
        "edge-gateway doctor",
    ),
    ("warn", "notices", "nobody is told", "[[notify]]"),
];

#[test]
fn each_prepared_fault_is_named_with_its_remedy() {
    for peer in [Peer::Pynetdicom, Peer::Storescu] {
        let Some(_) = require(peer) else { return };
    }
    let mut faulty = Faulty::prepare();
    let sites = &faulty.sites;
    send_all(sites);
    wait_for(sites, Host::B, &FOUND_AT_B);
    wait_for(sites, Host::A, &FOUND_AT_A);
    let said = sites.run(Host::B, &["doctor"]).said();
    assert!(said.contains(&format!("listens on port {}", faulty.off)), "{said}");
    let printed = sites.run(Host::A, &["doctor"]);
    assert_eq!(printed.status.code(), Some(1));
    assert!(printed.said().contains("things are bad") && printed.said().contains("to do: at st-mary, run:"));
    faulty.sites.stop(Host::A);
    let stopped = findings(&faulty.sites, Host::A);
    assert!(is_found(
        &stopped,
        "bad",
        "gateway",
        "no daemon runs",
        "edge-gateway run"
    ));
    assert!(is_found(
        &stopped,
        "bad",
        "notices by ops",
        "could not be told",
        "notify test ops"
    ));
}

/// A sender that stops at a refusal, a caller that is unknown, and something on each route that takes it.
fn send_all(sites: &Sites) {
    let mixed = mixed_folder(2);
    let files = corpus::files(mixed.path()).unwrap();
    let stopped = storescu(sites.dicom().port(), ROUTE).run(&files, PATIENCE).unwrap();
    assert!(!stopped.status.success(), "it stops at {RAW_DATA}: {}", stopped.said());
    let series = made_series(2, 16);
    RawScu::associate(sites.dicom(), ROUTE, "NOBODY", &[series[0].pair()]).unwrap_err();
    for route in ["FEW", "OFF"] {
        let sent = sites.run(Host::A, &["send", mixed.path().to_str().unwrap(), "--to", route]);
        assert!(sent.said().contains("3 of 4 in custody"), "{}", sent.said());
    }
}
