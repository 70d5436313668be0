//! What separates messages on a connection: their Content-Length, or the frames of WebSocket.

use bytes::Bytes;
use sip::message::stream::{Broken, Frame, Framer, PONG};

use super::web::Web;

/// Of one connection.
pub(super) enum Framing {
    /// RFC 3261 §18.3.
    Stream(Framer),
    /// RFC 7118 §5.
    Web(Box<Web>),
}

/// Why a connection cannot be read on.
pub(super) enum Trouble {
    /// The next message cannot be found; what is there of this one may be answered.
    Broken(Broken),
    /// There is nothing to answer, but something to write.
    Over(String),
}

impl Framing {
    pub(super) fn stream() -> Self {
        Self::Stream(Framer::new())
    }

    pub(super) fn web() -> Self {
        Self::Web(Box::new(Web::new()))
    }

    /// False until messages can be sent.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Web(web) => web.is_open(),
        }
    }

    /// True if a message has begun and is not finished.
    pub(super) fn is_amid(&self) -> bool {
        match self {
            Self::Stream(framer) => framer.buffered() > 0,
            Self::Web(web) => web.is_amid(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Stream(framer) => framer.push(bytes),
            Self::Web(web) => web.push(bytes),
        }
    }

    /// The next message; what is to be written because of what came goes to `pending`.
    pub(super) fn next(&mut self, pending: &mut Vec<u8>) -> Result<Option<Frame>, Trouble> {
        match self {
            Self::Stream(framer) => framer.next().map_err(Trouble::Broken),
            Self::Web(web) => {
                let next = web.next();
                web.take(pending);
                next.map_err(Trouble::Over)
            }
        }
    }

    /// Adds a message to what is to be written.
    pub(super) fn wrap(&mut self, message: &Bytes, pending: &mut Vec<u8>) {
        match self {
            Self::Stream(_) => pending.extend_from_slice(message),
            Self::Web(web) => {
                web.wrap(message);
                web.take(pending);
            }
        }
    }

    /// Answers a keep-alive.
    pub(super) fn pong(&mut self, pending: &mut Vec<u8>) {
        match self {
            Self::Stream(_) => pending.extend_from_slice(PONG),
            Self::Web(web) => {
                web.pong();
                web.take(pending);
            }
        }
    }

    /// Says goodbye, where there is a word for it.
    pub(super) fn close(&mut self, pending: &mut Vec<u8>) {
        match self {
            Self::Stream(_) => {}
            Self::Web(web) => {
                web.close();
                web.take(pending);
            }
        }
    }
}
