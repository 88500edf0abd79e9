//! What a target does, and what comes of it: each row of the table of statuses, and that no destination, study or instance
//! holds up another.

use std::collections::BTreeMap;
use std::time::Duration;

use packhorse_testkit::peers::{LogLine, Peer, Xscp, XscpOptions, require};
use packhorse_testkit::process::free_port;
use packhorse_testkit::raw_scu::{Pair, RawScu};
use serde_json::Value;

use crate::instances::{Instance, assert_arrived, made_series};
use crate::support::{CALLING, Host, PATIENCE, ROUTE, Setup, Sites, rows};

/// Whatever comes from the emergency room.
const STAT: &str = r#"
[[rule]]
name = "emergency"
source = ["ER"]
class = ["images"]
outcome = "accept"
priority = "stat"
"#;

fn send(sites: &Sites, (calling, called): (&str, &str), instances: &[Instance]) {
    let mut pairs: Vec<Pair> = instances.iter().map(Instance::pair).collect();
    pairs.sort();
    pairs.dedup();
    let mut scu = RawScu::associate(sites.dicom(), called, calling, &pairs).unwrap();
    for instance in instances {
        let context = scu.accepted(&instance.pair()).unwrap();
        let (class, uid) = (instance.class.as_bytes(), instance.uid.as_bytes());
        assert_eq!(scu.store(context, class, uid, &instance.data).unwrap().status, 0);
    }
    scu.release().unwrap();
}

/// One more destination at B, and the route that leads to it.
fn destination(setup: &mut Setup, title: &str, port: u16, more: &str) {
    let calling = if more.contains("calling_ae_title =") {
        String::new()
    } else {
        format!("calling_ae_title = \"{CALLING}\"")
    };
    let route = format!("[[route]]\ncalled_ae_title = \"{title}\"\nto = \"st-mary/{title}\"\n");
    setup.also_at_a.push_str(&route);
    let destination = format!(
        "[[destination]]\nae_title = \"{title}\"\naddress = \"127.0.0.1:{port}\"\naccept_from = [\"clinic-a\"]\n\
         {calling}\n{more}\n"
    );
    setup.also_at_b.push_str(&destination);
}

/// What `status` at B says of a destination.
fn at_b(sites: &Sites, title: &str) -> Value {
    let status = sites.json(Host::B, &["status"]);
    let mut all = rows(&status, "destinations").filter(|known| known["ae_title"] == title);
    all.next().unwrap().clone()
}

fn times(log: &[LogLine], instance: &Instance) -> usize {
    log.iter().filter(|line| line.sop_instance_uid == instance.uid).count()
}

#[test]
fn a_slow_routine_study_holds_up_no_stat_study_neither_to_another_pacs_nor_to_the_same() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let slow = Xscp::start(XscpOptions {
        slow: Duration::from_millis(300),
        ..XscpOptions::default()
    })
    .unwrap();
    let good = Xscp::start(XscpOptions::default()).unwrap();
    let mut setup = Setup {
        at_a: STAT,
        // Its associations are counted.
        in_destination: "mirror = \"off\"",
        ..Setup::default()
    };
    destination(&mut setup, "GOOD", good.port(), "");
    let sites = Sites::start(slow.port(), &setup);
    let (routine, stat, same) = (made_series(16, 32), made_series(6, 32), made_series(2, 32));
    send(&sites, ("CT", ROUTE), &routine);
    slow.wait_for(2, PATIENCE).unwrap();
    send(&sites, ("ER", "GOOD"), &stat);
    send(&sites, ("ER", ROUTE), &same);
    let to_good = good.wait_for(stat.len(), PATIENCE).unwrap();
    let to_slow = slow.wait_for(routine.len() + same.len(), PATIENCE).unwrap();
    sites.wait_until_quiet();
    assert_arrived(&stat, &to_good);
    assert_arrived(&routine, &to_slow);
    assert_arrived(&same, &to_slow);
    let last = |log: &[LogLine], of: &[Instance]| {
        let theirs = log
            .iter()
            .filter(|line| of.iter().any(|one| one.uid == line.sop_instance_uid));
        theirs.map(|line| line.time).fold(0.0, f64::max)
    };
    let routine_ends = last(&to_slow, &routine);
    assert!(
        last(&to_good, &stat) < routine_ends,
        "STAT to the good PACS came behind the slow study"
    );
    assert!(
        last(&to_slow, &same) < routine_ends,
        "STAT to the slow PACS came behind its study"
    );
    // All over the one association, and the study in its order.
    assert_eq!(slow.associations().len(), 1);
    let order: Vec<_> = to_slow.iter().map(|line| &line.sop_instance_uid).collect();
    let routine_order: Vec<_> = order
        .iter()
        .filter(|uid| routine.iter().any(|one| one.uid == ***uid))
        .collect();
    assert!(routine_order.iter().zip(&routine).all(|(uid, one)| ***uid == one.uid));
}

/// A target, what it does, and the study that is sent to it.
struct Row {
    title: &'static str,
    /// `None`: it is off.
    target: Option<Xscp>,
    study: Vec<Instance>,
}

impl Row {
    fn log(&self) -> Vec<LogLine> {
        self.target
            .as_ref()
            .map(|target| target.log().unwrap())
            .unwrap_or_default()
    }

    /// That everything but `poison` has arrived once, and how often that was tried.
    fn tries_of(&self, poison: usize) -> usize {
        let log = self.log();
        for (number, instance) in self.study.iter().enumerate() {
            assert!(
                number == poison || times(&log, instance) == 1,
                "{}: {}",
                self.title,
                instance.name
            );
        }
        times(&log, &self.study[poison])
    }
}

/// Each target's study has a size of its own, so that it is another study.
fn rows_of_the_table(setup: &mut Setup) -> BTreeMap<&'static str, Row> {
    let uid_of = |study: &[Instance]| study[1].uid.clone();
    let answers = |status| XscpOptions {
        status: Some(status),
        ..XscpOptions::default()
    };
    type Options = Box<dyn Fn(&[Instance]) -> Option<XscpOptions>>;
    let to_one = |status| -> Options {
        Box::new(move |study: &[Instance]| {
            Some(XscpOptions {
                status_of: Some((uid_of(study), status)),
                ..XscpOptions::default()
            })
        })
    };
    let all: [(&str, Options); 10] = [
        ("WARNS", Box::new(move |_| Some(answers(0xB006)))),
        ("FULL", Box::new(move |_| Some(answers(0xA700)))),
        ("OFF", Box::new(|_| None)),
        (
            "REJECTS",
            Box::new(|_| {
                Some(XscpOptions {
                    require_calling: vec!["SOMEBODY".to_owned()],
                    ..XscpOptions::default()
                })
            }),
        ),
        (
            "THIRD",
            Box::new(|_| {
                Some(XscpOptions {
                    status_every: Some((3, 0xC000)),
                    ..XscpOptions::default()
                })
            }),
        ),
        (
            "ABORTS",
            Box::new(move |study| {
                Some(XscpOptions {
                    abort_of: Some(uid_of(study)),
                    ..XscpOptions::default()
                })
            }),
        ),
        ("FINAL", to_one(0xA900)),
        ("DUPLICATE", to_one(0x0111)),
        ("FAILS", to_one(0x0110)),
        ("GOOD", Box::new(|_| Some(XscpOptions::default()))),
    ];
    let mut rows = BTreeMap::new();
    for ((title, options), side) in all.into_iter().zip(16..) {
        let study = made_series(4, side * 2);
        let target = options(&study).map(|options| Xscp::start(options).unwrap());
        let port = target.as_ref().map_or_else(|| free_port().unwrap(), Xscp::port);
        let more = if title == "GOOD" {
            "calling_ae_title = \"original\""
        } else {
            ""
        };
        destination(setup, title, port, more);
        rows.insert(title, Row { title, target, study });
    }
    rows
}

#[test]
fn each_row_of_the_table_comes_to_what_it_says_and_no_destination_holds_up_another() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    // An association that was kept is tried anew when it ends under an instance: that would be one try more.
    let mut setup = Setup {
        in_delivery: "idle = \"50ms\"",
        ..Setup::default()
    };
    let table = rows_of_the_table(&mut setup);
    let sites = Sites::start(free_port().unwrap(), &setup);
    for row in table.values() {
        send(&sites, ("CT", row.title), &row.study);
    }
    let good = table["GOOD"].target.as_ref().unwrap().wait_for(4, PATIENCE).unwrap();
    assert!(
        good.iter().all(|line| line.calling_ae_title == "CT"),
        "the source's title is passed on"
    );
    let is_over = |title| {
        let known = at_b(&sites, title);
        known["waiting"] == 0
    };
    sites.wait_until("the end of what can end", |_| {
        ["WARNS", "THIRD", "ABORTS", "FINAL", "DUPLICATE", "FAILS", "GOOD"]
            .into_iter()
            .all(is_over)
    });
    // Each poison instance is tried as often as its row says, and holds up none of its study.
    assert_eq!(table["ABORTS"].tries_of(1), 3);
    assert_eq!(table["FINAL"].tries_of(1), 1);
    assert_eq!(table["DUPLICATE"].tries_of(1), 1);
    assert_eq!(table["FAILS"].tries_of(1), 3);
    let third = table["THIRD"].log();
    assert_arrived(&table["THIRD"].study, &third);
    assert_eq!(third.iter().filter(|line| line.status == "c000").count(), 1);
    assert_eq!(third.iter().filter(|line| line.status == "0000").count(), 4);

    let failed = sites.json(Host::B, &["failed"]);
    for (title, reason) in [
        ("ABORTS", "the PACS drops the association on it (3 times)"),
        ("FINAL", "answered A900 (error: data set does not match SOP class)"),
        ("DUPLICATE", "whether it is there already, only a query could confirm"),
        ("FAILS", "answered 0110 (processing failure) (after 3 tries)"),
    ] {
        let mut theirs = rows(&failed, "failed").filter(|delivery| delivery["to"] == title);
        let delivery = theirs.next().unwrap();
        assert!(
            delivery["reason"].as_str().unwrap().contains(reason),
            "{title}: {delivery}"
        );
        assert!(theirs.next().is_none(), "{title}: {failed}");
    }
    let warned = sites.deliveries(Host::B);
    let warned: Vec<_> = warned.iter().filter(|delivery| delivery["to"] == "WARNS").collect();
    assert_eq!(warned.len(), 4);
    for delivery in warned {
        assert_eq!(
            (&delivery["state"], &delivery["status"]),
            (&"delivered".into(), &"B006".into())
        );
        assert_eq!(delivery["warning"], true);
    }

    // What is the destination's own trouble costs no instance a try.
    for (title, state, why) in [
        ("FULL", "down", "answered A700 (refused: out of resources)"),
        ("OFF", "down", "refused"),
        (
            "REJECTS",
            "paused",
            "called with our title \"PACKHORSE\", the destination answered: ",
        ),
    ] {
        let known = at_b(&sites, title);
        assert_eq!((&known["waiting"], &known["failed"]), (&4.into(), &0.into()), "{known}");
        assert_eq!(known["health"]["state"], state, "{known}");
        assert!(known["health"]["why"].as_str().unwrap().contains(why), "{known}");
    }
}

#[test]
fn a_study_is_delivered_as_a_whole_once_it_is_quiet_at_its_source() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let mut setup = Setup::default();
    destination(
        &mut setup,
        "WHOLE",
        target.port(),
        "deliver = \"whole-study\"\nmirror = \"off\"",
    );
    setup.also_at_a += "[ledger]\nquiet = \"1s\"\n";
    let sites = Sites::start(free_port().unwrap(), &setup);
    let study = made_series(12, 32);
    // Over three associations, as some sources do.
    for part in study.chunks(4) {
        send(&sites, ("CT", "WHOLE"), part);
    }
    sites.wait_until("all of it at B", |sites| at_b(sites, "WHOLE")["waiting"] == 12);
    assert_eq!(target.log().unwrap().len(), 0, "it is not quiet yet");
    let log = target.wait_for(study.len(), PATIENCE).unwrap();
    sites.wait_until_quiet();
    assert_arrived(&study, &log);
    assert_eq!(target.associations().len(), 1);
    let order: Vec<_> = log.iter().map(|line| &line.sop_instance_uid).collect();
    assert_eq!(order, study.iter().map(|instance| &instance.uid).collect::<Vec<_>>());
}
