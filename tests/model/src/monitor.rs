//! Who watches: remembers just enough of what passed to say that a rule above all rules (`docs/calls.md` §1) was
//! broken. The prose is in `docs/pinholes.md`.

use b2bua::Event;
use b2bua::side::{Side, Sides};
use bytes::Bytes;
use sip::message::{Message, Method, Name};

use crate::middlebox::Middlebox;

/// What is remembered of a call.
#[derive(Debug, Clone, Default)]
pub struct Monitor {
    legs: Sides<Leg>,
    /// A peer has said BYE or CANCEL.
    is_ended_by_peer: bool,
    /// The callee has refused.
    is_refused_by_peer: bool,
    /// The middleboxes are a pair.
    pair: bool,
}

#[derive(Debug, Clone, Default)]
struct Leg {
    /// INVITEs of the peer: number and final response.
    invites: Vec<(u32, Option<u16>)>,
    /// Its dialogs with us, by its tag: of an INVITE that is forked there are several.
    dialogs: Vec<Dialog>,
    /// Our INVITE: it is under way and something was heard; CANCEL was sent.
    is_ringing: bool,
    is_answered: bool,
    is_cancelled: bool,
    /// The next message with a description leaves for the first time.
    is_news: bool,
}

#[derive(Debug, Clone, Default)]
struct Dialog {
    tag: String,
    /// A 2xx has passed, from us or to us.
    is_confirmed: bool,
    /// The number of the 2xx that we owe an ACK.
    owes_ack: Option<u32>,
    /// The number of our BYE.
    bye: Option<u32>,
    /// The peer has ended it: BYE, 481.
    is_ended_by_peer: bool,
}

impl Leg {
    /// The dialog that a message belongs to; the peer's tag is in From of what it asks and we answer, else in To.
    fn dialog(&mut self, message: &Message, is_from_peer: bool) -> &mut Dialog {
        let address = if message.is_request() == is_from_peer { message.from() } else { message.to() };
        let tag = address.ok().and_then(|address| address.tag()).unwrap_or_default();
        let known = self.dialogs.iter().position(|dialog| dialog.tag == tag);
        let position = known.unwrap_or(self.dialogs.len());
        if known.is_none() {
            self.dialogs.push(Dialog { tag: tag.to_owned(), ..Dialog::default() });
        }
        &mut self.dialogs[position]
    }
}

impl Monitor {
    /// One that has seen nothing yet; `pair` if packets cross one of the two middleboxes.
    #[must_use]
    pub fn of_pair(pair: bool) -> Self {
        Self { pair, ..Self::default() }
    }

    /// A phone's message arrives at the B2BUA.
    pub fn arrives(&mut self, from: Side, bytes: &Bytes) {
        let Ok(message) = Message::parse(bytes.clone()) else { return };
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        let leg = &mut self.legs[from];
        match (message.is_request(), message.method()) {
            (true, Method::Invite) if leg.invites.iter().all(|(known, _)| *known != number) => {
                leg.invites.push((number, None));
            }
            (true, Method::Bye) => {
                leg.dialog(&message, true).is_ended_by_peer = true;
                self.is_ended_by_peer = true;
            }
            (true, Method::Cancel) => self.is_ended_by_peer = true,
            (false, Method::Invite) => {
                let status = message.status();
                leg.is_ringing = true;
                leg.is_answered |= status >= 200;
                if (200..300).contains(&status) {
                    let dialog = leg.dialog(&message, true);
                    dialog.is_confirmed = true;
                    dialog.owes_ack = Some(number);
                }
                if status >= 300 {
                    self.is_refused_by_peer = true;
                }
                if status == 481 {
                    let dialog = leg.dialog(&message, true);
                    dialog.is_ended_by_peer |= dialog.is_confirmed;
                }
            }
            (false, _) if message.status() == 481 => leg.dialog(&message, true).is_ended_by_peer = true,
            (false, _) => {}
            (true, _) => {}
        }
    }

    /// The B2BUA says what it has done.
    pub fn notes(&mut self, event: &Event) {
        if let Event::Sent { side, message, .. } = event
            && message.sdp
        {
            self.legs[*side].is_news = true;
        }
    }

    /// A message leaves the B2BUA.
    ///
    /// # Errors
    /// It must not.
    pub fn leaves(&mut self, to: Side, bytes: &Bytes, middleboxes: &[Middlebox]) -> Result<(), String> {
        let message = Message::parse(bytes.clone()).map_err(|error| format!("unreadable: {error:?}"))?;
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        if !message.body().is_empty() && std::mem::take(&mut self.legs[to].is_news) {
            check_places(&message, middleboxes, self.pair)?;
        }
        match (message.is_request(), message.method()) {
            (true, method @ (Method::Bye | Method::Cancel)) => {
                self.check_why(to, method, &message, number)?
            }
            (true, Method::Ack) => {
                self.legs[to].dialog(&message, false).owes_ack.take_if(|owed| *owed == number);
            }
            // Called anew, without what it did not take.
            (true, Method::Invite) => {
                let leg = &mut self.legs[to];
                (leg.is_ringing, leg.is_answered, leg.is_cancelled) = (false, false, false);
            }
            (false, Method::Invite) if message.status() >= 200 => self.check_final(to, &message, number)?,
            _ => {}
        }
        Ok(())
    }

    /// §1.4: whoever is cut off is told why, and §1.3: once.
    fn check_why(&mut self, to: Side, method: &Method, message: &Message, number: u32) -> Result<(), String> {
        let leg = &mut self.legs[to];
        if *method == Method::Cancel {
            leg.is_cancelled = true;
        } else if leg.dialog(message, false).bye.replace(number).is_some_and(|before| before != number) {
            return Err(format!("{to} gets a second BYE"));
        }
        if !self.is_ended_by_peer && message.header(Name::Reason).is_none() {
            return Err(format!("{to} gets {} and is not told why", method.text()));
        }
        Ok(())
    }

    /// §1.3: exactly one final response, and §1.4.
    fn check_final(&mut self, to: Side, message: &Message, number: u32) -> Result<(), String> {
        let (status, leg) = (message.status(), &mut self.legs[to]);
        if status < 300 {
            leg.dialog(message, false).is_confirmed = true;
        }
        let Some((_, last)) = leg.invites.iter_mut().find(|(known, _)| *known == number) else {
            return Err(format!("{to} gets {status} to an INVITE that it never sent"));
        };
        if last.is_some_and(|before| before != status) {
            return Err(format!("{to} gets {status} after {last:?} to one INVITE"));
        }
        *last = Some(status);
        let is_ours = !self.is_ended_by_peer && !self.is_refused_by_peer;
        // 491 and 500 with Retry-After say all there is to say.
        let says_it = message.header(Name::Warning).is_some() || message.header(Name::RetryAfter).is_some();
        if status >= 300 && is_ours && !says_it && !matches!(status, 408 | 481 | 491) {
            return Err(format!("{to} gets {status} and is not told why"));
        }
        Ok(())
    }

    /// What must be true when nothing can happen any more.
    ///
    /// # Errors
    /// What is not.
    pub fn check_rest(&self) -> Result<(), String> {
        for side in [Side::A, Side::B] {
            let leg = &self.legs[side];
            if let Some((number, _)) = leg.invites.iter().find(|(_, last)| last.is_none()) {
                return Err(format!("INVITE {number} of {side} never got a final response"));
            }
            for dialog in &leg.dialogs {
                if dialog.is_confirmed && dialog.bye.is_none() && !dialog.is_ended_by_peer {
                    return Err(format!("{side} was in a call that is over, and never got BYE"));
                }
                if dialog.owes_ack.is_some() {
                    return Err(format!("a 2xx of {side} was never acknowledged"));
                }
            }
            if leg.is_ringing && !leg.is_answered && !leg.is_cancelled {
                return Err(format!("{side} still rings"));
            }
        }
        Ok(())
    }
}

/// §1.1: every place that a description names can be reached through every middlebox, of a pair through one; or it holds no
/// place at all.
fn check_places(message: &Message, middleboxes: &[Middlebox], pair: bool) -> Result<(), String> {
    let text = String::from_utf8_lossy(message.body());
    let address = text.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).unwrap_or_default();
    let Ok(address) = address.trim().parse::<std::net::IpAddr>() else { return Ok(()) };
    for line in text.lines().filter_map(|line| line.strip_prefix("m=")) {
        let port: u16 = line.split(' ').nth(1).and_then(|port| port.parse().ok()).unwrap_or_default();
        if port == 0 {
            continue;
        }
        let opens = |rule: &crate::middlebox::Rule| {
            rule.is_known
                && rule.to.is_some_and(|to| {
                    to.network.contains(&address)
                        && to.port <= port
                        && port < to.port.saturating_add(to.range)
                })
        };
        let lacks = |middlebox: &Middlebox| !middlebox.rules.iter().any(opens);
        let lacking = middleboxes.iter().position(lacks);
        if let Some(number) = lacking.filter(|_| !pair || middleboxes.iter().all(lacks)) {
            return Err(format!("{address}:{port} travels before middlebox {} has confirmed it", number + 1));
        }
    }
    Ok(())
}
