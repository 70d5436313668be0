//! Our branches: `z9hG4bK` `Pn` prefix `.` 64 random bits [`.` loop mark]. RFC 3261 §8.1.1.7, RFC 5393 §4.2.1.
//!
//! The random part names the transaction. The loop mark is there when a request is sent on because of another one:
//! a keyed hash of what decided where that one goes. When a request comes back with a branch of ours, equal marks
//! mean a loop, unequal ones a spiral. RFC 7332 §4 asks a B2BUA for the same check.

use std::fmt::Write;
use std::hash::{BuildHasher, Hash, Hasher};

use machine::Rng;
use machine::map::Seeded;

use crate::message::{MAGIC_COOKIE, Message, Name, Via};
use crate::transport::ListenerId;

/// What one request is known by: 128 bits under a secret key. Two different requests have the same one less often
/// than memory errs, and nobody without the key can look for such a pair; so what was hashed is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64, u64);

#[derive(Debug, Clone)]
pub(super) struct Branches {
    start: String,
    keys: [Seeded; 2],
}

impl Branches {
    pub(super) fn new(prefix: &str, rng: &mut Rng) -> Self {
        let start = format!("{MAGIC_COOKIE}Pn{prefix}.");
        Self { start, keys: [Seeded::new(rng), Seeded::new(rng)] }
    }

    /// A Via value.
    pub(super) fn via(&self, protocol: &str, sent_by: &str, number: u64, mark: Option<u32>) -> String {
        let mut via = String::with_capacity(96);
        // Writing into a String does not fail.
        let _written = write!(via, "SIP/2.0/{protocol} {sent_by};branch={}{number:016x}", self.start);
        if let Some(mark) = mark {
            let _written = write!(via, ".{mark:08x}");
        }
        via
    }

    /// The random part of a branch of ours.
    pub(super) fn number(&self, branch: &str) -> Option<u64> {
        let hex = branch.strip_prefix(self.start.as_str())?.get(..16)?;
        u64::from_str_radix(hex, 16).ok()
    }

    /// The loop mark of a branch of ours.
    fn mark_of(&self, branch: &str) -> Option<u32> {
        let hex = branch.strip_prefix(self.start.as_str())?.get(16..)?.strip_prefix('.')?;
        u32::from_str_radix(hex, 16).ok()
    }

    /// The loop mark of a request we received.
    ///
    //= RFC 5393 §4.2.1: depends on Request-URI, Route and whatever else routing looks at (here the listener), not on
    // the method. Call-ID and CSeq cannot go in: a B2BUA changes them.
    pub(super) fn mark(&self, request: &Message, listener: ListenerId) -> u32 {
        let mut hasher = self.keys[0].build_hasher();
        listener.0.hash(&mut hasher);
        request.request_uri().hash(&mut hasher);
        for route in request.values(Name::Route) {
            route.hash(&mut hasher);
        }
        (hasher.finish() >> 32) as u32
    }

    /// True if the request has been here before and nothing that decides its way has changed since.
    ///
    //= RFC 5393 §4.2.2: every Via of ours is looked at, not only the top one.
    pub(super) fn is_loop(&self, request: &Message, mark: u32) -> bool {
        request
            .headers()
            .filter(|header| header.name == Name::Via)
            .any(|header| memchr::memmem::find(header.value, self.start.as_bytes()).is_some())
            && request.values(Name::Via).any(|value| {
                let branch = Via::parse(value).ok().and_then(|via| via.branch());
                branch.and_then(|branch| self.mark_of(branch)) == Some(mark)
            })
    }

    pub(super) fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        let [first, second] = &self.keys;
        Fingerprint(first.hash_one(parts), second.hash_one(parts))
    }
}

impl Fingerprint {
    /// Text for a tag.
    pub(super) fn tag(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(uri: &str, vias: &[&str]) -> Message {
        let vias: String = vias.iter().map(|via| format!("Via: {via}\r\n")).collect();
        let text = format!(
            "INVITE {uri} SIP/2.0\r\n{vias}From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn a_branch_of_ours_is_read_back() {
        let mut rng = Rng::from_number(1);
        let branches = Branches::new("7", &mut rng);
        let value = branches.via("UDP", "a.example:5070", 0x12, Some(0xab));
        assert_eq!(value, "SIP/2.0/UDP a.example:5070;branch=z9hG4bKPn7.0000000000000012.000000ab");
        let via = Via::parse(value.as_bytes()).unwrap();
        assert_eq!(branches.number(via.branch().unwrap()), Some(0x12));
        assert_eq!(branches.number("z9hG4bKPn8.0000000000000012"), None);
        assert_eq!(branches.number("z9hG4bKPn7.12"), None);
    }

    #[test]
    fn a_loop_is_told_from_a_spiral() {
        //= test RFC 5393 §4.2.2: same Request-URI is a loop, a changed one a spiral, also when our Via lies deep.
        let branches = Branches::new("", &mut Rng::from_number(1));
        let first = request("sip:w@x", &["SIP/2.0/UDP caller;branch=z9hG4bKa"]);
        let mark = branches.mark(&first, ListenerId(0));
        let ours = branches.via("UDP", "us", 5, Some(mark));
        let vias = ["SIP/2.0/UDP proxy;branch=z9hG4bKb, SIP/2.0/UDP other", ours.as_str()];
        let looped = request("sip:w@x", &vias);
        assert!(branches.is_loop(&looped, branches.mark(&looped, ListenerId(0))));
        let spiral = request("sip:y@x", &vias);
        assert!(!branches.is_loop(&spiral, branches.mark(&spiral, ListenerId(0))));
        assert!(!branches.is_loop(&looped, branches.mark(&looped, ListenerId(1))));
    }

    #[test]
    fn fingerprints_tell_where_parts_end() {
        let branches = Branches::new("", &mut Rng::from_number(1));
        assert_ne!(branches.fingerprint(&[b"ab", b"c"]), branches.fingerprint(&[b"a", b"bc"]));
        assert_eq!(branches.fingerprint(&[b"ab", b"c"]), branches.fingerprint(&[b"ab", b"c"]));
    }
}
