//! Attributes, RFC 4540 §4.3: type, length, value.
//!
//! ```text
//! +---------+---------+---------+---------+-----------------
//! | attribute type    | octets of value   | value …
//! +---------+---------+---------+---------+-----------------
//! ```

use midcom::{Failure, Gid, Lifetime, Prid};

use super::{BasicType, HEADER_LEN, Header};

/// Most octets of a challenge or a token.
pub const OPAQUE_LEN_MAX: usize = 4096;
/// Most octets of a rule's owner.
const OWNER_LEN_MAX: usize = 255;
/// Most address tuples in one message (PES).
const TUPLES_MAX: usize = 4;

/// Attribute types; the number is the one on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Version = 0x0001,
    Challenge = 0x0002,
    Token = 0x0003,
    Capabilities = 0x0004,
    Prid = 0x0005,
    Gid = 0x0006,
    Lifetime = 0x0007,
    Owner = 0x0008,
    Tuple = 0x0009,
    ReserveSet = 0x000a,
    EnableSet = 0x000b,
}

/// One more than the highest attribute type.
const KINDS: usize = 12;

impl Kind {
    fn from_number(number: u16) -> Option<Self> {
        const ALL: [Kind; KINDS - 1] = [
            Kind::Version,
            Kind::Challenge,
            Kind::Token,
            Kind::Capabilities,
            Kind::Prid,
            Kind::Gid,
            Kind::Lifetime,
            Kind::Owner,
            Kind::Tuple,
            Kind::ReserveSet,
            Kind::EnableSet,
        ];
        ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Whether a value of this type may have this many octets.
    fn takes(self, len: usize) -> bool {
        //= RFC 4540 §4.3: each attribute type has its length.
        match self {
            Self::Version | Self::Prid | Self::Gid | Self::Lifetime | Self::ReserveSet | Self::EnableSet => {
                len == 4
            }
            Self::Challenge | Self::Token => len <= OPAQUE_LEN_MAX,
            Self::Capabilities => len == 8,
            Self::Owner => len <= OWNER_LEN_MAX,
            Self::Tuple => matches!(len, 4 | 12 | 24),
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Which attributes a message has: RFC 4540 §5 as data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    mandatory: u16,
    optional: u16,
    tuples_max: usize,
}

impl Form {
    /// A message without attributes.
    pub(super) const EMPTY: Self = Self::of(&[], &[]);

    /// A message with these attributes; a tuple counts as often as it is named.
    pub(super) const fn of(mandatory: &[Kind], optional: &[Kind]) -> Self {
        let (mandatory, first) = bits(mandatory);
        let (optional, second) = bits(optional);
        Self { mandatory, optional, tuples_max: first + second }
    }
}

/// The set of `kinds` as bits, and how many of them are tuples.
const fn bits(kinds: &[Kind]) -> (u16, usize) {
    let (mut set, mut tuples, mut index) = (0, 0, 0);
    while index < kinds.len() {
        set |= kinds[index].bit();
        if matches!(kinds[index], Kind::Tuple) {
            tuples += 1;
        }
        index += 1;
    }
    (set, tuples)
}

/// Splits the first attribute off `payload`: type, value, rest.
pub(super) fn split(payload: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[t0, t1, l0, l1], rest) = payload.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    Some((u16::from_be_bytes([t0, t1]), value, rest))
}

/// The attributes of one message, each at its place, not yet looked into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    values: [Option<&'a [u8]>; KINDS],
    tuples: [&'a [u8]; TUPLES_MAX],
    tuple_count: usize,
}

impl<'a> Attributes<'a> {
    /// Sorts the attributes of a message, which may come in any order.
    ///
    /// # Errors
    /// [`Failure::BadlyFormed`] if one is cut off, unknown, of a wrong length, missing, or there too often.
    pub(super) fn read(mut payload: &'a [u8], form: Form) -> Result<Self, Failure> {
        //= RFC 4540 §6: step 5, types and numbers of attributes must be those of the message.
        let mut sorted = Self { values: [None; KINDS], tuples: [&[]; TUPLES_MAX], tuple_count: 0 };
        let mut present = 0;
        while !payload.is_empty() {
            let (number, value, rest) = split(payload).ok_or(Failure::BadlyFormed)?;
            let kind = Kind::from_number(number).ok_or(Failure::BadlyFormed)?;
            let repeated = present & kind.bit() != 0 && kind != Kind::Tuple;
            if repeated || !kind.takes(value.len()) || (form.mandatory | form.optional) & kind.bit() == 0 {
                return Err(Failure::BadlyFormed);
            }
            present |= kind.bit();
            sorted.put(kind, value, form.tuples_max)?;
            payload = rest;
        }
        if present & form.mandatory == form.mandatory { Ok(sorted) } else { Err(Failure::BadlyFormed) }
    }

    fn put(&mut self, kind: Kind, value: &'a [u8], tuples_max: usize) -> Result<(), Failure> {
        if kind != Kind::Tuple {
            self.values[kind as usize] = Some(value);
            return Ok(());
        }
        let place = self.tuples.get_mut(self.tuple_count).filter(|_| self.tuple_count < tuples_max);
        *place.ok_or(Failure::BadlyFormed)? = value;
        self.tuple_count += 1;
        Ok(())
    }

    /// The value of an attribute that may be missing.
    pub(super) fn optional(&self, kind: Kind) -> Option<&'a [u8]> {
        self.values[kind as usize]
    }

    /// The value of an attribute of `N` octets.
    pub(super) fn octets<const N: usize>(&self, kind: Kind) -> Result<[u8; N], Failure> {
        self.optional(kind).and_then(|value| value.try_into().ok()).ok_or(Failure::BadlyFormed)
    }

    /// The values of the address tuples, in the order in which they came.
    pub(super) fn tuples(&self) -> &[&'a [u8]] {
        &self.tuples[..self.tuple_count]
    }

    pub(super) fn prid(&self) -> Result<Prid, Failure> {
        self.octets(Kind::Prid).map(|value| Prid(u32::from_be_bytes(value)))
    }

    pub(super) fn gid(&self) -> Result<Gid, Failure> {
        self.octets(Kind::Gid).map(|value| Gid(u32::from_be_bytes(value)))
    }

    /// The group, where a message may leave it out.
    pub(super) fn group(&self) -> Option<Gid> {
        self.gid().ok()
    }

    pub(super) fn lifetime(&self) -> Result<Lifetime, Failure> {
        self.octets(Kind::Lifetime).map(|value| Lifetime(u32::from_be_bytes(value)))
    }

    pub(super) fn opaque(&self, kind: Kind) -> Option<Opaque<'a>> {
        self.optional(kind).and_then(Opaque::new)
    }

    /// The owner, with a replacement character for whatever is no text.
    pub(super) fn owner(&self) -> String {
        String::from_utf8_lossy(self.optional(Kind::Owner).unwrap_or_default()).into_owned()
    }
}

/// A challenge or a token: octets whose meaning RFC 4540 leaves to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opaque<'a>(&'a [u8]);

impl<'a> Opaque<'a> {
    /// The token of one who cannot authenticate itself.
    pub const EMPTY: Self = Self(&[]);

    /// A value of at most [`OPAQUE_LEN_MAX`] octets; `None` for a longer one.
    #[must_use]
    pub fn new(octets: &'a [u8]) -> Option<Self> {
        (octets.len() <= OPAQUE_LEN_MAX).then_some(Self(octets))
    }

    /// The octets.
    #[must_use]
    pub fn octets(self) -> &'a [u8] {
        self.0
    }
}

/// Writes one message: the header first, its length last.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl<'o> Writer<'o> {
    /// Starts a message at the end of `out`.
    pub(super) fn new(out: &'o mut Vec<u8>, basic_type: BasicType, sub_type: u8, tid: u32) -> Self {
        let start = out.len();
        out.reserve(64);
        out.extend_from_slice(&Header { basic_type: basic_type.octet(), sub_type, length: 0, tid }.octets());
        Self { out, start }
    }

    /// Appends an attribute.
    pub(super) fn put(&mut self, kind: Kind, value: &[u8]) {
        debug_assert!(kind.takes(value.len()), "callers keep to the length of the attribute");
        self.put_own(kind as u16, value);
    }

    /// Appends an attribute of any type, also of one that is ours alone.
    pub(super) fn put_own(&mut self, number: u16, value: &[u8]) {
        let [t0, t1] = number.to_be_bytes();
        let [l0, l1] = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
        self.out.extend_from_slice(&[t0, t1, l0, l1]);
        self.out.extend_from_slice(value);
    }

    pub(super) fn prid(&mut self, prid: Prid) {
        self.put(Kind::Prid, &prid.0.to_be_bytes());
    }

    pub(super) fn gid(&mut self, gid: Gid) {
        self.put(Kind::Gid, &gid.0.to_be_bytes());
    }

    pub(super) fn lifetime(&mut self, lifetime: Lifetime) {
        self.put(Kind::Lifetime, &lifetime.0.to_be_bytes());
    }

    pub(super) fn opaque(&mut self, kind: Kind, value: Option<Opaque<'_>>) {
        if let Some(Opaque(octets)) = value {
            self.put(kind, octets);
        }
    }

    /// Appends the owner, cut at the last whole character that fits.
    pub(super) fn owner(&mut self, owner: &str) {
        let mut len = owner.len().min(OWNER_LEN_MAX);
        while !owner.is_char_boundary(len) {
            len -= 1;
        }
        self.put(Kind::Owner, &owner.as_bytes()[..len]);
    }

    /// Writes the length into the header.
    pub(super) fn finish(self) {
        let len = self.out.len() - self.start - HEADER_LEN;
        debug_assert!(len <= usize::from(super::PAYLOAD_LEN_MAX), "only PRL can be long, and it is checked");
        let octets = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        self.out[self.start + 2..self.start + 4].copy_from_slice(&octets);
    }
}
