//! Where calls of a route would go now, for `postern check`.

use b2bua::config::{Host, NextHop};
use sip::locate::{Place, Wish};

use super::{Failure, resolver, settings};
use crate::config;
use crate::seed;

/// The servers of a next hop that a realm can send to, best first; an address needs no search.
pub(crate) fn find_servers(
    config: &config::Config,
    realm: usize,
    next_hop: &config::NextHop,
) -> Result<Vec<Place>, String> {
    let settings = settings::b2bua(config);
    let realm = settings::id(realm);
    let NextHop { host: Host::Name(host), port, transport, secure, .. } = settings::next_hop(next_hop) else {
        return Ok(Vec::new());
    };
    let wish = Wish { host, port, transport, speaks: settings.speaks(realm, secure) };
    let rng = seed::rng().map_err(|error| format!("/dev/urandom: {error}"))?;
    match resolver::find_once(&config.name_servers, wish, rng) {
        Ok(mut places) => {
            places.retain(|place| settings.listener_to(realm, place).is_some());
            Ok(places)
        }
        Err(Failure::Start(why)) => Err(why),
    }
}
