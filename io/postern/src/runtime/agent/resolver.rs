//! Names to addresses, without stopping the loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use b2bua::LookupId;
use tokio::sync::{Semaphore, mpsc};

/// Questions under way at a time; each has a thread of the runtime's.
const QUESTIONS_MAX: usize = 8;
/// How long the system's resolver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The port of SIP over UDP and TCP (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;

/// What came of a question: the addresses, best first.
pub(crate) type Found = (LookupId, Vec<SocketAddr>);

/// Asks the system's resolver (`/etc/hosts`, DNS).
pub(crate) struct Resolver {
    places: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<Found>,
    receiver: mpsc::UnboundedReceiver<Found>,
}

impl Resolver {
    /// A resolver without questions.
    pub(crate) fn new() -> Self {
        // The machine limits how many questions are open, so the queue of answers has that limit too.
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { places: Arc::new(Semaphore::new(QUESTIONS_MAX)), sender, receiver }
    }

    //= RFC 3263 §4: exception: NAPTR and SRV records are not asked for in this release, only addresses.
    /// Starts looking for a name.
    pub(crate) fn ask(&self, id: LookupId, host: String, port: Option<u16>) {
        let (places, sender) = (self.places.clone(), self.sender.clone());
        tokio::spawn(async move {
            let place = places.acquire().await;
            let question = tokio::net::lookup_host((host.as_str(), port.unwrap_or(SIP_PORT)));
            let found = match tokio::time::timeout(PATIENCE, question).await {
                Ok(Ok(addresses)) => addresses.collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            drop(place);
            let _ = sender.send((id, found));
        });
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
