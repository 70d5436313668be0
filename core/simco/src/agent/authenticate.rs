//! Who is at the other end: RFC 4540 §7.2 and §7.3 from the side that asks.

use machine::Instant;
use midcom::DownReason;

use super::{Session, Step};
use crate::authentication::{Challenges, Role};
use crate::state::Exchange;
use crate::wire::{AgentMessage, Opaque};

impl Session {
    /// What the middlebox is to prove itself by; empty without a secret.
    pub(super) fn challenge(&self) -> Vec<u8> {
        self.proof.as_ref().map(|proof| proof.secret.challenge(&proof.nonce).to_vec()).unwrap_or_default()
    }

    /// The middlebox has answered SE with SA: it proves itself, wants a proof, or both.
    pub(super) fn on_authentication(
        &mut self,
        now: Instant,
        challenge: Option<Opaque<'_>>,
        token: Option<Opaque<'_>>,
    ) -> Result<(), DownReason> {
        let ours = self.challenge();
        let theirs = challenge.unwrap_or(Opaque::EMPTY);
        let challenges = Challenges { agent: &ours, middlebox: theirs.octets() };
        let mut answer = Vec::new();
        if let Some(proof) = &self.proof {
            //= RFC 4540 §7.2: an empty token is that of a middlebox that cannot authenticate itself.
            let token = token.unwrap_or(Opaque::EMPTY);
            if !proof.secret.is_token(Role::Middlebox, challenges, token.octets()) {
                return Err(DownReason::Unproven);
            }
            answer = proof.secret.token(Role::Agent, challenges).to_vec();
        }
        self.advance(Exchange::Challenged);
        //= RFC 4540 §5.2.4: the token answers the challenge; where nothing was asked, nothing is said. Who has no secret
        // sends an empty one.
        let token = challenge.and_then(|_| Opaque::new(&answer));
        self.step(now, Step::Authenticate, &AgentMessage::Authenticate { token });
        Ok(())
    }
}
