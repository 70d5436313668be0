//! What requests ask of translation, check by check: RFC 4540 §8.2.3, §8.3.3, §8.4.3.

use machine::Instant;
use midcom::{Failure, IpVersionChoice, Parity, Protocol};

use crate::authority::{AgentId, Opening, Permit};
use crate::middlebox::Middlebox;
use crate::nat::Outside;
use crate::requests::{Enable, Reserve};
use crate::tuples;

impl Middlebox {
    /// A2 of a reservation, where the IP version asked for is translated.
    pub(crate) fn reserve_outside(
        &mut self,
        now: Instant,
        asked: &Reserve,
    ) -> Result<Option<Outside>, Failure> {
        let nat = self.translator.nat();
        if nat.is_empty() {
            return Ok(None);
        }
        let v4 = match (asked.inside, asked.outside) {
            //= RFC 4540 §8.2.1: IP versions are not translated into one another.
            (IpVersionChoice::V4, IpVersionChoice::V6) | (IpVersionChoice::V6, IpVersionChoice::V4) => {
                return Err(Failure::IpVersionMismatch);
            }
            (IpVersionChoice::V4, _) | (_, IpVersionChoice::V4) => true,
            (IpVersionChoice::V6, _) | (_, IpVersionChoice::V6) => false,
            (IpVersionChoice::Any, IpVersionChoice::Any) => nat.translates(true),
        };
        match (nat.translates(v4), asked.protocol) {
            (false, _) => Ok(None),
            (true, Protocol::Udp) => {
                let outside = self.translator.reserve(now, v4, asked.protocol, asked.ports, asked.parity)?;
                Ok(Some(outside))
            }
            (true, Protocol::Any | Protocol::Tcp | Protocol::Other(_)) => Err(Failure::ProtocolNotSupported),
        }
    }

    /// Whether addresses of an opening are translated; checks what that asks of it.
    pub(crate) fn is_translated(&self, opening: &Opening) -> Result<bool, Failure> {
        let nat = self.translator.nat();
        let translated = nat.translates(opening.internal.address().is_ipv4());
        if translated {
            tuples::check_translated(nat, opening)?;
        }
        Ok(translated)
    }

    /// The permits of an opening, with A2 where it is translated.
    pub(crate) fn permits(
        &self,
        agent: AgentId,
        opening: &Opening,
        outside: Option<&Outside>,
    ) -> Result<Box<[Permit]>, Failure> {
        let permits = match outside {
            Some(outside) => self.authority.permit_translated(agent, opening, &outside.tuple)?,
            None => self.authority.permit(agent, opening)?,
        };
        //= RFC 5189 §2.3.9: where rules contradict each other the first one stays.
        let taken = |permit: &Permit| self.elements.contradicts(&permit.key());
        match permits.iter().any(taken) {
            true => Err(Failure::Conflict),
            false => Ok(permits.into_boxed_slice()),
        }
    }
}

/// Whether a reservation's A2 can be that of an opening.
pub(crate) fn fits_reservation(
    outside: Option<&Outside>,
    translated: bool,
    asked: &Enable,
) -> Result<(), Failure> {
    let internal = &asked.opening.internal;
    let Some(outside) = outside else {
        return if translated { Err(Failure::IpVersionMismatch) } else { Ok(()) };
    };
    if outside.tuple.address().is_ipv4() != internal.address().is_ipv4() {
        return Err(Failure::IpVersionMismatch);
    }
    //= RFC 5189 §2.3.9: with parity "same" A2 is even where A0 is, and odd where A0 is.
    match asked.parity == Parity::Same && outside.tuple.port % 2 != internal.port % 2 {
        true => Err(Failure::ParityMismatch),
        false => Ok(()),
    }
}
