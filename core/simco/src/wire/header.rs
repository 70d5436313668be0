//! The SIMCO header, RFC 4540 §4.2: eight octets in front of every message.
//!
//! ```text
//!  0         1         2         3         4         5         6         7
//! +---------+---------+---------+---------+---------+---------+---------+---------+
//! | basic   | sub-    | octets behind     | transaction identifier (TID)          |
//! | type    | type    | this header       |                                       |
//! +---------+---------+---------+---------+---------+---------+---------+---------+
//! ```

/// Octets of a header.
pub const HEADER_LEN: usize = 8;

/// What kind of message it is (RFC 4540 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BasicType {
    /// 0x01, the only kind an agent sends.
    Request,
    /// 0x02.
    PositiveReply,
    /// 0x03; the sub-type is the reason.
    NegativeReply,
    /// 0x04.
    Notification,
}

impl BasicType {
    /// The octet that stands for it.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Request => 0x01,
            Self::PositiveReply => 0x02,
            Self::NegativeReply => 0x03,
            Self::Notification => 0x04,
        }
    }

    /// The basic type of an octet; `None` for one that RFC 4540 does not define.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0x01 => Some(Self::Request),
            0x02 => Some(Self::PositiveReply),
            0x03 => Some(Self::NegativeReply),
            0x04 => Some(Self::Notification),
            _ => None,
        }
    }
}

/// A header as it was read: the types may be ones that nobody defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// Basic type, see [`BasicType`].
    pub basic_type: u8,
    /// Sub-type; what it means depends on the basic type.
    pub sub_type: u8,
    /// Octets that follow the header.
    pub length: u16,
    /// Transaction identifier: ties a reply to its request.
    pub tid: u32,
}

impl Header {
    /// Takes a header off the front of `bytes`; `None` if fewer than eight octets are there.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[basic_type, sub_type, l0, l1, t0, t1, t2, t3], rest) = bytes.split_first_chunk()?;
        let length = u16::from_be_bytes([l0, l1]);
        Some((Self { basic_type, sub_type, length, tid: u32::from_be_bytes([t0, t1, t2, t3]) }, rest))
    }

    /// The eight octets.
    #[must_use]
    pub fn octets(self) -> [u8; HEADER_LEN] {
        let [l0, l1] = self.length.to_be_bytes();
        let [t0, t1, t2, t3] = self.tid.to_be_bytes();
        [self.basic_type, self.sub_type, l0, l1, t0, t1, t2, t3]
    }

    /// Basic type and sub-type as one number, the way RFC 4540 §5 writes message types: `0x0112`.
    #[must_use]
    pub fn message_type(self) -> u16 {
        u16::from_be_bytes([self.basic_type, self.sub_type])
    }
}
