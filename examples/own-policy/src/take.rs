//! One instance, decided at its end, into a file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use packhorse_association::StoreRequest;
use packhorse_dicom::header::HeaderScan;
use packhorse_dicom::negotiation::Proposal;
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::SopClassUid;
use packhorse_dicom::{part10, transfer_syntax};
use packhorse_policy::{Engine, HeaderValues, InstanceDecision, InstanceFacts};

/// Answers Success only when the file and its name are on disk. Dropped before, the file is gone again.
pub(crate) async fn take(
    engine: &Engine,
    folder: &Path,
    proposal: &Proposal,
    mut store: StoreRequest<'_>,
) -> anyhow::Result<()> {
    let (context_class, syntax) = (store.abstract_syntax().clone(), store.transfer_syntax().clone());
    let names = (store.command().sop_class_uid(), store.command().sop_instance_uid());
    let (Ok(class), Ok(instance)) = names else {
        return Ok(store
            .respond(Status::INVALID_OBJECT_INSTANCE, Some("no usable UID"))
            .await?);
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&part10::write_file_meta(&class, &instance, &syntax))?;
    let (mut scan, mut length) = (HeaderScan::new(transfer_syntax::encoding_of(&syntax)), 0);
    while let Some(fragment) = store.data().await? {
        scan.push(&fragment);
        file.write_all(&fragment)?;
        length += u64::try_from(fragment.len())?;
    }
    let header = scan.finish();
    // A gateway decodes by Specific Character Set.
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim_matches([' ', '\0']).to_owned();
    let dataset_class = header.sop_class_uid.as_deref().map(SopClassUid::try_from);
    let facts = InstanceFacts {
        calling: &proposal.calling_ae_title,
        called: &proposal.called_ae_title,
        context_class: &context_class,
        command_class: &class,
        dataset_class: dataset_class.as_ref().and_then(|class| class.as_ref().ok()),
        transfer_syntax: &syntax,
        common_extended: &proposal.common_extended,
        header: Some(&HeaderValues::of(&header, engine.attributes(), |_, value| text(value))),
    };
    let into = match engine.decide_end(&facts, length) {
        InstanceDecision::Accept { .. } => folder.to_owned(),
        InstanceDecision::Hold(_) => folder.join("held"),
        InstanceDecision::Refuse { status, comment, .. } => return Ok(store.respond(status, Some(&comment)).await?),
    };
    file.as_file().sync_all()?;
    // A name that no peer has sent.
    let name = file.path().with_extension("dcm");
    file.persist_noclobber(into.join(name.file_name().unwrap_or_default()))?;
    File::open(&into)?.sync_all()?;
    Ok(store.respond(Status::SUCCESS, None).await?)
}
