//! What a middlebox's messages mean to an agent.

use machine::{Instant, Outbox};
use midcom::{AgentEvent, Capabilities, DownReason, Failure, Lifetime, Notification, Prid, Reply, Request};

use super::requests::{Asked, Misfit, Owner, made};
use super::{Output, Session, Step};
use crate::state::{Exchange, State};
use crate::wire::{AgentMessage, Header, MiddleboxMessage};

impl Session {
    /// Takes one message; an error ends the session.
    pub(super) fn on_message(
        &mut self,
        now: Instant,
        header: Header,
        payload: &[u8],
        out: &mut Outbox<Output>,
    ) -> Result<(), DownReason> {
        let message = MiddleboxMessage::decode(header, payload)
            .map_err(|failure| misbehaved(&format!("{:#06x}: {failure}", header.message_type())))?;
        match (message, self.control) {
            (MiddleboxMessage::Notification(Notification::SessionTermination), _) => {
                Err(DownReason::Terminated)
            }
            //= RFC 4540 §4.2.5: the TID of BFM is the middlebox's own, so nobody knows which request it means.
            (MiddleboxMessage::BadlyFormedMessage, _) => Err(DownReason::Refused(Failure::BadlyFormed)),
            (MiddleboxMessage::Notification(event @ Notification::RuleEvent { .. }), _) => {
                self.on_rule_event(event, out)
            }
            (message, Some(control)) if control.tid == header.tid => {
                self.on_control(now, control.step, message, out)
            }
            (MiddleboxMessage::Positive(reply), _) => self.on_reply(now, header.tid, reply, out),
            (MiddleboxMessage::Negative(failure), _) => self.on_refusal(now, header.tid, failure, out),
            (MiddleboxMessage::VersionMismatch(_), _) => {
                self.on_refusal(now, header.tid, Failure::VersionMismatch, out)
            }
            (
                MiddleboxMessage::Established(_)
                | MiddleboxMessage::Authentication { .. }
                | MiddleboxMessage::Terminated,
                _,
            ) => Err(misbehaved("a session reply that nobody asked for")),
        }
    }

    fn on_control(
        &mut self,
        now: Instant,
        step: Step,
        message: MiddleboxMessage<'_>,
        out: &mut Outbox<Output>,
    ) -> Result<(), DownReason> {
        match (message, step) {
            //= RFC 4540 §7.2: a middlebox that was challenged answers SA; one that skips it has proven nothing.
            (MiddleboxMessage::Established(_), Step::Establish) if self.proof.is_some() => {
                Err(DownReason::Unproven)
            }
            (MiddleboxMessage::Established(capabilities), Step::Establish | Step::Authenticate) => {
                self.on_established(step, capabilities, out);
                Ok(())
            }
            (MiddleboxMessage::Authentication { challenge, token }, Step::Establish) => {
                self.on_authentication(now, challenge, token)
            }
            (MiddleboxMessage::Negative(failure), Step::Establish | Step::Authenticate) => {
                Err(DownReason::Refused(failure))
            }
            //= RFC 4540 §7.2: the version in 0x0322 is one to come back with. We speak 3.0 only.
            (MiddleboxMessage::VersionMismatch(_), Step::Establish | Step::Authenticate) => {
                Err(DownReason::Refused(Failure::VersionMismatch))
            }
            // ST is never refused; whoever refuses it has no session with us either.
            (
                MiddleboxMessage::Terminated
                | MiddleboxMessage::Negative(_)
                | MiddleboxMessage::VersionMismatch(_),
                Step::Terminate,
            ) => Err(DownReason::Closed),
            (
                MiddleboxMessage::Established(_)
                | MiddleboxMessage::Authentication { .. }
                | MiddleboxMessage::Terminated
                | MiddleboxMessage::Positive(_)
                | MiddleboxMessage::BadlyFormedMessage
                | MiddleboxMessage::Notification(_),
                Step::Establish | Step::Authenticate | Step::Terminate,
            ) => Err(misbehaved("the reply does not belong to the request")),
        }
    }

    fn on_established(&mut self, step: Step, capabilities: Capabilities, out: &mut Outbox<Output>) {
        self.control = None;
        self.advance(if step == Step::Establish { Exchange::Established } else { Exchange::Authenticated });
        out.push(Output::Event(AgentEvent::Up(capabilities)));
    }

    fn on_rule_event(&mut self, event: Notification, out: &mut Outbox<Output>) -> Result<(), DownReason> {
        //= RFC 4540 §5.3.19: ARE is for agents with an open session.
        if self.state != State::Open {
            return Err(misbehaved("a rule event without a session"));
        }
        out.push(Output::Event(AgentEvent::Notification(event)));
        Ok(())
    }

    fn on_reply(
        &mut self,
        now: Instant,
        tid: u32,
        reply: Reply,
        out: &mut Outbox<Output>,
    ) -> Result<(), DownReason> {
        match self.requests.answered(tid, &reply).map_err(misfit)? {
            Owner::Open(id) => out.push(Output::Event(AgentEvent::Reply(id, Ok(reply)))),
            Owner::Late => {
                self.strays.ended(tid);
                if let Some(prid) = made(&reply) {
                    // Whoever asked has been told that it failed and will not close it.
                    self.end_stray(now, prid);
                }
            }
        }
        Ok(())
    }

    fn on_refusal(
        &mut self,
        now: Instant,
        tid: u32,
        failure: Failure,
        out: &mut Outbox<Output>,
    ) -> Result<(), DownReason> {
        match self.requests.refused(tid).map_err(misfit)? {
            Owner::Open(id) => out.push(Output::Event(AgentEvent::Reply(id, Err(failure)))),
            Owner::Late => self.strays.refused(now, tid, failure),
        }
        Ok(())
    }

    /// Ends a rule that nobody knows of.
    pub(super) fn end_stray(&mut self, now: Instant, prid: Prid) {
        if self.control.is_none() {
            let tid = self.take_tid();
            self.requests.add_unowned(tid, Asked::End, now);
            self.strays.asked(tid, prid);
            let end = Request::Lifetime { prid, lifetime: Lifetime::END };
            AgentMessage::Rule(end).encode(tid, &mut self.outgoing);
        }
    }
}

/// The peer broke the protocol.
pub(super) fn misbehaved(how: &str) -> DownReason {
    DownReason::PeerMisbehaved(how.to_owned())
}

fn misfit(misfit: Misfit) -> DownReason {
    misbehaved(match misfit {
        Misfit::UnknownTid => "a reply that no request waits for",
        Misfit::WrongKind => "a reply of another kind than the request",
    })
}
