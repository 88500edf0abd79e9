//! Rules that ask for what only an instance shows, holds, and shadows.

use std::time::Duration;

use super::*;
use crate::attribute::{Attribute, HeaderValues};
use crate::decision::Shadow;
use crate::rule::{HoldEnd, Outcome};

/// An instance of PACS_A for ST_MARY in Implicit VR Little Endian.
struct Sent {
    who: (AeTitle, AeTitle, TransferSyntaxUid),
    class: (AbstractSyntaxUid, SopClassUid),
    header: HeaderValues,
}

impl Sent {
    fn of(class: &str, header: &[(Attribute, &str)]) -> Self {
        let mut values = HeaderValues::default();
        header
            .iter()
            .for_each(|(attribute, value)| values.insert(*attribute, value));
        Self {
            who: (title("PACS_A"), title("ST_MARY"), uid(IMPLICIT_VR_LE)),
            class: (uid(class), uid(class)),
            header: values,
        }
    }

    fn facts(&self) -> InstanceFacts<'_> {
        InstanceFacts {
            header: Some(&self.header),
            ..facts(&self.who, &self.class, None)
        }
    }

    /// The rule's number that decides at its end, at so many bytes, and the status or `0000`, or `held`.
    fn end(&self, engine: &Engine, length: u64) -> (usize, String) {
        let decided = engine.decide_end(&self.facts(), length);
        let said = match &decided {
            InstanceDecision::Accept { .. } => "0000".to_owned(),
            InstanceDecision::Refuse { status, .. } => format!("{:04X}", status.0),
            InstanceDecision::Hold(_) => "held".to_owned(),
        };
        (decided.rule().number, said)
    }
}

fn said(number: usize, status: &str) -> (usize, String) {
    (number, status.to_owned())
}

#[test]
fn an_instance_that_does_not_meet_a_condition_falls_to_the_next_rule() {
    let engine = engine(
        r#"rule = [
            { class = ["raw-data"], modality = ["MR"], larger_than = "1MiB", outcome = "accept" },
            { class = ["raw-data"], modality = ["M*"], outcome = "hold" },
            { source = ["PACS_A"], class = ["raw-data"], modality = ["PT"], outcome = "refuse-instance" },
        ]"#,
    );
    assert_eq!(
        answers(&engine, "ST_MARY", &[(RAW, &[IMPLICIT_VR_LE])]),
        [IMPLICIT_VR_LE]
    );
    let raw = |modality| Sent::of(RAW, &[(Attribute::Modality, modality)]);
    assert_eq!(raw("MR").end(&engine, (1 << 20) + 1), said(1, "0000"));
    assert_eq!(raw("MR").end(&engine, 1 << 20), said(2, "held"));
    assert_eq!(raw("PT").end(&engine, 0), said(3, "0124"));
    assert_eq!(
        raw("CT").end(&engine, 0),
        said(4, "0122"),
        "the shipped rule, at the instance"
    );
}

#[test]
fn a_context_that_only_a_condition_keeps_open_names_that_rule() {
    let engine = engine(r#"rule = [{ class = ["raw-data"], modality = ["MR"], outcome = "accept" }]"#);
    let decision = engine.decide(
        &proposal(
            "PACS_A",
            "ST_MARY",
            &[(RAW, &[IMPLICIT_VR_LE]), (CT, &[IMPLICIT_VR_LE])],
        ),
        &DestinationKnowledge::default(),
    );
    let rules: Vec<_> = decision.contexts.iter().map(ContextDecision::decided_by).collect();
    assert_eq!(rules, ["rule 1", "rule 6 (storage)"]);
}

#[test]
fn a_rule_that_can_only_refuse_by_the_header_opens_no_context() {
    let tests = "header = { PatientName = [\"test*\"] }";
    let refusing = engine(&format!("rule = [{{ {tests}, outcome = \"refuse-instance\" }}]"));
    let contexts: [(&str, &[&str]); 2] = [(RAW, &[IMPLICIT_VR_LE]), (CT, &[IMPLICIT_VR_LE])];
    assert_eq!(answers(&refusing, "ST_MARY", &contexts), ["[3]", IMPLICIT_VR_LE]);
    let holding = engine(&format!("rule = [{{ {tests}, outcome = \"hold\" }}]"));
    assert_eq!(
        answers(&holding, "ST_MARY", &contexts),
        [IMPLICIT_VR_LE, IMPLICIT_VR_LE]
    );
}

#[test]
fn nothing_is_decided_before_what_a_rule_asks_for_is_known() {
    let engine = engine(
        r#"rule = [
            { class = ["images"], header = { PatientName = ["*TEST*"] }, outcome = "refuse-instance" },
            { class = ["images"], smaller_than = "10KiB", outcome = "hold" },
        ]"#,
    );
    assert_eq!(engine.attributes(), [Attribute::PatientName]);
    let someone = Sent::of(CT, &[(Attribute::PatientName, "Doe^Jane")]);
    let test = Sent::of(CT, &[(Attribute::PatientName, "MR Phantom^Test")]);
    let unscanned = InstanceFacts {
        header: None,
        ..test.facts()
    };
    assert_eq!(engine.decide_header(&unscanned), None);
    assert_eq!(engine.decide_header(&someone.facts()), None, "its length is not known");
    let refused = engine.decide_header(&test.facts()).unwrap();
    assert_eq!(refused, engine.decide_end(&test.facts(), 5), "a refusal is final");
    assert_eq!(someone.end(&engine, 5), said(2, "held"));
    assert_eq!(someone.end(&engine, 10 << 10), said(7, "0000"));
    let nothing = InstanceFacts {
        header: None,
        ..someone.facts()
    };
    assert_eq!(engine.decide_end(&nothing, 10 << 10).rule().number, 7);
}

#[test]
fn absent_and_empty_are_one_and_image_type_has_several_values() {
    let engine = engine(
        r#"rule = [
            { header = { StudyDescription = [""] }, outcome = "hold" },
            { header = { ImageType = ["LOCALIZER", "DERIVED\\SECONDARY*"], Manufacturer = ["?*"] }, outcome = "hold" },
        ]"#,
    );
    let sent = |header: &[(Attribute, &str)]| Sent::of(CT, header).end(&engine, 1).0;
    assert_eq!((sent(&[]), sent(&[(Attribute::StudyDescription, "")])), (1, 1));
    let described = (Attribute::StudyDescription, "Chest");
    let made = (Attribute::Manufacturer, "ACME");
    let of_type = |text| (Attribute::ImageType, text);
    assert_eq!(sent(&[described, made, of_type("ORIGINAL\\PRIMARY \\LOCALIZER")]), 2);
    assert_eq!(sent(&[described, made, of_type("DERIVED\\SECONDARY\\MPR")]), 2);
    assert_eq!(sent(&[described, made, of_type("ORIGINAL\\PRIMARY\\AXIAL")]), 7);
    assert_eq!(sent(&[described, of_type("LOCALIZER")]), 7, "the maker is absent");
}

#[test]
fn a_hold_says_its_end_its_quota_and_its_priority() {
    let engine = engine(
        r#"rule = [
            { class = ["raw-data"], outcome = "hold", hold = "30d", quota = "20GiB", priority = "bulk" },
            { class = ["images"], outcome = "hold" },
        ]"#,
    );
    let held = |class| match engine.decide_end(&Sent::of(class, &[]).facts(), 1) {
        InstanceDecision::Hold(hold) => hold,
        other => panic!("{other:?}"),
    };
    let raw = held(RAW);
    assert_eq!(raw.end.after(), Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(
        (raw.quota, raw.priority),
        (Some(20 << 30), packhorse_ids::Priority::Bulk)
    );
    assert_eq!((held(CT).end, held(CT).quota), (HoldEnd::UntilReleased, None));
    assert_eq!(engine.rules()[0].hold.end.to_string(), "for 30 days, then discarded");
}

#[test]
fn implicit_little_endian_falls_to_the_rule_that_takes_the_instance_in_another_syntax() {
    let engine = engine(
        r#"rule = [{ class = ["raw-data"], transfer_syntax = ["JPEGBaseline8Bit"], modality = ["MR"], outcome = "accept" }]"#,
    );
    let contexts: [(&str, &[&str]); 2] = [(RAW, &[IMPLICIT_VR_LE]), (RAW, &[EXPLICIT_VR_LE])];
    assert_eq!(answers(&engine, "ST_MARY", &contexts), [IMPLICIT_VR_LE, "[4]"]);
    let raw = |modality| Sent::of(RAW, &[(Attribute::Modality, modality)]).end(&engine, 1);
    assert_eq!((raw("MR"), raw("CT")), (said(1, "0000"), said(2, "0122")));
}

#[test]
fn a_shadow_rule_changes_nothing_and_tells_what_it_would_have_done() {
    let shadow = r#"rule = [
        { name = "no raw", class = ["raw-data"], outcome = "accept" },
        { name = "no CT", class = ["CTImageStorage"], outcome = "refuse-context", shadow = true },
        { name = "tests", header = { PatientName = ["TEST*"] }, outcome = "hold", shadow = true },
        { name = "not reached", class = ["RawDataStorage", "images"], outcome = "refuse-context", shadow = true },
    ]"#;
    let with = engine(shadow);
    let contexts: [(&str, &[&str]); 2] = [(CT, &[IMPLICIT_VR_LE]), (RAW, &[IMPLICIT_VR_LE])];
    assert_eq!(answers(&with, "ST_MARY", &contexts), [IMPLICIT_VR_LE, IMPLICIT_VR_LE]);
    let decision = with.decide(
        &proposal("PACS_A", "ST_MARY", &contexts),
        &DestinationKnowledge::default(),
    );
    let told = |shadows: &[Shadow]| -> Vec<(usize, Outcome)> {
        shadows
            .iter()
            .map(|shadow| (shadow.rule.number, shadow.outcome))
            .collect()
    };
    assert_eq!(
        told(&decision.contexts[0].shadows),
        [(2, Outcome::RefuseContext), (4, Outcome::RefuseContext)]
    );
    assert_eq!(told(&decision.contexts[1].shadows), []);
    let test = Sent::of(CT, &[(Attribute::PatientName, "Test^1")]);
    assert_eq!(test.end(&with, 1), said(9, "0000"));
    assert_eq!(
        told(&with.shadows(&test.facts(), 1)),
        [
            (2, Outcome::RefuseContext),
            (3, Outcome::Hold),
            (4, Outcome::RefuseContext)
        ]
    );
    let other = Sent::of(CT, &[(Attribute::PatientName, "Doe")]);
    assert_eq!(told(&with.shadows(&other.facts(), 1)).len(), 2);
}

#[test]
fn a_source_whose_priority_counts_says_so() {
    let text = r#"source = [{ ae_titles = ["ER_CT"], hosts = ["10.0.0.1"], trust_dimse_priority = true }, { ae_titles = ["B"], hosts = ["10.0.0.2"] }]"#;
    let engine = try_engine(text).unwrap();
    let trusted: Vec<_> = engine.sources().iter().map(Source::trusts_dimse_priority).collect();
    assert_eq!(trusted, [true, false]);
}
