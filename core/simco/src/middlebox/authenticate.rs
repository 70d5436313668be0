//! Who the agent is, and that we are who it means: RFC 4540 §7.2 and §7.3.

use super::{Candidate, Session};
use crate::authentication::{Challenges, Role};
use crate::state::Exchange;
use crate::wire::{MiddleboxMessage, Opaque};

impl Session {
    /// Answers SE with SA: our token, our challenge, or both.
    pub(super) fn authenticate(&mut self, tid: u32, challenge: Option<Opaque<'_>>) {
        self.challenge = challenge.unwrap_or(Opaque::EMPTY).octets().to_vec();
        let nonce = self.config.authentication.as_ref().map(|wanted| wanted.nonce);
        let ours = nonce.as_ref().map_or(&[][..], |nonce| nonce);
        //= RFC 4540 §7.2: a middlebox that cannot authenticate itself by a challenge sends an empty token.
        let proof = challenge.and_then(|_| self.meant()).map(|meant| {
            let challenges = Challenges { agent: &self.challenge, middlebox: ours };
            meant.secret.token(Role::Middlebox, challenges)
        });
        let proof = proof.as_ref().map_or(&[][..], |token| token);
        let token = challenge.and_then(|_| Opaque::new(proof));
        let challenge = nonce.as_ref().and_then(|nonce| Opaque::new(nonce));
        MiddleboxMessage::Authentication { challenge, token }.encode(tid, &mut self.outgoing);
        self.advance(Exchange::Challenged);
    }

    /// Whether the token of SA is good enough. Who was not asked for one needs none.
    pub(super) fn is_authenticated(&mut self, token: Option<Opaque<'_>>) -> bool {
        let Some(wanted) = &self.config.authentication else { return true };
        let token = token.unwrap_or(Opaque::EMPTY);
        let challenges = Challenges { agent: &self.challenge, middlebox: &wanted.nonce };
        let good = |candidate: &Candidate| candidate.secret.is_token(Role::Agent, challenges, token.octets());
        self.proven = wanted.candidates.iter().position(good);
        if let Some(proven) = self.proven.and_then(|position| wanted.candidates.get(position)) {
            self.config.capabilities = proven.capabilities;
        }
        self.proven.is_some()
    }

    /// The candidate that the agent's challenge names by its key id, or the only one there is.
    fn meant(&self) -> Option<&Candidate> {
        let candidates = &self.config.authentication.as_ref()?.candidates;
        let named = candidates.iter().find(|candidate| self.challenge.starts_with(&candidate.secret.id()));
        named.or_else(|| match &candidates[..] {
            [only] => Some(only),
            _ => None,
        })
    }
}
