mod checks;
mod conditions;
mod knowledge;

use packhorse_dicom::negotiation::{ContextAnswer, ContextResult, PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax::EXPLICIT_VR_LE;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid};

use super::*;
use crate::decision::{ContextDecision, InstanceDecision, InstanceFacts};
use crate::knowledge::{MirrorMode, NotTaken};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const JPIP: &str = "1.2.840.10008.1.2.4.94";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    source: Vec<RawSource>,
    #[serde(default)]
    route: Vec<RawRoute>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

const BASE: &str = r#"
source = [{ ae_titles = ["PACS_A", "CT_*"], hosts = ["10.0.0.0/8", "::1"] }]
route = [{ called_ae_title = "ST_MARY", to = "st-mary/PACS_B" }, { called_ae_title = "JPEG", to = "st-mary/J", transfer_syntaxes = ["JPEGBaseline8Bit"] }]
"#;

fn engine(rules: &str) -> Engine {
    try_engine(&format!("{BASE}{rules}")).unwrap()
}

fn try_engine(text: &str) -> Result<Engine, Vec<ConfigError>> {
    let file: File = toml::from_str(text).unwrap();
    Engine::new(&file.source, &file.route, &file.rule)
}

fn title(text: &str) -> AeTitle {
    AeTitle::try_from(text).unwrap()
}

fn proposal(calling: &str, called: &str, contexts: &[(&str, &[&str])]) -> Proposal {
    let context = |(index, (class, syntaxes)): (usize, &(&str, &[&str]))| ProposedContext {
        id: PresentationContextId::nth(index).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from(*class).unwrap(),
        transfer_syntaxes: syntaxes
            .iter()
            .map(|uid| TransferSyntaxUid::try_from(*uid).unwrap())
            .collect(),
    };
    Proposal::of_contexts(
        (IpAddr::from([10, 0, 0, 5]), "lan"),
        title(calling),
        title(called),
        contexts.iter().enumerate().map(context).collect(),
    )
}

/// The answers to contexts of PACS_A for ST_MARY: a transfer syntax, or the result in brackets.
fn answers(engine: &Engine, called: &str, contexts: &[(&str, &[&str])]) -> Vec<String> {
    let decision = engine.decide(&proposal("PACS_A", called, contexts), &DestinationKnowledge::default());
    let show = |context: &ContextDecision| match &context.answer {
        ContextAnswer::Accepted(syntax) => syntax.to_string(),
        ContextAnswer::Rejected(result) => format!("[{}]", result.0),
    };
    decision.contexts.iter().map(show).collect()
}

#[test]
fn the_shipped_rules_refuse_raw_data_private_classes_and_other_services_and_take_the_rest() {
    let contexts: [(&str, &[&str]); 7] = [
        (CT, &[IMPLICIT_VR_LE]),
        (RAW, &[IMPLICIT_VR_LE]),
        ("1.2.840.113619.4.30", &[IMPLICIT_VR_LE]),
        ("1.2.840.10008.1.20.1", &[IMPLICIT_VR_LE]),
        ("1.2.840.10008.5.1.4.1.1.5", &[IMPLICIT_VR_LE]),
        ("1.2.840.10008.5.1.4.1.1.9999", &[IMPLICIT_VR_LE]),
        (VERIFICATION, &[IMPLICIT_VR_LE]),
    ];
    let implicit = IMPLICIT_VR_LE;
    assert_eq!(
        answers(&engine(""), "ST_MARY", &contexts),
        [implicit, "[3]", "[3]", "[3]", implicit, implicit, implicit]
    );
}

#[test]
fn a_refused_context_names_its_rule() {
    let decision = engine("").decide(
        &proposal("PACS_A", "ST_MARY", &[(RAW, &[IMPLICIT_VR_LE])]),
        &DestinationKnowledge::default(),
    );
    assert_eq!(
        decision.contexts[0].rule.as_ref().unwrap().to_string(),
        "rule 1 (raw data)"
    );
    assert!(
        matches!(decision.answer, Answer::Accept(_)),
        "all contexts refused is an A-ASSOCIATE-AC, so that the reason is seen"
    );
}

#[test]
fn without_knowledge_native_little_endian_is_chosen_and_else_the_requestors_first() {
    let contexts: [(&str, &[&str]); 3] = [
        (CT, &[JPEG, IMPLICIT_VR_LE, EXPLICIT_VR_LE]),
        (CT, &[JPEG, IMPLICIT_VR_LE]),
        (CT, &[JPEG, "1.2.3.4"]),
    ];
    assert_eq!(
        answers(&engine(""), "ST_MARY", &contexts),
        [EXPLICIT_VR_LE, IMPLICIT_VR_LE, JPEG]
    );
}

fn uid<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn accepted(syntax: &str) -> ContextAnswer {
    ContextAnswer::Accepted(uid(syntax))
}

#[test]
fn a_routes_syntaxes_decide_but_implicit_little_endian_is_never_refused() {
    let contexts: [(&str, &[&str]); 3] = [
        (CT, &[EXPLICIT_VR_LE, JPEG]),
        (CT, &[EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
        (CT, &[EXPLICIT_VR_LE]),
    ];
    assert_eq!(answers(&engine(""), "JPEG", &contexts), [JPEG, IMPLICIT_VR_LE, "[4]"]);
}

#[test]
fn a_class_in_a_syntax_that_cannot_be_stored_is_4() {
    assert_eq!(
        answers(&engine(""), "ST_MARY", &[(CT, &[JPIP]), (CT, &[JPIP, JPEG])]),
        ["[4]", JPEG]
    );
}

#[test]
fn a_refusal_because_of_the_caller_is_1() {
    let engine = engine(r#"rule = [{ source = ["PACS_A"], class = ["CTImageStorage"], outcome = "refuse-context" }]"#);
    assert_eq!(answers(&engine, "ST_MARY", &[(CT, &[IMPLICIT_VR_LE])]), ["[1]"]);
    let other = engine.decide(
        &proposal("CT_1", "ST_MARY", &[(CT, &[IMPLICIT_VR_LE])]),
        &DestinationKnowledge::default(),
    );
    assert!(matches!(other.contexts[0].answer, ContextAnswer::Accepted(_)));
}

#[test]
fn a_rule_of_the_configuration_comes_before_the_shipped_ones() {
    let engine =
        engine(r#"rule = [{ name = "raw goes", route = ["ST_MARY"], class = ["raw-data"], outcome = "accept" }]"#);
    assert_eq!(
        answers(&engine, "ST_MARY", &[(RAW, &[IMPLICIT_VR_LE])]),
        [IMPLICIT_VR_LE]
    );
    assert_eq!(answers(&engine, "JPEG", &[(RAW, &[IMPLICIT_VR_LE])]), ["[3]"]);
}

#[test]
fn who_may_not_call_is_told_the_standards_reason_and_the_log_says_what_to_add() {
    let engine = engine("");
    let none = |_: &str| vec![];
    let refused = |calling, called| {
        engine
            .admit(&proposal(calling, called, &[(CT, &[IMPLICIT_VR_LE])]), &none)
            .unwrap_err()
    };
    let calling = refused("pacs_a", "ST_MARY");
    assert_eq!(calling.rejection, Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED);
    assert!(
        calling.why.contains("PACS_A differs only in case") && calling.why.contains("[[source]]"),
        "{}",
        calling.why
    );
    assert!(
        calling.why.contains("at the sender to PACS_A, or add it"),
        "{}",
        calling.why
    );
    let called = refused("PACS_A", "st_mary");
    let correct = "correct the called AE title at the sender to ST_MARY, or add";
    assert!(called.why.contains(correct), "{}", called.why);
    let called = refused("PACS_A", "ST_MARYS");
    assert_eq!(called.rejection, Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED);
    assert!(called.why.contains("called_ae_title = \"ST_MARYS\""), "{}", called.why);
    let mut elsewhere = proposal("PACS_A", "ST_MARY", &[(CT, &[IMPLICIT_VR_LE])]);
    elsewhere.peer = IpAddr::from([192, 168, 0, 1]);
    assert!(engine.admit(&elsewhere, &none).unwrap_err().why.contains("192.168.0.1"));
    assert_eq!(
        &*engine.admit(&proposal("CT_9", "ST_MARY", &[]), &none).unwrap().source,
        "PACS_A"
    );
}

fn facts<'a>(
    (calling, called, syntax): &'a (AeTitle, AeTitle, TransferSyntaxUid),
    (context, command): &'a (AbstractSyntaxUid, SopClassUid),
    dataset: Option<&'a SopClassUid>,
) -> InstanceFacts<'a> {
    InstanceFacts {
        calling,
        called,
        context_class: context,
        command_class: command,
        dataset_class: dataset,
        transfer_syntax: syntax,
        common_extended: &[],
        header: None,
    }
}

#[test]
fn raw_data_is_refused_whichever_of_the_three_names_it() {
    let engine = engine("");
    let who = (
        title("PACS_A"),
        title("ST_MARY"),
        TransferSyntaxUid::try_from(IMPLICIT_VR_LE).unwrap(),
    );
    let class = |uid: &str| {
        (
            AbstractSyntaxUid::try_from(uid).unwrap(),
            SopClassUid::try_from(uid).unwrap(),
        )
    };
    let (ct, raw) = (class(CT), class(RAW));
    assert!(matches!(
        engine.decide_header(&facts(&who, &ct, Some(&ct.1))),
        Some(InstanceDecision::Accept { .. })
    ));
    let mixed = (ct.0.clone(), raw.1.clone());
    for facts in [
        facts(&who, &ct, Some(&raw.1)),
        facts(&who, &mixed, None),
        facts(&who, &raw, None),
    ] {
        let Some(InstanceDecision::Refuse { status, comment, .. }) = engine.decide_header(&facts) else {
            panic!()
        };
        assert_eq!(
            (status, comment.as_str()),
            (Status::SOP_CLASS_NOT_SUPPORTED, "rule 1: Raw Data Storage refused")
        );
    }
}

#[test]
fn a_command_of_another_class_than_its_context_is_0122() {
    let who = (
        title("PACS_A"),
        title("ST_MARY"),
        TransferSyntaxUid::try_from(IMPLICIT_VR_LE).unwrap(),
    );
    let mr = SopClassUid::try_from("1.2.840.10008.5.1.4.1.1.4").unwrap();
    let mixed = (AbstractSyntaxUid::try_from(CT).unwrap(), mr);
    let decision = engine("").decide_header(&facts(&who, &mixed, None));
    assert!(matches!(
        decision,
        Some(InstanceDecision::Refuse {
            status: Status::SOP_CLASS_NOT_SUPPORTED,
            ..
        })
    ));
}

#[test]
fn refuse_instance_and_hold_accept_the_context() {
    for (outcome, refused) in [("refuse-instance", true), ("hold", false)] {
        let engine = engine(&format!(
            "rule = [{{ class = [\"raw-data\"], outcome = \"{outcome}\" }}]"
        ));
        assert_eq!(
            answers(&engine, "ST_MARY", &[(RAW, &[IMPLICIT_VR_LE])]),
            [IMPLICIT_VR_LE]
        );
        let who = (
            title("PACS_A"),
            title("ST_MARY"),
            TransferSyntaxUid::try_from(IMPLICIT_VR_LE).unwrap(),
        );
        let raw = (
            AbstractSyntaxUid::try_from(RAW).unwrap(),
            SopClassUid::try_from(RAW).unwrap(),
        );
        let decision = engine.decide_header(&facts(&who, &raw, Some(&raw.1)));
        assert_eq!(matches!(decision, Some(InstanceDecision::Refuse { .. })), refused);
        assert_eq!(matches!(decision, Some(InstanceDecision::Hold(_))), !refused);
    }
}

#[test]
fn all_that_is_wrong_is_reported_at_once_with_its_path() {
    let errors = try_engine(
        r#"
        source = [{ ae_titles = ["A\\B"], hosts = ["10.0.0.300"] }]
        route = [{ called_ae_title = "X", to = "nowhere" }, { called_ae_title = "Y", to = "st-mary/P", transfer_syntaxes = ["nope"] }]
        rule = [{ class = ["raw-dta"], outcome = "drop" }, { route = ["Z"], outcome = "accept", priority = "urgent" }]
        "#,
    )
    .unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "source[1].ae_titles[1]",
            "source[1].hosts[1]",
            "route[1].to",
            "route[2].transfer_syntaxes[1]",
            "rule[1].outcome",
            "rule[1].class[1]",
            "rule[2].priority",
        ]
    );
}
