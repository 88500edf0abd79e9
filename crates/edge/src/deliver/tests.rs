mod pacs;
mod whole;

use std::collections::HashSet;

use packhorse_dicom::status::Status;
use packhorse_hop::Place as _;
use packhorse_ids::{DeliveryId, Priority, Sequence};
use packhorse_spool::{EntryState, Index as _, NewEntry};
use tokio::task::JoinHandle;

use super::*;
use crate::pacs::CheckTurn;
use crate::place::EdgePlace;
use crate::shared::Health;
use crate::testing::{Edge, Sent as Instance, eventually, parcel_of, site};
use pacs::{Act, Pacs};

/// One destination, `PACS`, that is being delivered to.
struct Site {
    edge: Edge,
    pacs: Pacs,
    delivering: JoinHandle<()>,
}

impl Site {
    /// With more keys of the destination, and of `[delivery]`.
    async fn new(act: impl Fn(&str) -> Act + Send + Sync + 'static, of_destination: &str, in_delivery: &str) -> Self {
        let pacs = Pacs::start(act).await;
        let edge = Edge::new(
            "b",
            &format!(
                "[[destination]]\nae_title = \"PACS\"\naddress = \"{}\"\naccept_from = [\"a\", \"b\"]\n{}{of_destination}\n\
                 [delivery]\n{}try_again = \"20ms\"\n{in_delivery}\n",
                pacs.address,
                if of_destination.contains("calling_ae_title =") {
                    ""
                } else {
                    "calling_ae_title = \"US\"\n"
                },
                if in_delivery.contains("retry_min") {
                    ""
                } else {
                    "retry_min = \"20ms\"\nretry_max = \"10s\"\n"
                },
            ),
        );
        let delivering = tokio::spawn(deliverer(&edge).run());
        Self { edge, pacs, delivering }
    }

    /// An instance arrives as the `number`th of its site; 0: in order.
    async fn arrives(&self, from: &str, priority: Priority, number: u64, instance: &Instance) -> DeliveryId {
        let shared = &self.edge.shared;
        let (mut routing, body) = parcel_of(&site(from), &shared.site, "PACS", instance);
        routing.priority = priority;
        routing.sequence = Sequence(number);
        let place = EdgePlace {
            shared: Arc::clone(shared),
        };
        let placed = place.place(&routing, &body, &*shared.store()).await.unwrap();
        let entry = NewEntry {
            queue: placed.queue,
            body,
            custody: placed.custody,
            state: placed.state,
            routing: routing.clone(),
        };
        let committed = shared.spool.commit(shared.epoch, vec![entry], placed.facts).await;
        routing.sequence = committed.unwrap()[0].sequence;
        place.placed(&routing);
        routing.delivery
    }

    async fn routine(&self, instance: &Instance) -> DeliveryId {
        self.arrives("a", Priority::Routine, 0, instance).await
    }

    async fn state(&self, delivery: DeliveryId) -> Option<EntryState> {
        let entry = self.edge.shared.spool.entry(delivery).await.unwrap();
        entry.map(|entry| entry.state)
    }

    async fn note(&self, delivery: DeliveryId) -> String {
        self.edge.shared.spool.entry(delivery).await.unwrap().unwrap().note
    }

    fn health(&self) -> Option<Health> {
        self.edge.shared.health.lock().unwrap().values().next().cloned()
    }

    async fn eventually_stored(&self, instances: usize) {
        eventually("all of them", async || self.pacs.stored().len() >= instances).await;
    }

    async fn end(self) {
        self.edge.shared.draining.cancel();
        self.delivering.await.unwrap();
    }
}

fn deliverer(edge: &Edge) -> Deliverer {
    Deliverer::new(Arc::clone(&edge.shared), edge.shared.config.destinations[0].clone())
}

fn success(_: &str) -> Act {
    Act::Answer(Status::SUCCESS)
}

fn instance(number: usize) -> Instance {
    Instance::new(&format!("1.{number}"))
}

/// A700 is an answer, but no sign of health: the time since which it is down stays, and the pauses grow.
#[tokio::test]
async fn a_pacs_that_is_full_is_left_alone_longer_each_time() {
    let site = Site::new(|_| Act::Answer(Status::OUT_OF_RESOURCES), "", "").await;
    let since = || match site.health() {
        Some(Health::Down { since, .. }) => Some(since),
        _ => None,
    };
    site.routine(&instance(1)).await;
    eventually("the first answer", async || since().is_some()).await;
    let (first, begun) = (since(), Instant::now());
    eventually("more tries", async || site.pacs.asked().len() >= 5).await;
    // At least half of 40, 80, 160 ms, as the pauses are drawn; four of 20 ms would be 80.
    assert!(begun.elapsed() >= Duration::from_millis(120), "{:?}", begun.elapsed());
    assert_eq!(since(), first);
    site.end().await;
}

#[tokio::test]
async fn an_association_that_is_only_kept_is_released_for_a_check() {
    let site = Site::new(success, "", "idle = \"60s\"").await;
    site.routine(&instance(1)).await;
    site.eventually_stored(1).await;
    let pacs = site.edge.shared.pacs.values().next().unwrap();
    let begun = Instant::now();
    eventually("the check's turn", async || {
        let turn = tokio::time::timeout(Duration::from_secs(5), pacs.check_turn()).await;
        matches!(turn, Ok(CheckTurn::Alone(_)))
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "long before it ends by itself"
    );
    // And the next instance opens another.
    site.routine(&instance(2)).await;
    site.eventually_stored(2).await;
    assert_eq!(site.pacs.associations().len(), 2);
    site.end().await;
}

#[tokio::test]
async fn a_delivery_whose_first_instance_takes_long_is_an_answer_of_the_pacs() {
    let site = Site::new(|_| Act::Slow(Duration::from_secs(5)), "", "").await;
    site.routine(&instance(1)).await;
    let pacs = site.edge.shared.pacs.values().next().unwrap();
    eventually("the answer to its association", async || pacs.delivering().is_some()).await;
    assert_eq!(site.pacs.stored().len(), 0);
    assert!(matches!(pacs.check_turn().await, CheckTurn::Delivering(_)));
    site.delivering.abort();
}

#[tokio::test]
async fn what_a_pacs_answers_another_title_than_that_of_probes_teaches_nothing() {
    let site = Site::new(success, "calling_ae_titles = { a = \"OTHER\" }", "").await;
    let shared = &site.edge.shared;
    let pacs = shared.pacs.values().next().unwrap();
    let known = || {
        let patience = shared.config.mirror.patience();
        pacs.mirror.shown(shared.clock.now(), &patience, false)["facts_known"].clone()
    };
    for number in [1, 2] {
        site.routine(&instance(number)).await;
        site.eventually_stored(number).await;
    }
    // The first is over, for the second went after it.
    assert_eq!(known(), 0);
    site.arrives("b", Priority::Routine, 0, &instance(3)).await;
    eventually("what is taken", async || known() != 0).await;
    assert_eq!(site.pacs.associations(), ["OTHER", "US"]);
    site.end().await;
}

#[tokio::test]
async fn what_is_stat_goes_between_two_instances_of_a_long_study() {
    let site = Site::new(|_| Act::Slow(Duration::from_millis(20)), "", "").await;
    for number in 0..100 {
        site.routine(&instance(number)).await;
    }
    site.eventually_stored(3).await;
    site.arrives("a", Priority::Stat, 0, &Instance::new("9.9")).await;
    let before = site.pacs.asked().len();
    eventually("STAT", async || site.pacs.stored().iter().any(|uid| uid == "9.9")).await;
    let place = site.pacs.asked().iter().position(|uid| uid == "9.9").unwrap();
    assert!(place <= before + 2, "{place}, {before} were asked for before it came");
    assert_eq!(site.pacs.associations().len(), 1, "on the same association");
    site.end().await;
}

#[tokio::test]
async fn instances_go_as_their_site_took_them_however_they_arrive() {
    let site = Site::new(success, "", "order_wait = \"30s\"").await;
    for number in [3, 2, 5, 1, 4] {
        site.arrives(
            "a",
            Priority::Routine,
            number,
            &instance(usize::try_from(number).unwrap()),
        )
        .await;
    }
    site.eventually_stored(5).await;
    assert_eq!(site.pacs.stored(), ["1.1", "1.2", "1.3", "1.4", "1.5"]);
    site.end().await;
}

#[tokio::test]
async fn a_number_that_does_not_come_is_waited_for_once_and_stat_waits_for_nothing_of_others() {
    let site = Site::new(success, "", "order_wait = \"400ms\"").await;
    let begun = Instant::now();
    for number in [5, 6] {
        site.arrives(
            "a",
            Priority::Routine,
            number,
            &instance(usize::try_from(number).unwrap()),
        )
        .await;
    }
    site.arrives("a", Priority::Stat, 1, &Instance::new("9.9")).await;
    eventually("STAT", async || site.pacs.stored() == ["9.9"]).await;
    site.eventually_stored(3).await;
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    assert_eq!(site.pacs.stored(), ["9.9", "1.5", "1.6"]);
    // What was held back at its source comes late, and nobody waits for what is before it.
    let begun = Instant::now();
    site.arrives("a", Priority::Routine, 3, &instance(3)).await;
    site.arrives("a", Priority::Routine, 7, &instance(7)).await;
    site.eventually_stored(5).await;
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    site.end().await;
}

#[tokio::test]
async fn one_that_is_tried_again_does_not_hold_up_those_behind_it() {
    let cannot = |uid: &str| Act::Answer(if uid == "1.1" { Status(0xC000) } else { Status::SUCCESS });
    let site = Site::new(cannot, "", "order_wait = \"30s\"").await;
    let first = site.routine(&instance(1)).await;
    for number in 2..=4 {
        site.routine(&instance(number)).await;
    }
    eventually("its third try", async || {
        site.state(first).await == Some(EntryState::Failed)
    })
    .await;
    assert_eq!(site.pacs.stored(), ["1.2", "1.3", "1.4"]);
    assert_eq!(site.pacs.asked().iter().filter(|uid| *uid == "1.1").count(), 3);
    assert!(site.note(first).await.contains("C000"), "{}", site.note(first).await);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_associations_are_for_different_patients_only() {
    let site = Site::new(|_| Act::Slow(Duration::from_millis(10)), "associations = 3", "").await;
    // Patient p1 has two studies; what has no patient is its study's.
    for number in 0..8 {
        for (patient, study) in [("p1", "2.1"), ("p1", "2.2"), ("p2", "2.3"), ("", "2.4")] {
            let uid = format!("1.{number}.{study}");
            site.routine(&Instance::of(&uid, patient, study)).await;
        }
    }
    site.eventually_stored(32).await;
    let together = site.pacs.together();
    let owner = |uid: &str| match uid.rsplit('.').next() {
        Some("1" | "2") => "p1",
        Some("3") => "p2",
        _ => "2.4",
    };
    for uids in &together {
        let owners: HashSet<_> = uids.iter().map(|uid| owner(uid)).collect();
        assert_eq!(owners.len(), uids.len(), "two of one patient at a time: {uids:?}");
    }
    assert_eq!(together.iter().map(HashSet::len).max(), Some(3));
    for (of, associations) in site.pacs.associations_by(owner) {
        assert_eq!(associations.len(), 1, "{of} is on {associations:?}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_patient_has_one_association_however_many_there_may_be() {
    let site = Site::new(|_| Act::Slow(Duration::from_millis(5)), "associations = 4", "").await;
    for number in 0..12 {
        site.routine(&Instance::of(&format!("1.{number}"), "p1", "2.1")).await;
    }
    site.eventually_stored(12).await;
    assert_eq!(site.pacs.associations().len(), 1);
    assert!(site.pacs.together().iter().all(|uids| uids.len() == 1));
    site.end().await;
}

#[tokio::test]
async fn each_calling_title_has_an_association_of_its_own() {
    let titles = "calling_ae_title = \"original\"\ncalling_ae_titles = { b = \"PH_B\" }";
    let site = Site::new(success, titles, "").await;
    let from_ct2 = Instance {
        calling: "CT2".to_owned(),
        ..instance(2)
    };
    site.routine(&instance(1)).await;
    site.routine(&from_ct2).await;
    site.arrives("b", Priority::Routine, 0, &instance(3)).await;
    site.eventually_stored(3).await;
    let mut titles = site.pacs.associations();
    titles.sort();
    assert_eq!(titles, ["CT2", "PH_B", "SOURCE"]);
    site.end().await;
}

#[tokio::test]
async fn a_title_that_is_rejected_waits_and_is_told_while_others_go() {
    let titles = "calling_ae_title = \"US\"\ncalling_ae_titles = { b = \"STRANGER\" }";
    let site = Site::new(success, titles, "paused_again = \"30s\"").await;
    let rejected: Vec<_> = [1, 2].map(instance).to_vec();
    let mut waiting = Vec::new();
    for instance in &rejected {
        waiting.push(site.arrives("b", Priority::Stat, 0, instance).await);
    }
    eventually("the rejection", async || {
        matches!(site.health(), Some(Health::Paused { .. }))
    })
    .await;
    for number in 3..=5 {
        site.routine(&instance(number)).await;
    }
    site.eventually_stored(3).await;
    let Some(Health::Paused { why, .. }) = site.health() else {
        panic!("{:?}", site.health())
    };
    assert!(
        why.starts_with("called with our title \"STRANGER\", the destination answered"),
        "{why}"
    );
    for delivery in waiting {
        assert_eq!(site.state(delivery).await, Some(EntryState::Ready));
    }
    site.end().await;
}

#[tokio::test]
async fn a_pacs_that_takes_no_context_at_all_is_paused_and_what_is_for_it_stays_queued() {
    let site = Site::new(success, "calling_ae_title = \"NOBODY\"", "paused_again = \"20ms\"").await;
    let delivery = site.routine(&instance(1)).await;
    eventually("several tries", async || site.pacs.associations().len() >= 4).await;
    let Some(Health::Paused { why, .. }) = site.health() else {
        panic!("{:?}", site.health())
    };
    assert!(
        why.contains("called with our title \"NOBODY\", it accepts no presentation context"),
        "{why}"
    );
    let entry = site.edge.shared.spool.entry(delivery).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.attempts), (EntryState::Ready, 0));
    site.end().await;
}

#[tokio::test]
async fn one_on_which_the_pacs_hangs_three_times_is_on_the_failed_list() {
    let hangs = |uid: &str| if uid == "1.2" { Act::Hang } else { success(uid) };
    let site = Site::new(hangs, "", "answer = \"100ms\"").await;
    let mut all = Vec::new();
    for number in 1..=5 {
        all.push(site.routine(&instance(number)).await);
    }
    eventually("its end", async || site.state(all[1]).await == Some(EntryState::Failed)).await;
    assert_eq!(site.pacs.stored(), ["1.1", "1.3", "1.4", "1.5"]);
    let note = site.note(all[1]).await;
    assert!(note.starts_with("the PACS does not answer on it (3 times): "), "{note}");
    assert!(
        matches!(site.health(), Some(Health::Good { .. })),
        "{:?}",
        site.health()
    );
    site.end().await;
}

#[tokio::test]
async fn several_that_the_pacs_drops_are_found_out_by_those_that_come_later() {
    let drops = |uid: &str| if uid.starts_with("6.") { Act::Drop } else { success(uid) };
    let site = Site::new(drops, "", "").await;
    let poison = [
        site.routine(&Instance::new("6.1")).await,
        site.routine(&Instance::new("6.2")).await,
    ];
    eventually("a pause", async || matches!(site.health(), Some(Health::Down { .. }))).await;
    // Each that is answered gives them one more try; they are due again after 20 ms.
    for number in 0..5_000 {
        site.routine(&instance(number)).await;
        eventually("it", async || site.pacs.stored().len() > number).await;
        if site.state(poison[0]).await == Some(EntryState::Failed)
            && site.state(poison[1]).await == Some(EntryState::Failed)
        {
            break;
        }
    }
    for delivery in poison {
        assert_eq!(site.state(delivery).await, Some(EntryState::Failed));
        let note = site.note(delivery).await;
        assert!(
            note.contains("the PACS drops the association on it") || note.contains("association was lost"),
            "{note}"
        );
    }
    site.end().await;
}

#[tokio::test]
async fn what_the_pacs_drops_is_put_off_so_that_others_come_into_the_room() {
    let drops = |uid: &str| if uid.starts_with("6.") { Act::Drop } else { success(uid) };
    let site = Site::new(drops, "", "retry_min = \"30s\"\nretry_max = \"1h\"").await;
    let mut poison = Vec::new();
    for number in 0..2 {
        poison.push(site.routine(&Instance::new(&format!("6.{number}"))).await);
    }
    eventually("a pause", async || matches!(site.health(), Some(Health::Down { .. }))).await;
    let shared = &site.edge.shared;
    let is_put_off = async |delivery| {
        let entry = shared.spool.entry(delivery).await.unwrap().unwrap();
        entry.due > shared.clock.now()
    };
    // The second of them; the first counts a try.
    eventually("its wait", async || is_put_off(poison[1]).await).await;
    site.end().await;
}

#[tokio::test]
async fn what_was_discarded_while_it_waited_for_its_turn_is_not_sent() {
    let site = Site::new(|_| Act::Slow(Duration::from_millis(300)), "", "").await;
    let mut all = Vec::new();
    for number in 1..=6 {
        all.push(site.routine(&instance(number)).await);
    }
    site.eventually_stored(1).await;
    let shared = &site.edge.shared;
    let discarded = vec![(all[5], packhorse_spool::Settlement::Discarded)];
    shared.spool.settle(shared.epoch, discarded, Vec::new()).await.unwrap();
    site.eventually_stored(5).await;
    eventually("an end", async || site.state(all[4]).await == Some(EntryState::Kept)).await;
    assert!(!site.pacs.asked().contains(&"1.6".to_owned()));
    site.end().await;
}
