//! A call begins: RFC 3261 §8.2, §12.1.1.

use std::collections::VecDeque;
use std::sync::Arc;

use sip::dialog::Dialog;
use sip::message::{Defect, Method, NameAddr};
use sip::transport::{Hop, ListenerId};
use smallvec::SmallVec;

use super::hold::Hold;
use super::invite::{Invite, Setup};
use super::precondition::Offering;
use super::signal::Signal;
use super::{Call, Request};
use crate::admission;
use crate::config::{Config, NextHop, RealmId};
use crate::context::Context;
use crate::event::{CallId, Event, Sip};
use crate::ledger::{Ledger, MediaPath, Realm, Terms};
use crate::leg::Leg;
use crate::leg::description::Description;
use crate::leg::session_id::SessionId;
use crate::leg::session_timer::SessionTimer;
use crate::named::Target;
use crate::route;
use crate::side::{Side, Sides};
use crate::tag::Tag;

/// Where a new call goes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) realms: Sides<RealmId>,
    pub(crate) next_hop: NextHop,
    /// Where it goes if that does not work.
    pub(crate) next_hops: VecDeque<NextHop>,
    /// The listener leg B sends from.
    pub(crate) listener: ListenerId,
    pub(crate) path: MediaPath,
    pub(crate) pinholes: Sides<Arc<Realm>>,
    /// True if its Request-URI is a SIPS URI.
    pub(crate) is_sips: bool,
    /// Replaces, if it takes the place of a dialog of ours.
    pub(crate) replaces: Option<Box<str>>,
    /// Whom it is for, if it was sent to a name of ours.
    pub(crate) target: Option<Box<Target>>,
    /// Route as the caller's registrar wants it (RFC 3608).
    pub(crate) service_route: Vec<Box<[u8]>>,
    /// The terms on which it is let in.
    pub(crate) terms: Box<admission::Terms>,
    /// Where else the user is registered whom it is for.
    pub(crate) contacts: VecDeque<Target>,
    /// What each leg agrees to; A's has heard the INVITE.
    pub(crate) sessions: Sides<SessionTimer>,
}

/// Whom the INVITE is for beside what it says itself, as in [`Plan`].
struct Callee {
    replaces: Option<Box<str>>,
    target: Option<Box<Target>>,
    service_route: Vec<Box<[u8]>>,
    contacts: VecDeque<Target>,
}

impl Call {
    /// A call for an INVITE outside any dialog; `tag` and `uas` are the dialog it will make on leg A.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        id: CallId,
        request: Request,
        plan: Plan,
        (tag, uas): (Tag, Dialog),
    ) -> Self {
        let tags = Sides { a: tag, b: Tag::mint(ctx.config.shard, &mut ctx.shared.rng) };
        let (key, hop) = (request.key, request.hop);
        let uri = |address: Result<NameAddr<'_>, Defect>| address.map_or("", |address| address.uri()).into();
        let (from, to) = (uri(request.message.from()), uri(request.message.to()));
        let mut leg = |realm, hop, tag, session| Leg {
            realm,
            hop,
            tag,
            dialog: None,
            description: Description::new(&mut ctx.shared.rng),
            turned_off: SmallVec::new(),
            session,
            session_wake: None,
            is_sips: plan.is_sips,
            hides: None,
        };
        let hop_b = Hop { listener: plan.listener, protocol: route::protocol(&plan.next_hop), ..hop };
        let legs = Sides {
            a: leg(plan.realms.a, hop, tags.a, plan.sessions.a),
            b: leg(plan.realms.b, hop_b, tags.b, plan.sessions.b),
        };
        let mut session_id = SessionId::default();
        session_id.learn(Side::A, &request.message, &mut ctx.shared.rng);
        let mut invite = Invite::new(Side::A, request);
        invite.setup = Some(Box::new(Setup::new(
            (plan.next_hop, plan.next_hops),
            plan.listener,
            uas,
            Callee {
                replaces: plan.replaces,
                target: plan.target,
                service_route: plan.service_route,
                contacts: plan.contacts,
            },
        )));
        let terms = terms(ctx.config, plan.path, plan.pinholes);
        for side in [Side::A, Side::B] {
            ctx.shared.tags.insert(tags[side], (id, side));
        }
        ctx.shared.servers.insert(key, id);
        Self {
            id,
            legs,
            ledger: Ledger::new(terms),
            ledger_timer: None,
            rules: Vec::new(),
            session_id,
            invite: Some(Box::new(invite)),
            hold: Hold::default(),
            exchanges: Vec::new(),
            exchanges_made: 0,
            own: Vec::new(),
            ending: None,
            from,
            to,
            started: ctx.now,
            established: None,
            behind: Vec::new(),
            owed: None,
            media: None,
            terms: plan.terms,
            longest: None,
        }
    }

    /// Lets the INVITE that made the call go on.
    pub(crate) fn begin(&mut self, ctx: &mut Context<'_>) {
        let (from, to) = (self.legs.a.realm, self.legs.b.realm);
        let request = self.invite.as_ref().and_then(|invite| invite.server.request());
        let call_id = request.and_then(|request| request.call_id().ok()).unwrap_or_default();
        ctx.event(Event::Started {
            call: self.id,
            from,
            to,
            caller: self.from.clone(),
            callee: self.to.clone(),
            call_id: call_id.into(),
            hop: self.legs.a.hop,
        });
        if let Some(request) = request {
            self.received(ctx, Side::A, request);
        }
        // The endpoint has sent it.
        ctx.sent(self.to(Side::A), Sip::new(&Method::Invite, 100));
        self.submit(ctx, Side::A, Signal::Try);
    }
}

impl Setup {
    /// Nobody has been called yet.
    fn new(
        (next_hop, next_hops): (NextHop, VecDeque<NextHop>),
        listener: ListenerId,
        uas: Dialog,
        Callee { replaces, target, service_route, contacts }: Callee,
    ) -> Self {
        Self {
            has_hops: !next_hops.is_empty(),
            next_hop,
            next_hops,
            listener,
            uas: Some(uas),
            uac: None,
            replaces,
            target,
            service_route,
            contacts,
            redirected: None,
            going: None,
            spare: VecDeque::new(),
            early: Vec::new(),
            winner: None,
            strays: 0,
            rang: false,
            offered: None,
            offering: Offering::AsItCame,
        }
    }
}

/// What the configuration says of the rules of a call.
fn terms(config: &Config, path: MediaPath, realms: Sides<Arc<Realm>>) -> Terms {
    Terms {
        path,
        realms,
        rule_lifetime: config.rule_lifetime,
        rules_max: config.limits.rules,
        reserve: config.policy.reserve,
        crucial: (&config.policy.crucial).into(),
        hold: config.policy.hold,
    }
}
