//! The MIDCOM agent's side of the B2BUA: which middlebox is there, whom a reply belongs to, who waited too long.

use std::collections::VecDeque;
use std::time::Duration;

use machine::map::{Map, Seeded};
use machine::onlooker::{Onlooker, see_map};
use machine::{Instant, Rng};
use midcom::{Capabilities, MiddleboxId, Prid, RequestId};

use crate::event::CallId;

/// All middleboxes we know, and every request under way.
#[derive(Debug, Clone)]
pub(crate) struct Agents {
    agents: Vec<Agent>,
    open: Map<RequestId, Open>,
    /// In order, since every request may take equally long.
    deadlines: VecDeque<(Instant, RequestId)>,
    /// In order, since every pause is equally long.
    again: VecDeque<(Instant, MiddleboxId, Again)>,
}

/// The pause before something that no call owns is asked for again.
const PAUSE: Duration = Duration::from_secs(2);

/// What is asked for again until it is answered, or until the session ends: the next one begins with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Which rules there are.
    List,
    /// The end of a rule that no call owns. Its lifetime ends it, so this comes to an end too.
    Orphan(Prid),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    Down,
    /// Whether it may know how to count: true until it says that it does not.
    Up {
        capabilities: Capabilities,
        counts: bool,
    },
}

#[derive(Debug, Clone, Copy)]
struct Open {
    middlebox: MiddleboxId,
    asker: Asker,
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A call's ledger.
    Call(CallId),
    /// A call that has been told meanwhile that there was no reply in time: what was made is closed.
    Late,
    /// We, to compare after a reconnect.
    List,
    /// We, closing a rule that no call owns.
    Orphan(Prid),
    /// A call that wants to know whether media passes. Without a reply it knows no more than before.
    Count(CallId),
}

impl Agents {
    pub(crate) fn new(middleboxes: usize, rng: &mut Rng) -> Self {
        Self {
            agents: vec![Agent::Down; middleboxes],
            open: Map::with_hasher(Seeded::new(rng)),
            deadlines: VecDeque::new(),
            again: VecDeque::new(),
        }
    }

    /// Everything, for an explorer.
    pub(crate) fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self { agents, open, deadlines, again } = self;
        onlooker.see(agents);
        onlooker.see(deadlines);
        onlooker.see(again);
        see_map(open, onlooker);
    }

    /// What a middlebox said of itself; `None` while there is no session.
    pub(crate) fn capabilities(&self, middlebox: MiddleboxId) -> Option<Capabilities> {
        match self.agents.get(usize::from(middlebox.0))? {
            Agent::Up { capabilities, .. } => Some(*capabilities),
            Agent::Down => None,
        }
    }

    pub(crate) fn up(&mut self, middlebox: MiddleboxId, capabilities: Capabilities) {
        self.set(middlebox, Agent::Up { capabilities, counts: true });
    }

    /// True if a middlebox can be asked what has passed.
    pub(crate) fn counts(&self, middlebox: MiddleboxId) -> bool {
        let agent = self.agents.get(usize::from(middlebox.0));
        matches!(agent, Some(Agent::Up { counts: true, .. }))
    }

    /// A middlebox does not know the question; says whether that is news in this session.
    pub(crate) fn cannot_count(&mut self, middlebox: MiddleboxId) -> bool {
        match self.agents.get_mut(usize::from(middlebox.0)) {
            Some(Agent::Up { counts, .. }) => std::mem::take(counts),
            Some(Agent::Down) | None => false,
        }
    }

    /// The session is gone, and with it every reply that had been given up.
    pub(crate) fn down(&mut self, middlebox: MiddleboxId) {
        self.set(middlebox, Agent::Down);
        self.again.retain(|(_, other, _)| *other != middlebox);
        self.open.retain(|_, open| open.middlebox != middlebox || matches!(open.asker, Asker::Call(_)));
    }

    fn set(&mut self, middlebox: MiddleboxId, agent: Agent) {
        if let Some(slot) = self.agents.get_mut(usize::from(middlebox.0)) {
            *slot = agent;
        }
    }

    /// Notes a request that leaves now; its asker hears of it at `deadline` at the latest.
    pub(crate) fn asked(&mut self, deadline: Instant, middlebox: MiddleboxId, id: RequestId, asker: Asker) {
        self.open.insert(id, Open { middlebox, asker });
        self.deadlines.push_back((deadline, id));
    }

    /// How many requests have no reply yet, or will be repeated.
    pub(crate) fn open(&self) -> usize {
        self.open.len() + self.again.len()
    }

    /// Something will be asked for again after a pause.
    pub(crate) fn ask_again(&mut self, now: Instant, middlebox: MiddleboxId, what: Again) {
        self.again.push_back((now + PAUSE, middlebox, what));
    }

    /// Something that is to be asked for again now.
    pub(crate) fn due_again(&mut self, now: Instant) -> Option<(MiddleboxId, Again)> {
        self.again.front().filter(|(at, ..)| *at <= now)?;
        self.again.pop_front().map(|(_, middlebox, what)| (middlebox, what))
    }

    /// Whom a reply is for; `None` if nobody asked.
    pub(crate) fn answered(&mut self, id: RequestId) -> Option<Asker> {
        let asker = self.open.remove(&id).map(|open| open.asker);
        while self.deadlines.front().is_some_and(|(_, id)| !self.open.contains_key(id)) {
            self.deadlines.pop_front();
        }
        asker
    }

    /// A request whose call must be told now that no reply came in time.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<(RequestId, MiddleboxId, CallId)> {
        while self.deadlines.front().is_some_and(|(at, _)| *at <= now) {
            let (_, id) = self.deadlines.pop_front()?;
            let Some(open) = self.open.get_mut(&id) else { continue };
            match open.asker {
                Asker::Call(call) => {
                    open.asker = Asker::Late;
                    return Some((id, open.middlebox, call));
                }
                Asker::Count(_) => drop(self.open.remove(&id)),
                Asker::Late | Asker::List | Asker::Orphan(_) => {}
            }
        }
        None
    }

    /// When [`Agents::expired`] or [`Agents::due_again`] is next worth calling.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        let again = self.again.front().map(|(at, ..)| *at);
        deadline.into_iter().chain(again).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FW: MiddleboxId = MiddleboxId(0);
    const CALL: Asker = Asker::Call(CallId(7));

    fn agents() -> Agents {
        Agents::new(1, &mut Rng::from_number(1))
    }

    #[test]
    fn a_reply_finds_its_asker_once() {
        let mut agents = agents();
        agents.asked(Instant::from_nanos(9), FW, RequestId(1), CALL);
        assert_eq!(agents.answered(RequestId(1)), Some(CALL));
        assert_eq!(agents.answered(RequestId(1)), None);
        assert_eq!(agents.next_deadline(), None);
    }

    #[test]
    fn who_waited_too_long_is_told_once_and_the_late_reply_is_known_as_late() {
        let mut agents = agents();
        agents.asked(Instant::from_nanos(9), FW, RequestId(1), CALL);
        assert_eq!(agents.expired(Instant::from_nanos(8)), None);
        assert_eq!(agents.expired(Instant::from_nanos(9)), Some((RequestId(1), FW, CallId(7))));
        assert_eq!(agents.expired(Instant::from_nanos(9)), None);
        assert_eq!(agents.answered(RequestId(1)), Some(Asker::Late));
    }

    #[test]
    fn late_replies_are_not_awaited_from_a_session_that_is_gone() {
        let mut agents = agents();
        agents.asked(Instant::from_nanos(9), FW, RequestId(1), CALL);
        assert!(agents.expired(Instant::from_nanos(9)).is_some());
        agents.down(FW);
        assert_eq!(agents.open(), 0);
    }

    #[test]
    fn what_failed_is_asked_for_again_while_the_session_lasts() {
        let mut agents = agents();
        agents.ask_again(Instant::ZERO, FW, Again::Orphan(Prid(5)));
        let due = agents.next_deadline().unwrap();
        assert_eq!(agents.due_again(Instant::ZERO), None);
        assert_eq!(agents.due_again(due), Some((FW, Again::Orphan(Prid(5)))));
        agents.ask_again(Instant::ZERO, FW, Again::List);
        agents.down(FW);
        assert_eq!((agents.due_again(due), agents.next_deadline()), (None, None));
    }
}
