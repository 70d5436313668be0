//! What is known of a trunk before it is used.

use std::time::Duration;

use ipnet::IpNet;
use sip::digest::Secret;

use crate::config::{NextHop, RealmId};

/// One of the trunks, by position in [`crate::config::Config::trunks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrunkId(pub u16);

/// A server that wants to know who we are: a provider's, or another site's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// As the configuration calls it.
    pub name: String,
    /// The realm it is in.
    pub realm: RealmId,
    /// Where it is.
    pub next_hop: NextHop,
    /// Further addresses at which it may ask who we are, and from which it calls.
    pub addresses: Vec<IpNet>,
    /// The host of our address-of-record there, and of the Request-URI of REGISTER.
    pub domain: String,
    /// The user of our address-of-record there.
    pub user: String,
    /// The name under which the secret is known there.
    pub auth_user: String,
    /// The secret.
    pub secret: Secret,
    /// The realm of its challenges; `None`: the one that asks in answer to a REGISTER of ours, or else the first whose credentials led
    /// to another final response than 401 and 407.
    pub digest_realm: Option<String>,
    /// Whether it is told where we are.
    pub register: Option<Register>,
}

/// How a trunk is told where we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// How long it is asked to remember it, whole seconds.
    pub expires: Duration,
    /// The user part of our Contact: whom its calls are for.
    pub contact_user: String,
}
