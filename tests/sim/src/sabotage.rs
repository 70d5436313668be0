//! What engines and agent do wrong in runs that prove that the observer sees it.

use bytes::Bytes;
use sip::transport::Hop;

use crate::queue::Seat;
use crate::wire;
use crate::world::World;

/// An engine that lies, or an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// What it was told to remove stays.
    KeepsEntries,
    /// What it was told to add is not there.
    LosesEntries,
    /// What it translates it translates to the port beside.
    TranslatesBeside,
    /// What leaves keeps its inside source.
    KeepsSources,
    /// What comes in keeps its outside destination.
    KeepsDestinations,
    /// It counts no packet.
    CountsNothing,
    /// It says that something passes where nothing does.
    CountsAnything,
    /// Not an engine: the agent sends where phones say they were.
    TrustsContacts,
    /// Nor this: the agent passes Refer-To on as it came.
    LeavesReferTo,
    /// Nor this: the agent writes keys for SRTP anew.
    ChangesKeys,
    /// Nor this: the agent answers each NOTIFY itself.
    EndsSubscriptions,
}

impl World {
    /// What leaves the agent, made wrong if this run wants it so.
    pub(crate) fn tampered(&mut self, hop: Hop, bytes: Bytes) -> (Hop, Bytes) {
        let is_request = wire::status(&bytes) == 0;
        match self.plan.sabotage {
            Some(Sabotage::TrustsContacts) if is_request => {
                let named = self.directory.at(hop.remote).first().and_then(|seat| {
                    let Seat { call, end, branch } = self.handsets[*seat].seat;
                    self.plan.calls[call].phone(end, branch).0.named.contact
                });
                (Hop { remote: named.unwrap_or(hop.remote), ..hop }, bytes)
            }
            Some(Sabotage::LeavesReferTo) if bytes.starts_with(b"REFER ") => {
                let came = self.books.arriving.as_ref().and_then(|(_, came)| wire::field(came, "Refer-To"));
                let bytes = match (came, wire::field(&bytes, "Refer-To")) {
                    (Some(came), Some(leaves)) => {
                        Bytes::from(String::from_utf8_lossy(&bytes).replace(leaves, came))
                    }
                    _ => bytes,
                };
                (hop, bytes)
            }
            Some(Sabotage::ChangesKeys) => {
                (hop, Bytes::from(String::from_utf8_lossy(&bytes).replace("inline:", "INLINE:")))
            }
            Some(Sabotage::EndsSubscriptions) if !is_request && wire::method(&bytes) == "NOTIFY" => {
                let text = String::from_utf8_lossy(&bytes).replace("SIP/2.0 200 OK", "SIP/2.0 481 Gone");
                (hop, Bytes::from(text))
            }
            _ => (hop, bytes),
        }
    }
}
