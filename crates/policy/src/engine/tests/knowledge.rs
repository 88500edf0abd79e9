//! What is known of the destination.

use super::*;

fn knowing(
    mode: MirrorMode,
    takes: &[(&str, &str)],
    refuses: &[(&str, &str)],
    refuses_class: &[&str],
) -> DestinationKnowledge {
    let mut known = DestinationKnowledge::new(mode);
    takes
        .iter()
        .for_each(|(class, syntax)| known.takes(uid(class), uid(syntax)));
    refuses
        .iter()
        .for_each(|(class, syntax)| known.refuses(uid(class), uid(syntax)));
    refuses_class.iter().for_each(|class| known.refuses_class(uid(class)));
    known
}

/// The one context of PACS_A for ST_MARY: its answer, and what is known against it.
fn knowingly(engine: &Engine, known: &DestinationKnowledge, class: &str, syntaxes: &[&str]) -> ContextDecision {
    let proposal = proposal("PACS_A", "ST_MARY", &[(class, syntaxes)]);
    engine.decide(&proposal, known).contexts.remove(0)
}

#[test]
fn what_the_destination_is_known_to_take_comes_first_in_the_requestors_order() {
    let known = knowing(MirrorMode::Advise, &[(CT, JPEG), (CT, JPEG_LS)], &[], &[]);
    let decided = knowingly(&engine(""), &known, CT, &[EXPLICIT_VR_LE, JPEG_LS, JPEG]);
    assert_eq!((decided.answer, decided.not_taken), (accepted(JPEG_LS), None));
}

#[test]
fn advise_orders_and_marks_and_refuses_nothing() {
    let known = knowing(MirrorMode::Advise, &[], &[(CT, EXPLICIT_VR_LE), (CT, JPEG)], &[MR]);
    let asked = |class, syntaxes: &[&str]| {
        let decided = knowingly(&engine(""), &known, class, syntaxes);
        (decided.answer, decided.not_taken)
    };
    assert_eq!(asked(CT, &[EXPLICIT_VR_LE, JPEG, JPEG_LS]), (accepted(JPEG_LS), None));
    assert_eq!(asked(CT, &[JPEG]), (accepted(JPEG), Some(NotTaken::Syntax)));
    assert_eq!(
        asked(MR, &[JPEG, EXPLICIT_VR_LE]),
        (accepted(EXPLICIT_VR_LE), Some(NotTaken::Class))
    );
}

#[test]
fn strict_refuses_a_class_with_3_and_the_last_syntax_with_4_and_says_that_it_is_not_the_rule() {
    let known = knowing(MirrorMode::Strict, &[], &[(CT, JPEG), (CT, JPEG_LS)], &[MR]);
    let class = knowingly(&engine(""), &known, MR, &[IMPLICIT_VR_LE, JPEG]);
    assert_eq!(
        class.answer,
        ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED)
    );
    assert_eq!(class.refused_for_destination(), Some(NotTaken::Class));
    assert_eq!(
        class.decided_by(),
        "rule 5 (storage), but the destination is known not to take this class"
    );
    let syntax = knowingly(&engine(""), &known, CT, &[JPEG, JPEG_LS]);
    assert_eq!(
        syntax.answer,
        ContextAnswer::Rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED)
    );
    assert_eq!(syntax.refused_for_destination(), Some(NotTaken::Syntax));
    let left = knowingly(&engine(""), &known, CT, &[JPEG, "1.2.3.4"]);
    assert_eq!((left.answer, left.not_taken), (accepted("1.2.3.4"), None));
}

#[test]
fn strict_never_refuses_implicit_little_endian_without_its_class() {
    let known = knowing(MirrorMode::Strict, &[], &[(CT, IMPLICIT_VR_LE), (CT, JPEG)], &[]);
    let alone = knowingly(&engine(""), &known, CT, &[JPEG, IMPLICIT_VR_LE]);
    assert_eq!(
        (alone.answer, alone.not_taken),
        (accepted(IMPLICIT_VR_LE), Some(NotTaken::Syntax))
    );
    let other = knowingly(&engine(""), &known, CT, &[IMPLICIT_VR_LE, JPEG_LS]);
    assert_eq!((other.answer, other.not_taken), (accepted(JPEG_LS), None));
}

#[test]
fn what_is_held_or_refused_at_the_instance_is_not_narrowed() {
    let known = knowing(MirrorMode::Strict, &[], &[], &[CT]);
    for outcome in ["hold", "refuse-instance"] {
        let engine = engine(&format!("rule = [{{ class = [\"images\"], outcome = \"{outcome}\" }}]"));
        let decided = knowingly(&engine, &known, CT, &[IMPLICIT_VR_LE]);
        assert_eq!(decided.answer, accepted(IMPLICIT_VR_LE), "{outcome}");
        assert_eq!(decided.refused_for_destination(), None);
    }
}

#[test]
fn what_a_rule_refuses_is_not_laid_to_the_destination() {
    let known = knowing(MirrorMode::Strict, &[], &[], &[RAW]);
    let decided = knowingly(&engine(""), &known, RAW, &[IMPLICIT_VR_LE]);
    assert_eq!((decided.refused_for_destination(), decided.not_taken), (None, None));
    assert_eq!(decided.decided_by(), "rule 1 (raw data)");
}

#[test]
fn what_a_rule_holds_by_the_header_keeps_a_context_that_strict_would_refuse() {
    let known = knowing(MirrorMode::Strict, &[], &[], &[CT]);
    let with = |outcome: &str| {
        let rule = format!(
            "rule = [{{ class = [\"images\"], header = {{ PatientName = [\"*test*\"] }}, outcome = \"{outcome}\" }}]"
        );
        knowingly(&engine(&rule), &known, CT, &[IMPLICIT_VR_LE]).answer
    };
    assert_eq!(with("hold"), accepted(IMPLICIT_VR_LE));
    // What is refused by its header would not have got there either.
    assert!(matches!(with("refuse-instance"), ContextAnswer::Rejected(_)));
}
