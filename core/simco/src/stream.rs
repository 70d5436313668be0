//! Messages out of a byte stream: fragments are put together, coalesced messages taken apart.

use crate::wire::{HEADER_LEN, Header};

/// The length in a header is above what its receiver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong(pub(crate) Header);

/// Cuts a byte stream into messages. Holds at most one incomplete message.
#[derive(Debug, Clone)]
pub(crate) struct Framer {
    partial: Vec<u8>,
    delivered: bool,
    payload_len_max: u16,
}

impl Framer {
    /// A framer for messages of at most `payload_len_max` octets behind the header.
    pub(crate) fn new(payload_len_max: u16) -> Self {
        Self { partial: Vec::new(), delivered: false, payload_len_max }
    }

    /// True while part of a message has arrived and the rest has not.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.delivered && !self.partial.is_empty()
    }

    /// The next whole message, taken off the front of `input`; `None` when all of `input` is used up. Bytes are
    /// copied only for messages that arrive in pieces.
    pub(crate) fn next<'b, 'i: 'b>(
        &'b mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<(Header, &'b [u8])>, TooLong> {
        if self.delivered {
            self.partial.clear();
            self.delivered = false;
        }
        if self.partial.is_empty() {
            let Some((header, rest)) = self.header(input)? else { return Ok(self.keep(input)) };
            let Some((payload, rest)) = rest.split_at_checked(usize::from(header.length)) else {
                return Ok(self.keep(input));
            };
            *input = rest;
            return Ok(Some((header, payload)));
        }
        self.fill(HEADER_LEN, input);
        let Some(header) = self.header(&self.partial)?.map(|(header, _)| header) else { return Ok(None) };
        let len = HEADER_LEN + usize::from(header.length);
        self.fill(len, input);
        if self.partial.len() < len {
            return Ok(None);
        }
        self.delivered = true;
        Ok(Some((header, &self.partial[HEADER_LEN..])))
    }

    /// Throws away what has arrived of an incomplete message.
    pub(crate) fn clear(&mut self) {
        self.partial = Vec::new();
        self.delivered = false;
    }

    /// The header at the front of `bytes` and what follows it; `None` if it is not complete.
    fn header<'i>(&self, bytes: &'i [u8]) -> Result<Option<(Header, &'i [u8])>, TooLong> {
        let Some((header, rest)) = Header::split(bytes) else { return Ok(None) };
        if header.length > self.payload_len_max { Err(TooLong(header)) } else { Ok(Some((header, rest))) }
    }

    /// Keeps an incomplete message for the next call.
    fn keep<T>(&mut self, input: &mut &[u8]) -> Option<T> {
        self.partial.extend_from_slice(input);
        *input = &[];
        None
    }

    /// Moves octets from `input` until `len` are here or `input` is empty.
    fn fill(&mut self, len: usize, input: &mut &[u8]) {
        let wanted = len.saturating_sub(self.partial.len()).min(input.len());
        let (taken, rest) = input.split_at(wanted);
        self.partial.extend_from_slice(taken);
        *input = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [u8; 21] = [1, 0x22, 0, 0, 0, 0, 0, 1, 1, 0x21, 0, 5, 0, 0, 0, 2, 9, 8, 7, 6, 5];

    fn payloads(framer: &mut Framer, mut input: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some((header, payload)) = framer.next(&mut input).unwrap() {
            found.push((header.tid, payload.to_vec()));
        }
        assert!(input.is_empty());
        found
    }

    #[test]
    fn cuts_the_same_messages_wherever_the_stream_is_split() {
        let whole = vec![(1, vec![]), (2, vec![9, 8, 7, 6, 5])];
        for first in 0..=TWO.len() {
            for second in first..=TWO.len() {
                let mut framer = Framer::new(5);
                let mut found = payloads(&mut framer, &TWO[..first]);
                found.extend(payloads(&mut framer, &TWO[first..second]));
                found.extend(payloads(&mut framer, &TWO[second..]));
                assert_eq!(found, whole, "split at {first} and {second}");
                assert!(!framer.is_waiting());
            }
        }
    }

    #[test]
    fn refuses_a_long_message_before_its_payload_comes() {
        let mut framer = Framer::new(4);
        assert_eq!(framer.next(&mut &TWO[..15]).unwrap().unwrap().0.tid, 1);
        let mut framer = Framer::new(4);
        let mut input = &TWO[8..12];
        assert_eq!(framer.next(&mut input), Ok(None));
        assert!(framer.is_waiting());
        assert!(framer.next(&mut &TWO[12..16]).is_err());
    }
}
