//! What a phone says of its own accord.

use b2bua::side::Side;
use machine::Instant;
use sip::message::Message;

use super::{Again, Asked, Calling, Phone, Said, Stage};
use crate::message::{Dialog, Met, Pen, Sdp, callee};

impl Phone {
    pub(super) fn hang_up(&mut self, now: Instant) -> Vec<Said> {
        let owes = self.owes_answer();
        let mut said: Vec<Said> = self.ask(now, "BYE", None, None).into_iter().collect();
        if owes {
            said.extend(self.respond(now, 487, None));
        }
        said
    }

    pub(super) fn owes_answer(&self) -> bool {
        self.called.as_ref().is_some_and(|called| called.last.as_ref().is_none_or(|last| last.0 < 200))
    }

    pub(super) fn sdp(&self, moves: u16) -> Sdp {
        let is_other = self.pen.side == Side::B && self.pen.tag == 2;
        let Pen { side, .. } = self.pen;
        let (is_inside, moved) = (self.pen.is_inside(), self.moved + moves);
        Sdp { side, is_inside, moved, is_other, met: Met::Unsaid }
    }

    pub(super) fn invite(&mut self, now: Instant) -> Said {
        let uri = callee(self.pen.is_inside()).to_owned();
        self.dialog = Some(Dialog {
            call_id: "call-A-1".into(),
            remote_uri: uri.clone(),
            remote_tag: None,
            target: uri,
            cseq: 0,
        });
        self.stage = Stage::Early;
        let met = if self.skills.asks { Met::Wanted } else { Met::Unsaid };
        let offer = (!self.skills.delays).then(|| Sdp { met, ..self.sdp(0) });
        self.offer(now, offer).unwrap_or_else(|| unreachable!("the dialog was made above"))
    }

    pub(super) fn reinvite(&mut self, now: Instant) -> Option<Said> {
        let offer = (!self.skills.delays).then(|| self.sdp(1));
        self.offer(now, offer)
    }

    pub(super) fn offer(&mut self, now: Instant, offer: Option<Sdp>) -> Option<Said> {
        let dialog = self.dialog.as_mut()?;
        dialog.cseq += 1;
        let number = dialog.cseq;
        let header = match offer.map(|sdp| sdp.met) {
            Some(Met::Wanted) => {
                Some("Supported: 100rel\r\nRequire: precondition\r\nAllow: INVITE, PRACK, UPDATE")
            }
            _ => self.skills.is_modern.then_some("Supported: 100rel"),
        };
        let bytes = self.pen.request(("INVITE", number), dialog, offer, header);
        let again = Some(Again::new(now));
        self.calling = Some(Calling { number, is_cancelled: false, offer, bytes: bytes.clone(), again });
        let header = braces(header);
        Some(Said { words: format!("INVITE{}{header}", offer.map(Sdp::words).unwrap_or_default()), bytes })
    }

    pub(super) fn ask(
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
        let header = braces(header);
        let words = format!("{method}{}{header}", offer.map(Sdp::words).unwrap_or_default());
        Some(Said { words, bytes })
    }

    pub(super) fn cancel(&mut self, now: Instant) -> Option<Said> {
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

    pub(super) fn respond(&mut self, now: Instant, status: u16, sdp: Option<Sdp>) -> Option<Said> {
        let called = self.called.as_mut()?;
        let request = Message::parse(called.request.0.clone()).ok()?;
        let header = (status == 420).then_some("Unsupported: precondition");
        let bytes = self.pen.response(&request, status, sdp, header);
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
            // It may be called again without what it does not know.
            (420, _) => (self.stage, self.dialog) = (Stage::Idle, None),
            (300.., _) if self.stage == Stage::Early => self.stage = Stage::Over,
            _ => {}
        }
        let (tag, header) = (self.tag_words(self.pen.tag), braces(header));
        Some(Said {
            words: format!("{status}{tag}{}{header}", sdp.map(Sdp::words).unwrap_or_default()),
            bytes,
        })
    }

    fn tag_words(&self, tag: u8) -> String {
        if tag == 1 { String::new() } else { format!(" tag={}-{tag}", self.pen.side) }
    }

    /// A provisional response in the second early dialog.
    pub(super) fn respond_other(&mut self, status: u16, sdp: Option<Sdp>) -> Option<Said> {
        let pen = Pen { tag: 2, ..self.pen };
        let called = self.called.as_mut()?;
        let request = Message::parse(called.request.0.clone()).ok()?;
        let bytes = pen.response(&request, status, sdp, None);
        called.other = status;
        called.last.get_or_insert_with(|| (100, bytes.clone()));
        let words = format!("{status}{}{}", self.tag_words(2), sdp.map(Sdp::words).unwrap_or_default());
        Some(Said { words, bytes })
    }

    /// The one that has not won answers as well.
    pub(super) fn answer_too(&mut self) -> Option<Said> {
        let tag = 3 - self.pen.tag;
        let pen = Pen { tag, ..self.pen };
        let sdp = Sdp { is_other: tag == 2, ..self.sdp(0) };
        let called = self.called.as_mut()?;
        called.has_both = true;
        let request = Message::parse(called.request.0.clone()).ok()?;
        let bytes = pen.response(&request, 200, Some(sdp), None);
        let tag = if tag == 1 { " tag=B-1".to_owned() } else { self.tag_words(tag) };
        Some(Said { words: format!("200{tag}{}", sdp.words()), bytes })
    }

    /// The answer in a reliable 183.
    pub(super) fn assure(&mut self, now: Instant) -> Option<Said> {
        let wants = self.called.as_ref().is_some_and(|called| called.wants);
        let sdp = Sdp { met: if wants { Met::Confirm } else { Met::Unsaid }, ..self.sdp(0) };
        let called = self.called.as_mut()?;
        let request = Message::parse(called.request.0.clone()).ok()?;
        let bytes = self.pen.response(&request, 183, Some(sdp), Some("Require: 100rel\r\nRSeq: 7"));
        called.last = Some((183, bytes.clone()));
        called.is_assured = true;
        called.unconfirmed = Some(Again::new(now));
        Some(Said { words: format!("183{} {{Require: 100rel}} {{RSeq: 7}}", sdp.words()), bytes })
    }
}

/// Header fields as a flow writes them.
fn braces(header: Option<&str>) -> String {
    header.into_iter().flat_map(|header| header.split("\r\n")).map(|line| format!(" {{{line}}}")).collect()
}
