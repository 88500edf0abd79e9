//! P-DATA-TF: presentation data values (PS3.8 §9.3.5, Annex E), without copies.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fmt;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use packhorse_dicom::negotiation::PresentationContextId;

use crate::codec::{PDU_HEADER_LEN, Violation};

/// Bytes before a PDV's data: length, context id, message control header.
pub const PDV_HEADER_LEN: usize = 6;
/// Bytes before the data of a P-DATA-TF with one PDV.
pub const FRAME_HEADER_LEN: usize = 12;
/// The smallest maximum length of a peer that can be kept to: a header and two bytes. 1 to 7 leave no room for data.
pub const PEER_MAX_FLOOR: u32 = 8;
/// What is sent to a peer that does not say its maximum, though it has to: every known implementation takes this much.
pub const PEER_MAX_UNSAID: u32 = 16 * 1024;
/// The longest P-DATA-TF we send, whatever the peer would take (0 means no limit).
pub const SEND_MAX: u32 = 256 * 1024;

/// Shows how many bytes there are, and none of them: they are a patient's, or a secret.
pub(crate) struct Hidden(pub(crate) usize);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// One presentation data value. `Debug` shows no data.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Pdv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pdv")
            .field("context", &self.context)
            .field("is_command", &self.is_command)
            .field("is_last", &self.is_last)
            .field("data", &Hidden(self.data.len()))
            .finish()
    }
}

/// The PDVs of one P-DATA-TF variable field, in order. `Debug` shows no data.
#[derive(Clone)]
pub struct Pdvs(Bytes);

impl fmt::Debug for Pdvs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pdvs").field(&Hidden(self.0.len())).finish()
    }
}

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

/// Longest data of one PDV to a peer that said `peer_max`: even, as Annex E wants. 0 is no limit, so ours holds.
#[must_use]
pub fn fragment_len(peer_max: Option<u32>) -> usize {
    let most = match peer_max {
        None => PEER_MAX_UNSAID,
        Some(0) => SEND_MAX,
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

/// Cuts a data set that comes in chunks into P-DATA-TF PDUs. Up to one fragment is held back: whether it is the last is
/// known only at the end, and [`finish`](Self::finish) alone says so. Dropped, it leaves the data set unfinished.
#[derive(Debug)]
pub struct DataFrames {
    context: PresentationContextId,
    fragment_len: usize,
    held: BytesMut,
}

impl DataFrames {
    /// For one data set, in fragments of `fragment_len` bytes, at least 2.
    #[must_use]
    pub fn new(context: PresentationContextId, fragment_len: usize) -> Self {
        Self {
            context,
            fragment_len: fragment_len.max(2),
            held: BytesMut::new(),
        }
    }

    /// Appends one fragment that is surely not the last to `out`, and takes its bytes off `chunk`. `false`: the chunk is
    /// used up, and what was left of it is held.
    pub fn take_from(&mut self, chunk: &mut Bytes, out: &mut BytesMut) -> bool {
        let room = self.fragment_len.saturating_sub(self.held.len());
        if chunk.len() <= room {
            self.held.extend_from_slice(chunk);
            chunk.clear();
            return false;
        }
        let rest = chunk.split_to(room);
        out.put_slice(&frame_header(self.context, false, false, self.fragment_len));
        out.put_slice(&self.held);
        out.put_slice(&rest);
        self.held.clear();
        true
    }

    /// Appends what is held as the last fragment. Only for a data set that was read to its end.
    pub fn finish(self, out: &mut BytesMut) {
        out.put_slice(&frame_header(self.context, false, true, self.held.len()));
        out.put_slice(&self.held);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context() -> PresentationContextId {
        PresentationContextId::try_from(3).unwrap()
    }

    fn data_fragments(mut wire: BytesMut) -> Vec<Pdv> {
        let mut fragments = Vec::new();
        while let Some(pdu) = crate::codec::next_pdu(&mut wire, 1 << 20).unwrap() {
            let crate::Pdu::PDataTf(body) = pdu else { panic!() };
            let mut pdvs = Pdvs::new(body);
            fragments.extend(std::iter::from_fn(|| pdvs.next_pdv().unwrap()));
        }
        fragments
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
    fn the_peers_maximum_is_kept_to_and_fragments_are_even() {
        for peer_max in [8, 9, 128, 512, 1017, 4096, 16_383, 100_000] {
            let length = u32::try_from(fragment_len(Some(peer_max))).unwrap();
            assert_eq!(length % 2, 0);
            assert!((peer_max - 7..=peer_max - 6).contains(&length), "{peer_max}: {length}");
        }
        assert_eq!(fragment_len(Some(16_382)), 16_376);
    }

    #[test]
    fn a_maximum_without_room_for_data_is_taken_for_the_smallest_with_it() {
        for peer_max in 1..=7 {
            assert_eq!(fragment_len(Some(peer_max)), 2);
        }
    }

    #[test]
    fn no_limit_is_ours_and_no_word_is_16_kib() {
        assert_eq!(fragment_len(Some(0)), 256 * 1024 - 6);
        assert_eq!(fragment_len(Some(u32::MAX)), 256 * 1024 - 6);
        assert_eq!(fragment_len(None), 16 * 1024 - 6);
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
        fn a_data_set_comes_back_from_any_chunks_and_only_its_end_is_last(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..12),
            length in 2usize..40,
        ) {
            let mut wire = BytesMut::new();
            let mut frames = DataFrames::new(context(), length);
            for chunk in &chunks {
                let mut chunk = Bytes::copy_from_slice(chunk);
                while frames.take_from(&mut chunk, &mut wire) {}
            }
            let unfinished = wire.clone();
            frames.finish(&mut wire);
            let fragments = data_fragments(wire);
            let sent: Vec<u8> = fragments.iter().flat_map(|pdv| pdv.data.iter().copied()).collect();
            prop_assert_eq!(sent, chunks.concat());
            let (last, others) = fragments.split_last().unwrap();
            prop_assert!(last.is_last);
            prop_assert!(others.iter().all(|pdv| !pdv.is_last && pdv.data.len() == length));
            prop_assert!(data_fragments(unfinished).iter().all(|pdv| !pdv.is_last));
        }

        #[test]
        fn any_bytes_are_pdvs_or_a_violation(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut pdvs = Pdvs::new(Bytes::from(bytes));
            while let Ok(Some(_)) = pdvs.next_pdv() {}
        }
    }
}
