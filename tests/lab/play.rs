//! A flow on a real kernel. Beside it the same steps are played against the machine alone, as `tests/flows` does: what that
//! says must have left must have left here as well, message by message and request by request.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use flows::{Script, Step, unanswered};
use midcom::{Direction, Failure, Lifetime, Parity, Request, Tuple};
use serde_json::Value;

use crate::seat::{Names, Seat};
use crate::stage::{LOT, PATIENCE, Stage, each};
use crate::world::signal;

/// One flow on the stage.
struct Play<'s, 'w> {
    stage: &'s mut Stage<'w>,
    machine: flows::world::World,
    a_inside: bool,
    show: Vec<String>,
    names: Names,
    /// Calls by their number in the machine's run.
    calls: BTreeMap<u64, u64>,
    /// The rules at the last look, at each middlebox.
    looked: Vec<Vec<String>>,
    /// Whose the open questions are, the oldest first.
    order: VecDeque<usize>,
    /// A phone has refused something: when that is tried again is drawn by lot (RFC 3261 §14.1), in either run.
    by_lot: bool,
}

/// Plays a flow to its end.
pub(crate) fn play(stage: &mut Stage<'_>, script: &Script) -> io::Result<()> {
    stage.runs += 1;
    let value = |name: &str| script.settings.iter().find(|(set, _)| set == name).map(|(_, value)| &**value);
    let a_inside = value("call") == Some("inside");
    let show = value("show").unwrap_or_default().split(',').map(|name| name.trim().to_owned());
    let show = show.filter(|name| !name.is_empty()).collect();
    let machine = flows::world::World::new(&script.settings).map_err(io::Error::other)?.of_run(stage.runs);
    let run = stage.runs;
    let target = |inside: bool| if inside { "sip:b@10.0.0.1" } else { "sip:b@203.0.113.1" };
    let mut play = Play {
        stage,
        machine,
        a_inside,
        show,
        names: Names::default(),
        calls: BTreeMap::new(),
        looked: vec![Vec::new(); 2],
        order: VecDeque::new(),
        by_lot: false,
    };
    for (letter, target) in
        [('A', target(a_inside)), ('B', "sip:a@203.0.113.1"), ('C', target(false)), ('D', target(true))]
    {
        play.seat(letter)?.sit(letter, target, run)?;
    }
    for (number, step) in unanswered::steps(script).map_err(io::Error::other)? {
        play.step(&step).map_err(|error| io::Error::other(format!("line {number}: {error}")))?;
        if play.stage.is_over {
            // Its process is gone, and what the machine would still say with it.
            break;
        }
    }
    play.nothing_is_left()
}

impl Play<'_, '_> {
    fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Received(_) => return Ok(()),
            Step::Passes(time) => return self.pass(*time),
            Step::Holds(_) => self.machine.apply(step).map_err(io::Error::other)?,
            Step::Sent { who: 'M', words } => {
                self.machine.apply(step).map_err(io::Error::other)?;
                self.middlebox(words)?;
            }
            Step::Sent { who: 'R', words } => self.runtime(step, words)?,
            Step::Sent { who, words } => {
                self.machine.apply(step).map_err(io::Error::other)?;
                let words = self.with_names(words);
                let words = self.names.real(&words);
                let seat = self.seat(*who)?;
                let bytes = seat.phone.send(&words).map_err(io::Error::other)?;
                seat.send(&bytes)?;
                self.by_lot |= words.starts_with("491") || words.starts_with("488");
            }
        }
        self.settle()
    }

    fn seat(&mut self, letter: char) -> io::Result<&mut Seat> {
        let Stage { outside, inside, second_outside, second_inside, .. } = &mut *self.stage;
        match (letter, self.a_inside) {
            ('A', false) | ('B', true) => Ok(outside),
            ('A', true) | ('B', false) => Ok(inside),
            ('C', _) => Ok(second_outside),
            ('D', _) => Ok(second_inside),
            _ => Err(io::Error::other(format!("who is {letter}?"))),
        }
    }

    /// `$CALL-A` and the like, as the real phones know them, and `$NAME1`.
    fn with_names(&mut self, words: &str) -> String {
        let mut text = words.to_owned();
        for letter in ['A', 'B', 'C', 'D'] {
            let names = self.seat(letter).map(|seat| seat.phone.names()).unwrap_or_default();
            for (name, value) in names {
                text = text.replace(&name, &value);
            }
        }
        // As the machine has it; what the program has is put in its place next.
        for (position, name) in self.machine.names().iter().enumerate() {
            text = text.replace(&format!("$NAME{}", position + 1), name);
        }
        text
    }

    /// Time passes, from timer to timer.
    fn pass(&mut self, time: Duration) -> io::Result<()> {
        let until = self.machine.now() + time;
        // What the program's clock is behind.
        let mut owed = Duration::ZERO;
        loop {
            let before = self.machine.now();
            let more = self.machine.pass(until);
            owed += self.machine.now().since(before);
            if !self.by_lot {
                self.stage.clock.advance(std::mem::take(&mut owed))?;
            } else if self.machine.has_outputs() {
                self.by_lot = false;
                self.stage.until_it_says_something(std::mem::take(&mut owed) + LOT)?;
            }
            self.settle()?;
            if !more {
                return Ok(());
            }
        }
    }

    /// What leaves the machine leaves the program, and the firewall has the rules that were granted.
    fn settle(&mut self) -> io::Result<()> {
        let outputs = self.machine.take_outputs();
        self.stage.is_over |= outputs.iter().any(|output| output == "R < stopped");
        self.stage.is_taken_in()?;
        for (letter, expected) in self.machine.take_messages() {
            let (show, until) = (self.show.clone(), Instant::now() + PATIENCE);
            let got = loop {
                self.stage.listen()?;
                match self.seat(letter)?.next() {
                    Some(got) => break got,
                    None if Instant::now() > until => {
                        let wanted = flows::render::sip(&expected, &show);
                        let instead = self.news();
                        return Err(io::Error::other(format!(
                            "{letter} wanted {wanted}, got nothing{instead}"
                        )));
                    }
                    None => {}
                }
            };
            self.names.learn(&expected, &got);
            let (wanted, got) = self.names.compare(&expected, &got, &show);
            if wanted != got {
                return Err(io::Error::other(format!("{letter} wanted {wanted}\n    got {got}")));
            }
        }
        for output in outputs {
            match output.split_once(" < ") {
                Some(("M", wanted)) => self.asked(wanted)?,
                Some(("R", "stopped")) => self.stops()?,
                Some(_) | None => {}
            }
        }
        // ACKs that a phone has sent by itself.
        self.stage.is_taken_in()?;
        self.look()
    }

    /// Waits until the agent has ended, which it does when it has taken leave of its middlebox.
    fn stops(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.stage.agent.child.try_wait()?.is_none() {
            self.stage.listen()?;
            if Instant::now() > until {
                return Err(io::Error::other(format!("the agent does not stop\n{}", self.stage.agent.log())));
            }
        }
        Ok(())
    }

    /// What the others were told instead.
    fn news(&mut self) -> String {
        let mut news = String::new();
        for letter in ['A', 'B', 'C', 'D'] {
            while let Some(bytes) = self.seat(letter).ok().and_then(Seat::next) {
                news += &format!("\n    {letter} got {}", flows::render::sip(&bytes, &self.show));
            }
        }
        for (_, gatekeeper) in &mut self.stage.middleboxes {
            while let Some(text) = gatekeeper.next() {
                news += &format!("\n    M got {text}");
            }
        }
        news
    }

    fn asked(&mut self, wanted: &str) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let (number, wanted) = wanted.strip_prefix("@2 ").map_or((0, wanted), |wanted| (1, wanted));
        loop {
            self.stage.listen()?;
            let Some((_, gatekeeper)) = self.stage.middleboxes.get_mut(number) else { return Ok(()) };
            match gatekeeper.next() {
                Some(got) if got == wanted => {
                    self.order.push_back(number);
                    return Ok(());
                }
                // What is asked without a session is asked of nobody.
                None if !gatekeeper.is_up => return Ok(()),
                Some(got) => return Err(io::Error::other(format!("M wanted {wanted}\n    got {got}"))),
                None if Instant::now() > until => {
                    let instead = self.news();
                    return Err(io::Error::other(format!("M wanted {wanted}, got nothing{instead}")));
                }
                None => {}
            }
        }
    }

    /// Waits until each real middlebox has the rules that were granted and no others, and its kernel what they need.
    fn look(&mut self) -> io::Result<()> {
        (0..self.stage.middleboxes.len()).try_for_each(|number| self.look_at(number))
    }

    fn look_at(&mut self, number: usize) -> io::Result<()> {
        let (middlebox, gatekeeper) = &self.stage.middleboxes[number];
        let mut wanted: Vec<String> = gatekeeper.rules().values().map(|rule| rule.text.clone()).collect();
        wanted.sort_unstable();
        if wanted == self.looked[number] {
            return Ok(());
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let report = middlebox.json(&["pinholes", "--kernel"])?;
            // What has no owner the agent says, of the middlebox on the other host.
            let own = each(&report, "rules").filter(|line| line["owner"] != "");
            let mut rules: Vec<String> = own.map(rule).collect();
            rules.sort_unstable();
            let open = wanted.iter().any(|rule| !rule.starts_with("reserved"));
            let same = each(&report, "missing").chain(each(&report, "foreign")).next().is_none()
                && open == each(&report, "kernel").next().is_some();
            if rules == wanted && same {
                self.looked[number] = wanted;
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!("wanted the rules {wanted:?}, there is {report}")));
            }
        }
    }

    fn middlebox(&mut self, words: &str) -> io::Result<()> {
        let Some((middlebox, gatekeeper)) = self.stage.middleboxes.first_mut() else { return Ok(()) };
        let number = |text: &str| text.parse::<u32>().map_err(io::Error::other);
        let refusal =
            |name: &str| flows::failure(name).ok_or_else(|| io::Error::other(format!("no refusal: {name}")));
        let at = |text: &str| number(text).map(|number| number as usize - 1);
        match words.split(' ').collect::<Vec<_>>().as_slice() {
            ["ok"] => self.answer(0, None),
            ["ok", "all"] => (0..self.order.len()).try_for_each(|_| self.answer(0, None)),
            ["ok", position] => self.answer(at(position)?, None),
            ["refuse", name] => self.answer(0, Some(refusal(name)?)),
            ["refuse", name, position] => self.answer(at(position)?, Some(refusal(name)?)),
            ["up"] => {
                gatekeeper.up();
                self.stage.come_back()
            }
            ["down"] => {
                gatekeeper.down();
                self.order.retain(|number| *number != 0);
                // What comes next it must not take for something that happened before.
                self.stage.is_noticed()
            }
            ["event", prid, "0"] => match gatekeeper.rules().get(&number(prid)?) {
                Some(rule) => {
                    middlebox.text(&["revoke", &rule.real.0.to_string()])?;
                    self.is_revoked(number(prid)?)
                }
                None => gatekeeper.notify(number(prid)?, Lifetime::END),
            },
            ["event", prid, lifetime] => gatekeeper.notify(number(prid)?, Lifetime(number(lifetime)?)),
            ["plant", prid] => gatekeeper.plant(number(prid)?, planted()?),
            ["lose", prid] => gatekeeper.lose(number(prid)?),
            ["packets", prid, packets] => {
                gatekeeper.passed(number(prid)?, number(packets)?.into());
                Ok(())
            }
            _ => Err(io::Error::other(format!("what shall the middlebox do: {words}?"))),
        }
    }

    /// Answers the question at this position among those of all middleboxes.
    fn answer(&mut self, position: usize, refusal: Option<Failure>) -> io::Result<()> {
        let number = self.order.remove(position);
        let number = number.ok_or_else(|| io::Error::other("the middlebox was not asked so much"))?;
        let before = self.order.iter().take(position).filter(|asked| **asked == number).count();
        let (_, gatekeeper) = &mut self.stage.middleboxes[number];
        // What the agent's session waits for no longer is refused, so that it is not owed for ever.
        let refusal =
            refusal.map(|failure| if failure == Failure::Timeout { Failure::NoResources } else { failure });
        gatekeeper.answer(before, refusal)
    }

    /// Waits until the real middlebox has said that it has taken a rule back.
    fn is_revoked(&mut self, prid: u32) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.stage.middleboxes.first().is_some_and(|(_, keeper)| keeper.rules().contains_key(&prid)) {
            self.stage.listen()?;
            if Instant::now() > until {
                return Err(io::Error::other("the middlebox says nothing of a revoked rule"));
            }
        }
        Ok(())
    }

    fn runtime(&mut self, step: &Step, words: &str) -> io::Result<()> {
        if let Some(number) = words.strip_prefix("kick ") {
            let number: u64 = number.parse().map_err(io::Error::other)?;
            self.know_calls()?;
            // One that nobody knows stays one that nobody knows.
            let real = self.calls.get(&number).copied().unwrap_or(u64::MAX);
            let _gone = self.stage.agent.text(&["kick", &real.to_string()]);
        } else if words == "shutdown" {
            self.stage.is_stopping = true;
            signal(self.stage.agent.child.id(), "TERM")?;
        } else {
            return Err(io::Error::other(format!("what shall the runtime do: {words}?")));
        }
        self.machine.apply(step).map_err(io::Error::other)
    }

    /// Which call of the program is which of the machine: both count.
    fn know_calls(&mut self) -> io::Result<()> {
        let report = self.stage.agent.json(&["calls"])?;
        let mut real: Vec<u64> = each(&report, "calls").filter_map(|call| call["id"].as_u64()).collect();
        real.sort_unstable();
        let mut ours: Vec<u64> = self.machine.b2bua().calls().map(|call| call.id.0).collect();
        ours.sort_unstable();
        self.calls.extend(ours.into_iter().zip(real));
        Ok(())
    }

    /// Nobody has heard what the flow does not say.
    fn nothing_is_left(&mut self) -> io::Result<()> {
        self.stage.is_taken_in()?;
        for letter in ['A', 'B', 'C', 'D'] {
            if let Some(bytes) = self.seat(letter)?.next() {
                let text = flows::render::sip(&bytes, &[]);
                return Err(io::Error::other(format!("{letter} got {text}, which the flow does not say")));
            }
        }
        for (_, gatekeeper) in &mut self.stage.middleboxes {
            if let Some(text) = gatekeeper.next() {
                return Err(io::Error::other(format!("M got {text}, which the flow does not say")));
            }
        }
        Ok(())
    }
}

/// A rule that nobody has asked for.
fn planted() -> io::Result<Request> {
    let tuple = |text: &str| text.parse::<std::net::SocketAddr>().map_err(io::Error::other);
    let (internal, external) = (tuple("10.0.40.250:16400")?, tuple("192.0.2.250:16400")?);
    let of = |address: std::net::SocketAddr| Tuple::host(address, midcom::Protocol::Udp, 1);
    Ok(Request::Enable {
        parity: Parity::Any,
        direction: Direction::Outbound,
        internal: of(internal),
        external: of(external),
        lifetime: Lifetime(600),
        group: None,
    })
}

/// A line of `pinholes` as flows write a rule.
fn rule(line: &Value) -> String {
    let word = |key: &str| line[key].as_str().unwrap_or_default();
    let outside = word("outside").split_once(' ').map_or("", |(_, place)| place);
    match word("direction") {
        "in" => format!("{} <- {outside}", word("inside")),
        "out" => format!("{} -> {outside}", word("inside")),
        _ => format!("reserved {}", word("inside")),
    }
}
