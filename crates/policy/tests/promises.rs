//! What no configuration may break, asked through the public interface only.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's")]

use std::net::IpAddr;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    CommonExtended, ContextAnswer, ContextResult, PresentationContextId, Proposal, ProposedContext,
};
use packhorse_dicom::transfer_syntax::{self, EXPLICIT_VR_LE, IMPLICIT_VR_LE, Kind};
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid};
use packhorse_policy::config::{RawRoute, RawRule, RawSource};
use packhorse_policy::{ConfigError, DestinationKnowledge, Engine, InstanceDecision, InstanceFacts};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const COMMITMENT: &str = "1.2.840.10008.1.20.1";
const PRIVATE: &str = "1.2.3.4";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const JPIP: &str = "1.2.840.10008.1.2.4.94";

/// A rule as (source, class, transfer syntax, outcome); an empty text leaves the key out.
fn rule((source, class, syntax, outcome): (&str, &str, &str, &str)) -> RawRule {
    let list = |text: &str| if text.is_empty() { vec![] } else { vec![text.to_owned()] };
    RawRule {
        source: list(source),
        class: list(class),
        transfer_syntax: list(syntax),
        outcome: outcome.to_owned(),
        ..RawRule::default()
    }
}

fn try_engine(rules: &[(&str, &str, &str, &str)]) -> Result<Engine, Vec<ConfigError>> {
    let source = RawSource {
        ae_titles: vec!["*".to_owned()],
        hosts: vec!["10.0.0.0/8".to_owned()],
        ..RawSource::default()
    };
    let route = RawRoute {
        called_ae_title: "ST_MARY".to_owned(),
        to: "st-mary/PACS_B".to_owned(),
        ..RawRoute::default()
    };
    let rules: Vec<RawRule> = rules.iter().copied().map(rule).collect();
    Engine::new(&[source], &[route], &rules)
}

fn engine(rules: &[(&str, &str, &str, &str)]) -> Engine {
    try_engine(rules).unwrap()
}

fn proposal(contexts: &[(&str, &[&str])]) -> Proposal {
    let context = |(index, (class, syntaxes)): (usize, &(&str, &[&str]))| ProposedContext {
        id: PresentationContextId::nth(index).unwrap(),
        abstract_syntax: class.parse().unwrap(),
        transfer_syntaxes: syntaxes.iter().map(|syntax| syntax.parse().unwrap()).collect(),
    };
    Proposal::of_contexts(
        (IpAddr::from([10, 0, 0, 5]), "lan"),
        AeTitle::try_from("PACS_A").unwrap(),
        AeTitle::try_from("ST_MARY").unwrap(),
        contexts.iter().enumerate().map(context).collect(),
    )
}

fn answers(engine: &Engine, contexts: &[(&str, &[&str])]) -> Vec<ContextAnswer> {
    let decision = engine.decide(&proposal(contexts), &DestinationKnowledge::default());
    decision.contexts.into_iter().map(|context| context.answer).collect()
}

fn accepted(syntax: &str) -> ContextAnswer {
    ContextAnswer::Accepted(syntax.parse().unwrap())
}

const NOT_SUPPORTED: ContextAnswer = ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED);
const NO_SYNTAX: ContextAnswer = ContextAnswer::Rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED);

#[test]
fn a_rule_that_accepts_everything_accepts_no_other_service() {
    let engine = engine(&[("", "", "", "accept")]);
    assert_eq!(answers(&engine, &[(COMMITMENT, &[IMPLICIT_VR_LE])]), [NOT_SUPPORTED]);
    assert_eq!(
        answers(&engine, &[(RAW, &[IMPLICIT_VR_LE])]),
        [accepted(IMPLICIT_VR_LE)]
    );
}

#[test]
fn another_service_cannot_be_accepted_by_its_group_or_uid() {
    for class in ["service", COMMITMENT] {
        for outcome in ["accept", "hold", "refuse-instance"] {
            let errors = try_engine(&[("", class, "", outcome)]).unwrap_err();
            assert_eq!((errors.len(), errors[0].path.as_str()), (1, "rule[1].class[1]"));
        }
        engine(&[("", class, "", "refuse-context")]);
    }
}

#[test]
fn a_rule_that_accepts_a_class_does_not_accept_it_in_a_syntax_that_carries_no_data_set() {
    let by_class = engine(&[("", "images", "", "accept")]);
    for syntax in transfer_syntax::all()
        .iter()
        .filter(|syntax| syntax.kind == Kind::Refused)
    {
        assert_eq!(
            answers(&by_class, &[(CT, &[syntax.uid])]),
            [NO_SYNTAX],
            "{}",
            syntax.keyword
        );
        assert_eq!(
            answers(&engine(&[]), &[(CT, &[syntax.uid])]),
            [NO_SYNTAX],
            "{}",
            syntax.keyword
        );
    }
    let by_name = engine(&[("", "images", "JPIPReferenced", "accept")]);
    assert_eq!(answers(&by_name, &[(CT, &[JPIP])]), [accepted(JPIP)]);
}

#[test]
fn implicit_little_endian_is_not_refused_by_a_rule_about_syntaxes() {
    let refused = engine(&[("", "images", "ImplicitVRLittleEndian", "refuse-context")]);
    assert_eq!(
        answers(&refused, &[(CT, &[IMPLICIT_VR_LE])]),
        [accepted(IMPLICIT_VR_LE)]
    );
    // Raw data in JPEG only: a class that is accepted at all is accepted in Implicit VR Little Endian.
    let raw_in_jpeg = engine(&[("", "raw-data", "JPEGBaseline8Bit", "accept")]);
    let contexts: [(&str, &[&str]); 3] = [(RAW, &[JPEG]), (RAW, &[IMPLICIT_VR_LE]), (RAW, &[EXPLICIT_VR_LE])];
    assert_eq!(
        answers(&raw_in_jpeg, &contexts),
        [accepted(JPEG), accepted(IMPLICIT_VR_LE), NO_SYNTAX]
    );
}

#[test]
fn a_rule_behind_the_one_that_refuses_a_class_does_not_bring_it_back() {
    let engine = engine(&[
        ("", "raw-data", "", "refuse-context"),
        ("", "", "JPEGBaseline8Bit", "accept"),
    ]);
    let contexts: [(&str, &[&str]); 2] = [(RAW, &[JPEG]), (RAW, &[IMPLICIT_VR_LE])];
    assert_eq!(answers(&engine, &contexts), [NOT_SUPPORTED, NOT_SUPPORTED]);
}

#[test]
fn a_class_that_the_requestor_says_is_storage_is_carried_to_the_end() {
    let engine = engine(&[]);
    let mut proposal = proposal(&[(PRIVATE, &[IMPLICIT_VR_LE])]);
    let class: AbstractSyntaxUid = PRIVATE.parse().unwrap();
    proposal.common_extended = vec![CommonExtended {
        abstract_syntax: class.clone(),
        service_class: "1.2.840.10008.4.2".into(),
        related_general: Vec::new(),
    }];
    let decision = engine.decide(&proposal, &DestinationKnowledge::default());
    assert_eq!(decision.contexts[0].answer, accepted(IMPLICIT_VR_LE));
    let (of_command, syntax) = (SopClassUid::from(&class), IMPLICIT_VR_LE.parse().unwrap());
    let facts = InstanceFacts {
        calling: &proposal.calling_ae_title,
        called: &proposal.called_ae_title,
        context_class: &class,
        command_class: &of_command,
        dataset_class: Some(&of_command),
        transfer_syntax: &syntax,
        common_extended: &proposal.common_extended,
        header: None,
    };
    let said = engine.decide_end(&facts, 1);
    assert!(matches!(said, InstanceDecision::Accept { .. }), "{said:?}");
    let unsaid = engine.decide_end(
        &InstanceFacts {
            common_extended: &[],
            ..facts
        },
        1,
    );
    assert!(matches!(unsaid, InstanceDecision::Refuse { .. }), "{unsaid:?}");
}
