use std::path::PathBuf;

use packhorse_daemon::FolderLock;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_testkit::instances::{ImageSize, Study};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::commands::args::{Output, PolicyTest};

const TOML: &str = r#"
source = [
    { ae_titles = ["PACS_A", "CT_*"], hosts = ["10.0.0.0/8"] },
    { ae_titles = ["BY_NAME"], hosts = ["pacs.invalid"] },
]
route = [
    { called_ae_title = "ST_MARY", to = "st-mary/PACS_B" },
    { called_ae_title = "OLD", to = "clinic-b/OLD", transfer_syntaxes = ["ImplicitVRLittleEndian"] },
]

[[rule]]
name = "raw data stays"
route = ["ST_MARY"]
class = ["raw-data"]
outcome = "hold"
hold = "30d"
quota = "20GiB"

[[rule]]
name = "no second slices"
class = ["CTImageStorage"]
larger_than = "9KiB"
header = { ImageType = ["AXIAL"] }
outcome = "refuse-instance"

[[rule]]
name = "try it"
source = ["PACS_A"]
class = ["images"]
outcome = "refuse-context"
shadow = true
"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge.toml"), TOML).unwrap();
    folder
}

/// Two CT slices, the second one larger; raw data; the first slice without file meta information; a text.
fn files() -> TempDir {
    let (folder, study) = (tempfile::tempdir().unwrap(), Study::new("policy test"));
    let small = study.ct_slice(1, 1, ImageSize::default());
    let large = study.ct_slice(1, 2, ImageSize::square(128));
    let raw = study.raw_data(2, 1, 1000);
    for (name, bytes) in [
        ("1.dcm", small.to_part10()),
        ("2.dcm", large.to_part10()),
        ("3.dcm", raw.to_part10()),
        ("bare", small.dataset),
        ("notes.txt", b"remember the milk".to_vec()),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn title(text: &str) -> AeTitle {
    AeTitle::try_from(text).unwrap()
}

fn asked(from: &str, to: &str) -> PolicyTest {
    PolicyTest {
        paths: Vec::new(),
        from: Some(title(from)),
        to: Some(title(to)),
        class: Vec::new(),
        syntax: Vec::new(),
        header: Vec::new(),
        size: None,
        verbose: false,
        output: Output { json: false },
    }
}

/// What is printed, and whether everything would be taken.
fn tried(asked: &PolicyTest) -> (String, Result<(), String>) {
    let config = Config::load(folder().path()).unwrap();
    let trials = trial::run(&config, asked).unwrap();
    let verdict = trials.verdict().map_err(|error| error.to_string());
    (trials.show(asked.verbose, asked.output.json), verdict)
}

#[test]
fn a_folder_is_summed_up_by_class_and_what_becomes_of_it() {
    let files = files();
    let asked = PolicyTest {
        paths: vec![files.path().into()],
        ..asked("PACS_A", "ST_MARY")
    };
    let (said, verdict) = tried(&asked);
    let expected = format!(
        "from PACS_A to ST_MARY, PACS_B at st-mary\n\
         \x20    2  CT Image Storage, Explicit VR Little Endian\n\
         \x20       accepted, by rule 8 (storage), shipped\n\
         \x20       shadow: refuse-context by rule 3 (try it)\n\
         \x20    1  CT Image Storage, Explicit VR Little Endian\n\
         \x20       refused at the instance: C-STORE answered 0122, \"rule 2: CT Image Storage refused\", by rule 2 (no second slices)\n\
         \x20       shadow: refuse-context by rule 3 (try it)\n\
         \x20    1  Raw Data Storage, Explicit VR Little Endian\n\
         \x20       answered 0000 and held for 30 days, then discarded, 20 GiB at most, by rule 1 (raw data stays)\n\
         \n\
         {}: not a DICOM file: no DICM prefix, and it does not begin with a data element",
        files.path().join("notes.txt").display()
    );
    assert_eq!(said, expected);
    assert_eq!(verdict, Err("1 would be refused".to_owned()));
}

#[test]
fn every_file_is_named_when_that_is_asked_for() {
    let files = files();
    let asked = PolicyTest {
        paths: vec![files.path().join("1.dcm"), files.path().join("bare")],
        verbose: true,
        output: Output { json: true },
        ..asked("CT_1", "OLD")
    };
    let (said, verdict) = tried(&asked);
    let said: Value = serde_json::from_str(&said).unwrap();
    let outcome = &said["tested"][0]["outcomes"][0];
    assert_eq!(
        (&outcome["outcome"], &outcome["count"]),
        (&"refuse-context".into(), &2.into())
    );
    assert_eq!(outcome["files"].as_array().unwrap().len(), 2);
    assert_eq!(outcome["rule"]["name"], "storage");
    assert_eq!(verdict, Err("2 would be refused".to_owned()));
    let words = tried(&PolicyTest {
        output: Output { json: false },
        ..asked
    })
    .0;
    let routes_doing =
        "rule 8 (storage), shipped accepts the class, the route takes it in other transfer syntaxes only";
    assert!(words.contains(routes_doing) && words.contains("bare"), "{words}");
}

#[test]
fn a_class_of_which_no_instance_is_at_hand_shows_the_rules_that_may_decide() {
    let asked = PolicyTest {
        class: vec!["CTImageStorage".to_owned()],
        syntax: vec!["ImplicitVRLittleEndian".to_owned()],
        ..asked("BY_NAME", "OLD")
    };
    let (said, verdict) = tried(&asked);
    let expected = "\
from BY_NAME to OLD, OLD at clinic-b
     1  CT Image Storage, Implicit VR Little Endian
        depends on the instance
          if ImageType AXIAL, over 9 KiB: refused at the instance: C-STORE answered 0122, by rule 2 (no second slices)
          else: accepted, by rule 8 (storage), shipped";
    assert_eq!((said.as_str(), verdict), (expected, Ok(())));
    let small = PolicyTest {
        size: Some("9KiB".to_owned()),
        ..asked.clone()
    };
    assert!(tried(&small).0.ends_with("accepted, by rule 8 (storage), shipped"));
    let large = PolicyTest {
        size: Some("10KiB".to_owned()),
        header: vec!["ImageType=ORIGINAL\\PRIMARY\\AXIAL".to_owned()],
        ..asked
    };
    assert!(tried(&large).1.is_err());
}

#[test]
fn who_would_be_rejected_is_told_with_the_code_and_what_to_add() {
    let class = vec!["RawDataStorage".to_owned()];
    for (from, to, code, add) in [
        ("pacs_a", "ST_MARY", "(1/1/3)", "PACS_A differs only in case"),
        ("PACS_A", "ST_MARYS", "(1/1/7)", "called_ae_title = \"ST_MARYS\""),
    ] {
        let asked = PolicyTest {
            class: class.clone(),
            ..asked(from, to)
        };
        let (said, verdict) = tried(&asked);
        assert!(said.contains(code) && said.contains(add), "{said}");
        assert_eq!(verdict, Err("an association would be rejected".to_owned()));
    }
    let sender = PolicyTest {
        class,
        ..asked("PACKHORSE_SEND", "ST_MARY")
    };
    assert_eq!(
        tried(&sender).1,
        Ok(()),
        "`edge-gateway send` asks under a title of its own"
    );
}

#[test]
fn callers_and_routes_that_are_not_named_are_all_tried_and_those_alike_told_together() {
    let asked = PolicyTest {
        from: None,
        to: None,
        class: vec!["raw-data".to_owned()],
        syntax: vec!["ImplicitVRLittleEndian".to_owned()],
        ..asked("PACS_A", "ST_MARY")
    };
    let (said, _) = tried(&asked);
    let heads: Vec<_> = said.lines().filter(|line| line.starts_with("from")).collect();
    assert_eq!(heads.len(), 2, "{said}");
    assert!(heads[0].contains("from CT_ANY (any of CT_*) to ST_MARY"), "{said}");
}

#[test]
fn what_cannot_be_tried_is_said() {
    let config = Config::load(folder().path()).unwrap();
    let refused = |asked: &PolicyTest| trial::run(&config, asked).unwrap_err().to_string();
    let class = |word: &str| PolicyTest {
        class: vec![word.to_owned()],
        ..asked("PACS_A", "ST_MARY")
    };
    assert!(refused(&class("RawDataStorag")).ends_with("did you mean \"RawDataStorage\"?"));
    assert!(refused(&class("private")).contains("name one of its classes by UID"));
    let nowhere = PolicyTest {
        paths: vec![PathBuf::from("/nowhere/at/all.dcm")],
        ..asked("PACS_A", "ST_MARY")
    };
    let trials = trial::run(&config, &nowhere).unwrap();
    assert!(trials.verdict().is_err());
}

#[test]
fn a_locked_folder_is_read_all_the_same_and_a_wrong_configuration_is_78() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("edge");
    let _lock = FolderLock::create(&folder).unwrap();
    std::fs::write(folder.join("edge.toml"), TOML).unwrap();
    let show = Policy::Show {
        to: None,
        output: Output { json: false },
    };
    run(&folder, &show).unwrap();
    std::fs::write(folder.join("edge.toml"), "[[rule]]\noutcome = \"drop\"\n").unwrap();
    let error = run(&folder, &show).unwrap_err();
    assert_eq!(error.failure(), packhorse_daemon::exit::Failure::Config);
}

#[test]
fn the_rules_of_a_route_are_shown_in_words() {
    let config = Config::load(folder().path()).unwrap();
    let routes = callers::routes(&config, Some(&title("OLD"))).unwrap();
    let said = show::show(&config, &routes, false);
    let begin = "\
ROUTE OLD to OLD at clinic-b
  who may send       PACS_A, CT_* from 10.0.0.0/8; BY_NAME from pacs.invalid
  transfer syntaxes  only Implicit VR Little Endian; the first of these that is proposed
  rules              the first that matches decides
  rule 2 (no second slices)
      CT Image Storage, if ImageType AXIAL, over 9 KiB
      refused at the instance: C-STORE answered 0122
  rule 3 (try it)
      images, from PACS_A
      SHADOW, decides nothing; would be refused at negotiation: user rejection (1)
  rule 4 (raw data), shipped
      raw-data
      refused at negotiation: abstract syntax not supported (3)
";
    assert!(said.starts_with(begin), "{said}");
    let json: Value = serde_json::from_str(&show::show(&config, &routes, true)).unwrap();
    let rules = json["routes"][0]["rules"].as_array().unwrap();
    assert_eq!(
        (rules.len(), &rules[0]["shipped"], &rules[2]["shipped"]),
        (7, &false.into(), &true.into())
    );
    assert!(callers::routes(&config, Some(&title("NOWHERE"))).is_err());
}
