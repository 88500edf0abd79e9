//! What is off for a while: everything arrives without a hand, and `status` says what is wrong meanwhile.

use std::thread;
use std::time::Duration;

use packhorse_testkit::peers::{Peer, Xscp, XscpOptions, require};
use packhorse_testkit::process::{free_port, poll};

use crate::instances::{Instance, assert_arrived, doubles, made_series, send_rest};
use crate::support::{CALLING, Host, PATIENCE, Setup, Sites};

fn send_all(sites: &Sites, calling: &str, instances: &[Instance]) {
    send_rest(sites.dicom(), calling, instances, &mut Vec::new()).unwrap();
}

#[test]
fn a_target_that_was_off_gets_everything_once_it_is_on() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let port = free_port().unwrap();
    let mut sites = Sites::start(port, &Setup::default());
    let series = made_series(100, 64);
    // A hundred associations from three sources, and edge A started again meanwhile.
    for (part, chunk) in series.chunks(25).enumerate() {
        thread::scope(|scope| {
            for (number, instance) in chunk.iter().enumerate() {
                let (sites, calling) = (&sites, format!("SOURCE_{}", number % 3));
                scope.spawn(move || send_all(sites, &calling, std::slice::from_ref(instance)));
            }
        });
        if part == 1 {
            sites.stop(Host::A);
            sites.restart(Host::A);
        }
    }
    sites.wait_until("the target's trouble in status", |sites| {
        let status = sites.json(Host::B, &["status"]);
        let health = &status["destinations"][0]["health"];
        health["state"] == "down" && health["why"].as_str().unwrap().contains("refused")
    });
    assert_eq!(
        sites.json(Host::B, &["status"])["failed"],
        0,
        "nothing is given up because a target is off"
    );

    let target = Xscp::start(XscpOptions {
        port: Some(port),
        ..XscpOptions::default()
    })
    .unwrap();
    target.wait_for(series.len(), PATIENCE).unwrap();
    sites.wait_until_quiet();
    let log = target.log().unwrap();
    assert_arrived(&series, &log);
    assert_eq!(doubles(&log), 0);
    assert!(log.iter().all(|line| line.calling_ae_title == CALLING));
}

#[test]
fn a_target_that_rejects_our_title_keeps_its_instances_queued() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let mut options = XscpOptions {
        require_calling: vec!["SOMEBODY".to_owned()],
        ..XscpOptions::default()
    };
    let target = Xscp::start(options.clone()).unwrap();
    options.port = Some(target.port());
    let sites = Sites::start(target.port(), &Setup::default());
    let series = made_series(3, 32);
    send_all(&sites, "PACS_A", &series);
    sites.wait_until("the rejection in status", |sites| {
        let status = sites.json(Host::B, &["status"]);
        status["destinations"][0]["health"]["state"] == "paused" && status["destinations"][0]["waiting"] == 3
    });
    let said = sites.said(Host::B, &["status"]);
    assert!(said.contains(&format!("called with our title \"{CALLING}\"")), "{said}");
    assert!(said.contains("calling AE title not recognized"), "{said}");
    assert_eq!(sites.json(Host::B, &["status"])["failed"], 0);

    // Somebody enters our title at the PACS.
    drop(target);
    options.require_calling = vec![CALLING.to_owned()];
    let target = Xscp::start(options).unwrap();
    target.wait_for(series.len(), PATIENCE).unwrap();
    sites.wait_until_quiet();
    assert_arrived(&series, &target.log().unwrap());
}

#[test]
fn without_the_relay_edge_a_still_takes_and_says_since_when_the_link_is_down() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let mut sites = Sites::start(target.port(), &Setup::default());
    sites.stop(Host::Relay);
    let link = |sites: &Sites| sites.json(Host::A, &["status"])["link"].clone();
    sites.wait_until("the end of the link in status", |sites| link(sites)["state"] == "down");
    let series = made_series(20, 64);
    send_all(&sites, "PACS_A", &series);
    let since = link(&sites)["since"].clone();
    assert!(
        sites
            .said(Host::A, &["status"])
            .contains(&format!("link down since {}", since.as_str().unwrap()))
    );
    assert_eq!(sites.json(Host::A, &["status"])["to_relay"], 20);
    assert!(target.log().unwrap().is_empty());

    sites.restart(Host::Relay);
    target.wait_for(series.len(), PATIENCE).unwrap();
    sites.wait_until_quiet();
    let log = target.log().unwrap();
    assert_arrived(&series, &log);
    assert_eq!(doubles(&log), 0);
}

#[test]
fn a_poison_instance_holds_up_none_behind_it() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let series = made_series(12, 32);
    let target = Xscp::start(XscpOptions {
        status_of: Some((series[2].uid.clone(), 0xC123)),
        abort_of: Some(series[5].uid.clone()),
        ..XscpOptions::default()
    })
    .unwrap();
    let sites = Sites::start(target.port(), &Setup::default());
    send_all(&sites, "PACS_A", &series);
    sites.wait_until_quiet();
    let log = target.log().unwrap();
    assert_arrived(&series, &log);
    let tries = |instance: &Instance| log.iter().filter(|line| line.sop_instance_uid == instance.uid).count();
    assert_eq!((tries(&series[2]), tries(&series[5])), (3, 3), "three tries each");
    let failed = sites.said(Host::B, &["failed"]);
    assert!(
        failed.contains("C123") && failed.contains("the PACS drops the association on it (3 times)"),
        "{failed}"
    );
    // By hand they are tried again.
    let said = sites.said(Host::B, &["retry"]);
    assert!(said.starts_with("2 to be tried again"), "{said}");
    let came = poll(PATIENCE, || {
        (target.log().unwrap().len() >= log.len() + 2).then_some(())
    });
    assert!(came.is_some());
}

#[test]
fn a_target_that_drops_every_association_costs_no_instance_its_tries() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let mut options = XscpOptions {
        abort_every: Some(1),
        ..XscpOptions::default()
    };
    let target = Xscp::start(options.clone()).unwrap();
    options.port = Some(target.port());
    let sites = Sites::start(target.port(), &Setup::default());
    let series = made_series(10, 32);
    send_all(&sites, "PACS_A", &series);
    // Far more often than the tries of all together, if each were charged to its instance.
    target.wait_for(12, PATIENCE).unwrap();
    let status = sites.json(Host::B, &["status"]);
    assert_eq!(status["destinations"][0]["health"]["state"], "down", "{status}");
    assert_eq!(status["failed"], 0, "{status}");
    drop(target);
    options.abort_every = None;
    let target = Xscp::start(options).unwrap();
    target.wait_for(series.len(), PATIENCE).unwrap();
    sites.wait_until_quiet();
    assert_arrived(&series, &target.log().unwrap());
}

#[test]
fn a_target_that_does_not_answer_is_down_and_its_instances_wait() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions {
        slow: Duration::from_secs(600),
        ..XscpOptions::default()
    })
    .unwrap();
    let setup = Setup {
        in_delivery: "answer = \"1s\"",
        ..Setup::default()
    };
    let sites = Sites::start(target.port(), &setup);
    send_all(&sites, "PACS_A", &made_series(3, 32));
    target.wait_for(4, PATIENCE).unwrap();
    let status = sites.json(Host::B, &["status"]);
    let destination = &status["destinations"][0];
    assert_eq!(destination["health"]["state"], "down", "{status}");
    assert!(
        destination["health"]["why"]
            .as_str()
            .unwrap()
            .contains("did not come within 1s"),
        "{status}"
    );
    assert_eq!(
        (&destination["failed"], &destination["waiting"]),
        (&0.into(), &3.into()),
        "{status}"
    );
}

#[test]
fn an_association_that_the_target_closed_while_idle_costs_nothing() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let mut options = XscpOptions::default();
    let target = Xscp::start(options.clone()).unwrap();
    options.port = Some(target.port());
    let setup = Setup {
        in_delivery: "idle = \"60s\"",
        ..Setup::default()
    };
    let sites = Sites::start(target.port(), &setup);
    let series = made_series(4, 32);
    send_all(&sites, "PACS_A", &series[..2]);
    target.wait_for(2, PATIENCE).unwrap();
    sites.wait_until_quiet();
    // The PACS is started again: the association that was kept is gone.
    drop(target);
    let target = Xscp::start(options).unwrap();
    send_all(&sites, "PACS_A", &series[2..]);
    let log = target.wait_for(2, PATIENCE).unwrap();
    sites.wait_until_quiet();
    assert_arrived(&series[2..], &log);
    let attempts = |delivery: &serde_json::Value| delivery["attempts"].as_u64().unwrap();
    assert_eq!(sites.deliveries(Host::B).iter().map(attempts).sum::<u64>(), 0);
}
