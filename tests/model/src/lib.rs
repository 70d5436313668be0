//! The real call machine with its ledger, explored exhaustively: every order in which two phones, one or two
//! middleboxes, the clock and a network that does harm can act on one call. See `docs/model.md`.

pub mod canon;
pub mod explore;
pub mod flow;
pub mod message;
pub mod middlebox;
pub mod monitor;
pub mod order;
pub mod phone;
pub mod picture;
pub mod scenario;
pub mod subject;
pub mod world;
