//! Transfers by REFER: one phone refers the other to a third one, which is called; the observer compares what the
//! referred phone is told with what the phones are, and what becomes of the subscription with `docs/calls.md` §9.

use phone::{CallNumber, Event, Input};
use sip::transport::{Hop, ListenerId};

use crate::agent;
use crate::model::{View, index};
use crate::plan::{End, Link, place};
use crate::queue::{Happening, Life, Seat};
use crate::transfers::{REFERRED, Third, Transfer};
use crate::wire;
use crate::world::World;

/// A REFER that was sent in a call.
#[derive(Debug)]
pub(crate) struct Referral {
    expected: Expected,
    /// The other end had not seen the answer when it left: perhaps it knows no such dialog yet.
    is_early: bool,
    /// How the REFER ended.
    status: Option<u16>,
    /// How many NOTIFYs have no final response yet.
    open: u32,
    /// The last one left when the agent had no such call any more.
    is_late: bool,
    /// To whom it was sent, and who tells how it goes.
    referred: Option<(usize, CallNumber)>,
}

/// What the referred phone must be told.
#[derive(Debug)]
enum Expected {
    /// To call this URI.
    Uri(String),
    /// To call this user at its own side's switch, whatever its name.
    User(String),
    /// To take the place of the other end in the call of this phone.
    Peer(usize),
    /// Nothing: the agent refuses.
    Nothing,
}

impl View {
    /// The agent has this call and does not end it.
    fn is_running(&self, life: Life) -> bool {
        let [one] = self.incarnations.as_slice() else { return false };
        one.life == life && one.ending.is_none() && !one.ended && one.ghost.is_empty()
    }

    /// The agent has no call for this one any more.
    fn is_gone(&self, life: Life) -> bool {
        self.incarnations.iter().all(|one| one.ended || one.life != life || !one.ghost.is_empty())
    }

    fn has_said(&self) -> bool {
        self.said[0] || self.said[1]
    }
}

impl World {
    /// A phone refers the other end to somebody, if the call is still there.
    pub(crate) fn refer(&mut self, seat: usize, number: CallNumber) {
        let call = self.handsets[seat].seat.call;
        let Some(transfer) = self.plan.calls[call].transfer.filter(|_| !self.curfew) else { return };
        if self.handsets[seat].machine.place(number).is_none() || self.books.referrals.contains_key(&call) {
            return;
        }
        let Some((to, expected)) = self.third(seat, &transfer) else { return };
        self.note(Some(call), format_args!("{} refers to {to}", self.name(seat)));
        self.tally.refers += 1;
        let other = self.handsets[seat].seat.end.other();
        let beliefs = &self.model.views[call].beliefs[index(other)];
        let is_early = beliefs.values().all(|one| one.answered.is_none());
        let referral = Referral { expected, is_early, status: None, open: 0, is_late: false, referred: None };
        self.books.referrals.insert(call, referral);
        self.phone_input(seat, Input::Refer { call: number, to: format!("<{to}>") });
    }

    /// The URI of the third, and what the referred phone must be told.
    fn third(&self, seat: usize, transfer: &Transfer) -> Option<(String, Expected)> {
        let (call, outside) = (self.handsets[seat].seat.call, self.handsets[seat].outside);
        let found = |seat: usize| (&self.handsets[seat].user, self.handsets[seat].address);
        match transfer.third {
            Third::Near => {
                let number = self.plan.calls[call].number + REFERRED;
                let made = self.plan.calls.iter().position(|script| script.number == number)?;
                let (user, address) = found(made * 2 + 1);
                let uri = format!("sip:{user}@{address}");
                Some((uri.clone(), Expected::Uri(uri)))
            }
            Third::Number => {
                let (_, far) = self.others(call, transfer.other, outside).next()?;
                let (user, agent) = (found(far).0, place::agent(self.plan.house.v6, outside));
                Some((format!("sip:{user}@{agent}"), Expected::User(user.clone())))
            }
            Third::Address => {
                let (_, far) = self.others(call, transfer.other, outside).next()?;
                let (user, address) = found(far);
                let uri = format!("sip:{user}@{address}");
                let expected = if outside { Expected::Nothing } else { Expected::Uri(uri.clone()) };
                Some((uri, expected))
            }
            Third::Attended => {
                let place = |(near, far): (usize, usize)| {
                    let Seat { call, end, .. } = self.handsets[near].seat;
                    let beliefs = &self.model.views[call].beliefs[index(end)];
                    let living =
                        beliefs.iter().filter(|(_, one)| one.answered.is_some() && one.ends.is_empty());
                    let ((_, number), _) = living.max_by_key(|(key, _)| **key)?;
                    Some((self.handsets[near].machine.place(*number)?, far))
                };
                let ((uri, replaces), far) = self.others(call, transfer.other, outside).find_map(place)?;
                let escaped = replaces.replace('%', "%25").replace('@', "%40");
                let escaped = escaped.replace(';', "%3B").replace('=', "%3D");
                Some((format!("{uri}?Replaces={escaped}&Require=replaces"), Expected::Peer(far)))
            }
        }
    }

    /// The phones of other calls between one phone each: on the side wanted, and on the other one.
    fn others(&self, not: usize, from: usize, outside: bool) -> impl Iterator<Item = (usize, usize)> {
        let count = self.plan.calls.len();
        (0..count).map(move |step| (from + step) % count).filter_map(move |call| {
            let script = &self.plan.calls[call];
            let is_plain =
                script.branches.is_empty() && script.takeover.is_none() && script.transfer.is_none();
            let near = End::BOTH.into_iter().find(|end| script.is_outside(*end) == outside)?;
            let seats = (call * 2 + index(near), call * 2 + index(near.other()));
            (call != not && is_plain && !script.is_referred()).then_some(seats)
        })
    }

    /// A phone has been told to call somebody.
    pub(crate) fn referred(&mut self, seat: usize, number: CallNumber, to: &str, replaces: Option<&str>) {
        let call = self.handsets[seat].seat.call;
        let Some(referral) = self.books.referrals.get(&call) else {
            return self.violation(Some(call), format!("a phone is referred to {to} by nobody"));
        };
        self.tally.referred += 1;
        let (life, v6, outside) = (self.agent.life, self.plan.house.v6, self.handsets[seat].outside);
        let as_expected = match &referral.expected {
            Expected::Nothing => false,
            Expected::Uri(uri) => to == uri && replaces.is_none(),
            Expected::User(user) => {
                let side = if outside { "outside.example" } else { "inside.example" };
                let switch = place::switch(v6, outside);
                [side.to_owned(), switch.ip().to_string(), switch.to_string(), format!("{side}:5060")]
                    .iter()
                    .any(|host| *to == format!("sip:{user}@{host}"))
            }
            // It is so as long as that call lives at the agent and at the peer.
            Expected::Peer(peer) => {
                let handset = &self.handsets[*peer];
                let is_named = replaces.is_some_and(|replaces| handset.machine.named(replaces).is_some());
                let is_there = self.model.views[handset.seat.call].is_running(life)
                    && self.answered_number(*peer).is_some();
                let Seat { call, end, branch } = handset.seat;
                let named = self.plan.calls[call].phone(end, branch).0.named.contact;
                let contact = format!("sip:{}@{}", handset.user, named.unwrap_or(handset.address));
                !is_there || is_named && to == contact
            }
        };
        let target = match referral.expected {
            Expected::Peer(peer) => Some(peer),
            Expected::Uri(_) | Expected::User(_) | Expected::Nothing => self.found(to, outside),
        };
        if !as_expected {
            self.violation(
                Some(call),
                format!("a phone is referred to {to} {replaces:?}, which is not right"),
            );
        }
        if replaces.is_some() {
            self.books.reader.sees("Replaces in Refer-To");
        }
        if let Some(referral) = self.books.referrals.get_mut(&call) {
            referral.referred = Some((seat, number));
            // The first NOTIFY has left already.
            referral.open += 1;
        }
        let made = self.plan.calls[call].number + REFERRED;
        match (self.plan.calls.iter().position(|script| script.number == made), target) {
            _ if self.curfew => self.tell(call, 503),
            (Some(made), _) => self.dial_to(made, to.to_owned()),
            (None, Some(target)) => self.call_directly(seat, target, to, replaces),
            (None, None) => self.tell(call, 404),
        }
    }

    /// The number of the answered call of a phone that has one.
    fn answered_number(&self, seat: usize) -> Option<CallNumber> {
        let Seat { call, end, branch } = self.handsets[seat].seat;
        let beliefs = self.model.views[call].beliefs[index(end)].keys();
        let mut numbers = beliefs.filter(|(of, _)| *of == branch).map(|(_, number)| *number);
        numbers.find(|number| self.handsets[seat].machine.place(*number).is_some())
    }

    /// Who is reached at a URI on one side without us.
    fn found(&self, to: &str, outside: bool) -> Option<usize> {
        let (user, _) = to.strip_prefix("sip:")?.split_once('@')?;
        let all = self.directory.of_user(user).iter().copied();
        all.into_iter().find(|seat| self.handsets[*seat].outside == outside)
    }

    /// A phone calls another one on its own side, past us.
    fn call_directly(&mut self, seat: usize, target: usize, to: &str, replaces: Option<&str>) {
        let call = self.handsets[seat].seat.call;
        self.note(Some(call), format_args!("{} calls {to} past us", self.name(seat)));
        let remote = self.handsets[target].address;
        let next = Hop { listener: ListenerId(0), ..agent::hop(true, remote) };
        let to = to.to_owned();
        self.books.past_us.dials = Some((seat, target));
        let input = match replaces {
            Some(replaces) => Input::TakeOver { to, next, replaces: replaces.to_owned() },
            None => Input::Call { to, next },
        };
        self.phone_input(seat, input);
        self.books.past_us.dials = None;
    }

    /// Something happens in the call that comes of a transfer: who referred is told.
    pub(crate) fn tell_referrer(&mut self, made: usize, event: &Event) {
        let number = self.plan.calls[made].number;
        let Some(call) = self.plan.calls.iter().position(|script| script.number + REFERRED == number) else {
            return;
        };
        match event {
            Event::Answered { .. } => self.tell(call, 200),
            Event::Ringing { .. } => self.tell(call, 180),
            Event::Ended { status, .. } => self.tell(call, *status),
            _ => {}
        }
    }

    /// The referred phone of a call says how far it is.
    pub(crate) fn tell(&mut self, call: usize, status: u16) {
        let is_late = self.model.views[call].is_gone(self.agent.life);
        let Some(referral) = self.books.referrals.get_mut(&call) else { return };
        let Some((seat, number)) = referral.referred else { return };
        if !self.handsets[seat].machine.is_referred(number) {
            return;
        }
        referral.open += 1;
        referral.is_late = is_late;
        self.phone_input(seat, Input::Notify { call: number, status });
    }

    /// What phones say about a transfer.
    pub(crate) fn referral_says(&mut self, seat: usize, event: &Event) {
        let call = self.handsets[seat].seat.call;
        match event {
            Event::Referred { call: number, to, replaces } => {
                self.referred(seat, *number, to, replaces.as_deref());
            }
            Event::ReferAnswered { status, .. } => self.refer_ends(call, *status),
            Event::Notified { call: number, status } => {
                self.tally.notified += 1;
                let hangs_up = self.plan.calls[call].transfer.is_some_and(|transfer| transfer.hangs_up);
                if hangs_up && *status >= 200 {
                    self.queue.put(self.now, Happening::HangUp { seat, number: *number });
                }
            }
            Event::NotifyAnswered { status, .. } => self.notify_ends(call, *status),
            _ => {}
        }
    }

    fn refer_ends(&mut self, call: usize, status: u16) {
        let Some(referral) = self.books.referrals.get_mut(&call) else { return };
        referral.status = Some(status);
        let refused = matches!(referral.expected, Expected::Nothing);
        let wanted = match status {
            481 if referral.is_early => 481,
            _ if refused => 403,
            _ => 202,
        };
        self.tally.refused_refers += u64::from(status == 403);
        self.check_inside("REFER", call, status, wanted);
    }

    fn notify_ends(&mut self, call: usize, status: u16) {
        let Some(referral) = self.books.referrals.get_mut(&call) else { return };
        // They end in any order.
        let is_late = referral.open == 1 && referral.is_late;
        referral.open = referral.open.saturating_sub(1);
        let is_known = referral.status.is_none_or(|status| status < 300);
        let transfer = self.plan.calls[call].transfer;
        let by = transfer.map_or(End::Caller, |transfer| transfer.by);
        let forgets = self.plan.calls[call].party(by).oddities.forgets_referral;
        self.tally.late_notifies += u64::from(status == 481 && is_late);
        if status == 200 && is_late {
            self.violation(Some(call), "a subscription outlives its call".to_owned());
        }
        // What was answered before the REFER failed is answered alike when it comes again.
        // A REFER that an odd phone repeats when its transaction is over is a new one, whose subscription it does not know.
        let is_repeated = self.plan.calls[call].party(by).oddities.repeats_old;
        let may_be_unknown = !is_known || is_repeated;
        let wanted = if forgets || may_be_unknown && status != 200 { 481 } else { 200 };
        self.check_inside("NOTIFY", call, status, wanted);
    }

    /// A request inside a call that is not disturbed gets what it must; in one that ends it may get less.
    fn check_inside(&mut self, what: &str, call: usize, status: u16, wanted: u16) {
        let view = &self.model.views[call];
        let script = &self.plan.calls[call];
        let reboots = script.parties().any(|party| party.oddities.reboots_after.is_some());
        let calm = view.is_running(self.agent.life) && !view.has_said() && !reboots;
        // Unanswered, or overtaken by a later request.
        let is_bad = |link: &Link| link.loss > 0 || !link.jitter.is_zero();
        let is_lost = matches!(status, 408 | 500) && script.parties().any(|party| is_bad(&party.link));
        // What is under way when the call ends gets 487.
        let may_be = status == wanted || is_lost || !calm && matches!(status, 408 | 481 | 487 | 503);
        if !may_be {
            self.violation(Some(call), format!("a {what} inside a call gets {status} instead of {wanted}"));
        }
    }

    /// True if a message is one of a call past us; then it is carried to its other end.
    pub(crate) fn goes_past_us(&mut self, seat: usize, bytes: &bytes::Bytes) -> bool {
        let Some(call_id) = wire::field(bytes, "Call-ID") else { return false };
        // Odd phones repeat old INVITEs meanwhile, those inside calls too.
        let is_inside = wire::field(bytes, "To").is_some_and(|to| to.contains(";tag="));
        let is_new = bytes.starts_with(b"INVITE ")
            && !is_inside
            && self.books.call_ids.values().all(|old| old != call_id);
        let past_us = &mut self.books.past_us;
        if let Some(ends) = past_us.dials.filter(|(dials, _)| *dials == seat && is_new) {
            past_us.ends.entry(call_id.to_owned()).or_insert(ends);
        }
        let Some((first, second)) = past_us.ends.get(call_id).copied() else { return false };
        let (other, from) = (if seat == first { second } else { first }, self.handsets[seat].address);
        self.over(seat, || Happening::ToPhone { seat: other, from, bytes: bytes.clone() });
        true
    }

    /// True if something happened in a call past us, which concerns nobody but the referrer.
    pub(crate) fn is_past_us(&mut self, seat: usize, event: &Event) -> bool {
        let number = event.call();
        if let Event::Calling { call_id, .. } | Event::Called { call_id, .. } = event
            && self.books.past_us.ends.contains_key(call_id)
        {
            self.books.past_us.calls.insert((seat, number), true);
        }
        let call = self.handsets[seat].seat.call;
        let is_dialler = self.books.past_us.ends.values().any(|(first, _)| *first == seat);
        let Some(is_open) = self.books.past_us.calls.get_mut(&(seat, number)) else { return false };
        match event {
            Event::Answered { .. } if is_dialler => self.tell(call, 200),
            Event::Ended { status, .. } => {
                *is_open = false;
                if is_dialler {
                    self.tell(call, *status);
                }
            }
            _ => {}
        }
        true
    }

    /// Whoever talks past us hangs up as well.
    pub(crate) fn end_past_us(&mut self) {
        let open = self.books.past_us.calls.iter().filter(|(_, is_open)| **is_open);
        let open: Vec<_> = open.map(|(call, _)| *call).collect();
        for (seat, call) in open {
            self.phone_input(seat, Input::HangUp(call));
            self.phone_input(seat, Input::Cancel(call));
            self.phone_input(seat, Input::Reject { call, status: 480 });
        }
    }
}
