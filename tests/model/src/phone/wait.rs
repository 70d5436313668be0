//! What a phone repeats, and when it gives up.

use machine::Instant;

use super::{Phone, Said, Stage};

impl Phone {
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

    pub(super) fn fire_calling(&mut self, now: Instant, said: &mut Vec<Said>) {
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

    pub(super) fn fire_unconfirmed(&mut self, now: Instant, said: &mut Vec<Said>) {
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

    pub(super) fn fire_called(&mut self, now: Instant, said: &mut Vec<Said>) {
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
