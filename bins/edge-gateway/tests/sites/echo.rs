//! `edge-gateway echo`, and C-ECHO from a real sender on a route that is about the far PACS.

use packhorse_testkit::peers::{Peer, Xscp, XscpOptions, echoscu, require};
use packhorse_testkit::process::{Finished, free_port};

use crate::instances::{assert_arrived, made_series, send_rest};
use crate::support::{CALLING, Host, PATIENCE, ROUTE, Setup, Sites};

/// The way to the far PACS, and no probes in between.
fn setup() -> Setup {
    Setup {
        at_a: "[[route]]\ncalled_ae_title = \"WHOLE\"\nto = \"st-mary/PACS_B\"\necho = \"end-to-end\"\n\
               [echo]\nwait = \"3s\"\nanswer = \"3s\"\n",
        in_destination: "mirror = \"off\"",
        in_delivery: "[echo]\nfresh = \"10ms\"\npace = \"2s\"\nanswer = \"2s\"\n",
        ..Setup::default()
    }
}

fn walked(sites: &Sites, expected: i32) -> Finished {
    let finished = sites.run(Host::A, &["echo", ROUTE]);
    assert_eq!(finished.status.code(), Some(expected), "{}", finished.said());
    finished
}

#[test]
fn each_leg_has_its_time_and_what_stops_is_named_with_its_remedy() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let port = target.port();
    let mut sites = Sites::start(port, &setup());
    let well = walked(&sites, 0).said();
    for words in [
        "this gateway -> relay",
        "relay -> st-mary",
        "connect",
        "associate",
        "C-ECHO",
        " ms",
        "all well",
    ] {
        assert!(well.contains(words), "{words} is not in {well}");
    }
    assert!(well.contains(&format!("as {CALLING}: accepted")), "{well}");
    let here = sites.json(Host::B, &["echo", "PACS_B"]);
    assert_eq!(
        (here["ok"].as_bool(), here["legs"].as_array().unwrap().len()),
        (Some(true), 3)
    );
    let unknown = sites.run(Host::A, &["echo", "NOBODY"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        unknown.said().contains("there are: ST_MARY, WHOLE"),
        "{}",
        unknown.said()
    );

    drop(target);
    let off = walked(&sites, 1).said();
    assert!(
        off.contains("stopped at PACS_B, connect") && off.contains("is the PACS running"),
        "{off}"
    );
    let rejecting = Xscp::start(XscpOptions {
        port: Some(port),
        require_calling: vec!["SOMEBODY".to_owned()],
        ..XscpOptions::default()
    });
    let rejecting = rejecting.unwrap();
    let rejected = walked(&sites, 1).said();
    assert!(
        rejected.contains("stopped at PACS_B, associate: called as PACKHORSE"),
        "{rejected}"
    );
    assert!(
        rejected.contains("calling AE title not recognized (1/1/3)"),
        "{rejected}"
    );
    assert!(rejected.contains("let the AE title PACKHORSE in"), "{rejected}");
    drop(rejecting);

    sites.stop(Host::B);
    let far_off = walked(&sites, 1).said();
    assert!(far_off.contains("stopped at st-mary: no answer within"), "{far_off}");
    assert!(far_off.contains("does the gateway of st-mary run"), "{far_off}");
    sites.stop(Host::Relay);
    sites.wait_until("the end of the link", |sites| {
        sites.json(Host::A, &["status"])["link"]["state"] == "down"
    });
    let no_relay = walked(&sites, 1).said();
    assert!(no_relay.contains("stopped at relay: the link is down"), "{no_relay}");
    assert!(
        no_relay.contains("may this gateway send UDP to 127.0.0.1"),
        "{no_relay}"
    );
    sites.stop(Host::A);
    let nobody = sites.run(Host::A, &["echo", ROUTE]);
    assert_eq!(nobody.status.code(), Some(69), "{}", nobody.said());
}

#[test]
fn a_sender_that_echoes_is_answered_by_the_far_pacs_and_its_images_are_taken_whatever_that_says() {
    let (Some(_), Some(_)) = (require(Peer::Pynetdicom), require(Peer::Echoscu)) else {
        return;
    };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let sites = Sites::start(target.port(), &setup());
    let echo = |called: &str| {
        let scu = echoscu(sites.dicom().port(), called).options(["-d"]);
        scu.run::<&str>(&[], PATIENCE).unwrap()
    };
    let before = target.associations().len();
    for _ in 0..5 {
        let finished = echo("WHOLE");
        assert!(finished.status.success(), "{}", finished.said());
    }
    // A's pace is the default, a minute.
    assert_eq!(target.associations().len() - before, 1, "{:?}", target.associations());

    let port = free_port().unwrap();
    let sites = Sites::start(port, &setup());
    let echo = |called: &str| {
        let scu = echoscu(sites.dicom().port(), called).options(["-d"]);
        scu.run::<&str>(&[], PATIENCE).unwrap()
    };
    let failed = echo("WHOLE").said();
    let comment = format!("[PACS_B connect: connection refused (127.0.0.1:{port})");
    assert!(failed.contains("0x110") && failed.contains(&comment), "{failed}");
    let local = echo(ROUTE);
    assert!(local.status.success(), "{}", local.said());
    let series = made_series(3, 32);
    send_rest(sites.dicom(), "PACS_A", &series, &mut Vec::new()).unwrap();
    let target = Xscp::start(XscpOptions {
        port: Some(port),
        ..XscpOptions::default()
    });
    let target = target.unwrap();
    target.wait_for(series.len(), PATIENCE).unwrap();
    assert_arrived(&series, &target.log().unwrap());
}
