//! `[[route]]`: which way calls go.

use std::ops::Range;

use super::address::{Host, NextHop, NextHopKind, Transport};
use super::key::{Absent, Key, Section, Table};
use super::kind::{Place, Text};
use super::problem::{Problems, did_you_mean};
use super::realm::Realm;

/// One route; realms by position.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Calls from this realm; `None`: from every realm but `to`.
    pub from: Option<usize>,
    pub to: usize,
    pub next_hop: NextHop,
}

static FROM: Key<Place<Text>> = Key {
    name: "from",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Derived("every realm but `to`"),
    text: "Calls that arrive in this realm.",
};
static TO: Key<Place<Text>> = Key {
    name: "to",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Required,
    text: "The realm in which the call goes on.",
};
static NEXT_HOP: Key<NextHopKind> = Key {
    name: "next-hop",
    kind: NextHopKind,
    absent: Absent::Required,
    text: "Where the INVITE is sent. An address is spoken to over UDP unless `transport` says otherwise. A name is looked \
           up when a call needs it, as RFC 3263 says: with a port only its addresses; else its SRV records, chosen by \
           NAPTR records among the transports of the realm's listeners unless `transport` names one; else its \
           addresses. If a server answers 503, cannot be reached, or says nothing for 64 times `t1`, the next one gets \
           the call, and for a minute calls begin with the others.",
};

pub(super) static SECTION: Section = Section {
    heading: "[[route]]",
    text: "Calls take the first route that fits, in the order of the file. A call that fits none is answered 404. At \
           most 1000 routes.",
    keys: &[&FROM, &TO, &NEXT_HOP],
};

impl Route {
    pub(super) fn read(
        span: Range<usize>,
        table: &toml::de::DeTable<'_>,
        realms: &[Realm],
        problems: &mut Problems,
    ) -> Option<Self> {
        let table = Table::open(&SECTION, Some(table), span, &[], problems);
        let from_name = table.given(&FROM, problems);
        let to = table.required(&TO, problems).and_then(|to| realm(&to, realms, problems));
        let next_hop = table.required(&NEXT_HOP, problems);
        let from = match &from_name {
            Some(name) => Some(realm(name, realms, problems)?),
            None => None,
        };
        let (to, next_hop) = (to?, next_hop?);
        if let Some(transport) = needed(&next_hop)
            && !realms
                .get(to)
                .is_some_and(|realm| realm.listen.iter().any(|(listen, _)| listen.transport == transport))
        {
            let name = realms.get(to).map_or("", |realm| realm.name.as_str());
            problems.push_with_help(
                table.place(&NEXT_HOP),
                format!("realm {name} cannot send over {transport}"),
                format!("needs a `{transport}:` listener in [realm.{name}]"),
                format!("add \"{transport}:ADDRESS:PORT\" to its `listen`"),
            );
        }
        Some(Self { from, to, next_hop })
    }
}

/// The transport that the realm must have; a name without one leaves it to the name service.
fn needed(next_hop: &NextHop) -> Option<Transport> {
    match next_hop.host {
        Host::Address(_) => Some(next_hop.transport.unwrap_or(Transport::Udp)),
        Host::Name(_) => next_hop.transport,
    }
}

/// The position of the realm of that name, or a complaint.
pub(super) fn realm(
    (name, span): &(String, Range<usize>),
    realms: &[Realm],
    problems: &mut Problems,
) -> Option<usize> {
    let found = realms.iter().position(|realm| realm.name == *name);
    if found.is_none() {
        let help = did_you_mean(name, realms.iter().map(|realm| realm.name.as_str())).map_or_else(
            || format!("there is no [realm.{name}] in this file"),
            |near| format!("did you mean \"{near}\"?"),
        );
        problems.push_with_help(
            span.clone(),
            format!("unknown realm `{name}`"),
            "no realm of this name",
            help,
        );
    }
    found
}
