//! Fields of a frame's body.

use packhorse_ids::{DeliveryId, Digest, Kind, PayloadId, Priority, Routing, SegmentSet, Sequence, SiteName};

use super::{BUILD_LEN_MAX, Frame, FrameError, RANGES_PER_FRAME, TEXT_LEN_MAX, Versions, is_sendable, text, wall_time};
use crate::session::Acked;

/// What is left of a body. Never reads past its end, never allocates by a length that the peer chose.
pub(super) struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(kind: u8, body: &'a [u8]) -> Self {
        Self { kind, rest: body }
    }

    pub(super) const fn end(&self) -> Result<(), FrameError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.wrong_length())
    }

    /// For a frame that later versions may lengthen.
    pub(super) const fn ignore_rest(&mut self) {
        self.rest = &[];
    }

    /// Items until the end of the body: at least one, at most `len_max`.
    pub(super) fn list<T>(
        &mut self,
        len_max: usize,
        item: impl Fn(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        let mut items = vec![item(self)?];
        while !self.rest.is_empty() {
            if items.len() == len_max {
                return Err(self.wrong_length());
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn hello(&mut self) -> Result<Frame, FrameError> {
        let versions = Versions {
            min: self.u16()?,
            max: self.u16()?,
        };
        if versions.min > versions.max || versions.min == 0 {
            return Err(self.invalid("the range of versions"));
        }
        let length = usize::from(self.u8()?);
        if length > BUILD_LEN_MAX {
            return Err(self.invalid("the build's name"));
        }
        Ok(Frame::Hello {
            versions,
            build: text::build(self.slice(length)?),
        })
    }

    pub(super) fn routing(&mut self) -> Result<Routing, FrameError> {
        let routing = Routing {
            delivery: self.delivery()?,
            payload: self.payload()?,
            source: self.site_name()?,
            destination: self.site_name()?,
            kind: self.code("the kind", Kind::from_code)?,
            priority: self.code("the priority", Priority::from_code)?,
            sequence: Sequence(u64::from_be_bytes(self.array()?)),
            length: u64::from_be_bytes(self.array()?),
            blake3: Digest::from_bytes(self.array()?),
        };
        if !is_sendable(routing.length) {
            return Err(self.invalid("the length of a payload"));
        }
        Ok(routing)
    }

    pub(super) fn segment_set(&mut self) -> Result<SegmentSet, FrameError> {
        let (ranges, rest) = self.rest.as_chunks::<8>();
        if ranges.len() > RANGES_PER_FRAME || !rest.is_empty() {
            return Err(self.wrong_length());
        }
        let set = SegmentSet::from_bytes(self.rest).map_err(|_| self.invalid("the set of segments"))?;
        self.ignore_rest();
        Ok(set)
    }

    pub(super) fn acked(&mut self) -> Result<Acked, FrameError> {
        Ok(Acked {
            delivery: self.delivery()?,
            at: wall_time(self.array()?),
        })
    }

    pub(super) fn text(&mut self) -> Result<String, FrameError> {
        let length = usize::from(self.u16()?);
        if length > TEXT_LEN_MAX {
            return Err(self.invalid("a text"));
        }
        Ok(text::text(self.slice(length)?))
    }

    pub(super) fn delivery(&mut self) -> Result<DeliveryId, FrameError> {
        self.array().map(DeliveryId::from_bytes)
    }

    pub(super) fn payload(&mut self) -> Result<PayloadId, FrameError> {
        self.array().map(PayloadId::from_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.array().map(u8::from_be_bytes)
    }

    fn code<T>(&mut self, field: &'static str, read: impl Fn(u8) -> Option<T>) -> Result<T, FrameError> {
        let code = self.u8()?;
        read(code).ok_or_else(|| self.invalid(field))
    }

    fn site_name(&mut self) -> Result<SiteName, FrameError> {
        let length = usize::from(self.u8()?);
        let name = self.slice(length)?;
        let name = std::str::from_utf8(name).map_err(|_| self.invalid("the name of a site"))?;
        SiteName::try_from(name).map_err(|_| self.invalid("the name of a site"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.wrong_length())?;
        self.rest = rest;
        Ok(*array)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.wrong_length())?;
        self.rest = rest;
        Ok(slice)
    }

    const fn wrong_length(&self) -> FrameError {
        FrameError::WrongLength { kind: self.kind }
    }

    const fn invalid(&self, field: &'static str) -> FrameError {
        FrameError::InvalidField { kind: self.kind, field }
    }
}

pub(super) fn put_routing(out: &mut Vec<u8>, routing: &Routing) {
    out.extend_from_slice(routing.delivery.as_bytes());
    out.extend_from_slice(routing.payload.as_bytes());
    for site in [&routing.source, &routing.destination] {
        out.push(u8::try_from(site.as_str().len()).unwrap_or(u8::MAX));
        out.extend_from_slice(site.as_str().as_bytes());
    }
    out.extend_from_slice(&[routing.kind.code(), routing.priority.code()]);
    out.extend_from_slice(&routing.sequence.0.to_be_bytes());
    out.extend_from_slice(&routing.length.to_be_bytes());
    out.extend_from_slice(routing.blake3.as_bytes());
}

pub(super) fn put_acked(out: &mut Vec<u8>, acked: &Acked) {
    out.extend_from_slice(acked.delivery.as_bytes());
    out.extend_from_slice(&acked.at.unix_micros().to_be_bytes());
}
