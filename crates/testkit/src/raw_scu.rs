//! A storage SCU that sends what it is told, byte for byte, right or wrong: for instances that stop other senders before
//! they connect, and for tests that must know what was answered to each instance.
//!
//! It shares no code with the association crate, so that the two cannot be wrong in the same way. It blocks, and gives up
//! after [`ANSWER_WITHIN`].

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the peer may take for an answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a PDU that the peer may send, at most.
const PDU_LEN_MAX: usize = 1 << 20;
/// Bytes of a fragment when the peer sets no limit.
const FRAGMENT_LEN_MAX: usize = 128 << 10;
/// PS3.7 §A.2.1.
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// Why there is no answer to an instance, or no association.
#[derive(Debug, thiserror::Error)]
pub enum RawScuError {
    /// The connection.
    #[error("the connection was lost")]
    Io(#[from] io::Error),
    /// A-ASSOCIATE-RJ.
    #[error("rejected: result {result}, source {source_code}, reason {reason}")]
    Rejected {
        /// 1 permanent, 2 transient.
        result: u8,
        /// 1 user, 2 ACSE, 3 presentation.
        source_code: u8,
        /// PS3.8 Table 9-21.
        reason: u8,
    },
    /// A-ABORT.
    #[error("aborted: source {source_code}, reason {reason}")]
    Aborted {
        /// 0 user, 2 provider.
        source_code: u8,
        /// PS3.8 Table 9-26.
        reason: u8,
    },
    /// Something else than what was due.
    #[error("PDU type {0:#04x} came out of turn")]
    OutOfTurn(u8),
}

/// One presentation context: an abstract syntax, a transfer syntax.
pub type Pair = (String, String);

/// What was answered to a C-STORE-RQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// (0000,0900)
    pub status: u16,
    /// (0000,0902), as text; empty when there is none.
    pub comment: String,
    /// (0000,1000), as it came.
    pub sop_instance_uid: Vec<u8>,
}

/// An association.
#[derive(Debug)]
pub struct RawScu {
    stream: TcpStream,
    proposed: Vec<Pair>,
    /// The result for each proposed context: 0 is acceptance (PS3.8 Table 9-18).
    results: Vec<u8>,
    /// User information as it was answered: type and value of each sub-item (PS3.7 §D.3.3).
    user_items: Vec<(u8, Vec<u8>)>,
    fragment_len: usize,
    message_id: u16,
}

/// The A-ASSOCIATE-RQ that proposes one presentation context for each pair, as bytes: to be cut, or sent and left alone.
#[must_use]
pub fn request_bytes(called: &str, calling: &str, pairs: &[Pair]) -> Vec<u8> {
    pdu(0x01, &associate_rq(called, calling, pairs, &[]))
}

impl RawScu {
    /// Proposes one presentation context for each pair, at most 128.
    ///
    /// # Errors
    /// When there is no association.
    pub fn associate(address: SocketAddr, called: &str, calling: &str, pairs: &[Pair]) -> Result<Self, RawScuError> {
        Self::associate_with(address, called, calling, pairs, &[])
    }

    /// The same with more sub-items of user information, by type and value.
    ///
    /// # Errors
    /// When there is no association.
    pub fn associate_with(
        address: SocketAddr,
        called: &str,
        calling: &str,
        pairs: &[Pair],
        user_items: &[(u8, Vec<u8>)],
    ) -> Result<Self, RawScuError> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        let mut scu = Self {
            stream,
            proposed: pairs.to_vec(),
            results: vec![u8::MAX; pairs.len()],
            user_items: Vec::new(),
            fragment_len: FRAGMENT_LEN_MAX,
            message_id: 0,
        };
        scu.stream
            .write_all(&pdu(0x01, &associate_rq(called, calling, pairs, user_items)))?;
        let (kind, body) = scu.receive()?;
        if kind != 0x02 {
            return Err(refusal(kind, &body));
        }
        scu.read_accept(&body);
        Ok(scu)
    }

    /// The result of each proposed context, in their order.
    #[must_use]
    pub fn results(&self) -> &[u8] {
        &self.results
    }

    /// The value of the user information's first sub-item of this type; `None` when none was answered.
    #[must_use]
    pub fn user_item(&self, kind: u8) -> Option<&[u8]> {
        let item = self.user_items.iter().find(|(known, _)| *known == kind);
        item.map(|(_, value)| value.as_slice())
    }

    /// The id of an accepted context.
    #[must_use]
    pub fn accepted(&self, pair: &Pair) -> Option<u8> {
        let index = self.proposed.iter().position(|proposed| proposed == pair)?;
        (self.results.get(index) == Some(&0)).then(|| context_id(index))
    }

    /// One instance: the command's UIDs and the data set as they are given, and its answer.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn store(&mut self, context: u8, class: &[u8], instance: &[u8], data: &[u8]) -> Result<Answer, RawScuError> {
        self.message_id = self.message_id.wrapping_add(1);
        let command = store_rq(self.message_id, class, instance);
        let mut out = pdv(context, 0x03, &command);
        let count = data.chunks(self.fragment_len).count().max(1);
        for number in 0..count {
            let start = number * self.fragment_len;
            let fragment = &data[start..data.len().min(start + self.fragment_len)];
            let is_last = u8::from(number + 1 == count) * 2;
            out.extend(pdv(context, is_last, fragment));
            if out.len() > PDU_LEN_MAX || is_last != 0 {
                self.stream.write_all(&std::mem::take(&mut out))?;
            }
        }
        self.answer()
    }

    /// A-RELEASE.
    ///
    /// # Errors
    /// When it is not answered.
    pub fn release(mut self) -> Result<(), RawScuError> {
        self.stream.write_all(&pdu(0x05, &[0; 4]))?;
        match self.receive()? {
            (0x06, _) => Ok(()),
            (kind, body) => Err(refusal(kind, &body)),
        }
    }

    fn read_accept(&mut self, body: &[u8]) {
        for (kind, item) in items(body.get(68..).unwrap_or_default()) {
            match (kind, item) {
                (0x21, [id, _, result, ..]) => {
                    let index = usize::from(id / 2);
                    if let Some(place) = self.results.get_mut(index) {
                        *place = *result;
                    }
                }
                (0x50, _) => {
                    self.user_items = items(item).map(|(kind, value)| (kind, value.to_vec())).collect();
                    let length = self.user_item(0x51).and_then(|value| value.first_chunk());
                    let length = length.map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize);
                    if length > 6 {
                        self.fragment_len = (length - 6).min(FRAGMENT_LEN_MAX);
                    }
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self) -> Result<Answer, RawScuError> {
        let mut command = Vec::new();
        loop {
            let (kind, body) = self.receive()?;
            if kind != 0x04 {
                return Err(refusal(kind, &body));
            }
            let mut rest = body.as_slice();
            while let [a, b, c, d, _context, control, behind @ ..] = rest {
                let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(2);
                let (value, next) = behind.split_at(length.min(behind.len()));
                command.extend_from_slice(value);
                rest = next;
                if control & 0x02 != 0 {
                    return Ok(answer_of(&command));
                }
            }
        }
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>), RawScuError> {
        let mut head = [0; 6];
        self.stream.read_exact(&mut head)?;
        let [kind, _, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > PDU_LEN_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }
}

fn refusal(kind: u8, body: &[u8]) -> RawScuError {
    match (kind, body) {
        (0x03, [_, result, source, reason]) => RawScuError::Rejected {
            result: *result,
            source_code: *source,
            reason: *reason,
        },
        (0x07, [_, _, source, reason]) => RawScuError::Aborted {
            source_code: *source,
            reason: *reason,
        },
        _ => RawScuError::OutOfTurn(kind),
    }
}

fn context_id(index: usize) -> u8 {
    u8::try_from(index * 2 + 1).unwrap_or(u8::MAX)
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0], &length_u32(body)[..], body].concat()
}

fn pdv(context: u8, control: u8, value: &[u8]) -> Vec<u8> {
    let fragment = [&[context, control], value].concat();
    pdu(0x04, &[&length_u32(&fragment)[..], &fragment].concat())
}

fn item(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    [&[kind, 0], &length.to_be_bytes()[..], body].concat()
}

fn length_u32(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Items and sub-items: type, one reserved byte, two of length.
fn items(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [kind, _, high, low, behind @ ..] = bytes else {
            return None;
        };
        let (body, next) = behind.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        bytes = next;
        Some((*kind, body))
    })
}

fn associate_rq(called: &str, calling: &str, pairs: &[Pair], user_items: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let title = |text: &str| format!("{text:<16}").into_bytes();
    let mut body = vec![0, 1, 0, 0];
    body.extend(title(called));
    body.extend(title(calling));
    body.extend([0; 32]);
    body.extend(item(0x10, APPLICATION_CONTEXT.as_bytes()));
    for (index, (class, syntax)) in pairs.iter().enumerate() {
        let context = [
            vec![context_id(index), 0, 0, 0],
            item(0x30, class.as_bytes()),
            item(0x40, syntax.as_bytes()),
        ];
        body.extend(item(0x20, &context.concat()));
    }
    let mut user = [
        item(0x51, &u32::try_from(PDU_LEN_MAX).unwrap_or(0).to_be_bytes()),
        item(0x52, b"2.25.1"),
    ]
    .concat();
    user.extend(user_items.iter().flat_map(|(kind, value)| item(*kind, value)));
    body.extend(item(0x50, &user));
    body
}

/// A C-STORE-RQ (PS3.7 §9.3.1.1), Implicit VR Little Endian.
fn store_rq(message_id: u16, class: &[u8], instance: &[u8]) -> Vec<u8> {
    let elements = [
        element(0x0002, class),
        element(0x0100, &1_u16.to_le_bytes()),
        element(0x0110, &message_id.to_le_bytes()),
        element(0x0700, &0_u16.to_le_bytes()),
        element(0x0800, &0_u16.to_le_bytes()),
        element(0x1000, instance),
    ]
    .concat();
    let length = u32::try_from(elements.len()).unwrap_or(u32::MAX);
    [element(0x0000, &length.to_le_bytes()), elements].concat()
}

fn element(number: u16, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    [&[0, 0], &number.to_le_bytes()[..], &length.to_le_bytes(), &value].concat()
}

fn answer_of(mut command: &[u8]) -> Answer {
    let mut answer = Answer {
        status: u16::MAX,
        comment: String::new(),
        sop_instance_uid: Vec::new(),
    };
    while let [_, _, low, high, a, b, c, d, behind @ ..] = command {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let (value, next) = behind.split_at(length.min(behind.len()));
        match (u16::from_le_bytes([*low, *high]), value) {
            (0x0900, [low, high]) => answer.status = u16::from_le_bytes([*low, *high]),
            (0x0902, _) => answer.comment = String::from_utf8_lossy(value).trim().to_owned(),
            (0x1000, _) => answer.sop_instance_uid = value.to_vec(),
            _ => {}
        }
        command = next;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instances::demo_study;
    use crate::peers::{Peer, Xscp, XscpOptions, require, sha256};

    #[test]
    fn a_real_peer_takes_what_it_sends() {
        let Some(_) = require(Peer::Pynetdicom) else { return };
        let target = Xscp::start(XscpOptions::default()).unwrap();
        let study = demo_study();
        let pair = |instance: &crate::instances::Instance| {
            let (class, syntax) = (&instance.sop_class_uid, &instance.transfer_syntax);
            (class.to_string(), syntax.to_string())
        };
        let pairs: Vec<Pair> = study.iter().map(pair).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], target.port()));
        let mut scu = RawScu::associate(address, "XSCP", "RAW", &pairs).unwrap();
        assert_eq!(scu.results(), [0; 4]);
        for instance in &study {
            let context = scu.accepted(&pair(instance)).unwrap();
            let (class, uid) = (instance.sop_class_uid.as_str(), instance.sop_instance_uid.as_str());
            let answer = scu.store(context, class.as_bytes(), uid.as_bytes(), &instance.dataset);
            assert_eq!(answer.unwrap().status, 0);
        }
        scu.release().unwrap();
        let log = target.wait_for(study.len(), ANSWER_WITHIN).unwrap();
        for (line, instance) in log.iter().zip(&study) {
            assert_eq!(line.sha256, sha256(&instance.dataset));
        }
    }
}
