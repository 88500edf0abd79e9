//! `deliver = "whole-study"`.

use super::*;
use crate::quiet::QuietKey;
use crate::testing::title;

const LONG: &str = "deliver = \"whole-study\"\nmax_wait = \"10m\"";
const SR: &str = "1.2.840.10008.5.1.4.1.1.88.67";

fn of_study(number: usize, study: &str) -> Instance {
    Instance::of(&format!("1.{number}"), "p1", study)
}

fn key(study: &str) -> QuietKey {
    (site("a"), title("PACS"), study.to_owned())
}

async fn is_put_off(site: &Site, delivery: DeliveryId) -> bool {
    let entry = site.edge.shared.spool.entry(delivery).await.unwrap().unwrap();
    entry.due > site.edge.shared.clock.now()
}

#[tokio::test]
async fn a_study_goes_over_one_association_once_it_is_quiet_and_all_of_it_is_here() {
    let site = Site::new(success, LONG, "").await;
    // Out of order, and its last one is of another class: its association proposes that all the same.
    for number in [2, 1, 3] {
        site.arrives(
            "a",
            Priority::Routine,
            u64::try_from(number).unwrap(),
            &of_study(number, "2.1"),
        )
        .await;
    }
    site.arrives("a", Priority::Routine, 4, &Instance::new("8.1")).await;
    eventually("what has no study", async || site.pacs.stored() == ["8.1"]).await;
    site.edge.shared.quiet.learn(key("2.1"), 4);
    let report = Instance {
        class: SR,
        ..of_study(4, "2.1")
    };
    site.arrives("a", Priority::Routine, 5, &report).await;
    site.eventually_stored(5).await;
    assert_eq!(site.pacs.stored()[1..], ["1.1", "1.2", "1.3", "1.4"]);
    assert_eq!(site.pacs.associations().len(), 2);
    assert_eq!(site.pacs.proposed()[1], 3, "Verification, CT, the report");
    site.end().await;
}

#[tokio::test]
async fn a_study_that_is_not_whole_waits_and_goes_after_its_longest_wait() {
    let site = Site::new(success, "deliver = \"whole-study\"\nmax_wait = \"600ms\"", "").await;
    let begun = Instant::now();
    for number in 1..=3 {
        site.routine(&of_study(number, "2.1")).await;
    }
    site.edge.shared.quiet.learn(key("2.1"), 4);
    site.eventually_stored(3).await;
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    assert_eq!(site.pacs.associations().len(), 1);
    site.end().await;
}

#[tokio::test]
async fn two_studies_have_an_association_each_and_stat_goes_between() {
    let site = Site::new(|_| Act::Slow(Duration::from_millis(25)), LONG, "").await;
    for number in 1..=40 {
        let study = if number <= 20 { "2.1" } else { "2.2" };
        site.routine(&of_study(number, study)).await;
    }
    for study in ["2.1", "2.2"] {
        site.edge.shared.quiet.learn(key(study), 20);
    }
    site.eventually_stored(2).await;
    site.edge.shared.quiet.learn(key("2.3"), 1);
    site.arrives("a", Priority::Stat, 0, &Instance::of("9.9", "p2", "2.3"))
        .await;
    site.eventually_stored(41).await;
    let stored = site.pacs.stored();
    let place = stored.iter().position(|uid| uid == "9.9").unwrap();
    assert!(place < 35, "STAT was number {place}");
    let routine: Vec<_> = stored.iter().filter(|uid| *uid != "9.9").cloned().collect();
    assert_eq!(
        routine,
        (1..=40).map(|number| format!("1.{number}")).collect::<Vec<_>>()
    );
    // One for STAT, one more for the study that it interrupted.
    assert_eq!(site.pacs.associations().len(), 4);
    site.end().await;
}

/// More than the room has place for: the first study's end shows only further behind in the queue.
#[tokio::test]
async fn two_long_studies_have_an_association_each_however_they_are_mixed() {
    for is_mixed in [false, true] {
        let site = Site::new(success, LONG, "").await;
        let is_first = |number: usize| if is_mixed { number % 2 == 1 } else { number <= 70 };
        let mut deliveries = Vec::new();
        for number in 1..=140 {
            let study = if is_first(number) { "2.1" } else { "2.2" };
            deliveries.push(site.routine(&of_study(number, study)).await);
        }
        for delivery in deliveries {
            eventually("its wait", async || is_put_off(&site, delivery).await).await;
        }
        for study in ["2.1", "2.2"] {
            site.edge.shared.quiet.learn(key(study), 70);
        }
        site.eventually_stored(140).await;
        let (first, second): (Vec<_>, Vec<_>) = (1..=140).partition(|number: &usize| is_first(*number));
        let uids = |numbers: &[usize]| numbers.iter().map(|number| format!("1.{number}")).collect::<Vec<_>>();
        let (first, second, stored) = (uids(&first), uids(&second), site.pacs.stored());
        // Both are let go at once: either may be the first.
        let is_one_by_one = stored == [first.clone(), second.clone()].concat() || stored == [second, first].concat();
        assert!(is_one_by_one, "mixed: {is_mixed}: {stored:?}");
        assert_eq!(site.pacs.associations().len(), 2, "mixed: {is_mixed}");
        site.end().await;
    }
}

#[tokio::test]
async fn what_waits_for_its_study_is_found_again_after_a_start() {
    let mut site = Site::new(success, LONG, "").await;
    let first = site.routine(&of_study(1, "2.1")).await;
    eventually("its wait", async || is_put_off(&site, first).await).await;
    site.delivering.abort();
    site.edge.shared.quiet.learn(key("2.1"), 1);
    site.delivering = tokio::spawn(deliverer(&site.edge).run());
    site.eventually_stored(1).await;
    site.end().await;
}
