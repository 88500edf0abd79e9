//! What is sent, and our requestor that sends it.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use packhorse_association::{AssociationError, CStoreRq, CStoreRsp, RequestedAssociation, RequestorConfig};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::RAW_DATA_STORAGE;
use packhorse_dicom::uid::AbstractSyntaxUid;
use packhorse_testkit::instances::{ImageSize, Instance, Study, demo_study};
use packhorse_testkit::peers::sha256;
use tempfile::TempDir;

use crate::scp::Received;

/// An end for peers that start slowly on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// The demo study (CT, Raw Data, dose report) and an instance of another syntax that has no whole number of fragments.
pub(crate) fn study() -> Vec<Instance> {
    let mut study = demo_study();
    study.push(
        Study::new("other")
            .implicit()
            .secondary_capture(1, 1, ImageSize::square(301)),
    );
    study
}

pub(crate) fn without_raw_data(mut study: Vec<Instance>) -> Vec<Instance> {
    study.retain(|instance| instance.sop_class_uid.as_str() != RAW_DATA_STORAGE);
    study
}

pub(crate) fn in_a_folder(instances: &[Instance]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, instance) in instances.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.dcm")), instance.to_part10()).unwrap();
    }
    folder
}

/// What an SCP that changes nothing receives of them, sorted.
pub(crate) fn expected(instances: &[Instance]) -> Vec<Received> {
    let mut expected: Vec<Received> = instances
        .iter()
        .map(|instance| Received {
            sop_class_uid: instance.sop_class_uid.to_string(),
            sop_instance_uid: instance.sop_instance_uid.to_string(),
            transfer_syntax: instance.transfer_syntax.to_string(),
            sha256: sha256(&instance.dataset),
        })
        .collect();
    expected.sort();
    expected
}

/// One context for each (class, syntax), and Verification's.
pub(crate) fn contexts(instances: &[Instance]) -> Vec<ProposedContext> {
    let mut contexts: Vec<ProposedContext> = Vec::new();
    let verification = AbstractSyntaxUid::try_from(packhorse_dicom::sop_class::VERIFICATION).unwrap();
    let pairs = instances
        .iter()
        .map(|instance| (AbstractSyntaxUid::from(&instance.sop_class_uid), instance));
    let implicit = Study::new("").implicit().dose_sr(1, 1).transfer_syntax;
    let all = pairs
        .map(|(class, instance)| (class, instance.transfer_syntax.clone()))
        .chain([(verification, implicit)]);
    for (abstract_syntax, syntax) in all {
        let transfer_syntaxes = vec![syntax];
        let is_there = contexts.iter().any(|context| {
            context.abstract_syntax == abstract_syntax && context.transfer_syntaxes == transfer_syntaxes
        });
        if !is_there {
            contexts.push(ProposedContext {
                id: PresentationContextId::nth(contexts.len()).unwrap(),
                abstract_syntax,
                transfer_syntaxes,
            });
        }
    }
    contexts
}

pub(crate) fn config() -> RequestorConfig {
    let title = |text| AeTitle::try_from(text).unwrap();
    RequestorConfig::new(title("PACKHORSE"), title("XSCP"))
}

pub(crate) async fn associate(port: u16, instances: &[Instance]) -> Result<RequestedAssociation, AssociationError> {
    RequestedAssociation::request(&format!("127.0.0.1:{port}"), &config(), contexts(instances)).await
}

/// Stores one instance on the context that was accepted for it.
pub(crate) async fn store(
    association: &mut RequestedAssociation,
    instance: &Instance,
) -> Result<CStoreRsp, AssociationError> {
    let class = AbstractSyntaxUid::from(&instance.sop_class_uid);
    let context = association
        .accepted(&class, &instance.transfer_syntax)
        .expect("an accepted context");
    let uid = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let command = CStoreRq {
        message_id: 0,
        affected_sop_class_uid: uid(instance.sop_class_uid.as_str()),
        affected_sop_instance_uid: uid(instance.sop_instance_uid.as_str()),
        priority: 0,
        move_originator: None,
    };
    let data = Some(Bytes::from(instance.dataset.clone()));
    association.store(context, &command, data).await
}
