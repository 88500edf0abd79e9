//! What happened, as a person would want to read it.

use packhorse_daemon::output::line;
use packhorse_dicom::sop_class;
use serde_json::{Value, json};

use crate::sites::Sites;
use crate::source::{Fate, Sent, SentObject};
use crate::target::Target;

/// Objects that are listed one by one; of more only the exceptions are.
const LISTED_MAX: usize = 20;
/// What is said of an instance that arrived as it was.
const EQUAL: &str = "arrived, SHA-256 equal";

pub(crate) fn opening(sites: &Sites, target: &Target) {
    line("");
    line(&format!(
        "Two sites and a relay are up, in {}",
        sites.folder.path().display()
    ));
    line("  PACS A --C-STORE--> edge at clinic-a ==QUIC==> relay ==QUIC==> edge at st-mary --C-STORE--> PACS B");
    line(&format!(
        "  PACS A calls ST_MARY, which leads to PACS_B at st-mary (port {}).",
        target.port()
    ));
}

pub(crate) async fn closing(sites: &Sites, sent: &Sent, target: &Target) -> anyhow::Result<bool> {
    proposal(sent);
    at_edge_a(sent);
    let good = at_pacs_b(sent, target);
    account(sites).await?;
    measures(sites, sent).await?;
    Ok(good)
}

fn proposal(sent: &Sent) {
    line(&format!(
        "\nPACS A proposed {} presentation contexts:",
        sent.proposed.len()
    ));
    let is_long = sent.proposed.len() > LISTED_MAX;
    for context in &sent.proposed {
        if !is_long || context.answer != "accepted" {
            line(&format!("  {}, {}: {}", context.class, context.syntax, context.answer));
        }
    }
}

fn at_edge_a(sent: &Sent) {
    line("\nAt edge A:");
    let is_long = sent.objects.len() > LISTED_MAX;
    for object in sent.objects.iter().filter(|object| !is_long || !object.is_accepted()) {
        line(&format!("  {:<10} {}", object.name, fate(object)));
    }
    if is_long {
        line(&format!(
            "  {} of {} answered 0000 (in custody)",
            sent.accepted().count(),
            sent.objects.len()
        ));
    }
}

/// Whether everything that was accepted arrived identical.
fn at_pacs_b(sent: &Sent, target: &Target) -> bool {
    line("\nAt PACS B:");
    let is_long = sent.objects.len() > LISTED_MAX;
    let (mut identical, mut twice) = (0, 0);
    for object in sent.accepted() {
        let arrivals = target.arrivals(&object.instance);
        let word = match arrivals.as_slice() {
            [] => "DID NOT ARRIVE",
            all if all.contains(&object.sha256) => EQUAL,
            _ => "ARRIVED CHANGED",
        };
        identical += usize::from(word == EQUAL);
        twice += usize::from(arrivals.len() > 1);
        if !is_long || word != EQUAL {
            line(&format!(
                "  {:<10} {}: {word}",
                object.name,
                sop_class::name_of(&object.class)
            ));
        }
    }
    let all = sent.accepted().count();
    line(&format!(
        "  {identical} of {all} identical, {twice} of them came more than once"
    ));
    identical == all
}

fn fate(object: &SentObject) -> String {
    let class = sop_class::name_of(&object.class);
    match &object.fate {
        Fate::RefusedContext(result) => format!("{class}: refused at negotiation: {result}"),
        Fate::Answered(status, comment) => {
            format!("{class}: answered {status} {}", comment.as_deref().unwrap_or_default())
        }
    }
}

async fn account(sites: &Sites) -> anyhow::Result<()> {
    line("\nThe account, as `edge-gateway studies` has it at clinic-a:");
    let studies = sites.ask_a("studies", json!({ "limit": LISTED_MAX })).await?;
    for study in studies
        .pointer("/studies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |key: &str| study.get(key).and_then(Value::as_str).unwrap_or_default();
        let uid = if text("study").is_empty() {
            "no study"
        } else {
            text("study")
        };
        line(&format!("  study {uid}\n    {}", text("words")));
    }
    Ok(())
}

async fn measures(sites: &Sites, sent: &Sent) -> anyhow::Result<()> {
    let relay = sites.ask_relay().await?;
    let all = relay.pointer("/sites").and_then(Value::as_array).into_iter().flatten();
    let from_a = all.filter(|site| site.get("site") == Some(&json!("clinic-a")));
    let wire: u64 = from_a
        .filter_map(|site| site.pointer("/link/wire_bytes_received").and_then(Value::as_u64))
        .sum();
    let millis = sent.took.as_millis().max(1);
    let rate = u128::try_from(sent.objects.len())? * 1000 / millis;
    line(&format!(
        "\n{} KiB taken in {millis} ms, {rate} instances/s; {} KiB from clinic-a on the wire, headers included.",
        sent.bytes / 1024,
        wire / 1024,
    ));
    Ok(())
}

pub(crate) fn by_hand(sites: &Sites) -> anyhow::Result<()> {
    let port = sites.dicom_port()?;
    line("\nEverything still runs. Try it (Ctrl-C ends it):");
    line(&format!("  echoscu -aec ST_MARY 127.0.0.1 {port}"));
    line(&format!("  storescu -R -nh -aec ST_MARY 127.0.0.1 {port} FILES"));
    line(&format!("  edge-gateway status --dir {}", sites.a_dir().display()));
    Ok(())
}
