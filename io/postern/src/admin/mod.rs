//! How the commands speak with the running halves: one JSON object per line over a Unix socket, a request answered by
//! one line, `watch` by as many as happen.

mod ban;
pub(crate) mod client;
mod deny;
pub(crate) mod protocol;
pub(crate) mod reload;
pub(crate) mod server;
