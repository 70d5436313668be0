//! Dialogs: RFC 3261 §12. What two user agents share after the first answer: Call-ID, two tags, two sequence
//! numbers, a remote target and a route set. Nothing here knows of transactions or of time.
//!
//! A caller starts with an [`Initial`], which writes the INVITE; each response with a new To tag makes a [`Dialog`]
//! of it ([`Dialog::uac`]). A callee makes one of the INVITE ([`Dialog::uas`]).

mod request;
mod route;

use std::ops::Range;

use machine::Text;

use crate::message::{Builder, Defect, Message, Method, Name, Scheme};
use route::RouteSet;

/// Bytes of Call-ID, From, To, target and routes together. More: 513 to the request, or the response is of no use.
/// Two of these must fit into what a call may take.
pub const LEN_MAX: usize = 8_192;

/// One dialog, as one of its two ends sees it.
#[derive(Debug, Clone)]
pub struct Dialog {
    names: Names,
    target: Box<str>,
    routes: RouteSet,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    is_early: bool,
}

/// What a caller has before the first answer: it becomes a [`Dialog`] for each To tag that answers.
#[derive(Debug, Clone)]
pub struct Initial(Dialog);

/// What never changes: Call-ID, our and their address with tags, in one allocation.
#[derive(Debug, Clone)]
struct Names {
    /// Call-ID, local value, remote value, one behind the other.
    bytes: Text<Box<[u8]>>,
    call_id_end: u16,
    local_end: u16,
    local_tag: (u16, u16),
    remote_tag: (u16, u16),
}

/// A request whose CSeq is lower than one that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("CSeq Out of Order")]
pub struct OutOfOrder;

impl OutOfOrder {
    /// The status code of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        //= RFC 3261 §12.2.2: an older request than one already seen.
        500
    }
}

impl Initial {
    /// What the first request is made of. `local` and `remote` are From and To values without tags, `routes` a
    /// pre-loaded route set (Route values, topmost first), `cseq` the number of the first request.
    ///
    /// # Errors
    /// [`Defect::HeadTooLong`] beyond [`LEN_MAX`], [`Defect::Malformed`] for a route that is no address.
    pub fn new(
        call_id: &str,
        (local, local_tag): (&[u8], &str),
        remote: &[u8],
        target: &str,
        routes: &[&[u8]],
        cseq: u32,
    ) -> Result<Self, Defect> {
        let mut local = local.to_vec();
        local.extend_from_slice(b";tag=");
        let tag_from = local.len();
        local.extend_from_slice(local_tag.as_bytes());
        let tag = tag_from..local.len();
        let routes = RouteSet::of(routes.iter().copied(), Name::Route)?;
        let names = Names::new(call_id, (&local, tag), (remote, 0..0))?;
        Ok(Self(Dialog {
            names,
            target: target.into(),
            routes,
            //= RFC 3261 §8.1.1.5: the first number is below 2**31; one is left for the next to add.
            local_cseq: cseq.clamp(1, CSEQ_MAX) - 1,
            remote_cseq: None,
            is_early: true,
        }))
    }

    /// The first request, or, after a challenge or a redirection, the next with the following CSeq: with From, To,
    /// Call-ID, CSeq, Route and Max-Forwards 70. Contact and all else is the caller's.
    pub fn request(&mut self, method: &Method) -> Builder {
        self.0.request(method)
    }

    /// As [`Initial::request`] with another Max-Forwards: what a B2BUA received, minus one (RFC 7332 §5).
    pub fn request_with_hops(&mut self, method: &Method, max_forwards: u8) -> Builder {
        self.0.request_with_hops(method, max_forwards)
    }

    /// Takes the CSeq number of the next request: for one that is sent again with credentials (RFC 3261 §22.2).
    pub fn next_cseq(&mut self) -> u32 {
        self.0.next_cseq()
    }

    /// The same, for another target: after a redirection (RFC 3261 §8.1.3.4).
    #[must_use]
    pub fn to(mut self, target: &str) -> Self {
        self.0.target = target.into();
        self
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.0.call_id()
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        self.0.local_tag()
    }

    /// The CSeq number of the last request.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.0.local_cseq
    }

    /// Where the request goes: the URI to resolve.
    #[must_use]
    pub fn next_hop(&self) -> &str {
        self.0.next_hop()
    }
}

/// The last number that leaves room for a next one below 2**31.
const CSEQ_MAX: u32 = (1 << 31) - 2;

impl Dialog {
    /// The callee's dialog, of an INVITE and the tag with which we answer it: early until [`Dialog::confirm`].
    ///
    /// # Errors
    /// [`Defect::Missing`] without Contact, [`Defect::Malformed`] for a Contact or Record-Route that cannot be read,
    /// [`Defect::HeadTooLong`] beyond [`LEN_MAX`]: all fit to be answered.
    pub fn uas(request: &Message, local_tag: &str) -> Result<Self, Defect> {
        let (from, to) = (request.from()?, request.to()?);
        let mut local = to.as_bytes().to_vec();
        local.extend_from_slice(b";tag=");
        let tag_from = local.len();
        local.extend_from_slice(local_tag.as_bytes());
        let tag = tag_from..local.len();
        let remote = (from.as_bytes(), within(from.as_bytes(), from.tag()));
        Ok(Self {
            names: Names::new(request.call_id()?, (&local, tag), remote)?,
            target: contact(request)?.ok_or(Defect::Missing(Name::Contact))?.into(),
            //= RFC 3261 §12.1.1: Record-Route of the request, in its order.
            routes: RouteSet::of(request.values(Name::RecordRoute), Name::RecordRoute)?,
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            is_early: true,
        })
    }

    /// The caller's dialog, of what it asked with and a 101–299: early unless it is a 2xx.
    ///
    //= exception RFC 3261 §12.1.2: a response without Contact keeps the target we called, because provisional
    // responses of gateways often have none.
    ///
    /// # Errors
    /// [`Defect::Malformed`] for a Contact or Record-Route that cannot be read, [`Defect::HeadTooLong`] beyond
    /// [`LEN_MAX`].
    pub fn uac(initial: &Initial, response: &Message) -> Result<Self, Defect> {
        let before = &initial.0;
        let to = response.to()?;
        let local = (before.names.local(), before.names.local_tag_in_local());
        let remote = (to.as_bytes(), within(to.as_bytes(), to.tag()));
        Ok(Self {
            names: Names::new(before.call_id(), local, remote)?,
            target: contact(response)?.map_or_else(|| before.target.clone(), Box::from),
            //= RFC 3261 §12.1.2: Record-Route of the response, reversed; it replaces what was pre-loaded.
            routes: RouteSet::reversed(response.values(Name::RecordRoute))?,
            //= RFC 3261 §12.1.2: the number of the request that is answered.
            local_cseq: response.cseq()?.number.max(before.local_cseq),
            remote_cseq: None,
            is_early: response.status() < 200,
        })
    }

    /// The subscriber's dialog, of what it asked with and the first NOTIFY of a notifier.
    ///
    //= RFC 6665 §4.4.1: the NOTIFY makes the dialog, whether or not the SUBSCRIBE has been answered.
    ///
    /// # Errors
    /// As [`Dialog::uas`].
    pub fn notified(initial: &Initial, notify: &Message) -> Result<Self, Defect> {
        let before = &initial.0;
        let from = notify.from()?;
        let local = (before.names.local(), before.names.local_tag_in_local());
        let remote = (from.as_bytes(), within(from.as_bytes(), from.tag()));
        Ok(Self {
            names: Names::new(before.call_id(), local, remote)?,
            target: contact(notify)?.ok_or(Defect::Missing(Name::Contact))?.into(),
            //= RFC 6665 §4.4.1: Record-Route as of any request that makes a dialog.
            routes: RouteSet::of(notify.values(Name::RecordRoute), Name::RecordRoute)?,
            local_cseq: before.local_cseq,
            remote_cseq: Some(notify.cseq()?.number),
            is_early: false,
        })
    }

    /// The callee sent its 2xx.
    pub fn confirm(&mut self) {
        self.is_early = false;
    }

    /// The caller got the 2xx of this early dialog.
    ///
    //= RFC 3261 §13.2.2.4: the route set is computed again from the 2xx.
    ///
    /// # Errors
    /// As [`Dialog::uac`]; the dialog is then confirmed with what it had.
    pub fn confirm_by(&mut self, response: &Message) -> Result<(), Defect> {
        self.is_early = false;
        self.routes = RouteSet::reversed(response.values(Name::RecordRoute))?;
        self.refresh(response)
    }

    /// Takes the target from a target refresh: a re-INVITE or UPDATE that was accepted, or the 2xx to ours.
    /// Without Contact nothing changes (RFC 3261 §12.2.1.2, §12.2.2).
    ///
    /// # Errors
    /// [`Defect::Malformed`] for a Contact that cannot be read; nothing changed.
    pub fn refresh(&mut self, message: &Message) -> Result<(), Defect> {
        match contact(message)? {
            // Most often it stays where it was.
            Some(target) if *target != *self.target => self.target = target.into(),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Checks and notes the CSeq of a request inside the dialog; ACK and CANCEL have that of their INVITE and pass.
    ///
    /// # Errors
    /// [`OutOfOrder`]: to be answered with 500.
    pub fn receive(&mut self, request: &Message) -> Result<(), OutOfOrder> {
        if matches!(request.method(), Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let number = request.cseq().map_err(|_| OutOfOrder)?.number;
        //= RFC 3261 §12.2.2: lower is out of order; gaps are none of our business.
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Err(OutOfOrder);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// True if a request belongs to this dialog: Call-ID and both tags.
    #[must_use]
    pub fn is_of_request(&self, request: &Message) -> bool {
        let tag = |address: Result<crate::message::NameAddr<'_>, Defect>, own: &str| {
            address.is_ok_and(|address| address.tag().unwrap_or_default() == own)
        };
        request.call_id() == Ok(self.call_id())
            && tag(request.to(), self.local_tag())
            && tag(request.from(), self.remote_tag())
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        text(&self.names.bytes[..usize::from(self.names.call_id_end)])
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        self.names.tag(self.names.local_tag)
    }

    /// Their tag; empty for a peer of RFC 2543 (RFC 3261 §12.1.1).
    #[must_use]
    pub fn remote_tag(&self) -> &str {
        self.names.tag(self.names.remote_tag)
    }

    /// Our From or To value, tag included.
    #[must_use]
    pub fn local(&self) -> &[u8] {
        self.names.local()
    }

    /// Their From or To value, tag included.
    #[must_use]
    pub fn remote(&self) -> &[u8] {
        self.names.remote()
    }

    /// The URI of their Contact.
    #[must_use]
    pub fn remote_target(&self) -> &str {
        &self.target
    }

    /// True until the 2xx.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.is_early
    }

    /// The CSeq number of our last request; 0 if there was none.
    #[must_use]
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The CSeq number of their last request.
    #[must_use]
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// The URI to which requests are sent first, to be resolved: RFC 3261 §8.1.2, §12.2.1.1.
    #[must_use]
    pub fn next_hop(&self) -> &str {
        self.routes.first_uri().unwrap_or(&self.target)
    }
}

impl Names {
    fn new(
        call_id: &str,
        (local, local_tag): (&[u8], Range<usize>),
        (remote, remote_tag): (&[u8], Range<usize>),
    ) -> Result<Self, Defect> {
        let len = call_id.len() + local.len() + remote.len();
        if len > LEN_MAX {
            return Err(Defect::HeadTooLong);
        }
        let local_start = call_id.len();
        let remote_start = local_start + local.len();
        let at = |start: usize, tag: Range<usize>| ((start + tag.start) as u16, (start + tag.end) as u16);
        Ok(Self {
            bytes: Text([call_id.as_bytes(), local, remote].concat().into()),
            call_id_end: local_start as u16,
            local_end: remote_start as u16,
            local_tag: at(local_start, local_tag),
            remote_tag: at(remote_start, remote_tag),
        })
    }

    fn local(&self) -> &[u8] {
        &self.bytes[usize::from(self.call_id_end)..usize::from(self.local_end)]
    }

    fn remote(&self) -> &[u8] {
        &self.bytes[usize::from(self.local_end)..]
    }

    fn local_tag_in_local(&self) -> Range<usize> {
        let start = self.call_id_end;
        usize::from(self.local_tag.0 - start)..usize::from(self.local_tag.1 - start)
    }

    fn tag(&self, (start, end): (u16, u16)) -> &str {
        text(&self.bytes[usize::from(start)..usize::from(end)])
    }
}

/// Call-IDs and tags were `&str` when they came in.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Where `tag`, which was found in `value`, stands there.
fn within(value: &[u8], tag: Option<&str>) -> Range<usize> {
    let Some(tag) = tag else { return 0..0 };
    let start = tag.as_ptr() as usize - value.as_ptr() as usize;
    start..start + tag.len()
}

fn contact(message: &Message) -> Result<Option<&str>, Defect> {
    let Some(contact) = message.contacts().next() else { return Ok(None) };
    let contact = contact?;
    let uri = contact.uri();
    if uri.len() > LEN_MAX {
        return Err(Defect::HeadTooLong);
    }
    // It becomes a Request-URI of ours, so it must be whole.
    //= RFC 3261 §8.1.1.8, §12.1.1: the remote target is a SIP or SIPS URI; `*` and other schemes name no peer.
    let is_sip = contact.parsed_uri().is_ok_and(|uri| matches!(uri.scheme(), Scheme::Sip | Scheme::Sips));
    if !is_sip {
        return Err(Defect::Malformed(Name::Contact));
    }
    Ok(Some(uri))
}

#[cfg(test)]
mod tests;
