use packhorse_dicom::negotiation::{PresentationContextId, ProposedContext};
use packhorse_dicom::transfer_syntax::EXPLICIT_VR_LE;
use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const PATIENCE: Patience = Patience {
    confirm: Duration::from_secs(600),
    refresh: Duration::from_secs(86_400),
    expire: Duration::from_secs(7 * 86_400),
};
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn at(minutes: u64) -> WallTime {
    WallTime::default().saturating_add(MINUTE * u32::try_from(minutes).unwrap())
}

fn probed(minutes: u64) -> Word {
    let source = Source::Probe;
    Word {
        at: at(minutes),
        source,
    }
}

fn subject(class: &str, syntax: Option<&str>) -> Subject {
    Subject {
        class: class.parse().unwrap(),
        syntax: syntax.map(|syntax| syntax.parse().unwrap()),
    }
}

fn context(class: &str, syntaxes: &[&str], answer: Result<&str, u8>) -> NegotiatedContext {
    NegotiatedContext {
        proposed: ProposedContext {
            id: PresentationContextId::nth(0).unwrap(),
            abstract_syntax: class.parse().unwrap(),
            transfer_syntaxes: syntaxes.iter().map(|syntax| syntax.parse().unwrap()).collect(),
        },
        answer: match answer {
            Ok(syntax) => ContextAnswer::Accepted(syntax.parse().unwrap()),
            Err(result) => ContextAnswer::Rejected(ContextResult(result)),
        },
    }
}

fn verified() -> NegotiatedContext {
    context(VERIFICATION, &[IMPLICIT_VR_LE], Ok(IMPLICIT_VR_LE))
}

const BOTH: [&str; 2] = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];

#[test]
fn a_yes_is_believed_at_once_and_says_nothing_of_syntaxes_that_were_not_chosen() {
    let mut beliefs = Beliefs::default();
    let heard = beliefs.hear(&[context(CT, &BOTH, Ok(EXPLICIT_VR_LE))], probed(0), &PATIENCE);
    assert_eq!(heard, Heard::Changed);
    let takes = |syntax| beliefs.takes(&subject(CT, syntax), at(0), &PATIENCE);
    assert_eq!(takes(None), Some(true));
    assert_eq!(takes(Some(EXPLICIT_VR_LE)), Some(true));
    assert_eq!(takes(Some(IMPLICIT_VR_LE)), None);
    assert!(beliefs.is_due(&subject(CT, Some(IMPLICIT_VR_LE)), at(0), &PATIENCE));
}

#[test]
fn a_no_is_believed_when_it_was_said_twice_ten_minutes_apart_and_for_seven_days() {
    let mut beliefs = Beliefs::default();
    let no = [verified(), context(RAW, &BOTH, Err(3))];
    let raw = subject(RAW, None);
    for (minute, takes, is_due) in [(0, None, false), (9, None, false), (10, Some(false), false)] {
        beliefs.hear(&no, probed(minute), &PATIENCE);
        assert_eq!(beliefs.takes(&raw, at(minute), &PATIENCE), takes, "minute {minute}");
        assert_eq!(beliefs.is_due(&raw, at(minute), &PATIENCE), is_due, "minute {minute}");
    }
    let week = 7 * 24 * 60;
    assert_eq!(beliefs.takes(&raw, at(9 + week), &PATIENCE), Some(false));
    assert_eq!(beliefs.takes(&raw, at(10 + week), &PATIENCE), None);
    // One more no after that is a first one again.
    beliefs.hear(&no, probed(10 + week), &PATIENCE);
    assert_eq!(beliefs.takes(&raw, at(10 + week), &PATIENCE), None);
}

#[test]
fn a_doubt_is_asked_again_when_its_time_has_come_and_everything_once_a_day() {
    let mut beliefs = Beliefs::default();
    beliefs.hear(&[verified(), context(RAW, &BOTH, Err(3))], probed(0), &PATIENCE);
    let raw = subject(RAW, None);
    assert!(!beliefs.is_due(&raw, at(9), &PATIENCE));
    assert!(beliefs.is_due(&raw, at(10), &PATIENCE));
    beliefs.hear(&[verified(), context(RAW, &BOTH, Err(3))], probed(10), &PATIENCE);
    assert!(!beliefs.is_due(&raw, at(11), &PATIENCE));
    assert!(beliefs.is_due(&raw, at(10 + 24 * 60), &PATIENCE));
}

#[test]
fn a_yes_outlives_a_single_no_and_is_back_at_once_after_two() {
    let mut beliefs = Beliefs::default();
    let (yes, no) = (
        [context(CT, &BOTH, Ok(EXPLICIT_VR_LE))],
        [verified(), context(CT, &BOTH, Err(3))],
    );
    let ct = subject(CT, None);
    beliefs.hear(&yes, probed(0), &PATIENCE);
    assert_eq!(beliefs.hear(&no, probed(1), &PATIENCE), Heard::Same);
    assert_eq!(beliefs.takes(&ct, at(1), &PATIENCE), Some(true));
    assert_eq!(beliefs.hear(&no, probed(11), &PATIENCE), Heard::Changed);
    assert_eq!(beliefs.takes(&ct, at(11), &PATIENCE), Some(false));
    beliefs.hear(&yes, probed(12), &PATIENCE);
    assert_eq!(beliefs.takes(&ct, at(12), &PATIENCE), Some(true));
}

#[test]
fn result_4_is_about_the_syntaxes_and_2_about_nothing() {
    let mut beliefs = Beliefs::default();
    for minute in [0, 10] {
        let answers = [verified(), context(CT, &[JPEG], Err(4)), context(RAW, &BOTH, Err(2))];
        beliefs.hear(&answers, probed(minute), &PATIENCE);
    }
    let takes = |class, syntax| beliefs.takes(&subject(class, syntax), at(10), &PATIENCE);
    assert_eq!((takes(CT, None), takes(CT, Some(JPEG))), (None, Some(false)));
    assert_eq!((takes(RAW, None), takes(RAW, Some(IMPLICIT_VR_LE))), (None, None));
    assert!(!beliefs.is_due(&subject(RAW, None), at(10), &PATIENCE), "it was asked");
}

#[test]
fn an_association_that_accepts_nothing_teaches_nothing() {
    let mut beliefs = Beliefs::default();
    for minute in [0, 10, 20] {
        let heard = beliefs.hear(&[context(CT, &BOTH, Err(3))], probed(minute), &PATIENCE);
        assert_eq!(heard, Heard::Nothing);
    }
    assert_eq!(beliefs, Beliefs::default());
}

#[test]
fn of_two_contexts_of_one_class_the_accepted_one_counts() {
    let mut beliefs = Beliefs::default();
    for minute in [0, 10] {
        let answers = [
            context(CT, &[EXPLICIT_VR_LE], Ok(EXPLICIT_VR_LE)),
            context(CT, &[JPEG], Err(3)),
        ];
        beliefs.hear(&answers, probed(minute), &PATIENCE);
    }
    let takes = |syntax| beliefs.takes(&subject(CT, syntax), at(10), &PATIENCE);
    assert_eq!((takes(None), takes(Some(JPEG))), (Some(true), Some(false)));
}

#[test]
fn what_a_pacs_can_make_us_remember_is_bounded() {
    let mut beliefs = Beliefs::default();
    for number in 0..2 * u64::try_from(FACTS_MAX).unwrap() {
        let class = format!("1.2.{number}");
        beliefs.hear(&[context(&class, &[JPEG], Ok(JPEG))], probed(number), &PATIENCE);
    }
    assert_eq!(beliefs.iter().count(), FACTS_MAX);
}

#[test]
fn result_3_to_contexts_without_implicit_vr_le_is_about_their_syntaxes_only() {
    let mut beliefs = Beliefs::default();
    for minute in [0, 10, 20] {
        beliefs.hear(&[verified(), context(CT, &[JPEG], Err(3))], probed(minute), &PATIENCE);
    }
    let takes = |syntax| beliefs.takes(&subject(CT, syntax), at(20), &PATIENCE);
    assert_eq!((takes(None), takes(Some(JPEG))), (None, Some(false)));
}

/// One answer: minutes since the last one, and what was said.
fn answers() -> impl Strategy<Value = Vec<(u64, Option<bool>)>> {
    let one = (0_u64..5_000, prop::option::of(any::<bool>()));
    prop::collection::vec(one, 1..60)
}

proptest! {
    #[test]
    fn a_no_is_never_believed_without_two_that_are_far_enough_apart_with_no_yes_between(answers in answers()) {
        let (mut fact, mut now, mut nos) = (Fact::new(at(0)), 0, Vec::new());
        for (pause, takes) in answers {
            now += pause;
            fact.hear(takes, probed(now), &PATIENCE);
            match takes {
                Some(true) => nos.clear(),
                Some(false) => nos.push(now),
                None => {}
            }
            if fact.takes(at(now), &PATIENCE) == Some(false) {
                let last = *nos.last().unwrap();
                prop_assert!(nos.iter().any(|first| last - first >= 10), "{nos:?}");
                prop_assert!(now - last < 7 * 24 * 60);
            }
            if takes == Some(true) {
                prop_assert_eq!(fact.takes(at(now), &PATIENCE), Some(true));
            }
        }
    }

    #[test]
    fn a_class_is_believed_not_to_be_taken_only_if_implicit_vr_le_was_rejected_too(
        deliveries in prop::collection::vec(
            (prop::sample::subsequence(vec![JPEG, EXPLICIT_VR_LE, IMPLICIT_VR_LE], 1..=3), 1_u8..5),
            1..20,
        ),
    ) {
        let mut beliefs = Beliefs::default();
        let mut is_implicit_rejected = false;
        for (number, (syntaxes, result)) in (0_u64..).zip(deliveries) {
            let answers = [verified(), context(CT, &syntaxes, Err(result))];
            beliefs.hear(&answers, probed(10 * number), &PATIENCE);
            is_implicit_rejected |= matches!(result, 1 | 3) && syntaxes.contains(&IMPLICIT_VR_LE);
            let takes = beliefs.takes(&subject(CT, None), at(10 * number), &PATIENCE);
            prop_assert!(takes != Some(false) || is_implicit_rejected);
        }
    }

    #[test]
    fn whoever_always_says_no_is_believed_in_the_end(pause in 1_u64..10_000) {
        let mut fact = Fact::new(at(0));
        for number in 0..20 {
            fact.hear(Some(false), probed(number * pause), &PATIENCE);
        }
        prop_assert_eq!(fact.takes(at(19 * pause), &PATIENCE), Some(false));
    }
}
