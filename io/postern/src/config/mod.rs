//! The configuration file: text becomes a typed [`Config`] here or is refused with line, caret and advice. Behind this
//! module there are no strings to interpret and no defaults.

mod address;
mod agent;
mod call_policy;
mod calls;
mod connect;
mod docs;
mod key;
mod kind;
mod middlebox;
mod nat;
mod numbers;
mod policy;
mod problem;
mod protection;
mod realm;
pub(crate) mod reload;
mod route;
mod sides;
mod sip_tls;
mod standby;
mod tls;
mod trunk;
mod window;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use address::{Host, Listen, NextHop, Transport};
pub(crate) use agent::{Agent, Protocol};
pub(crate) use call_policy::CallLine;
pub(crate) use calls::{Calls, CommonCrucial, Crucial, OnHold, OnRedirect};
pub(crate) use connect::{Connect, Peer, Serve};
pub(crate) use docs::keys;
use key::{Absent, Key, Section, Table};
pub(crate) use kind::parse_time;
use kind::{AbsolutePath, AddressAndPort, List, OneOf, Text};
pub(crate) use middlebox::{Engine, Middlebox, Mode, ReversePath};
pub(crate) use numbers::{Codes, Limits, Timers};
pub(crate) use policy::{Do, Line};
use problem::Problems;
pub(crate) use protection::{Protection, Rates};
pub(crate) use realm::{Asked, Pass, Precondition, Realm, Source};
pub(crate) use route::{Route, Then};
pub(crate) use sip_tls::{Placed, SipTls};
pub(crate) use tls::Tls;
pub(crate) use trunk::Trunk;

use crate::log;

/// Where the file is looked for.
pub(crate) const DEFAULT_PATH: &str = "/etc/postern/postern.toml";

/// Where the sockets are by default.
pub(crate) const DEFAULT_RUN_DIR: &str = "/run/postern";

/// A configuration file is far below this.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Realms are few; each adds listeners.
const REALMS_MAX: usize = 16;
/// A path has a few firewalls at most; each is a connection of the agent half.
const MIDDLEBOXES_MAX: usize = 16;
/// Routes are looked through in order.
const ROUTES_MAX: usize = 1_000;

/// A whole configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The file as it was found, and where.
    pub file: PathBuf,
    pub text: String,
    pub run_dir: PathBuf,
    pub user: Option<String>,
    pub log: log::Level,
    /// Instead of the system's.
    pub name_servers: Vec<SocketAddr>,
    /// Where contacts that have been registered through us are kept.
    pub registrations: Option<PathBuf>,
    /// Who has a password with us, and where that is said.
    pub users: Option<PathBuf>,
    pub users_place: Range<usize>,
    /// In the order of the file; realms are named by position everywhere else.
    pub realms: Vec<Realm>,
    pub routes: Vec<Route>,
    /// Routes and next hops name them by position.
    pub trunks: Vec<Trunk>,
    /// Which calls are let in, in order.
    pub call_policy: Vec<CallLine>,
    /// What the agent half asks, in the order of the file.
    pub middleboxes: Vec<Middlebox>,
    /// The one of them that the middlebox half serves with this file: this host's own, else the first.
    pub middlebox: Middlebox,
    /// What may be opened when, in order.
    pub policy: Vec<Line>,
    pub calls: Calls,
    pub timers: Timers,
    pub limits: Limits,
    pub protection: Protection,
    pub codes: Codes,
}

static RUN_DIR: Key<AbsolutePath> = Key {
    name: "run-dir",
    kind: AbsolutePath,
    absent: Absent::Literal("\"/run/postern\""),
    text: "Directory of the Unix sockets of both halves. Made if it does not exist.",
};
static USER: Key<Text> = Key {
    name: "user",
    kind: Text { what: "user name" },
    absent: Absent::Derived("`postern` if there is such a user, else `nobody`"),
    text: "User under which the agent half runs when Postern is started by root.",
};
static LOG: Key<OneOf<log::Level>> = Key {
    name: "log",
    kind: OneOf {
        words: &[
            ("error", log::Level::Error),
            ("warn", log::Level::Warn),
            ("info", log::Level::Info),
            ("debug", log::Level::Debug),
        ],
    },
    absent: Absent::Literal("\"info\""),
    text: "What is written to standard error: broken promises, what an operator would want to be woken for, one line \
           per call begun and ended, each decision.",
};
static NAME_SERVERS: Key<List<AddressAndPort>> = Key {
    name: "name-servers",
    kind: List { of: AddressAndPort, max: 4 },
    absent: Absent::Derived("those of `/etc/resolv.conf`"),
    text: "DNS servers that next hops are looked up at. `/etc/hosts` is read first in any case.",
};

static REGISTRATIONS: Key<AbsolutePath> = Key {
    name: "registrations",
    kind: AbsolutePath,
    absent: Absent::Derived("none: after a restart phones are called again once they have registered again"),
    text: "A file in which the agent half keeps who has registered through it, in a directory that exists and keeps its files. Made if it            does not exist, for the agent half's user alone.",
};

static USERS: Key<AbsolutePath> = Key {
    name: "users",
    kind: AbsolutePath,
    absent: Absent::Derived("none: needed where a realm has `authenticate`"),
    text: "A file with the users that a realm with `authenticate` asks for their passwords, one a line: `NAME password PASSWORD`, or `NAME md5 HASH sha-256 HASH` with one \
           hash or both, each of NAME, the realm of our challenges and the password with a colon between any two; then `callers PATTERN,PATTERN` for whom else it may call \
           itself in From. `#` begins a comment. Nobody but its owner, root or the user of the agent half, may be able to change the file, and others may not read it. \
           `postern reload` reads it again, if the user of the agent half may.",
};

static TOP: Section = Section {
    heading: "",
    text: "Keys at the top of the file.",
    keys: &[&RUN_DIR, &USER, &LOG, &NAME_SERVERS, &REGISTRATIONS, &USERS],
};

/// Every section, in the order of the documentation.
static SECTIONS: [&Section; 13] = [
    &TOP,
    &realm::SECTION,
    &route::SECTION,
    &trunk::SECTION,
    &call_policy::SECTION,
    &middlebox::SECTION,
    &agent::SECTION,
    &policy::SECTION,
    &calls::SECTION,
    &numbers::TIMERS,
    &numbers::LIMITS,
    &protection::SECTION,
    &numbers::CODES,
];

/// Names of the tables at the top of the file.
const TABLES: [&str; 11] = [
    "realm",
    "route",
    "trunk",
    "call-policy",
    "middlebox",
    "policy",
    "calls",
    "timers",
    "limits",
    "protection",
    "codes",
];

/// A file that was refused: the text says everything.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Ready to be shown.
    pub text: String,
}

impl Config {
    /// Reads and checks a file.
    pub(crate) fn load(path: &Path) -> Result<Self, Refused> {
        let source = read(path).map_err(|text| Refused { text })?;
        Self::parse(&path.display().to_string(), &source)
    }

    /// Puts the sockets into another directory than the file says.
    pub(crate) fn move_to(&mut self, run_dir: &Path) {
        let old = self.run_dir.join("simco.sock");
        for middlebox in self.middleboxes.iter_mut().chain([&mut self.middlebox]) {
            if middlebox.socket == old {
                middlebox.socket = run_dir.join("simco.sock");
            }
            if middlebox.connect == Connect::Unix(old.clone()) {
                middlebox.connect = Connect::Unix(middlebox.socket.clone());
            }
        }
        self.run_dir = run_dir.to_owned();
    }

    /// Checks a text; `path` is only shown.
    pub(crate) fn parse(path: &str, source: &str) -> Result<Self, Refused> {
        let mut problems = Problems::default();
        let (document, errors) = DeTable::parse_recoverable(source);
        for error in errors {
            problems.push(error.span().unwrap_or(0..0), "this is not TOML", error.message());
        }
        // Meaning is looked at only where the grammar is right: anything else is noise.
        let config = if problems.is_empty() { Self::read(document.get_ref(), &mut problems) } else { None };
        match config {
            Some(config) if problems.is_empty() => {
                Ok(Self { file: path.into(), text: source.to_owned(), ..config })
            }
            Some(_) | None => Err(Refused { text: problems.render(path, source) }),
        }
    }

    fn read(document: &DeTable<'_>, problems: &mut Problems) -> Option<Self> {
        let top = Table::open(&TOP, Some(document), 0..0, &TABLES, problems);
        let run_dir = top.value(&RUN_DIR, problems);
        let realms = realms(document, problems);
        let trunks = trunk::read(document, &realms, problems);
        let routes = routes(document, (&realms, &trunks), problems);
        let call_policy = call_policy::read(document, &realms, problems);
        duplicates(&realms, problems);
        own_ports(&realms, problems);
        let middleboxes = middleboxes(document, &realms, &run_dir, problems);
        let (found, span) = section(document, "calls", problems);
        let calls = Calls::read(span, found, problems);
        let (found, span) = section(document, "timers", problems);
        let timers = Timers::read(span, found, problems);
        let (found, span) = section(document, "limits", problems);
        let limits = Limits::read(span, found, problems);
        let (found, span) = section(document, "protection", problems);
        let protection = Protection::read(span, found, problems);
        let (found, span) = section(document, "codes", problems);
        let codes = Codes::read(span, found, problems);
        let (user, log) = (top.given(&USER, problems), top.value(&LOG, problems));
        let own = middleboxes.iter().find(|middlebox| middlebox.is_local()).or_else(|| middleboxes.first());
        let middlebox = own?.clone();
        let name_servers = top.given(&NAME_SERVERS, problems).unwrap_or_default();
        let registrations = top.given(&REGISTRATIONS, problems);
        let (users, users_place) = (top.given(&USERS, problems), top.place(&USERS));
        if let Some(asking) = realms.iter().find(|realm| realm.asks() && users.is_none()) {
            problems.push_with_help(
                asking.span.clone(),
                "nobody has a password",
                "`authenticate` needs `users` at the top of the file",
                "name a file: users = \"/etc/postern/users\"",
            );
        }
        let policy = policy(document, &middlebox, problems);
        Some(Self {
            file: PathBuf::new(),
            text: String::new(),
            run_dir,
            user,
            log,
            name_servers,
            registrations,
            users,
            users_place,
            realms,
            routes,
            trunks,
            call_policy,
            middleboxes,
            middlebox,
            policy,
            calls,
            timers,
            limits,
            protection,
            codes,
        })
    }
}

/// The text of a file that may be a configuration.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let say = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!(
                "{shown}: no such file\nwrite one (docs/configuration.md has the smallest) or name it with --config FILE"
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("{shown}: permission denied\nthis user may not read it: see `ls -l {shown}`")
        }
        _other => format!("{shown}: {error}"),
    };
    let size = std::fs::metadata(path).map_err(|error| say(&error))?;
    if size.is_dir() {
        return Err(format!("{shown} is a directory, not a file"));
    }
    if size.len() > FILE_BYTES_MAX {
        return Err(format!(
            "{shown} has {} bytes; a configuration has at most {FILE_BYTES_MAX}",
            size.len()
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| say(&error))?;
    String::from_utf8(bytes).map_err(|error| {
        format!("{shown}: byte {} is not UTF-8; TOML files are", error.utf8_error().valid_up_to())
    })
}

/// A table at the top of the file with its place; a complaint if it is something else.
fn table<'a, 'i>(
    document: &'a DeTable<'i>,
    name: &str,
    problems: &mut Problems,
) -> Option<(&'a DeTable<'i>, Range<usize>)> {
    let value = document.get(name)?;
    let table = value.get_ref().as_table();
    if table.is_none() {
        problems.push(
            value.span(),
            format!("`{name}` is a section"),
            format!("write [{name}] on a line of its own"),
        );
    }
    table.map(|table| (table, value.span()))
}

/// The same for a section that may be left out.
fn section<'a, 'i>(
    document: &'a DeTable<'i>,
    name: &str,
    problems: &mut Problems,
) -> (Option<&'a DeTable<'i>>, Range<usize>) {
    table(document, name, problems).map_or((None, 0..0), |(table, span)| (Some(table), span))
}

fn realms(document: &DeTable<'_>, problems: &mut Problems) -> Vec<Realm> {
    let Some((table, span)) = table(document, "realm", problems) else {
        if document.get("realm").is_none() {
            problems.push_with_help(
                0..0,
                "there is no realm",
                "a border has two sides",
                "start with [realm.outside] and [realm.inside]; docs/configuration.md has the smallest file",
            );
        }
        return Vec::new();
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    if entries.len() > REALMS_MAX {
        problems.push(span, format!("{} realms", entries.len()), format!("at most {REALMS_MAX}"));
        return Vec::new();
    }
    entries.into_iter().filter_map(|(name, value)| realm(name, value, problems)).collect()
}

fn realm(
    name: &Spanned<toml::de::DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems,
) -> Option<Realm> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        problems.push_with_help(
            name.span(),
            format!("`{}` is not a realm", name.get_ref()),
            "a realm is a section",
            "did you mean [realm.NAME]?",
        );
    }
    Some(Realm::read(name.get_ref(), name.span(), table?, problems))
}

fn routes(document: &DeTable<'_>, known: (&[Realm], &[Trunk]), problems: &mut Problems) -> Vec<Route> {
    let Some(value) = document.get("route") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        problems.push(value.span(), "`route` is a list of sections", "write [[route]] with two brackets");
        return Vec::new();
    };
    if list.len() > ROUTES_MAX {
        problems.push(value.span(), format!("{} routes", list.len()), format!("at most {ROUTES_MAX}"));
        return Vec::new();
    }
    let mut routes = Vec::new();
    for entry in list {
        match entry.get_ref().as_table() {
            Some(table) => routes.extend(Route::read(entry.span(), table, known, problems)),
            None => {
                problems.push(entry.span(), "a route is a section", "write [[route]] on a line of its own")
            }
        }
    }
    routes
}

/// No pinhole may lead to a port of this host on which we listen ourselves.
fn own_ports(realms: &[Realm], problems: &mut Problems) {
    let listeners = || realms.iter().flat_map(|realm| &realm.listen);
    for realm in realms.iter().filter(|realm| realm.local_media) {
        let open = |address: SocketAddr| {
            realm.media_ports.contains(&address.port())
                && realm.media.iter().any(|network| network.contains(&address.ip()))
        };
        for (listen, span) in listeners().filter(|(listen, _)| open(listen.address)) {
            let (low, high) = (realm.media_ports.start(), realm.media_ports.end());
            problems.push_with_help(
                span.clone(),
                format!("realm {} would open pinholes to this port", realm.name),
                format!("{} is among its `media`, and `media-ports` are {low}-{high}", listen.address.ip()),
                "with `local-media` the ports of media and those we listen on must differ",
            );
        }
    }
}

/// The same address twice would be refused by the kernel, with less to say. All but UDP share the ports of TCP.
fn duplicates(realms: &[Realm], problems: &mut Problems) {
    let mut seen: Vec<(&Listen, &str)> = Vec::new();
    for (realm, (listen, span)) in
        realms.iter().flat_map(|realm| realm.listen.iter().map(move |l| (realm, l)))
    {
        let same = |other: &Listen| {
            let datagrams = |listen: &Listen| listen.transport == Transport::Udp;
            other.address == listen.address && datagrams(other) == datagrams(listen)
        };
        if let Some((_, first)) = seen.iter().find(|(other, _)| same(other)) {
            problems.push(
                span.clone(),
                format!("{listen} is listened to twice"),
                format!("also in [realm.{first}]"),
            );
        }
        seen.push((listen, &realm.name));
    }
}

/// `[middlebox]`, or each `[[middlebox]]`.
fn middleboxes(
    document: &DeTable<'_>,
    realms: &[Realm],
    run_dir: &Path,
    problems: &mut Problems,
) -> Vec<Middlebox> {
    let value = document.get("middlebox");
    let Some((span, list)) = value.and_then(|value| Some((value.span(), value.get_ref().as_array()?))) else {
        let (found, span) = section(document, "middlebox", problems);
        let only: Vec<_> = Middlebox::read(span, found, realms, run_dir, problems).into_iter().collect();
        standby::pairs(&only, problems);
        return only;
    };
    if list.is_empty() || list.len() > MIDDLEBOXES_MAX {
        let title = format!("{} middleboxes", list.len());
        problems.push(span, title, format!("at least one, at most {MIDDLEBOXES_MAX}"));
        return Vec::new();
    }
    let mut middleboxes: Vec<Middlebox> = Vec::new();
    for entry in list {
        let Some(table) = entry.get_ref().as_table() else {
            problems.push(
                entry.span(),
                "a middlebox is a section",
                "write [[middlebox]] on a line of its own",
            );
            continue;
        };
        let read = Middlebox::read(entry.span(), Some(table), realms, run_dir, problems);
        if let Some(middlebox) = read {
            let place = Middlebox::name_place(table, entry.span());
            told_apart(&middlebox, &middleboxes, list.len(), place, problems);
            middleboxes.push(middlebox);
        }
    }
    standby::pairs(&middleboxes, problems);
    middleboxes
}

/// Several middleboxes have names of their own, and one of them at most is this host's.
fn told_apart(
    middlebox: &Middlebox,
    before: &[Middlebox],
    all: usize,
    place: Range<usize>,
    problems: &mut Problems,
) {
    if let Some(other) = before.iter().find(|other| other.name == middlebox.name) {
        let title = format!("two middleboxes are called `{}`", other.name);
        problems.push(place.clone(), title, "each of several needs a `name` of its own");
    }
    // A `connect` that cannot be read has been complained about already.
    let local = before.iter().find(|other| other.is_local()).filter(|_| problems.is_empty());
    if let Some(other) = local.filter(|_| all > 1 && middlebox.is_local()) {
        problems.push_with_help(
            place,
            "two middleboxes of this host",
            format!("`{}` has no `connect` either", other.name),
            "a host has one firewall; for the others write where they are: connect = \"HOST\"",
        );
    }
}

/// Each `[[policy]]`.
fn policy(document: &DeTable<'_>, middlebox: &Middlebox, problems: &mut Problems) -> Vec<Line> {
    let Some(value) = document.get("policy") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        problems.push(value.span(), "`policy` is a list of sections", "write [[policy]] with two brackets");
        return Vec::new();
    };
    if list.len() > policy::LINES_MAX {
        let title = format!("{} lines of policy", list.len());
        problems.push(value.span(), title, format!("at most {}", policy::LINES_MAX));
        return Vec::new();
    }
    let mut lines = Vec::new();
    for entry in list {
        match entry.get_ref().as_table() {
            Some(table) => lines.extend(Line::read(entry.span(), table, middlebox, problems)),
            None => problems.push(
                entry.span(),
                "a line of policy is a section",
                "write [[policy]] on a line of its own",
            ),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
