//! What iptables' own matches and targets say, where it writes them into nftables: `linux/netfilter/xt_*.h`.

use super::expressions::{Fate, Match, Reading};
use crate::netlink::{Attributes, text, uapi};

/// In `xt_conntrack_mtinfo3`: which parts are asked for, which of them inverted, which states.
const CONNTRACK_FLAGS: usize = 146;
const CONNTRACK_INVERTED: usize = 148;
const CONNTRACK_STATES: usize = 150;
const CONNTRACK_STATE: u16 = 1;
const STATE_UNTRACKED: u16 = 0x100;
/// In `xt_connmark_tginfo1` and `…2`.
const CONNMARK_SAVE: u8 = 1;
const CONNMARK_RESTORE: u8 = 2;

/// A match.
pub(super) fn condition(reading: &mut Reading, data: &Attributes<'_>) {
    let (name, info) = parts(data);
    match name.as_str() {
        "comment" => {}
        "conntrack" | "state" => conntrack(reading, info),
        "mark" => mark(reading, info),
        "connmark" => {
            let asked = word(info, 4).unwrap_or(u32::MAX);
            reading.connection |= asked & reading.packet.mark.mask != 0;
            reading.condition(Match::Perhaps);
        }
        _ => reading.condition(Match::Perhaps),
    }
}

fn conntrack(reading: &mut Reading, info: &[u8]) {
    let fields = [CONNTRACK_FLAGS, CONNTRACK_INVERTED, CONNTRACK_STATES].map(|at| half(info, at));
    match fields {
        [Some(CONNTRACK_STATE), Some(inverted), Some(states)] => {
            let inverted = inverted & CONNTRACK_STATE != 0;
            reading.untracked |= !inverted && states == STATE_UNTRACKED;
            reading.own((states & STATE_UNTRACKED != 0) != inverted);
            reading.other |= states != STATE_UNTRACKED || inverted;
        }
        _ => reading.condition(Match::Perhaps),
    }
}

/// `xt_mark_mtinfo1`: mark, mask, whether inverted.
fn mark(reading: &mut Reading, info: &[u8]) {
    let ours = reading.packet.mark;
    let (Some(wanted), Some(mask), Some(inverted)) = (word(info, 0), word(info, 4), info.get(8)) else {
        return reading.condition(Match::Perhaps);
    };
    let inverted = *inverted != 0;
    reading.reads |= mask & ours.mask != 0;
    reading.marked |= !inverted && (wanted, mask) == (ours.value, ours.mask);
    match mask & !ours.mask {
        0 => reading.own((ours.value & mask == wanted) != inverted),
        _ => reading.condition(Match::Perhaps),
    }
}

/// A target.
pub(super) fn target(reading: &mut Reading, data: &Attributes<'_>) {
    let (name, info) = parts(data);
    let ours = reading.packet.mark.mask;
    let touches = |at: usize| word(info, at).is_none_or(|bits| bits & ours != 0);
    match name.as_str() {
        "REJECT" | "DROP" => reading.fates.push(Fate::Drop),
        "NFQUEUE" | "TPROXY" => reading.fates.push(Fate::Queue),
        // mark, mask: the mask's bits are cleared, the mark's are toggled.
        "MARK" => reading.writes |= touches(0) || touches(4),
        "CONNMARK" => match connmark_mode(data, info) {
            Some(CONNMARK_SAVE) => reading.connection |= touches(8),
            Some(CONNMARK_RESTORE) => reading.writes |= touches(8),
            _ => reading.connection |= touches(0),
        },
        _ => {}
    }
}

fn connmark_mode(data: &Attributes<'_>, info: &[u8]) -> Option<u8> {
    let revision = data.find(uapi::XT_REVISION).and_then(crate::netlink::be32)?;
    info.get(if revision >= 2 { 14 } else { 12 }).copied()
}

fn parts<'a>(data: &Attributes<'a>) -> (String, &'a [u8]) {
    let name = data.find(uapi::XT_NAME).map(text).unwrap_or_default();
    (name, data.find(uapi::XT_INFO).unwrap_or_default())
}

fn word(info: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?))
}

fn half(info: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?))
}
