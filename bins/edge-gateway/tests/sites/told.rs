//! Who is told: by channels, once, whatever is killed meanwhile.

use std::net::SocketAddr;

use packhorse_testkit::process::free_port;
use packhorse_testkit::sinks::HttpSink;
use serde_json::Value;

use crate::instances::{made_series, send_rest};
use crate::support::{Host, PATIENCE, Setup, Sites, rows};

/// Nobody listens there.
const NO_TARGET: u16 = 9;

/// Adds to a host's `edge.toml` and starts it again.
pub(crate) fn configure(sites: &mut Sites, host: Host, more: &str) {
    let text = std::fs::read_to_string(sites.folder(host).join("edge.toml")).unwrap();
    sites.write(host, "edge.toml", &format!("{text}\n{more}"));
    sites.restart(host);
}

/// Notices of one kind, as `notices --json` has them.
fn noticed(sites: &Sites, kind: &str) -> Vec<Value> {
    let answer = sites.json(Host::A, &["notices"]);
    rows(&answer, "notices")
        .filter(|notice| notice["kind"] == kind)
        .cloned()
        .collect()
}

#[test]
fn a_notice_that_was_written_down_is_told_once_after_a_kill() {
    let mut sites = Sites::start(NO_TARGET, &Setup::default());
    let hook = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let channel = format!(
        "[[notify]]\nname = \"ops\"\nkinds = [\"late\"]\nwebhook = \"http://{hook}/\"\n[late]\nroutine = \"500ms\"\n\
         [notices]\nretry_min = \"100ms\"\nretry_max = \"500ms\"\n"
    );
    configure(&mut sites, Host::A, &channel);
    let tried = sites.run(Host::A, &["notify", "test"]);
    assert_eq!(tried.status.code(), Some(1), "{}", tried.said());
    assert!(tried.said().contains("NOT told"), "{}", tried.said());
    send_rest(sites.dicom(), "PACS_A", &made_series(3, 16), &mut Vec::new()).unwrap();
    sites.wait_until("a late study", |sites| !noticed(sites, "late").is_empty());
    sites.kill(Host::A);
    let sink = HttpSink::start_at(hook, &[503, 503]).unwrap();
    sites.restart(Host::A);
    let is_told = |sites: &Sites| {
        let channels = sites.json(Host::A, &["notices"]);
        channels["channels"][0]["waiting"] == 0
    };
    sink.wait_until(PATIENCE, |requests| {
        requests.iter().any(|request| request.status == 204)
    })
    .unwrap();
    sites.wait_until("an end of what waits", is_told);
    sites.stop(Host::A);
    sites.restart(Host::A);
    sites.wait_until("an end of what waits", is_told);
    let requests = sink.requests();
    let taken: Vec<&str> = requests
        .iter()
        .filter(|request| request.status == 204)
        .filter_map(|request| request.header("idempotency-key"))
        .collect();
    let late = noticed(&sites, "late");
    assert_eq!(taken.len(), late.len(), "each once: {requests:?}");
    for notice in &late {
        assert_eq!(taken.iter().filter(|id| **id == notice["id"]).count(), 1);
        assert_eq!(notice["told"][0]["failure"], Value::Null);
    }
    for request in &requests {
        let body = String::from_utf8(request.body.clone()).unwrap();
        let told: Value = serde_json::from_str(&body).unwrap();
        assert!(told["fields"]["study"].as_str().unwrap().starts_with("2.25."), "{told}");
        assert!(!body.contains("ller"), "nothing of the patient: {body}");
    }
    let tried = sites.said(Host::A, &["notify", "test", "ops"]);
    assert!(tried.contains("told     answered 204"), "{tried}");
    assert_eq!(sites.run(Host::A, &["notify", "test", "nobody"]).status.code(), Some(1));
}
