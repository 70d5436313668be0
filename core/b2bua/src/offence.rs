//! What peers do that honest ones seldom do, told to whoever bans (`docs/protection.md`).

use admission::Offence;
use sip::message::Method;
use sip::transport::Hop;

use crate::call::Request;
use crate::context::Context;
use crate::event::Event;
use crate::tag::TagText;

impl Context<'_> {
    /// A peer has offended. Over UDP that is only said, since a datagram may be anybody's. A request without credentials is no
    /// offence.
    pub(crate) fn offended(&mut self, hop: Hop, what: Offence) {
        self.event(Event::Offended { hop, what, told: None });
    }

    /// A peer has offended with this request, and the response that refuses it gets this tag, minted for it alone: whoever
    /// acknowledges it has sent the request.
    pub(crate) fn offended_with(&mut self, request: &Request, what: Offence, tag: &TagText) {
        //= RFC 3261 §17.1.1.3: only an INVITE's refusal is acknowledged. A tag that came with the request is no secret.
        let is_told = *request.message.method() == Method::Invite
            && request.message.to().is_ok_and(|to| to.tag().is_none());
        let told = is_told.then(|| tag.as_str().into());
        self.event(Event::Offended { hop: request.hop, what, told });
    }
}
