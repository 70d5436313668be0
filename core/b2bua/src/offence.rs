//! What peers do that honest ones seldom do, told to whoever bans (`docs/protection.md`).

use admission::Offence;
use sip::transport::Hop;

use crate::context::Context;
use crate::event::Event;

impl Context<'_> {
    /// A peer has offended. `proven`: it has answered what only it was told, such as a nonce of ours; without that a datagram
    /// may be anybody's, and is counted but bans nobody. A request without credentials is no offence.
    pub(crate) fn offended(&mut self, hop: Hop, what: Offence, proven: bool) {
        self.event(Event::Offended { hop, what, proven });
    }
}
