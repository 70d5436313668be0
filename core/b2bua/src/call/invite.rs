//! An INVITE under way: one leg is the UAS, the other the UAC. RFC 3261 §13, §14, §17 seen from the transaction user.
//!
//! ```text
//!  UAS: Proceeding --2xx--> Accepted (2xx repeated) --ACK--> Done      UAC: Idle --pinholes, address--> Calling
//!           |                    '--64*T1--> Done (BYE)                Calling --1xx--> Proceeding
//!           '--failure--> Done                                         Calling, Proceeding --2xx--> Accepted --ACK--> Done
//!                                                                      Calling, Proceeding --CANCEL--> Cancelling --> Done
//! ```

use std::time::Duration;

use bytes::Bytes;
use machine::TimerId;
use sip::dialog::{Dialog, Initial};
use sip::endpoint::{ClientKey, ServerKey};
use sip::message::{Builder, Defect, Message, Method, Name, NameAddr};
use sip::transport::{Hop, ListenerId};

use super::{Call, Request};
use crate::config::{NextHop, RealmId};
use crate::context::{Context, Wake};
use crate::event::{CallId, Event, Sip};
use crate::failure::Verdict;
use crate::ledger::{Ledger, MediaPath, Terms};
use crate::leg::body::Body;
use crate::leg::carried::Carried;
use crate::leg::description::Description;
use crate::leg::session_id::SessionId;
use crate::leg::{Leg, Sdp, headers};
use crate::side::{Side, Sides};
use crate::tag::{Tag, call_id};
use crate::{ledger, route};

/// The Max-Breadth of a request that came without (RFC 5393 §5.3.3).
const MAX_BREADTH: &str = "60";

/// An INVITE under way.
#[derive(Debug)]
pub(super) struct Invite {
    /// Who sent it.
    pub(super) from: Side,
    pub(super) offer: Offer,
    pub(super) server: Server,
    pub(super) client: Client,
    /// Timer C; after CANCEL the wait for the final response.
    pub(super) timer: Option<TimerId>,
    /// Only for the INVITE that makes the call.
    pub(super) setup: Option<Box<Setup>>,
}

/// Where the offer is (RFC 3261 §13.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// In the INVITE; the answer is in the 2xx.
    InInvite,
    /// In the 2xx; the answer is in the ACK.
    InAnswer,
}

/// Our side towards the one who sent the INVITE.
#[derive(Debug)]
pub(super) enum Server {
    /// No final response yet.
    Proceeding { key: ServerKey, request: Message },
    /// 2xx sent and repeated until ACK.
    Accepted { cseq: u32, hop: Hop, bytes: Bytes, interval: Duration, repeat: TimerId, missing: TimerId },
    /// Refused, or acknowledged.
    Done,
}

/// Our side towards the one who gets it.
#[derive(Debug)]
pub(super) enum Client {
    /// Nothing sent: pinholes or an address are missing.
    Idle,
    /// No response yet.
    Calling { key: ClientKey },
    /// A provisional response.
    Proceeding { key: ClientKey },
    /// To be given up: `sent` once a provisional response has allowed CANCEL.
    Cancelling { key: ClientKey, sent: bool, reasons: Vec<Box<[u8]>> },
    /// 2xx arrived, ACK not sent. The 2xx is kept if it has the offer.
    Accepted { key: ClientKey, cseq: u32, offer: Option<Message> },
    /// Refused, given up, or acknowledged.
    Done,
}

/// What only the first INVITE has.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) next_hop: NextHop,
    listener: ListenerId,
    /// A's dialog as it will be with the first tag; proof that it can be made.
    pub(super) uas: Option<Dialog>,
    /// B's dialogs before they have a tag.
    pub(super) uac: Option<Initial>,
    /// Early dialogs of B, each with a tag of its own on leg A.
    pub(super) forks: Vec<Fork>,
}

/// An early dialog.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) remote_tag: Box<str>,
    pub(super) tag: Tag,
}

/// Where a new call goes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) realms: Sides<RealmId>,
    pub(crate) next_hop: NextHop,
    /// The listener leg B sends from.
    pub(crate) listener: ListenerId,
    pub(crate) path: MediaPath,
    pub(crate) pinholes: Sides<std::sync::Arc<ledger::Realm>>,
}

impl Server {
    pub(super) fn request(&self) -> Option<&Message> {
        match self {
            Self::Proceeding { request, .. } => Some(request),
            Self::Accepted { .. } | Self::Done => None,
        }
    }

    /// Takes out the INVITE that is still owed a final response; it is answered then.
    pub(super) fn take_proceeding(&mut self) -> Option<(ServerKey, Message)> {
        match std::mem::replace(self, Self::Done) {
            Self::Proceeding { key, request } => Some((key, request)),
            other @ (Self::Accepted { .. } | Self::Done) => {
                *self = other;
                None
            }
        }
    }
}

impl Client {
    /// The transaction, while its responses matter to the call.
    pub(super) fn key(&self) -> Option<ClientKey> {
        match self {
            Self::Calling { key }
            | Self::Proceeding { key }
            | Self::Cancelling { key, .. }
            | Self::Accepted { key, .. } => Some(*key),
            Self::Idle | Self::Done => None,
        }
    }
}

impl Invite {
    pub(super) fn new(from: Side, Request { key, message, .. }: Request) -> Self {
        let offer = if matches!(Body::of(&message), Body::Description(_)) {
            Offer::InInvite
        } else {
            Offer::InAnswer
        };
        let server = Server::Proceeding { key, request: message };
        Self { from, offer, server, client: Client::Idle, timer: None, setup: None }
    }

    pub(super) fn is_initial(&self) -> bool {
        self.setup.is_some()
    }

    /// True if both sides are done with it.
    pub(super) fn is_done(&self) -> bool {
        matches!((&self.server, &self.client), (Server::Done, Client::Done))
    }

    /// True if a request may belong to an early dialog of this INVITE. Its To tag is ours.
    pub(super) fn is_early_request(&self, from: Side, request: &Message) -> bool {
        match (from, &self.server, &self.setup) {
            (Side::A, Server::Proceeding { request: invite, .. }, _) => {
                let tag =
                    |message: &Message| message.from().ok().and_then(|from| from.tag().map(str::to_owned));
                invite.call_id() == request.call_id() && tag(invite) == tag(request)
            }
            (Side::B, _, Some(setup)) => {
                setup.uac.as_ref().is_some_and(|uac| request.call_id() == Ok(uac.call_id()))
            }
            (Side::A | Side::B, _, _) => false,
        }
    }
}

impl Call {
    /// A call for an INVITE outside any dialog.
    ///
    /// # Errors
    /// No dialog can be made with it: Contact is missing or broken.
    pub(crate) fn start(
        ctx: &mut Context<'_>,
        id: CallId,
        request: Request,
        plan: Plan,
    ) -> Result<Self, (Request, Defect)> {
        let shard = ctx.config.shard;
        let tags =
            Sides { a: Tag::mint(shard, &mut ctx.shared.rng), b: Tag::mint(shard, &mut ctx.shared.rng) };
        let uas = match Dialog::uas(&request.message, tags.a.text().as_str()) {
            Ok(dialog) => dialog,
            Err(defect) => return Err((request, defect)),
        };
        let (key, hop) = (request.key, request.hop);
        let uri = |address: Result<NameAddr<'_>, Defect>| address.map_or("", |address| address.uri()).into();
        let (from, to) = (uri(request.message.from()), uri(request.message.to()));
        let mut leg = |realm, hop, tag| Leg {
            realm,
            hop,
            tag,
            dialog: None,
            description: Description::new(&mut ctx.shared.rng),
        };
        let hop_b = Hop { listener: plan.listener, protocol: plan.next_hop.protocol, ..hop };
        let legs = Sides { a: leg(plan.realms.a, hop, tags.a), b: leg(plan.realms.b, hop_b, tags.b) };
        let mut session_id = SessionId::default();
        session_id.learn(Side::A, &request.message, &mut ctx.shared.rng);
        let mut invite = Invite::new(Side::A, request);
        invite.setup = Some(Box::new(Setup {
            next_hop: plan.next_hop,
            listener: plan.listener,
            uas: Some(uas),
            uac: None,
            forks: Vec::new(),
        }));
        let terms = Terms {
            path: plan.path,
            realms: plan.pinholes,
            rule_lifetime: ctx.config.rule_lifetime,
            rules_max: ctx.config.limits.rules,
        };
        for side in [Side::A, Side::B] {
            ctx.shared.tags.insert(tags[side], (id, side));
        }
        ctx.shared.servers.insert(key, id);
        Ok(Self {
            id,
            legs,
            ledger: Ledger::new(terms),
            ledger_timer: None,
            rules: Vec::new(),
            session_id,
            invite: Some(Box::new(invite)),
            hold: super::Hold::default(),
            exchanges: Vec::new(),
            ending: None,
            from,
            to,
            started: ctx.now,
            established: None,
        })
    }

    /// Lets the INVITE that made the call go on.
    pub(crate) fn begin(&mut self, ctx: &mut Context<'_>) {
        let (from, to) = (self.legs.a.realm, self.legs.b.realm);
        ctx.event(Event::Started { call: self.id, from, to });
        if let Some(request) = self.invite.as_ref().and_then(|invite| invite.server.request()) {
            self.received(ctx, Side::A, request);
        }
        // The endpoint has sent it.
        ctx.sent(self.to(Side::A), Sip::new(&Method::Invite, 100));
        self.submit(ctx, Side::A, super::signal::Signal::Try);
    }

    /// The INVITE may leave.
    pub(super) fn send_invite(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = &self.invite else { return };
        let Some(setup) = &invite.setup else { return self.send_reinvite(ctx) };
        let (next_hop, listener) = (setup.next_hop.clone(), setup.listener);
        match (route::hop(&next_hop, listener), &next_hop.host) {
            (Some(hop), _) => self.call_out(ctx, hop),
            (None, crate::config::Host::Name(name)) if ctx.resolve(self.id, &next_hop, name) => {}
            (None, _) => {
                let verdict = Verdict::plain(500, "too many names are being looked up").later();
                self.refuse_try(ctx, verdict);
            }
        }
    }

    /// The name service answered.
    pub(crate) fn on_resolved(&mut self, ctx: &mut Context<'_>, addresses: &[std::net::SocketAddr]) {
        let Some(Invite { client: Client::Idle, setup: Some(setup), .. }) = self.invite.as_deref() else {
            return;
        };
        match addresses.first() {
            Some(remote) => {
                let hop = route::hop_to(*remote, &setup.next_hop, setup.listener);
                self.call_out(ctx, hop);
            }
            //= exception RFC 3263 §4.3: a name without addresses gives 500, not 503, which would take us out of service.
            None => self.refuse_try(ctx, Verdict::plain(500, "the next hop has no address").later()),
        }
    }

    /// The INVITE leaves on leg B.
    fn call_out(&mut self, ctx: &mut Context<'_>, hop: Hop) {
        self.legs.b.hop = hop;
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (Server::Proceeding { key, request }, Some(setup)) = (&invite.server, &mut invite.setup) else {
            return;
        };
        let uri = route::request_uri(ctx.config, request, &setup.next_hop);
        let id = call_id(ctx.config.shard, &mut ctx.shared.rng);
        let mut initial = match first_request(request, &id, self.legs.b.tag, &uri) {
            Ok(initial) => initial,
            Err(defect) => {
                let verdict = Verdict::plain(defect.status(), defect.to_string());
                return self.refuse_try(ctx, verdict);
            }
        };
        let mut builder = initial.request_with_hops(&Method::Invite, headers::max_forwards(request));
        if request.header(Name::MaxBreadth).is_none() {
            //= RFC 7332 §6: written if it did not come.
            builder = builder.header(Name::MaxBreadth, MAX_BREADTH);
        }
        builder = self.legs.b.contact(ctx.config, builder);
        builder = self.session_id.write(builder, Side::B);
        let (builder, sdp) = self.legs.b.carry(ctx.config, builder, Carried::new(request), Sdp::Passes);
        let cause = *key;
        setup.uac = Some(initial);
        let sip = Sip { sdp, ..Sip::new(&Method::Invite, 0) };
        let key = ctx.request(self.to(Side::B), Some(cause), hop, builder, sip);
        self.called(ctx, key);
    }

    /// An INVITE has left.
    pub(super) fn called(&mut self, ctx: &mut Context<'_>, key: ClientKey) {
        let timer = ctx.wake(self.id, ctx.config.timers.timer_c, Wake::TimerC);
        if let Some(invite) = &mut self.invite {
            invite.client = Client::Calling { key };
            invite.timer = Some(timer);
        }
    }

    /// A response to the INVITE under way.
    pub(super) fn on_invite_response(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let Some(from) = self.invite.as_ref().map(|invite| invite.from.other()) else { return };
        self.received(ctx, from, &message);
        self.session_id.learn(from, &message, &mut ctx.shared.rng);
        match message.status() {
            0..=199 => self.on_provisional(ctx, key, message),
            200..=299 => self.on_answer(ctx, key, message),
            300.. => self.on_invite_refused(ctx, &message),
        }
    }

    /// Drops an INVITE that is done, and the tags of early dialogs that came to nothing.
    pub(super) fn settle_invite(&mut self, ctx: &mut Context<'_>) {
        let Some(mut invite) = self.invite.take_if(|invite| invite.is_done()) else { return };
        ctx.stop(&mut invite.timer);
        for fork in invite.setup.iter().flat_map(|setup| &setup.forks) {
            if fork.tag != self.legs.a.tag {
                ctx.shared.tags.remove(&fork.tag);
            }
        }
    }

    /// A final failure of our own to the INVITE under way.
    pub(super) fn fail_invite(&mut self, ctx: &mut Context<'_>, verdict: &Verdict) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let from = invite.from;
        let Some((key, request)) = invite.server.take_proceeding() else { return };
        let tag = self.legs[from].tag.text();
        let builder = Builder::response_to(&request, verdict.code, verdict.phrase, Some(tag.as_str()));
        let builder = verdict.explain(builder, &ctx.config.pseudonym);
        let builder = self.session_id.write(builder, from);
        ctx.shared.servers.remove(&key);
        ctx.respond(self.to(from), key, builder, Sip::new(&Method::Invite, verdict.code));
    }
}

/// What B's dialogs start from: the peers' names as the caller wrote them, Call-ID and tag our own.
fn first_request(invite: &Message, call_id: &str, tag: Tag, uri: &str) -> Result<Initial, Defect> {
    let (from, to) = (invite.from()?, invite.to()?);
    let local = without_tag(&from);
    Initial::new(call_id, (&local, tag.text().as_str()), to.as_bytes(), uri, &[], 1)
}

/// A From or To value without its tag, otherwise as it came.
pub(super) fn without_tag(address: &NameAddr<'_>) -> Vec<u8> {
    let value = address.as_bytes();
    let Some(tag) = address.tag() else { return value.to_vec() };
    let tag_start = tag.as_ptr() as usize - value.as_ptr() as usize;
    let before = value[..tag_start].iter().rposition(|byte| *byte == b';').unwrap_or(tag_start);
    [value[..before].trim_ascii_end(), &value[tag_start + tag.len()..]].concat()
}
