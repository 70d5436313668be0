//! Phones behind NATs of their own: `docs/registrations.md`, decision 0037.

use sdp::{Ice, Refusal, Session, Why};

use super::Call;
use crate::context::Context;
use crate::route;
use crate::side::Side;

impl Call {
    /// The stream that a peer wants to receive at an address behind a NAT of its own, where no pinhole leads. One with
    /// candidates finds its way by itself.
    pub(super) fn behind_own_nat(
        &self,
        ctx: &Context<'_>,
        by: Side,
        session: &Session<'_>,
    ) -> Option<Refusal> {
        let leg = &self.legs[by];
        let found_at = leg.hop.remote.ip();
        let flows = sdp::flows(session).ok()?;
        let lost = flows.iter().find(|flow| {
            flow.ice == Ice::None && route::is_behind_nat(ctx.config, leg.realm, found_at, flow.address)
        })?;
        Some(Refusal { stream: Some((lost.stream, lost.media)), why: Why::BehindNat(lost.address) })
    }
}
