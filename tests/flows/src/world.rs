//! The world of a flow: two phones and two more, one B2BUA, its middleboxes.
//!
//! ```text
//!  outside realm                                   inside realm
//!  phone 192.0.2.10:5060 -- 203.0.113.1:5060 B2BUA 10.0.0.1:5060 -- phone 10.0.0.5:5060
//!  C     192.0.2.11:5060 --'                                    '-- D     10.0.0.6:5060
//!  media anywhere                                  media 10.0.40.0/24, ports 16384-32767
//! ```
//!
//! C and D take part in transfers; calls are routed to them only by `outside-next-hop` and `inside-next-hop`. What else can
//! be set stands in `settings.rs`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use b2bua::{B2bua, CallId, Event, Input, LookupId, Output, Reload};
use bytes::Bytes;
use machine::{Instant, Machine, Outbox, Rng};
use midcom::{AgentEvent, Capabilities, DownReason, Failure, Lifetime, MiddleboxId, Notification, Prid};
use sip::locate::Place;
use sip::transport::{Hop, ListenerId, Protocol};

use crate::admission;
use crate::firewall::{self, Firewall};
use crate::phone::Phone;
use crate::render;
use crate::script::Step;
use crate::settings::Settings;

/// The phone outside.
pub const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 5060);
/// The phone inside.
pub const INSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)), 5060);
const SECOND_OUTSIDE: &str = "192.0.2.11:5060";
const SECOND_INSIDE: &str = "10.0.0.6:5060";
/// Enough for anything that becomes quiet at all.
const ROUNDS_MAX: u32 = 10_000;
/// Longer than any timer of a call that is over.
const REST: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug)]
pub struct World {
    now: Instant,
    b2bua: B2bua,
    /// A, B, C and D, each with whether it is inside.
    phones: [(Phone, bool); 4],
    firewalls: Vec<Firewall>,
    capabilities: Capabilities,
    lookups: Vec<LookupId>,
    show: Vec<String>,
    outputs: Vec<String>,
    /// The messages among them, as they were sent, each with the letter of its phone.
    messages: Vec<(char, Bytes)>,
    /// Open questions of all middleboxes, oldest first.
    asked: Vec<usize>,
    /// What registrars call phones: `$NAME1` and so on.
    names: Vec<String>,
    /// How many ghost rings there were, and how many were prevented.
    ghosts: (usize, usize),
    /// Offences, and those that an ACK will prove.
    offences: (usize, usize),
}

impl World {
    /// A world with these settings, its middleboxes up.
    ///
    /// # Errors
    /// The setting that is none.
    pub fn new(settings: &[(String, String)]) -> Result<Self, String> {
        let settings = Settings::new(settings)?;
        let a_inside = settings.value("call", "outside") == "inside";
        let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| error.to_string());
        let (a, b) = if a_inside { (INSIDE, OUTSIDE) } else { (OUTSIDE, INSIDE) };
        let target = |inside| if inside { "sip:b@10.0.0.1" } else { "sip:b@203.0.113.1" };
        let config = settings.config()?;
        let (capabilities, granted) = (settings.capabilities()?, settings.granted()?);
        let firewalls = config.middleboxes.iter().map(|_| Firewall::new(granted, capabilities.nat)).collect();
        let show = settings.value("show", "").split(',').map(|name| name.trim().to_owned());
        let mut world = Self {
            now: Instant::ZERO,
            b2bua: B2bua::new(config, Rng::from_number(1)),
            phones: [
                (Phone::new('A', a, target(a_inside).into()), a_inside),
                (Phone::new('B', b, "sip:a@203.0.113.1".into()), !a_inside),
                (Phone::new('C', address(SECOND_OUTSIDE)?, target(false).into()), false),
                (Phone::new('D', address(SECOND_INSIDE)?, target(true).into()), true),
            ],
            firewalls,
            capabilities,
            lookups: Vec::new(),
            show: show.filter(|name| !name.is_empty()).collect(),
            outputs: Vec::new(),
            messages: Vec::new(),
            asked: Vec::new(),
            names: Vec::new(),
            ghosts: (0, 0),
            offences: (0, 0),
        };
        for number in 0..world.firewalls.len() {
            world.midcom(number, AgentEvent::Up(capabilities));
            world.apply_firewall("ok")?;
        }
        world.outputs.clear();
        Ok(world)
    }

    /// The same world in another run: its phones name their calls anew.
    #[must_use]
    pub fn of_run(self, number: usize) -> Self {
        let phones = self.phones.map(|(phone, inside)| (phone.of_run(number), inside));
        Self { phones, ..self }
    }

    /// The machine that is played against.
    #[must_use]
    pub fn b2bua(&self) -> &B2bua {
        &self.b2bua
    }

    /// What has left since the last time.
    pub fn take_outputs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outputs)
    }

    /// True if something has left since the last time.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// The messages among them, as they were sent: to whom, and the octets.
    pub fn take_messages(&mut self) -> Vec<(char, Bytes)> {
        std::mem::take(&mut self.messages)
    }

    /// What registrars were told to call phones: the first is `$NAME1`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The time in this world.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets a step happen.
    ///
    /// # Errors
    /// It cannot happen, or what it says does not hold.
    pub fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Sent { who: 'M', words } => self.apply_firewall(words)?,
            Step::Sent { who: 'R', words } => self.apply_runtime(words)?,
            Step::Sent { who, words } => {
                let words = self.with_names(words)?;
                let number = self.phone(*who)?;
                let bytes = self.phones[number].0.send(&words)?;
                self.handle_from(number, bytes);
            }
            Step::Received(_) => {}
            Step::Passes(time) => self.pass_until(self.now + *time),
            Step::Holds(what) => self.check(what)?,
        }
        Ok(())
    }

    fn phone(&self, letter: char) -> Result<usize, String> {
        let found = self.phones.iter().position(|(phone, _)| phone.letter() == letter);
        found.ok_or_else(|| format!("who is {letter}?"))
    }

    fn hop(&self, number: usize) -> Hop {
        let (phone, inside) = &self.phones[number];
        let listener = ListenerId(u16::from(*inside));
        Hop { listener, protocol: Protocol::Udp, remote: phone.address, connection: None, name: None }
    }

    fn handle_from(&mut self, number: usize, bytes: Bytes) {
        let hop = self.hop(number);
        self.handle(Input::Message { hop, bytes });
    }

    /// `$CALL-A`, `$OURS-A`, `$THEIRS-A` in words: Call-ID, our tag and the phone's of its last dialog. `$NAME1`: what a
    /// registrar was told to call a phone.
    fn with_names(&self, words: &str) -> Result<String, String> {
        let mut text = words.to_owned();
        for (name, value) in self.phones.iter().flat_map(|(phone, _)| phone.names()) {
            text = text.replace(&name, &value);
        }
        for (position, name) in self.names.iter().enumerate() {
            text = text.replace(&format!("$NAME{}", position + 1), name);
        }
        if text.contains('$') { Err(format!("no such dialog yet: {text}")) } else { Ok(text) }
    }

    /// The reverse, where a dialog is named and its names are random.
    fn named(&self, text: String) -> String {
        if !text.contains("Replaces") {
            return text;
        }
        let names = self.phones.iter().flat_map(|(phone, _)| phone.names());
        let random = names.filter(|(_, value)| value.len() >= 16);
        random.fold(text, |text, (name, value)| text.replace(&value, &name))
    }

    /// Names that registrars are told are random: the first is called `$NAME1`.
    fn note_names(&mut self, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes);
        let users = text.split("sip:").skip(1).filter_map(|rest| rest.split_once('@')).map(|(user, _)| user);
        for user in users.filter_map(|user| user.strip_prefix("p-")).filter(|user| is_name(user)) {
            if !self.names.iter().any(|name| name == user) {
                self.names.push(user.to_owned());
            }
        }
    }

    fn with_numbers(&self, text: String) -> String {
        let numbered = |text: String, (position, name): (usize, &String)| {
            text.replace(name, &format!("$NAME{}", position + 1))
        };
        self.names.iter().enumerate().fold(text, numbered)
    }

    fn handle(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.b2bua.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, mut out: Outbox<Output>) {
        let mut unasked = Vec::new();
        for output in out.drain() {
            match output {
                Output::Transmit { hop, bytes } => self.transmit(hop, &bytes),
                Output::Midcom { middlebox, id, request } => {
                    let number = usize::from(middlebox.0);
                    let at = if number == 0 { String::new() } else { format!("@{} ", number + 1) };
                    self.outputs.push(format!("M < {at}{}", render::midcom(&request)));
                    match self.firewalls.get_mut(number) {
                        Some(firewall) if firewall.is_up => {
                            firewall.asked(id, request);
                            self.asked.push(number);
                        }
                        Some(_) | None => unasked.push((number, id)),
                    }
                }
                Output::Resolve { id, wish } => {
                    self.outputs.push(format!("R < resolve {}", render::wish(&wish)));
                    self.lookups.push(id);
                }
                Output::Event(event) => self.count(&event),
                Output::ShutdownComplete => self.outputs.push("R < stopped".into()),
            }
        }
        for (number, id) in unasked {
            self.midcom(number, AgentEvent::Reply(id, Err(Failure::NoSession)));
        }
    }

    fn count(&mut self, event: &Event) {
        self.ghosts.0 += usize::from(matches!(event, Event::GhostRing { .. }));
        self.ghosts.1 += usize::from(matches!(event, Event::GhostRingPrevented { .. }));
        self.offences.0 += usize::from(matches!(event, Event::Offended { .. }));
        self.offences.1 += usize::from(matches!(event, Event::Offended { told: Some(_), .. }));
    }

    fn transmit(&mut self, hop: Hop, bytes: &Bytes) {
        let Some(number) = self.phones.iter().position(|(phone, _)| phone.address == hop.remote) else {
            self.outputs.push(format!("? < {} {}", hop.remote, render::sip(bytes, &self.show)));
            return;
        };
        self.note_names(bytes);
        let phone = &mut self.phones[number].0;
        self.messages.push((phone.letter(), bytes.clone()));
        let (letter, ack) = (phone.letter(), phone.receive(bytes));
        let text = self.named(render::sip(bytes, &self.show));
        let text = self.with_numbers(text);
        self.outputs.push(format!("{letter} < {text}"));
        if let Some(ack) = ack {
            self.handle_from(number, ack);
        }
    }

    fn midcom(&mut self, number: usize, event: AgentEvent) {
        if let Some(firewall) = self.firewalls.get_mut(number) {
            match event {
                AgentEvent::Up(_) => firewall.is_up = true,
                AgentEvent::Down(_) => firewall.is_up = false,
                AgentEvent::Reply(..) | AgentEvent::Notification(_) => {}
            }
        }
        self.handle(Input::Midcom { middlebox: MiddleboxId(number as u16), event });
    }

    fn up(&mut self, which: usize) -> Result<(), String> {
        self.midcom(which, AgentEvent::Up(self.capabilities));
        Ok(())
    }

    fn mute(&mut self, which: usize) -> Result<(), String> {
        self.firewalls.get_mut(which).ok_or("there is no such middlebox")?.broken();
        self.asked.retain(|asked| *asked != which);
        Ok(())
    }

    fn lose(&mut self, prid: u32, which: usize) -> Result<(), String> {
        self.firewalls.get_mut(which).ok_or("there is no such middlebox")?.forget(Prid(prid));
        Ok(())
    }

    fn down(&mut self, which: usize) -> Result<(), String> {
        let firewall = self.firewalls.get_mut(which).ok_or("there is no such middlebox")?;
        firewall.is_up = false;
        let open = firewall.broken();
        self.asked.retain(|asked| *asked != which);
        for id in open {
            self.midcom(which, AgentEvent::Reply(id, Err(Failure::SessionLost)));
        }
        self.midcom(which, AgentEvent::Down(DownReason::Terminated));
        Ok(())
    }

    /// `ok`, `ok all`, `ok 2` (of the open questions), `refuse NAME [N]`, `up [N]`, `down [N]` (the Nth middlebox), `mute N` (it
    /// answers nothing of what it has been asked), `event PID LIFETIME`, `plant PID` (a rule nobody asked for), `lose PID [N]` (a rule is gone and nobody is told), `packets PID N [WHICH]` (so
    /// many have passed it since it was made: what PRC then says).
    fn apply_firewall(&mut self, words: &str) -> Result<(), String> {
        let words: Vec<&str> = words.split(' ').collect();
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text} is no number"));
        match words.as_slice() {
            ["ok"] => self.answer(0, None),
            ["ok", "all"] => {
                for _ in 0..self.asked.len() {
                    self.answer(0, None)?;
                }
                Ok(())
            }
            ["ok", position] => self.answer(number(position)? as usize - 1, None),
            ["refuse", name] => self.answer(0, Some(refusal(name)?)),
            ["refuse", name, position] => self.answer(number(position)? as usize - 1, Some(refusal(name)?)),
            ["up"] => self.up(0),
            ["up", which] => self.up(number(which)? as usize - 1),
            ["down"] => self.down(0),
            ["down", which] => self.down(number(which)? as usize - 1),
            ["mute", which] => self.mute(number(which)? as usize - 1),
            ["event", prid, lifetime] => {
                let (prid, lifetime) = (Prid(number(prid)?), Lifetime(number(lifetime)?));
                if lifetime == Lifetime::END {
                    self.firewalls[0].forget(prid);
                }
                let event = Notification::RuleEvent { prid, lifetime };
                self.midcom(0, AgentEvent::Notification(event));
                Ok(())
            }
            ["plant", prid] => {
                self.firewalls[0].plant(Prid(number(prid)?));
                Ok(())
            }
            ["packets", prid, packets, which @ ..] => {
                let which = which.first().map_or(Ok(1), |which| number(which))? as usize - 1;
                self.firewalls[which].pass(Prid(number(prid)?), number(packets)?.into());
                Ok(())
            }
            ["lose", prid] => self.lose(number(prid)?, 0),
            ["lose", prid, which] => self.lose(number(prid)?, number(which)? as usize - 1),
            _ => Err(format!("what shall the middlebox do: {words:?}?")),
        }
    }

    fn answer(&mut self, position: usize, refusal: Option<Failure>) -> Result<(), String> {
        if position >= self.asked.len() {
            return Err("the middlebox was not asked so much".into());
        }
        let number = self.asked.remove(position);
        let before = self.asked[..position].iter().filter(|asked| **asked == number).count();
        let answered = self.firewalls[number].answer(before, refusal);
        let (id, reply) = answered.ok_or("the middlebox was not asked")?;
        self.midcom(number, AgentEvent::Reply(id, reply));
        Ok(())
    }

    /// `kick N`, `shutdown`, `clock Mon 09:00`, `call-policy LINES` (a reload), `resolved ADDR:PORT …`, `unresolved`, `unreachable A`.
    fn apply_runtime(&mut self, words: &str) -> Result<(), String> {
        let words: Vec<&str> = words.split(' ').collect();
        let input = match words.as_slice() {
            ["kick", call] => {
                Input::Kick { call: CallId(call.parse().map_err(|_| format!("no call {call}"))?) }
            }
            ["shutdown"] => Input::Shutdown,
            ["clock", day, time] => Input::Clock(admission::minute(day, time)?),
            ["call-policy", ..] => {
                let routes = self.b2bua.config().routes.clone();
                let lines = admission::lines(&words[1..].join(" "))?;
                Input::Reload(Box::new(Reload { routes, admission: lines, users: None }))
            }
            ["resolved", places @ ..] => {
                let place = |address: &&str| {
                    let address = address.parse().map_err(|_| format!("no address: {address}"))?;
                    Ok(Place { protocol: Protocol::Udp, address })
                };
                let places = places.iter().map(place).collect::<Result<_, String>>()?;
                Input::Resolved { id: self.lookups.pop().ok_or("nothing to resolve")?, places }
            }
            ["unresolved"] => {
                Input::Resolved { id: self.lookups.pop().ok_or("nothing to resolve")?, places: Vec::new() }
            }
            ["unreachable", letter] => {
                let number = self.phone(letter.chars().next().unwrap_or_default())?;
                Input::TransportFailed { hop: self.hop(number) }
            }
            _ => return Err(format!("what shall the runtime do: {words:?}?")),
        };
        self.handle(input);
        Ok(())
    }

    fn pass_until(&mut self, until: Instant) {
        for _ in 0..ROUNDS_MAX {
            if !self.pass(until) {
                return;
            }
        }
        self.now = until;
    }

    /// Lets time pass to the next timer, if one runs out until then, or else until then. True if there was one.
    pub fn pass(&mut self, until: Instant) -> bool {
        let Some((at, _)) = self.b2bua.next_timeout().filter(|(at, _)| *at <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(at);
        let mut out = Outbox::new();
        self.b2bua.handle_timeout(self.now, &mut out);
        self.carry_out(out);
        true
    }

    /// Where no call is left, lets time pass until nothing can be under way any more.
    ///
    /// # Errors
    /// A timer that is still running, and what for.
    pub fn come_to_rest(&mut self) -> Result<(), String> {
        if self.b2bua.calls().next().is_some() {
            return Ok(());
        }
        self.pass_until(self.now + REST);
        match self.b2bua.next_timeout() {
            Some((_, what)) => Err(format!("no call is left, but a timer: {what}")),
            None => Ok(()),
        }
    }

    /// `calls N`, `rules N` (as the ledgers see it), `firewall N` (rules the middlebox holds), `open N` (questions),
    /// `registrations N`, `subscriptions N`, `held 0` (nothing at all of calls and transactions is remembered), `ghosts N`, `prevented N` (ghost rings), `offences N`, `provable N` (by an ACK), counted since the beginning.
    fn check(&self, what: &str) -> Result<(), String> {
        let (name, wanted) = what.split_once(' ').ok_or("what must be how many?")?;
        let wanted: usize = wanted.trim().parse().map_err(|_| format!("{wanted} is no number"))?;
        let actual = match name {
            "calls" => self.b2bua.calls().count(),
            "rules" => self.b2bua.calls().map(|call| call.open_rules).sum(),
            "firewall" => self.firewalls.iter().map(Firewall::rules).sum(),
            "held" if !self.b2bua.holdings().is_empty() && wanted == 0 => {
                return Err(format!("something is held: {:?}", self.b2bua.holdings()));
            }
            "held" => wanted,
            "registrations" => self.b2bua.registrations().count(),
            "subscriptions" => self.b2bua.subscriptions_len(),
            "ghosts" => self.ghosts.0,
            "prevented" => self.ghosts.1,
            "offences" => self.offences.0,
            "provable" => self.offences.1,
            "open" => self.firewalls.iter().map(Firewall::open).sum(),
            other => return Err(format!("what is {other}?")),
        };
        if actual == wanted {
            return Ok(());
        }
        let calls: Vec<_> = self.b2bua.calls().collect();
        Err(format!("{name} are {actual}, not {wanted}: {calls:?}"))
    }
}

/// True for what is drawn of what the B2BUA tells a registrar to call a phone: 16 hexadecimal digits.
#[must_use]
pub fn is_name(user: &str) -> bool {
    user.len() == 16 && user.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn refusal(name: &str) -> Result<Failure, String> {
    firewall::failure(name).ok_or_else(|| format!("no such refusal: {name}"))
}
