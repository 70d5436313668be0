//! Phones behind NATs of their own register more often than their registrar wants to hear: `refresh` of a realm.
//!
//! Such a phone is told a short time, so that its NAT keeps the way to it open, and most of what it then sends is answered here.
//! The registrar keeps the long time. Nothing changes by what is answered here: same place, same contact, same features.

use std::time::Duration;

use machine::{Instant, Outbox};
use sip::message::{Method, Name, Uri};

use super::Passing;
use super::contact;
use super::register::Asked;
use super::registrations::Binding;
use crate::b2bua::B2bua;
use crate::config::{Config, RealmId};
use crate::io::Output;
use crate::named::Target;

/// True if a phone's Contact is not where its REGISTER came from.
fn is_behind_nat(reach: &Target) -> bool {
    let uri = Uri::parse(&reach.uri).ok();
    let host = uri.and_then(|uri| uri.host()?.address());
    host.map(|host| host.to_canonical()) != Some(reach.hop.remote.ip().to_canonical())
}

/// How long a phone is told that it is registered, at most; `None`: as long as its registrar says.
pub(super) fn most(config: &Config, realm: RealmId, reach: &Target) -> Option<Duration> {
    config.realm(realm)?.policy.refresh.filter(|_| is_behind_nat(reach))
}

/// What is left to tell a phone of, in seconds.
pub(super) fn left_s(config: &Config, binding: &Binding, now: Instant) -> u32 {
    let left = binding.expires - now;
    let left = most(config, binding.whose.realm, &binding.reach).map_or(left, |most| left.min(most));
    u32::try_from(left.as_secs()).unwrap_or(u32::MAX)
}

impl B2bua {
    /// Answers a REGISTER that only keeps a NAT open; says whether it has.
    pub(super) fn answer_refresh(
        &mut self,
        now: Instant,
        passing: &Passing,
        out: &mut Outbox<Output>,
    ) -> bool {
        if *passing.request.message.method() != Method::Register || !self.is_refresh(now, passing) {
            return false;
        }
        let [asked] = passing.asked.as_slice() else { return false };
        let message = &passing.request.message;
        let names = self.shared.alone.registrations.names_of(passing.from, &asked.whose().aor);
        let mut ctx = self.context(now, out);
        let mut builder = ctx.response_alone(&passing.request, 200, "OK");
        for name in names {
            let Some(binding) = ctx.shared.alone.registrations.get(name) else { continue };
            let left_s = left_s(ctx.config, binding, now);
            builder = builder
                .header(Name::Contact, contact::value(&binding.reach.uri, &binding.said, Some(left_s)));
        }
        //= RFC 3327 §5.3: Path is told to who has sent it.
        let builder =
            message.values(Name::Path).fold(builder, |builder, path| builder.header(Name::Path, path));
        ctx.send_alone(&passing.request, builder, 200);
        true
    }

    /// True if the registrar knows all that a REGISTER says, and for longer than half of what it has granted.
    fn is_refresh(&self, now: Instant, passing: &Passing) -> bool {
        let [asked] = passing.asked.as_slice() else { return false };
        let Some(binding) = self.shared.alone.registrations.get(asked.name()) else { return false };
        let Some(most) = most(&self.config, passing.from, &binding.reach) else { return false };
        let hop = passing.request.hop;
        let (was, is) = (binding.reach.hop, hop);
        let path = passing.request.message.values(Name::Path);
        let same_place = (was.listener, was.protocol, was.remote) == (is.listener, is.protocol, is.remote);
        let left = binding.expires - now;
        same_place
            && binding.registrar == passing.to
            && is_same(asked, binding)
            && path.eq(binding.reach.path.iter().map(|value| &**value))
            && left > most.saturating_mul(2).max(binding.granted / 2)
    }
}

fn is_same(asked: &Asked, binding: &Binding) -> bool {
    !asked.ends() && asked.uri() == &*binding.reach.uri && *asked.said() == *binding.said
}
