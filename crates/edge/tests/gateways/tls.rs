//! DICOM TLS at both ends: who comes in, who is called, and what is told.

use std::path::Path;

use packhorse_association::driver::tls::{
    ClientAuthentication, Fingerprint, TlsAcceptor, TlsIdentity, TlsRequestor, Trust,
};
use packhorse_association::{AssociationError, RequestedAssociation, RequestorConfig};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{PresentationContextId, ProposedContext, Rejection};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_testkit::certs::{Cert, CertSpec};
use serde_json::Value;

use crate::support::{Edge, Hub, Target, eventually, receiver, send, send_tls};

fn identity(cert: &Cert) -> TlsIdentity {
    TlsIdentity::of_pem(cert.pem.as_bytes(), cert.key.as_bytes()).unwrap()
}

fn pin(cert: &Cert) -> Fingerprint {
    Fingerprint::of(&cert.der)
}

/// A requestor with this certificate, which believes `edge`.
fn requestor(own: &Cert, edge: &Cert) -> TlsRequestor {
    TlsRequestor::new(Trust::of_pins(vec![pin(edge)]), Some(identity(own))).unwrap()
}

/// A plain listener and one with TLS; `CT1` has to come with its certificate, `CT2` need not.
fn sender(dir: &Path, edge: &Cert, ct1: &Cert, others: &Cert) -> String {
    edge.write(dir, "edge").unwrap();
    others.write(dir, "others").unwrap();
    let source =
        |title: &str, tls: &str| format!("[[source]]\nae_titles = [\"{title}\"]\nhosts = [\"127.0.0.1\"]\n{tls}\n");
    [
        "[[listener]]\nname = \"lan\"\naddress = \"127.0.0.1:0\"\n",
        "[[listener]]\nname = \"lan-tls\"\naddress = \"127.0.0.1:0\"\n",
        "tls = { certificate = \"edge.pem\", key = \"edge.key\", client = \"required\", client_trust = \"others.pem\" }\n",
        &source("CT1", &format!("tls = {{ pin = \"{}\" }}", pin(ct1))),
        &source("PACS_A", ""),
        "[[route]]\ncalled_ae_title = \"ST_MARY\"\nto = \"b/PACS_B\"\n",
    ]
    .concat()
}

async fn address(edge: &Edge, listener: &str) -> String {
    let status = edge.status().await;
    let mut all = status["listeners"].as_array().unwrap().iter();
    let found = all.find(|known| known["name"] == listener).unwrap();
    found["address"].as_str().unwrap().to_owned()
}

/// Asks as `calling`, over TLS or not.
async fn ask(address: &str, calling: &str, tls: Option<&TlsRequestor>) -> Result<(), AssociationError> {
    let title = |text: &str| AeTitle::try_from(text).unwrap();
    let config = RequestorConfig::new(title(calling), title("ST_MARY"));
    let contexts = vec![ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from("1.2.840.10008.1.1").unwrap(),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from("1.2.840.10008.1.2").unwrap()],
    }];
    let association = match tls {
        None => RequestedAssociation::request(address, &config, contexts).await?,
        Some(tls) => RequestedAssociation::request_tls(address, tls, &config, contexts).await?,
    };
    association.release().await
}

fn is_unknown_calling(asked: &Result<(), AssociationError>) -> bool {
    let unknown = Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED;
    matches!(asked, Err(AssociationError::Rejected { rejection, .. }) if *rejection == unknown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_pass_over_tls_at_both_ends_and_each_is_let_in_with_its_own_certificate() {
    let [edge_a, edge_b, ct1, other, pacs] =
        ["EDGE A", "EDGE B", "CT1", "OTHER", "PACS B"].map(|name| CertSpec::new(name).ca().self_signed());
    let hub = Hub::start().await;
    let (at_a, at_b) = (hub.join("a").await, hub.join("b").await);
    let of_edge = ClientAuthentication::Required(Trust::of_pins(vec![pin(&edge_b)]));
    let target = Target::start_tls(TlsAcceptor::new(identity(&pacs), of_edge).unwrap()).await;
    edge_b.write(&at_b, "edge").unwrap();
    let tls = format!(
        "tls = {{ pin = \"{}\", certificate = \"edge.pem\", key = \"edge.key\" }}\n",
        pin(&pacs)
    );
    let b = Edge::start(&at_b, &(receiver(&target, &["a"]) + &tls)).await;
    let a = Edge::start(&at_a, &sender(&at_a, &edge_a, &ct1, &other)).await;
    eventually("consent", async || a.standing().await.starts_with("accepted")).await;
    let (plain, secure) = (address(&a, "lan").await, address(&a, "lan-tls").await);

    send_tls(&secure, "CT1", &requestor(&ct1, &edge_a), 3).await;
    send(a.dicom(), 2).await;
    eventually("five at the PACS", async || target.stored() == 5).await;

    // With another certificate that comes in, or without TLS, nobody is CT1; PACS_A may come either way.
    let with_other = requestor(&other, &edge_a);
    assert!(is_unknown_calling(&ask(&secure, "CT1", Some(&with_other)).await));
    assert!(is_unknown_calling(&ask(&plain, "CT1", None).await));
    ask(&secure, "PACS_A", Some(&with_other)).await.unwrap();
    ask(&secure, "CT1", Some(&requestor(&ct1, &edge_a))).await.unwrap();
    // A certificate that nobody knows does not get so far, nor does plain DICOM.
    let stranger = CertSpec::new("CT1").ca().self_signed();
    let asked = ask(&secure, "CT1", Some(&requestor(&stranger, &edge_a))).await;
    assert!(matches!(asked, Err(AssociationError::Tls(_))), "{asked:?}");
    let asked = ask(&secure, "CT1", None).await;
    assert!(matches!(asked, Err(AssociationError::PeerSpeaksTls)), "{asked:?}");

    let status = a.status().await;
    let is_tls: Vec<_> = status["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|listener| &listener["tls"])
        .collect();
    assert_eq!(is_tls, [&Value::Bool(false), &Value::Bool(true)]);
    assert_eq!(b.status().await["destinations"][0]["tls"], true);
    a.finish().await;
    b.finish().await;
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pacs_with_another_certificate_than_the_pinned_one_is_paused_and_its_instances_wait() {
    let [pinned, presented] = ["PACS B", "PACS B"].map(|name| CertSpec::new(name).self_signed());
    let hub = Hub::start().await;
    let (at_a, at_b) = (hub.join("a").await, hub.join("b").await);
    let target = Target::start_tls(TlsAcceptor::new(identity(&presented), ClientAuthentication::None).unwrap()).await;
    let tls = format!("tls = {{ pin = \"{}\" }}\n", pin(&pinned));
    let b = Edge::start(&at_b, &(receiver(&target, &["a"]) + &tls)).await;
    let a = Edge::start(&at_a, &crate::support::sender("b/PACS_B")).await;
    eventually("consent", async || a.standing().await.starts_with("accepted")).await;
    send(a.dicom(), 1).await;
    let health = async || b.status().await["destinations"][0]["health"].clone();
    eventually("a pause", async || health().await["state"] == "paused").await;
    let why = health().await["why"].as_str().unwrap().to_owned();
    assert!(
        why.contains("not the pinned one") && why.contains(&pin(&presented).to_string()),
        "{why}"
    );
    assert_eq!(
        (target.stored(), b.status().await["destinations"][0]["waiting"].as_u64()),
        (0, Some(1))
    );
    a.finish().await;
    b.finish().await;
    hub.finish().await;
}
