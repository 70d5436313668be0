//! The dialogs of subscriptions that go through us: RFC 6665 §4.4.1, and RFC 3515 §2.4.4 for a REFER outside calls.
//!
//! ```text
//!  subscriber ---- side A ---- Postern ---- side B ---- notifier
//!    Asked --2xx or NOTIFY--> Open --terminated, failed for good, or nobody has renewed it--> gone
//! ```
//!
//! Each side has a dialog of its own: Call-ID, tags, numbers and Contact on one side say nothing of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use machine::Instant;
use machine::onlooker::Onlooker;
use sip::dialog::{Dialog, Initial};
use sip::message::{Defect, Message, Method};
use sip::transport::Hop;

use crate::config::{Config, RealmId};
use crate::leg::found::Found;
use crate::side::Side;
use crate::tag::Tag;
use crate::trunk::config::TrunkId;

/// A subscription, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriptionId(u64);

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    /// Our dialog with the subscriber, its realm, and where it asked from.
    pub(super) subscriber: (Dialog, Found),
    /// Our tag there.
    pub(super) tag: Tag,
    /// What the notifier has been asked with, and where it is looked for.
    pub(super) asked: (Initial, Found),
    /// Our tag there.
    pub(super) asked_tag: Tag,
    /// The trunk that the notifier is, or is reached through.
    pub(super) trunk: Option<TrunkId>,
    /// A REFER has begun it: how long it lives is for the notifier to say (RFC 3515 §2.4.4).
    pub(super) is_refer: bool,
    /// Our dialog with the notifier.
    pub(super) notifier: Option<Dialog>,
    /// A NOTIFY has said which notifier it is.
    is_notified: bool,
    /// When it is forgotten; never while the first request has no answer.
    until: Option<Instant>,
}

/// What a request of a subscription's dialog is not let through for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stray {
    /// It is for another dialog.
    Unknown,
    /// That side does not send such requests.
    Method,
    /// An older one than one that came before.
    Old,
    /// It cannot be read.
    Broken(Defect),
}

impl Subscription {
    pub(super) fn new(
        subscriber: (Dialog, Found, Tag),
        (asked, found, asked_tag): (Initial, Found, Tag),
    ) -> Self {
        let (dialog, at, tag) = subscriber;
        Self {
            subscriber: (dialog, at),
            tag,
            asked: (asked, found),
            asked_tag,
            trunk: None,
            is_refer: false,
            notifier: None,
            is_notified: false,
            until: None,
        }
    }

    /// Takes a request of one of its dialogs that came in a realm.
    pub(super) fn receive(&mut self, from: Side, realm: RealmId, request: &Message) -> Result<(), Stray> {
        let (found, known) = match from {
            Side::A => (&self.subscriber.1, Method::Subscribe),
            Side::B => (&self.asked.1, Method::Notify),
        };
        if found.realm != realm {
            return Err(Stray::Unknown);
        }
        let dialog = match from {
            Side::A => &mut self.subscriber.0,
            Side::B => {
                self.meet_notifier(request)?;
                self.notifier.as_mut().ok_or(Stray::Unknown)?
            }
        };
        if !dialog.is_of_request(request) {
            return Err(Stray::Unknown);
        }
        //= RFC 6665 §4.5.2: dialogs are not shared with other usages.
        if *request.method() != known {
            return Err(Stray::Method);
        }
        dialog.receive(request).map_err(|_| Stray::Old)?;
        //= RFC 6665 §4.4.1: both methods refresh the target.
        dialog.refresh(request).map_err(Stray::Broken)
    }

    /// The first NOTIFY says which notifier it is, whoever has answered the SUBSCRIBE.
    fn meet_notifier(&mut self, request: &Message) -> Result<(), Stray> {
        let (asked, _) = &self.asked;
        let is_notify = *request.method() == Method::Notify;
        if self.is_notified || !is_notify || request.call_id() != Ok(asked.call_id()) {
            return Ok(());
        }
        //= RFC 6665 §4.1.4: of several that a SUBSCRIBE has forked to, one is enough; the others are told 481.
        if !self.notifier.as_ref().is_some_and(|dialog| dialog.is_of_request(request)) {
            self.notifier = Some(Dialog::notified(asked, request).map_err(Stray::Broken)?);
        }
        self.is_notified = true;
        Ok(())
    }

    /// The first request has been answered with a 2xx.
    pub(super) fn accepted(&mut self, answer: &Message) {
        if self.notifier.is_none() {
            // Without a Contact that can be read there is nobody to ask again; a NOTIFY may still bring one.
            self.notifier = Dialog::uac(&self.asked.0, answer).ok();
        }
    }

    /// The number of a request to a side that is sent again with credentials.
    pub(super) fn next_cseq(&mut self, side: Side) -> Option<u32> {
        match (side, &mut self.notifier) {
            (Side::A, _) => Some(self.subscriber.0.next_cseq()),
            (Side::B, Some(notifier)) => Some(notifier.next_cseq()),
            (Side::B, None) => Some(self.asked.0.next_cseq()),
        }
    }

    /// The trunk whose credentials requests to a side may have that leave for a hop.
    pub(super) fn trunk_at(&self, side: Side, hop: Hop) -> Option<TrunkId> {
        let found = self.asked.1.hop;
        let is_there = hop.remote.ip() == found.remote.ip();
        let is_secure = hop.protocol.is_secure() || !found.protocol.is_secure();
        self.trunk.filter(|_| side == Side::B && is_there && is_secure)
    }

    /// Our dialog with a side, and where its requests go.
    pub(super) fn end(&mut self, config: &Config, side: Side) -> Option<(&mut Dialog, Found, Hop)> {
        let (dialog, found) = match side {
            Side::A => (&mut self.subscriber.0, self.subscriber.1),
            Side::B => (self.notifier.as_mut()?, self.asked.1),
        };
        let hop = found.hop_of(config, dialog);
        Some((dialog, found, hop))
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriptions {
    open: BTreeMap<SubscriptionId, Subscription>,
    tags: BTreeMap<Tag, (SubscriptionId, Side)>,
    due: BTreeSet<(Instant, SubscriptionId)>,
    made: u64,
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// How many were asked for from an address.
    pub(super) fn of_source(&self, address: IpAddr) -> usize {
        self.open.values().filter(|it| it.subscriber.1.hop.remote.ip() == address).count()
    }

    pub(super) fn open(&mut self, subscription: Subscription) -> SubscriptionId {
        self.made += 1;
        let id = SubscriptionId(self.made);
        self.tags.insert(subscription.tag, (id, Side::A));
        self.tags.insert(subscription.asked_tag, (id, Side::B));
        self.open.insert(id, subscription);
        id
    }

    pub(super) fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.open.get_mut(&id)
    }

    /// The subscription, and the side, whose tag of ours stands in To.
    pub(crate) fn of(&self, request: &Message) -> Option<(SubscriptionId, Side)> {
        let tag = Tag::parse(request.to().ok()?.tag()?)?;
        self.tags.get(&tag).copied()
    }

    /// It lives until then, if nobody renews it; `shortens`: at most for as long as has been said.
    pub(super) fn keep(&mut self, id: SubscriptionId, now: Instant, time: Duration, shortens: bool) {
        let Some(subscription) = self.open.get_mut(&id) else { return };
        let until = match subscription.until {
            Some(before) if shortens => before.min(now + time),
            Some(_) | None => now + time,
        };
        if let Some(before) = subscription.until.replace(until) {
            self.due.remove(&(before, id));
        }
        self.due.insert((until, id));
    }

    /// True if somebody has said how long it lives.
    pub(super) fn is_timed(&self, id: SubscriptionId) -> bool {
        self.open.get(&id).is_some_and(|subscription| subscription.until.is_some())
    }

    pub(super) fn close(&mut self, id: SubscriptionId) {
        let Some(Subscription { tag, asked_tag, until, .. }) = self.open.remove(&id) else { return };
        self.tags.remove(&tag);
        self.tags.remove(&asked_tag);
        if let Some(until) = until {
            self.due.remove(&(until, id));
        }
    }

    /// Forgets those whose time is over.
    pub(super) fn close_expired(&mut self, now: Instant) {
        while let Some((_, id)) = self.due.first().filter(|(until, _)| *until <= now).copied() {
            self.close(id);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self { open, tags: _, due: _, made: _ } = self;
        onlooker.see(open);
    }
}
