//! The settings of a flow: the lines before its first step.
//!
//! | setting | values | default |
//! |---|---|---|
//! | `call` | `outside` (A is outside), `inside` | `outside` |
//! | `source` | `strict`, `address`, `realm` | `realm` |
//! | `early-media` | `yes`, `no` | `yes` |
//! | `codes` | `default`, `dedicated` | `default` |
//! | `middleboxes` | 0, 1, 2 | 1 |
//! | `standby` | whether the second middlebox stands by for the first | `no` |
//! | `wildcards` | what the middleboxes can express: `all`, `addresses`, `ports`, `none` | `all` |
//! | `nat` | whether the middleboxes translate: A2 is 203.0.113.1, ports 40000 and on | `no` |
//! | `granted` | the longest lifetime a middlebox grants, in seconds | 3600 |
//! | `rule-lifetime` | what is asked for, in seconds | 600 |
//! | `inside-networks`, `outside-networks` | media networks, with commas | `10.0.40.0/24`; everything |
//! | `next-hop` | `address`, `name` | `address` |
//! | `inside-next-hop`, `outside-next-hop` | addresses with commas, instead | `10.0.0.5`; `192.0.2.10` |
//! | `refuse` | pattern of called users and a status code | |
//! | `calls`, `rules`, `forks`, `strays`, `exchanges`, `held`, `registrations`, `subscriptions` | limits | 100, else those of the program |
//! | `call-policy` | lines as `admission.rs` reads them | |
//! | `reserve` | `yes`, `no` | `no` |
//! | `crucial` | `first-audio`, `all`, media types with commas | `first-audio` |
//! | `hold` | `keep`, `close` | `keep` |
//! | `redirect` | `relay`, or how many contacts are followed | `relay` |
//! | `media-timeout` | seconds, `off` | `off` |
//! | `ping` | seconds, `off` | `off` |
//! | `precondition` | `fw`, `qos`, `off` | `off` |
//! | `session-expires` | seconds, `off` | `off` |
//! | `min-se` | seconds | 90 |
//! | `pass` | methods of requests outside calls that are passed on, with commas | |
//! | `trunk` | `calls`: the phone outside is a trunk that knows us as `postern` with the password `secret`; `register`: and is told where we are; `any-realm` besides: its realm is not configured; `secure`: it is reached over TLS only | |
//! | `refresh` | seconds, `off` | `off` |
//! | `unreachable`, `technical`, `temporary-policy`, `policy`, `policy-in-call`, `sdp`, `precondition-failed` | a status code | by `codes` |
//! | `authenticate` | methods, with commas, for which phones of the realm must show who they are: `alice` and `bob` have the password `secret`, and alice may call as 100 | |
//! | `registrar` | the shortest and the longest time in seconds that phones of the realm register with us for; its calls go to them | |
//! | `show` | header fields, with commas, or `all`; `request-uri`; the `phrase` of responses | |
//!
//! `precondition`, `session-expires`, `min-se`, `pass`, `refresh`, `authenticate` and `registrar` are for both realms; `inside-` or `outside-` before the name is for one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use b2bua::config::{
    self, Authentication, CallPolicy, Codes, Config, Crucial, Host, Limits, Listener, NextHop, OnHold,
    PreconditionType, RealmId, RealmPolicy, Redirect, Register, Registrar, Route, SessionPolicy, Then,
    Timers, Trunk, TrunkId, User, UserPattern, Users, When,
};
use b2bua::ledger;
use midcom::{Capabilities, IpVersions, Lifetime, MiddleboxId};
use sip::digest::Secret;
use sip::message::Method;
use sip::transport::Protocol;

use crate::admission;

const KNOWN: &[&str] = &[
    "call",
    "source",
    "early-media",
    "codes",
    "middleboxes",
    "standby",
    "wildcards",
    "nat",
    "granted",
    "rule-lifetime",
    "inside-networks",
    "outside-networks",
    "next-hop",
    "inside-next-hop",
    "outside-next-hop",
    "refuse",
    "call-policy",
    "calls",
    "rules",
    "forks",
    "strays",
    "exchanges",
    "held",
    "registrations",
    "subscriptions",
    "reserve",
    "crucial",
    "hold",
    "redirect",
    "media-timeout",
    "ping",
    "trunk",
    "unreachable",
    "technical",
    "temporary-policy",
    "policy",
    "policy-in-call",
    "sdp",
    "precondition-failed",
    "show",
];

/// Settings of a realm: the name alone is for both.
const OF_REALM: &[&str] =
    &["precondition", "session-expires", "min-se", "pass", "refresh", "authenticate", "registrar"];

fn is_known(name: &str) -> bool {
    let bare = name.strip_prefix("inside-").or_else(|| name.strip_prefix("outside-")).unwrap_or(name);
    KNOWN.contains(&name) || OF_REALM.contains(&bare)
}

/// The settings of a flow, every name of them known.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'s>(&'s [(String, String)]);

impl<'s> Settings<'s> {
    /// Settings, unless one of them is unknown.
    ///
    /// # Errors
    /// Which.
    pub fn new(settings: &'s [(String, String)]) -> Result<Self, String> {
        match settings.iter().find(|(name, _)| !is_known(name)) {
            Some((name, _)) => Err(format!("no such setting: {name}")),
            None => Ok(Self(settings)),
        }
    }

    pub(crate) fn value(self, name: &str, default: &'s str) -> &'s str {
        self.0.iter().find(|(set, _)| set == name).map_or(default, |(_, value)| value)
    }

    fn number<N: std::str::FromStr>(self, name: &str, default: N) -> Result<N, String> {
        match self.value(name, "") {
            "" => Ok(default),
            value => value.parse().map_err(|_| format!("{name} = {value}: no number")),
        }
    }

    /// The longest lifetime that the middleboxes grant.
    pub(crate) fn granted(self) -> Result<Lifetime, String> {
        self.number("granted", 3600).map(Lifetime)
    }

    /// What the middleboxes say of themselves.
    ///
    /// # Errors
    /// The setting that is none.
    pub fn capabilities(self) -> Result<Capabilities, String> {
        let (addresses, ports) = match self.value("wildcards", "all") {
            "all" => (true, true),
            "addresses" => (true, false),
            "ports" => (false, true),
            "none" => (false, false),
            other => return Err(format!("no such wildcards: {other}")),
        };
        let nat = self.value("nat", "no") == "yes";
        Ok(Capabilities {
            firewall: true,
            nat,
            port_translation: nat,
            protocol_translation: false,
            twice_nat: false,
            disable_rules: true,
            internal_wildcards: addresses,
            external_wildcards: addresses,
            port_wildcards: ports,
            persistent: false,
            inside: IpVersions::Both,
            outside: IpVersions::Both,
            lifetime_max: self.granted()?,
        })
    }

    /// The configuration of the B2BUA.
    ///
    /// # Errors
    /// The setting that is none.
    pub fn config(self) -> Result<Config, String> {
        let (outside, inside) = (RealmId(0), RealmId(1));
        let standby = self.value("standby", "no") == "yes";
        let middlebox = |number: u16| config::Middlebox {
            name: format!("fw{number}"),
            inside: vec![inside],
            outside: vec![outside],
            standby_for: (standby && number == 1).then_some(MiddleboxId(0)),
        };
        Ok(Config {
            realms: vec![
                self.realm("outside", self.value("outside-networks", "0.0.0.0/0, ::/0"))?,
                self.realm("inside", self.value("inside-networks", "10.0.40.0/24"))?,
            ],
            listeners: vec![listener(outside, "203.0.113.1:5060")?, listener(inside, "10.0.0.1:5060")?],
            routes: self.routes(inside, outside)?,
            admission: admission::lines(self.value("call-policy", ""))?,
            middleboxes: (0..self.number("middleboxes", 1)?).map(middlebox).collect(),
            timers: Timers { ping: self.seconds("ping")?, ..Timers::default() },
            limits: self.limits()?,
            rule_lifetime: Lifetime(self.number("rule-lifetime", 600)?),
            codes: self.codes()?,
            pseudonym: "postern".into(),
            shard: 0,
            policy: self.policy()?,
            trunks: self.trunk()?.into_iter().collect(),
            users: users()?,
        })
    }

    /// Each realm's phone gets the calls of the other; first what `refuse` and `next-hops` say.
    fn routes(self, inside: RealmId, outside: RealmId) -> Result<Vec<Route>, String> {
        let mut routes = Vec::new();
        if let Some((user, status)) = self.value("refuse", "").split_once(' ') {
            let users = vec![UserPattern::parse(user).ok_or("not a pattern of users")?];
            let status = status.parse().map_err(|_| "not a status code")?;
            let when = When { users, ..When::default() };
            routes.push(Route { from: None, when, then: Then::Refuse { status } });
        }
        let hops =
            |text: &str| text.split(',').map(|hop| self.hop(hop.trim())).collect::<Result<Vec<_>, _>>();
        for (to, name, usual) in
            [(inside, "inside-next-hop", "10.0.0.5"), (outside, "outside-next-hop", "192.0.2.10")]
        {
            let mut next_hops = hops(self.value(name, usual))?;
            if to == outside && self.trunk()?.is_some() {
                next_hops.iter_mut().for_each(|hop| hop.trunk = Some(TrunkId(0)));
            }
            let registers = !self
                .value(self.of_realm(if to == inside { "inside" } else { "outside" }, "registrar"), "")
                .is_empty();
            let then = if registers { Then::Registered { to } } else { Then::Call { to, next_hops } };
            routes.push(Route { from: None, when: When::default(), then });
        }
        Ok(routes)
    }

    /// The phone outside as a trunk.
    fn trunk(self) -> Result<Option<Trunk>, String> {
        let mut words = self.value("trunk", "").split_whitespace();
        let register = match words.next() {
            None => return Ok(None),
            Some("calls") => None,
            Some("register") => {
                Some(Register { expires: Duration::from_secs(3600), contact_user: "line".into() })
            }
            Some(other) => return Err(format!("trunk = {other}: calls or register")),
        };
        let (mut digest_realm, mut next_hop) = (Some("provider.example".to_owned()), self.hop("192.0.2.10")?);
        for word in words {
            match word {
                "any-realm" => digest_realm = None,
                "secure" => next_hop.secure = true,
                other => return Err(format!("trunk = ... {other}: any-realm or secure")),
            }
        }
        let secret = Secret::password("secret").ok_or("a password")?;
        Ok(Some(Trunk {
            name: "provider".into(),
            realm: RealmId(0),
            next_hop,
            addresses: Vec::new(),
            domain: "provider.example".into(),
            user: "account".into(),
            auth_user: "postern".into(),
            secret,
            digest_realm,
            register,
        }))
    }

    fn codes(self) -> Result<Codes, String> {
        let usual = match self.value("codes", "default") {
            "default" => Codes::DEFAULT,
            "dedicated" => Codes::DEDICATED,
            other => return Err(format!("no such codes: {other}")),
        };
        Ok(Codes {
            unreachable: self.number("unreachable", usual.unreachable)?,
            technical: self.number("technical", usual.technical)?,
            temporary_policy: self.number("temporary-policy", usual.temporary_policy)?,
            static_policy: self.number("policy", usual.static_policy)?,
            static_policy_in_call: self.number("policy-in-call", usual.static_policy_in_call)?,
            refused_sdp: self.number("sdp", usual.refused_sdp)?,
            precondition: self.number("precondition-failed", usual.precondition)?,
        })
    }

    fn policy(self) -> Result<CallPolicy, String> {
        Ok(CallPolicy {
            reserve: match self.value("reserve", "no") {
                "yes" => true,
                "no" => false,
                other => return Err(format!("reserve = {other}: yes or no")),
            },
            crucial: match self.value("crucial", "first-audio") {
                "first-audio" => Crucial::FirstAudio,
                "all" => Crucial::All,
                list => Crucial::Media(list.split(',').map(|media| media.trim().into()).collect()),
            },
            hold: match self.value("hold", "keep") {
                "keep" => OnHold::Keep,
                "close" => OnHold::Close,
                other => return Err(format!("hold = {other}: keep or close")),
            },
            redirect: match self.value("redirect", "relay") {
                "relay" => Redirect::Relay,
                _ => Redirect::Follow { most: self.number("redirect", 1)? },
            },
            media_timeout: self.seconds("media-timeout")?,
        })
    }

    fn realm_policy(self, realm: &str) -> Result<RealmPolicy, String> {
        Ok(RealmPolicy {
            precondition: match self.value(self.of_realm(realm, "precondition"), "off") {
                "off" => None,
                "fw" => Some(PreconditionType::Fw),
                "qos" => Some(PreconditionType::Qos),
                other => return Err(format!("no such precondition: {other}")),
            },
            session: SessionPolicy {
                interval: self.seconds(self.of_realm(realm, "session-expires"))?,
                minimum: Duration::from_secs(self.number(self.of_realm(realm, "min-se"), 90)?),
            },
            refresh: self.seconds(self.of_realm(realm, "refresh"))?,
        })
    }

    /// The name under which a realm's setting is given.
    fn of_realm(self, realm: &str, name: &'static str) -> &'s str {
        let own = |set: &&'s (String, String)| {
            set.0.strip_prefix(realm).and_then(|rest| rest.strip_prefix('-')) == Some(name)
        };
        self.0.iter().find(own).map_or(name, |(set, _)| set)
    }

    fn seconds(self, name: &str) -> Result<Option<Duration>, String> {
        match self.value(name, "off") {
            "off" => Ok(None),
            _ => self.number(name, 0).map(|seconds| Some(Duration::from_secs(seconds))),
        }
    }

    fn limits(self) -> Result<Limits, String> {
        let usual = Limits::default();
        Ok(Limits {
            calls: self.number("calls", 100)?,
            rules: self.number("rules", usual.rules)?,
            forks: self.number("forks", usual.forks)?,
            strays: self.number("strays", usual.strays)?,
            exchanges: self.number("exchanges", usual.exchanges)?,
            held: self.number("held", usual.held)?,
            registrations: self.number("registrations", usual.registrations)?,
            subscriptions: self.number("subscriptions", usual.subscriptions)?,
            ..usual
        })
    }

    fn realm(self, name: &str, list: &str) -> Result<config::Realm, String> {
        let source = match self.value("source", "realm") {
            "strict" => ledger::SourcePolicy::Strict,
            "address" => ledger::SourcePolicy::Address,
            "realm" => ledger::SourcePolicy::Realm,
            other => return Err(format!("no source policy: {other}")),
        };
        let networks: Result<Vec<_>, _> = list.split(',').map(|network| network.trim().parse()).collect();
        let own = ["203.0.113.1", "10.0.0.1", "10.0.40.1"].map(str::parse);
        let media = sdp::MediaPolicy {
            networks: networks.map_err(|_| format!("no networks: {list}"))?,
            ports: 16_384..=32_767,
            own_addresses: own.into_iter().flatten().collect(),
            outside_places: Vec::new(),
            flows_max: 16,
        };
        let early_media = self.value("early-media", "yes") == "yes";
        Ok(config::Realm {
            name: name.into(),
            pinholes: Arc::new(ledger::Realm { media, source, early_media }),
            policy: self.realm_policy(name)?,
            pass: self.methods(name, "pass"),
            authentication: Some(self.methods(name, "authenticate"))
                .filter(|methods| !methods.is_empty())
                .map(|methods| Authentication { realm: "postern".into(), methods }),
            registrar: match self.value(self.of_realm(name, "registrar"), "").split_once(' ') {
                None => None,
                Some((min, max)) => Some(Registrar {
                    min_s: min.parse().map_err(|_| "registrar: no number")?,
                    max_s: max.parse().map_err(|_| "registrar: no number")?,
                }),
            },
        })
    }

    fn methods(self, realm: &str, name: &'static str) -> Vec<Method> {
        let methods = self.value(self.of_realm(realm, name), "").split(',');
        methods.filter(|method| !method.is_empty()).map(|method| Method::of(method.trim())).collect()
    }

    fn hop(self, address: &str) -> Result<NextHop, String> {
        let host = match self.value("next-hop", "address") {
            "name" => Host::Name("pbx.example".into()),
            _ => Host::Address(address.parse().map_err(|_| "an address".to_owned())?),
        };
        Ok(NextHop { host, port: None, transport: None, secure: false, trunk: None })
    }
}

fn users() -> Result<Users, String> {
    let user = |callers: &[&str]| {
        let secret = Secret::password("secret").ok_or("a password")?;
        let callers = callers.iter().filter_map(|caller| UserPattern::parse(caller)).collect();
        Ok::<_, String>(User { secret, callers })
    };
    Ok(Users::new([("alice".into(), user(&["100"])?), ("bob".into(), user(&[])?)]))
}

fn listener(realm: RealmId, text: &str) -> Result<Listener, String> {
    let address: SocketAddr = text.parse().map_err(|_| "an address".to_owned())?;
    Ok(Listener { realm, protocol: Protocol::Udp, address, sent_by: text.into() })
}
