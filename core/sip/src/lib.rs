//! SIP without I/O: messages, transactions, dialogs, endpoint.
//!
//! [`message`] turns bytes into messages and messages into bytes; nothing in it knows of time or of the network.
//! [`transaction`] has the state machines of §17, [`endpoint`] puts them to work between the network and a transaction
//! user, [`digest`] shows and checks who somebody is, [`dialog`] is what two user agents share, [`locate`] finds where to send. [`transport`] names where a message came from and where it goes.

pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod locate;
pub mod message;
mod stun;
pub mod transaction;
pub mod transport;
