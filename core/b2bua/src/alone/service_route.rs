//! Service-Route: RFC 3608. A registrar says through which of its proxies a phone's requests go; the phone hears nothing of it,
//! because we are its user agent on that side.

use std::net::SocketAddr;

use sip::message::{Message, Name};

use crate::b2bua::B2bua;
use crate::config::RealmId;
use crate::limits::{CONTACT_LEN_MAX, PATH_MAX};

/// What an answer to a REGISTER says; nothing if it is more than we keep or cannot be read.
pub(super) fn said(answer: &Message) -> Vec<Box<[u8]>> {
    let values: Vec<Box<[u8]>> =
        answer.values(Name::ServiceRoute).take(PATH_MAX + 1).map(Into::into).collect();
    let len: usize = values.iter().map(|value| value.len()).sum();
    let mut addresses = answer.addresses(Name::ServiceRoute);
    let fits = values.len() <= PATH_MAX && len <= CONTACT_LEN_MAX;
    let can_be_read = addresses.all(|address| address.is_ok_and(|address| address.parsed_uri().is_ok()));
    if fits && can_be_read { values } else { Vec::new() }
}

impl B2bua {
    /// What goes into Route of a request that a phone sends to the realm of its registrar, beside where the route of the
    /// configuration leads.
    //= RFC 3608 §6.1: by address-of-record, behind what is configured. A phone is known by the place that it has registered from.
    pub(crate) fn service_route(
        &self,
        request: &Message,
        (from, remote): (RealmId, SocketAddr),
        to: RealmId,
    ) -> Vec<Box<[u8]>> {
        let registrations = &self.shared.alone.registrations;
        let aor = request.from().map_or("", |from| from.uri());
        let names = registrations.names_of(from, aor).into_iter();
        let mut own = names
            .filter_map(|name| registrations.get(name))
            .filter(|binding| binding.registrar == to && binding.reach.hop.remote == remote);
        own.next().map(|binding| binding.service_route.clone()).unwrap_or_default()
    }
}
