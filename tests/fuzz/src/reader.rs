//! Numbers and pieces out of an input; zeros where it has ended.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    /// At most `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// One of several, by any number.
pub(crate) fn choose<T>(from: &[T], number: impl Into<usize>) -> &T {
    &from[number.into() % from.len()]
}

/// One of the last 64, counted from the newest; `None` only of none.
pub(crate) fn recent<T>(from: &[T], number: u8) -> Option<&T> {
    let reach = from.len().min(64);
    (reach > 0).then(|| &from[from.len() - 1 - usize::from(number) % reach])
}
