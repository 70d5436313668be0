//! What a phone does when it reads a message: RFC 3261 leaves it no choice.

use bytes::Bytes;
use machine::{Instant, Text};
use sip::message::{Message, Method, Name};

use super::{Asked, Called, Phone, Said, Stage};
use crate::message::{Dialog, Met, Sdp, callee};

impl Phone {
    /// A message arrives and lies there unread.
    pub fn receive(&mut self, bytes: Bytes) {
        if self.stage != Stage::Dead {
            self.unread.push_back(Text(bytes));
        }
    }

    /// The message it would read next.
    #[must_use]
    pub fn next_unread(&self) -> Option<&Bytes> {
        self.unread.front().map(|bytes| &bytes.0)
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
        let Some(message) = self.unread.front().and_then(|bytes| Message::parse(bytes.0.clone()).ok()) else {
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
        let message = self.unread.front().and_then(|bytes| Message::parse(bytes.0.clone()).ok());
        message.is_some_and(|message| {
            !message.is_request() && *message.method() == Method::Invite && message.status() >= 300
        })
    }

    /// Reads the next message, and does what must be done.
    pub fn read(&mut self, now: Instant) -> Vec<Said> {
        let Some(message) = self.unread.pop_front().and_then(|bytes| Message::parse(bytes.0).ok()) else {
            return Vec::new();
        };
        if message.is_request() { self.on_request(now, message) } else { self.on_response(now, &message) }
    }

    pub(super) fn on_request(&mut self, now: Instant, message: Message) -> Vec<Said> {
        match message.method() {
            Method::Invite => self.on_invite(now, message),
            Method::Ack => {
                let is_other = self.is_of_other(&message);
                if let Some(called) =
                    self.called.as_mut().filter(|called| Some(called.number) == number(&message) && !is_other)
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
            Method::Bye if self.ends_one_of_two(&message) => vec![self.say(&message, 200, "200 BYE")],
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

    pub(super) fn on_invite(&mut self, now: Instant, message: Message) -> Vec<Said> {
        if let Some(called) = self.called.as_ref().filter(|called| Some(called.number) == number(&message)) {
            let again = |(status, bytes): &(u16, Text<Bytes>)| Said {
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
            request: Text(request),
            number,
            last: None,
            again: None,
            may_assure: offers(&message),
            has_offer: !message.body().is_empty(),
            wants: says(&message, "des:fw mandatory"),
            is_met: false,
            other: 0,
            ended: [false; 2],
            has_both: false,
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
    pub(super) fn on_update(&mut self, message: &Message) -> Said {
        let is_open = self.calling.is_some() || self.asked.iter().any(|asked| asked.offer.is_some());
        if is_open && self.stage == Stage::Talking {
            //= RFC 3311 §5.2: 491 to an offer while one of ours has no answer.
            return self.say(message, 491, "491 UPDATE");
        }
        let met = if says(message, "des:fw mandatory") { Met::Yes } else { Met::Unsaid };
        let sdp = (!message.body().is_empty()).then(|| Sdp { met, ..self.sdp(0) });
        if let Some(called) = &mut self.called {
            called.is_met |= says(message, "curr:fw e2e sendrecv");
        }
        let words = format!("200 UPDATE{}", sdp.map(Sdp::words).unwrap_or_default());
        Said { words, bytes: self.pen.response(message, 200, sdp, None) }
    }

    /// True for a request in the early dialog that has not won.
    fn is_of_other(&self, request: &Message) -> bool {
        let tag = format!("{}-{}", self.pen.side, self.pen.tag);
        request.to().ok().and_then(|to| to.tag()).is_some_and(|to| to != tag)
    }

    /// True for a BYE that ends an early dialog beside which there is another, or one that has not won.
    fn ends_one_of_two(&mut self, bye: &Message) -> bool {
        if self.stage == Stage::Talking {
            return self.is_of_other(bye);
        }
        let is_other = self.is_of_other(bye);
        let Some(called) = self.called.as_mut().filter(|called| called.other > 0) else { return false };
        called.ended[usize::from(is_other)] = true;
        called.ended != [true; 2]
    }

    pub(super) fn say(&self, request: &Message, status: u16, words: &str) -> Said {
        Said { words: words.into(), bytes: self.pen.response(request, status, None, None) }
    }

    pub(super) fn on_response(&mut self, now: Instant, message: &Message) -> Vec<Said> {
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
                self.may_inform |= is_news && says(message, "curr:fw e2e sendrecv");
                is_news.then(|| self.prack(now, message, invite)).flatten().into_iter().collect()
            }
            (..200, None) => Vec::new(),
            (200..300, Some(calling)) => {
                if let Some(offer) = calling.offer {
                    self.moved = offer.moved;
                }
                let answers = calling.offer.is_none() && !message.body().is_empty();
                self.may_inform = false;
                self.calling = None;
                self.learn(message);
                if self.stage == Stage::Early {
                    self.stage = Stage::Talking;
                }
                let answer = answers.then(|| self.sdp(0));
                self.acknowledge(number, answer).into_iter().collect()
            }
            (200..300, None) => {
                let again = |bytes: Text<Bytes>| Said { words: "ACK again".into(), bytes };
                self.ack.clone().map(again).into_iter().collect()
            }
            (300.., calling) => {
                let is_known = calling.is_some();
                self.calling = if is_known { None } else { self.calling.take() };
                if self.stage == Stage::Early && is_known {
                    self.stage = Stage::Over;
                }
                let uri = callee(self.pen.is_inside());
                vec![Said { words: String::new(), bytes: self.pen.ack_to_failure(uri, message) }]
            }
        }
    }

    /// True for a reliable response that it has not acknowledged.
    pub(super) fn is_news(&self, message: &Message) -> bool {
        message.status() < 200 && rseq(message).is_some_and(|rseq| self.rseq.is_none_or(|last| last < rseq))
    }

    pub(super) fn prack(&mut self, now: Instant, message: &Message, invite: u32) -> Option<Said> {
        let rseq = rseq(message)?;
        self.rseq = Some(rseq);
        //= RFC 3262 §5: an offer in a reliable response is answered in PRACK.
        let delays = self.calling.as_ref().is_some_and(|calling| calling.offer.is_none());
        let answer = (delays && !message.body().is_empty()).then(|| self.sdp(0));
        let said = self.ask(now, "PRACK", answer, Some(&format!("RAck: {rseq} {invite} INVITE")));
        if let Some(asked) = self.asked.last_mut() {
            asked.offer = None;
        }
        said
    }

    pub(super) fn acknowledge(&mut self, number: Option<u32>, answer: Option<Sdp>) -> Option<Said> {
        let bytes = self.pen.request(("ACK", number?), self.dialog.as_ref()?, answer, None);
        self.ack = Some(bytes.clone());
        Some(Said { words: format!("ACK{}", answer.map(Sdp::words).unwrap_or_default()), bytes })
    }

    pub(super) fn learn(&mut self, message: &Message) {
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
}

fn number(message: &Message) -> Option<u32> {
    message.cseq().ok().map(|cseq| cseq.number)
}

fn rseq(message: &Message) -> Option<u32> {
    let value = message.header(Name::RSeq)?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// True if an INVITE's sender understands reliable responses.
fn offers(message: &Message) -> bool {
    message.tokens(Name::Supported).any(|option| option == "100rel")
}

/// True if the description of a message has these words.
fn says(message: &Message, words: &str) -> bool {
    String::from_utf8_lossy(message.body()).contains(words)
}

fn target(message: &Message) -> Option<String> {
    Some(message.contacts().next()?.ok()?.uri().to_owned())
}
