//! The INVITE leaves on leg B: RFC 3261 §8.1, §13.2.1, RFC 7332.

use sip::dialog::Initial;
use sip::endpoint::ClientKey;
use sip::message::{Defect, Message, Method, Name, NameAddr};
use sip::transport::Hop;

use super::Call;
use super::invite::{Client, Server};
use super::signal::Signal;
use crate::config::Host;
use crate::context::{Context, Wake};
use crate::event::{Event, Sip};
use crate::failure::Verdict;
use crate::leg::carried::Carried;
use crate::leg::{Sdp, headers};
use crate::route;
use crate::side::Side;
use crate::tag::{Tag, call_id};

/// The Max-Breadth of a request that came without (RFC 5393 §5.3.3).
const MAX_BREADTH: &str = "60";

impl Call {
    /// The INVITE may leave.
    pub(super) fn send_invite(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = &self.invite else { return };
        let Some(setup) = &invite.setup else {
            return match invite.own {
                Some(_) => self.send_own_offer(ctx),
                None => self.send_reinvite(ctx),
            };
        };
        let (next_hop, listener) = (setup.next_hop.clone(), setup.listener);
        if let Some(hop) = setup.going.or_else(|| setup.target.as_ref().map(|target| target.hop)) {
            return self.call_out(ctx, hop);
        }
        match (route::hop(&next_hop, listener), &next_hop.host) {
            (Some(hop), _) => self.call_out(ctx, hop),
            (None, Host::Name(name)) if ctx.resolve(self.id, self.legs.b.realm, &next_hop, name) => {}
            (None, _) => {
                let verdict = Verdict::plain(500, "too many names are being looked up").later();
                self.refuse_try(ctx, verdict);
            }
        }
    }

    /// The INVITE is to leave once more, for somebody else or with something else in it: as the first time, when what it
    /// needs is there. The firewall may have lost that meanwhile.
    pub(super) fn call_again(&mut self, ctx: &mut Context<'_>, hop: Hop) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.client = Client::Idle;
        if let Some(setup) = &mut invite.setup {
            setup.going = Some(hop);
        }
        self.submit(ctx, Side::A, Signal::Try);
    }

    /// The INVITE leaves on leg B.
    fn call_out(&mut self, ctx: &mut Context<'_>, hop: Hop) {
        self.legs.b.hop = hop;
        let Some(uri) = self.uri_of_callee(ctx) else { return };
        let offered = self.offered_invite(ctx, hop.remote, &uri);
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (Server::Proceeding { key, request }, Some(setup)) = (&invite.server, &mut invite.setup) else {
            return;
        };
        let initial = match setup.uac.take() {
            //= RFC 3261 §8.1.3.4, §8.1.3.5: whoever is called instead, or once more, gets the same Call-ID, From and To.
            Some(before) => Ok(before.to(&uri)),
            None => {
                let id = call_id(ctx.config.shard, &mut ctx.shared.rng);
                let path = setup.target.as_ref().map_or(&setup.service_route, |target| &target.path);
                first_request(request, &id, self.legs.b.tag, (&uri, path))
            }
        };
        let mut initial = match initial {
            Ok(initial) => initial,
            Err(defect) => {
                let verdict = Verdict::plain(defect.status(), defect.to_string());
                return self.refuse_try(ctx, verdict);
            }
        };
        let request = offered.as_ref().unwrap_or(request);
        let mut builder = initial.request_with_hops(&Method::Invite, headers::max_forwards(request));
        if request.header(Name::MaxBreadth).is_none() {
            //= RFC 7332 §6: written if it did not come.
            builder = builder.header(Name::MaxBreadth, MAX_BREADTH);
        }
        builder = match &setup.replaces {
            Some(replaces) => builder.header(Name::Replaces, replaces.as_bytes()),
            None => builder.copy(request, Name::Replaces),
        };
        builder = self.legs.b.session.ask(builder, &Method::Invite);
        builder = self.legs.b.contact(ctx.config, builder);
        builder = self.session_id.write(builder, Side::B);
        let (builder, sdp) = self.legs.b.carry(ctx.config, builder, Carried::new(request), Sdp::Passes);
        let cause = *key;
        let is_routed = setup.redirected.is_none() && setup.target.is_none();
        let trunk = setup.next_hop.trunk.filter(|_| is_routed);
        ctx.shared.trunks.bind(self.id, Side::B, trunk, hop);
        (setup.uac, setup.offered) = (Some(initial), None);
        let sip = Sip { sdp, ..Sip::new(&Method::Invite, 0) };
        let key = ctx.request(self.to(Side::B), Some(cause), hop, builder, sip);
        self.called(ctx, key);
        ctx.event(Event::Called { call: self.id, hop });
    }

    /// The Request-URI on leg B.
    pub(super) fn uri_of_callee(&self, ctx: &Context<'_>) -> Option<String> {
        let invite = self.invite.as_deref()?;
        Some(invite.setup.as_deref()?.request_uri(ctx.config, invite.server.request()?))
    }

    /// An INVITE has left.
    pub(super) fn called(&mut self, ctx: &mut Context<'_>, key: ClientKey) {
        let timer = ctx.wake(self.id, ctx.config.timers.timer_c, Wake::TimerC);
        if let Some(invite) = &mut self.invite {
            invite.client = Client::Calling { key };
            invite.timer = Some(timer);
        }
    }
}

/// What B's dialogs start from: the peers' names as the caller wrote them, Call-ID and tag our own.
fn first_request(
    invite: &Message,
    call_id: &str,
    tag: Tag,
    (uri, path): (&str, &[Box<[u8]>]),
) -> Result<Initial, Defect> {
    let (from, to) = (invite.from()?, invite.to()?);
    let local = without_tag(&from);
    let path: Vec<&[u8]> = path.iter().map(|value| &**value).collect();
    Initial::new(call_id, (&local, tag.text().as_str()), to.as_bytes(), uri, &path, 1)
}

/// A From or To value without its tag, otherwise as it came.
pub(crate) fn without_tag(address: &NameAddr<'_>) -> Vec<u8> {
    let value = address.as_bytes();
    let Some(tag) = address.tag() else { return value.to_vec() };
    let tag_start = tag.as_ptr() as usize - value.as_ptr() as usize;
    let before = value[..tag_start].iter().rposition(|byte| *byte == b';').unwrap_or(tag_start);
    [value[..before].trim_ascii_end(), &value[tag_start + tag.len()..]].concat()
}
