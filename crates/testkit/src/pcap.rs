//! What two sides of a connection said, as a capture file that Wireshark's tools read: pcap with raw IPv4 packets, and TCP as
//! if nothing were ever lost.

/// DICOM's registered port.
pub const PORT: u16 = 11_112;
/// The other side's port.
const REQUESTOR_PORT: u16 = 40_000;
/// Bytes of a TCP segment: what fits into an IPv4 packet, rounded down.
const SEGMENT_LEN: usize = 32 << 10;
/// LINKTYPE_RAW: packets begin with their IP header.
const LINK_TYPE: u32 = 101;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PUSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that opened the connection.
    Requestor,
    /// The one that listens on [`PORT`].
    Acceptor,
}

/// A capture that is being made.
#[derive(Debug)]
pub struct Capture {
    bytes: Vec<u8>,
    /// What each side has sent, in bytes: its next sequence number.
    sent: [u32; 2],
    packets: u32,
}

impl Default for Capture {
    fn default() -> Self {
        let mut bytes = Vec::new();
        bytes.extend(0xA1B2_C3D4_u32.to_le_bytes());
        bytes.extend([2, 0, 4, 0]);
        bytes.extend([0; 8]);
        bytes.extend(262_144_u32.to_le_bytes());
        bytes.extend(LINK_TYPE.to_le_bytes());
        let mut capture = Self {
            bytes,
            sent: [0; 2],
            packets: 0,
        };
        capture.control(Side::Requestor, SYN);
        capture.control(Side::Acceptor, SYN | ACK);
        capture
    }
}

impl Capture {
    /// One side says something.
    pub fn say(&mut self, side: Side, bytes: &[u8]) {
        for segment in bytes.chunks(SEGMENT_LEN) {
            self.packet(side, PUSH | ACK, segment);
            let length = u32::try_from(segment.len()).unwrap_or(0);
            self.sent[side as usize] = self.sent[side as usize].wrapping_add(length);
        }
    }

    /// Both sides close; the file.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.control(Side::Requestor, FIN | ACK);
        self.control(Side::Acceptor, FIN | ACK);
        self.bytes
    }

    /// A segment without data that takes a sequence number.
    fn control(&mut self, side: Side, flags: u8) {
        self.packet(side, flags, &[]);
        self.sent[side as usize] = self.sent[side as usize].wrapping_add(1);
    }

    fn packet(&mut self, side: Side, flags: u8, data: &[u8]) {
        let [sequence, acknowledged] = match side {
            Side::Requestor => self.sent,
            Side::Acceptor => [self.sent[1], self.sent[0]],
        };
        let (ports, hosts) = match side {
            Side::Requestor => ([REQUESTOR_PORT, PORT], [1, 2]),
            Side::Acceptor => ([PORT, REQUESTOR_PORT], [2, 1]),
        };
        let length = 40 + data.len();
        let on_wire = u32::try_from(length).unwrap_or(u32::MAX);
        self.packets += 1;
        for field in [self.packets / 1000, self.packets % 1000 * 1000, on_wire, on_wire] {
            self.bytes.extend(field.to_le_bytes());
        }
        self.bytes.extend([0x45, 0]);
        self.bytes
            .extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        self.bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        hosts.iter().for_each(|host| self.bytes.extend([192, 0, 2, *host]));
        ports.iter().for_each(|port| self.bytes.extend(port.to_be_bytes()));
        self.bytes.extend(sequence.to_be_bytes());
        self.bytes.extend(acknowledged.to_be_bytes());
        self.bytes.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
        self.bytes.extend(data);
    }
}
