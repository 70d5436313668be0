//! A phone of the model: every message that it may send is a choice of the explorer; what RFC 3261 leaves no choice
//! about, it does when it reads a message or when its time has come.
//!
//! Messages to a phone wait unread until the explorer lets it read; what it says arrives at once. So the B2BUA sees
//! every order that delays in both directions can make: a phone that has not read yet does not know.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use b2bua::side::Side;
use bytes::Bytes;
use machine::Instant;
use sip::message::{Message, Method, Name};

use crate::message::{Dialog, Pen, Sdp};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// What a phone may do of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Calls.
    Invite,
    /// 100.
    Try,
    /// 180.
    Ring,
    /// 183 that shows where it will receive.
    Preview,
    /// Its answer in a reliable 183.
    Assure,
    /// 200 to INVITE.
    Answer,
    /// The same from another port than before.
    AnswerElsewhere,
    /// A final failure to INVITE.
    Decline,
    /// Gives its own INVITE up.
    Cancel,
    /// Hangs up.
    Bye,
    /// INVITE inside the call, from another port.
    Reinvite,
    /// UPDATE, from another port.
    Update,
    /// Is never heard of again.
    Die,
}

/// What a phone says: as a flow writes it, and the bytes.
#[derive(Debug, Clone)]
pub struct Said {
    /// `INVITE c=…`, `200 BYE`, `ACK again`; empty for what a flow's phone does by itself.
    pub words: String,
    /// What arrives.
    pub bytes: Bytes,
}

/// A phone.
#[derive(Debug, Clone)]
pub struct Phone {
    pen: Pen,
    stage: Stage,
    dialog: Option<Dialog>,
    /// Its INVITE under way.
    calling: Option<Calling>,
    /// The INVITE it got.
    called: Option<Called>,
    /// Its other requests without an answer.
    asked: Vec<Asked>,
    /// The ACK it sent last.
    ack: Option<Bytes>,
    /// It understands reliable responses (RFC 3262).
    is_modern: bool,
    /// How often its description has changed.
    moved: u16,
    /// The number of the reliable response that it acknowledged last.
    rseq: Option<u32>,
    unread: VecDeque<Bytes>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Before the answer.
    Early,
    /// In a call.
    Talking,
    /// The call is over.
    Over,
    /// It answers nothing any more.
    Dead,
}

#[derive(Debug, Clone)]
struct Calling {
    number: u32,
    is_cancelled: bool,
    offer: Option<Sdp>,
    bytes: Bytes,
    /// Until something is heard.
    again: Option<Again>,
}

#[derive(Debug, Clone)]
struct Called {
    request: Bytes,
    number: u32,
    /// The last response.
    last: Option<(u16, Bytes)>,
    /// Until ACK.
    again: Option<Again>,
    /// It may answer before its final response: who called understands reliable responses.
    may_assure: bool,
    /// It has answered before its final response.
    is_assured: bool,
    /// Until PRACK.
    unconfirmed: Option<Again>,
}

#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    number: u32,
    offer: Option<Sdp>,
    bytes: Bytes,
    again: Again,
}

/// When something is due again.
#[derive(Debug, Clone, Copy)]
struct Again {
    due: Instant,
    interval: Duration,
    end: Instant,
}

impl Again {
    fn new(now: Instant) -> Self {
        Self { due: now + T1, interval: T1, end: now + 64 * T1 }
    }

    fn next(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(T2);
        self.due = (now + self.interval).min(self.end);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.end <= now
    }
}

impl Phone {
    /// A phone that has not done anything yet.
    #[must_use]
    pub fn new(side: Side, address: SocketAddr, is_modern: bool) -> Self {
        Self {
            pen: Pen { side, address },
            stage: Stage::Idle,
            dialog: None,
            calling: None,
            called: None,
            asked: Vec::new(),
            ack: None,
            is_modern,
            moved: 0,
            rseq: None,
            unread: VecDeque::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.pen.address
    }

    /// True if it is never heard of again.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.stage == Stage::Dead
    }

    /// True if it owes an INVITE its first response: it must say something before time passes.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.called.as_ref().is_some_and(|called| called.last.is_none())
    }

    /// What it may do now; `true`: that is one of the things that happen once or twice in a call at most.
    pub fn acts(&self, mut may: impl FnMut(Act, bool)) {
        match self.stage {
            Stage::Idle if self.pen.side == Side::A => return may(Act::Invite, false),
            Stage::Idle | Stage::Dead | Stage::Over => return,
            Stage::Early | Stage::Talking => {}
        }
        if let Some(called) = &self.called {
            let status = called.last.as_ref().map_or(0, |(status, _)| *status);
            if status == 0 {
                may(Act::Try, false);
            }
            if status <= 100 && self.stage == Stage::Early {
                may(Act::Ring, false);
                may(Act::Preview, false);
                if called.may_assure {
                    may(Act::Assure, false);
                }
            }
            if status < 200 && called.unconfirmed.is_none() {
                may(Act::Answer, false);
            }
            if status < 200 {
                may(Act::Decline, false);
            }
            if status < 200 && self.stage == Stage::Talking && self.moved == 0 {
                may(Act::AnswerElsewhere, false);
            }
        }
        if self.calling.as_ref().is_some_and(|calling| !calling.is_cancelled && calling.again.is_none()) {
            may(Act::Cancel, true);
        }
        let is_quiet = self.asked.is_empty();
        let is_acknowledged = self.called.as_ref().is_none_or(|called| called.again.is_none());
        if self.stage == Stage::Talking && is_quiet && is_acknowledged {
            may(Act::Bye, false);
            if self.calling.is_none() && self.called.as_ref().is_none_or(|called| called.last.is_some()) {
                may(Act::Reinvite, true);
                may(Act::Update, true);
            }
        }
        may(Act::Die, true);
    }

    /// Does it.
    pub fn act(&mut self, now: Instant, act: Act) -> Vec<Said> {
        let said = match act {
            Act::Invite => Some(self.invite(now)),
            Act::Try => self.respond(now, 100, None),
            Act::Ring => self.respond(now, 180, None),
            Act::Preview => self.respond(now, 183, Some(self.sdp(0))),
            Act::Assure => self.assure(now),
            Act::Answer => {
                let is_assured = self.called.as_ref().is_some_and(|called| called.is_assured);
                self.respond(now, 200, (!is_assured).then(|| self.sdp(0)))
            }
            Act::AnswerElsewhere => self.respond(now, 200, Some(self.sdp(1))),
            Act::Decline => self.respond(now, if self.stage == Stage::Early { 486 } else { 488 }, None),
            Act::Cancel => self.cancel(now),
            Act::Bye => return self.hang_up(now),
            Act::Update => self.ask(now, "UPDATE", Some(self.sdp(1)), None),
            Act::Reinvite => self.reinvite(now),
            Act::Die => {
                let (pen, stage) = (self.pen, Stage::Dead);
                *self = Self { stage, ..Self::new(pen.side, pen.address, false) };
                None
            }
        };
        said.into_iter().collect()
    }

    fn hang_up(&mut self, now: Instant) -> Vec<Said> {
        let owes = self.owes_answer();
        let mut said: Vec<Said> = self.ask(now, "BYE", None, None).into_iter().collect();
        if owes {
            said.extend(self.respond(now, 487, None));
        }
        said
    }

    fn owes_answer(&self) -> bool {
        self.called.as_ref().is_some_and(|called| called.last.as_ref().is_none_or(|last| last.0 < 200))
    }

    fn sdp(&self, moves: u16) -> Sdp {
        Sdp { side: self.pen.side, moved: self.moved + moves }
    }

    fn invite(&mut self, now: Instant) -> Said {
        let uri = "sip:b@203.0.113.1".to_owned();
        self.dialog = Some(Dialog {
            call_id: "call-A-1".into(),
            remote_uri: uri.clone(),
            remote_tag: None,
            target: uri,
            cseq: 0,
        });
        self.stage = Stage::Early;
        self.offer(now, self.sdp(0)).unwrap_or_else(|| unreachable!("the dialog was made above"))
    }

    fn reinvite(&mut self, now: Instant) -> Option<Said> {
        self.offer(now, self.sdp(1))
    }

    fn offer(&mut self, now: Instant, sdp: Sdp) -> Option<Said> {
        let dialog = self.dialog.as_mut()?;
        dialog.cseq += 1;
        let (number, offer) = (dialog.cseq, Some(sdp));
        let header = self.is_modern.then_some("Supported: 100rel");
        let bytes = self.pen.request(("INVITE", number), dialog, offer, header);
        let again = Some(Again::new(now));
        self.calling = Some(Calling { number, is_cancelled: false, offer, bytes: bytes.clone(), again });
        let header = header.map(|header| format!(" {{{header}}}")).unwrap_or_default();
        Some(Said { words: format!("INVITE{}{header}", sdp.words()), bytes })
    }

    fn ask(
        &mut self,
        now: Instant,
        method: &'static str,
        offer: Option<Sdp>,
        header: Option<&str>,
    ) -> Option<Said> {
        let dialog = self.dialog.as_mut()?;
        dialog.cseq += 1;
        let number = dialog.cseq;
        let bytes = self.pen.request((method, number), dialog, offer, header);
        self.asked.push(Asked { method, number, offer, bytes: bytes.clone(), again: Again::new(now) });
        if method == "BYE" {
            self.stage = Stage::Over;
        }
        let header = header.map(|header| format!(" {{{header}}}")).unwrap_or_default();
        let words = format!("{method}{}{header}", offer.map(Sdp::words).unwrap_or_default());
        Some(Said { words, bytes })
    }

    fn cancel(&mut self, now: Instant) -> Option<Said> {
        let (dialog, calling) = (self.dialog.as_ref()?, self.calling.as_mut()?);
        calling.is_cancelled = true;
        let number = calling.number;
        let bytes = self.pen.request(("CANCEL", number), dialog, None, None);
        self.asked.push(Asked {
            method: "CANCEL",
            number,
            offer: None,
            bytes: bytes.clone(),
            again: Again::new(now),
        });
        Some(Said { words: "CANCEL".into(), bytes })
    }

    fn respond(&mut self, now: Instant, status: u16, sdp: Option<Sdp>) -> Option<Said> {
        let called = self.called.as_mut()?;
        let request = Message::parse(called.request.clone()).ok()?;
        let bytes = self.pen.response(&request, status, sdp, None);
        called.last = Some((status, bytes.clone()));
        if status >= 200 {
            called.again = Some(Again::new(now));
            called.unconfirmed = None;
        }
        match (status, sdp) {
            (200, sdp) => {
                self.moved = sdp.map_or(self.moved, |sdp| sdp.moved);
                self.stage = Stage::Talking;
            }
            (300.., _) if self.stage == Stage::Early => self.stage = Stage::Over,
            _ => {}
        }
        Some(Said { words: format!("{status}{}", sdp.map(Sdp::words).unwrap_or_default()), bytes })
    }

    /// The answer in a reliable 183.
    fn assure(&mut self, now: Instant) -> Option<Said> {
        let sdp = self.sdp(0);
        let called = self.called.as_mut()?;
        let request = Message::parse(called.request.clone()).ok()?;
        let bytes = self.pen.response(&request, 183, Some(sdp), Some("Require: 100rel\r\nRSeq: 7"));
        called.last = Some((183, bytes.clone()));
        called.is_assured = true;
        called.unconfirmed = Some(Again::new(now));
        Some(Said { words: format!("183{} {{Require: 100rel}} {{RSeq: 7}}", sdp.words()), bytes })
    }

    /// A message arrives and lies there unread.
    pub fn receive(&mut self, bytes: Bytes) {
        if self.stage != Stage::Dead {
            self.unread.push_back(bytes);
        }
    }

    /// The message it would read next.
    #[must_use]
    pub fn next_unread(&self) -> Option<&Bytes> {
        self.unread.front()
    }

    /// The message it would read next is lost.
    pub fn lose(&mut self) {
        self.unread.pop_front();
    }

    /// The message it would read next arrives twice.
    pub fn read_twice(&mut self) {
        if let Some(bytes) = self.unread.front().cloned() {
            self.unread.insert(1, bytes);
        }
    }

    /// True if reading the next message makes it say something.
    #[must_use]
    pub fn would_react(&self) -> bool {
        let Some(message) = self.unread.front().and_then(|bytes| Message::parse(bytes.clone()).ok()) else {
            return false;
        };
        match (message.is_request(), message.method()) {
            (true, Method::Ack) => false,
            (true, Method::Invite) => {
                self.called.as_ref().is_some_and(|called| Some(called.number) == number(&message))
                    || self.stage == Stage::Over
                    || self.calling.is_some()
            }
            (true, _) => true,
            (false, Method::Invite) => message.status() >= 200 || self.is_news(&message),
            (false, _) => false,
        }
    }

    /// True if the next message is a final failure to its INVITE: a phone of a flow acknowledges it at once.
    #[must_use]
    pub fn is_refused_next(&self) -> bool {
        let message = self.unread.front().and_then(|bytes| Message::parse(bytes.clone()).ok());
        message.is_some_and(|message| {
            !message.is_request() && *message.method() == Method::Invite && message.status() >= 300
        })
    }

    /// Reads the next message, and does what must be done.
    pub fn read(&mut self, now: Instant) -> Vec<Said> {
        let Some(message) = self.unread.pop_front().and_then(|bytes| Message::parse(bytes).ok()) else {
            return Vec::new();
        };
        if message.is_request() { self.on_request(now, message) } else { self.on_response(now, &message) }
    }

    fn on_request(&mut self, now: Instant, message: Message) -> Vec<Said> {
        match message.method() {
            Method::Invite => self.on_invite(now, message),
            Method::Ack => {
                if let Some(called) =
                    self.called.as_mut().filter(|called| Some(called.number) == number(&message))
                {
                    called.again = None;
                }
                Vec::new()
            }
            Method::Cancel => {
                let mut said = vec![self.say(&message, 200, "200 CANCEL")];
                if self.called.as_ref().is_some_and(|called| {
                    Some(called.number) == number(&message)
                        && called.last.as_ref().is_none_or(|last| last.0 < 200)
                }) {
                    said.extend(self.respond(now, 487, None));
                }
                said
            }
            Method::Bye => {
                let mut said = vec![self.say(&message, 200, "200 BYE")];
                //= RFC 3261 §15.1.2: pending requests of the dialog are answered with 487.
                if self
                    .called
                    .as_ref()
                    .is_some_and(|called| called.last.as_ref().is_none_or(|last| last.0 < 200))
                {
                    said.extend(self.respond(now, 487, None));
                }
                self.stage = Stage::Over;
                said
            }
            Method::Prack if self.called.as_ref().is_some_and(|called| called.is_assured) => {
                if let Some(called) = &mut self.called {
                    called.unconfirmed = None;
                }
                vec![self.say(&message, 200, "200 PRACK")]
            }
            Method::Update if !matches!(self.stage, Stage::Over | Stage::Idle) => {
                vec![self.on_update(&message)]
            }
            method => {
                let words = format!("481 {}", method.text());
                vec![self.say(&message, 481, &words)]
            }
        }
    }

    fn on_invite(&mut self, now: Instant, message: Message) -> Vec<Said> {
        if let Some(called) = self.called.as_ref().filter(|called| Some(called.number) == number(&message)) {
            let again = |(status, bytes): &(u16, Bytes)| Said {
                words: format!("{status} again"),
                bytes: bytes.clone(),
            };
            return called.last.iter().map(again).collect();
        }
        if self.stage == Stage::Over {
            return vec![self.say(&message, 481, "481")];
        }
        if self.dialog.is_none() {
            let from = message.from();
            self.dialog = Some(Dialog {
                call_id: message.call_id().unwrap_or_default().to_owned(),
                remote_uri: from.as_ref().map(|from| from.uri().to_owned()).unwrap_or_default(),
                remote_tag: from.ok().and_then(|from| from.tag().map(str::to_owned)),
                target: target(&message).unwrap_or_default(),
                cseq: 0,
            });
            self.stage = Stage::Early;
        }
        let number = number(&message).unwrap_or_default();
        let request = message.bytes().clone();
        self.called = Some(Called {
            request,
            number,
            last: None,
            again: None,
            may_assure: offers(&message),
            is_assured: false,
            unconfirmed: None,
        });
        //= RFC 3261 §14.2: its own INVITE is open.
        if self.calling.is_some() {
            return self.respond(now, 491, None).into_iter().collect();
        }
        Vec::new()
    }

    /// Answers from where it is, unless an offer of its own is open.
    fn on_update(&self, message: &Message) -> Said {
        let is_open = self.calling.is_some() || self.asked.iter().any(|asked| asked.offer.is_some());
        if is_open && self.stage == Stage::Talking {
            //= RFC 3311 §5.2: 491 to an offer while one of ours has no answer.
            return self.say(message, 491, "491 UPDATE");
        }
        let sdp = (!message.body().is_empty()).then(|| self.sdp(0));
        let words = format!("200 UPDATE{}", sdp.map(Sdp::words).unwrap_or_default());
        Said { words, bytes: self.pen.response(message, 200, sdp, None) }
    }

    fn say(&self, request: &Message, status: u16, words: &str) -> Said {
        Said { words: words.into(), bytes: self.pen.response(request, status, None, None) }
    }

    fn on_response(&mut self, now: Instant, message: &Message) -> Vec<Said> {
        let (status, number) = (message.status(), number(message));
        if *message.method() != Method::Invite {
            if status >= 200 {
                let method = message.method().text();
                let asked = |asked: &&Asked| asked.method == method && Some(asked.number) == number;
                let offer = self.asked.iter().find(asked).and_then(|asked| asked.offer);
                if let Some(offer) = offer.filter(|_| status < 300) {
                    self.moved = offer.moved;
                }
                self.asked.retain(|asked| asked.method != method || Some(asked.number) != number);
            }
            return Vec::new();
        }
        let calling = self.calling.as_mut().filter(|calling| Some(calling.number) == number);
        match (status, calling) {
            (..200, Some(calling)) => {
                calling.again = None;
                let invite = calling.number;
                let is_news = self.is_news(message);
                self.learn(message);
                is_news.then(|| self.prack(now, message, invite)).flatten().into_iter().collect()
            }
            (..200, None) => Vec::new(),
            (200..300, Some(calling)) => {
                if let Some(offer) = calling.offer {
                    self.moved = offer.moved;
                }
                self.calling = None;
                self.learn(message);
                if self.stage == Stage::Early {
                    self.stage = Stage::Talking;
                }
                self.acknowledge(number).into_iter().collect()
            }
            (200..300, None) => {
                let again = |bytes: Bytes| Said { words: "ACK again".into(), bytes };
                self.ack.clone().map(again).into_iter().collect()
            }
            (300.., calling) => {
                let is_known = calling.is_some();
                self.calling = if is_known { None } else { self.calling.take() };
                if self.stage == Stage::Early && is_known {
                    self.stage = Stage::Over;
                }
                let uri = "sip:b@203.0.113.1";
                vec![Said { words: String::new(), bytes: self.pen.ack_to_failure(uri, message) }]
            }
        }
    }

    /// True for a reliable response that it has not acknowledged.
    fn is_news(&self, message: &Message) -> bool {
        message.status() < 200 && rseq(message).is_some_and(|rseq| self.rseq.is_none_or(|last| last < rseq))
    }

    fn prack(&mut self, now: Instant, message: &Message, invite: u32) -> Option<Said> {
        let rseq = rseq(message)?;
        self.rseq = Some(rseq);
        self.ask(now, "PRACK", None, Some(&format!("RAck: {rseq} {invite} INVITE")))
    }

    fn acknowledge(&mut self, number: Option<u32>) -> Option<Said> {
        let bytes = self.pen.request(("ACK", number?), self.dialog.as_ref()?, None, None);
        self.ack = Some(bytes.clone());
        Some(Said { words: "ACK".into(), bytes })
    }

    fn learn(&mut self, message: &Message) {
        let Some(dialog) = &mut self.dialog else { return };
        if let Ok(to) = message.to()
            && let Some(tag) = to.tag()
        {
            dialog.remote_tag = Some(tag.to_owned());
        }
        if let Some(target) = target(message) {
            dialog.target = target;
        }
    }

    /// When [`Phone::fire`] is next worth calling.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let calling = self.calling.as_ref().and_then(|calling| calling.again);
        let unconfirmed = self.called.as_ref().and_then(|called| called.unconfirmed);
        let called = self.called.as_ref().and_then(|called| called.again);
        let asked = self.asked.iter().map(|asked| asked.again);
        calling.into_iter().chain(called).chain(unconfirmed).chain(asked).map(|again| again.due).min()
    }

    /// Says again what is due, or gives up.
    pub fn fire(&mut self, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        self.fire_calling(now, &mut said);
        self.fire_called(now, &mut said);
        self.fire_unconfirmed(now, &mut said);
        let gone = self.asked.iter().any(|asked| asked.again.is_over(now));
        self.asked.retain(|asked| !asked.again.is_over(now));
        for asked in self.asked.iter_mut().filter(|asked| asked.again.due <= now) {
            asked.again.next(now);
            said.push(Said { words: format!("{} again", asked.method), bytes: asked.bytes.clone() });
        }
        if gone && self.asked.is_empty() && self.stage == Stage::Early && self.calling.is_none() {
            self.stage = Stage::Over;
        }
        said
    }

    fn fire_calling(&mut self, now: Instant, said: &mut Vec<Said>) {
        let Some(calling) = &mut self.calling else { return };
        let Some(again) = calling.again.as_mut().filter(|again| again.due <= now) else { return };
        if again.is_over(now) {
            self.calling = None;
            if self.stage == Stage::Early {
                self.stage = Stage::Over;
            }
            return;
        }
        again.next(now);
        said.push(Said { words: "INVITE again".into(), bytes: calling.bytes.clone() });
    }

    fn fire_unconfirmed(&mut self, now: Instant, said: &mut Vec<Said>) {
        let Some(called) = &mut self.called else { return };
        let Some(again) = called.unconfirmed.as_mut().filter(|again| again.due <= now) else { return };
        if again.is_over(now) {
            //= RFC 3262 §3: no PRACK came: the INVITE fails.
            called.unconfirmed = None;
            return said.extend(self.respond(now, 500, None));
        }
        again.next(now);
        if let Some((status, bytes)) = &called.last {
            said.push(Said { words: format!("{status} again"), bytes: bytes.clone() });
        }
    }

    fn fire_called(&mut self, now: Instant, said: &mut Vec<Said>) {
        let Some(called) = &mut self.called else { return };
        let Some(again) = called.again.as_mut().filter(|again| again.due <= now) else { return };
        let Some((status, bytes)) = &called.last else { return };
        if !again.is_over(now) {
            again.next(now);
            return said.push(Said { words: format!("{status} again"), bytes: bytes.clone() });
        }
        called.again = None;
        //= RFC 3261 §13.3.1.4: no ACK came: the call is ended with BYE.
        if *status < 300 && self.stage == Stage::Talking {
            said.extend(self.ask(now, "BYE", None, None));
        }
    }
}

fn number(message: &Message) -> Option<u32> {
    message.cseq().ok().map(|cseq| cseq.number)
}

fn rseq(message: &Message) -> Option<u32> {
    let value = message.header(Name::RSeq)?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// True if an INVITE's sender understands reliable responses, and there is an offer to answer.
fn offers(message: &Message) -> bool {
    let supported = message.header(Name::Supported).unwrap_or_default();
    !message.body().is_empty() && String::from_utf8_lossy(supported).contains("100rel")
}

fn target(message: &Message) -> Option<String> {
    Some(message.contacts().next()?.ok()?.uri().to_owned())
}
