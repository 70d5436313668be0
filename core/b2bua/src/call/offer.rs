//! Where offer and answer stand: RFC 3264 §4, RFC 6337 §2.2 and §4, RFC 3311 §5.2; `docs/calls.md` §4.
//!
//! ```text
//!   INVITE with offer:     Offered --answer in a reliable 18x, or 2xx--> Agreed
//!   INVITE without offer:  Wanted --offer in a reliable 18x, or 2xx--> Returned --answer in PRACK, or ACK--> Agreed
//!   then, in any dialog:   UPDATE, PRACK or re-INVITE with an offer, one at a time
//! ```

use super::Call;
use super::early::{EarlyDialog, Pair};
use super::invite::Offer;
use super::reliable::Reliable;
use crate::side::{Side, Sides};

/// What one pair of dialogs has agreed on in the course of an INVITE.
#[derive(Debug, Clone)]
pub(super) struct Agreement {
    pub(super) stage: Stage,
    /// It has been agreed on inside a call, and takes effect when its preconditions are met.
    pub(super) suspended: bool,
    /// Reliable provisional responses, once there was one.
    pub(super) reliable: Option<Box<Reliable>>,
    /// The descriptions that were exchanged before the 2xx, by author.
    pub(super) texts: Option<Box<Texts>>,
}

/// Descriptions as their authors wrote them.
pub(super) type Texts = Sides<Box<[u8]>>;

/// How far the exchange of an INVITE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The INVITE had the offer.
    Offered,
    /// It had none: the first reliable response has one.
    Wanted,
    /// A reliable response had the offer.
    Returned,
    /// The answer has passed.
    Agreed,
}

impl Agreement {
    pub(super) fn new(offer: Offer) -> Self {
        let stage = match offer {
            Offer::InInvite => Stage::Offered,
            Offer::InAnswer => Stage::Wanted,
        };
        Self { stage, suspended: false, reliable: None, texts: None }
    }
}

impl Call {
    /// What a pair of dialogs has agreed on in the course of the INVITE under way.
    pub(super) fn agreement(&self, pair: Pair) -> Option<&Agreement> {
        match pair {
            Pair::Early(number) => self.early(number).map(|early: &EarlyDialog| &early.agreement),
            Pair::Call => self.invite.as_deref().map(|invite| &invite.agreement),
        }
    }

    pub(super) fn agreement_mut(&mut self, pair: Pair) -> Option<&mut Agreement> {
        match pair {
            Pair::Early(number) => self.early_mut(number).map(|early| &mut early.agreement),
            Pair::Call => self.invite.as_deref_mut().map(|invite| &mut invite.agreement),
        }
    }

    pub(super) fn stage(&self, pair: Pair) -> Option<Stage> {
        self.agreement(pair).map(|agreement| agreement.stage)
    }

    pub(super) fn set_stage(&mut self, pair: Pair, stage: Stage) {
        if let Some(agreement) = self.agreement_mut(pair) {
            agreement.stage = stage;
        }
    }

    /// The pair of dialogs that the 2xx of the INVITE under way confirms.
    pub(super) fn answered_pair(&self) -> Pair {
        self.setup().and_then(|setup| setup.winner).map_or(Pair::Call, Pair::Early)
    }

    /// The side whose offer is open as far as a request of `from` in this pair is concerned.
    pub(super) fn open_offer(&self, from: Side, pair: Pair) -> Option<Side> {
        if let Some(by) = self.offer_in_exchange() {
            return Some(by);
        }
        let ours = self.invite.as_deref().is_some_and(|invite| invite.asker().is_none());
        if self.owns_offer() || ours {
            // To whomever it went: it is one that the sender knows nothing of.
            return Some(from.other());
        }
        let invite = self.invite.as_deref()?;
        match self.agreement(pair)?.stage {
            // The one who was asked for an offer may not be asked to answer another.
            Stage::Offered | Stage::Wanted => Some(invite.from),
            Stage::Returned => Some(invite.from.other()),
            //= RFC 3311 §5.1: the answerer waits for the PRACK of its answer.
            Stage::Agreed if self.awaits_prack(pair) && from != invite.from => Some(invite.from),
            Stage::Agreed => None,
        }
    }
}
