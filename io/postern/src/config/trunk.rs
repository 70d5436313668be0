//! `[trunk.NAME]`: a server that wants to know who we are.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;

use super::address::{Host, NextHop, NextHopKind};
use super::key::{Absent, Key, Section, Table};
use super::kind::{AbsolutePath, Bool, List, Network, Place, Text, Time};
use super::problem::{Problems, did_you_mean};
use super::realm::Realm;
use super::route;

/// One trunk.
#[derive(Debug, Clone)]
pub(crate) struct Trunk {
    pub name: String,
    pub realm: usize,
    pub next_hop: NextHop,
    pub user: String,
    pub domain: String,
    pub auth_user: String,
    pub password_file: PathBuf,
    /// Where that is said.
    pub password_place: Range<usize>,
    pub digest_realm: Option<String>,
    pub addresses: Vec<IpNet>,
    /// How long it is asked to remember us, and as whom.
    pub register: Option<(Duration, String)>,
}

/// Trunks of one file.
const TRUNKS_MAX: usize = 64;

static REALM: Key<Place<Text>> = Key {
    name: "realm",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Required,
    text: "The realm it is in.",
};
static NEXT_HOP: Key<NextHopKind> = Key {
    name: "next-hop",
    kind: NextHopKind,
    absent: Absent::Required,
    text: "Where its server is, as `next-hop` of a route; requests go there, REGISTER included.",
};
static USER: Key<Text> = Key {
    name: "user",
    kind: Text { what: "user name or number" },
    absent: Absent::Required,
    text: "Our user there: From and To of REGISTER.",
};
static DOMAIN: Key<Text> = Key {
    name: "domain",
    kind: Text { what: "host name or address" },
    absent: Absent::Derived("the host of `next-hop`"),
    text: "The host of our address there, and of the Request-URI of REGISTER.",
};
static AUTH_USER: Key<Text> = Key {
    name: "auth-user",
    kind: Text { what: "user name" },
    absent: Absent::Derived("`user`"),
    text: "The name that goes with the password.",
};
static PASSWORD_FILE: Key<AbsolutePath> = Key {
    name: "password-file",
    kind: AbsolutePath,
    absent: Absent::Required,
    text: "A file with the password: 1 to 256 octets, without white space at its end. Nobody but its owner, root or the user of the agent half, \
           may be able to change it, and others may not read it. It is read at the start.",
};
static DIGEST_REALM: Key<Text> = Key {
    name: "digest-realm",
    kind: Text { what: "realm of a challenge" },
    absent: Absent::Derived("the first in which it asks and takes what it gets"),
    text: "The only realm whose challenges are answered. Recommended: whoever is called through the trunk can ask as well, and gets no answer with this \
           (`docs/trunks.md`).",
};
static ADDRESSES: Key<List<Network>> = Key {
    name: "addresses",
    kind: List { of: Network, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Further addresses that are the trunk's: from which it calls, and to which requests inside its calls may go with credentials. Those at \
           which it is called or registered with count in any case.",
};
static REGISTER: Key<Bool> = Key {
    name: "register",
    kind: Bool,
    absent: Absent::Literal("false"),
    text: "Whether it is told where we are (REGISTER), before it forgets again and again, and when we stop that we go.",
};
static EXPIRES: Key<Time> = Key {
    name: "expires",
    kind: Time { range: Duration::from_secs(60)..=Duration::from_secs(86_400) },
    absent: Absent::Literal("\"1h\""),
    text: "How long it is asked to remember where we are. It may say less, or that it wants more.",
};
static CONTACT_USER: Key<Text> = Key {
    name: "contact-user",
    kind: Text { what: "user name or number" },
    absent: Absent::Derived("`user`"),
    text: "The user part of our Contact: whom its calls are for, unless it puts the called number there. Routes find it as `users`.",
};

pub(super) static SECTION: Section = Section {
    heading: "[trunk.NAME]",
    text: "A server that wants to know who we are: a provider's, or another site's. Its challenges (401, 407) are answered here, for calls that a \
           route with `trunk` sends there and for calls that come from it. The name is yours; at most 64 trunks. See `docs/trunks.md`.",
    keys: &[
        &REALM,
        &NEXT_HOP,
        &USER,
        &DOMAIN,
        &AUTH_USER,
        &PASSWORD_FILE,
        &DIGEST_REALM,
        &ADDRESSES,
        &REGISTER,
        &EXPIRES,
        &CONTACT_USER,
    ],
};

impl Trunk {
    fn read(
        name: &str,
        span: Range<usize>,
        table: &DeTable<'_>,
        realms: &[Realm],
        problems: &mut Problems,
    ) -> Option<Self> {
        let table = Table::open(&SECTION, Some(table), span, &[], problems);
        let realm = table.required(&REALM, problems).and_then(|name| route::realm(&name, realms, problems));
        let next_hop = table.required(&NEXT_HOP, problems);
        let user = uri_user(&table, &USER, problems);
        if user.is_none() {
            table.required(&USER, problems);
        }
        let contact_user = uri_user(&table, &CONTACT_USER, problems);
        let (expires, register) = (table.value(&EXPIRES, problems), table.value(&REGISTER, problems));
        let password_file = table.required(&PASSWORD_FILE, problems);
        let (auth_user, domain) = (table.given(&AUTH_USER, problems), table.given(&DOMAIN, problems));
        let (digest_realm, addresses) =
            (table.given(&DIGEST_REALM, problems), table.value(&ADDRESSES, problems));
        let (realm, next_hop, user) = (realm?, next_hop?, user?);
        route::check_reachable((table.place(&NEXT_HOP), realm, &next_hop), realms, problems);
        if domain.as_ref().is_some_and(|domain| sip::message::Host::parse(domain).is_none()) {
            problems.push(table.place(&DOMAIN), "this is no host", "a name or an address, without port");
        }
        Some(Self {
            name: name.to_owned(),
            realm,
            domain: domain.unwrap_or_else(|| match &next_hop.host {
                Host::Address(std::net::IpAddr::V6(address)) => format!("[{address}]"),
                Host::Address(address) => address.to_string(),
                Host::Name(name) => name.clone(),
            }),
            next_hop,
            auth_user: auth_user.unwrap_or_else(|| user.clone()),
            password_file: password_file?,
            password_place: table.place(&PASSWORD_FILE),
            digest_realm,
            addresses,
            register: register.then(|| (expires, contact_user.unwrap_or_else(|| user.clone()))),
            user,
        })
    }
}

/// A name that may stand in front of the `@` of a URI as it is.
fn uri_user(table: &Table<'_, '_>, key: &Key<Text>, problems: &mut Problems) -> Option<String> {
    let user = table.given(key, problems)?;
    //= RFC 3261 §25.1: `user` is unreserved, escaped or user-unreserved.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&byte);
    if user.is_empty() || !user.bytes().all(fits) {
        problems.push_with_help(
            table.place(key),
            format!("`{user}` is no user part of a SIP URI"),
            "letters, digits and -_.!~*'()&=+$,;?/%",
            "leave out the host; escape other characters as %XX",
        );
    }
    Some(user)
}

/// Each `[trunk.NAME]`.
pub(super) fn read(document: &DeTable<'_>, realms: &[Realm], problems: &mut Problems) -> Vec<Trunk> {
    let Some((table, span)) = super::table(document, "trunk", problems) else { return Vec::new() };
    if table.len() > TRUNKS_MAX {
        problems.push(span, format!("{} trunks", table.len()), format!("at most {TRUNKS_MAX}"));
        return Vec::new();
    }
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let mut trunks = Vec::new();
    for (name, value) in entries {
        match value.get_ref().as_table() {
            Some(table) => {
                trunks.extend(Trunk::read(name.get_ref(), name.span(), table, realms, problems));
            }
            None => problems.push_with_help(
                name.span(),
                format!("`{}` is not a trunk", name.get_ref()),
                "a trunk is a section",
                "did you mean [trunk.NAME]?",
            ),
        }
    }
    trunks
}

/// The position of the trunk of that name, or a complaint.
pub(super) fn named(
    (name, span): &(String, Range<usize>),
    trunks: &[Trunk],
    problems: &mut Problems,
) -> Option<usize> {
    let found = trunks.iter().position(|trunk| trunk.name == *name);
    if found.is_none() {
        let help = did_you_mean(name, trunks.iter().map(|trunk| trunk.name.as_str())).map_or_else(
            || format!("there is no [trunk.{name}] in this file, or something is wrong with it"),
            |near| format!("did you mean \"{near}\"?"),
        );
        problems.push_with_help(
            span.clone(),
            format!("unknown trunk `{name}`"),
            "no trunk of this name",
            help,
        );
    }
    found
}
