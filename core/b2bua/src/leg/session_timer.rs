//! The session timer of one leg: RFC 4028. Before changing this file read it whole; it is short.
//!
//! Every leg has its own: interval, minimum and roles are agreed with one peer and never shown to the other.
//!
//! ```text
//!           2xx sent or received: we refresh          half of the interval
//!   Idle ─────────────────────────────────────► Ours ─────────────────────► a refresh under way
//!    │                                          ▲  ▲ ▲                        │  │
//!    │ the peer refreshes        roles follow   │  │ └── refused: once more ──┘  │
//!    └───────────────────► Theirs ◄─ every 2xx ─┘  └────────── 2xx ──────────────┤
//!                            │                                                   │
//!                            └──── min(32 s, interval/3) before expiry: BYE ◄────┘
//! ```
//!
//! Who refreshes, by what the 2xx will say or said (Table 2 and §7.2):
//!
//! | we are | the peer supports it | `refresher` | refreshes | in the 2xx |
//! |---|---|---|---|---|
//! | UAS | no | – | we | `uas` where an interval was asked for, else nothing |
//! | UAS | yes | none, `uac` | the peer | `uac`, `Require: timer` |
//! | UAS | yes | `uas` | we | `uas`, `Require: timer` |
//! | UAC | – | 2xx without Session-Expires | we | |
//! | UAC | yes | `uac`, none | we | |
//! | UAC | yes | `uas` | the peer | |

use std::time::Duration;

use machine::Instant;
use sip::message::{Builder, Message, Method, Name, Refresher, SessionExpires};

use crate::config::SessionPolicy;
use crate::limits::SESSION_MAX_S;

/// The option tag.
pub(crate) const TIMER: &str = "timer";

//= RFC 4028 §4, §5: no interval and no minimum is shorter, and where no minimum is given it is this.
const INTERVAL_MIN_S: u32 = 90;
/// The longest time before expiry at which a session that was not refreshed ends (RFC 4028 §10).
const MARGIN_MAX: Duration = Duration::from_secs(32);
/// How often a refresh that is refused is tried in one interval.
const ATTEMPTS_MAX: u8 = 3;
/// How many 422 are met with a longer interval; after that the peer is asked for none.
const RETRIES_MAX: u8 = 3;

/// The session timer of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    /// The interval we ask for, in seconds; 0: none, and none is agreed to.
    interval_s: u32,
    /// The shortest interval we agree to.
    minimum_s: u32,
    /// The longest Min-SE heard on this leg.
    min_se_s: u32,
    /// 422 answered with a longer interval.
    retries: u8,
    /// The peer can agree to no interval that we could: none is asked for, and we refresh all the same.
    aside: bool,
    /// The peer says that it takes UPDATE.
    takes_update: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No session, or none with a timer.
    Idle,
    /// The peer refreshes.
    Theirs(Period),
    /// We refresh: at `next`, unless a refresh is under way.
    Ours { period: Period, next: Option<Instant>, attempts: u8 },
}

/// From one 2xx to the expiry that it has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    since: Instant,
    interval_s: u32,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A refresh of ours.
    Refresh,
    /// The end: nobody has refreshed the session.
    Expired,
}

/// What a message says of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    supports: bool,
    expires: Option<SessionExpires>,
    min_se_s: u32,
}

impl Heard {
    /// What cannot be read counts as not said: the session is then timed by what we want.
    fn in_message(message: &Message) -> Self {
        Self {
            supports: message.tokens(Name::Supported).any(|option| option.eq_ignore_ascii_case(TIMER)),
            expires: message.session_expires().ok().flatten(),
            min_se_s: message.min_se().ok().flatten().unwrap_or(0),
        }
    }

    /// True if its minimum is longer than any session may be.
    fn is_too_long(self) -> bool {
        self.min_se_s > SESSION_MAX_S
    }

    /// A request: whoever can agree to no interval that we could is as good as one without session timers.
    fn asked(self) -> Self {
        if self.is_too_long() { Self { supports: false, expires: None, min_se_s: 0 } } else { self }
    }

    /// The interval of a 2xx, if we can live with it.
    fn granted(self) -> Option<SessionExpires> {
        self.expires.filter(|expires| expires.interval_s <= SESSION_MAX_S)
    }
}

impl Period {
    fn expires(self) -> Instant {
        self.since + Duration::from_secs(u64::from(self.interval_s))
    }

    /// When the call ends if nobody has refreshed it.
    //= RFC 4028 §10: the lesser of 32 s and a third of the interval before expiry.
    fn end(self) -> Instant {
        let interval = Duration::from_secs(u64::from(self.interval_s));
        self.since + (interval - (interval / 3).min(MARGIN_MAX))
    }
}

impl SessionTimer {
    /// A leg without a session yet.
    pub(crate) fn new(policy: SessionPolicy) -> Self {
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let minimum_s = seconds(policy.minimum).max(INTERVAL_MIN_S);
        Self {
            interval_s: policy.interval.map_or(0, |interval| seconds(interval).max(minimum_s)),
            minimum_s,
            min_se_s: 0,
            retries: 0,
            aside: false,
            takes_update: false,
            state: State::Idle,
        }
    }

    /// True if we take part in session timers on this leg.
    pub(crate) fn is_on(&self) -> bool {
        self.interval_s > 0
    }

    /// True if the peer says that it takes UPDATE.
    pub(crate) fn takes_update(&self) -> bool {
        self.takes_update
    }

    /// The peer does not take UPDATE, whatever it says.
    pub(crate) fn update_refused(&mut self) {
        self.takes_update = false;
    }

    /// When the session ends unless it is refreshed.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.period().map(Period::expires)
    }

    fn period(&self) -> Option<Period> {
        match self.state {
            State::Idle => None,
            State::Theirs(period) | State::Ours { period, .. } => Some(period),
        }
    }

    /// What is due next.
    pub(crate) fn next(&self) -> Option<(Instant, Due)> {
        match self.state {
            State::Idle => None,
            State::Theirs(period) => Some((period.end(), Due::Expired)),
            State::Ours { period, next, .. } => Some(match next.filter(|at| *at < period.end()) {
                Some(at) => (at, Due::Refresh),
                None => (period.end(), Due::Expired),
            }),
        }
    }

    /// The call has ended.
    pub(crate) fn stop(&mut self) {
        self.interval_s = 0;
        self.state = State::Idle;
    }
}

/// As UAC.
impl SessionTimer {
    /// Writes what a request of ours says of session timers.
    pub(crate) fn ask(&self, builder: Builder, method: &Method) -> Builder {
        if !self.is_on() || *method == Method::Ack {
            return builder;
        }
        //= RFC 4028 §7.1: every request but ACK says that we support it.
        let builder = builder.header(Name::Supported, TIMER);
        match method {
            // Before the answer there is no session that an UPDATE could refresh.
            Method::Update if self.state == State::Idle => builder,
            Method::Invite | Method::Update if self.aside => builder,
            Method::Invite | Method::Update => self.ask_interval(builder),
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Options
            | Method::Register
            | Method::Prack
            | Method::Info
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Message
            | Method::Publish
            | Method::Other(_) => builder,
        }
    }

    fn ask_interval(&self, builder: Builder) -> Builder {
        let builder = builder.header_fmt(Name::SessionExpires, format_args!("{}", self.asked()));
        //= RFC 4028 §7.4: once heard, the longest minimum stands in every refresh; ours is part of it.
        match self.min_se_s.max(self.minimum_s) {
            INTERVAL_MIN_S => builder,
            minimum => builder.header_fmt(Name::MinSe, format_args!("{minimum}")),
        }
    }

    /// The interval asked for, and who shall refresh.
    //= RFC 4028 §7.4: inside a session the interval it has, never below the minimum, and the roles it has.
    fn asked(&self) -> SessionExpires {
        let (interval_s, refresher) = match self.state {
            State::Idle => (self.interval_s, None),
            State::Theirs(period) => (period.interval_s, Some(Refresher::Uas)),
            State::Ours { period, .. } => (period.interval_s, Some(Refresher::Uac)),
        };
        SessionExpires { interval_s: interval_s.max(self.min_se_s).max(self.minimum_s), refresher }
    }

    /// The peer's 2xx to an INVITE or UPDATE of ours.
    pub(crate) fn accepted(&mut self, now: Instant, response: &Message) {
        if self.is_on() {
            self.learn(response);
            self.on_accepted(now, Heard::in_message(response));
        }
    }

    fn on_accepted(&mut self, now: Instant, heard: Heard) {
        let (interval_s, refresher) = match heard.granted() {
            Some(SessionExpires { interval_s, refresher }) => (interval_s, refresher),
            //= RFC 4028 §7.2: a peer that does not answer to it has no timer; we do what it does not.
            None if self.aside => (self.interval_s, None),
            None => (self.asked().interval_s, None),
        };
        if self.state == State::Idle {
            //= RFC 4028 §7.4: minima of 422 before there was a dialog do not count inside it.
            self.min_se_s = 0;
        }
        self.start(now, interval_s, refresher == Some(Refresher::Uas));
    }

    /// The peer's 422 to an INVITE or UPDATE of ours. True: to be asked once more, with what [`SessionTimer::ask`]
    /// writes now.
    pub(crate) fn too_small(&mut self, response: &Message) -> bool {
        self.is_on() && !self.aside && {
            self.on_too_small(Heard::in_message(response).min_se_s);
            true
        }
    }

    //= RFC 4028 §7.3: once more with the minimum that the 422 names. One that names none that would help, or goes on
    // naming others, or one that is longer than any session may be, is asked for no interval: that it cannot refuse.
    fn on_too_small(&mut self, min_se_s: u32) {
        self.retries = self.retries.saturating_add(1);
        let helps = min_se_s > self.asked().interval_s && min_se_s <= SESSION_MAX_S;
        if helps && self.retries <= RETRIES_MAX {
            self.min_se_s = min_se_s;
        } else {
            (self.aside, self.min_se_s) = (true, 0);
        }
    }

    /// A refresh of ours has left.
    pub(crate) fn refreshing(&mut self) {
        if let State::Ours { next, .. } = &mut self.state {
            *next = None;
        }
    }

    /// A refresh has to wait, because something else is under way.
    pub(crate) fn postpone(&mut self, at: Instant) {
        if let State::Ours { next, .. } = &mut self.state {
            *next = Some(at);
        }
    }

    /// A refresh was refused, which says nothing of the session: tried again after `pause`, or when half of the time
    /// that is left is gone.
    //= RFC 4028 §10: the rules of the response are followed, but not without an end.
    pub(crate) fn refused(&mut self, now: Instant, pause: Option<Duration>) {
        if let State::Ours { period, next, attempts } = &mut self.state {
            *attempts = attempts.saturating_add(1);
            let pause = pause.unwrap_or_else(|| period.end().since(now) / 2);
            *next = (*attempts < ATTEMPTS_MAX).then_some(now + pause);
        }
    }
}

/// As UAS.
impl SessionTimer {
    /// An INVITE or UPDATE of the peer arrived. `Err`: 422 with this Min-SE.
    pub(crate) fn asked_by_peer(&mut self, request: &Message) -> Result<(), u32> {
        if !self.is_on() {
            return Ok(());
        }
        self.learn(request);
        self.on_asked(Heard::in_message(request))
    }

    fn on_asked(&mut self, heard: Heard) -> Result<(), u32> {
        self.aside = heard.is_too_long();
        let heard = heard.asked();
        self.min_se_s = self.min_se_s.max(heard.min_se_s);
        match heard.expires {
            //= RFC 4028 §9: only who supports it can do something about a 422.
            Some(expires) if heard.supports && expires.interval_s < self.minimum_s => Err(self.minimum_s),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes what our 2xx to a peer's INVITE or UPDATE says of session timers; the session begins, or is refreshed.
    pub(crate) fn answer(&mut self, now: Instant, builder: Builder, request: &Message) -> Builder {
        if !self.is_on() {
            return builder;
        }
        let heard = Heard::in_message(request);
        let expires = self.on_answer(now, heard);
        let builder = builder.more(Name::Supported, format_args!("{TIMER}"));
        match expires {
            Some(expires) => {
                let builder = builder.header_fmt(Name::SessionExpires, format_args!("{expires}"));
                //= RFC 4028 §9: whoever has to refresh, or to notice that nobody does, must read the 2xx.
                if heard.supports { builder.more(Name::Require, format_args!("{TIMER}")) } else { builder }
            }
            None => builder,
        }
    }

    fn on_answer(&mut self, now: Instant, heard: Heard) -> Option<SessionExpires> {
        let heard = heard.asked();
        let floor = heard.min_se_s.max(INTERVAL_MIN_S);
        //= RFC 4028 §9: what is asked for may be made shorter, never longer, and not below the minimum.
        let interval_s = match (heard.expires, self.period()) {
            (Some(expires), _) => expires.interval_s.min(self.interval_s),
            (None, Some(period)) => period.interval_s,
            (None, None) => self.interval_s,
        };
        let chosen = heard.expires.and_then(|expires| expires.refresher);
        let theirs = heard.supports && chosen != Some(Refresher::Uas);
        let interval_s = self.start(now, interval_s.max(floor), theirs);
        let refresher = Some(if theirs { Refresher::Uac } else { Refresher::Uas });
        let said = heard.supports || heard.expires.is_some();
        said.then_some(SessionExpires { interval_s, refresher })
    }
}

impl SessionTimer {
    /// Learns what the peer can do.
    fn learn(&mut self, message: &Message) {
        if message.header(Name::Allow).is_some() {
            //= RFC 4028 §7.4: who lists UPDATE is refreshed by it.
            self.takes_update = message.tokens(Name::Allow).any(|method| method == Method::Update.text());
        }
    }

    fn start(&mut self, now: Instant, interval_s: u32, theirs: bool) -> u32 {
        let interval_s = interval_s.max(INTERVAL_MIN_S);
        let period = Period { since: now, interval_s };
        self.retries = 0;
        self.state = match theirs {
            true => State::Theirs(period),
            //= RFC 4028 §7.2, §9: at half of the interval.
            false => {
                let half = Duration::from_secs(u64::from(interval_s)) / 2;
                State::Ours { period, next: Some(now + half), attempts: 0 }
            }
        };
        interval_s
    }
}

#[cfg(test)]
mod tests;
