//! Tags and Call-IDs of our own: RFC 3261 §19.3, §8.1.1.4.

use std::fmt;

use machine::Rng;

/// A tag we minted: 8 bits say which shard keeps the dialog, 56 bits are random. Written as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag(u64);

/// How many digits a tag has.
const DIGITS: usize = 16;

impl Tag {
    //= RFC 3261 §19.3: at least 32 bits of cryptographic randomness.
    pub(crate) fn mint(shard: u8, rng: &mut Rng) -> Self {
        Self(u64::from(shard) << 56 | rng.bits() >> 8)
    }

    /// Reads a tag as we write them; anything else is not ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let ours = text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        ours.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    /// As it is written.
    pub(crate) fn text(self) -> TagText {
        let mut digits = [0; DIGITS];
        for (position, digit) in digits.iter_mut().enumerate() {
            let nibble = self.0 >> (4 * (DIGITS - 1 - position)) & 0xf;
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        TagText(digits)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text of a tag, without an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TagText([u8; DIGITS]);

impl TagText {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A Call-ID nobody else makes: the shard and 120 random bits.
pub(crate) fn call_id(shard: u8, rng: &mut Rng) -> String {
    //= RFC 3261 §8.1.1.4: random, without our host, which is nobody's business.
    format!("{shard:02x}{:014x}{:016x}", rng.bits() >> 8, rng.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_as_it_is_written() {
        let mut rng = Rng::from_number(1);
        let tag = Tag::mint(7, &mut rng);
        assert_eq!(tag.text().as_str(), tag.to_string());
        assert!(tag.text().as_str().starts_with("07"));
        assert_eq!(Tag::parse(tag.text().as_str()), Some(tag));
    }

    #[test]
    fn a_foreign_tag_is_not_ours() {
        for text in ["", "1928301774", "00000000000000zz", "0000000000000A00", "+000000000000000"] {
            assert_eq!(Tag::parse(text), None, "{text}");
        }
    }
}
