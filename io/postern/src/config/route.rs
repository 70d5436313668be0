//! `[[route]]`: which way calls go.

use std::ops::Range;

use b2bua::config::{UserPattern, When};
use toml::Spanned;
use toml::de::DeValue;

use super::address::{Host, NextHop, NextHopKind, Transport};
use super::key::{Absent, Key, Section, Table};
use super::kind::{Bool, Chosen, Either, Integer, Kind, List, Network, Place, Text, complain};
use super::problem::{Problems, did_you_mean};
use super::realm::Realm;
use super::trunk::{self, Trunk};

/// One route; realms by position.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Calls from this realm; `None`: from every realm.
    pub from: Option<usize>,
    pub when: When,
    pub then: Then,
}

/// What becomes of its calls.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    /// They go to the first next hop that works.
    Call {
        to: usize,
        next_hops: Vec<NextHop>,
    },
    /// They go to whoever is registered with us in a realm.
    Registered {
        to: usize,
    },
    Refuse {
        status: u16,
    },
}

/// Next hops of one route; each may be a name with several servers.
const NEXT_HOPS_MAX: usize = 8;
/// Users, hosts, callers or networks of one route.
const ENTRIES_MAX: usize = 1_000;

static FROM: Key<Place<Text>> = Key {
    name: "from",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Derived("every realm but `to`"),
    text: "Calls that arrive in this realm. Only a route that names `to` here too leads back into it: from one phone of a realm to another, \
           which no firewall stands between and no NAT translates.",
};
static TO: Key<Place<Text>> = Key {
    name: "to",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Derived("none: needed unless the route refuses its calls"),
    text: "The realm in which the call goes on.",
};
pub(super) static USERS: Key<List<User>> = Key {
    name: "users",
    kind: List { of: User, max: ENTRIES_MAX },
    absent: Absent::Derived("any"),
    text: "Calls to one of these: the user part of the Request-URI. `\"+49*\"` is every number that begins with +49. How a \
           number is spelt does not matter: escapes, parameters behind `;` and the separators `-`, `.`, `(`, `)` are \
           not compared.",
};
pub(super) static HOSTS: Key<List<Text>> = Key {
    name: "hosts",
    kind: List { of: Text { what: "host name or address" }, max: ENTRIES_MAX },
    absent: Absent::Derived("any"),
    text: "Calls to one of these: the host of the Request-URI, without port.",
};
pub(super) static CALLERS: Key<List<User>> = Key {
    name: "callers",
    kind: List { of: User, max: ENTRIES_MAX },
    absent: Absent::Derived("any"),
    text: "Calls from one of these: the user part of From, as `users`. It is what the caller says of itself: believe it \
           only together with `sources`.",
};
pub(super) static SOURCES: Key<List<Network>> = Key {
    name: "sources",
    kind: List { of: Network, max: ENTRIES_MAX },
    absent: Absent::Derived("any"),
    text: "Calls whose INVITE came from an address in one of these. Over UDP an address can be forged.",
};
static NEXT_HOP: Key<Either<NextHopKind, List<NextHopKind>>> = Key {
    name: "next-hop",
    kind: Either(NextHopKind, List { of: NextHopKind, max: NEXT_HOPS_MAX }),
    absent: Absent::Derived("none: needed unless the route refuses its calls"),
    text: "Where the INVITE is sent. An address is spoken to over UDP unless `transport` says otherwise; `sips:` is reached \
           over TLS only. A name is looked \
           up when a call needs it, as RFC 3263 says: with a port only its addresses; else its SRV records, chosen by \
           NAPTR records among the transports of the realm's listeners unless `transport` names one; else its \
           addresses. If a server answers 503, cannot be reached, or says nothing for 64 times `t1`, the next one of the \
           name, then the next entry of the list gets the call, and for a minute calls begin with the others.",
};
static TRUNK: Key<Place<Text>> = Key {
    name: "trunk",
    kind: Place(Text { what: "name of a trunk" }),
    absent: Absent::Derived("none"),
    text: "The `[trunk.NAME]` to which the calls go; stands in place of `to` and `next-hop`.",
};
static REGISTERED: Key<Bool> = Key {
    name: "registered",
    kind: Bool,
    absent: Absent::Literal("false"),
    text: "Whether the calls go to whom they are for, where that user is registered with us in the realm `to` (its `registrar`): at all places, one after the other, the preferred \
           ones (`q`) first. Stands in place of `next-hop`. These calls may come from the same realm. A user that is nowhere is answered 480, one that is not in `users` 404.",
};
static REFUSE: Key<Integer> = Key {
    name: "refuse",
    kind: Integer { range: 400..=699, unit: "" },
    absent: Absent::Derived("the calls are not refused"),
    text: "A status code: the calls of this route are refused with it, and Warning names the route by its number in the \
           file. Stands in place of `to` and `next-hop`.",
};

pub(super) static SECTION: Section = Section {
    heading: "[[route]]",
    text: "Calls take the first route that fits, in the order of the file. A call that fits none is answered 404. At \
           most 1000 routes.",
    keys: &[&FROM, &TO, &USERS, &HOSTS, &CALLERS, &SOURCES, &NEXT_HOP, &TRUNK, &REGISTERED, &REFUSE],
};

/// The kind of `users` entries.
#[derive(Debug)]
pub(super) struct User;

impl Kind for User {
    type Value = UserPattern;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<UserPattern> {
        let text = value.get_ref().as_str().unwrap_or_default();
        UserPattern::parse(text).or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        "user or number such as \"alice\", \"+49*\"; a `*` only at its end".into()
    }
}

impl Route {
    pub(super) fn read(
        span: Range<usize>,
        table: &toml::de::DeTable<'_>,
        (realms, trunks): (&[Realm], &[Trunk]),
        problems: &mut Problems,
    ) -> Option<Self> {
        let table = Table::open(&SECTION, Some(table), span, &[], problems);
        let from = realm_of(&table, &FROM, realms, problems);
        let when = when(&table, problems);
        let then = then(&table, (realms, trunks), problems)?;
        Some(Self { from, when, then })
    }
}

/// The realm that a key names, if it is given.
pub(super) fn realm_of(
    table: &Table<'_, '_>,
    key: &Key<Place<Text>>,
    realms: &[Realm],
    problems: &mut Problems,
) -> Option<usize> {
    table.given(key, problems).and_then(|name| realm(&name, realms, problems))
}

/// What calls must be that a route, or a line of call policy, is about.
pub(super) fn when(table: &Table<'_, '_>, problems: &mut Problems) -> When {
    When {
        users: listed(table, &USERS, problems),
        hosts: listed(table, &HOSTS, problems),
        callers: listed(table, &CALLERS, problems),
        sources: listed(table, &SOURCES, problems),
    }
}

/// A list that is not given asks for nothing; one that is given and empty could not be fulfilled.
fn listed<K: Kind + Sync>(
    table: &Table<'_, '_>,
    key: &Key<List<K>>,
    problems: &mut Problems,
) -> Vec<K::Value> {
    let list = table.given(key, problems);
    if list.as_ref().is_some_and(Vec::is_empty) {
        problems.push(
            table.place(key),
            "no call could be one of these",
            "needs at least one entry, or must be left out",
        );
    }
    list.unwrap_or_default()
}

fn then(
    table: &Table<'_, '_>,
    (realms, trunks): (&[Realm], &[Trunk]),
    problems: &mut Problems,
) -> Option<Then> {
    if let Some(status) = table.given(&REFUSE, problems) {
        if table.is_given(&TO) || table.is_given(&NEXT_HOP) || table.is_given(&TRUNK) {
            problems.push_with_help(
                table.place(&REFUSE),
                "a route either refuses its calls or passes them on",
                "together with `to` or `next-hop`",
                "remove `refuse`, or the two others",
            );
        }
        return Some(Then::Refuse { status: u16::try_from(status).unwrap_or(403) });
    }
    if let Some(name) = table.given(&TRUNK, problems) {
        if table.is_given(&TO) || table.is_given(&NEXT_HOP) {
            problems.push_with_help(
                table.place(&TRUNK),
                "a trunk says where its calls go",
                "together with `to` or `next-hop`",
                "remove `trunk`, or the two others",
            );
        }
        let position = trunk::named(&name, trunks, problems)?;
        let Trunk { realm: to, next_hop, .. } = trunks.get(position)?.clone();
        return Some(Then::Call { to, next_hops: vec![NextHop { trunk: Some(position), ..next_hop }] });
    }
    let to = table.required(&TO, problems).and_then(|to| realm(&to, realms, problems));
    if table.value(&REGISTERED, problems) {
        if table.is_given(&NEXT_HOP) {
            problems.push(table.place(&REGISTERED), "a route has one way to go", "remove this or `next-hop`");
        }
        let to = to?;
        if realms.get(to).is_some_and(|realm| realm.registrar.is_none()) {
            let name = &realms[to].name;
            problems.push_with_help(
                table.place(&REGISTERED),
                format!("nobody registers with us in realm {name}"),
                format!("[realm.{name}] needs `registrar = true`"),
                "the registrar of a route with `next-hop` is there",
            );
        }
        return Some(Then::Registered { to });
    }
    let next_hops = match table.required(&NEXT_HOP, problems)? {
        Chosen::One(next_hop) => vec![next_hop],
        Chosen::Other(list) => list,
    };
    if next_hops.is_empty() {
        problems.push(table.place(&NEXT_HOP), "this route leads nowhere", "needs at least one next hop");
    }
    let to = to?;
    for next_hop in &next_hops {
        check_reachable((table.place(&NEXT_HOP), to, next_hop), realms, problems);
    }
    Some(Then::Call { to, next_hops })
}

/// Complains if the realm has no listener that could send to a next hop.
pub(super) fn check_reachable(
    (place, to, next_hop): (Range<usize>, usize, &NextHop),
    realms: &[Realm],
    problems: &mut Problems,
) {
    let Some(transport) = needed(next_hop) else { return };
    let Some(realm) = realms.get(to) else { return };
    if !realm.listen.iter().any(|(listen, _)| listen.transport == transport) {
        let name = &realm.name;
        problems.push_with_help(
            place,
            format!("realm {name} cannot send over {transport}"),
            format!("needs a `{transport}:` listener in [realm.{name}]"),
            format!("add \"{transport}:ADDRESS:PORT\" to its `listen`"),
        );
    }
}

/// The transport that the realm must have; a name without one leaves it to the name service.
fn needed(next_hop: &NextHop) -> Option<Transport> {
    match next_hop.host {
        Host::Address(_) if !next_hop.secure => Some(next_hop.transport.unwrap_or(Transport::Udp)),
        Host::Name(_) if !next_hop.secure => next_hop.transport,
        Host::Address(_) | Host::Name(_) => Some(next_hop.transport.unwrap_or(Transport::Tls)),
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
