use packhorse_dicom::negotiation::{ContextResult, PresentationContextId, ProposedContext};
use packhorse_dicom::transfer_syntax::EXPLICIT_VR_LE;

use super::*;
use crate::directory::SiteEntry;
use crate::ingest::decide;
use crate::mirror::Source;
use crate::testing::{Edge, Far as FarSite, proposal, site};

const TOML: &str = "[[source]]\nname = \"CT 1\"\nae_titles = [\"PACS_A\"]\nhosts = [\"127.0.0.1\"]\n\
                    [[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// An edge that `b` has told what is to be done with what its PACS takes.
fn edge(mode: &str) -> Edge {
    let edge = Edge::new("a", TOML);
    let mut entry: SiteEntry = FarSite::new("b").entry();
    entry.destinations[0].mirror = Some(mode.to_owned());
    edge.shared.directory.learn(&site("b"), entry).unwrap();
    edge
}

fn told(class: &str, syntax: Option<&str>, takes: bool, at: i64) -> Told {
    Told {
        class: class.to_owned(),
        syntax: syntax.map(str::to_owned),
        takes,
        at,
        source: Source::Probe,
    }
}

fn ct_with(syntaxes: &[&str]) -> Proposal {
    Proposal {
        contexts: vec![ProposedContext {
            id: PresentationContextId::nth(0).unwrap(),
            abstract_syntax: CT.parse().unwrap(),
            transfer_syntaxes: syntaxes.iter().map(|syntax| syntax.parse().unwrap()).collect(),
        }],
        ..proposal("PACS_A", "ROUTE")
    }
}

fn known(shared: &Shared, proposal: &Proposal) -> Arc<Known> {
    let route = shared.config.engine.route(&proposal.called_ae_title, "").unwrap();
    shared.far_mirrors.known(shared, route)
}

fn result(context: &ContextDecision) -> u8 {
    match &context.answer {
        ContextAnswer::Accepted(_) => ContextResult::ACCEPTANCE.0,
        ContextAnswer::Rejected(result) => result.0,
    }
}

#[tokio::test]
async fn strict_refuses_what_is_known_and_fresh_advise_marks_it_and_off_does_neither() {
    for (mode, expected, words) in [
        ("strict", 3, "but the destination does not take it (probed "),
        ("advise", 0, "marked: the destination does not take it (probed "),
        ("off", 0, ""),
        ("of a newer edge", 0, ""),
    ] {
        let edge = edge(mode);
        let shared = &edge.shared;
        let now = shared.clock.now().unix_micros();
        shared.far_mirrors.told(
            shared,
            &site("b"),
            "PACS",
            (now, Some(now), vec![told(CT, None, false, now)]),
        );
        let proposal = ct_with(&[IMPLICIT]);
        let known = known(shared, &proposal);
        let (_, contexts) = decide(shared, &proposal, &known);
        assert_eq!(result(&contexts[0]), expected, "{mode}");
        let said = known.decided_by(&contexts[0], &proposal.contexts[0].transfer_syntaxes);
        assert!(said.starts_with("rule ") && said.contains(words), "{mode}: {said}");
        assert_eq!(said.contains("does not take"), !words.is_empty(), "{mode}: {said}");
    }
}

#[tokio::test]
async fn a_no_that_is_older_than_a_week_refuses_nothing() {
    let edge = edge("strict");
    let shared = &edge.shared;
    let now = shared.clock.now();
    let week = i64::try_from(shared.config.mirror.expire.as_micros()).unwrap();
    let old = now.unix_micros() - week;
    shared
        .far_mirrors
        .told(shared, &site("b"), "PACS", (1, None, vec![told(CT, None, false, old)]));
    let proposal = ct_with(&[IMPLICIT]);
    let (_, contexts) = decide(shared, &proposal, &known(shared, &proposal));
    assert_eq!(result(&contexts[0]), 0);
}

#[tokio::test]
async fn implicit_vr_le_is_never_refused_for_itself_and_a_known_syntax_goes_first() {
    let edge = edge("strict");
    let shared = &edge.shared;
    let now = shared.clock.now().unix_micros();
    let facts = vec![told(CT, Some(IMPLICIT), false, now), told(CT, Some(JPEG), true, now)];
    shared.far_mirrors.told(shared, &site("b"), "PACS", (now, None, facts));
    let implicit = ct_with(&[IMPLICIT]);
    let (_, contexts) = decide(shared, &implicit, &known(shared, &implicit));
    assert_eq!(result(&contexts[0]), 0);
    let both = ct_with(&[IMPLICIT, JPEG]);
    let (_, contexts) = decide(shared, &both, &known(shared, &both));
    assert_eq!(contexts[0].answer, ContextAnswer::Accepted(JPEG.parse().unwrap()));
}

#[tokio::test]
async fn a_pacs_that_chose_implicit_out_of_both_is_still_sent_explicit_unless_it_refuses_that() {
    let edge = edge("advise");
    let shared = &edge.shared;
    let now = shared.clock.now().unix_micros();
    let probed = [told(CT, None, true, now), told(CT, Some(IMPLICIT), true, now)];
    let refuses = |facts: &[Told]| [facts, &[told(CT, Some(EXPLICIT_VR_LE), false, now)]].concat();
    let both = ct_with(&[IMPLICIT, EXPLICIT_VR_LE]);
    for (at, facts, chosen) in [(1, probed.to_vec(), EXPLICIT_VR_LE), (2, refuses(&probed), IMPLICIT)] {
        shared.far_mirrors.told(shared, &site("b"), "PACS", (at, None, facts));
        let (_, contexts) = decide(shared, &both, &known(shared, &both));
        assert_eq!(contexts[0].answer, ContextAnswer::Accepted(chosen.parse().unwrap()));
    }
}

#[tokio::test]
async fn an_older_message_and_one_of_a_site_without_a_route_change_nothing_and_the_newest_survives_a_restart() {
    let edge = edge("strict");
    let shared = &edge.shared;
    let now = shared.clock.now().unix_micros();
    let tell = |from: &str, ae_title: &str, at, facts| {
        shared
            .far_mirrors
            .told(shared, &site(from), ae_title, (at, None, facts))
    };
    tell("b", "PACS", 2, vec![told(CT, None, false, now)]);
    tell("b", "PACS", 1, Vec::new());
    tell("c", "PACS", 3, Vec::new());
    tell("b", "OTHER", 3, Vec::new());
    tell(
        "b",
        "PACS",
        2,
        vec![told("\u{1b}[2J", None, false, now), told(CT, None, false, i64::MAX)],
    );
    assert!(shared.far_mirrors.lock().far["b/PACS"].facts[0].at < i64::MAX);
    let again = FarMirrors::load(&shared.folder);
    for mirrors in [&shared.far_mirrors, &again] {
        let far = mirrors.lock().far.clone();
        assert_eq!(far.keys().collect::<Vec<_>>(), ["b/PACS"]);
        assert_eq!((far["b/PACS"].at, far["b/PACS"].facts.len()), (2, 1));
    }
    tell(
        "b",
        "PACS",
        4,
        (0..2 * FACTS_MAX)
            .map(|number| told(&format!("1.2.{number}"), None, true, now))
            .collect(),
    );
    assert_eq!(shared.far_mirrors.lock().far["b/PACS"].facts.len(), FACTS_MAX);
}

#[tokio::test]
async fn pairs_that_a_source_proposed_are_told_once_and_none_of_what_the_rules_refuse() {
    let edge = edge("advise");
    let shared = &edge.shared;
    let mut proposal = ct_with(&[IMPLICIT, JPEG]);
    let raw = ProposedContext {
        id: PresentationContextId::nth(1).unwrap(),
        abstract_syntax: RAW.parse().unwrap(),
        transfer_syntaxes: vec![IMPLICIT.parse().unwrap()],
    };
    proposal.contexts.push(raw);
    let route = &shared.config.engine.routes()[0];
    let (_, contexts) = decide(shared, &proposal, &Known::default());
    for expected in [2, 0] {
        shared.far_mirrors.proposed(shared, &proposal, &contexts);
        let untold = shared.far_mirrors.untold(route);
        assert_eq!(untold.len(), expected, "{untold:?}");
        assert!(untold.iter().all(|(class, _)| class == CT));
    }
}

#[tokio::test]
async fn what_sources_can_make_us_ask_about_is_bounded() {
    let edge = edge("advise");
    let shared = &edge.shared;
    for number in 0..PROPOSED_MAX {
        let proposal = ct_with(&[&format!("1.2.3.{number}"), &format!("1.2.4.{number}")]);
        let (_, contexts) = decide(shared, &proposal, &Known::default());
        shared.far_mirrors.proposed(shared, &proposal, &contexts);
    }
    let route = &shared.config.engine.routes()[0];
    let mut messages = Vec::new();
    while let Some(untold) = Some(shared.far_mirrors.untold(route)).filter(|untold| !untold.is_empty()) {
        messages.push(untold.len());
    }
    assert_eq!(messages, [PAIRS_MAX, PAIRS_MAX]);
}
