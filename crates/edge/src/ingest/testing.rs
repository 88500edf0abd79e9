//! Instances as a source sends them, for unit tests.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use packhorse_association::CStoreRq;
use packhorse_dicom::negotiation::Proposal;
use packhorse_ledger::Origin;

use super::journal::Journal;
use super::take::{Data, Offered, Taken, take};
use crate::shared::Shared;

/// An instance in Implicit VR LE, sent on the proposal's first context.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) proposal: &'a Proposal,
    /// SOP Instance UID.
    pub(crate) instance: &'a str,
    /// Patient ID.
    pub(crate) patient: &'a str,
    /// Pixel Data.
    pub(crate) pixels: &'a str,
}

struct Whole(Option<Bytes>);

impl Data for Whole {
    type Error = Infallible;

    async fn next(&mut self) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.take())
    }
}

fn element(tag: [u8; 4], value: &str) -> Vec<u8> {
    let mut value = value.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), b' ');
    let length = u32::try_from(value.len()).unwrap();
    [&tag[..], &length.to_le_bytes(), &value].concat()
}

/// Takes it as if it had come on an association of the source `PACS A`.
pub(crate) async fn send_one(shared: &Arc<Shared>, sent: &Sent<'_>) -> Taken {
    send_with(shared, sent, 0).await
}

/// The same with the command's priority.
pub(crate) async fn send_with(shared: &Arc<Shared>, sent: &Sent<'_>, priority: u16) -> Taken {
    let context = &sent.proposal.contexts[0];
    let uid = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let command = CStoreRq {
        message_id: 1,
        affected_sop_class_uid: uid(context.abstract_syntax.as_str()),
        affected_sop_instance_uid: uid(sent.instance),
        priority,
        move_originator: None,
    };
    let offered = Offered {
        origin: Origin::Send,
        source: "PACS A".to_owned(),
        proposal: sent.proposal,
        context_class: context.abstract_syntax.clone(),
        transfer_syntax: context.transfer_syntaxes[0].clone(),
        command_set: command.to_bytes(),
        command,
        told: Arc::default(),
    };
    let data_set = [
        element([0x10, 0, 0x20, 0], sent.patient),
        element([0x20, 0, 0x0D, 0], "1.2.3"),
        element([0xE0, 0x7F, 0x10, 0], sent.pixels),
    ];
    let mut data = Whole(Some(Bytes::from(data_set.concat())));
    let Ok(taken) = take(shared, offered, &mut Journal::default(), &mut data).await;
    taken
}
