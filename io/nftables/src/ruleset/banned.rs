//! Banned sources: what they send to SIP listeners of this host is dropped before anything else is asked
//! (`docs/protection.md`). Nothing but SIP is kept from them, and nothing that is not ours.

use middlebox::Transport;

use super::statement::{End, Family, Field, Header, Statement, Verdict};
use super::table::{Chain, ElementSet, Set, SetKind};
use crate::config::{GateConfig, Mode};

/// Bans of each IP version at a time.
const BANNED_MAX: u32 = 65_536;
const BANNED: &str = "banned";

/// The name of a set.
pub(crate) fn set_name(family: Family) -> String {
    format!("{BANNED}{}", family.digit())
}

/// The sender: an IPv4 address, or the first half of an IPv6 address.
fn field(family: Family) -> Field {
    match family {
        Family::V4 => Field::Address(family, End::Source),
        Family::V6 => Field::raw(Header::Network, 64, 64),
    }
}

/// The IP versions in which SIP is served.
fn families(config: &GateConfig) -> impl Iterator<Item = Family> + '_ {
    let served = |family: &Family| config.sip.iter().any(|(_, at)| Family::of(at.ip()) == *family);
    Family::BOTH.into_iter().filter(move |family| config.mode == Mode::Enforce && served(family))
}

/// Their sets.
pub(super) fn sets(config: &GateConfig) -> Vec<Set> {
    let entries = |family| ElementSet {
        fields: vec![field(family)],
        size: BANNED_MAX,
        counter: true,
        cap: None,
        data: None,
    };
    families(config)
        .map(|family| Set { name: set_name(family), kind: SetKind::Banned(entries(family)) })
        .collect()
}

/// Who is banned goes on to [`chain`], and comes back from it with what is no SIP.
pub(super) fn rules(config: &GateConfig) -> Vec<Vec<Statement>> {
    let rule = |family| {
        vec![
            Statement::Family(family),
            Statement::In(vec![field(family)], set_name(family)),
            Statement::Then(Verdict::Jump(BANNED.into())),
        ]
    };
    families(config).map(rule).collect()
}

/// What a banned source may not send.
pub(super) fn chain(config: &GateConfig) -> Option<Chain> {
    families(config).next()?;
    let drop = |(transport, at): &(Transport, std::net::SocketAddr)| {
        let mut rule = vec![Statement::Family(Family::of(at.ip()))];
        if !at.ip().is_unspecified() {
            rule.push(Statement::Address(End::Destination, at.ip()));
        }
        rule.push(Statement::Protocol(transport.protocol().number()));
        rule.push(Statement::Ports(End::Destination, at.port()..=at.port()));
        rule.extend([Statement::Counter, Statement::Then(Verdict::Drop)]);
        rule
    };
    Some(Chain::inner(BANNED, config.sip.iter().map(drop).collect()))
}
