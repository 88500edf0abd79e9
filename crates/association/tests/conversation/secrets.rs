//! What is shown of an association for debugging: no data, no UIDs of instances, no secrets.

use bytes::{Bytes, BytesMut};
use packhorse_association::codec::UserInformation;
use packhorse_association::dimse::Assembler;
use packhorse_association::machine::Event;
use packhorse_association::pdv::{Pdv, Pdvs};
use packhorse_association::{AcceptorConfig, Connection, Pdu, Request, accept};
use packhorse_dicom::negotiation::{UserIdentity, UserIdentityType};
use tokio::io::{AsyncWriteExt as _, duplex};

use crate::peer::*;

const SECRET: &str = "DOE^JANE";

/// The secret is nowhere in it, neither as text nor as the numbers of its bytes.
fn assert_hidden(what: &str, shown: &str) {
    let numbers = format!("{:?}", SECRET.as_bytes());
    let numbers = numbers.trim_matches(['[', ']']).to_owned();
    assert!(!shown.contains(SECRET) && !shown.contains(&numbers), "{what}: {shown}");
}

#[test]
fn nothing_that_holds_data_shows_it() {
    let data = Bytes::from_static(SECRET.as_bytes());
    let pdv = Pdv {
        context: id(0),
        is_command: true,
        is_last: false,
        data: data.clone(),
    };
    let mut assembler = Assembler::default();
    assembler.push(pdv.clone()).unwrap();
    let identity = UserIdentity {
        kind: UserIdentityType::USERNAME_AND_PASSCODE,
        positive_response_requested: true,
        primary_field: SECRET.as_bytes().into(),
        secondary_field: SECRET.as_bytes().into(),
    };
    let user = UserInformation {
        user_identity: Some(identity),
        user_identity_response: Some(data.clone()),
        ..UserInformation::default()
    };
    for (what, shown) in [
        ("a PDU", format!("{:?}", Pdu::PDataTf(data.clone()))),
        ("an event", format!("{:?}", Event::Data(data.clone()))),
        ("a PDV", format!("{pdv:?}")),
        ("PDVs", format!("{:?}", Pdvs::new(data))),
        ("an assembler", format!("{assembler:?}")),
        ("user information", format!("{user:?}")),
    ] {
        assert_hidden(what, &shown);
    }
}

#[tokio::test]
async fn an_association_shows_nothing_of_what_passes() {
    let (ours, mut theirs) = duplex(1 << 16);
    let mut bytes = BytesMut::from(&request_bytes()[..]);
    bytes.extend_from_slice(&store_command(STORE, 1));
    bytes.extend_from_slice(&data_frames(STORE, &[SECRET.as_bytes(), SECRET.as_bytes()]));
    theirs.write_all(&bytes).await.unwrap();
    let connection = Connection::over(ours, [127, 0, 0, 1].into());
    let mut association = accept(connection, "", &AcceptorConfig::default(), &no_raw_data)
        .await
        .unwrap();
    let Some(Request::Store(mut store)) = association.next().await.unwrap() else {
        panic!()
    };
    store.data().await.unwrap();
    let shown = format!("{store:?}");
    assert_hidden("a request", &shown);
    assert!(!shown.contains("1.2.3.4"), "{shown}");
    drop(store);
    assert_hidden("an association", &format!("{association:?}"));
}
