//! PRC, policy rule counters: a request of our own, and its reply. RFC 4540 has neither; `docs/simco.md`, "counters".
//!
//! ```text
//! request  0x0171 | PID (8 octets)                                        | one for each rule
//! reply    0x0271 | attribute 0x0071, length 12: PID (4), packets (8)     | one for each rule counted
//! ```

use midcom::{Failure, Passed, Prid};

use super::attribute::{self, Writer};
use super::reply::prids;

/// Most rules in one PRC request.
pub const COUNTED_MAX: usize = 512;

/// The type of the attribute that says what passed one rule.
const PACKETS: u16 = 0x0071;

/// The PIDs of a request.
//= RFC 4540 §6: step 5, the numbers of attributes must be those of the message.
pub(super) fn asked(payload: &[u8]) -> Result<Vec<Prid>, Failure> {
    prids(payload).and_then(|prids| match prids.len() {
        1..=COUNTED_MAX => Ok(prids),
        _ => Err(Failure::BadlyFormed),
    })
}

/// Writes the attributes of a reply.
pub(super) fn write(writer: &mut Writer<'_>, passed: &[Passed]) {
    for Passed { prid: Prid(prid), packets } in passed {
        let mut value = [0; 12];
        value[..4].copy_from_slice(&prid.to_be_bytes());
        value[4..].copy_from_slice(&packets.to_be_bytes());
        writer.put_own(PACKETS, &value);
    }
}

/// Reads them.
pub(super) fn passed(mut payload: &[u8]) -> Result<Vec<Passed>, Failure> {
    let mut passed = Vec::with_capacity(payload.len() / 16);
    while !payload.is_empty() {
        let (number, value, rest) = attribute::split(payload).ok_or(Failure::BadlyFormed)?;
        let value: [u8; 12] = value.try_into().map_err(|_| Failure::BadlyFormed)?;
        if number != PACKETS || passed.len() >= COUNTED_MAX {
            return Err(Failure::BadlyFormed);
        }
        let [p0, p1, p2, p3, packets @ ..] = value;
        passed.push(Passed {
            prid: Prid(u32::from_be_bytes([p0, p1, p2, p3])),
            packets: u64::from_be_bytes(packets),
        });
        payload = rest;
    }
    Ok(passed)
}
