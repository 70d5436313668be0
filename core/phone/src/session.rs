//! Session timers: RFC 4028. Whoever refreshes does it at half of the interval; both hang up shortly before its end.
//!
//! ```text
//!   2xx ──> running ──(interval/2, if it is ours)──> refresh ──> 2xx ──> running
//!              │ interval - min(32 s, interval/3)         │ 408, 481, timeout
//!              V                                          V
//!             BYE                                        BYE
//! ```

use std::time::Duration;

use machine::{TimerId, Timers};
use sip::message::{Builder, Message, Name, Refresher, SessionExpires};

use crate::call::{Call, Exchange, State};
use crate::phone::{Out, Phone, Tick};
use crate::{By, CallNumber, Event};

/// What a session shorter than this is worth to nobody: RFC 4028 §5, the default of Min-SE.
const MINIMUM_S: u32 = 90;

/// The session timer of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// The interval agreed on, and whether we refresh; `None`: no timer.
    agreed: Option<(u32, bool)>,
    /// The largest Min-SE heard.
    minimum_s: u32,
    running: [Option<TimerId>; 2],
}

impl Session {
    pub(crate) fn stop(&mut self, timers: &mut Timers<(CallNumber, Tick)>) {
        for timer in self.running.iter_mut().filter_map(Option::take) {
            timers.stop(timer);
        }
    }

    /// Takes the Min-SE of a 422; false if it says nothing new, and a new try would end the same way.
    pub(crate) fn raise(&mut self, response: &Message) -> bool {
        let minimum = response.min_se().ok().flatten().unwrap_or(0);
        let is_new = minimum > self.minimum_s;
        self.minimum_s = self.minimum_s.max(minimum);
        is_new
    }
}

impl Phone {
    //= RFC 4028 §7.4: never below Min-SE; inside a dialog the refresher stays who it is.
    pub(crate) fn ask_session(&self, call: &Call, request: Builder) -> Builder {
        let Some(wanted) = self.config.extensions.session else { return request };
        let (interval_s, refresher) = match call.session.agreed {
            Some((interval_s, true)) => (interval_s, Some(Refresher::Uac)),
            Some((interval_s, false)) => (interval_s, Some(Refresher::Uas)),
            None => (wanted.interval_s, wanted.refresher),
        };
        let interval_s = interval_s.max(call.session.minimum_s);
        let asked = SessionExpires { interval_s, refresher };
        let request = request.header_fmt(Name::SessionExpires, format_args!("{asked}"));
        match call.session.minimum_s {
            0 => request,
            minimum => request.header_fmt(Name::MinSe, format_args!("{minimum}")),
        }
    }

    //= RFC 4028 §9: only who supports timers can be told that its interval is too short.
    pub(crate) fn too_short(&self, request: &Message) -> Option<u32> {
        let minimum = self.config.extensions.session?.minimum_s;
        let asked = request.session_expires().ok().flatten()?.interval_s;
        (asked < minimum && request.has_option(Name::Supported, "timer")).then_some(minimum)
    }

    /// The answer's part: what the 2xx to an INVITE or UPDATE says, and from then on holds.
    pub(crate) fn agree_session(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        request: &Message,
        response: Builder,
        out: &Out<'_>,
    ) -> Builder {
        let Some(wanted) = self.config.extensions.session else { return response };
        let can = request.has_option(Name::Supported, "timer");
        let asked = request.session_expires().ok().flatten();
        //= RFC 4028 §9: the interval may be made shorter, but not below Min-SE.
        let least = request.min_se().ok().flatten().unwrap_or(0).max(MINIMUM_S);
        let interval_s = match asked {
            Some(asked) => asked.interval_s.min(wanted.interval_s.max(least)),
            None => wanted.interval_s.max(least),
        };
        //= RFC 4028 §9, table 2: the caller's choice holds; who does not support timers refreshes nothing.
        let refresher = match (can, asked.and_then(|asked| asked.refresher)) {
            (false, _) => Refresher::Uas,
            (true, Some(chosen)) => chosen,
            (true, None) => wanted.refresher.unwrap_or(Refresher::Uac),
        };
        self.run_session(number, call, interval_s, refresher == Refresher::Uas, out);
        let agreed = SessionExpires { interval_s, refresher: Some(refresher) };
        let response = response.header_fmt(Name::SessionExpires, format_args!("{agreed}"));
        if can { response.header(Name::Require, "timer") } else { response }
    }

    //= RFC 4028 §7.2: what the 2xx says holds; if it says nothing, we refresh alone.
    pub(crate) fn note_session(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        response: &Message,
        out: &Out<'_>,
    ) {
        let Some(wanted) = self.config.extensions.session else { return };
        let (interval_s, we_refresh) = match response.session_expires().ok().flatten() {
            Some(agreed) => (agreed.interval_s, agreed.refresher != Some(Refresher::Uas)),
            None => (wanted.interval_s.max(call.session.minimum_s), true),
        };
        self.run_session(number, call, interval_s, we_refresh, out);
    }

    fn run_session(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        interval_s: u32,
        we_refresh: bool,
        out: &Out<'_>,
    ) {
        call.session.stop(&mut self.timers);
        if matches!(call.state, State::Leaving | State::Over) {
            // A late 2xx does not bring the session back.
            return;
        }
        call.session.agreed = Some((interval_s, we_refresh));
        let interval = Duration::from_secs(interval_s.into());
        //= RFC 4028 §10: BYE the smaller of 32 s and a third before the end.
        let end = interval - (interval / 3).min(Duration::from_secs(32));
        let refresh = we_refresh.then(|| self.timers.set(out.now + interval / 2, (number, Tick::Refresh)));
        let expire = self.timers.set(out.now + end, (number, Tick::Expire));
        call.session.running = [refresh, Some(expire)];
    }

    //= RFC 4028 §7.4: UPDATE without an offer if the peer allows it, else a re-INVITE with the last SDP unchanged.
    pub(crate) fn refresh(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let can_update = call.peer.updates && self.is_updating();
        let is_free = self.may_change(&call, By::Invite);
        if call.state == State::Up && can_update {
            self.change(&mut call, 0, By::Update, None, out);
        } else if is_free {
            call.before = Some(call.local.clone());
            let sdp = call.local.repeat();
            self.change(&mut call, 0, By::Invite, Some(sdp), out);
            out.event(Event::Offered { call: number });
        } else if call.state == State::Up {
            // Another exchange is going on; it refreshes too, or this is tried again.
            self.timers.set(out.now + Duration::from_secs(2), (number, Tick::Refresh));
        }
        self.calls.insert(number, call);
    }

    pub(crate) fn expire(&mut self, number: CallNumber, out: &mut Out<'_>) {
        self.hang_up(number, Some(r#"SIP;cause=408;text="Session expired""#), out);
    }

    /// A refresh without an offer failed.
    pub(crate) fn on_refresh_refused(
        &mut self,
        number: CallNumber,
        status: u16,
        response: Option<&Message>,
        out: &mut Out<'_>,
    ) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        match (status, response) {
            //= RFC 4028 §10: 408, 481 and silence end the call.
            (408 | 481, _) => self.hang_up(number, None, out),
            (405 | 501, _) => {
                call.peer.updates = false;
                self.refresh(number, out);
            }
            (_, Some(response)) => self.refresh_again(number, response, out),
            (_, None) => {}
        }
    }

    /// Refreshes with a longer interval after a 422; nothing for other refusals.
    pub(crate) fn refresh_again(&mut self, number: CallNumber, response: &Message, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number).filter(|_| response.status() == 422) else { return };
        let is_settled = call.exchange() == Exchange::Agreed;
        if call.session.raise(response) && is_settled {
            self.refresh(number, out);
        }
    }
}
