//! What the operator asks of the machine through the admin socket. The operator is an agent like any other, with a
//! session of its own: what a command asks goes the way of every request, and is answered when the kernel has agreed.

use std::collections::BTreeMap;

use midcom::{Failure, Lifetime, Network, Prid, Protocol, Reply, Request, Tuple};
use middlebox::{AgentId, AgentPolicy, Input, Realms, Rights, RuleAction, SessionId, Side, Zone};
use tokio::sync::mpsc;

use super::Gate;
use crate::admin::protocol::{Answer, DenialLine, Denials, Denied, Deny, End, Lift};
use machine::Instant;

/// The operator's session; connections count from 1.
pub(super) const SESSION: SessionId = SessionId(u64::MAX);

/// A command that waits for its answer.
struct Waiting {
    asked: Deny,
    inside: Tuple,
    outside: Tuple,
    reply: mpsc::Sender<Answer>,
}

/// What the operator has asked and not yet been told.
#[derive(Default)]
pub(super) struct Operator {
    /// As many as there are conversations at most.
    waiting: BTreeMap<u32, Waiting>,
    tids: u32,
}

/// What the operator may do: deny, and nothing is opened for it.
pub(super) fn policy() -> AgentPolicy {
    AgentPolicy {
        name: "operator".into(),
        internal: Vec::new(),
        ports: 1..=u16::MAX,
        rules_max: u32::MAX,
        lifetime_max: Lifetime(u32::MAX),
        rights: Rights { disable: true, ..Rights::default() },
    }
}

/// What is said first: the operator is there from the start.
pub(super) fn opened() -> Input {
    Input::Opened { session: SESSION, agent: AgentId::OPERATOR }
}

impl Operator {
    /// The machine has answered a request of the operator's.
    pub(super) fn answered(&mut self, tid: u32, result: &Result<Reply, Failure>) {
        let Some(waiting) = self.waiting.remove(&tid) else { return };
        let answer = match result {
            Ok(Reply::Disabled { prid, lifetime }) => Answer::of(&Denied {
                pid: prid.0,
                inside: waiting.inside.to_string(),
                outside: waiting.outside.to_string(),
                lifetime_s: lifetime.0.into(),
            }),
            Ok(other) => Answer::Error(format!("not an answer to a disable rule: {other:?}")),
            Err(Failure::NoResources) => Answer::Error(format!(
                "no room: there are {} disable rules already (`postern deny --list`), or the journal cannot be written (see the log)",
                middlebox::limits::DISABLE_RULES_MAX
            )),
            Err(Failure::ConfigurationFailed) => Answer::Error(format!(
                "{}: some of it is in `never-deny` of [middlebox], or the kernel did not close it (see the log)",
                waiting.asked
            )),
            Err(failure) => Answer::Error(format!("{}: {failure}", waiting.asked)),
        };
        let _ = waiting.reply.try_send(answer);
    }
}

impl Gate {
    /// Makes a disable rule; the answer comes when everything it forbids is closed.
    pub(super) fn deny(&mut self, asked: Deny, reply: mpsc::Sender<Answer>) {
        let (inside, outside) = match tuples(&self.realms, &asked) {
            Ok(tuples) => tuples,
            Err(text) => {
                let _ = reply.try_send(Answer::Error(text));
                return;
            }
        };
        self.operator.tids = self.operator.tids.wrapping_add(1);
        let (tid, lifetime) = (self.operator.tids, Lifetime(asked.lifetime_s));
        let request = Request::Disable { internal: inside, external: outside, lifetime };
        self.operator.waiting.insert(tid, Waiting { asked, inside, outside, reply });
        self.inputs.push_back(Input::Request { session: SESSION, tid, request });
    }

    /// All disable rules, whoever made them.
    pub(super) fn denials(&self, now: Instant) -> Denials {
        let denials = self.machine.rules(now).filter_map(|rule| match rule.action {
            RuleAction::Disabled { internal, external } => Some(DenialLine {
                pid: rule.prid.0,
                owner: rule.owner_name.to_owned(),
                inside: internal.to_string(),
                outside: external.to_string(),
                remaining_s: rule.remaining.0.into(),
            }),
            RuleAction::Reserved { .. } | RuleAction::Enabled { .. } => None,
        });
        Denials { denials: denials.collect() }
    }

    /// Ends disable rules: one by its identifier, or all that forbid the same.
    pub(super) fn lift(&mut self, now: Instant, which: &Lift) -> Answer {
        let wanted = match which {
            Lift::Pid(_) => None,
            Lift::Same(deny) => match tuples(&self.realms, deny) {
                Ok(tuples) => Some(tuples),
                Err(text) => return Answer::Error(text),
            },
        };
        let lifted = self.machine.rules(now).filter(|rule| match (rule.action, which, wanted) {
            (RuleAction::Disabled { .. }, Lift::Pid(pid), _) => rule.prid == Prid(*pid),
            (RuleAction::Disabled { internal, external }, Lift::Same(_), Some(tuples)) => {
                (internal, external) == tuples
            }
            _ => false,
        });
        let lifted: Vec<Prid> = lifted.map(|rule| rule.prid).collect();
        if lifted.is_empty() {
            return Answer::Error(format!("{which} is not denied (`postern deny --list` says what is)"));
        }
        self.inputs.extend(lifted.iter().map(|prid| Input::Revoke { prid: *prid }));
        Answer::of(&lifted.iter().map(|prid| prid.0).collect::<Vec<_>>())
    }
}

/// A0 and A3 of what is to be denied: each end belongs to the side on which it lives, and an end that is not named is
/// everybody there.
fn tuples(realms: &Realms, deny: &Deny) -> Result<(Tuple, Tuple), String> {
    let protocol = Protocol::from_number(deny.protocol);
    let tuple = |end: &End| Tuple { network: end.network, protocol, port: end.port, range: end.range };
    let first = (side(realms, deny.end.network), tuple(&deny.end));
    if deny.other.is_none()
        && first.0 == Side::Outside
        && let Some(zone) = realms.zones().iter().find(|zone| is_inside_of(zone, deny.end.network))
    {
        return Err(format!("{deny}: {} in it is inside; deny that, or networks without it", zone.network));
    }
    let second = match &deny.other {
        Some(end) => (side(realms, end.network), tuple(end)),
        None => {
            let everybody = if deny.end.network.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            let network: Network = everybody.parse().map_err(|error| format!("{everybody}: {error}"))?;
            let other = if first.0 == Side::Inside { Side::Outside } else { Side::Inside };
            (other, Tuple { network, protocol, port: 0, range: deny.end.range })
        }
    };
    match (first, second) {
        ((Side::Inside, inside), (Side::Outside, outside))
        | ((Side::Outside, outside), (Side::Inside, inside)) => Ok((inside, outside)),
        ((Side::Inside, _), (Side::Inside, _)) => {
            Err(format!("{deny}: both are inside, where Postern opens nothing"))
        }
        ((Side::Outside, _), (Side::Outside, _)) => Err(format!(
            "{deny}: neither is inside (`media` of the inside realm), so nothing is opened between them"
        )),
    }
}

/// True for a zone of the inside that lies within a network.
fn is_inside_of(zone: &Zone, network: Network) -> bool {
    zone.side == Side::Inside && network.contains(&zone.network)
}

/// Where a network lives; one that is wider than every realm is the outside.
fn side(realms: &Realms, network: Network) -> Side {
    let zone = realms.zones().iter().find(|zone| zone.network.contains(&network));
    zone.map_or(Side::Outside, |zone| zone.side)
}
