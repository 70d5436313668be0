//! WebSocket on the side of the server: one SIP message in one WebSocket message. RFC 7118; before changing this file read it.
//!
//! ```text
//!  Greeting --HTTP request--> Open --Close, or what breaks the rules--> the end
//! ```

use std::io::{self, ErrorKind};

use bytes::Bytes;
use sip::message::limits::{BODY_LEN_MAX, HEAD_LEN_MAX};
use sip::message::stream::{Frame, PONG};
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message, Utf8Bytes};

use super::greeting::{self, Greeting};

/// The longest message: as over other streams.
const MESSAGE_LEN_MAX: usize = HEAD_LEN_MAX + BODY_LEN_MAX;
/// Room for what is read at once, of each connection.
const READ_BYTES: usize = 4 << 10;
/// What a client sends to keep a connection alive, and expects one line end for.
//= RFC 7118 §6: RFC 5626's keep-alive may be used here too.
const PING: &[u8] = b"\r\n\r\n";

/// One connection.
pub(super) struct Web {
    /// `None` until the handshake is over.
    context: Option<Box<WebSocketContext>>,
    memory: Memory,
    /// True while bytes have come that make no message yet.
    is_amid: bool,
}

/// What has come and is not read, and what is to be written.
#[derive(Default)]
struct Memory {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Web {
    pub(super) fn new() -> Self {
        Self { context: None, memory: Memory::default(), is_amid: false }
    }

    /// False until the handshake is over.
    pub(super) fn is_open(&self) -> bool {
        self.context.is_some()
    }

    /// True if a message has begun and is not finished.
    pub(super) fn is_amid(&self) -> bool {
        self.is_amid
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.memory.incoming.extend_from_slice(bytes);
        self.is_amid = true;
    }

    /// The next message, if a whole one has come. An error ends the connection, once what is to be written is.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, String> {
        if self.context.is_none() && !self.greet()? {
            return Ok(None);
        }
        loop {
            let Self { context: Some(context), memory, .. } = self else { return Ok(None) };
            match context.read(memory) {
                Ok(message) => {
                    self.is_amid = !self.memory.incoming.is_empty();
                    if let Some(frame) = frame(message) {
                        return Ok(Some(frame));
                    }
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    // Pongs are written although nobody has anything to say.
                    let _ = context.flush(memory);
                    return Ok(None);
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return Err("the peer closed the connection".into());
                }
                Err(error) => {
                    let code = match error {
                        Error::Capacity(_) => CloseCode::Size,
                        _ => CloseCode::Protocol,
                    };
                    let why = CloseFrame { code, reason: Utf8Bytes::from_static("") };
                    let _ = context.close(memory, Some(why));
                    return Err(error.to_string());
                }
            }
        }
    }

    /// True once the handshake is over.
    fn greet(&mut self) -> Result<bool, String> {
        match greeting::read(&self.memory.incoming) {
            Greeting::Unfinished => Ok(false),
            Greeting::Welcome(answer, length) => {
                self.memory.incoming.drain(..length);
                self.memory.outgoing.extend_from_slice(answer.as_bytes());
                self.context = Some(Box::new(WebSocketContext::new(Role::Server, Some(config()))));
                self.is_amid = !self.memory.incoming.is_empty();
                Ok(true)
            }
            Greeting::Refused(answer) => {
                self.memory.outgoing.extend_from_slice(answer.as_bytes());
                let (status, _) = answer.split_once("\r\n").unwrap_or_default();
                Err(format!("no WebSocket: {status}"))
            }
        }
    }

    /// Puts a message into frames.
    pub(super) fn wrap(&mut self, message: &Bytes) {
        //= RFC 7118 §4.2: text if all of it is UTF-8, else binary.
        let message = match Utf8Bytes::try_from(message.clone()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(message.clone()),
        };
        if let Some(context) = &mut self.context {
            // An error means that the connection is being closed: the message would not be read any more.
            let _ = context.write(&mut self.memory, message).and_then(|()| context.flush(&mut self.memory));
        }
    }

    /// Answers a keep-alive.
    pub(super) fn pong(&mut self) {
        self.wrap(&Bytes::from_static(PONG));
    }

    /// Says goodbye.
    pub(super) fn close(&mut self) {
        if let Some(context) = &mut self.context {
            let _ = context.close(&mut self.memory, None);
        }
    }

    /// Takes what is to be written.
    pub(super) fn take(&mut self, pending: &mut Vec<u8>) {
        pending.append(&mut self.memory.outgoing);
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_LEN_MAX))
        .max_frame_size(Some(MESSAGE_LEN_MAX))
}

/// What a message means for SIP.
fn frame(message: Message) -> Option<Frame> {
    let bytes: Bytes = match message {
        //= RFC 7118 §4.2: text and binary alike.
        Message::Text(text) => text.into(),
        Message::Binary(bytes) => bytes,
        // Answered by the next flush.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return None,
    };
    match bytes.as_ref() {
        PING => Some(Frame::Ping),
        PONG => Some(Frame::Pong),
        //= RFC 7118 §5: one message in one message, whether it has a Content-Length or not.
        _ => Some(Frame::Message(bytes)),
    }
}

impl io::Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.incoming.len());
        buffer[..length].copy_from_slice(&self.incoming[..length]);
        self.incoming.drain(..length);
        Ok(length)
    }
}

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\
                             Sec-WebSocket-Version: 13\r\n\r\n";

    /// A client of the same crate, over memory.
    struct Pair {
        web: Web,
        client: WebSocketContext,
        memory: Memory,
    }

    impl Pair {
        fn new() -> Self {
            let mut web = Web::new();
            web.push(REQUEST);
            assert!(web.next().unwrap().is_none());
            assert!(web.is_open() && !web.is_amid());
            let mut greeting = Vec::new();
            web.take(&mut greeting);
            assert!(greeting.starts_with(b"HTTP/1.1 101 "));
            Self { web, client: WebSocketContext::new(Role::Client, None), memory: Memory::default() }
        }

        /// What the client writes arrives.
        fn send(&mut self, message: Message) {
            self.client.write(&mut self.memory, message).unwrap();
            self.client.flush(&mut self.memory).unwrap();
            let bytes = std::mem::take(&mut self.memory.outgoing);
            self.web.push(&bytes);
        }

        fn hear(&mut self) -> Option<Message> {
            self.web.take(&mut self.memory.incoming);
            self.client.read(&mut self.memory).ok()
        }
    }

    #[test]
    fn text_and_binary_are_messages() {
        //= test RFC 7118 §4.2: both kinds, one SIP message in each.
        let mut pair = Pair::new();
        pair.send(Message::Text("OPTIONS one".into()));
        pair.send(Message::Binary(Bytes::from_static(b"OPTIONS \xff")));
        for wanted in [&b"OPTIONS one"[..], b"OPTIONS \xff"] {
            match pair.web.next().unwrap() {
                Some(Frame::Message(bytes)) => assert_eq!(bytes, wanted),
                other => panic!("{other:?}"),
            }
        }
        pair.web.wrap(&Bytes::from_static(b"SIP/2.0 200 OK"));
        pair.web.wrap(&Bytes::from_static(b"SIP/2.0 200 \xff"));
        assert_eq!(pair.hear(), Some(Message::Text("SIP/2.0 200 OK".into())));
        assert_eq!(pair.hear(), Some(Message::Binary(Bytes::from_static(b"SIP/2.0 200 \xff"))));
    }

    #[test]
    fn keep_alives_of_both_kinds_are_answered() {
        //= test RFC 7118 §6: Ping, and the double line end of RFC 5626.
        let mut pair = Pair::new();
        pair.send(Message::Ping(Bytes::from_static(b"x")));
        assert!(pair.web.next().unwrap().is_none());
        assert_eq!(pair.hear(), Some(Message::Pong(Bytes::from_static(b"x"))));
        pair.send(Message::Text("\r\n\r\n".into()));
        assert!(matches!(pair.web.next(), Ok(Some(Frame::Ping))));
        pair.web.pong();
        assert_eq!(pair.hear(), Some(Message::Text("\r\n".into())));
    }

    #[test]
    fn a_message_in_pieces_is_unfinished_until_it_is_whole() {
        let mut pair = Pair::new();
        pair.client.write(&mut pair.memory, Message::Text("OPTIONS".into())).unwrap();
        pair.client.flush(&mut pair.memory).unwrap();
        let bytes = std::mem::take(&mut pair.memory.outgoing);
        for byte in &bytes[..bytes.len() - 1] {
            pair.web.push(&[*byte]);
            assert!(pair.web.next().unwrap().is_none());
            assert!(pair.web.is_amid());
        }
        pair.web.push(&bytes[bytes.len() - 1..]);
        assert!(matches!(pair.web.next(), Ok(Some(Frame::Message(_)))));
        assert!(!pair.web.is_amid());
    }

    #[test]
    fn what_is_too_long_or_not_masked_ends_the_connection() {
        let mut pair = Pair::new();
        // A frame of 2^40 bytes, masked.
        pair.web.push(&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert!(pair.web.next().is_err());
        let mut pair = Pair::new();
        pair.web.push(&[0x81, 0x01, b'x']);
        assert!(pair.web.next().is_err());
        assert!(matches!(pair.hear(), Some(Message::Close(Some(_)))));
    }
}
