//! NAPTR records as SIP uses them: RFC 3263 §4.1.

use super::without_root;
use crate::transport::Protocol;

/// A NAPTR record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The lowest comes first.
    pub order: u16,
    /// The lowest comes first among those of one order.
    pub preference: u16,
    /// What the replacement is: "s" for an SRV name.
    pub flags: String,
    /// "SIP+D2U", "SIP+D2T", "SIPS+D2T" and others that are not ours.
    pub services: String,
    /// True if it has a regular expression, which those of SIP have not.
    pub rewrites: bool,
    /// Where to go on.
    pub replacement: String,
}

impl Pointer {
    /// The transport that it is about, if it is one that this house knows.
    fn protocol(&self) -> Option<Protocol> {
        //= RFC 3263 §4.1: the regular expression is empty and the replacement an SRV name.
        let leads_to_service = self.flags.eq_ignore_ascii_case("s")
            && !self.rewrites
            && !without_root(&self.replacement).is_empty();
        let known = [("SIP+D2U", Protocol::Udp), ("SIP+D2T", Protocol::Tcp), ("SIPS+D2T", Protocol::Tls)];
        let (_, protocol) = known.into_iter().find(|(word, _)| self.services.eq_ignore_ascii_case(word))?;
        leads_to_service.then_some(protocol)
    }
}

/// The SRV names to ask for, the one that the domain likes best first.
//= RFC 3263 §4.1: what is not about a transport that we have is discarded before the order is looked at.
pub(super) fn choose(pointers: Vec<Pointer>, speaks: &[Protocol]) -> Vec<(Protocol, String)> {
    let mut usable: Vec<(Protocol, Pointer)> = pointers
        .into_iter()
        .filter_map(|pointer| Some((pointer.protocol()?, pointer)))
        .filter(|(protocol, _)| speaks.contains(protocol))
        .collect();
    usable.sort_by_key(|(_, pointer)| (pointer.order, pointer.preference));
    let mut names = Vec::new();
    for (protocol, pointer) in usable {
        let name = (protocol, without_root(&pointer.replacement).to_owned());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
