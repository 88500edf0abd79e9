//! What an administrator meets: commands, words and exit codes.

use std::process::Command;

use packhorse_testkit::instances::Study;
use packhorse_testkit::peers::{Peer, Xscp, XscpOptions, Xscu, require};
use packhorse_testkit::process::{Finished, run};
use packhorse_testkit::raw_scu::{RawScu, RawScuError};

use crate::instances::{made_series, mixed_folder, send_rest};
use crate::support::{Host, PATIENCE, ROUTE, Setup, Sites};

/// Nobody listens there.
const NO_TARGET: u16 = 9;

#[test]
fn the_account_of_a_study_tells_what_was_refused() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let sites = Sites::start(target.port(), &Setup::default());
    let folder = mixed_folder(2);
    let report = Xscu::new(sites.dicom().port(), ROUTE)
        .send(folder.path(), PATIENCE)
        .unwrap();
    assert_eq!((report.sent, report.not_sent), (3, 1));
    sites.wait_until_quiet();
    let expected = "the instances say 4; delivered 3; refused at negotiation on this association: Raw Data Storage";
    let studies = sites.said(Host::A, &["studies"]);
    assert!(studies.contains(expected), "{studies}");
    let uid = Study::new("a mixed study").study_instance_uid().to_string();
    let study = sites.json(Host::A, &["study", &uid]);
    assert_eq!(study["accounts"][0]["summary"]["words"], expected);
    assert_eq!(study["accounts"][0]["instances"].as_array().unwrap().len(), 3);
    assert!(study["accounts"][0]["instances"][0]["identical"].as_bool().unwrap());
}

/// `edge-gateway join` into a folder of its own.
fn join_into(sites: &Sites, token: &str, folder: &str) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-gateway"));
    command
        .args(["join", token, "--dir"])
        .arg(sites.folder(Host::B).join(folder));
    run(&mut command, PATIENCE).unwrap()
}

#[test]
fn tokens_that_are_of_no_use_are_told_apart() {
    let sites = Sites::start(NO_TARGET, &Setup::default());
    let join = |token: &str, into: &str| {
        let finished = join_into(&sites, token, into);
        assert!(!finished.status.success());
        assert!(!finished.said().contains(token), "the token is told to nobody");
        finished.said()
    };
    let token = sites.said(Host::Relay, &["invite", "third", "--expires", "1h"]);
    let mut mistyped = token.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == 'a' { 'b' } else { 'a' });
    let words = [
        join(&mistyped, "m"),
        join("ph1_nonsense", "n"),
        join(&sites.said(Host::Relay, &["invite", "fourth", "--expires", "1ms"]), "e"),
    ];
    assert!(join_into(&sites, &token, "first").status.success());
    let used = join(&token, "second");
    assert!(
        words[0].contains("mistyped") || words[0].contains("typ"),
        "{}",
        words[0]
    );
    assert!(words[2].contains("expired"), "{}", words[2]);
    assert!(used.contains("used"), "{used}");
    assert!(words[0] != words[1] || words[1].contains("typ"));
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_told_at_once() {
    let mut sites = Sites::start(NO_TARGET, &Setup::default());
    sites.stop(Host::A);
    let wrong = "colour = \"red\"\n[[listener]]\nname = \"lan\"\naddress = \"127.0.0.1:0\"\nport = 3\n\
                 [[route]]\ncalled_ae_title = \"X\"\nto = \"nowhere\"\n[delivery]\nidle = \"5m\"\n";
    sites.write(Host::A, "edge.toml", wrong);
    let finished = sites.run(Host::A, &["run"]);
    assert_eq!(finished.status.code(), Some(78));
    for path in ["colour", "listener", "port", "route[1].to", "delivery.idle"] {
        assert!(finished.said().contains(path), "{path} is not in: {}", finished.said());
    }
}

#[test]
fn a_second_daemon_names_the_first_and_ends() {
    let mut sites = Sites::start(NO_TARGET, &Setup::default());
    for host in Host::ALL {
        let finished = sites.run(host, &["run"]);
        assert_eq!(finished.status.code(), Some(69));
        let first = sites.daemon(host).process.id().to_string();
        assert!(
            finished.said().contains(&format!("in use by process {first}")),
            "{}",
            finished.said()
        );
    }
}

#[test]
fn commands_work_on_the_folder_when_no_daemon_runs() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let mut sites = Sites::start(target.port(), &Setup::default());
    let folder = mixed_folder(3);
    sites.stop(Host::A);
    let finished = sites.run(Host::A, &["send", folder.path().to_str().unwrap(), "--to", ROUTE]);
    assert!(finished.said().contains("4 of 5 in custody"), "{}", finished.said());
    assert!(
        finished
            .said()
            .contains("Raw Data Storage is refused at negotiation by rule"),
        "{}",
        finished.said()
    );
    assert!(!finished.status.success(), "what was not sent shows in the exit code");
    let studies = sites.said(Host::A, &["studies"]);
    assert!(studies.contains("in flight 4"), "{studies}");
    assert!(sites.said(Host::A, &["routes"]).contains("accepted"));
    sites.restart(Host::A);
    target.wait_for(4, PATIENCE).unwrap();
}

#[test]
fn who_calls_wrongly_is_rejected_with_the_standards_reason_and_the_log_says_what_to_add() {
    let setup = Setup {
        at_a: "[[route]]\ncalled_ae_title = \"NEW_SITE\"\nto = \"new-site/PACS_C\"\n",
        ..Setup::default()
    };
    let mut sites = Sites::start(NO_TARGET, &setup);
    let series = made_series(1, 16);
    let call = |to, called: &str| match RawScu::associate(to, called, "PACS_A", &[series[0].pair()]) {
        Err(RawScuError::Rejected {
            result,
            source_code,
            reason,
        }) => (result, source_code, reason),
        other => panic!("{called}: {other:?}"),
    };
    assert_eq!(call(sites.dicom(), "NOBODY"), (1, 1, 7));
    assert_eq!(call(sites.dicom(), "NEW_SITE"), (1, 1, 7));
    let process = &mut sites.daemon(Host::A).process;
    process
        .stderr_line("nothing here answers as NOBODY: add a [[route]]", PATIENCE)
        .unwrap();
    process.stderr_line("has not announced itself yet", PATIENCE).unwrap();

    // A caller that no [[source]] lists.
    sites.stop(Host::A);
    let text = std::fs::read_to_string(sites.folder(Host::A).join("edge.toml")).unwrap();
    sites.write(
        Host::A,
        "edge.toml",
        &text.replace("ae_titles = [\"*\"]", "ae_titles = [\"ANOTHER\"]"),
    );
    sites.restart(Host::A);
    assert_eq!(call(sites.dicom(), ROUTE), (1, 1, 3));
    let line = sites
        .daemon(Host::A)
        .process
        .stderr_line("association rejected", PATIENCE)
        .unwrap();
    assert!(line.contains("PACS_A") && line.contains("[[source]]"), "{line}");
}

#[test]
fn without_consent_nothing_is_taken_and_accept_is_in_force_at_once() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let mut sites = Sites::start(target.port(), &Setup::default());
    sites.stop(Host::B);
    let text = std::fs::read_to_string(sites.folder(Host::B).join("edge.toml")).unwrap();
    sites.write(
        Host::B,
        "edge.toml",
        &text.replace("[\"clinic-a\"]", "[]  # nobody yet"),
    );
    sites.restart(Host::B);
    sites.wait_until("the far site's no", |sites| {
        sites.said(Host::A, &["routes"]).contains("not accepted there yet")
    });
    let series = made_series(1, 16);
    let refused = send_rest(sites.dicom(), "PACS_A", &series, &mut Vec::new());
    assert!(
        matches!(refused, Err(RawScuError::Rejected { reason: 7, .. })),
        "{refused:?}"
    );
    sites.said(Host::B, &["accept", "clinic-a", "--for", "PACS_B"]);
    sites.wait_until("the far site's consent", |sites| {
        sites.said(Host::A, &["routes"]).contains(" accepted")
    });
    send_rest(sites.dicom(), "PACS_A", &series, &mut Vec::new()).unwrap();
    target.wait_for(1, PATIENCE).unwrap();
    let written = std::fs::read_to_string(sites.folder(Host::B).join("edge.toml")).unwrap();
    assert!(
        written.contains("# nobody yet") && written.contains("clinic-a"),
        "comments are kept: {written}"
    );
}

#[test]
fn a_sheet_has_what_each_team_must_enter() {
    let sites = Sites::start(NO_TARGET, &Setup::default());
    let sheet = sites.said(Host::A, &["sheet", ROUTE]);
    for word in [
        "PACKHORSE",
        "refused at negotiation",
        ROUTE,
        "PACS_B at st-mary",
        &sites.dicom().to_string(),
        "raw data",
        "Outbound",
        "Inbound",
    ] {
        assert!(sheet.contains(word), "{word} is not in: {sheet}");
    }
    assert!(!sites.run(Host::A, &["sheet", "NOBODY"]).status.success());
}

#[test]
fn the_conformance_statement_is_printed_with_and_without_a_daemon() {
    let mut sites = Sites::start(NO_TARGET, &Setup::default());
    let running = sites.said(Host::A, &["conformance"]);
    assert!(running.starts_with("# DICOM Conformance Statement"), "{running}");
    assert!(
        running.contains(&format!("| lan | {} | listening |", sites.dicom())),
        "{running}"
    );
    sites.stop(Host::A);
    let stopped = sites.said(Host::A, &["conformance"]);
    let without_now = |statement: &str| statement.lines().filter(|line| !line.starts_with("| lan |")).count();
    assert!(stopped.contains("not running"), "{stopped}");
    assert_eq!(without_now(&running), without_now(&stopped));
}

#[test]
fn a_discard_that_is_killed_before_it_is_answered_is_on_record_with_both_accounts_balanced() {
    let mut sites = Sites::start(NO_TARGET, &Setup::default());
    let series = made_series(3, 16);
    send_rest(sites.dicom(), "PACS_A", &series, &mut Vec::new()).unwrap();
    sites.wait_until("three at the far site", |sites| {
        sites.json(Host::B, &["status"])["in_flight"] == 3 && sites.json(Host::A, &["status"])["in_flight"] == 0
    });
    sites.restart_with(Host::B, Some("after_order:1"));
    let discard = [
        "discard",
        "--from",
        "clinic-a",
        "--reason",
        "test series",
        "--expect",
        "3",
    ];
    // What is being sent to the PACS just then is passed over.
    sites.wait_until("the discard", |sites| {
        !sites.run(Host::B, &discard).said().contains("it would be")
    });
    sites.daemon(Host::B).process.ended(PATIENCE).unwrap();
    sites.restart(Host::B);
    let account = |sites: &Sites, host| sites.json(host, &["studies"])["studies"][0]["account"].clone();
    let sum = |account: &serde_json::Value| {
        let parts = ["delivered", "in_flight", "held", "failed", "discarded"];
        parts.iter().map(|part| account[part].as_u64().unwrap()).sum::<u64>()
    };
    let here = account(&sites, Host::B);
    let discarded = here["discarded"].as_u64().unwrap();
    assert!(discarded > 0 && sum(&here) == 3, "{here}");
    assert_eq!(sites.json(Host::B, &["status"])["in_flight"], 3 - discarded);
    sites.wait_until("the word of it", |sites| {
        account(sites, Host::A)["discarded"] == discarded
    });
    assert_eq!(sum(&account(&sites, Host::A)), 3);
    let nothing = sites.run(Host::A, &["release", "--study", "1.2.3.4"]);
    assert_eq!(
        (nothing.status.code(), nothing.said().contains("no delivery matches")),
        (Some(1), true)
    );
    let unsaid = sites.run(Host::A, &["hold"]);
    assert_eq!(
        (unsaid.status.code(), unsaid.said().contains("say which")),
        (Some(1), true)
    );
    let misspelt = sites.run(Host::A, &["retry", "--class", "raw-dta"]);
    assert!(
        misspelt.said().contains("did you mean \"raw-data\"?"),
        "{}",
        misspelt.said()
    );
}
