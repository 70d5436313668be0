//! The middlebox of a flow: keeps the questions, answers them as told.

use std::collections::VecDeque;

use midcom::{Failure, Gid, Lifetime, Prid, Reply, Request, RequestId, Tuple};

/// One middlebox.
#[derive(Debug, Default)]
pub(crate) struct Firewall {
    open: VecDeque<(RequestId, Request)>,
    rules: Vec<Prid>,
    prids: u32,
}

impl Firewall {
    pub(crate) fn asked(&mut self, id: RequestId, request: Request) {
        self.open.push_back((id, request));
    }

    /// The answer to the question at a position among those that are open.
    pub(crate) fn answer(
        &mut self,
        position: usize,
        refusal: Option<Failure>,
    ) -> Option<(RequestId, Result<Reply, Failure>)> {
        let (id, request) = self.open.remove(position)?;
        let reply = match refusal {
            Some(failure) => Err(failure),
            None => Ok(self.grant(&request)),
        };
        Some((id, reply))
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Ends the questions that are open: the session broke.
    pub(crate) fn broken(&mut self) -> Vec<RequestId> {
        self.open.drain(..).map(|(id, _)| id).collect()
    }

    /// How many rules it holds.
    pub(crate) fn rules(&self) -> usize {
        self.rules.len()
    }

    pub(crate) fn forget(&mut self, prid: Prid) {
        self.rules.retain(|rule| *rule != prid);
    }

    /// A rule that somebody else left behind.
    pub(crate) fn plant(&mut self, prid: Prid) {
        self.rules.push(prid);
    }

    fn grant(&mut self, request: &Request) -> Reply {
        match request {
            Request::Enable { internal, lifetime, group, .. } => {
                let prid = self.make();
                self.enabled(prid, *internal, *lifetime, group.unwrap_or(Gid(prid.0)))
            }
            Request::EnableReserved { prid, internal, lifetime, .. } => {
                self.enabled(*prid, *internal, *lifetime, Gid(prid.0))
            }
            Request::Reserve { lifetime, group, .. } => {
                let prid = self.make();
                let group = group.unwrap_or(Gid(prid.0));
                Reply::Reserved { prid, group, lifetime: *lifetime, outside: None, inside: None }
            }
            Request::Lifetime { prid, lifetime: Lifetime::END } => {
                self.forget(*prid);
                Reply::Ended
            }
            Request::Lifetime { lifetime, .. } => Reply::Lifetime(*lifetime),
            Request::List => Reply::List(self.rules.clone()),
            Request::Disable { lifetime, .. } => Reply::Disabled { prid: self.make(), lifetime: *lifetime },
            Request::Status { .. } => Reply::Ended,
        }
    }

    fn enabled(&self, prid: Prid, internal: Tuple, lifetime: Lifetime, group: Gid) -> Reply {
        Reply::Enabled { prid, group, lifetime, outside: internal, inside: None }
    }

    fn make(&mut self) -> Prid {
        self.prids += 1;
        self.rules.push(Prid(self.prids));
        Prid(self.prids)
    }
}

/// The refusals a flow can name.
pub(crate) fn failure(name: &str) -> Option<Failure> {
    Some(match name {
        "resources" => Failure::NoResources,
        "authorization" => Failure::NotAuthorizedForTransaction,
        "space" => Failure::AddressSpaceNotAvailable,
        "conflict" => Failure::Conflict,
        "configuration" => Failure::ConfigurationFailed,
        "wildcard" => Failure::WildcardNotSupported,
        "norule" => Failure::NoSuchRule,
        "lost" => Failure::SessionLost,
        "timeout" => Failure::Timeout,
        _ => return None,
    })
}
