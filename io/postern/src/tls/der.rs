//! As much of DER (X.690) as a certificate needs to be read that has been verified, or is our own.

/// Tags that are looked for.
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const OID: u8 = 0x06;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;

/// One value after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(pub &'a [u8]);

impl<'a> Der<'a> {
    /// The next value: its tag and its content. `None` at the end, and where the bytes make no sense.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(*short), rest),
            long => {
                let count = usize::from(long & 0x7f);
                // Certificates are far shorter than four octets of length can say.
                let octets = rest.get(..count).filter(|octets| (1..=3).contains(&octets.len()))?;
                let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
                (length, rest.get(count..)?)
            }
        };
        let content = rest.get(..length)?;
        self.0 = rest.get(length..)?;
        Some((*tag, content))
    }

    /// The next value, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Self> {
        let mut ahead = *self;
        let (found, content) = ahead.next()?;
        (found == tag).then(|| {
            *self = ahead;
            Self(content)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_in_both_forms() {
        let mut der = Der(&[0x04, 0x01, 7, 0x04, 0x81, 0x01, 8]);
        assert_eq!((der.next(), der.next(), der.next()), (Some((4, &[7][..])), Some((4, &[8][..])), None));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 2, 1], &[0x30, 0x80], &[0x30, 0x82, 1], &[0x30, 0x84, 0, 0, 0, 0]]
        {
            assert_eq!(Der(bytes).next(), None, "{bytes:x?}");
        }
    }
}
