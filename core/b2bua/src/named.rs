//! Dialogs that messages name: Replaces (RFC 3891), by itself or inside Refer-To (RFC 3515, RFC 5589 §7.3).
//!
//! A peer knows its own dialog with us and nothing of the other leg, so what it names is translated when it goes to the
//! other side of that call:
//!
//! ```text
//!            leg A                       leg B
//!  alice ------------- Postern -------------------- bob        named on leg B by bob's side of the border: leg A goes on,
//!    Call-ID 1, tags alice, p        Call-ID 2, tags q, bob    to-tag = alice, from-tag = p
//! ```
//!
//! Whatever names no dialog of ours travels as it came; whether it means anything is for its receiver to say.

use std::fmt::Write;
use std::net::IpAddr;

use sip::dialog::Dialog;
use sip::message::{Message, Method, Name, NameAddr, Replaces, Uri};
use sip::transport::Hop;

use crate::b2bua::B2bua;
use crate::config::{Config, RealmId};
use crate::route::{self, Facts};
use crate::tag::Tag;

/// The other leg of a call one of whose dialogs is named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OtherLeg<'c> {
    /// The realm that the named dialog is in.
    pub(crate) named_in: RealmId,
    /// The realm of the other leg.
    pub(crate) realm: RealmId,
    /// Our dialog there.
    pub(crate) dialog: &'c Dialog,
    /// Where its peer is found.
    pub(crate) hop: Hop,
}

/// An INVITE that takes the place of a dialog.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    /// Replaces as it goes on.
    pub(crate) value: Box<str>,
    /// Whom it is for, if it was sent to us: the peer of the dialog that goes on.
    pub(crate) target: Option<Target>,
}

/// Whom an INVITE to a name of ours is for: the peer of a dialog, or who has registered.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The realm it is in.
    pub(crate) realm: RealmId,
    /// The Request-URI: its Contact's.
    pub(crate) uri: Box<str>,
    /// Where it is found, or where its REGISTER came from.
    pub(crate) hop: Hop,
    /// Through which proxies, as Route.
    pub(crate) path: Vec<Box<[u8]>>,
}

impl B2bua {
    /// What an INVITE from this realm replaces; `None` if it names no dialog of ours.
    pub(crate) fn replacement(&self, invite: &Message, from: RealmId, source: IpAddr) -> Option<Replacement> {
        let replaces = invite.replaces().ok().flatten()?;
        let other = self.other_leg(&replaces, from)?;
        //= RFC 3891 §4: it is sent to the Contact of the one whose dialog is replaced; towards this peer that is ours.
        let to_us = Uri::parse(invite.request_uri()).is_ok_and(|uri| route::is_us(&self.config, &uri));
        let facts = Facts::of(invite, from, source);
        if !to_us && route::leads_to(&self.config, &facts).map(|(to, _)| to) != Some(other.realm) {
            return None;
        }
        let target = to_us.then(|| Target {
            realm: other.realm,
            uri: without_headers(other.dialog.remote_target()).into(),
            hop: other.hop,
            path: Vec::new(),
        });
        Some(Replacement { value: translated(&replaces, other.dialog).into(), target })
    }

    /// Refer-To of a REFER inside a call, as it goes on to the other side; `None` to leave it as it is.
    pub(crate) fn refer_to(&self, request: &Message, source: IpAddr) -> Option<Box<str>> {
        if *request.method() != Method::Refer {
            return None;
        }
        let (id, side) = self.dialog_of(request)?;
        self.refer_to_between(request, source, self.calls.get(&id)?.realms(side))
    }

    /// The same for one that goes from a realm to another.
    pub(crate) fn refer_to_between(
        &self,
        request: &Message,
        source: IpAddr,
        (from, to): (RealmId, RealmId),
    ) -> Option<Box<str>> {
        let address = request.addresses(Name::ReferTo).next()?.ok()?;
        let uri = address.parsed_uri().ok()?;
        let text =
            self.other_leg_in(&uri, from, to).or_else(|| self.reached_by_route(&uri, (from, source), to))?;
        Some(within(&address, &text).into())
    }

    /// A Refer-To URI whose Replaces names a dialog of ours.
    fn other_leg_in(&self, uri: &Uri<'_>, from: RealmId, to: RealmId) -> Option<String> {
        let (_, escaped) = uri.headers().find(|(name, _)| name.eq_ignore_ascii_case("Replaces"))?;
        let named = unescaped(escaped?);
        let replaces = Replaces::parse(&named).ok()?;
        let other = self.other_leg(&replaces, from).filter(|other| other.realm == to)?;
        if leads_inside(&self.config, (from, to), uri) {
            return None;
        }
        //= RFC 5589 §7.3: what is replaced is reached by its Contact; ours stands for that of the other leg's peer.
        let base = if route::is_us(&self.config, uri) { other.dialog.remote_target() } else { uri.as_str() };
        let replaces = translated(&replaces, other.dialog);
        Some(with_headers(without_headers(base), uri, Some(&replaces)))
    }

    /// A Refer-To URI of somebody whom the sender reaches through us, at our address in the sender's realm: nobody else does
    /// there. As if the sender had called, the next hop takes our place. At our address in the other realm its receiver
    /// reaches us as well.
    fn reached_by_route(
        &self,
        uri: &Uri<'_>,
        (from, source): (RealmId, IpAddr),
        to: RealmId,
    ) -> Option<String> {
        let through_us = uri.user().is_some() && route::is_us_in(&self.config, from, uri);
        let facts = Facts { from, source, callee: Some(*uri), caller: None };
        let (leads_to, next_hop) = route::leads_to(&self.config, &facts).filter(|_| through_us)?;
        (leads_to == to).then(|| with_headers(&route::readdressed(uri, next_hop), uri, None))
    }

    /// The other leg of the call that owns the named dialog, which must be one with the realm it is named from.
    ///
    //= RFC 3891 §3: to-tag is matched with the receiver's tag, which is ours, from-tag with the other one.
    fn other_leg(&self, replaces: &Replaces<'_>, from: RealmId) -> Option<OtherLeg<'_>> {
        let (id, side) = self.shared.tags.get(&Tag::parse(replaces.to_tag)?).copied()?;
        let other = self.calls.get(&id)?.other_leg(&self.config, side, replaces)?;
        (other.named_in == from).then_some(other)
    }
}

/// True if a REFER from one realm to another asks a phone inside to call a host inside that it names itself: whoever is
/// outside reaches the inside through us, or not at all. What it may name, it has translated already.
pub(crate) fn names_the_inside(config: &Config, (from, to): (RealmId, RealmId), refer: &Message) -> bool {
    let mut named = refer.addresses(Name::ReferTo).flatten();
    named.any(|address| address.parsed_uri().is_ok_and(|uri| leads_inside(config, (from, to), &uri)))
}

/// True if a URI from outside would be called inside: by its host, by `maddr`, or by a Route of its own.
fn leads_inside(config: &Config, (from, to): (RealmId, RealmId), uri: &Uri<'_>) -> bool {
    let is_inside = config.middleboxes.iter().any(|middlebox| middlebox.between(to, from) == Some(true));
    let host = uri.host().and_then(|host| host.address());
    let maddr = uri.param("maddr").and_then(|maddr| sip::message::Host::parse(maddr)?.address());
    let routed = uri.headers().any(|(name, _)| name.eq_ignore_ascii_case("Route"));
    is_inside && (routed || [host, maddr].into_iter().flatten().any(|host| route::is_in(config, to, host)))
}

/// The same call, as the peer of `dialog` knows it.
fn translated(replaces: &Replaces<'_>, dialog: &Dialog) -> String {
    let early = if replaces.early_only { ";early-only" } else { "" };
    let (call_id, to_tag, from_tag) = (dialog.call_id(), dialog.remote_tag(), dialog.local_tag());
    format!("{call_id};to-tag={to_tag};from-tag={from_tag}{early}")
}

fn without_headers(uri: &str) -> &str {
    uri.split_once('?').map_or(uri, |(base, _)| base)
}

/// A URI with the headers of another, Replaces being this one if one is given.
fn with_headers(base: &str, headers_of: &Uri<'_>, replaces: Option<&str>) -> String {
    let mut text = base.to_owned();
    for (position, (name, value)) in headers_of.headers().enumerate() {
        text.push(if position == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        match replaces.filter(|_| name.eq_ignore_ascii_case("Replaces")) {
            Some(replaces) => escape(&mut text, replaces),
            None => text.push_str(value.unwrap_or_default()),
        }
    }
    text
}

/// An address with another URI; whatever stands around it stays.
fn within(address: &NameAddr<'_>, uri: &str) -> String {
    let value = address.as_bytes();
    let start = address.uri().as_ptr() as usize - value.as_ptr() as usize;
    let around = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    format!("{}{uri}{}", around(&value[..start]), around(&value[start + address.uri().len()..]))
}

/// Resolves the escapes of a header inside a URI, which is known to be well escaped.
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit =
            |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).unwrap_or_default();
        plain.push(match byte {
            b'%' => (digit(bytes.next()) * 16 + digit(bytes.next())) as u8,
            byte => byte,
        });
    }
    plain
}

//= RFC 3261 §25.1: `hvalue` is unreserved characters and a few more; the rest is escaped.
fn escape(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(&byte) {
            true => text.push(char::from(byte)),
            // Writing into a String cannot fail.
            false => {
                let _written = write!(text, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_in_a_uri_is_escaped_and_comes_back() {
        //= test RFC 3261 §19.1.1: `;`, `=` and `@` delimit, so they are escaped inside a header of a URI.
        let plain = "12@h.example;to-tag=a~1;from-tag=b%";
        let mut escaped = String::new();
        escape(&mut escaped, plain);
        assert_eq!(escaped, "12%40h.example%3Bto-tag%3Da~1%3Bfrom-tag%3Db%25");
        assert_eq!(unescaped(&escaped), plain.as_bytes());
    }

    #[test]
    fn only_replaces_changes_in_a_uri() {
        let uri = Uri::parse("sip:a@us;x=1?Require=replaces&replaces=1%3B2&Subject=%3F").unwrap();
        assert_eq!(
            with_headers("sip:c@192.0.2.7", &uri, Some("3;4")),
            "sip:c@192.0.2.7?Require=replaces&replaces=3%3B4&Subject=%3F"
        );
    }
}
