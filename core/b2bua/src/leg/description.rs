//! The session description of one leg: its own `o=` line, everything else as the other peer wrote it.
//! RFC 8866 §5.2, RFC 3264 §8.

use std::net::IpAddr;

use machine::{Rng, Text};
use sdp::{Origin, Session};

use crate::ledger::{Disguise, Disguised};

/// What we have told one peer.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    session_id: u64,
    version: u64,
    /// The text that went out last, `o=` line included.
    sent: Option<Text<Box<[u8]>>>,
    /// What this peer sees of the other one.
    disguise: Option<Box<Disguise>>,
}

impl Description {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        //= RFC 8866 §5.2: a numeric string; below 2^63, because not every reader has more bits.
        Self { session_id: rng.bits() >> 1, version: 1, sent: None, disguise: None }
    }

    /// From now on descriptions of the other peer are changed like this. What it was seen as stays, when no rule says so any
    /// more: a call that ends still shows no other address.
    pub(crate) fn disguise(&mut self, disguise: Disguise) {
        let empty = match &disguise {
            Disguise::None => true,
            Disguise::Places(places) => places.is_empty() && self.disguise.is_some(),
            Disguise::WithoutIce => false,
        };
        if !empty {
            self.disguise = Some(Box::new(disguise));
        }
    }

    /// The text for this leg, with one version more if it is not what was sent last.
    pub(crate) fn write(&mut self, session: &Session<'_>, address: IpAddr) -> &[u8] {
        let text = self.text(session, address);
        let text = match &self.sent {
            None => text,
            Some(sent) if *sent.0 == *text => text,
            Some(_) => {
                //= RFC 3264 §8: the version goes up by one exactly when the text changed.
                self.version += 1;
                self.text(session, address)
            }
        };
        self.sent.insert(Text(text.into_boxed_slice()))
    }

    /// The text for this leg with one version more, whether it changed or not: the peer shall look at it.
    pub(crate) fn write_again(&mut self, session: &Session<'_>, address: IpAddr) -> &[u8] {
        self.version += 1;
        let text = self.text(session, address);
        self.sent.insert(Text(text.into_boxed_slice()))
    }

    /// True if this is what went out last.
    pub(crate) fn is(&self, session: &Session<'_>, address: IpAddr) -> bool {
        self.sent.as_ref().is_some_and(|sent| *sent.0 == *self.text(session, address))
    }

    /// What went out last was refused: what the peer has is this.
    pub(crate) fn take_back(&mut self, before: Box<[u8]>) {
        self.sent = Some(Text(before));
    }

    /// True if anything went out.
    pub(crate) fn is_told(&self) -> bool {
        self.sent.is_some()
    }

    /// What went out last.
    pub(crate) fn sent(&self) -> Option<Box<[u8]>> {
        self.sent.clone().map(|sent| sent.0)
    }

    /// The text for this leg of something that is neither offer nor answer.
    pub(crate) fn aside(&self, session: &Session<'_>, address: IpAddr) -> Vec<u8> {
        self.text(session, address)
    }

    fn text(&self, session: &Session<'_>, address: IpAddr) -> Vec<u8> {
        let origin = Origin { username: "-", session_id: self.session_id, version: self.version, address };
        let bare = self.disguise.as_deref().and_then(|_| sdp::without_ice(session));
        let bare = bare.as_deref().and_then(|text| Session::parse(text).ok());
        let ours = bare.as_ref().unwrap_or(session).patch().origin(origin).finish();
        let Some(Disguise::Places(places)) = self.disguise.as_deref() else { return ours };
        let usual = places.first().map_or(address, Disguised::address);
        let seen = |address, port| places.iter().find_map(|place| place.of(address, port));
        // What has grown beyond what a description may be is better not sent than sent as it is.
        Session::parse(&ours).map(|session| sdp::translated(&session, usual, seen)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(description: &mut Description, text: &str) -> String {
        let session = Session::parse(text.as_bytes()).unwrap();
        let address = "192.0.2.1".parse().unwrap();
        String::from_utf8(description.write(&session, address).to_vec()).unwrap()
    }

    const PLAIN: &str = "v=0\r\no=alice 5 6 IN IP4 10.0.0.7\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

    #[test]
    fn only_the_origin_changes() {
        let mut description = Description { session_id: 9, version: 1, sent: None, disguise: None };
        let expected = PLAIN.replace("alice 5 6 IN IP4 10.0.0.7", "- 9 1 IN IP4 192.0.2.1");
        assert_eq!(written(&mut description, PLAIN), expected);
    }

    #[test]
    fn the_version_follows_our_text_and_not_the_peers_version() {
        let mut description = Description { session_id: 9, version: 1, sent: None, disguise: None };
        written(&mut description, PLAIN);
        assert!(written(&mut description, &PLAIN.replace("5 6", "5 7")).contains("o=- 9 1 "));
        assert!(written(&mut description, &PLAIN.replace("4000", "4002")).contains("o=- 9 2 "));
        assert!(written(&mut description, PLAIN).contains("o=- 9 3 "));
    }
}
