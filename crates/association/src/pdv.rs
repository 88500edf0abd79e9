//! P-DATA-TF: presentation data values (PS3.8 §9.3.5, Annex E), without copies.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use packhorse_dicom::negotiation::PresentationContextId;

use crate::codec::{PDU_HEADER_LEN, Violation};

/// Bytes before a PDV's data: length, context id, message control header.
pub const PDV_HEADER_LEN: usize = 6;
/// Bytes before the data of a P-DATA-TF with one PDV.
pub const FRAME_HEADER_LEN: usize = 12;
/// The smallest maximum length of a peer that is honoured; below it a data set would crawl in fragments of a few bytes,
/// and 6 or less leaves no room for data at all. Real peers have 4 KiB and more.
pub const PEER_MAX_FLOOR: u32 = 1024;
/// The longest P-DATA-TF we send, whatever the peer would take (0 means no limit).
pub const SEND_MAX: u32 = 256 * 1024;

/// One presentation data value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdv {
    /// The context it belongs to.
    pub context: PresentationContextId,
    /// Part of a command (PS3.8 §E.2, bit 0), or of a data set.
    pub is_command: bool,
    /// The last fragment of its command or data set (bit 1).
    pub is_last: bool,
    /// The fragment.
    pub data: Bytes,
}

/// The PDVs of one P-DATA-TF variable field, in order.
#[derive(Clone, Debug)]
pub struct Pdvs(Bytes);

impl Pdvs {
    /// Over the variable field of a P-DATA-TF.
    #[must_use]
    pub const fn new(body: Bytes) -> Self {
        Self(body)
    }

    /// The next PDV; `None` at the end.
    ///
    /// # Errors
    /// [`Violation`] when a PDV reaches past the PDU, is too short for its header, or has an even context id.
    pub fn next_pdv(&mut self) -> Result<Option<Pdv>, Violation> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let length = self
            .0
            .try_get_u32()
            .map_err(|_| Violation::Truncated("a PDV's length"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < 2 || length > self.0.len() {
            return Err(Violation::Truncated("a PDV"));
        }
        let mut value = self.0.split_to(length);
        let context = PresentationContextId::try_from(value.get_u8())
            .map_err(|_| Violation::Invalid("a PDV's presentation context id is even"))?;
        let control = value.get_u8();
        Ok(Some(Pdv {
            context,
            is_command: control & 1 != 0,
            is_last: control & 2 != 0,
            data: value,
        }))
    }
}

/// Longest data of one PDV to a peer that said `peer_max`: even, as Annex E wants, and between our two bounds.
#[must_use]
pub fn fragment_len(peer_max: Option<u32>) -> usize {
    let most = match peer_max {
        None | Some(0) => SEND_MAX,
        Some(length) => length.clamp(PEER_MAX_FLOOR, SEND_MAX),
    };
    let data = usize::try_from(most).unwrap_or(0).saturating_sub(PDV_HEADER_LEN);
    data & !1
}

/// The 12 bytes before `len` bytes of data that go as one PDV in one P-DATA-TF.
#[must_use]
pub fn frame_header(
    context: PresentationContextId,
    is_command: bool,
    is_last: bool,
    len: usize,
) -> [u8; FRAME_HEADER_LEN] {
    let data = u32::try_from(len).unwrap_or(u32::MAX);
    let pdv = data.saturating_add(2).to_be_bytes();
    let pdu = data.saturating_add(6).to_be_bytes();
    let control = u8::from(is_command) | u8::from(is_last) << 1;
    let ([a, b, c, d], [e, f, g, h]) = (pdu, pdv);
    [4, 0, a, b, c, d, e, f, g, h, context.get(), control]
}

/// A whole command set as P-DATA-TF PDUs of at most `fragment_len` bytes of data each.
#[must_use]
pub fn command_frames(context: PresentationContextId, command: &[u8], fragment_len: usize) -> BytesMut {
    let fragments = command.chunks(fragment_len.max(2));
    let last = fragments.len().saturating_sub(1);
    let mut out = BytesMut::with_capacity(command.len().saturating_add(PDU_HEADER_LEN.saturating_mul(2)));
    for (index, fragment) in fragments.enumerate() {
        out.put_slice(&frame_header(context, true, index == last, fragment.len()));
        out.put_slice(fragment);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context() -> PresentationContextId {
        PresentationContextId::try_from(3).unwrap()
    }

    #[test]
    fn an_empty_pdv_is_a_fragment_and_not_the_end() {
        let mut pdvs = Pdvs::new(Bytes::from_static(&[0, 0, 0, 2, 3, 0, 0, 0, 0, 3, 3, 2, 9]));
        let first = pdvs.next_pdv().unwrap().unwrap();
        assert_eq!((first.is_last, first.data.len()), (false, 0));
        let second = pdvs.next_pdv().unwrap().unwrap();
        assert_eq!((second.is_last, &*second.data), (true, [9].as_slice()));
        assert_eq!(pdvs.next_pdv(), Ok(None));
    }

    #[test]
    fn the_peers_maximum_is_clamped_and_fragments_are_even() {
        for peer_max in [
            None,
            Some(0),
            Some(1),
            Some(6),
            Some(1017),
            Some(16_383),
            Some(u32::MAX),
        ] {
            let length = fragment_len(peer_max);
            assert_eq!(length % 2, 0);
            assert!((1000..=256 * 1024).contains(&length), "{peer_max:?}: {length}");
        }
        assert_eq!(fragment_len(Some(16_382)), 16_376);
    }

    proptest! {
        #[test]
        fn commands_come_back_from_any_fragment_length(command in prop::collection::vec(any::<u8>(), 1..300), length in 2usize..64) {
            let mut wire = command_frames(context(), &command, length);
            let (mut back, mut last) = (Vec::new(), false);
            while let Some(pdu) = crate::codec::next_pdu(&mut wire, 1 << 20).unwrap() {
                let crate::Pdu::PDataTf(body) = pdu else { panic!() };
                let mut pdvs = Pdvs::new(body);
                while let Some(pdv) = pdvs.next_pdv().unwrap() {
                    prop_assert!(pdv.is_command && !last);
                    back.extend_from_slice(&pdv.data);
                    last = pdv.is_last;
                }
            }
            prop_assert!(last);
            prop_assert_eq!(back, command);
        }

        #[test]
        fn any_bytes_are_pdvs_or_a_violation(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut pdvs = Pdvs::new(Bytes::from(bytes));
            while let Ok(Some(_)) = pdvs.next_pdv() {}
        }
    }
}
