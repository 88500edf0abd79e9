//! What the statement says of TLS, against handshakes.

use packhorse_association::driver::tls::{
    ClientAuthentication, Fingerprint, PeerTls, TlsAcceptor, TlsIdentity, TlsRequestor, Trust,
};
use packhorse_association::{AssociationError, RequestedAssociation, RequestorConfig};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_testkit::certs::{Cert, CertSpec};

use super::printed;
use super::statement::Statement;
use crate::support::{Edge, Hub, Target, eventually, receiver};

fn identity(cert: &Cert) -> TlsIdentity {
    TlsIdentity::of_pem(cert.pem.as_bytes(), cert.key.as_bytes()).unwrap()
}

fn trust(cert: &Cert) -> Trust {
    Trust::of_pins(vec![Fingerprint::of(&cert.der)])
}

/// A plain listener, one with TLS for everybody, one for those with a certificate; CT1 has one of its own.
fn sender(ct1: &Cert) -> String {
    let listener =
        |name: &str, tls: &str| format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{tls}\n");
    let source =
        |title: &str, tls: &str| format!("[[source]]\nae_titles = [\"{title}\"]\nhosts = [\"127.0.0.1\"]\n{tls}\n");
    let own = "certificate = \"edge.pem\", key = \"edge.key\"";
    [
        listener("lan", ""),
        listener("lan-tls", &format!("tls = {{ {own} }}")),
        listener("lan-mutual", &format!("tls = {{ {own}, client = \"required\" }}")),
        source("CT1", &format!("tls = {{ pin = \"{}\" }}", Fingerprint::of(&ct1.der))),
        source("PACS_A", ""),
        "[[route]]\ncalled_ae_title = \"ST_MARY\"\nto = \"b/PACS_B\"\n[limits]\ntls_handshake = \"7s\"\n".to_owned(),
    ]
    .concat()
}

async fn ask(address: &str, calling: &str, tls: Option<&TlsRequestor>) -> Result<Option<PeerTls>, AssociationError> {
    let title = |text: &str| AeTitle::try_from(text).unwrap();
    let config = RequestorConfig::new(title(calling), title("ST_MARY"));
    let contexts = vec![ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from(VERIFICATION).unwrap(),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from(IMPLICIT_VR_LE).unwrap()],
    }];
    let association = match tls {
        None => RequestedAssociation::request(address, &config, contexts).await?,
        Some(tls) => RequestedAssociation::request_tls(address, tls, &config, contexts).await?,
    };
    let tls = association.tls().cloned();
    association.release().await?;
    Ok(tls)
}

/// The cells behind a connection's name.
fn said<'a>(statement: &'a Statement, connection: &str) -> &'a [String] {
    let rows = &statement.table("7 Security", "Connection").rows;
    &rows.iter().find(|row| row[0] == connection).unwrap()[1..]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_listener_is_secured_as_the_statement_says() {
    let [edge, ct1, pacs] = ["EDGE", "CT1", "PACS B"].map(|name| CertSpec::new(name).ca().self_signed());
    let hub = Hub::start().await;
    let (at_a, at_b) = (hub.join("a").await, hub.join("b").await);
    edge.write(&at_a, "edge").unwrap();
    edge.write(&at_b, "edge").unwrap();
    let of_edge = ClientAuthentication::Required(trust(&edge));
    let target = Target::start_tls(TlsAcceptor::new(identity(&pacs), of_edge).unwrap()).await;
    let tls = format!(
        "tls = {{ pin = \"{}\", certificate = \"edge.pem\", key = \"edge.key\" }}\n",
        Fingerprint::of(&pacs.der)
    );
    let b = Edge::start(&at_b, &(receiver(&target, &["a"]) + &tls)).await;
    let a = Edge::start(&at_a, &sender(&ct1)).await;
    eventually("consent", async || a.standing().await.starts_with("accepted")).await;
    let (of_a, of_b) = (printed(&a).await, printed(&b).await);
    let own = Fingerprint::of(&edge.der).to_string();
    assert_eq!(
        said(&of_b, "destination PACS_B")[1..],
        [own.clone(), "checked by pin or trust".to_owned()]
    );

    let certificates = &of_a.table("4.2.1.1", "Source").rows;
    let certificates: Vec<_> = certificates.iter().map(|row| row[3].as_str()).collect();
    assert_eq!(certificates, ["its own, over TLS", "any, or none"]);
    let address = |name: &str| of_a.value("4.3", "Listener", name).to_owned();
    let anonymous = TlsRequestor::new(trust(&edge), None).unwrap();
    let with_own = TlsRequestor::new(trust(&edge), Some(identity(&ct1))).unwrap();
    for (name, is_tls, asks) in [
        ("lan", false, false),
        ("lan-tls", true, false),
        ("lan-mutual", true, true),
    ] {
        let words = said(&of_a, &format!("listener {name}"));
        assert_eq!(words[0] == "none: plain TCP", !is_tls, "{name}");
        assert_eq!(words[2] == "asked for", asks, "{name}");
        assert_eq!(ask(&address(name), "PACS_A", None).await.is_ok(), !is_tls, "{name}");
        assert_eq!(
            ask(&address(name), "PACS_A", Some(&anonymous)).await.is_ok(),
            is_tls && !asks,
            "{name}"
        );
        let asked = ask(&address(name), "PACS_A", Some(&with_own)).await;
        assert_eq!(asked.is_ok(), is_tls, "{name}");
        // The one that must present its own.
        assert_eq!(
            ask(&address(name), "CT1", Some(&with_own)).await.is_ok(),
            asks,
            "{name}"
        );
        if let Ok(Some(tls)) = asked {
            assert_eq!(words[1], tls.certificate().unwrap().fingerprint.to_string());
            let lists = |name: &str, value: &str| {
                of_a.value("7 Security", "TLS", name)
                    .split(", ")
                    .any(|one| one == value)
            };
            assert!(
                lists("Versions", tls.version()) && lists("Suites", tls.suite()),
                "{tls}"
            );
        }
    }
    assert_eq!(of_a.value("7 Security", "TLS", "For the handshake"), "7s");
    a.finish().await;
    b.finish().await;
    hub.finish().await;
}
