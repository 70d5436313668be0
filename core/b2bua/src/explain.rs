//! What would become of a call: the answer of the machine itself, which is given the INVITE and thrown away.

use bytes::Bytes;
use machine::week::MinuteOfWeek;
use machine::{Instant, Machine as _, Outbox, Rng};
use midcom::{AgentEvent, Capabilities, MiddleboxId, Request};
use sip::message::{Message, Name};
use sip::transport::Hop;

use crate::admission::{self, Says};
use crate::b2bua::B2bua;
use crate::config::{Config, NextHop, RealmId, Then};
use crate::io::{Input, Output};
use crate::route::{self, Facts};

/// A call that somebody might make.
#[derive(Debug, Clone)]
pub struct Hypothesis {
    /// From where, to which listener.
    pub hop: Hop,
    /// Its INVITE.
    pub invite: Bytes,
    /// When; `None` if it is not known.
    pub minute: Option<MinuteOfWeek>,
}

/// What would become of it while every next hop and every middlebox is there, nobody has registered and nobody else calls.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// The route that it takes, counted from 1.
    pub route: Option<usize>,
    /// Where it goes on.
    pub to: Option<RealmId>,
    /// Who is called, in this order, each if those before do not work.
    pub next_hops: Vec<NextHop>,
    /// The line of the call policy that decides, counted from 1.
    pub decided: Option<usize>,
    /// Those whose limits are the call's.
    pub limits: Vec<usize>,
    /// The middleboxes on the way.
    pub middleboxes: Vec<MiddleboxId>,
    /// What they are asked before the callee hears of the call.
    pub asked: Vec<(MiddleboxId, Request)>,
    /// Status code and reason, if it is refused.
    pub refusal: Option<(u16, String)>,
}

/// What would become of a call with this configuration; `capabilities` are those of the middleboxes.
///
/// # Errors
/// The INVITE cannot be read: why.
pub fn explain(
    config: Config,
    hypothesis: &Hypothesis,
    capabilities: Capabilities,
) -> Result<Explanation, String> {
    let invite = Message::parse(hypothesis.invite.clone()).map_err(|error| error.what.to_string())?;
    let from = config.realm_of(hypothesis.hop.listener).ok_or("nobody listens there")?;
    let facts = Facts::of(&invite, from, hypothesis.hop.remote.ip());
    let mut explanation = Explanation::default();
    if let Some((number, then)) = route::choose(&config, &facts) {
        explanation.route = Some(number);
        if let Then::Call { to, next_hops } = then {
            let decision = admission::decide(&config.admission, &facts, *to, hypothesis.minute);
            let count = |position: u16| usize::from(position) + 1;
            explanation.decided = decision.by.map(count);
            let limits = |number: &usize| {
                let line = config.admission.get(number - 1);
                line.is_some_and(|line| {
                    line.says == Says::Limit || line.limits != admission::Limits::default()
                })
            };
            explanation.limits = decision.limiting.iter().copied().map(count).filter(limits).collect();
            explanation.middleboxes = config.path(from, *to).map(|(id, _)| id).collect();
            (explanation.to, explanation.next_hops) = (Some(*to), next_hops.clone());
        }
    }
    play(config, hypothesis, capabilities, &mut explanation);
    Ok(explanation)
}

/// Lets a machine have the call.
fn play(
    mut config: Config,
    hypothesis: &Hypothesis,
    capabilities: Capabilities,
    explanation: &mut Explanation,
) {
    // Whoever calls has shown who it is.
    config.realms.iter_mut().for_each(|realm| realm.authentication = None);
    let middleboxes = (0..).map(MiddleboxId).take(config.middleboxes.len());
    let mut machine = B2bua::new(config, Rng::from_number(0));
    let mut out = Outbox::new();
    for middlebox in middleboxes {
        let event = AgentEvent::Up(capabilities);
        machine.handle(Instant::ZERO, Input::Midcom { middlebox, event }, &mut out);
    }
    if let Some(minute) = hypothesis.minute {
        machine.handle(Instant::ZERO, Input::Clock(minute), &mut out);
    }
    // What a middlebox is asked when it comes is not about the call.
    out.drain();
    let Hypothesis { hop, invite, .. } = hypothesis;
    machine.handle(Instant::ZERO, Input::Message { hop: *hop, bytes: invite.clone() }, &mut out);
    for output in out.drain() {
        match output {
            Output::Midcom { middlebox, request, .. } => explanation.asked.push((middlebox, request)),
            Output::Transmit { bytes, .. } => {
                explanation.refusal = refusal(bytes).or_else(|| explanation.refusal.take());
            }
            Output::Resolve { .. } | Output::Event(_) | Output::ShutdownComplete => {}
        }
    }
    if explanation.refusal.is_some() {
        explanation.asked.clear();
        explanation.middleboxes.clear();
    }
}

/// Status code and reason of a response that refuses: what its Warning says, or its phrase.
fn refusal(bytes: Bytes) -> Option<(u16, String)> {
    let response = Message::parse(bytes).ok().filter(|message| message.status() >= 300)?;
    let warning = response.header(Name::Warning).map(|value| String::from_utf8_lossy(value).into_owned());
    let text = warning.as_deref().and_then(|warning| warning.split('"').nth(1)).map(str::to_owned);
    let phrase = || String::from_utf8_lossy(response.reason_phrase()).into_owned();
    Some((response.status(), text.unwrap_or_else(phrase)))
}
