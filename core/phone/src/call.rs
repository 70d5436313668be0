//! One call of the phone.

use bytes::Bytes;
use sip::dialog::{Dialog, Initial};
use sip::endpoint::{ClientKey, ServerKey};
use sip::message::{Message, Uri};
use sip::transport::Hop;

use std::net::SocketAddr;

use crate::media::Local;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// We called; no final response yet.
    Calling,
    /// We are called and have not answered.
    Ringing,
    /// Answered.
    Up,
    /// Our BYE is on its way.
    Leaving,
    /// Over, but repetitions of a 2xx must still be acknowledged.
    Over,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) state: State,
    /// Where to send if the dialog does not say an address.
    pub(crate) hop: Hop,
    pub(crate) local: Local,
    /// What we called with.
    pub(crate) initial: Option<Initial>,
    pub(crate) dialog: Option<Dialog>,
    /// Our INVITE without final response, or the one whose 2xx may still repeat.
    pub(crate) invite: Option<ClientKey>,
    /// True while that INVITE has no final response.
    pub(crate) is_inviting: bool,
    pub(crate) bye: Option<ClientKey>,
    pub(crate) wants_cancel: bool,
    /// Our last ACK and the CSeq number it has.
    pub(crate) ack: Option<(u32, Bytes)>,
    /// The INVITE that we have not answered.
    pub(crate) called: Option<(ServerKey, Message)>,
    /// Our 2xx, while its ACK is missing.
    pub(crate) answer: Option<(Hop, Bytes)>,
}

impl Call {
    pub(crate) fn new(state: State, hop: Hop, local: Local) -> Self {
        Self {
            state,
            hop,
            local,
            initial: None,
            dialog: None,
            invite: None,
            is_inviting: false,
            bye: None,
            wants_cancel: false,
            ack: None,
            called: None,
            answer: None,
        }
    }

    /// Where requests inside the dialog go: the address in the next hop's URI, or where the call began.
    pub(crate) fn next_hop(&self) -> Hop {
        let next = self.dialog.as_ref().and_then(|dialog| {
            let uri = Uri::parse(dialog.next_hop()).ok()?;
            Some(SocketAddr::new(uri.host()?.address()?, uri.port().unwrap_or(5060)))
        });
        match next {
            Some(remote) if remote != self.hop.remote => Hop { remote, connection: None, ..self.hop },
            Some(_) | None => self.hop,
        }
    }
}
