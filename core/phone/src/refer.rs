//! REFER (RFC 3515): a phone sends its peer to somebody else, and hears from it how that went.

use sip::endpoint::{ClientKey, ServerKey};
use sip::message::{Builder, Message, Method, Name};

use crate::call::{Call, State};
use crate::phone::{Out, Phone};
use crate::{CallNumber, Event};

/// What a call knows of referring.
#[derive(Debug, Clone, Default)]
pub(crate) struct Referral {
    /// We have referred the peer and have not heard the end.
    listens: bool,
    /// The peer has referred us and has not been told the end.
    tells: bool,
    /// REFER and NOTIFY of ours without final response.
    open: Vec<(ClientKey, Method)>,
}

impl Referral {
    pub(crate) fn awaits(&self, key: ClientKey) -> bool {
        self.open.iter().any(|(open, _)| *open == key)
    }
}

impl Phone {
    /// Asks the other end of an answered call to call `to`, a URI in angle brackets.
    pub(crate) fn refer(&mut self, number: CallNumber, to: &str, out: &mut Out<'_>) {
        let contact = self.contact();
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.state == State::Up) else { return };
        let Some(request) = call.talk().map(|talk| talk.dialog.request(&Method::Refer)) else { return };
        let request = request.header(Name::ReferTo, to).header(Name::Contact, contact);
        let key = self.endpoint.request(out.now, call.next_hop(), request, &mut out.transmit);
        //= RFC 3515 §2.4.4: a NOTIFY may come before the answer to the REFER.
        call.referral.listens = true;
        call.referral.open.push((key, Method::Refer));
    }

    /// Tells who referred us how far the call is; the status of a final response is the last word.
    pub(crate) fn notify(&mut self, number: CallNumber, status: u16, out: &mut Out<'_>) {
        let contact = self.contact();
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.referral.tells) else { return };
        let Some(request) = call.talk().map(|talk| talk.dialog.request(&Method::Notify)) else { return };
        //= RFC 3515 §2.4.5, §2.4.7: the body is a status line; a final one ends the subscription.
        let (state, phrase) = match status {
            100..200 => ("active;expires=60", "Trying"),
            200..300 => ("terminated;reason=noresource", "OK"),
            _ => ("terminated;reason=noresource", "Failed"),
        };
        call.referral.tells = status < 200;
        let request = request
            .header(Name::Event, "refer")
            .header(Name::SubscriptionState, state)
            .header(Name::Contact, contact)
            .body("message/sipfrag;version=2.0", format!("SIP/2.0 {status} {phrase}\r\n"));
        let key = self.endpoint.request(out.now, call.next_hop(), request, &mut out.transmit);
        call.referral.open.push((key, Method::Notify));
    }

    /// True if somebody has referred this phone in a call and waits to hear more.
    #[must_use]
    pub fn is_referred(&self, number: CallNumber) -> bool {
        self.calls.get(&number).is_some_and(|call| call.referral.tells)
    }

    pub(crate) fn on_refer(&mut self, key: ServerKey, message: &Message, out: &mut Out<'_>) {
        let Some(number) = self.take_inside(key, message, out) else { return };
        let mut targets = message.addresses(Name::ReferTo);
        let (Some(Ok(target)), None) = (targets.next(), targets.next()) else {
            //= RFC 3515 §2.4.2: exactly one Refer-To.
            return self.respond(key, message, (400, "Bad Refer-To"), out);
        };
        let (to, headers) = target.uri().split_once('?').unwrap_or_else(|| (target.uri(), ""));
        let replaces = headers.split('&').find_map(|header| header.strip_prefix("Replaces="));
        let (to, replaces) = (to.to_owned(), replaces.map(unescaped));
        let response =
            Builder::response_to(message, 202, "Accepted", None).header(Name::Contact, self.contact());
        self.endpoint.respond(out.now, key, response, &mut out.transmit);
        if let Some(call) = self.calls.get_mut(&number) {
            call.referral.tells = true;
        }
        //= RFC 3515 §2.4.4: the first NOTIFY follows at once.
        self.notify(number, 100, out);
        out.event(Event::Referred { call: number, to, replaces });
    }

    pub(crate) fn on_notify(&mut self, key: ServerKey, message: &Message, out: &mut Out<'_>) {
        let Some(number) = self.take_inside(key, message, out) else { return };
        let listens = self.calls.get_mut(&number).map(|call| &mut call.referral.listens);
        let Some(listens) = listens.filter(|listens| **listens && !self.config.oddities.forgets_referral)
        else {
            //= RFC 6665 §4.1.3: no such subscription.
            return self.respond(key, message, (481, "Subscription Does Not Exist"), out);
        };
        let status = message.body().strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok()).unwrap_or(0);
        *listens = status < 200;
        self.respond(key, message, (200, "OK"), out);
        out.event(Event::Notified { call: number, status });
    }

    /// The answered call that a request is in, if it is one and in order; else it is refused.
    fn take_inside(&mut self, key: ServerKey, message: &Message, out: &mut Out<'_>) -> Option<CallNumber> {
        let found = self.find_dialog(message);
        let call = found.and_then(|(number, at)| Some((number, at, self.calls.get_mut(&number)?)));
        let over = |call: &Call| matches!(call.state, State::Leaving | State::Over);
        let Some((number, at, call)) = call.filter(|(_, _, call)| !over(call)) else {
            self.respond(key, message, (481, "Call/Transaction Does Not Exist"), out);
            return None;
        };
        if call.state != State::Up {
            // It has overtaken the answer.
            self.respond(key, message, (500, "Not Answered Yet"), out);
            return None;
        }
        if call.talks.get_mut(at).is_none_or(|talk| talk.dialog.receive(message).is_err()) {
            self.respond(key, message, (500, "CSeq Out of Order"), out);
            return None;
        }
        Some(number)
    }

    /// The end of a REFER or NOTIFY of ours.
    pub(crate) fn on_referred(&mut self, number: CallNumber, key: ClientKey, status: u16, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(at) = call.referral.open.iter().position(|(open, _)| *open == key) else { return };
        let (_, method) = call.referral.open.remove(at);
        let is_refer = method == Method::Refer;
        match is_refer {
            true => call.referral.listens &= status < 300,
            //= RFC 6665 §4.2.2: who does not know the subscription is told nothing more.
            false => call.referral.tells &= status < 300,
        }
        out.event(match is_refer {
            true => Event::ReferAnswered { call: number, status },
            false => Event::NotifyAnswered { call: number, status },
        });
    }
}

/// A header of a URI in plain text: RFC 3261 §19.1.1.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let octet = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.extend(octet.map(char::from));
        plain.push_str(part.get(2..).unwrap_or_default());
    }
    plain
}
