//! What an administrator does with instances in custody, from site to site.

use packhorse_dicom::status::Status;
use serde_json::{Value, json};

use crate::support::{Edge, Hub, Target, Wishes, eventually, receiver, send, sender, uids_sent};

/// A site that sends, one that receives, and its PACS.
struct Sites {
    hub: Hub,
    target: Target,
    a: Edge,
    b: Edge,
}

impl Sites {
    async fn start(in_delivery: &str) -> Self {
        let (hub, target) = (Hub::start().await, Target::start().await);
        let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
        let toml = format!(
            "{}[delivery]\nretry_min = \"50ms\"\nretry_max = \"200ms\"\n{in_delivery}",
            receiver(&target, &["clinic-a"])
        );
        let b = Edge::start(&b_dir, &toml).await;
        let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
        eventually("consent", async || a.standing().await == "accepted").await;
        Self { hub, target, a, b }
    }

    /// The PACS answers these images so.
    fn answer(&self, images: u32, status: Status) {
        let statuses = uids_sent(images).into_iter().map(|uid| (uid, status)).collect();
        let wishes = Wishes {
            statuses,
            ..Wishes::default()
        };
        self.target.wish(wishes);
    }

    async fn finish(self) {
        self.a.finish().await;
        self.b.finish().await;
        self.hub.finish().await;
    }
}

async fn study(edge: &Edge) -> String {
    let studies = edge.ask("studies", Value::Null).await;
    studies["studies"][0]["study"].as_str().unwrap().to_owned()
}

/// Does it until so many are done: one that is being sent just then is passed over.
async fn done(edge: &Edge, command: &str, args: Value, many: u64) {
    let mut all = 0;
    eventually(command, async || {
        all += edge.ask(command, args.clone()).await["done"].as_u64().unwrap();
        all >= many
    })
    .await;
    assert_eq!(all, many, "{command}");
}

fn is_exact(account: &Value) -> bool {
    let number = |key: &str| account[key].as_u64().unwrap();
    let parts = ["delivered", "in_flight", "held", "failed", "discarded"];
    number("received") == parts.into_iter().map(number).sum::<u64>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_is_retried_by_what_the_pacs_answered_once_the_pacs_is_mended() {
    let sites = Sites::start("").await;
    sites.answer(3, Status(0xA900));
    send(sites.a.dicom(), 3).await;
    eventually("three refusals", async || sites.b.status().await["failed"] == 3).await;
    eventually("the sender's account", async || sites.a.account().await["failed"] == 3).await;
    let at_a = sites.a.ask("retry", json!({ "status": "A9xx" })).await;
    assert!(
        at_a["not"][0]["why"]
            .as_str()
            .unwrap()
            .contains("run `edge-gateway retry` at st-mary"),
        "{at_a}"
    );
    let other = sites.b.ask("retry", json!({ "status": "C0xx" })).await;
    assert_eq!(other["nothing"], "no delivery matches");
    sites.target.wish(Wishes::default());
    let answer = sites
        .b
        .ask("retry", json!({ "status": "A9xx", "study": study(&sites.b).await }))
        .await;
    assert_eq!(
        (&answer["done"], &answer["studies"][0]["instances"]),
        (&json!(3), &json!(3)),
        "{answer}"
    );
    eventually("the sender's account", async || {
        sites.a.account().await["delivered"] == 3
    })
    .await;
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_where_it_came_in_goes_when_it_is_released_and_not_before() {
    let (hub, target) = (Hub::start().await, Target::start().await);
    let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
    let b = Edge::start(&b_dir, &receiver(&target, &["clinic-a"])).await;
    let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
    eventually("consent", async || a.standing().await == "accepted").await;
    a.finish().await;
    // Nobody is there: the link does not come up.
    let unlinked = format!("{}[link]\nrelay = \"127.0.0.1:1\"\n", sender("st-mary/PACS_B"));
    let a = Edge::start(&a_dir, &unlinked).await;
    send(a.dicom(), 3).await;
    let first = uids_sent(1).remove(0);
    done(&a, "hold", json!({ "instance": first }), 1).await;
    let account = a.account().await;
    assert_eq!((&account["held"], &account["in_flight"]), (&json!(1), &json!(2)));
    a.finish().await;
    let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
    eventually("the other two", async || a.account().await["delivered"] == 2).await;
    assert_eq!((target.stored(), target.stored_times(&first)), (2, 0));
    let answer = a.ask("release", json!({ "to": "PACS_B" })).await;
    assert_eq!(answer["done"], 1, "{answer}");
    eventually("the third", async || a.account().await["delivered"] == 3).await;
    assert_eq!(target.stored_times(&first), 1);
    a.finish().await;
    b.finish().await;
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_before_the_pacs_is_told_to_the_sender_and_so_is_who_discards_it() {
    let sites = Sites::start("").await;
    // It takes nothing now.
    sites.answer(3, Status::OUT_OF_RESOURCES);
    send(sites.a.dicom(), 3).await;
    eventually("three at the far edge", async || {
        sites.b.status().await["in_flight"] == 3
    })
    .await;
    done(&sites.b, "hold", json!({ "from": "clinic-a" }), 3).await;
    eventually("the sender's account", async || sites.a.account().await["held"] == 3).await;
    let held = sites.a.ask("failed", Value::Null).await;
    let reason = held["held"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("held by operator ") && reason.ends_with(" at st-mary"),
        "{reason}"
    );
    let first = uids_sent(1).remove(0);
    let args = json!({ "instance": first, "reason": "wrong patient", "expect": 1 });
    assert_eq!(sites.b.ask("discard", args).await["done"], 1);
    eventually("the sender's account", async || {
        sites.a.account().await["discarded"] == 1
    })
    .await;
    let tried = sites.target.stored_times(&first);
    sites.target.wish(Wishes::default());
    assert_eq!(
        sites.b.ask("release", json!({ "study": study(&sites.b).await })).await["done"],
        2
    );
    eventually("the others", async || sites.a.account().await["delivered"] == 2).await;
    for edge in [&sites.a, &sites.b] {
        let account = edge.account().await;
        assert!(is_exact(&account) && account["discarded"] == 1, "{account}");
    }
    let shown = sites.a.ask("study", json!({ "uid": study(&sites.a).await })).await;
    let rows = shown["accounts"][0]["instances"].as_array().unwrap();
    let row = rows.iter().find(|row| row["sop_instance"] == first.as_str()).unwrap();
    let last = row["handled"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["what"], &last["reason"]),
        (&json!("discarded"), &json!("wrong patient"))
    );
    assert!(last["by"].as_str().unwrap().ends_with(" at st-mary"), "{row}");
    assert_eq!(sites.target.stored_times(&first), tried, "no more once it is discarded");
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivered_study_arrives_again_when_its_source_or_its_target_asks() {
    let sites = Sites::start("").await;
    send(sites.a.dicom(), 3).await;
    eventually("the sender's account", async || {
        sites.a.account().await["delivered"] == 3
    })
    .await;
    let kept = sites.b.status().await;
    assert_eq!((&kept["kept"], &kept["in_flight"]), (&json!(3), &json!(0)), "{kept}");
    let uid = study(&sites.a).await;
    let asked = sites.a.ask("resend", json!({ "study": uid })).await;
    assert_eq!(asked["asked"], json!(["st-mary/PACS_B"]), "{asked}");
    eventually("the study again", async || sites.target.stored() == 6).await;
    let resent = async || sites.a.ask("studies", Value::Null).await["studies"][0]["resent"] == 3;
    eventually("the sender's account", resent).await;
    eventually("an end", async || sites.b.status().await["kept"] == 3).await;
    let answer = sites.b.ask("resend", json!({ "instance": uids_sent(1)[0] })).await;
    assert_eq!(answer["done"], 1, "{answer}");
    eventually("one once more", async || sites.target.stored() == 7).await;
    for edge in [&sites.a, &sites.b] {
        let account = edge.account().await;
        assert!(is_exact(&account) && account["delivered"] == 3, "{account}");
    }
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_no_longer_is_said_to_be_gone() {
    let sites = Sites::start("keep = \"1s\"\n").await;
    send(sites.a.dicom(), 2).await;
    eventually("the sender's account", async || {
        sites.a.account().await["delivered"] == 2
    })
    .await;
    eventually("an end of the keeping", async || sites.b.status().await["kept"] == 0).await;
    let answer = sites.b.ask("resend", json!({ "all": true })).await;
    assert_eq!((&answer["done"], &answer["not_done"]), (&json!(0), &json!(2)));
    assert_eq!(
        answer["not"][0]["why"],
        "its bytes are gone: ask the source to send it again"
    );
    sites.finish().await;
}
