//! Our requestor and our acceptor: every class, every syntax, any bytes.

use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_testkit::instances::{Instance, Study, uid};

use crate::scp::Scp;
use crate::scu::{associate, expected, store};

/// Native, deflated, encapsulated, retired, referenced, made up.
const SYNTAXES: [&str; 8] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.61",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.94",
    "1.2.826.0.1.3680043.9.9999.1",
];
/// CT, a retired one, an RT plan, a hanging protocol, a private class.
const CLASSES: [&str; 5] = [
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.481.5",
    "1.2.840.10008.5.1.4.38.1",
    "1.3.46.670589.5.0.1",
];

/// Data sets that are none: the bytes are nobody's business here. Lengths from 0 to 300 KB, odd ones too.
fn instances() -> Vec<Instance> {
    let made = Study::new("through").dose_sr(1, 1);
    let pairs = CLASSES
        .into_iter()
        .flat_map(|class| SYNTAXES.into_iter().map(move |syntax| (class, syntax)));
    pairs
        .enumerate()
        .map(|(number, (class, syntax))| Instance {
            sop_class_uid: SopClassUid::try_from(class).unwrap(),
            sop_instance_uid: SopInstanceUid::try_from(uid(&format!("through/{number}")).as_str()).unwrap(),
            transfer_syntax: TransferSyntaxUid::try_from(syntax).unwrap(),
            dataset: (0..number * 7919).map(|at| (at % 251).to_le_bytes()[0]).collect(),
            ..made.clone()
        })
        .collect()
}

#[tokio::test]
async fn any_class_in_any_syntax_comes_through_byte_for_byte() {
    let instances = instances();
    let mut scp = Scp::start().await;
    let mut association = associate(scp.port, &instances).await.unwrap();
    for instance in &instances {
        assert_eq!(store(&mut association, instance).await.unwrap().status, Status::SUCCESS);
    }
    association.release().await.unwrap();
    let mut received = scp.association().await.received;
    received.sort();
    assert_eq!(received, expected(&instances));
}
