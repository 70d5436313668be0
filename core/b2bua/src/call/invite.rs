//! An INVITE under way: one leg is the UAS, the other the UAC. RFC 3261 §13, §14, §17 seen from the transaction user.
//!
//! ```text
//!  UAS: Proceeding --2xx--> Accepted (2xx repeated) --ACK--> Done      UAC: Idle --pinholes, address--> Calling
//!           |                    '--64*T1--> Done (BYE)                Calling --1xx--> Proceeding
//!           '--failure--> Done                                         Calling, Proceeding --2xx--> Accepted --ACK--> Done
//!                                                                      Calling, Proceeding --CANCEL--> Cancelling --> Done
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use machine::{Text, TimerId};
use sip::dialog::{Dialog, Initial};
use sip::endpoint::{ClientKey, ServerKey};
use sip::message::{Builder, Message, Method};
use sip::transport::{Hop, ListenerId};

use super::early::EarlyDialog;
use super::offer::Agreement;
use super::own_offer::OwnOffer;
use super::precondition::Offering;
use super::redirect::Redirected;
use super::restore::Restore;
use super::{Call, Request};
use crate::config::{Config, NextHop};
use crate::context::Context;
use crate::event::Sip;
use crate::failure::Verdict;
use crate::leg::body::Body;
use crate::leg::description::Description;
use crate::leg::headers;
use crate::named::Target;
use crate::route;
use crate::side::Side;

/// An INVITE under way.
#[derive(Debug, Clone)]
pub(super) struct Invite {
    /// Who sent it.
    pub(super) from: Side,
    pub(super) offer: Offer,
    /// True if its sender can acknowledge provisional responses (RFC 3262).
    pub(super) acknowledges: bool,
    /// True if it insists on that they are reliable, whatever the other side does.
    pub(super) insists: bool,
    /// What has been agreed on, inside a call; before it each early dialog has its own.
    pub(super) agreement: Agreement,
    /// The 2xx that waits for a PRACK.
    pub(super) answer: Option<Box<Message>>,
    pub(super) server: Server,
    pub(super) client: Client,
    /// Timer C; after CANCEL the wait for the final response.
    pub(super) timer: Option<TimerId>,
    /// Only for the INVITE that makes the call.
    pub(super) setup: Option<Box<Setup>>,
    /// What the answerer knew of the offerer before this INVITE, inside a call.
    pub(super) before: Option<Box<[u8]>>,
    /// Only for an INVITE of our own.
    pub(super) restore: Option<Restore>,
    /// Only for an INVITE of our own.
    pub(super) own: Option<Box<OwnOffer>>,
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
#[derive(Debug, Clone)]
pub(super) enum Server {
    /// No final response yet.
    Proceeding { key: ServerKey, request: Message },
    /// 2xx sent and repeated until ACK.
    Accepted {
        cseq: u32,
        hop: Hop,
        bytes: Text<Bytes>,
        interval: Duration,
        repeat: TimerId,
        missing: TimerId,
    },
    /// Refused, or acknowledged.
    Done,
}

/// Our side towards the one who gets it.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) next_hop: NextHop,
    /// Where the call goes if that does not work.
    pub(super) next_hops: VecDeque<NextHop>,
    /// True if the route names several.
    pub(super) has_hops: bool,
    pub(super) listener: ListenerId,
    /// A's dialog as it will be with the first tag; proof that it can be made.
    pub(super) uas: Option<Dialog>,
    /// B's dialogs before they have a tag.
    pub(super) uac: Option<Initial>,
    /// Replaces, if it replaces a dialog of ours.
    pub(super) replaces: Option<Box<str>>,
    /// Whom the INVITE is for, if it was sent to a name of ours.
    pub(super) target: Option<Box<Target>>,
    /// Route as the caller's registrar wants it.
    pub(super) service_route: Vec<Box<[u8]>>,
    /// Where else the user is registered whom it is for.
    pub(super) contacts: VecDeque<Target>,
    /// Whom the callee or its server has named instead.
    pub(super) redirected: Option<Box<Redirected>>,
    /// Where it goes, once that is known; before, and with one that replaces a dialog, the next hop says so.
    pub(super) going: Option<Hop>,
    /// Other places of the name that is being called, in the order in which they are tried.
    pub(super) spare: VecDeque<Hop>,
    /// Early dialogs, in the order in which they were heard of.
    pub(super) early: Vec<EarlyDialog>,
    /// The one that answered with the first 2xx.
    pub(super) winner: Option<u8>,
    /// How many 2xx responses of others have been ended.
    pub(super) strays: u8,
    /// A phone rings, as far as we were told: who has sent nothing but reliable 183s may still wait for something.
    pub(super) rang: bool,
    /// What leg B is offered by way of preconditions.
    pub(super) offering: Offering,
    /// The description of the INVITE on leg B, once another one has gone there.
    pub(super) offered: Option<Box<Description>>,
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

impl Setup {
    /// The Request-URI of the INVITE that leaves.
    pub(super) fn request_uri(&self, config: &Config, request: &Message) -> String {
        match (&self.redirected, &self.target) {
            (Some(redirected), _) => redirected.uri().to_owned(),
            (None, Some(target)) => target.uri.to_string(),
            (None, None) => route::request_uri(config, request, &self.next_hop),
        }
    }
}

impl Client {
    /// True once a 2xx has come and as long as it is not acknowledged.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

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
        let acknowledges = headers::supports_100rel(&message);
        let insists = headers::requires_100rel(&message);
        let server = Server::Proceeding { key, request: message };
        Self { insists, ..Self::with(from, (offer, acknowledges), server) }
    }

    /// An INVITE of which nothing has been sent yet.
    pub(super) fn with(from: Side, (offer, acknowledges): (Offer, bool), server: Server) -> Self {
        Self {
            from,
            offer,
            acknowledges,
            insists: false,
            agreement: Agreement::new(offer),
            answer: None,
            server,
            client: Client::Idle,
            timer: None,
            setup: None,
            before: None,
            restore: None,
            own: None,
        }
    }

    pub(super) fn is_initial(&self) -> bool {
        self.setup.is_some()
    }

    /// The peer whose INVITE it is; `None` for one of our own.
    pub(super) fn asker(&self) -> Option<Side> {
        (self.own.is_none() && self.restore.is_none()).then_some(self.from)
    }

    /// True if both sides are done with it.
    pub(super) fn is_done(&self) -> bool {
        matches!((&self.server, &self.client), (Server::Done, Client::Done))
    }
}

impl Call {
    /// A response to the INVITE under way.
    pub(super) fn on_invite_response(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let Some(from) = self.invite.as_ref().map(|invite| invite.from.other()) else { return };
        self.received(ctx, from, &message);
        self.session_id.learn(from, &message, &mut ctx.shared.rng);
        match message.status() {
            0..=199 => self.on_provisional(ctx, key, message),
            200..=299 => self.on_answer(ctx, key, message),
            300.. => self.on_invite_refused(ctx, message),
        }
    }

    /// Drops an INVITE that is done, and the tags of early dialogs that came to nothing.
    pub(super) fn settle_invite(&mut self, ctx: &mut Context<'_>) {
        let Some(mut invite) = self.invite.take_if(|invite| invite.is_done()) else { return };
        ctx.stop(&mut invite.timer);
        if let Some(setup) = invite.setup {
            self.drop_early(ctx, &setup);
        }
    }

    /// A final failure of our own to the INVITE under way.
    pub(super) fn fail_invite(&mut self, ctx: &mut Context<'_>, verdict: &Verdict) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let from = invite.from;
        let Some((key, request)) = invite.server.take_proceeding() else { return };
        self.stop_provisional(ctx);
        let tag = self.legs[from].tag.text();
        let builder = Builder::response_to(&request, verdict.code, verdict.phrase, Some(tag.as_str()));
        let builder = verdict.explain(builder, &ctx.config.pseudonym);
        let builder = self.session_id.write(builder, from);
        let builder = self.explain_failed(ctx, builder, from, verdict.failed.as_deref());
        ctx.shared.servers.remove(&key);
        ctx.respond(self.to(from), key, builder, Sip::new(&Method::Invite, verdict.code));
    }
}
