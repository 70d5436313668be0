//! Requests and replies in words.
//!
//! ```text
//! enable inbound parity=any A0=udp:10.1.8.3/32:20000+2 A3=udp:192.0.2.100/32:0+2 lifetime=300 group=7
//! enabled prid=17 group=7 lifetime=300 A2=udp:10.1.8.3/32:20000+2 A1=udp:192.0.2.100/32:0+2
//! ```
//! A tuple is protocol, network, first port and number of ports.

mod read;
mod write;

pub use read::{reply, request};
pub use write::{capabilities, failure, reply_text, request_text};
