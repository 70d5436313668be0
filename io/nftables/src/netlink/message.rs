//! Writing messages and batches.

use super::uapi;

/// Bytes of attributes being written, natively aligned to four octets.
#[derive(Debug, Default, Clone)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An attribute with `value`, padded; the padding is not counted.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.raw(value);
        self.close(start);
    }

    /// A string with its closing zero octet.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        let start = self.open(kind);
        self.raw(text.as_bytes());
        self.raw(&[0]);
        self.close(start);
    }

    /// A 32-bit number in network order, as nf_tables wants its numbers.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A 64-bit number in network order.
    pub(crate) fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind | uapi::NLA_F_NESTED);
        fill(self);
        self.close(start);
    }

    /// Begins an attribute whose length [`Writer::close`] fills in.
    pub(crate) fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.raw(&[0, 0]);
        self.raw(&kind.to_ne_bytes());
        start
    }

    /// Ends what [`Writer::open`] began.
    pub(crate) fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        debug_assert!(length < u16::MAX, "lists are cut at LIST_MAX");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn header(&mut self, kind: u16, flags: u16, sequence: u32) -> usize {
        let start = self.bytes.len();
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&(flags | uapi::NLM_F_REQUEST).to_ne_bytes());
        self.raw(&sequence.to_ne_bytes());
        self.raw(&[0; 4]);
        start
    }

    fn finish(&mut self, start: usize) {
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// One message outside a batch: a question, or a routing change.
#[derive(Debug)]
pub(crate) struct Message {
    writer: Writer,
}

impl Message {
    /// A message of any netlink family; its fixed header is written first.
    pub(crate) fn new(kind: u16, flags: u16, sequence: u32) -> Self {
        let mut writer = Writer::default();
        writer.header(kind, flags, sequence);
        Self { writer }
    }

    /// A question to nf_tables.
    pub(crate) fn nftables(kind: u8, flags: u16, family: u8, sequence: u32) -> Self {
        let mut message = Self::new(uapi::nftables(kind), flags, sequence);
        message.writer.raw(&[family, 0, 0, 0]);
        message
    }

    pub(crate) fn attributes(&mut self) -> &mut Writer {
        &mut self.writer
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.writer.finish(0);
        self.writer.bytes
    }
}

/// Messages that the kernel carries out together or not at all.
#[derive(Debug)]
pub(crate) struct Batch {
    writer: Writer,
    first: u32,
    next: u32,
    last_message: Option<usize>,
}

impl Batch {
    /// An empty batch whose messages are numbered from `sequence`.
    pub(crate) fn new(sequence: u32) -> Self {
        let mut batch =
            Self { writer: Writer::default(), first: sequence, next: sequence, last_message: None };
        batch.frame(uapi::NFNL_MSG_BATCH_BEGIN);
        batch
    }

    /// A batch as large as one request of a few elements, without growing on the way.
    pub(crate) fn reuse(mut self, sequence: u32) -> Self {
        self.writer.bytes.clear();
        self.first = sequence;
        self.next = sequence;
        self.last_message = None;
        self.frame(uapi::NFNL_MSG_BATCH_BEGIN);
        self
    }

    fn frame(&mut self, kind: u16) {
        let start = self.writer.header(kind, 0, self.next);
        self.writer.raw(&[0, 0]);
        self.writer.raw(&uapi::NFNL_SUBSYS_NFTABLES.to_be_bytes());
        self.writer.finish(start);
        self.next = self.next.wrapping_add(1);
    }

    /// Adds one message; returns its number.
    pub(crate) fn message(
        &mut self,
        kind: u8,
        flags: u16,
        family: u8,
        fill: impl FnOnce(&mut Writer),
    ) -> u32 {
        let sequence = self.next;
        let start = self.writer.header(uapi::nftables(kind), flags, sequence);
        self.writer.raw(&[family, 0, 0, 0]);
        fill(&mut self.writer);
        self.writer.finish(start);
        self.last_message = Some(start);
        self.next = self.next.wrapping_add(1);
        sequence
    }

    /// True when no message was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.last_message.is_none()
    }

    /// The number after the last one used.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.next
    }

    /// The number of the opening frame: the kernel names it when the commit itself fails.
    pub(crate) fn first_sequence(&self) -> u32 {
        self.first
    }

    /// Closes the batch and asks for an acknowledgement of its last message, which the kernel queues after all errors.
    /// Returns the bytes and that message's number.
    pub(crate) fn finish(&mut self) -> (&[u8], u32) {
        let last = self.next.wrapping_sub(1);
        if let Some(start) = self.last_message {
            let flags = &mut self.writer.bytes[start + 6..start + 8];
            let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | uapi::NLM_F_ACK;
            flags.copy_from_slice(&with_ack.to_ne_bytes());
        }
        self.frame(uapi::NFNL_MSG_BATCH_END);
        (&self.writer.bytes, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_the_padding_is_not_counted() {
        let mut writer = Writer::default();
        writer.nest(1, |nest| nest.text(2, "abcd"));
        let nested = (1 | uapi::NLA_F_NESTED).to_ne_bytes();
        let inner_kind = 2u16.to_ne_bytes();
        let mut expected = vec![16, 0, nested[0], nested[1], 9, 0, inner_kind[0], inner_kind[1]];
        expected.extend(b"abcd\0\0\0\0");
        assert_eq!(writer.bytes, expected);
    }

    #[test]
    fn only_the_last_message_of_a_batch_asks_for_an_acknowledgement() {
        let mut batch = Batch::new(7);
        batch.message(1, 0, 2, |_| {});
        let second = batch.message(2, 0, 2, |_| {});
        let (bytes, last) = batch.finish();
        assert_eq!((second, last), (9, 9));
        let flags: Vec<u16> = bytes.chunks(20).map(|m| u16::from_ne_bytes([m[6], m[7]])).collect();
        assert_eq!(flags, [1, 1, 1 | uapi::NLM_F_ACK, 1]);
    }
}
