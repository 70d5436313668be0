//! One call of the phone: its dialogs, and what is on its way in them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use sip::dialog::{Dialog, Initial};
use sip::endpoint::{ClientKey, ServerKey};
use sip::message::{Message, Method, Name, Uri};
use sip::transport::Hop;

use crate::local::Local;
use crate::refer::Referral;
use crate::reliable::Unacknowledged;
use crate::session::Session;
use crate::{CallNumber, Offer, Remote};

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

/// Where a dialog's offers and answers are: RFC 3264 §5, RFC 6337 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// Nobody has offered yet.
    Empty,
    /// We have; the answer is to come.
    Offered,
    /// They have; the answer is to be given.
    Asked,
    /// The last offer has its answer.
    Agreed,
}

/// A dialog with what is negotiated in it.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    pub(crate) dialog: Dialog,
    pub(crate) exchange: Exchange,
    /// True until the offer comes for which our INVITE left room: each early dialog has one of its own.
    pub(crate) wants_offer: bool,
    /// RSeq of the last reliable response to our INVITE.
    pub(crate) rseq: Option<u32>,
    /// The last SDP that came.
    pub(crate) remote: Option<Remote>,
}

/// A PRACK or UPDATE of ours without final response.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) key: ClientKey,
    pub(crate) method: Method,
    /// The remote tag of its dialog.
    pub(crate) tag: String,
    pub(crate) has_offer: bool,
}

/// What the peer has said it can.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peer {
    pub(crate) updates: bool,
    pub(crate) timer: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) state: State,
    /// Where to send if the dialog does not say an address.
    pub(crate) hop: Hop,
    pub(crate) local: Local,
    /// What holds again if the offer on its way is refused.
    pub(crate) before: Option<Local>,
    /// Whom we called.
    pub(crate) to: String,
    /// What we called with.
    pub(crate) initial: Option<Initial>,
    /// The dialog whose place this call takes.
    pub(crate) replaces: Option<String>,
    /// How often a 3xx was followed.
    pub(crate) redirections: u8,
    /// A caller's early dialogs; the only one of a callee and of an answered call.
    pub(crate) talks: Vec<Talk>,
    /// Our INVITE without final response, or the one whose 2xx may still repeat.
    pub(crate) invite: Option<ClientKey>,
    /// True while that INVITE has no final response.
    pub(crate) is_inviting: bool,
    /// Our first INVITE left the offer to the callee.
    pub(crate) left_offer: bool,
    pub(crate) open: Vec<Open>,
    pub(crate) bye: Option<ClientKey>,
    pub(crate) wants_cancel: bool,
    /// Our last ACK and the CSeq number it has.
    pub(crate) ack: Option<(u32, Bytes)>,
    /// The INVITE that we have not answered.
    pub(crate) called: Option<(ServerKey, Message)>,
    /// True once the user could hear it.
    pub(crate) is_alerting: bool,
    pub(crate) rseq: u32,
    /// The reliable response that waits for PRACK, and what waits behind it.
    pub(crate) unacknowledged: Option<Unacknowledged>,
    pub(crate) waiting: VecDeque<u16>,
    /// The user has answered, but a PRACK is missing.
    pub(crate) wants_accept: bool,
    /// The user has hung up, but the ACK is missing.
    pub(crate) wants_hang_up: bool,
    /// Our 2xx, while its ACK is missing, and how many there were.
    pub(crate) answer: Option<(Hop, Bytes)>,
    pub(crate) answers: u64,
    /// The change of ours that is on its way, or waits because of 491.
    pub(crate) wish: Option<Offer>,
    pub(crate) peer: Peer,
    pub(crate) session: Session,
    /// The phone works on its part of a precondition; it is done.
    pub(crate) is_providing: bool,
    pub(crate) is_provided: bool,
    /// The SDP that says which precondition failed.
    pub(crate) failure: Vec<u8>,
    pub(crate) referral: Referral,
    /// The call that this one replaces as soon as it is answered.
    pub(crate) replaced: Option<CallNumber>,
}

impl Call {
    pub(crate) fn new(state: State, hop: Hop, local: Local) -> Self {
        Self {
            state,
            hop,
            local,
            before: None,
            to: String::new(),
            initial: None,
            replaces: None,
            redirections: 0,
            talks: Vec::new(),
            invite: None,
            is_inviting: false,
            left_offer: false,
            open: Vec::new(),
            bye: None,
            wants_cancel: false,
            ack: None,
            called: None,
            is_alerting: false,
            rseq: 0,
            unacknowledged: None,
            waiting: VecDeque::new(),
            wants_accept: false,
            wants_hang_up: false,
            answer: None,
            answers: 0,
            wish: None,
            peer: Peer::default(),
            session: Session::default(),
            is_providing: false,
            is_provided: false,
            failure: Vec::new(),
            referral: Referral::default(),
            replaced: None,
        }
    }

    /// The dialog: of an answered call, or of a callee.
    pub(crate) fn talk(&mut self) -> Option<&mut Talk> {
        self.talks.first_mut()
    }

    /// The dialog with this remote tag.
    pub(crate) fn talk_with(&mut self, tag: &str) -> Option<&mut Talk> {
        self.talks.iter_mut().find(|talk| talk.dialog.remote_tag() == tag)
    }

    pub(crate) fn exchange(&self) -> Exchange {
        self.talks.first().map_or(Exchange::Empty, |talk| talk.exchange)
    }

    /// Our tag as a callee; empty without dialog.
    pub(crate) fn local_tag(&self) -> &str {
        self.talks.first().map_or("", |talk| talk.dialog.local_tag())
    }

    /// Where requests inside the (first) dialog go: the address in the next hop's URI, or where the call began.
    pub(crate) fn next_hop(&self) -> Hop {
        self.talks.first().map_or(self.hop, |talk| talk.next_hop(self.hop))
    }

    /// The last SDP of the (first) dialog's other end.
    pub(crate) fn remote(&self) -> Option<Remote> {
        self.talks.first().and_then(|talk| talk.remote.clone())
    }

    /// Remembers what the peer says of itself.
    pub(crate) fn learn(&mut self, message: &Message) {
        if let Some(updates) = message.allows(&Method::Update) {
            self.peer.updates = updates;
        }
        if message.header(Name::Supported).is_some() {
            self.peer.timer = message.has_option(Name::Supported, "timer");
        }
    }
}

impl Talk {
    pub(crate) fn new(dialog: Dialog, exchange: Exchange) -> Self {
        Self { dialog, exchange, wants_offer: false, rseq: None, remote: None }
    }

    /// A dialog that our INVITE has made: of one of those whom it reached.
    pub(crate) fn called(dialog: Dialog, left_offer: bool) -> Self {
        let exchange = if left_offer { Exchange::Empty } else { Exchange::Offered };
        Self { wants_offer: left_offer, ..Self::new(dialog, exchange) }
    }

    pub(crate) fn next_hop(&self, begun: Hop) -> Hop {
        let next = Uri::parse(self.dialog.next_hop())
            .ok()
            .and_then(|uri| Some(SocketAddr::new(uri.host()?.address()?, uri.port().unwrap_or(5060))));
        match next {
            Some(remote) if remote != begun.remote => Hop { remote, connection: None, ..begun },
            Some(_) | None => begun,
        }
    }

    /// Takes the SDP of a message, if there is one.
    pub(crate) fn hear(&mut self, message: &Message) -> Option<Remote> {
        let remote = Remote::of(message);
        if remote.is_some() {
            self.remote.clone_from(&remote);
        }
        remote
    }

    /// Takes a new target; one that cannot be read changes nothing.
    pub(crate) fn refresh(&mut self, message: &Message) {
        let _unreadable = self.dialog.refresh(message);
    }
}
