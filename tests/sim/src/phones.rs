//! What phones do and say.

use b2bua::config::OnHold;
use machine::Outbox;
use phone::{CallNumber, Event, Output};
use sdp::Direction;

use crate::far::Far;
use crate::model::{Farewell, index};
use crate::plan::{End, Offer, place};
use crate::queue::{Happening, Seat, Who};
use crate::wire;
use crate::world::World;

impl World {
    /// Carries out what a phone asks for.
    pub(crate) fn grant_phone(&mut self, seat: usize, out: Outbox<Output>) {
        for output in out {
            match output {
                Output::Transmit(transmit) => self.phone_sends(seat, transmit.hop.remote, transmit.bytes),
                Output::Event(event) => self.phone_says(seat, event),
            }
        }
        self.arm(Who::Phone(seat));
    }

    fn phone_sends(&mut self, seat: usize, to: std::net::SocketAddr, bytes: bytes::Bytes) {
        if self.goes_past_us(seat, &bytes) {
            return;
        }
        let seat_of = self.handsets[seat].seat;
        if bytes.starts_with(b"BYE ") || bytes.starts_with(b"CANCEL ") {
            self.model.views[seat_of.call].said[index(seat_of.end)] = true;
        }
        self.note(Some(seat_of.call), format_args!("{} sends {}", self.name(seat), wire::Headline(&bytes)));
        self.log.mix(&bytes);
        self.model.names(seat_of, wire::places(&bytes));
        self.note_ice(&bytes);
        if self.switch_keeps(seat, &bytes) {
            return;
        }
        let v6 = self.plan.house.v6;
        match [true, false].into_iter().find(|outside| place::agent(v6, *outside) == to) {
            Some(outside) => self.over(seat, || Happening::ToAgent { seat, outside, bytes: bytes.clone() }),
            None => self.violation(Some(seat_of.call), format!("a phone was told to send to {to}")),
        }
    }

    fn phone_says(&mut self, seat: usize, event: Event) {
        let who = self.handsets[seat].seat;
        let (call, end, at) = (who.call, who.end, index(who.end));
        if self.is_past_us(seat, &event) {
            return;
        }
        if self.plan.calls[call].is_referred() && end == End::Caller {
            self.tell_referrer(call, &event);
        }
        match event {
            Event::Calling { call: number, call_id } => {
                self.books.call_ids.insert(call, call_id);
                self.model.belief(who, number);
            }
            Event::Called { call: number, .. } => {
                self.model.belief(who, number);
            }
            Event::Moved { call: number, media } => {
                let view = &mut self.model.views[call];
                *view.wanted(who) = media;
                // Behind a reliable 18x the answer has been given (RFC 3262 §5): what the 200 says then moves nobody.
                let can = &self.plan.calls[call].phone(end, who.branch).0.extensions;
                view.unsure |= can.reliable != phone::Reliable::Unknown || can.precondition.is_some();
                self.model.belief(who, number).local = media;
            }
            Event::Refreshed { .. } => self.tally.refreshed += 1,
            Event::Alerting { .. } => self.rings(seat),
            Event::Referred { .. }
            | Event::ReferAnswered { .. }
            | Event::Notified { .. }
            | Event::NotifyAnswered { .. } => self.referral_says(seat, &event),
            Event::Ringing { .. } | Event::Offered { .. } | Event::Redirected { .. } => {}
            Event::Answered { call: number, remote } => self.answered(seat, number, remote),
            Event::Changed { call: number, remote } => self.changed(who, number, remote),
            Event::ChangeRefused { call: number, .. } => {
                self.model.views[call].asking = None;
                // The phone goes back to where it was.
                let local = self.model.belief(who, number).local;
                let view = &mut self.model.views[call];
                *view.wanted(who) = local;
                view.offering[at] = false;
                view.unsure |= std::mem::take(&mut view.answering);
            }
            Event::Ended { call: number, status, reason, warning } => {
                self.declines(seat, status);
                let name = self.name(seat);
                self.note(Some(call), format_args!("{name} ended {status} {reason:?} {warning:?}"));
                self.model.belief(who, number).ends.push(Farewell { status, reason, warning });
            }
        }
    }

    /// The session of a call was changed, as one phone sees it.
    fn changed(&mut self, who: Seat, number: CallNumber, remote: Option<phone::Remote>) {
        let (call, end, at) = (who.call, who.end, index(who.end));
        let wanted = *self.model.views[call].wanted(who);
        let is_heard = remote.is_some();
        if let Some(remote) = remote {
            let shape = self.plan.calls[call].phone(end, who.branch).0.extensions.shape;
            let belief = self.model.belief(who, number);
            (belief.far, belief.local) = (Some(Far::new(&remote, &shape)), wanted);
            if std::mem::take(&mut belief.waits) {
                self.model.views[call].answering = false;
                return;
            }
        }
        let view = &mut self.model.views[call];
        if view.asking == Some(end) {
            // Its answer is on its way in an ACK.
            view.offering[at] = false;
        } else if view.asking.is_some() && !is_heard {
            // Its offer is on its way in a 2xx.
        } else if view.asking.take().is_some() || std::mem::take(&mut view.offering[at]) {
            view.answering = false;
        } else {
            view.unsure |= !view.offering[1 - at];
            view.answering = true;
        }
    }

    fn answered(&mut self, seat: usize, number: CallNumber, remote: Option<phone::Remote>) {
        let who = self.handsets[seat].seat;
        let (call, end, at) = (who.call, who.end, index(who.end));
        let (now, shape) = (self.now, self.plan.calls[call].phone(end, who.branch).0.extensions.shape);
        let belief = self.model.belief(who, number);
        belief.answered = Some(now);
        belief.far = remote.map(|remote| Far::new(&remote, &shape));
        self.tally.answered += u64::from(end == End::Caller && who.branch == 0);
        if end == End::Callee {
            // Who takes up a call that replaces another one does not ring.
            self.books.rings.entry(seat).or_default().since.get_or_insert(self.now);
        }
        self.tally.taken_over += u64::from(end == End::Caller && who.branch == 1);
        let takeover = self.plan.calls[call].takeover.as_ref().filter(|_| at == 0 && who.branch == 0);
        if let Some((_, after)) = takeover {
            self.queue.put(self.now + *after, Happening::TakeOver { seat, number });
        }
        self.schedule(seat, number);
    }

    /// What an end does once it has seen the answer.
    fn schedule(&mut self, seat: usize, number: CallNumber) {
        let (call, end) = (self.handsets[seat].seat.call, self.handsets[seat].seat.end);
        let script = &self.plan.calls[call];
        for (by, after) in &script.hang_ups {
            if *by == end {
                self.queue.put(self.now + *after, Happening::HangUp { seat, number });
            }
        }
        if let Some(transfer) = script.transfer.filter(|transfer| transfer.by == end) {
            self.queue.put(self.now + transfer.after, Happening::Refer { seat, number });
        }
        for (by, after, offer) in &script.offers {
            if *by == end {
                self.queue.put(self.now + *after, Happening::Offer { seat, number, offer: *offer });
            }
        }
    }

    /// A phone re-offers, if it can.
    pub(crate) fn offer(&mut self, seat: usize, number: CallNumber, offer: Offer) {
        let who = self.handsets[seat].seat;
        let (call, end) = (who.call, who.end);
        let media = offer.media.unwrap_or_else(|| *self.model.views[call].wanted(who));
        let mut out = Outbox::new();
        let Offer { by, direction, video, fax, .. } = offer;
        let input = match by {
            Some(by) => {
                let offer = phone::Offer { by, media, direction, video, fax };
                phone::Input::Offer { call: number, offer }
            }
            None => phone::Input::Ask(number),
        };
        let media = if by.is_some() { media } else { *self.model.views[call].wanted(who) };
        machine::Machine::handle(&mut self.handsets[seat].machine, self.now, input, &mut out);
        if !out.is_empty() {
            self.tally.reoffers += 1;
            let view = &mut self.model.views[call];
            *view.wanted(who) = media;
            view.offering[index(end)] = true;
            if by.is_none() {
                (view.asking, view.answering) = (Some(end), true);
            }
            // Which way is closed depends on what both have said last: not worth a second ledger here.
            let closes = self.plan.house.policy.hold == OnHold::Close;
            view.unsure |= closes && offer.direction != Direction::SendRecv;
        }
        self.grant_phone(seat, out);
    }

    /// Everybody hangs up, again and again until nobody is left.
    pub(crate) fn curfew(&mut self, round: u32) {
        self.curfew = true;
        if round == 0 {
            self.note(None, format_args!("curfew"));
        }
        self.end_past_us();
        for seat in 0..self.handsets.len() {
            let Seat { call, end, branch } = self.handsets[seat].seat;
            let beliefs = &self.model.views[call].beliefs[index(end)];
            let open = beliefs.iter().filter(|((of, _), belief)| *of == branch && belief.ends.is_empty());
            let open: Vec<_> =
                open.map(|((_, number), belief)| (*number, belief.answered.is_some())).collect();
            for (number, answered) in open {
                let input = match (answered, end) {
                    (true, _) => phone::Input::HangUp(number),
                    (false, End::Caller) => phone::Input::Cancel(number),
                    (false, End::Callee) => phone::Input::Reject { call: number, status: 480 },
                };
                self.phone_input(seat, input);
            }
        }
        if round < 6 {
            self.queue
                .put(self.now + std::time::Duration::from_secs(20), Happening::Curfew { round: round + 1 });
        }
    }
}
