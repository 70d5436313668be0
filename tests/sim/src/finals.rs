//! One final response for each INVITE and UPDATE of a phone, and how long its transaction at the agent lives: RFC 3261 §17.2,
//! RFC 6026 §7.1.

use std::collections::BTreeMap;
use std::time::Duration;

use machine::Instant;

use crate::queue::Life;
use crate::wire;

/// How long the agent's transaction absorbs the request after its final response: 64*T1, timers H, J and L.
const ANSWERED: Duration = Duration::from_secs(32);
/// How long it does so after the ACK for a refusal: T4, timer I.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);

/// The final response of each transaction, by the branch its request came with, in each life of the agent.
#[derive(Debug, Default)]
pub(crate) struct Finals(BTreeMap<(Life, String), Final>);

#[derive(Debug, Clone, Copy)]
struct Final {
    status: u16,
    /// When the transaction ends.
    over: Instant,
}

impl Finals {
    /// The agent gets something from a phone. True for an INVITE or UPDATE that comes once more when its transaction is over:
    /// it begins another, which may be answered otherwise, and its phone knows nothing of that.
    #[must_use]
    pub(crate) fn arrives(&mut self, now: Instant, life: Life, bytes: &[u8]) -> bool {
        let is_ack = bytes.starts_with(b"ACK ");
        if wire::status(bytes) != 0 || !is_ack && !is_judged(bytes) {
            return false;
        }
        let Some(branch) = wire::branch(bytes) else { return false };
        let key = (life, branch.to_owned());
        let Some(last) = self.0.get_mut(&key) else { return false };
        if is_ack {
            // The ACK for a refusal has the branch of its INVITE; that for a 2xx has one of its own.
            last.over = last.over.min(now + ACKNOWLEDGED);
            return false;
        }
        let begins = last.over <= now;
        if begins {
            self.0.remove(&key);
        }
        begins
    }

    /// The agent sends something to a phone; the other final response if it gives a request a second one.
    pub(crate) fn leaves(&mut self, now: Instant, life: Life, bytes: &[u8]) -> Option<u16> {
        let status = wire::status(bytes);
        if status < 200 || !is_judged(bytes) {
            return None;
        }
        let branch = wire::branch(bytes)?.to_owned();
        let first = self.0.entry((life, branch)).or_insert(Final { status, over: now + ANSWERED });
        (first.status != status).then_some(first.status)
    }
}

/// True for what may carry an offer and gets one answer.
fn is_judged(bytes: &[u8]) -> bool {
    matches!(wire::method(bytes), "INVITE" | "UPDATE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(start: &str, method: &str) -> Vec<u8> {
        format!("{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCSeq: 2 {method}\r\n\r\n")
            .into_bytes()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_second_final_response_is_found() {
        let mut finals = Finals::default();
        assert!(!finals.arrives(at(0), 1, &message("INVITE sip:b SIP/2.0", "INVITE")));
        assert_eq!(finals.leaves(at(0), 1, &message("SIP/2.0 180 Ringing", "INVITE")), None);
        assert_eq!(finals.leaves(at(1), 1, &message("SIP/2.0 488 No", "INVITE")), None);
        assert_eq!(finals.leaves(at(2), 1, &message("SIP/2.0 488 No", "INVITE")), None);
        assert_eq!(finals.leaves(at(60), 1, &message("SIP/2.0 500 No", "INVITE")), Some(488));
    }

    #[test]
    fn what_comes_when_its_transaction_is_over_begins_another() {
        let (invite, refusal) =
            (message("INVITE sip:b SIP/2.0", "INVITE"), message("SIP/2.0 488 No", "INVITE"));
        let mut finals = Finals::default();
        assert_eq!(finals.leaves(at(0), 1, &refusal), None);
        assert!(!finals.arrives(at(31), 1, &invite), "64*T1");
        assert!(finals.arrives(at(32), 1, &invite));
        assert_eq!(finals.leaves(at(33), 1, &refusal), None);
        for second in [34, 35] {
            assert!(!finals.arrives(at(second), 1, &message("ACK sip:b SIP/2.0", "ACK")));
        }
        assert!(!finals.arrives(at(38), 1, &invite), "T4 after the first ACK");
        assert!(finals.arrives(at(39), 1, &invite));
        assert!(!finals.arrives(at(40), 1, &invite), "nothing is answered yet");
    }
}
