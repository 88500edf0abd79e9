//! `on_refused_syntax = "convert"`: an instance whose transfer syntax the destination does not take goes in an uncompressed
//! one that it takes. Without loss, or not at all; the original stays what the receipt is about.

use bytes::Bytes;
use packhorse_association::{AssociationError, CStoreRsp, DataSource as _, InstanceContext, StoreError};
use packhorse_convert::{ConvertError, Limits};
use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::ContextResult;
use packhorse_dicom::transfer_syntax::{self, EXPLICIT_VR_LE};
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_ids::Digest;
use packhorse_ledger::fact::Conversion;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::lane::Lane;
use super::parcel::Parcel;
use crate::config::{Destination, OnRefusedSyntax};
use crate::shared::Shared;

/// Conversions at a time, of all destinations: each may take three times `convert_max` of memory, and a processor.
static CONVERSIONS: Semaphore = Semaphore::const_new(1);

/// Whether a refusal is one that converting may help against: of the transfer syntaxes, not of the class.
pub(super) fn is_asked_for(destination: &Destination, refused: &StoreError) -> bool {
    let result = ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED;
    destination.on_refused_syntax == OnRefusedSyntax::Convert
        && matches!(refused, StoreError::ContextRefused { result: refused, .. } if *refused == result)
}

/// What an association proposes: what its instances need, and behind that what they could be converted to.
pub(super) fn proposed(
    destination: &Destination,
    own: &InstanceContext,
    mut ahead: Vec<InstanceContext>,
) -> Vec<InstanceContext> {
    if destination.on_refused_syntax == OnRefusedSyntax::Convert {
        let others: Vec<_> = std::iter::once(own).chain(&ahead).flat_map(alternatives).collect();
        ahead.extend(others);
    }
    ahead
}

/// The contexts that an instance could go in instead, best first.
fn alternatives(own: &InstanceContext) -> Vec<InstanceContext> {
    let targets = packhorse_convert::targets(&own.transfer_syntax).into_iter();
    let context = |transfer_syntax| InstanceContext {
        sop_class: own.sop_class.clone(),
        transfer_syntax,
    };
    targets.map(context).collect()
}

/// C-STORE of the instance in a syntax that the destination takes; when there is none, or the instance cannot be converted,
/// what was `refused`. What became of it stands in [`Parcel::conversion`] then.
pub(super) async fn store(
    (shared, destination): (&Shared, &Destination),
    lane: &mut Lane,
    parcel: &mut Parcel,
    (calling, ahead): (&AeTitle, &[InstanceContext]),
    refused: StoreError,
) -> Result<CStoreRsp, StoreError> {
    let own = parcel.context().clone();
    let mut contexts = alternatives(&own);
    if contexts.is_empty() {
        parcel.conversion = Some(Err(why_never(&own.transfer_syntax)));
        return Err(refused);
    }
    let scu = lane.scu(shared, destination, calling).await;
    contexts.retain(|context| scu.accepts(context) != Some(false));
    contexts.sort_by_key(|context| scu.accepts(context).is_none());
    parcel.conversion = Some(Err("it takes no syntax that this could be converted to".to_owned()));
    let command = parcel.command.clone();
    for context in contexts {
        let (data_set, conversion) = match converted(shared, parcel, &context.transfer_syntax).await? {
            Ok(converted) => converted,
            Err(why) => {
                parcel.conversion = Some(Err(why));
                continue;
            }
        };
        let scu = lane.scu(shared, destination, calling).await;
        let stored = scu.store(&context, ahead, &command, || Some(data_set.clone())).await;
        if !matches!(stored, Err(StoreError::ContextRefused { .. })) {
            let syntax = transfer_syntax::name_of(context.transfer_syntax.as_str());
            tracing::info!(delivery = %parcel.delivery(), syntax, "sent converted");
            parcel.conversion = Some(Ok(conversion));
            return stored;
        }
    }
    Err(refused)
}

/// Why instances in this syntax are never converted.
fn why_never(from: &TransferSyntaxUid) -> String {
    let to = TransferSyntaxUid::try_from(EXPLICIT_VR_LE).expect("a UID of the standard");
    let tried = packhorse_convert::convert(Bytes::new(), from, &to, Limits { max: 0 });
    tried.err().map_or_else(String::new, |error| chain(&error))
}

/// The instance in another syntax, with its hash; or why not. Worked on beside the runtime's own threads.
async fn converted(
    shared: &Shared,
    parcel: &Parcel,
    to: &TransferSyntaxUid,
) -> Result<Result<(Bytes, Conversion), String>, StoreError> {
    let max = shared.config.delivery.convert_max;
    let (from, to) = (parcel.context().transfer_syntax.clone(), to.clone());
    let _turn = CONVERSIONS.acquire().await;
    let Some(original) = whole(shared, parcel, max).await? else {
        return Ok(Err(chain(&ConvertError::TooLarge { max })));
    };
    let work = move || {
        let converted = packhorse_convert::convert(original, &from, &to, Limits { max })?;
        let conversion = Conversion {
            transfer_syntax: converted.transfer_syntax,
            sha256: Digest::from_bytes(Sha256::digest(&converted.data_set).into()),
        };
        Ok::<_, ConvertError>((converted.data_set, conversion))
    };
    Ok(match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| chain(&error)),
        // A decoder has panicked: that is this instance's affair.
        Err(error) => Err(error.to_string()),
    })
}

/// The data set in one piece, its hash checked; `None`: longer than `max` bytes.
async fn whole(shared: &Shared, parcel: &Parcel, max: usize) -> Result<Option<Bytes>, StoreError> {
    let length = usize::try_from(parcel.trailer.original_length).unwrap_or(usize::MAX);
    if length > max {
        return Ok(None);
    }
    let mut data = parcel.data(shared);
    let mut whole = Vec::with_capacity(length);
    loop {
        let chunk = data.next_chunk().await;
        let chunk = chunk.map_err(|error| StoreError::Interrupted(AssociationError::Source(error)))?;
        match chunk {
            Some(chunk) => whole.extend_from_slice(&chunk),
            None => return Ok(Some(whole.into())),
        }
    }
}
