//! Preconditions that cannot be met: 580, and on every leg a description that says which. RFC 3312 §8; `docs/calls.md` §5
//! and §6, last row.

use sdp::precondition::{Strength, Type};
use sip::message::{Builder, Message, Name};

use super::Call;
use super::early::Pair;
use super::signal::Signal;
use crate::context::Context;
use crate::failure::{Codes, Failed, Verdict};
use crate::leg::body::Body;
use crate::precondition::text;
use crate::side::{Side, Sides};

impl Call {
    /// What it means that the firewall refuses what a signal of `from` needs: if somebody insists on its precondition, the
    /// refusal says so.
    pub(super) fn enforced(&self, codes: &Codes, from: Side, signal: &Signal, verdict: Verdict) -> Verdict {
        let invite = || self.invite.as_deref().and_then(|invite| invite.server.request()).cloned();
        let (asked, said) = match signal {
            Signal::Try | Signal::Inform { .. } => (invite(), None),
            Signal::Ring { message, .. } | Signal::Met { message, .. } | Signal::Connect { message } => {
                (invite(), Some(message))
            }
            Signal::Confirm { message } => (None, Some(message)),
            Signal::Ask { exchange } => (self.asked_description(*exchange).map(|(message, _)| message), None),
            Signal::Reply { exchange, message } => {
                (self.asked_description(*exchange).map(|(message, _)| message), Some(message))
            }
        };
        let asker = if said.is_some() { from.other() } else { from };
        let mut texts: Sides<Option<&[u8]>> = Sides::default();
        texts[asker] = asked.as_ref().and_then(description);
        if let Some(said) = said {
            texts[from] = description(said);
        }
        self.enforced_on(codes, verdict, texts)
    }

    /// The same for a rule that was taken away before the call was there.
    pub(super) fn enforced_in_setup(&self, codes: &Codes, verdict: Verdict, early: Option<u8>) -> Verdict {
        let Some(setup) = self.setup() else { return verdict };
        let asked = self.invite.as_deref().and_then(|invite| invite.server.request());
        let alive = || (0..).zip(&setup.early).find(|(_, early)| early.is_alive()).map(|(number, _)| number);
        let agreement = early.or_else(alive).and_then(|number| self.agreement(Pair::Early(number)));
        let said = agreement.and_then(|agreement| agreement.texts.as_deref()).map(|texts| &*texts.b);
        self.enforced_on(codes, verdict, Sides { a: asked.and_then(description), b: said })
    }

    fn enforced_on(&self, codes: &Codes, verdict: Verdict, texts: Sides<Option<&[u8]>>) -> Verdict {
        let inserted = self.inserted_type();
        let insists = |text: Option<&[u8]>| text.and_then(text::wanted) == Some(Strength::Mandatory);
        if inserted.is_none() && !insists(texts.a) && !insists(texts.b) {
            return verdict;
        }
        let of = inserted.map_or(Type::Fw, |of| of.of());
        let failed =
            |text: Option<&[u8]>| text.and_then(|text| text::failed(text, of)).map(Vec::into_boxed_slice);
        verdict.enforced(codes, Sides { a: failed(texts.a), b: failed(texts.b) })
    }

    /// What a refusal of ours says about the precondition that failed.
    //= RFC 3312 §8: 580 carries a description made from the last one that its receiver has sent.
    pub(super) fn explain_failed(
        &self,
        ctx: &Context<'_>,
        builder: Builder,
        side: Side,
        failed: Option<&Failed>,
    ) -> Builder {
        match self.failed_description(ctx, side, failed) {
            Some(text) => builder.body(SDP, text),
            None => builder,
        }
    }

    pub(super) fn failed_description(
        &self,
        ctx: &Context<'_>,
        side: Side,
        failed: Option<&Failed>,
    ) -> Option<Vec<u8>> {
        self.legs[side].describe_aside(ctx.config, failed?[side].as_deref()?)
    }
}

/// The label of such a description.
pub(super) const SDP: &str = "application/sdp";

/// The same among the header fields of a CANCEL.
pub(super) const LABEL: (Name, &[u8]) = (Name::ContentType, SDP.as_bytes());

fn description(message: &Message) -> Option<&[u8]> {
    match Body::of(message) {
        Body::Description(text) => Some(text),
        Body::None | Body::Opaque(_) | Body::Hidden => None,
    }
}
