//! Random requests and replies.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::failure_of;
use midcom::{
    Capabilities, Direction, Failure, Gid, IpVersionChoice, IpVersions, Lifetime, NatService, Network,
    Notification, Parity, Passed, PortParity, Prid, Protocol, Reply, Request, RuleStatus, Tuple,
};
use proptest::prelude::*;
use proptest::sample::select;

pub(super) fn tuples() -> impl Strategy<Value = Tuple> {
    let v4 = (any::<u32>(), 0..=32u8).prop_map(|(bits, prefix)| (Ipv4Addr::from(bits).into(), prefix));
    let v6 = (any::<u128>(), 0..=128u8).prop_map(|(bits, prefix)| (Ipv6Addr::from(bits).into(), prefix));
    (prop_oneof![v4, v6], protocols(), any::<u16>(), 1..=u16::MAX).prop_map(
        |((address, prefix), protocol, port, range)| Tuple {
            network: Network::new(address, prefix).unwrap(),
            protocol,
            port,
            range,
        },
    )
}

fn protocols() -> impl Strategy<Value = Protocol> {
    any::<u8>().prop_map(Protocol::from_number)
}

fn lifetimes() -> impl Strategy<Value = Lifetime> {
    any::<u32>().prop_map(Lifetime)
}

fn prids() -> impl Strategy<Value = Prid> {
    any::<u32>().prop_map(Prid)
}

fn gids() -> impl Strategy<Value = Gid> {
    any::<u32>().prop_map(Gid)
}

fn parities() -> impl Strategy<Value = Parity> {
    select(vec![Parity::Any, Parity::Same])
}

fn directions() -> impl Strategy<Value = Direction> {
    select(vec![Direction::Inbound, Direction::Outbound, Direction::Bidirectional])
}

fn choices() -> impl Strategy<Value = IpVersionChoice> {
    select(vec![IpVersionChoice::Any, IpVersionChoice::V4, IpVersionChoice::V6])
}

fn reserves() -> impl Strategy<Value = Request> {
    let service = select(vec![NatService::Traditional, NatService::Twice]);
    let parity = select(vec![PortParity::Any, PortParity::Odd, PortParity::Even]);
    let group = proptest::option::of(gids());
    (service, choices(), choices(), protocols(), 1..=u16::MAX, parity, lifetimes(), group).prop_map(
        |(service, inside, outside, protocol, ports, parity, lifetime, group)| Request::Reserve {
            service,
            inside,
            outside,
            protocol,
            ports,
            parity,
            lifetime,
            group,
        },
    )
}

pub(super) fn requests() -> impl Strategy<Value = Request> {
    let enable = (parities(), directions(), tuples(), tuples(), lifetimes(), proptest::option::of(gids()))
        .prop_map(|(parity, direction, internal, external, lifetime, group)| Request::Enable {
            parity,
            direction,
            internal,
            external,
            lifetime,
            group,
        });
    let after = (prids(), parities(), directions(), tuples(), tuples(), lifetimes()).prop_map(
        |(prid, parity, direction, internal, external, lifetime)| Request::EnableReserved {
            prid,
            parity,
            direction,
            internal,
            external,
            lifetime,
        },
    );
    prop_oneof![
        reserves(),
        enable,
        after,
        (tuples(), tuples(), lifetimes()).prop_map(|(internal, external, lifetime)| Request::Disable {
            internal,
            external,
            lifetime
        }),
        (prids(), lifetimes()).prop_map(|(prid, lifetime)| Request::Lifetime { prid, lifetime }),
        prids().prop_map(|prid| Request::Status { prid }),
        Just(Request::List),
        proptest::collection::vec(prids(), 1..50).prop_map(|prids| Request::Count { prids }),
    ]
}

fn statuses() -> impl Strategy<Value = RuleStatus> {
    let reserved = (
        (prids(), gids(), lifetimes()),
        proptest::option::of(tuples()),
        protocols(),
        proptest::option::of(tuples()),
        "[a-z0-9:]{0,255}",
    )
        .prop_map(|((prid, group, lifetime), outside, protocol, inside, owner)| RuleStatus::Reserved {
            prid,
            group,
            lifetime,
            protocol: outside.map_or(protocol, |outside| outside.protocol),
            outside,
            inside,
            owner,
        });
    let enabled = (
        (prids(), gids(), lifetimes(), parities(), directions()),
        (tuples(), tuples(), tuples(), tuples()),
        "[a-z0-9:]{0,255}",
    )
        .prop_map(|(about, (internal, inside, outside, external), owner)| {
            let (prid, group, lifetime, parity, direction) = about;
            RuleStatus::Enabled {
                prid,
                group,
                parity,
                direction,
                internal,
                inside,
                outside,
                external,
                lifetime,
                owner,
            }
        });
    let disabled = (prids(), tuples(), tuples(), lifetimes(), "\\PC{0,60}").prop_map(
        |(prid, internal, external, lifetime, owner)| RuleStatus::Disabled {
            prid,
            internal,
            external,
            lifetime,
            owner,
        },
    );
    prop_oneof![reserved, enabled, disabled]
}

pub(super) fn replies() -> impl Strategy<Value = Reply> {
    let reserved =
        (prids(), gids(), lifetimes(), proptest::option::of(tuples()), proptest::option::of(tuples()))
            .prop_map(|(prid, group, lifetime, outside, inside)| Reply::Reserved {
                prid,
                group,
                lifetime,
                outside,
                inside,
            });
    let enabled = (prids(), gids(), lifetimes(), tuples(), proptest::option::of(tuples())).prop_map(
        |(prid, group, lifetime, outside, inside)| Reply::Enabled { prid, group, lifetime, outside, inside },
    );
    prop_oneof![
        reserved,
        enabled,
        (prids(), lifetimes()).prop_map(|(prid, lifetime)| Reply::Disabled { prid, lifetime }),
        lifetimes().prop_map(Reply::Lifetime),
        Just(Reply::Ended),
        statuses().prop_map(Reply::Status),
        proptest::collection::vec(prids(), 0..50).prop_map(Reply::List),
        proptest::collection::vec((prids(), any::<u64>()), 0..50).prop_map(|all| {
            Reply::Counted(all.into_iter().map(|(prid, packets)| Passed { prid, packets }).collect())
        }),
    ]
}

/// Failures that a header without attributes can say.
pub(super) fn failures() -> impl Strategy<Value = Failure> {
    any::<u8>().prop_filter("0x22 has a version", |code| *code != 0x22).prop_map(failure_of)
}

pub(super) fn notifications() -> impl Strategy<Value = Notification> {
    prop_oneof![
        Just(Notification::SessionTermination),
        (prids(), lifetimes()).prop_map(|(prid, lifetime)| Notification::RuleEvent { prid, lifetime }),
    ]
}

pub(super) fn capabilities() -> impl Strategy<Value = Capabilities> {
    let versions = || select(vec![IpVersions::V4, IpVersions::V6, IpVersions::Both]);
    (any::<[bool; 10]>(), versions(), versions(), lifetimes()).prop_map(
        |([firewall, nat, a, b, c, d, e, f, g, h], inside, outside, lifetime_max)| Capabilities {
            firewall,
            nat,
            port_translation: nat && a,
            protocol_translation: nat && b,
            twice_nat: nat && c,
            disable_rules: d,
            internal_wildcards: e,
            external_wildcards: f,
            port_wildcards: g,
            persistent: h,
            inside,
            outside,
            lifetime_max,
        },
    )
}
