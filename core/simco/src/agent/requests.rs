//! Requests that wait for their reply.

use std::collections::BTreeMap;

use machine::Instant;
use midcom::{Lifetime, Prid, Reply, Request, RequestId};

/// What was asked, as far as it decides which replies fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Reserve,
    Enable,
    Disable,
    Lifetime,
    End,
    Status,
    List,
    Count,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Reserve { .. } => Self::Reserve,
            Request::Enable { .. } | Request::EnableReserved { .. } => Self::Enable,
            Request::Disable { .. } => Self::Disable,
            Request::Lifetime { lifetime: Lifetime::END, .. } => Self::End,
            Request::Lifetime { .. } => Self::Lifetime,
            Request::Status { .. } => Self::Status,
            Request::List => Self::List,
            Request::Count { .. } => Self::Count,
        }
    }

    /// Whether `reply` can be the answer.
    fn fits(self, reply: &Reply) -> bool {
        match self {
            Self::Reserve => matches!(reply, Reply::Reserved { .. }),
            Self::Enable => matches!(reply, Reply::Enabled { .. }),
            Self::Disable => matches!(reply, Reply::Disabled { .. }),
            //= RFC 4540 §8.5: the middlebox may choose 0, and says so with PRD.
            Self::Lifetime => matches!(reply, Reply::Lifetime(_) | Reply::Ended),
            Self::End => matches!(reply, Reply::Ended),
            Self::Status => matches!(reply, Reply::Status(_)),
            Self::List => matches!(reply, Reply::List(_)),
            Self::Count => matches!(reply, Reply::Counted(_)),
        }
    }
}

/// Whose reply has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This request's.
    Open(RequestId),
    /// Nobody's any more: the request has already failed with a timeout.
    Late,
}

/// A reply that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// No request with this TID waits.
    UnknownTid,
    /// It answers another question.
    WrongKind,
}

/// Requests by TID. TIDs only grow, so the first one is the oldest.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<u32, (RequestId, Asked, Instant)>,
    late: BTreeMap<u32, (Asked, Instant)>,
}

impl Requests {
    /// How many replies are still due, awaited or not.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.late.len()
    }

    pub(super) fn add(&mut self, tid: u32, id: RequestId, asked: Asked, now: Instant) {
        self.open.insert(tid, (id, asked, now));
    }

    /// Adds a request whose reply interests nobody.
    pub(super) fn add_unowned(&mut self, tid: u32, asked: Asked, now: Instant) {
        self.late.insert(tid, (asked, now));
    }

    /// Takes the request that a positive reply answers.
    pub(super) fn answered(&mut self, tid: u32, reply: &Reply) -> Result<Owner, Misfit> {
        let open = self.open.get(&tid).map(|(_, asked, _)| *asked);
        let asked =
            open.or_else(|| self.late.get(&tid).map(|(asked, _)| *asked)).ok_or(Misfit::UnknownTid)?;
        // What does not fit is no answer: the request stays open and fails with the session.
        if asked.fits(reply) { self.take(tid) } else { Err(Misfit::WrongKind) }
    }

    /// Takes the request that a negative reply answers.
    pub(super) fn refused(&mut self, tid: u32) -> Result<Owner, Misfit> {
        self.take(tid)
    }

    fn take(&mut self, tid: u32) -> Result<Owner, Misfit> {
        match self.open.remove(&tid) {
            Some((id, _, _)) => Ok(Owner::Open(id)),
            None => self.late.remove(&tid).map(|_| Owner::Late).ok_or(Misfit::UnknownTid),
        }
    }

    /// When the oldest awaited request was sent.
    pub(super) fn oldest_open(&self) -> Option<Instant> {
        self.open.first_key_value().map(|(_, (_, _, sent))| *sent)
    }

    /// When the oldest request was sent whose reply came too late or interests nobody.
    pub(super) fn oldest_late(&self) -> Option<Instant> {
        self.late.first_key_value().map(|(_, (_, sent))| *sent)
    }

    /// Gives up waiting for the oldest request. Its reply remains due.
    pub(super) fn expire_oldest(&mut self) -> Option<RequestId> {
        let (tid, (id, asked, sent)) = self.open.pop_first()?;
        self.late.insert(tid, (asked, sent));
        Some(id)
    }

    /// Forgets all requests; the awaited ones are returned, oldest first.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        self.late.clear();
        std::mem::take(&mut self.open).into_values().map(|(id, _, _)| id)
    }
}

/// The rule that a reply made.
pub(super) fn made(reply: &Reply) -> Option<Prid> {
    match reply {
        Reply::Reserved { prid, .. } | Reply::Enabled { prid, .. } | Reply::Disabled { prid, .. } => {
            Some(*prid)
        }
        Reply::Lifetime(_) | Reply::Ended | Reply::Status(_) | Reply::List(_) | Reply::Counted(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prd_answers_the_end_of_a_rule() {
        assert!(Asked::End.fits(&Reply::Ended));
        assert!(!Asked::End.fits(&Reply::Lifetime(Lifetime(60))));
        assert!(Asked::Lifetime.fits(&Reply::Ended));
    }

    #[test]
    fn an_expired_request_still_expects_its_reply() {
        let mut requests = Requests::default();
        requests.add(5, RequestId(1), Asked::List, Instant::ZERO);
        assert_eq!(requests.expire_oldest(), Some(RequestId(1)));
        assert_eq!(requests.len(), 1);
        assert_eq!(requests.answered(5, &Reply::List(Vec::new())), Ok(Owner::Late));
        assert_eq!(requests.refused(5), Err(Misfit::UnknownTid));
    }
}
