use packhorse_dicom::negotiation::Rejection;

use super::*;
use crate::directory::{Published, SiteEntry};
use crate::shared::Health;
use crate::testing::{Edge, Far, proposal, site, title};

const TOML: &str = "[[source]]\nname = \"CT 1\"\nae_titles = [\"PACS_A\"]\nhosts = [\"pacs.invalid\"]\n\
                    [[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n\
                    [[destination]]\nae_title = \"OURS\"\naddress = \"127.0.0.1:9\"\ncalling_ae_title = \"US\"\n";

fn of<'a>(findings: &'a [Finding], about: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.about.starts_with(about));
    found.unwrap_or_else(|| panic!("nothing about {about} in {findings:#?}"))
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let edge = Edge::new("a", TOML);
    edge.shared.rejections.remember(
        &proposal("NEW_CT", "ROUTE"),
        "add it to ae_titles",
        edge.shared.clock.now(),
    );
    let findings = examine(&edge.shared, true).await;
    let bad = |about: &str, level: Level, what: &str, remedy: &str| {
        let finding = of(&findings, about);
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(
            finding.what.contains(what) && finding.remedy.contains(remedy),
            "{finding:?}"
        );
    };
    bad(
        "link to the relay",
        Level::Warn,
        "being dialled",
        "let UDP to relay.example:443 out",
    );
    bad("listener", Level::Bad, "no listener", "[[listener]]");
    bad("source CT 1", Level::Bad, "pacs.invalid cannot be looked up", "hosts");
    bad(
        "caller NEW_CT",
        Level::Warn,
        "once since the start",
        "add it to ae_titles",
    );
    bad("route ROUTE", Level::Bad, "has not announced itself", "at b runs");
    bad(
        "destination OURS at",
        Level::Bad,
        "cannot be connected",
        "listens on port 9",
    );
    bad("destination OURS", Level::Bad, "", "");
    bad("certificate for the link", Level::Bad, "", "join again");
    bad("notices", Level::Warn, "nobody is told", "[[notify]]");
    assert_eq!(of(&findings, "disk").level, Level::Ok);
}

#[tokio::test]
async fn a_route_without_consent_has_the_command_for_the_other_side() {
    let edge = Edge::new("a", TOML);
    let far = Far::new("b").entry();
    let published = |accepts, ae_title: &str| SiteEntry {
        destinations: vec![Published {
            ae_title: ae_title.to_owned(),
            accepts,
            calling_ae_title: None,
            whole_study: false,
            mirror: None,
        }],
        announced_at: far.announced_at + 1,
        ..far.clone()
    };
    edge.shared
        .directory
        .learn(&site("b"), published(false, "PACS"))
        .unwrap();
    let findings = examine(&edge.shared, true).await;
    assert_eq!(
        of(&findings, "route").remedy,
        "at b, run: edge-gateway accept a --for PACS"
    );
    edge.shared
        .directory
        .learn(&site("b"), published(true, "OTHER"))
        .unwrap();
    assert!(
        of(&examine(&edge.shared, true).await, "route")
            .what
            .contains("b has no destination PACS")
    );
    edge.shared
        .directory
        .learn(&site("b"), published(true, "PACS"))
        .unwrap();
    let findings = examine(&edge.shared, true).await;
    assert_eq!(of(&findings, "route").level, Level::Warn);
    assert!(of(&findings, "route").what.contains("nothing was delivered on it yet"));
}

#[tokio::test]
async fn a_destination_that_rejects_us_is_told_with_the_title_that_was_used() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let toml = TOML.replace("127.0.0.1:9", &listener.local_addr().unwrap().to_string());
    let edge = Edge::new("a", &toml);
    let now = edge.shared.clock.now();
    let rejects = |rejection: Rejection| Health::Paused {
        since: now,
        why: format!("called with our title \"US\", the destination answered: {rejection}"),
        next: now,
    };
    let put = |health| edge.shared.health.lock().unwrap().insert(title("OURS"), health);
    put(rejects(Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED));
    let findings = examine(&edge.shared, true).await;
    let found = of(&findings, "destination OURS at");
    assert!(found.what.contains("called as OURS by US, it rejects us") && found.what.contains("(1/1/3)"));
    assert!(found.remedy.contains("at the PACS, enter US"), "{}", found.remedy);
    put(rejects(Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED));
    assert!(
        of(&examine(&edge.shared, true).await, "destination OURS at")
            .remedy
            .contains("correct ae_title")
    );
    put(Health::Good { since: now });
    assert_eq!(
        of(&examine(&edge.shared, true).await, "destination OURS at").level,
        Level::Ok
    );
}

#[tokio::test]
async fn without_a_daemon_it_says_so_first() {
    let edge = Edge::new("a", TOML);
    let findings = examine(&edge.shared, false).await;
    assert_eq!((findings[0].level, findings[0].about.as_str()), (Level::Bad, "gateway"));
    assert!(findings[0].remedy.starts_with("edge-gateway run --dir "));
    assert!(findings.iter().all(|finding| !finding.about.starts_with("link")));
}

#[test]
fn of_many_only_the_number_is_told() {
    let same = vec![Finding::ok("x", "y"); SAME_MAX + 7];
    let bounded = bounded(same, "x", "see");
    assert_eq!(
        (bounded.len(), bounded[SAME_MAX].what.as_str()),
        (SAME_MAX + 1, "7 more like these")
    );
}
