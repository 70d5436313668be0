//! A link between two hosts that loses, doubles, delays and reorders, the same way for the same seed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Rng};

/// How bad it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quality {
    pub(crate) loss_percent: u8,
    pub(crate) duplicate_percent: u8,
    /// Each packet takes 1 ms and a random part of this: enough for reordering.
    pub(crate) jitter: Duration,
}

/// Packets on their way, by arrival; the number is the host they go to.
#[derive(Debug)]
pub(crate) struct Link {
    quality: Quality,
    rng: Rng,
    sequence: u64,
    packets: BTreeMap<(Instant, u64), (usize, Bytes)>,
    /// Every packet that was handed over, lost ones included: host it goes to and first line.
    pub(crate) log: Vec<(usize, String)>,
}

impl Link {
    pub(crate) fn new(quality: Quality, rng: Rng) -> Self {
        Self { quality, rng, sequence: 0, packets: BTreeMap::new(), log: Vec::new() }
    }

    pub(crate) fn send(&mut self, now: Instant, to: usize, bytes: &Bytes) {
        let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
        self.log.push((to, String::from_utf8_lossy(line).into_owned()));
        if self.rng.percent(self.quality.loss_percent) {
            return;
        }
        let copies = 1 + usize::from(self.rng.percent(self.quality.duplicate_percent));
        for _ in 0..copies {
            let jitter = self.rng.below(self.quality.jitter.as_nanos() as u64 + 1);
            let at = now + Duration::from_millis(1) + Duration::from_nanos(jitter);
            self.packets.insert((at, self.sequence), (to, bytes.clone()));
            self.sequence += 1;
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.packets.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn receive(&mut self, now: Instant) -> Option<(usize, Bytes)> {
        let first = self.packets.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// How many messages with this start were sent to `to`.
    pub(crate) fn count(&self, to: usize, start: &str) -> usize {
        self.log.iter().filter(|(host, line)| *host == to && line.starts_with(start)).count()
    }
}
