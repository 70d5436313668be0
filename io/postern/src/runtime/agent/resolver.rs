//! Asks the name service what `sip::locate` wants to know, without stopping the loop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use b2bua::LookupId;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use machine::Rng;
use sip::locate::{Place, Pointer, Question, Records, Search, Service, Step, Wish};
use tokio::sync::{Semaphore, mpsc};

use crate::log;
use crate::runtime::{Failure, block_on};

/// Searches under way at a time; the others wait.
const SEARCHES_MAX: usize = 64;
/// How long a whole search may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one name server may take before it is asked again, or the next one.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);
/// The longest that an answer is believed, whatever its time to live.
const TTL_MAX: Duration = Duration::from_secs(3600);
/// The longest that "there is no such record" is believed.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(60);
/// Answers that are remembered; beyond it those used least recently are forgotten.
const CACHE_MAX: u64 = 4096;
/// The system's own settings; a change counts from the next search on.
const SYSTEM: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// What came of a search: the places, best first.
pub(crate) type Found = (LookupId, Vec<Place>);

/// Finds the servers of names in the DNS and `/etc/hosts`; answers are remembered as long as they live.
pub(crate) struct Resolver {
    /// Instead of those of the system.
    servers: Vec<SocketAddr>,
    asker: Option<Asker>,
    rng: Rng,
    turns: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<Found>,
    receiver: mpsc::UnboundedReceiver<Found>,
}

struct Asker {
    resolver: TokioResolver,
    /// When the system's settings were changed, as of the time they were read.
    changed: [Option<SystemTime>; SYSTEM.len()],
}

impl Resolver {
    /// A resolver without questions; name servers are those of the system if none are given.
    pub(crate) fn new(servers: Vec<SocketAddr>, rng: Rng) -> Self {
        // The machine limits how many questions are open, so the queue of answers has that limit too.
        let (sender, receiver) = mpsc::unbounded_channel();
        let turns = Arc::new(Semaphore::new(SEARCHES_MAX));
        Self { servers, asker: None, rng, turns, sender, receiver }
    }

    /// Starts looking for a name.
    pub(crate) fn ask(&mut self, id: LookupId, wish: Wish) {
        let (turns, sender, rng) = (self.turns.clone(), self.sender.clone(), self.rng.fork());
        let host = wish.host.clone();
        let resolver = match self.asker() {
            Ok(resolver) => resolver,
            Err(why) => {
                log::warn(format_args!("cannot look up {host}: {why}"));
                let _closed = sender.send((id, Vec::new()));
                return;
            }
        };
        tokio::spawn(async move {
            let turn = turns.acquire().await;
            let places = match tokio::time::timeout(PATIENCE, search(&resolver, wish, rng)).await {
                Ok(places) => places,
                Err(_) => {
                    log::warn(format_args!("no answer to who serves {host} within {} s", PATIENCE.as_secs()));
                    Vec::new()
                }
            };
            drop(turn);
            let _closed = sender.send((id, places));
        });
    }

    /// The resolver; made anew when the system's settings have changed.
    fn asker(&mut self) -> Result<TokioResolver, String> {
        let changed = SYSTEM.map(|path| Path::new(path).metadata().and_then(|it| it.modified()).ok());
        if let Some(asker) = self.asker.as_ref().filter(|asker| asker.changed == changed) {
            return Ok(asker.resolver.clone());
        }
        let resolver = build(&self.servers)?;
        self.asker = Some(Asker { resolver: resolver.clone(), changed });
        Ok(resolver)
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Option<Found> {
        self.receiver.recv().await
    }

    /// The next answer, if there is one.
    pub(crate) fn try_answer(&mut self) -> Option<Found> {
        self.receiver.try_recv().ok()
    }
}

/// Looks for the servers of one name, now.
pub(super) fn find_once(servers: &[SocketAddr], wish: Wish, rng: Rng) -> Result<Vec<Place>, Failure> {
    block_on(async {
        let resolver = build(servers).map_err(Failure::Start)?;
        let found = tokio::time::timeout(PATIENCE, search(&resolver, wish, rng)).await;
        found.map_err(|_| Failure::Start("no name server answers".into()))
    })
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let mut builder = match servers.is_empty() {
        true => TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf: {error}"))?,
        false => {
            let servers = servers.iter().map(server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = SERVER_PATIENCE;
    options.attempts = 2;
    options.cache_size = CACHE_MAX;
    options.positive_max_ttl = Some(TTL_MAX);
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    options.use_hosts_file = ResolveHosts::Always;
    builder.build().map_err(|error| error.to_string())
}

/// A name server at a port of its own, over UDP and, for long answers, TCP.
fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// Asks what the search wants to know until it has found what there is.
async fn search(resolver: &TokioResolver, wish: Wish, mut rng: Rng) -> Vec<Place> {
    let (mut search, mut step) = Search::new(wish);
    loop {
        let questions = match step {
            Step::Ask(questions) => questions,
            Step::Found(places) => return places,
        };
        let asked: Vec<_> = questions
            .into_iter()
            .map(|question| {
                let resolver = resolver.clone();
                tokio::spawn(async move {
                    let records = answer(&resolver, &question).await;
                    (question, records)
                })
            })
            .collect();
        let mut next = None;
        for answer in asked {
            let Ok((question, records)) = answer.await else { return Vec::new() };
            next = search.answered(&mut rng, &question, records);
        }
        match next {
            Some(then) => step = then,
            None => return Vec::new(),
        }
    }
}

/// The answer to one question; whatever goes wrong is no record.
async fn answer(resolver: &TokioResolver, question: &Question) -> Records {
    match question {
        Question::Pointers(name) => {
            let pointer = |data: &RData| match data {
                RData::NAPTR(it) => Some(Pointer {
                    order: it.order,
                    preference: it.preference,
                    flags: text(&it.flags),
                    services: text(&it.services),
                    rewrites: !it.regexp.is_empty(),
                    replacement: it.replacement.to_ascii(),
                }),
                _ => None,
            };
            Records::Pointers(records(resolver, name, RecordType::NAPTR, pointer).await)
        }
        Question::Services(name) => {
            let service = |data: &RData| match data {
                RData::SRV(it) => Some(Service {
                    priority: it.priority,
                    weight: it.weight,
                    port: it.port,
                    target: it.target.to_ascii(),
                }),
                _ => None,
            };
            Records::Services(records(resolver, name, RecordType::SRV, service).await)
        }
        Question::Addresses(name) => {
            let found = resolver.lookup_ip(absolute(name)).await;
            Records::Addresses(found.map(|found| found.iter().collect()).unwrap_or_default())
        }
    }
}

async fn records<T>(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    read: impl Fn(&RData) -> Option<T>,
) -> Vec<T> {
    match resolver.lookup(absolute(name), kind).await {
        Ok(found) => found.answers().iter().filter_map(|record| read(&record.data)).collect(),
        Err(error) => {
            log::debug(format_args!("{kind} {name}: {error}"));
            Vec::new()
        }
    }
}

/// A name with a dot is whole; one without may be completed by the system's search list.
fn absolute(name: &str) -> String {
    match name.contains('.') && !name.ends_with('.') {
        true => format!("{name}."),
        false => name.to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
