//! What holds for any rules, callers, proposals and knowledge, asked through the public interface only. What a rule matches
//! is said again here, in another way.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's")]

use std::net::IpAddr;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    Answer, ContextAnswer, ContextResult, PresentationContextId, Proposal, ProposedContext,
};
use packhorse_dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use packhorse_policy::config::{RawRoute, RawRule, RawSource};
use packhorse_policy::{
    Attribute, Decision, DestinationKnowledge, Engine, HeaderValues, InstanceDecision, InstanceFacts, MirrorMode,
    NotTaken,
};
use proptest::prelude::*;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const OLD_US: &str = "1.2.840.10008.5.1.4.1.1.6";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const PRIVATE: &str = "1.2.3.4";
const COMMITMENT: &str = "1.2.840.10008.1.20.1";
const VERIFICATION: &str = "1.2.840.10008.1.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const JPIP: &str = "1.2.840.10008.1.2.4.94";

const CLASSES: [&str; 6] = [CT, OLD_US, RAW, PRIVATE, COMMITMENT, VERIFICATION];
const SYNTAXES: [&str; 4] = [IMPLICIT_VR_LE, EXPLICIT_VR_LE, JPEG, JPIP];
const CALLERS: [&str; 3] = ["PACS_A", "OTHER_1", "CT_1"];
const ROUTES: [&str; 2] = ["ST_MARY", "CLINIC"];

/// Which of [`CLASSES`] a word is for.
fn classes(word: &str) -> &[&str] {
    match word {
        "images" => &[CT, OLD_US],
        "retired" => &[OLD_US],
        "raw-data" => &[RAW],
        "private" => &[PRIVATE],
        "service" => &[COMMITMENT, VERIFICATION],
        _ => &[CT, OLD_US, RAW, PRIVATE],
    }
}

const CLASS_WORDS: [&str; 6] = ["", "images", "retired", "raw-data", "private", "service"];
const SYNTAX_WORDS: [&str; 5] = [
    "",
    "ImplicitVRLittleEndian",
    "ExplicitVRLittleEndian",
    "JPEGBaseline8Bit",
    "JPIPReferenced",
];
const OUTCOMES: [&str; 4] = ["accept", "refuse-context", "refuse-instance", "hold"];

fn syntax_of(word: &str) -> &'static str {
    match word {
        "ImplicitVRLittleEndian" => IMPLICIT_VR_LE,
        "ExplicitVRLittleEndian" => EXPLICIT_VR_LE,
        "JPEGBaseline8Bit" => JPEG,
        _ => JPIP,
    }
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::sample::select(words).prop_map(|word| if word.is_empty() { vec![] } else { vec![word.to_owned()] })
}

fn any_rule() -> impl Strategy<Value = RawRule> {
    let matches = (
        one_of(&["", "", "PACS_A", "OTHER_*", "*_1"]),
        one_of(&["", "", "ST_MARY"]),
        one_of(&CLASS_WORDS),
        one_of(&SYNTAX_WORDS),
    );
    let conditions = (
        one_of(&["", "", "MR", "m*", "CT"]),
        prop::option::weighted(0.2, Just("1KiB".to_owned())),
    );
    let does = (prop::sample::select(&OUTCOMES), prop::bool::weighted(0.2));
    let rule = |((source, route, class, transfer_syntax), (modality, larger_than), (outcome, shadow))| RawRule {
        source,
        route,
        class,
        transfer_syntax,
        modality,
        larger_than,
        shadow,
        outcome: String::from(outcome),
        ..RawRule::default()
    };
    (matches, conditions, does).prop_map(rule)
}

/// Rules that are no error together, each with a name of its own.
fn any_rules() -> impl Strategy<Value = Vec<RawRule>> {
    prop::collection::vec(any_rule(), 0..6).prop_map(|mut rules| {
        for (rule, number) in rules.iter_mut().zip(1..) {
            rule.name = format!("rule of test {number}");
        }
        while let Err(errors) = engine(&rules) {
            let wrong = |number: usize| {
                let path = format!("rule[{}]", number + 1);
                errors.iter().any(|error| error.path.starts_with(&path))
            };
            let kept = rules.iter().enumerate().filter(|(number, _)| !wrong(*number));
            rules = kept.map(|(_, rule)| rule.clone()).collect();
        }
        rules
    })
}

fn engine(rules: &[RawRule]) -> Result<Engine, Vec<packhorse_policy::ConfigError>> {
    let source = RawSource {
        ae_titles: CALLERS.map(str::to_owned).to_vec(),
        hosts: vec!["10.0.0.0/8".to_owned()],
        ..RawSource::default()
    };
    let route = |called: &str| RawRoute {
        called_ae_title: called.to_owned(),
        to: "st-mary/PACS_B".to_owned(),
        ..RawRoute::default()
    };
    Engine::new(&[source], &ROUTES.map(route), rules)
}

/// Contexts as the class and its syntaxes.
type Contexts = Vec<(&'static str, Vec<&'static str>)>;

fn any_contexts() -> impl Strategy<Value = Contexts> {
    let syntaxes = prop::collection::vec(prop::sample::select(&SYNTAXES), 1..4);
    prop::collection::vec((prop::sample::select(&CLASSES), syntaxes), 1..8)
}

fn title(text: &str) -> AeTitle {
    AeTitle::try_from(text).unwrap()
}

fn proposal(caller: &str, route: &str, contexts: &Contexts) -> Proposal {
    let context = |(index, (class, syntaxes)): (usize, &(&str, Vec<&str>))| ProposedContext {
        id: PresentationContextId::nth(index).unwrap(),
        abstract_syntax: class.parse().unwrap(),
        transfer_syntaxes: syntaxes.iter().map(|syntax| syntax.parse().unwrap()).collect(),
    };
    Proposal::of_contexts(
        (IpAddr::from([10, 0, 0, 5]), "lan"),
        title(caller),
        title(route),
        contexts.iter().enumerate().map(context).collect(),
    )
}

/// What is known of the destination: by class whether it is refused, and by pair whether it is taken.
type Knowledge = (Vec<bool>, Vec<Option<bool>>);

fn any_knowledge() -> impl Strategy<Value = Knowledge> {
    (
        prop::collection::vec(prop::bool::weighted(0.3), CLASSES.len()),
        prop::collection::vec(prop::option::of(any::<bool>()), CLASSES.len() * SYNTAXES.len()),
    )
}

fn known((classes, pairs): &Knowledge, mode: MirrorMode) -> DestinationKnowledge {
    let mut known = DestinationKnowledge::new(mode);
    for (class, is_refused) in CLASSES.iter().zip(classes) {
        if *is_refused {
            known.refuses_class(class.parse().unwrap());
        }
    }
    let all = CLASSES
        .iter()
        .flat_map(|class| SYNTAXES.iter().map(move |syntax| (class, syntax)));
    for ((class, syntax), taken) in all.zip(pairs) {
        match taken {
            Some(true) => known.takes(class.parse().unwrap(), syntax.parse().unwrap()),
            Some(false) => known.refuses(class.parse().unwrap(), syntax.parse().unwrap()),
            None => {}
        }
    }
    known
}

fn is_accepted(answer: &ContextAnswer) -> bool {
    matches!(answer, ContextAnswer::Accepted(_))
}

fn title_matches(pattern: &str, title: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => title.ends_with(end),
        (_, Some(begin)) => title.starts_with(begin),
        _ => pattern == title,
    }
}

/// What an instance shows.
#[derive(Clone, Copy, Debug)]
struct Shown {
    modality: &'static str,
    length: u64,
}

fn conditions_are_met(rule: &RawRule, shown: Shown) -> bool {
    let modality = |pattern: &String| title_matches(&pattern.to_uppercase(), shown.modality);
    (rule.modality.is_empty() || rule.modality.iter().any(modality))
        && (rule.larger_than.is_none() || shown.length > 1024)
}

/// Whether a rule that is none in the shadow lets this class in, in this syntax or any if it is Implicit VR Little Endian;
/// the shipped one too, for storage classes. `shown`: of an instance.
fn somebody_lets_in(
    rules: &[RawRule],
    (caller, route): (&str, &str),
    class: &str,
    syntax: &str,
    shown: Option<Shown>,
) -> bool {
    let matches = |rule: &&RawRule| {
        let word = rule.class.first().map_or("", String::as_str);
        !rule.shadow
            && rule.outcome != "refuse-context"
            && rule.source.iter().all(|pattern| title_matches(pattern, caller))
            && rule.route.iter().all(|title| title == route)
            && classes(word).contains(&class)
            && (syntax == IMPLICIT_VR_LE || rule.transfer_syntax.iter().all(|word| syntax_of(word) == syntax))
            && shown.is_none_or(|shown| conditions_are_met(rule, shown))
    };
    rules.iter().any(|rule| matches(&rule)) || [CT, OLD_US].contains(&class)
}

fn answers(decision: &Decision) -> Vec<(ContextAnswer, String)> {
    let contexts = decision.contexts.iter();
    let by = |context: &packhorse_policy::ContextDecision| {
        context
            .rule
            .as_ref()
            .map(|rule| rule.name.to_string())
            .unwrap_or_default()
    };
    contexts.map(|context| (context.answer.clone(), by(context))).collect()
}

/// An instance of a class in a syntax, whatever its data set says of its class.
#[derive(Clone, Copy, Debug)]
struct Sent {
    class: &'static str,
    dataset_class: Option<&'static str>,
    syntax: &'static str,
    shown: Shown,
}

fn any_instance() -> impl Strategy<Value = Sent> {
    let class = prop::sample::select(&CLASSES[..4]);
    let other = prop::option::of(prop::sample::select(&CLASSES[..4]));
    let shown = (
        prop::sample::select(&["MR", "CT", ""][..]),
        prop::sample::select(&[0, 1024, 1025][..]),
    );
    (class, other, prop::sample::select(&SYNTAXES), shown).prop_map(
        |(class, dataset_class, syntax, (modality, length))| Sent {
            class,
            dataset_class,
            syntax,
            shown: Shown { modality, length },
        },
    )
}

/// What is decided by the command, by the header and at the end.
fn decide(
    engine: &Engine,
    (caller, route): (&str, &str),
    sent: Sent,
) -> (Option<InstanceDecision>, Option<InstanceDecision>, InstanceDecision) {
    let (calling, called) = (title(caller), title(route));
    let (context, command) = (sent.class.parse().unwrap(), sent.class.parse().unwrap());
    let (dataset, syntax) = (
        sent.dataset_class.map(|class| class.parse().unwrap()),
        sent.syntax.parse().unwrap(),
    );
    let mut header = HeaderValues::default();
    header.insert(Attribute::Modality, sent.shown.modality);
    let facts = InstanceFacts {
        calling: &calling,
        called: &called,
        context_class: &context,
        command_class: &command,
        dataset_class: dataset.as_ref(),
        transfer_syntax: &syntax,
        common_extended: &[],
        header: Some(&header),
    };
    let by_command = InstanceFacts {
        dataset_class: None,
        header: None,
        ..facts
    };
    (
        engine.decide_header(&by_command),
        engine.decide_header(&facts),
        engine.decide_end(&facts, sent.shown.length),
    )
}

fn is_refused(decision: &InstanceDecision) -> bool {
    matches!(decision, InstanceDecision::Refuse { .. })
}

proptest! {
    #[test]
    fn a_decision_is_total_and_repeatable_and_opens_nothing_that_no_rule_lets_in(
        rules in any_rules(),
        caller in prop::sample::select(&CALLERS),
        route in prop::sample::select(&ROUTES),
        contexts in any_contexts(),
        knowledge in any_knowledge(),
        mode in prop::sample::select(&[MirrorMode::Advise, MirrorMode::Strict]),
    ) {
        let (proposal, known) = (proposal(caller, route, &contexts), known(&knowledge, mode));
        let decision = engine(&rules).unwrap().decide(&proposal, &known);
        prop_assert_eq!(&decision, &engine(&rules).unwrap().decide(&proposal, &known));
        let Answer::Accept(answered) = &decision.answer else { panic!("rejected as a whole") };
        let proposed: Vec<_> = proposal.contexts.iter().map(|context| context.id).collect();
        prop_assert_eq!(answered.iter().map(|(id, _)| *id).collect::<Vec<_>>(), proposed);
        for ((class, syntaxes), context) in contexts.iter().zip(&decision.contexts) {
            match &context.answer {
                ContextAnswer::Accepted(syntax) => {
                    prop_assert!(syntaxes.contains(&syntax.as_str()));
                    let lets_in = somebody_lets_in(&rules, (caller, route), class, syntax.as_str(), None);
                    prop_assert!(*class == VERIFICATION || lets_in, "{} {}", class, syntax);
                }
                ContextAnswer::Rejected(result) => prop_assert!([1, 3, 4].contains(&result.0)),
            }
        }
    }

    #[test]
    fn implicit_little_endian_is_refused_only_with_its_class(
        rules in any_rules(),
        caller in prop::sample::select(&CALLERS),
        route in prop::sample::select(&ROUTES),
        knowledge in any_knowledge(),
    ) {
        let engine = engine(&rules).unwrap();
        let each: Contexts = CLASSES
            .iter()
            .flat_map(|class| SYNTAXES.iter().map(move |syntax| (*class, vec![*syntax])))
            .collect();
        let proposal = proposal(caller, route, &each);
        let open = engine.decide(&proposal, &DestinationKnowledge::default());
        let strict = engine.decide(&proposal, &known(&knowledge, MirrorMode::Strict));
        for (class, (open, strict)) in CLASSES.iter().zip(open.contexts.chunks(4).zip(strict.contexts.chunks(4))) {
            let implicit = is_accepted(&open[0].answer);
            prop_assert_eq!(implicit, open.iter().any(|context| is_accepted(&context.answer)), "{}", class);
            let no_syntax = ContextAnswer::Rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED);
            let class_is_open = |answer: &ContextAnswer| is_accepted(answer) || *answer == no_syntax;
            prop_assert!(open.iter().all(|context| class_is_open(&context.answer) == implicit), "{}", class);
            if implicit && !is_accepted(&strict[0].answer) {
                prop_assert_eq!(strict[0].refused_for_destination(), Some(NotTaken::Class));
            }
        }
        prop_assert!(open.contexts.chunks(4).all(|contexts| {
            contexts[0].abstract_syntax.as_str() != COMMITMENT || !is_accepted(&contexts[0].answer)
        }), "other services are not carried");
    }

    #[test]
    fn advise_refuses_nothing_and_strict_opens_no_more(
        rules in any_rules(),
        caller in prop::sample::select(&CALLERS),
        contexts in any_contexts(),
        knowledge in any_knowledge(),
    ) {
        let engine = engine(&rules).unwrap();
        let proposal = proposal(caller, "ST_MARY", &contexts);
        let none = engine.decide(&proposal, &DestinationKnowledge::default());
        let advised = engine.decide(&proposal, &known(&knowledge, MirrorMode::Advise));
        let strict = engine.decide(&proposal, &known(&knowledge, MirrorMode::Strict));
        for ((none, advised), strict) in none.contexts.iter().zip(&advised.contexts).zip(&strict.contexts) {
            prop_assert_eq!(is_accepted(&none.answer), is_accepted(&advised.answer));
            prop_assert!(is_accepted(&advised.answer) || !is_accepted(&strict.answer));
            let lost = is_accepted(&advised.answer) && !is_accepted(&strict.answer);
            prop_assert_eq!(lost, strict.refused_for_destination().is_some());
            prop_assert_eq!((none.not_taken, advised.refused_for_destination()), (None, None));
        }
    }

    #[test]
    fn an_instance_is_decided_and_taken_only_where_a_rule_takes_it(
        rules in any_rules(),
        caller in prop::sample::select(&CALLERS),
        route in prop::sample::select(&ROUTES),
        sent in any_instance(),
    ) {
        let engine = engine(&rules).unwrap();
        let (by_command, by_header, at_end) = decide(&engine, (caller, route), sent);
        prop_assert_eq!(&at_end, &decide(&engine, (caller, route), sent).2);
        for early in [by_command, by_header].into_iter().flatten().filter(is_refused) {
            prop_assert_eq!(&early, &at_end, "a refusal is final");
        }
        if let InstanceDecision::Refuse { status, comment, .. } = &at_end {
            prop_assert!([0x0122, 0x0124].contains(&status.0) && comment.len() <= 64, "{}", comment);
            return Ok(());
        }
        for class in [Some(sent.class), sent.dataset_class].into_iter().flatten() {
            let lets_in = somebody_lets_in(&rules, (caller, route), class, sent.syntax, Some(sent.shown));
            prop_assert!(lets_in, "{}", class);
        }
        let context: Contexts = vec![(sent.class, vec![sent.syntax])];
        let negotiated = engine.decide(&proposal(caller, route, &context), &DestinationKnowledge::default());
        prop_assert!(is_accepted(&negotiated.contexts[0].answer), "what is taken has a context to come on");
    }

    #[test]
    fn shadow_rules_change_nothing(
        rules in any_rules(),
        caller in prop::sample::select(&CALLERS),
        route in prop::sample::select(&ROUTES),
        contexts in any_contexts(),
        knowledge in any_knowledge(),
        sent in any_instance(),
    ) {
        let lit: Vec<_> = rules.iter().filter(|rule| !rule.shadow).cloned().collect();
        let (with, without) = (engine(&rules).unwrap(), engine(&lit).unwrap());
        let (proposal, known) = (proposal(caller, route, &contexts), known(&knowledge, MirrorMode::Strict));
        let (shaded, plain) = (with.decide(&proposal, &known), without.decide(&proposal, &known));
        prop_assert_eq!(answers(&shaded), answers(&plain));
        prop_assert!(plain.contexts.iter().all(|context| context.shadows.is_empty()));
        let [one, other] = [&with, &without].map(|engine| decide(engine, (caller, route), sent).2);
        prop_assert_eq!(&one.rule().name, &other.rule().name);
        prop_assert_eq!(is_refused(&one), is_refused(&other));
    }
}
