//! What a run has seen, so that nobody takes an empty run for a good one.

use std::fmt;

/// Counts of one run or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named by what it counts")]
pub struct Tally {
    pub runs: u64,
    pub dialled: u64,
    pub answered: u64,
    pub cut: u64,
    /// Cut because a peer fell silent: no ACK, no refresh.
    pub expired: u64,
    /// Answered once more, by a call that replaces them.
    pub taken_over: u64,
    /// REFERs that left, that arrived, that were refused because they name the inside.
    pub refers: u64,
    pub referred: u64,
    pub refused_refers: u64,
    /// NOTIFYs that arrived, and that found their subscription ended with the call.
    pub notified: u64,
    pub late_notifies: u64,
    /// Packets that were counted at rules, and calls that ended for want of them.
    pub counted: u64,
    pub silenced: u64,
    pub reoffers: u64,
    pub refreshed: u64,
    pub faults: u64,
    pub forged: u64,
    pub lost: u64,
    pub happenings: u64,
    pub batches: u64,
    pub must_pass: u64,
    pub must_not: u64,
    pub entries: u64,
    pub orphans: u64,
    pub waited: u64,
    pub forked: u64,
    /// Of calls that the firewall ended: the callee did not ring, for a plain call, with reservation, with precondition.
    pub ghosts_prevented: [u64; 3],
    /// The callee rang, though the firewall was as ever.
    pub ghosts_left: [u64; 3],
    /// The callee rang, and something had gone wrong at the firewall: perhaps between ring and answer.
    pub ghosts_by_fault: [u64; 3],
    pub simulated_s: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.runs, other.runs),
            (&mut self.dialled, other.dialled),
            (&mut self.answered, other.answered),
            (&mut self.cut, other.cut),
            (&mut self.expired, other.expired),
            (&mut self.taken_over, other.taken_over),
            (&mut self.refers, other.refers),
            (&mut self.referred, other.referred),
            (&mut self.refused_refers, other.refused_refers),
            (&mut self.notified, other.notified),
            (&mut self.late_notifies, other.late_notifies),
            (&mut self.counted, other.counted),
            (&mut self.silenced, other.silenced),
            (&mut self.reoffers, other.reoffers),
            (&mut self.refreshed, other.refreshed),
            (&mut self.faults, other.faults),
            (&mut self.forged, other.forged),
            (&mut self.lost, other.lost),
            (&mut self.happenings, other.happenings),
            (&mut self.batches, other.batches),
            (&mut self.must_pass, other.must_pass),
            (&mut self.must_not, other.must_not),
            (&mut self.entries, other.entries),
            (&mut self.orphans, other.orphans),
            (&mut self.waited, other.waited),
            (&mut self.forked, other.forked),
            (&mut self.simulated_s, other.simulated_s),
        ];
        for (mine, theirs) in pairs {
            *mine += theirs;
        }
        for care in 0..3 {
            self.ghosts_prevented[care] += other.ghosts_prevented[care];
            self.ghosts_left[care] += other.ghosts_left[care];
            self.ghosts_by_fault[care] += other.ghosts_by_fault[care];
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, dialled, answered, cut, reoffers, faults, forged, forked, .. } = self;
        writeln!(
            f,
            "{runs} runs, {} hours of simulated time, {} happenings",
            self.simulated_s / 3600,
            self.happenings
        )?;
        writeln!(
            f,
            "{dialled} calls dialled ({forked} to several phones), {answered} answered, {} taken over, {reoffers} re-offers, {} refreshes, {cut} cut by us with a reason ({} for silence)",
            self.taken_over, self.refreshed, self.expired
        )?;
        writeln!(
            f,
            "{} REFERs sent, {} arrived, {} refused because they name the inside; {} NOTIFYs arrived, {} after the call",
            self.refers, self.referred, self.refused_refers, self.notified, self.late_notifies
        )?;
        writeln!(f, "{} packets counted, {} calls ended for want of media", self.counted, self.silenced)?;
        writeln!(
            f,
            "{faults} faults, {} datagrams lost, {forged} forged requests, {} orphans closed",
            self.lost, self.orphans
        )?;
        write!(f, "ghost rings prevented, left, left by a fault at the firewall:")?;
        for (care, name) in ["plain", "reserved", "precondition"].into_iter().enumerate() {
            let (none, left, late) =
                (self.ghosts_prevented[care], self.ghosts_left[care], self.ghosts_by_fault[care]);
            write!(f, " {name} {none}, {left}, {late};")?;
        }
        writeln!(f, " {} phones rang after a precondition", self.waited)?;
        write!(
            f,
            "{} engine batches; {} packets that had to pass, {} that had not to, {} entries questioned",
            self.batches, self.must_pass, self.must_not, self.entries
        )
    }
}
