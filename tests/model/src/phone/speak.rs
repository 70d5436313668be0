//! What a phone says of its own accord.

use machine::Instant;
use sip::message::Message;

use super::{Again, Asked, Calling, Phone, Said, Stage};
use crate::message::{Dialog, Sdp};

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
        Sdp { side: self.pen.side, moved: self.moved + moves }
    }

    pub(super) fn invite(&mut self, now: Instant) -> Said {
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

    pub(super) fn reinvite(&mut self, now: Instant) -> Option<Said> {
        self.offer(now, self.sdp(1))
    }

    pub(super) fn offer(&mut self, now: Instant, sdp: Sdp) -> Option<Said> {
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
        let header = header.map(|header| format!(" {{{header}}}")).unwrap_or_default();
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
    pub(super) fn assure(&mut self, now: Instant) -> Option<Said> {
        let sdp = self.sdp(0);
        let called = self.called.as_mut()?;
        let request = Message::parse(called.request.clone()).ok()?;
        let bytes = self.pen.response(&request, 183, Some(sdp), Some("Require: 100rel\r\nRSeq: 7"));
        called.last = Some((183, bytes.clone()));
        called.is_assured = true;
        called.unconfirmed = Some(Again::new(now));
        Some(Said { words: format!("183{} {{Require: 100rel}} {{RSeq: 7}}", sdp.words()), bytes })
    }
}
