//! The whole state of an endpoint, for an explorer.

use std::fmt::Debug;

use machine::onlooker::{Onlooker, see_map};

use super::slots::{Key, Slots};
use super::{ClientKey, Endpoint, ServerKey};

impl Endpoint {
    /// Shows everything that decides what it will do: all but its configuration, its statistics, and where new
    /// branches come from.
    pub fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self {
            config: _,
            rng: _,
            branches: _,
            counters: _,
            timers,
            clients,
            by_branch,
            by_remote,
            servers,
            by_request,
            by_origin,
            by_return,
            streamless: _,
        } = self;
        onlooker.see(timers);
        show_slots(clients, ClientKey, onlooker);
        show_slots(servers, ServerKey, onlooker);
        see_map(by_branch, onlooker);
        see_map(by_request, onlooker);
        see_map(by_origin, onlooker);
        // Their order is that of the keys, which say when a transaction began and nothing else.
        let remotes: Vec<&dyn Debug> = by_remote.iter().map(|entry| entry as &dyn Debug).collect();
        onlooker.see_unordered(&remotes);
        let returns: Vec<&dyn Debug> = by_return.iter().map(|entry| entry as &dyn Debug).collect();
        onlooker.see_unordered(&returns);
    }
}

fn show_slots<T: Debug, K: Debug>(slots: &Slots<T>, key: impl Fn(Key) -> K, onlooker: &mut dyn Onlooker) {
    let tenants: Vec<(K, &T)> = slots.iter().map(|(at, tenant)| (key(at), tenant)).collect();
    let parts: Vec<&dyn Debug> = tenants.iter().map(|tenant| tenant as &dyn Debug).collect();
    onlooker.see_unordered(&parts);
}
