//! What comes again, what comes under another's name, and what is held for a while.

use packhorse_testkit::instances::{CT_IMAGE_STORAGE, ImageSize, Instance, Study};
use packhorse_testkit::peers::{LogLine, Peer, Xscp, XscpOptions, require, sha256};
use packhorse_testkit::raw_scu::{Answer, Pair, RawScu};
use serde_json::Value;

use crate::instances::RAW_DATA;
use crate::support::{Host, PATIENCE, ROUTE, Setup, Sites, rows};

const AT_A: &str = r#"
[[route]]
called_ae_title = "SHORT"
to = "st-mary/PACS_B"

[[rule]]
name = "kept for a moment"
route = ["SHORT"]
class = ["raw-data"]
outcome = "hold"
hold = "1s"

[watch]
held_look = "100ms"
"#;

fn pair(instance: &Instance) -> Pair {
    (instance.sop_class_uid.to_string(), instance.transfer_syntax.to_string())
}

/// Sends these bytes under the instance's UIDs.
fn send(sites: &Sites, route: &str, instance: &Instance, data_set: &[u8]) -> Answer {
    let pair = pair(instance);
    let mut scu = RawScu::associate(sites.dicom(), route, "PACS_A", std::slice::from_ref(&pair)).unwrap();
    let context = scu.accepted(&pair).unwrap();
    let (class, uid) = (pair.0.as_bytes(), instance.sop_instance_uid.as_str().as_bytes());
    let answer = scu.store(context, class, uid, data_set).unwrap();
    scu.release().unwrap();
    answer
}

/// The instances of a study, in the order in which they came.
fn instances(sites: &Sites, study: &Study) -> Vec<Value> {
    let accounts = sites.json(Host::A, &["study", study.study_instance_uid().as_str()]);
    rows(&accounts, "accounts")
        .flat_map(|account| rows(account, "instances").cloned())
        .collect()
}

fn digests(log: &[LogLine], instance: &Instance) -> Vec<String> {
    let of = log
        .iter()
        .filter(|line| line.sop_instance_uid == instance.sop_instance_uid.as_str());
    of.map(|line| line.sha256.clone()).collect()
}

fn told(sites: &mut Sites, notice: &str) -> usize {
    let log = sites.daemon(Host::A).process.stderr();
    log.iter()
        .filter(|line| line.contains(&format!("notice=\"{notice}\"")))
        .count()
}

#[test]
fn what_comes_again_arrives_again_and_what_has_changed_is_told() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let setup = Setup {
        at_a: AT_A,
        ..Setup::default()
    };
    let mut sites = Sites::start(target.port(), &setup);
    delivered_and_sent_again_it_is_there_again(&mut sites, &target);
    raw_data_under_another_name_does_not_get_through(&sites, &target);
    what_is_held_for_a_while_is_discarded_by_its_rule(&sites, &target);
}

fn delivered_and_sent_again_it_is_there_again(sites: &mut Sites, target: &Xscp) {
    let study = Study::new("deleted at the target, and sent again");
    let slice = study.ct_slice(1, 1, ImageSize::square(32));
    let (mut header, mut pixels) = (slice.dataset.clone(), slice.dataset.clone());
    let name = header.windows(10).position(|bytes| bytes == b"Testspital").unwrap();
    header[name] = b'F';
    *pixels.last_mut().unwrap() ^= 1;
    let all = [&slice.dataset, &slice.dataset, &header, &pixels];
    for (number, data_set) in all.iter().enumerate() {
        assert_eq!(send(sites, ROUTE, &slice, data_set).status, 0);
        target.wait_for(number + 1, PATIENCE).unwrap();
        sites.wait_until_quiet();
        let expected_notices = usize::from(number == 3);
        assert_eq!(told(sites, "suspicious"), expected_notices, "after {number}");
    }
    let arrived = digests(&target.log().unwrap(), &slice);
    // The last but one came when the header had changed: the pixels are compared with the one before.
    assert_eq!(arrived, all.map(|data_set| sha256(data_set)));
    let known = instances(sites, &study);
    let compared: Vec<_> = known.iter().map(|instance| instance["compared"].as_str()).collect();
    assert_eq!(
        compared,
        [None, Some("same"), Some("header changed"), Some("pixels changed")]
    );
    assert!(known.iter().all(|instance| instance["state"] == "delivered"));
    let said = sites.said(Host::A, &["study", study.study_instance_uid().as_str()]);
    assert!(said.contains("an instance came again with other pixels"), "{said}");
    assert!(said.contains("resent, header changed"), "{said}");
}

/// On the context of CT: named so by the command, and by the data set alone.
fn raw_data_under_another_name_does_not_get_through(sites: &Sites, target: &Xscp) {
    let before = target.log().unwrap().len();
    let study = Study::new("raw data under another name");
    let raw_data = study.raw_data(1, 1, 2_000);
    let ct = (CT_IMAGE_STORAGE.to_owned(), raw_data.transfer_syntax.to_string());
    let mut scu = RawScu::associate(sites.dicom(), ROUTE, "PACS_A", std::slice::from_ref(&ct)).unwrap();
    let context = scu.accepted(&ct).unwrap();
    let uid = raw_data.sop_instance_uid.as_str().as_bytes();
    for class in [RAW_DATA, CT_IMAGE_STORAGE] {
        let answer = scu.store(context, class.as_bytes(), uid, &raw_data.dataset).unwrap();
        assert_eq!(answer.status, 0x0122, "{class}: {answer:?}");
        assert!(answer.comment.contains("Raw Data Storage refused"), "{answer:?}");
    }
    scu.release().unwrap();
    sites.wait_until_quiet();
    assert_eq!(target.log().unwrap().len(), before);
    assert_eq!(instances(sites, &study), Vec::<Value>::new());
}

fn what_is_held_for_a_while_is_discarded_by_its_rule(sites: &Sites, target: &Xscp) {
    let study = Study::new("kept for a moment");
    let raw_data = study.raw_data(1, 1, 2_000);
    assert_eq!(send(sites, "SHORT", &raw_data, &raw_data.dataset).status, 0);
    sites.wait_until("the end of the hold", |sites| {
        instances(sites, &study)
            .first()
            .is_some_and(|instance| instance["state"] == "discarded")
    });
    let reason = instances(sites, &study)[0]["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("discarded: rule 1 (kept for a moment): held 1 second"),
        "{reason}"
    );
    assert_eq!(sites.json(Host::A, &["status"])["held"], 0);
    assert_eq!(digests(&target.log().unwrap(), &raw_data), Vec::<String>::new());
}
