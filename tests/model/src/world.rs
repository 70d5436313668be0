//! The world that is explored: one B2BUA, two phones, its middleboxes, and a network that may do harm a few times.

use std::time::Duration;

use b2bua::side::{Side, Sides};
use b2bua::{B2bua, Input, Output};
use bytes::Bytes;
use machine::onlooker::Onlooker;
use machine::{Instant, Machine, Outbox, Rng, Text};
use midcom::{AgentEvent, DownReason, Failure, Lifetime, MiddleboxId, Notification, Reply, RequestId};
use sip::transport::{Hop, ListenerId, Protocol};

use crate::canon::{Canon, Fingerprint, Watched};
use crate::middlebox::{Memory, Middlebox};
use crate::monitor::Monitor;
use crate::phone::{Act, Phone, Said, Skills};
use crate::scenario::{Scenario, Upset};
use crate::subject::Subject;

/// RFC 3261 §17.1.2.2: how long a message stays in the network.
const T4: Duration = Duration::from_secs(5);

/// One thing that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// A phone does something of its own accord.
    Act(Side, Act, Fate),
    /// A phone reads its next message and reacts.
    Read(Side, Fate),
    /// The next message to a phone is lost.
    Drop(Side),
    /// The next message to a phone arrives twice.
    Again(Side),
    /// The second copy of a message arrives.
    Copy,
    /// A middlebox carries out its oldest question.
    Reply(u8),
    /// It refuses it.
    Refuse(u8),
    /// It carries it out, and is slow to say so.
    Hush(u8),
    /// The slow reply arrives.
    LateReply(u8),
    /// It ends the rule at this position.
    Revoke(u8, u8),
    /// The session breaks.
    Break(u8, Memory),
    /// The session is back.
    Mend(u8),
    /// Nothing is under way, and time passes until somebody's next timer.
    Tick,
    /// The same although something is under way.
    Delay,
}

/// What becomes of the first message that a phone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It is lost.
    Lost,
    /// It arrives, and once more later.
    Twice,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct World {
    now: Instant,
    b2bua: Watched<Subject>,
    phones: Sides<Watched<Phone>>,
    middleboxes: Watched<Vec<Middlebox>>,
    left: Budget,
    /// A second copy in the network, and until when.
    copy: Option<(Side, Text<Bytes>, Instant)>,
    monitor: Watched<Monitor>,
}

/// What may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budget {
    losses: u8,
    copies: u8,
    upsets: u8,
}

/// What a move looked like from outside: for printing.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Lines of a flow.
    pub lines: Vec<String>,
}

impl World {
    /// Before anything has happened; the middleboxes are up.
    ///
    /// # Errors
    /// The scenario's settings are none.
    pub fn new(scenario: &Scenario) -> Result<Self, String> {
        let settings = flows::settings::Settings::new(&scenario.settings)?;
        let (config, capabilities) = (settings.config()?, settings.capabilities()?);
        let is_inside = scenario.calls_from_inside();
        let (outside, inside) = (flows::world::OUTSIDE, flows::world::INSIDE);
        let (a, b) = if is_inside { (inside, outside) } else { (outside, inside) };
        let middleboxes = config.middleboxes.iter().map(|_| Middlebox::new()).collect();
        let mut world = Self {
            now: Instant::ZERO,
            b2bua: Watched::new(Subject::new(B2bua::new(config, Rng::from_number(1)), scenario.fault)),
            phones: Sides {
                a: Watched::new(Phone::new(Side::A, a, scenario.skills())),
                b: Watched::new(Phone::new(Side::B, b, Skills { asks: false, ..scenario.skills() })),
            },
            middleboxes: Watched::new(middleboxes),
            left: Budget { losses: scenario.losses, copies: scenario.copies, upsets: scenario.upsets },
            copy: None,
            monitor: Watched::new(Monitor::of_pair(
                scenario.settings.contains(&("standby".into(), "yes".into())),
            )),
        };
        for number in 0..world.middleboxes.len() {
            world.middleboxes[number].is_up = true;
            world.midcom(number, AgentEvent::Up(capabilities))?;
            world.reply(number, &mut Trace::default())?;
        }
        Ok(world)
    }

    /// What stands for this state.
    pub fn fingerprint(&self, canon: &mut Canon) -> Fingerprint {
        self.show(canon);
        canon.fingerprint()
    }

    /// The whole state but its time: everything is relative to that.
    pub fn show(&self, canon: &mut Canon) {
        let Self { now, b2bua, phones, middleboxes, left, copy, monitor } = self;
        canon.begin(*now);
        canon.watch(b2bua, |b2bua, canon| b2bua.show(canon));
        for phone in [&phones.a, &phones.b] {
            canon.watch(phone, |phone, canon| canon.see(phone));
        }
        canon.watch(middleboxes, |middleboxes, canon| {
            middleboxes.iter().for_each(|middlebox| middlebox.show(canon));
        });
        canon.see(left);
        canon.see(copy);
        canon.watch(monitor, |monitor, canon| canon.see(monitor));
    }

    /// How many points in time ahead somebody waits for.
    fn next_timeout(&self) -> Option<Instant> {
        let b2bua = self.b2bua.next_timeout().map(|(at, _)| at);
        let phones = [self.phones.a.next_timeout(), self.phones.b.next_timeout()];
        let middleboxes = self.middleboxes.iter().filter_map(Middlebox::next_timeout);
        let copy = self.copy.as_ref().map(|(_, _, until)| *until);
        b2bua.into_iter().chain(phones.into_iter().flatten()).chain(middleboxes).chain(copy).min()
    }

    /// Everything that can happen now.
    pub fn moves(&self, scenario: &Scenario, out: &mut Vec<Move>) {
        out.clear();
        // A phone of a flow acknowledges a failure at once, so here too.
        if let Some(side) = [Side::A, Side::B].into_iter().find(|side| self.phones[*side].is_refused_next()) {
            return self.moves_of_reading(side, out);
        }
        for side in [Side::A, Side::B] {
            self.moves_of_reading(side, out);
            self.phones[side].acts(|act, is_rare| self.moves_of_act(scenario, side, act, is_rare, out));
        }
        for (number, middlebox) in (0..).zip(self.middleboxes.iter()) {
            self.moves_of_middlebox(scenario, number, middlebox, out);
        }
        if self.copy.is_some() {
            out.push(Move::Copy);
        }
        if self.next_timeout().is_some() {
            match self.is_something_under_way() {
                false => out.push(Move::Tick),
                true if self.may(scenario, Upset::Delay) => out.push(Move::Delay),
                true => {}
            }
        }
    }

    fn is_something_under_way(&self) -> bool {
        let unread = [Side::A, Side::B]
            .into_iter()
            .any(|side| self.phones[side].next_unread().is_some() || self.phones[side].is_asked());
        unread || self.middleboxes.iter().any(Middlebox::is_busy)
    }

    fn may(&self, scenario: &Scenario, upset: Upset) -> bool {
        self.left.upsets > 0 && scenario.kinds.contains(&upset)
    }

    fn moves_of_reading(&self, side: Side, out: &mut Vec<Move>) {
        let phone = &self.phones[side];
        if phone.next_unread().is_none() {
            return;
        }
        let reacts = phone.would_react();
        out.push(Move::Read(side, Fate::Arrives));
        if self.left.losses > 0 {
            out.push(Move::Drop(side));
            if reacts && !phone.is_refused_next() {
                out.push(Move::Read(side, Fate::Lost));
            }
        }
        if self.left.copies > 0 && reacts && !phone.is_refused_next() {
            out.push(Move::Again(side));
            out.push(Move::Read(side, Fate::Twice));
        }
    }

    fn moves_of_act(&self, scenario: &Scenario, side: Side, act: Act, is_rare: bool, out: &mut Vec<Move>) {
        // With both gone, and without session timers, a call lives for ever, and should.
        if act == Act::Die && self.phones[side.other()].is_dead() {
            return;
        }
        if is_rare && !self.may(scenario, Upset::of(act)) || !scenario.acts(act) {
            return;
        }
        out.push(Move::Act(side, act, Fate::Arrives));
        if self.left.losses > 0 && act != Act::Die {
            out.push(Move::Act(side, act, Fate::Lost));
        }
        if self.left.copies > 0 && act != Act::Die {
            out.push(Move::Act(side, act, Fate::Twice));
        }
    }

    fn moves_of_middlebox(
        &self,
        scenario: &Scenario,
        number: u8,
        middlebox: &Middlebox,
        out: &mut Vec<Move>,
    ) {
        let may = |upset| self.may(scenario, upset);
        if !middlebox.is_up {
            return out.push(Move::Mend(number));
        }
        if middlebox.is_busy() {
            out.push(Move::Reply(number));
            if may(Upset::Refuse) {
                out.push(Move::Refuse(number));
            }
            if may(Upset::Late) {
                out.push(Move::Hush(number));
            }
        }
        if middlebox.late.is_some() {
            out.push(Move::LateReply(number));
        }
        if may(Upset::Revoke) {
            let known = (0..).zip(&middlebox.rules).filter(|(_, rule)| rule.is_there && rule.is_known);
            out.extend(known.map(|(position, _)| Move::Revoke(number, position)));
        }
        if may(Upset::Restart) {
            let memories = match middlebox.open.is_empty() {
                true => &[Memory::Kept, Memory::Lost][..],
                false => &[Memory::Kept, Memory::Ahead, Memory::Lost][..],
            };
            out.extend(memories.iter().map(|memory| Move::Break(number, *memory)));
        }
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// What must never be.
    pub fn apply(&mut self, scenario: &Scenario, step: Move, trace: &mut Trace) -> Result<(), String> {
        self.spend(step);
        match step {
            Move::Act(side, act, fate) => {
                let said = self.phones[side].act(self.now, act);
                self.say(side, said, fate, trace)?;
            }
            Move::Read(side, fate) => {
                let said = self.phones[side].read(self.now);
                self.say(side, said, fate, trace)?;
            }
            Move::Drop(side) => {
                trace.lines.push(format!("# the message to {side} is lost"));
                self.phones[side].lose();
            }
            Move::Again(side) => self.phones[side].read_twice(),
            Move::Copy => {
                if let Some((side, bytes, _)) = self.copy.take() {
                    trace.lines.push(format!("{side} > {}", again(&bytes)));
                    self.deliver(side, bytes)?;
                }
            }
            Move::Reply(number) => self.reply(usize::from(number), trace)?,
            Move::Refuse(number) => {
                let middlebox = &mut self.middleboxes[usize::from(number)];
                if let Some((id, _)) = middlebox.open.pop_front() {
                    trace.lines.push("M > refuse resources".into());
                    let refusal = Err(Failure::NoResources);
                    self.midcom(usize::from(number), AgentEvent::Reply(id, refusal))?;
                }
            }
            Move::Hush(number) => {
                let middlebox = &mut self.middleboxes[usize::from(number)];
                middlebox.late = middlebox.carry_out(self.now);
            }
            Move::LateReply(number) => {
                let late = self.middleboxes[usize::from(number)].late.take();
                self.answer(usize::from(number), late, trace)?;
            }
            Move::Revoke(number, position) => self.revoke(number, position, trace)?,
            Move::Break(number, memory) => self.break_down(usize::from(number), memory, trace)?,
            Move::Mend(number) => {
                let settings = flows::settings::Settings::new(&scenario.settings)?;
                let number = usize::from(number);
                self.middleboxes[number].is_up = true;
                trace.lines.push("M > up".into());
                self.midcom(number, AgentEvent::Up(settings.capabilities()?))?;
            }
            Move::Tick | Move::Delay => self.tick(trace)?,
        }
        self.read_what_needs_no_choice();
        self.check()
    }

    fn spend(&mut self, step: Move) {
        let left = &mut self.left;
        match step {
            Move::Act(_, _, Fate::Lost) | Move::Read(_, Fate::Lost) | Move::Drop(_) => left.losses -= 1,
            Move::Act(_, _, Fate::Twice) | Move::Read(_, Fate::Twice) | Move::Again(_) => left.copies -= 1,
            Move::Refuse(_) | Move::Hush(_) | Move::Revoke(..) | Move::Break(..) | Move::Delay => {
                left.upsets -= 1
            }
            Move::Act(..)
            | Move::Read(..)
            | Move::Copy
            | Move::Reply(_)
            | Move::LateReply(_)
            | Move::Mend(_)
            | Move::Tick => {}
        }
        if let Move::Act(_, act, _) = step
            && Upset::is_rare(act)
        {
            left.upsets -= 1;
        }
    }

    /// Messages that change nothing but what a phone knows are read at once, unless they may still be lost.
    fn read_what_needs_no_choice(&mut self) {
        for side in [Side::A, Side::B] {
            let phone = &mut self.phones[side];
            while self.left.losses == 0 && phone.next_unread().is_some() && !phone.would_react() {
                let _silent = phone.read(self.now);
            }
        }
    }

    fn say(&mut self, side: Side, said: Vec<Said>, fate: Fate, trace: &mut Trace) -> Result<(), String> {
        for (position, Said { words, bytes }) in said.into_iter().enumerate() {
            let fate = if position == 0 { fate } else { Fate::Arrives };
            if fate == Fate::Lost {
                trace.lines.push(format!("# lost: {side} > {words}"));
                continue;
            }
            if !words.is_empty() {
                trace.lines.push(format!("{side} > {words}"));
            }
            if fate == Fate::Twice {
                self.copy = Some((side, bytes.clone(), self.now + T4));
            }
            self.deliver(side, bytes)?;
        }
        Ok(())
    }

    fn deliver(&mut self, side: Side, Text(bytes): Text<Bytes>) -> Result<(), String> {
        self.monitor.arrives(side, &bytes);
        let remote = self.phones[side].address();
        let listener = ListenerId(u16::from(remote == flows::world::INSIDE));
        let hop = Hop { listener, protocol: Protocol::Udp, remote, connection: None, name: None };
        self.handle(Input::Message { hop, bytes })
    }

    fn midcom(&mut self, number: usize, event: AgentEvent) -> Result<(), String> {
        self.handle(Input::Midcom { middlebox: MiddleboxId(number as u16), event })
    }

    fn handle(&mut self, input: Input) -> Result<(), String> {
        let mut out = Outbox::new();
        self.b2bua.handle(self.now, input, &mut out);
        self.carry_out(out)
    }

    fn carry_out(&mut self, mut out: Outbox<Output>) -> Result<(), String> {
        let mut unasked = Vec::new();
        for output in out.drain() {
            match output {
                Output::Transmit { hop, bytes } => {
                    let side = if hop.remote == self.phones.a.address() { Side::A } else { Side::B };
                    self.monitor.leaves(side, &bytes, &self.middleboxes)?;
                    self.phones[side].receive(bytes);
                }
                Output::Midcom { middlebox, id, request } => {
                    let number = usize::from(middlebox.0);
                    match self.middleboxes[number].is_up {
                        true => self.middleboxes[number].ask(id, request),
                        false => unasked.push((number, id)),
                    }
                }
                Output::Event(event) => self.monitor.notes(&event),
                Output::Resolve { .. } | Output::ShutdownComplete => {}
            }
        }
        for (number, id) in unasked {
            self.midcom(number, AgentEvent::Reply(id, Err(Failure::NoSession)))?;
        }
        Ok(())
    }

    fn reply(&mut self, number: usize, trace: &mut Trace) -> Result<(), String> {
        let reply = self.middleboxes[number].carry_out(self.now);
        self.answer(number, reply, trace)
    }

    fn answer(
        &mut self,
        number: usize,
        reply: Option<(RequestId, Result<Reply, Failure>)>,
        trace: &mut Trace,
    ) -> Result<(), String> {
        let Some((id, reply)) = reply else { return Ok(()) };
        self.middleboxes[number].told(&reply);
        let words = if reply == Err(Failure::NoSuchRule) { "refuse norule" } else { "ok" };
        trace.lines.push(format!("M > {words}"));
        self.midcom(number, AgentEvent::Reply(id, reply))
    }

    fn revoke(&mut self, number: u8, position: u8, trace: &mut Trace) -> Result<(), String> {
        let number = usize::from(number);
        let prid = self.middleboxes[number].rules[usize::from(position)].prid;
        self.middleboxes[number].end(prid);
        trace.lines.push(format!("M > event {} 0", prid.0));
        let event = Notification::RuleEvent { prid, lifetime: Lifetime::END };
        self.midcom(number, AgentEvent::Notification(event))
    }

    fn break_down(&mut self, number: usize, memory: Memory, trace: &mut Trace) -> Result<(), String> {
        let there = self.middleboxes[number].rules.iter().filter(|rule| rule.is_there);
        let lost = there.map(|rule| format!("M > lose {}", rule.prid.0)).collect::<Vec<_>>();
        let open = self.middleboxes[number].break_down(self.now, memory);
        trace.lines.push("M > down".into());
        match memory {
            Memory::Lost => trace.lines.extend(lost),
            Memory::Ahead => trace.lines.push("# the open questions were carried out".into()),
            Memory::Kept => {}
        }
        for id in open {
            self.midcom(number, AgentEvent::Reply(id, Err(Failure::SessionLost)))?;
        }
        self.midcom(number, AgentEvent::Down(DownReason::Terminated))
    }

    /// The B2BUA's timers first, then what ends by itself, then the phones'.
    fn tick(&mut self, trace: &mut Trace) -> Result<(), String> {
        let Some(next) = self.next_timeout() else { return Ok(()) };
        let passed = next.since(self.now);
        self.now = self.now.max(next);
        trace.lines.push(format!("+{}ms", passed.as_millis()));
        let mut out = Outbox::new();
        self.b2bua.handle_timeout(self.now, &mut out);
        self.carry_out(out)?;
        for middlebox in self.middleboxes.iter_mut() {
            middlebox.fire(self.now);
        }
        self.copy.take_if(|(_, _, until)| *until <= self.now);
        for side in [Side::A, Side::B] {
            let said = self.phones[side].fire(self.now);
            self.say(side, said, Fate::Arrives, trace)?;
        }
        Ok(())
    }

    /// What must hold in every state.
    fn check(&self) -> Result<(), String> {
        let holdings = self.b2bua.holdings();
        if holdings.calls > 0 || holdings.requests > 0 {
            return Ok(());
        }
        for (number, middlebox) in self.middleboxes.iter().enumerate() {
            let is_quiet = middlebox.is_up && middlebox.open.is_empty() && middlebox.late.is_none();
            if is_quiet && middlebox.rules() > 0 {
                return Err(format!("no call is left, but a rule at middlebox {}", number + 1));
            }
        }
        Ok(())
    }

    /// What must hold where nothing can happen any more.
    ///
    /// # Errors
    /// What does not.
    pub fn check_rest(&self) -> Result<(), String> {
        let holdings = self.b2bua.holdings();
        if !holdings.is_empty() {
            return Err(format!("nothing can happen any more, and something is still held: {holdings:?}"));
        }
        let rules: usize = self.middleboxes.iter().map(Middlebox::rules).sum();
        if rules > 0 {
            return Err(format!("nothing can happen any more, and {rules} rules are left"));
        }
        if let Some((_, what)) = self.b2bua.next_timeout() {
            return Err(format!("nothing can happen any more, and a timer runs: {what}"));
        }
        self.monitor.check_rest()
    }
}

/// A message as a flow repeats it.
fn again(bytes: &Bytes) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split([' ', '\r']);
    let first = words.next().unwrap_or_default();
    if first != "SIP/2.0" {
        return format!("{first} again");
    }
    let status = words.next().unwrap_or_default();
    let method =
        text.split("CSeq: ").nth(1).and_then(|rest| rest.split([' ', '\r']).nth(1)).unwrap_or_default();
    match method {
        "INVITE" => format!("{status} again"),
        other => format!("{status} {other} again"),
    }
}
