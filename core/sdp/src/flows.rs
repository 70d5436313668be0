//! From m-lines to flows.

use smallvec::SmallVec;

use crate::{MediaFlow, Refusal, Session};

/// The flows of a description, by position of their m-lines.
pub type Flows = SmallVec<[MediaFlow; 1]>;

/// Where the writer of a description wants to receive.
///
/// # Errors
/// The first m-line of which nobody could say where its media would go.
pub fn flows(session: &Session<'_>) -> Result<Flows, Refusal> {
    let _ = session;
    Ok(Flows::new())
}
