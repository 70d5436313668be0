//! Who is banned, and until when.

use std::time::Duration;

use machine::map::{Map, Seeded};
use machine::{Instant, Rng, TimerId, Timers};

use crate::event::Offence;
use crate::limits::BANS_MAX;
use crate::source::Source;

/// Why a source is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanReason {
    /// So many offences, the last of which was this.
    Offences(u16, Offence),
    /// The operator said so.
    Operator,
    /// It was banned before this process began, as the kernel knows.
    Before,
}

/// A ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanInfo {
    /// Whose.
    pub source: Source,
    /// When it ends.
    pub until: Instant,
    /// Why.
    pub why: BanReason,
}

/// All bans.
#[derive(Debug)]
pub(crate) struct Bans {
    by_source: Map<Source, (TimerId, BanReason)>,
    timers: Timers<Source>,
}

impl Bans {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self { by_source: Map::with_hasher(Seeded::new(rng)), timers: Timers::new() }
    }

    pub(crate) fn has(&self, source: Source) -> bool {
        !self.by_source.is_empty() && self.by_source.contains_key(&source)
    }

    /// Bans one; a ban that there is begins anew. False if there is no room.
    pub(crate) fn put(&mut self, now: Instant, source: Source, lasts: Duration, why: BanReason) -> bool {
        self.remove(source);
        if self.by_source.len() >= BANS_MAX {
            return false;
        }
        let timer = self.timers.set(now + lasts, source);
        self.by_source.insert(source, (timer, why));
        true
    }

    /// Ends a ban; false if there was none.
    pub(crate) fn remove(&mut self, source: Source) -> bool {
        let Some((timer, _)) = self.by_source.remove(&source) else { return false };
        self.timers.stop(timer);
        true
    }

    /// The first ban that is over.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Source> {
        let source = self.timers.pop(now)?;
        self.by_source.remove(&source);
        Some(source)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|(at, _)| at)
    }

    /// All of them, in the order of their sources.
    pub(crate) fn list(&self) -> Vec<BanInfo> {
        let info = |(source, (timer, why)): (&Source, &(TimerId, BanReason))| BanInfo {
            source: *source,
            until: timer.at(),
            why: *why,
        };
        let mut list: Vec<BanInfo> = self.by_source.iter().map(info).collect();
        list.sort_unstable_by_key(|ban| ban.source);
        list
    }
}
