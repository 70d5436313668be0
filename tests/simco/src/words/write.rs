//! Values to words.

use std::fmt::Write as _;

use midcom::{
    Capabilities, Direction, Failure, Gid, IpVersionChoice, IpVersions, NatService, Parity, PortParity,
    Reply, Request, RuleStatus, Tuple,
};
use simco::wire::code_of;

/// A request in words.
#[must_use]
pub fn request_text(request: &Request) -> String {
    match request {
        Request::Reserve { service, inside, outside, protocol, ports, parity, lifetime, group } => {
            let service = match service {
                NatService::Traditional => "traditional",
                NatService::Twice => "twice",
            };
            let parity = match parity {
                PortParity::Any => "any",
                PortParity::Odd => "odd",
                PortParity::Even => "even",
            };
            let (inside, outside) = (choice(*inside), choice(*outside));
            format!(
                "reserve service={service} inside={inside} outside={outside} protocol={protocol} ports={ports} \
                 parity={parity} lifetime={}{}",
                lifetime.0,
                group_text(*group)
            )
        }
        Request::Enable { parity, direction, internal, external, lifetime, group } => format!(
            "enable {} {} lifetime={}{}",
            how(*parity, *direction),
            ends(internal, external),
            lifetime.0,
            group_text(*group)
        ),
        Request::EnableReserved { prid, parity, direction, internal, external, lifetime } => format!(
            "enable-reserved prid={} {} {} lifetime={}",
            prid.0,
            how(*parity, *direction),
            ends(internal, external),
            lifetime.0
        ),
        Request::Disable { internal, external, lifetime } => {
            format!("disable {} lifetime={}", ends(internal, external), lifetime.0)
        }
        Request::Lifetime { prid, lifetime } => format!("lifetime prid={} lifetime={}", prid.0, lifetime.0),
        Request::Status { prid } => format!("status prid={}", prid.0),
        Request::List => "list".to_owned(),
        Request::Count { prids } => prids.iter().fold("count".to_owned(), |mut text, prid| {
            let _ = write!(text, " {}", prid.0);
            text
        }),
    }
}

/// A reply in words.
#[must_use]
pub fn reply_text(result: &Result<Reply, Failure>) -> String {
    let reply = match result {
        Ok(reply) => reply,
        Err(refusal) => return failure(*refusal),
    };
    match reply {
        Reply::Reserved { prid, group, lifetime, outside, inside } => format!(
            "reserved prid={} group={} lifetime={}{}{}",
            prid.0,
            group.0,
            lifetime.0,
            maybe("A2", outside.as_ref()),
            maybe("A1", inside.as_ref())
        ),
        Reply::Enabled { prid, group, lifetime, outside, inside } => format!(
            "enabled prid={} group={} lifetime={}{}{}",
            prid.0,
            group.0,
            lifetime.0,
            maybe("A2", Some(outside)),
            maybe("A1", inside.as_ref())
        ),
        Reply::Disabled { prid, lifetime } => format!("disabled prid={} lifetime={}", prid.0, lifetime.0),
        Reply::Lifetime(lifetime) => format!("lifetime lifetime={}", lifetime.0),
        Reply::Ended => "ended".to_owned(),
        Reply::Status(rule) => status(rule),
        Reply::List(prids) => prids.iter().fold("rules".to_owned(), |mut text, prid| {
            let _ = write!(text, " {}", prid.0);
            text
        }),
        Reply::Counted(all) => all.iter().fold("counted".to_owned(), |mut text, passed| {
            let _ = write!(text, " {}:{}", passed.prid.0, passed.packets);
            text
        }),
    }
}

/// A failure: its code, if it has one on the wire, and its text.
#[must_use]
pub fn failure(failure: Failure) -> String {
    match failure {
        Failure::NoSession | Failure::SessionLost | Failure::Timeout => format!("failed: {failure}"),
        other => format!("refused 03{:02x} {other}", code_of(other)),
    }
}

fn status(rule: &RuleStatus) -> String {
    match rule {
        RuleStatus::Reserved { prid, group, lifetime, outside, protocol, inside, owner } => format!(
            "reserve-rule prid={} group={} lifetime={}{} protocol={protocol}{} owner={owner}",
            prid.0,
            group.0,
            lifetime.0,
            maybe("A2", outside.as_ref()),
            maybe("A1", inside.as_ref())
        ),
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
        } => format!(
            "enable-rule prid={} group={} {}{}{}{}{} lifetime={} owner={owner}",
            prid.0,
            group.0,
            how(*parity, *direction),
            maybe("A0", Some(internal)),
            maybe("A1", Some(inside)),
            maybe("A2", Some(outside)),
            maybe("A3", Some(external)),
            lifetime.0
        ),
        RuleStatus::Disabled { prid, internal, external, lifetime, owner } => format!(
            "disable-rule prid={} {} lifetime={} owner={owner}",
            prid.0,
            ends(internal, external),
            lifetime.0
        ),
    }
}

/// Capabilities in words.
#[must_use]
pub fn capabilities(can: &Capabilities) -> String {
    let flags = [
        (can.firewall, "firewall"),
        (can.nat, "nat"),
        (can.port_translation, "port-translation"),
        (can.protocol_translation, "protocol-translation"),
        (can.twice_nat, "twice-nat"),
        (can.disable_rules, "disable-rules"),
        (can.internal_wildcards, "internal-wildcards"),
        (can.external_wildcards, "external-wildcards"),
        (can.port_wildcards, "port-wildcards"),
        (can.persistent, "persistent"),
    ];
    let names: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let (inside, outside) = (versions(can.inside), versions(can.outside));
    format!("{} inside={inside} outside={outside} lifetime-max={}", names.join(" "), can.lifetime_max.0)
}

fn versions(versions: IpVersions) -> &'static str {
    match versions {
        IpVersions::V4 => "v4",
        IpVersions::V6 => "v6",
        IpVersions::Both => "both",
    }
}

fn choice(choice: IpVersionChoice) -> &'static str {
    match choice {
        IpVersionChoice::Any => "any",
        IpVersionChoice::V4 => "v4",
        IpVersionChoice::V6 => "v6",
    }
}

fn how(parity: Parity, direction: Direction) -> String {
    let parity = match parity {
        Parity::Any => "any",
        Parity::Same => "same",
    };
    let direction = match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Bidirectional => "both",
    };
    format!("parity={parity} direction={direction}")
}

fn ends(internal: &Tuple, external: &Tuple) -> String {
    format!("A0={} A3={}", tuple(internal), tuple(external))
}

fn maybe(name: &str, value: Option<&Tuple>) -> String {
    value.map(|value| format!(" {name}={}", tuple(value))).unwrap_or_default()
}

fn tuple(tuple: &Tuple) -> String {
    format!("{}:{}:{}+{}", tuple.protocol, tuple.network, tuple.port, tuple.range)
}

fn group_text(group: Option<Gid>) -> String {
    group.map(|group| format!(" group={}", group.0)).unwrap_or_default()
}
