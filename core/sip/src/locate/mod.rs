//! Locating SIP servers: RFC 3263 §4, over RFC 2782 (SRV). Before changing this file read RFC 3263 §4 whole.
//!
//! ```text
//!              port given ──────────────────────────────┐
//!              transport given ──► Services ──┐         ▼
//!  neither ──► Pointers (NAPTR) ──► Services (SRV) ──► Hosts (A, AAAA) ──► places, in the order in which they are tried
//! ```
//!
//! [`Search`] decides what to ask and what the answers mean; somebody else asks and remembers answers as long as they live.
//! A name that is a number needs no search.

mod pointer;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use machine::Rng;

use crate::transport::Protocol;

pub use pointer::Pointer;
pub use service::Service;

/// Records of one answer that are looked at; the rest is not.
pub const RECORDS_MAX: usize = 32;
/// Hosts whose addresses are asked for in one search; those that would be tried after them are not.
pub const HOSTS_MAX: usize = 16;
/// Places that one search gives; those that would be tried after them are left out.
pub const PLACES_MAX: usize = 32;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// A name, not a number.
    pub host: String,
    /// The port that the URI names.
    pub port: Option<u16>,
    /// The transport that the URI names.
    pub transport: Option<Protocol>,
    /// What can be spoken, best first, at least one; nothing else comes out. For a SIPS URI nothing but TLS.
    pub speaks: Vec<Protocol>,
}

/// Where a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Over what.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
}

/// A question to the name service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// NAPTR records of a domain; the answer is [`Records::Pointers`].
    Pointers(String),
    /// SRV records of a service; the answer is [`Records::Services`].
    Services(String),
    /// A and AAAA records of a host; the answer is [`Records::Addresses`].
    Addresses(String),
}

/// The answer to a question; empty if there are no such records, and if nobody answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// In any order.
    Pointers(Vec<Pointer>),
    /// In any order.
    Services(Vec<Service>),
    /// In the order in which they are to be tried.
    Addresses(Vec<IpAddr>),
}

/// What comes of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask all of these, hand over each answer with [`Search::answered`]; the last one gives the next step.
    Ask(Vec<Question>),
    /// The end: the places in the order in which they are to be tried, none if there are none.
    Found(Vec<Place>),
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct Search {
    wish: Wish,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// NAPTR records are asked for. Leads to `Services`.
    Pointers,
    /// SRV records are asked for, the best transport first. Leads to `Hosts`, or to the end.
    Services { asked: Vec<(Protocol, String)>, found: BTreeMap<String, Vec<Service>> },
    /// Addresses are asked for, in the order in which hosts are tried. Leads to the end.
    Hosts { asked: Vec<Host>, found: BTreeMap<String, Vec<IpAddr>> },
}

#[derive(Debug, Clone)]
struct Host {
    protocol: Protocol,
    port: u16,
    name: String,
}

impl Search {
    /// Begins; says what to ask first.
    #[must_use]
    pub fn new(wish: Wish) -> (Self, Step) {
        let mut search = Self { wish, state: State::Pointers };
        let step = search.begin();
        (search, step)
    }

    fn begin(&mut self) -> Step {
        let Wish { host, port, transport, .. } = &self.wish;
        match (port, transport) {
            //= RFC 3263 §4.2: with a port only addresses are looked up, even if the port is 5060.
            (Some(port), _) => {
                let (protocol, port, name) = (self.protocol(), *port, host.clone());
                self.ask_hosts(vec![Host { protocol, port, name }])
            }
            //= RFC 3263 §4.2: with a transport there is no choice left that NAPTR could make.
            (None, Some(transport)) => {
                let service = service_name(*transport, host).map(|name| (*transport, name));
                self.ask_services(service.into_iter().collect())
            }
            (None, None) => Step::Ask(vec![Question::Pointers(host.clone())]),
        }
    }

    /// Hands over an answer; `None` while others are missing. What was not asked is ignored.
    pub fn answered(&mut self, rng: &mut Rng, question: &Question, records: Records) -> Option<Step> {
        match (&mut self.state, question, records) {
            (State::Pointers, Question::Pointers(_), Records::Pointers(pointers)) => {
                Some(self.on_pointers(pointers))
            }
            (State::Services { asked, found }, Question::Services(name), Records::Services(mut services)) => {
                services.truncate(RECORDS_MAX);
                if asked.iter().any(|(_, asked)| asked == name) {
                    found.insert(name.clone(), services);
                }
                let complete = asked.iter().all(|(_, name)| found.contains_key(name));
                complete.then(|| self.on_services(rng))
            }
            (State::Hosts { asked, found }, Question::Addresses(name), Records::Addresses(mut addresses)) => {
                addresses.truncate(RECORDS_MAX);
                if asked.iter().any(|asked| asked.name == *name) {
                    found.insert(name.clone(), addresses);
                }
                let complete = asked.iter().all(|host| found.contains_key(&host.name));
                complete.then(|| self.on_addresses())
            }
            (State::Pointers | State::Services { .. } | State::Hosts { .. }, _, _) => None,
        }
    }

    /// The transport of this search where no record chooses one.
    //= RFC 3263 §4.1: UDP for a SIP URI; for a SIPS URI TLS is all that is spoken.
    fn protocol(&self) -> Protocol {
        let Wish { transport, speaks, .. } = &self.wish;
        let udp = speaks.contains(&Protocol::Udp);
        transport.unwrap_or(if udp {
            Protocol::Udp
        } else {
            speaks.first().copied().unwrap_or(Protocol::Udp)
        })
    }

    fn on_pointers(&mut self, mut pointers: Vec<Pointer>) -> Step {
        pointers.truncate(RECORDS_MAX);
        let services = pointer::choose(pointers, &self.wish.speaks);
        if services.is_empty() {
            //= RFC 3263 §4.1: without NAPTR records SRV is asked for every transport that we have.
            let host = &self.wish.host;
            let named = |protocol: &Protocol| Some((*protocol, service_name(*protocol, host)?));
            let each = self.wish.speaks.iter().filter_map(named).collect();
            return self.ask_services(each);
        }
        self.ask_services(services)
    }

    fn on_services(&mut self, rng: &mut Rng) -> Step {
        let usual = self.protocol();
        let State::Services { asked, found } = &mut self.state else { return Step::Found(Vec::new()) };
        let mut hosts = Vec::new();
        let mut some = false;
        for (protocol, name) in asked.iter() {
            let services = found.remove(name).unwrap_or_default();
            some |= !services.is_empty();
            let offered = service::in_order(services, rng).into_iter().filter(Service::is_offered);
            let hosts_of = offered.map(|Service { port, target, .. }| Host {
                protocol: *protocol,
                port,
                name: without_root(&target).to_owned(),
            });
            hosts.extend(hosts_of);
        }
        match some {
            //= RFC 2782: the target "." says that there is no such service; nothing else is tried then.
            true => self.ask_hosts(hosts),
            //= RFC 3263 §4.2: without SRV records the addresses of the name itself, at the default port.
            false => {
                let first = asked.first().map(|(protocol, _)| *protocol);
                let is_asked = asked.iter().any(|(protocol, _)| *protocol == usual);
                let protocol = first.filter(|_| !is_asked).unwrap_or(usual);
                let (port, name) = (protocol.port(), self.wish.host.clone());
                self.ask_hosts(vec![Host { protocol, port, name }])
            }
        }
    }

    fn on_addresses(&mut self) -> Step {
        let State::Hosts { asked, found } = &self.state else { return Step::Found(Vec::new()) };
        let mut places = Vec::new();
        for Host { protocol, port, name } in asked {
            for address in found.get(name).into_iter().flatten() {
                let place = Place { protocol: *protocol, address: SocketAddr::new(*address, *port) };
                if places.len() < PLACES_MAX && !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Step::Found(places)
    }

    fn ask_services(&mut self, asked: Vec<(Protocol, String)>) -> Step {
        let questions = asked.iter().map(|(_, name)| Question::Services(name.clone())).collect();
        self.state = State::Services { asked, found: BTreeMap::new() };
        Step::Ask(questions)
    }

    fn ask_hosts(&mut self, mut asked: Vec<Host>) -> Step {
        asked.truncate(HOSTS_MAX);
        let mut questions: Vec<Question> =
            asked.iter().map(|host| Question::Addresses(host.name.clone())).collect();
        questions.sort();
        questions.dedup();
        self.state = State::Hosts { asked, found: BTreeMap::new() };
        match questions.is_empty() {
            true => Step::Found(Vec::new()),
            false => Step::Ask(questions),
        }
    }
}

/// The SRV name of a transport (RFC 3263 §4.1); none where we cannot be the one who connects.
fn service_name(protocol: Protocol, host: &str) -> Option<String> {
    let host = without_root(host);
    match protocol {
        Protocol::Udp => Some(format!("_sip._udp.{host}")),
        Protocol::Tcp => Some(format!("_sip._tcp.{host}")),
        Protocol::Tls => Some(format!("_sips._tcp.{host}")),
        Protocol::Ws | Protocol::Wss => None,
    }
}

/// Names are compared and shown without the dot of the root.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
