//! Control PDUs beside pynetdicom: its own tests' PDUs say the same to us, and ours say to it what we meant.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::{Bytes, BytesMut};
use packhorse_association::codec::{self, UserInformation};
use packhorse_association::negotiate::request_pdu;
use packhorse_association::{Abort, Pdu, negotiate};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    Answer, AsyncOperationsWindow, CommonExtended, ContextAnswer, ContextResult, ExtendedNegotiation,
    PresentationContextId, ProposedContext, Rejection, RoleSelection, UserIdentity, UserIdentityType,
};
use packhorse_testkit::peers::{Peer, require};
use serde_json::{Map, Value, json};

/// Runs `fields.py`; its lines.
fn read_by_pynetdicom(argument: &str, input: &str) -> Option<Vec<Value>> {
    let python = require(Peer::Pynetdicom)?;
    let mut child = Command::new(python)
        .args(["-c", include_str!("fields.py"), argument])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    Some(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> BytesMut {
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap())
        .collect()
}

fn shown_title(field: &[u8; 16]) -> String {
    AeTitle::try_from(field.as_slice()).unwrap().to_string()
}

fn shown_user(user: &UserInformation) -> Value {
    let roles = user
        .roles
        .iter()
        .map(|role| json!([role.abstract_syntax.as_str(), role.scu, role.scp]));
    let extended = user.extended.iter();
    let extended = extended.map(|item| json!([item.abstract_syntax.as_str(), hex(&item.application_information)]));
    let said = user.common_extended.iter().map(|said| {
        let related: Vec<_> = said.related_general.iter().map(|class| class.as_str()).collect();
        json!([said.abstract_syntax.as_str(), said.service_class, related])
    });
    let mut shown = Map::new();
    shown.insert("roles".into(), roles.collect());
    shown.insert("extended".into(), extended.collect());
    shown.insert("common_extended".into(), said.collect());
    let identity = user.user_identity.as_ref().map(|identity| {
        let (primary, secondary) = (hex(&identity.primary_field), hex(&identity.secondary_field));
        json!([
            identity.kind.0,
            identity.positive_response_requested,
            primary,
            secondary
        ])
    });
    let window = user
        .async_operations
        .map(|window| json!([window.invoked, window.performed]));
    let response = user
        .user_identity_response
        .as_ref()
        .map(|response| json!(hex(response)));
    for (name, value) in [
        ("max_pdu_length", user.max_pdu_length.map(|length| json!(length))),
        ("class", user.implementation_class_uid.as_ref().map(|uid| json!(uid))),
        (
            "version",
            user.implementation_version_name.as_ref().map(|name| json!(name)),
        ),
        ("window", window),
        ("identity", identity),
        ("identity_response", response),
    ] {
        shown.extend(value.map(|value| (name.to_owned(), value)));
    }
    Value::Object(shown)
}

/// What we read of a PDU, as `fields.py` says it.
fn shown(pdu: &Pdu) -> Value {
    match pdu {
        Pdu::AssociateRq(rq) => {
            let contexts = rq.contexts.iter().map(|context| {
                let syntaxes: Vec<_> = context.transfer_syntaxes.iter().map(|syntax| syntax.as_str()).collect();
                json!([context.id.get(), context.abstract_syntax.as_str(), syntaxes])
            });
            json!({
                "type": 1,
                "application_context": rq.application_context,
                "called": shown_title(&rq.called_ae_title),
                "calling": shown_title(&rq.calling_ae_title),
                "contexts": contexts.collect::<Vec<_>>(),
                "user": shown_user(&rq.user),
            })
        }
        Pdu::AssociateAc(ac) => {
            let contexts = ac.contexts.iter().map(|context| {
                let syntax = context
                    .transfer_syntax
                    .as_ref()
                    .filter(|_| context.result.is_acceptance());
                json!([
                    context.id.get(),
                    context.result.0,
                    syntax.map_or("", |syntax| syntax.as_str())
                ])
            });
            json!({
                "type": 2,
                "application_context": ac.application_context,
                "contexts": contexts.collect::<Vec<_>>(),
                "user": shown_user(&ac.user),
            })
        }
        Pdu::AssociateRj(rj) => json!({"type": 3, "codes": [rj.result, rj.source, rj.reason]}),
        Pdu::PDataTf(_) => json!({"type": 4}),
        Pdu::ReleaseRq => json!({"type": 5}),
        Pdu::ReleaseRp => json!({"type": 6}),
        Pdu::Abort(abort) => json!({"type": 7, "codes": [abort.source, abort.reason]}),
    }
}

#[test]
fn pynetdicoms_own_pdus_say_the_same_to_us() {
    let Some(fixtures) = read_by_pynetdicom("fixtures", "") else {
        return;
    };
    assert!(fixtures.len() >= 16, "{} fixtures", fixtures.len());
    for fixture in &fixtures {
        let name = fixture["name"].as_str().unwrap();
        let mut bytes = unhex(fixture["hex"].as_str().unwrap());
        let ours = codec::next_pdu(&mut bytes, 1 << 20).unwrap().unwrap();
        if let (Pdu::AssociateRq(rq), Some(why)) = (&ours, fixture["fields"].get("refused")) {
            // A title of spaces only: ours is read and rejected, with the standard's reason.
            let refused = negotiate::proposal(rq, [127, 0, 0, 1].into(), "");
            assert!(refused.is_err_and(|rejection| rejection.source == 1), "{name}: {why}");
        } else {
            assert_eq!(shown(&ours), fixture["fields"], "{name}");
        }
    }
    writeln!(
        std::io::stderr(),
        "{} fixtures of pynetdicom read alike",
        fixtures.len()
    )
    .unwrap();
}

fn class(uid: &str) -> packhorse_dicom::uid::AbstractSyntaxUid {
    uid.parse().unwrap()
}

/// A full proposal with every sub-item that we can write.
fn request(kind: u8) -> Pdu {
    let title = |text| AeTitle::try_from(text).unwrap();
    let contexts = (0..128).map(|index| ProposedContext {
        id: PresentationContextId::nth(index).unwrap(),
        abstract_syntax: class(&format!("1.2.840.10008.5.1.4.1.1.{index}")),
        transfer_syntaxes: vec![
            "1.2.840.10008.1.2".parse().unwrap(),
            "1.2.840.10008.1.2.1".parse().unwrap(),
        ],
    });
    let user = UserInformation {
        async_operations: Some(AsyncOperationsWindow {
            invoked: 8,
            performed: 1,
        }),
        roles: vec![RoleSelection {
            abstract_syntax: class("1.2.840.10008.5.1.4.1.1.2"),
            scu: true,
            scp: true,
        }],
        extended: vec![ExtendedNegotiation {
            abstract_syntax: class("1.2.840.10008.5.1.4.1.1.2"),
            application_information: [2, 0, 3, 0, 1, 0].into(),
        }],
        common_extended: vec![CommonExtended {
            abstract_syntax: class("1.2.840.10008.5.1.4.1.1.4"),
            service_class: "1.2.840.10008.4.2".into(),
            related_general: vec![
                class("1.2.840.10008.5.1.4.1.1.88.22"),
                class("1.2.840.10008.5.1.4.1.1.88.33"),
            ],
        }],
        user_identity: Some(UserIdentity {
            kind: UserIdentityType(kind),
            positive_response_requested: true,
            primary_field: b"alice".as_slice().into(),
            secondary_field: (if kind == 2 { b"secret".as_slice() } else { b"" }).into(),
        }),
        ..UserInformation::ours(16_384)
    };
    Pdu::AssociateRq(Box::new(request_pdu(
        &title("PACKHORSE"),
        &title("PACS_B"),
        contexts.collect(),
        user,
    )))
}

/// An answer with each result, a role, and a response to the user identity.
fn acceptance() -> Pdu {
    let Pdu::AssociateRq(rq) = request(2) else { panic!() };
    let answers = rq.contexts.iter().enumerate().map(|(index, context)| {
        let answer = match u8::try_from(index % 5).unwrap() {
            0 => ContextAnswer::Accepted(context.transfer_syntaxes[1].clone()),
            code => ContextAnswer::Rejected(ContextResult(code)),
        };
        (context.id, answer)
    });
    let user = UserInformation {
        async_operations: Some(AsyncOperationsWindow {
            invoked: 4,
            performed: 1,
        }),
        roles: rq.user.roles.clone(),
        extended: rq.user.extended.clone(),
        user_identity_response: Some(Bytes::from_static(b"ticket")),
        ..UserInformation::ours(0)
    };
    negotiate::answer_pdu(&rq, &Answer::Accept(answers.collect()), user)
}

#[test]
fn our_pdus_say_to_pynetdicom_what_we_meant() {
    let mut pdus: Vec<_> = (1..=5).map(request).collect();
    pdus.extend([acceptance(), Pdu::ReleaseRq, Pdu::ReleaseRp]);
    pdus.extend([Abort::USER, Abort::UNEXPECTED_PDU, Abort::INVALID_PARAMETER].map(Pdu::Abort));
    pdus.extend(
        [
            Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED,
            Rejection::LOCAL_LIMIT_EXCEEDED,
        ]
        .map(Pdu::AssociateRj),
    );
    let mut lines = String::new();
    for pdu in &pdus {
        let mut bytes = BytesMut::new();
        codec::encode(pdu, &mut bytes).unwrap();
        writeln!(lines, "{}", hex(&bytes)).unwrap();
    }
    let Some(theirs) = read_by_pynetdicom("-", &lines) else {
        return;
    };
    assert_eq!(theirs.len(), pdus.len());
    for (pdu, theirs) in pdus.iter().zip(&theirs) {
        assert_eq!(&shown(pdu), theirs, "{}", pdu.name());
    }
}
