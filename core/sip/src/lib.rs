//! SIP without I/O: messages, transactions, dialogs, endpoint.
//!
//! [`message`] turns bytes into messages and messages into bytes; nothing in it knows of time or of the network.
//! [`transport`] names where a message came from and where it goes.

pub mod message;
pub mod transport;
