//! Reading what the kernel sends.

use super::uapi;

/// One received message: type, flags, number, and its bytes after the netlink header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// The attributes after nf_tables' four-octet header.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.payload.get(4..).unwrap_or_default())
    }

    /// The protocol family in nf_tables' header.
    pub(crate) fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }

    /// The error number of an acknowledgement; 0 says it was done. `None` for other messages.
    pub(crate) fn error(&self) -> Option<i32> {
        if self.kind != uapi::NLMSG_ERROR {
            return None;
        }
        let value = self.payload.get(..4)?.try_into().ok()?;
        Some(-i32::from_ne_bytes(value))
    }
}

/// The messages in one datagram from the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let word = |at: usize| self.rest.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let half = |at: usize| self.rest.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let length = word(0)? as usize;
        let message = Received {
            kind: half(4)?,
            flags: half(6)?,
            sequence: word(8)?,
            payload: self.rest.get(16..length)?,
        };
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// One attribute: its number without flags, and its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes inside this one.
    pub(crate) fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.value)
    }
}

/// A run of attributes. Truncated ones end it.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The value of the first attribute of this kind.
    pub(crate) fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|attribute| (attribute.kind == kind).then_some(attribute.value))
    }

    /// The attributes inside the first attribute of this kind; none if there is no such attribute.
    pub(crate) fn nested(&self, kind: u16) -> Self {
        Self::new(self.find(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let half = |at: usize| self.rest.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let length = usize::from(half(0)?);
        let attribute = Attribute { kind: half(2)? & uapi::NLA_TYPE_MASK, value: self.rest.get(4..length)? };
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    }
}

/// A 32-bit number in network order.
pub(crate) fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

/// A 64-bit number in network order.
pub(crate) fn be64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// A string up to its zero octet; what is not UTF-8 is replaced.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_or_absurd_lengths_end_the_iteration() {
        assert!(Attributes::new(&[200, 0, 1, 0]).next().is_none());
        assert!(Attributes::new(&[3, 0, 1, 0]).next().is_none());
        assert!(Messages::new(&[15; 40]).next().is_none());
        assert!(Messages::new(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).next().is_none());
    }

    #[test]
    fn an_unpadded_last_attribute_is_read() {
        let bytes = [7, 0, 5, 0x80, 1, 2, 3];
        assert_eq!(Attributes::new(&bytes).find(5), Some(&[1, 2, 3][..]));
    }
}
