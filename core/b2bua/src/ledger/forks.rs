//! Several early dialogs: each has an offer and an answer of its own. `docs/calls.md` §4, "several early dialogs".
//!
//! ```text
//! one early dialog     nothing of this exists
//! a second one         the ledger works on the exchange of one of them; the others are put aside
//!        turn_to       another one's is taken up; a new one begins with the offer of the INVITE
//!        ended         one is over: what only it needed closes
//!        decided       one has won: the others are forgotten, and what only they needed closes when it is completed
//! ```
//!
//! What a dialog that was put aside needs stays open: its early media goes on. Until one has won nothing is narrowed, because
//! whoever has shown nothing yet may send from anywhere.

use machine::Instant;
use sdp::{Flows, Session};

use super::exchange::{Exchange, Missing, is_held};
use super::rule::{Dialogs, Rule};
use super::{Ledger, Out, RequestIds};
use crate::side::{Side, Sides};

/// What a ledger knows of early dialogs once there are several.
#[derive(Debug, Clone, Default)]
pub(super) struct Forks {
    /// The one whose exchange the ledger works on.
    pub(super) dialog: usize,
    /// Those put aside.
    pub(super) others: Vec<Fork>,
    /// The offer that each begins with, and what it needs: nobody can do without that.
    offer: Option<(Flows, u16)>,
    pub(super) common: Missing,
    /// One has won.
    pub(super) decided: bool,
}

/// One that was put aside.
#[derive(Debug, Clone)]
pub(super) struct Fork {
    pub(super) dialog: usize,
    pub(super) agreed: Sides<Flows>,
    exchange: Option<Box<Exchange>>,
    /// What its media needs.
    pub(super) needs: Missing,
}

impl Fork {
    fn uses(&self, rule: &Rule) -> bool {
        is_held(&self.agreed, rule.pinhole.stream) || rule.is_for_one_of(&self.needs)
    }
}

impl Forks {
    /// All but the one that the ledger works on.
    pub(super) fn others(&self) -> Dialogs {
        if self.decided { Dialogs::default() } else { Dialogs::all_but(self.dialog) }
    }

    /// What is exchanged in one that nothing is known of.
    pub(super) fn first_exchange(&self) -> Option<Box<Exchange>> {
        let (offer, streams) = self.offer.clone()?;
        Some(Box::new(Exchange::new(Side::A, offer, streams)))
    }

    /// True if a dialog that was put aside needs the rule.
    pub(super) fn use_it(forks: Option<&Self>, rule: &Rule) -> bool {
        forks.is_some_and(|forks| forks.others.iter().any(|fork| fork.uses(rule)))
    }
}

impl Ledger {
    /// There are several early dialogs from now on. What was exchanged so far was in the one numbered 0. In each of them
    /// `offer` of A is open at first; it has been read before, with the INVITE.
    pub fn forked(&mut self, offer: Option<&Session<'_>>) {
        if self.forks.is_some() {
            return;
        }
        let offer = offer.and_then(|offer| Some((self.read(Side::A, offer).ok()?, offer.streams())));
        let common = match &offer {
            Some((flows, _)) => self.needed_before_answer(Side::A, flows),
            None => Missing::new(),
        };
        self.forks = Some(Box::new(Forks { offer, common, ..Forks::default() }));
    }

    /// True if the ledger works on the exchange of this early dialog.
    #[must_use]
    pub fn is_at(&self, dialog: usize) -> bool {
        self.forks.as_deref().is_none_or(|forks| forks.dialog == dialog)
    }

    /// True if there are several early dialogs and none of them has won.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.forks.as_deref().is_some_and(|forks| !forks.decided)
    }

    /// What follows is of this early dialog.
    pub fn turn_to(&mut self, dialog: usize) {
        if self.is_at(dialog) {
            return;
        }
        let needs = self.needed_now();
        let Some(forks) = self.forks.as_deref_mut() else { return };
        let known = forks.others.iter().position(|fork| fork.dialog == dialog);
        let (agreed, exchange) = match known.map(|position| forks.others.remove(position)) {
            Some(fork) => (fork.agreed, fork.exchange),
            None => (Sides::default(), forks.first_exchange()),
        };
        let before = std::mem::replace(&mut forks.dialog, dialog);
        let agreed = std::mem::replace(&mut self.agreed, agreed);
        let exchange = std::mem::replace(&mut self.exchange, exchange);
        forks.others.push(Fork { dialog: before, agreed, exchange, needs });
    }

    /// This early dialog has won: the ledger works on its exchange from now on, and what only the others need closes when
    /// it is completed.
    pub fn decided(&mut self, dialog: usize) {
        self.turn_to(dialog);
        // What waited before the answer may have been shown since it came.
        self.keep_preview_of(dialog);
        if let Some(forks) = self.forks.as_deref_mut() {
            forks.others.clear();
            forks.decided = true;
        }
    }

    /// The exchange the ledger works on is that of the call, because its early dialog has won; true just once.
    pub(super) fn is_over_for_others(&mut self) -> bool {
        self.forks.take_if(|forks| forks.decided).is_some()
    }

    /// True for an early dialog that was put aside.
    pub(super) fn is_aside(&self, dialog: Option<usize>) -> bool {
        dialog.is_some_and(|dialog| !self.is_at(dialog))
    }

    /// The exchange in a dialog that was put aside is completed: its new rules stay, and what it no longer needs closes with
    /// the next exchange.
    pub(super) fn complete_aside(&mut self, dialog: usize) {
        self.with_aside(dialog, |ledger| {
            if let Some(agreed) = ledger.exchange.take().and_then(|exchange| ledger.agreed_in(&exchange)) {
                ledger.agreed = agreed;
                let desired = ledger.all_desired(&ledger.agreed);
                for rule in ledger.rules.iter_mut().filter(|rule| rule.is_for_one_of(&desired)) {
                    rule.marks.current = true;
                }
            }
        });
    }

    /// The exchange in a dialog that was put aside came to nothing.
    pub(super) fn abandon_aside(&mut self, now: Instant, dialog: usize, ids: &mut RequestIds, out: Out<'_>) {
        self.with_aside(dialog, |ledger| ledger.exchange = None);
        let needed = self.needed_now();
        let forks = self.forks.take();
        let superfluous = |rule: &Rule| {
            let wanted = rule.marks.current || rule.marks.held || rule.is_for_one_of(&needed);
            !wanted && rule.marks.preview.is_empty() && !Forks::use_it(forks.as_deref(), rule)
        };
        self.close_where(now, superfluous, ids, out);
        self.forks = forks;
    }

    fn with_aside(&mut self, dialog: usize, change: impl FnOnce(&mut Self)) {
        let Some(forks) = self.forks.as_deref() else { return };
        let at = forks.dialog;
        if forks.others.iter().any(|fork| fork.dialog == dialog) {
            self.turn_to(dialog);
            change(self);
            self.turn_to(at);
        }
    }

    /// Everything that the dialog the ledger works on needs: what it has agreed on, and what is being agreed on.
    pub(super) fn needed_now(&self) -> Missing {
        let mut needed = self.all_desired(&self.agreed);
        if let Some(exchange) = self.exchange.as_deref() {
            needed.extend(match self.agreed_in(exchange) {
                Some(agreed) => self.all_desired(&agreed),
                None => self.needed_before_answer(exchange.by, &exchange.offer),
            });
        }
        needed
    }
}
