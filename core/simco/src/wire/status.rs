//! The three answers to PRS: RFC 4540 §5.3.13 (reserve rule), §5.3.14 (enable rule), §5.3.15 (disable rule).

use midcom::{Failure, RuleStatus};

use super::attribute::{Attributes, Writer};
use super::parameters::EnableSet;
use super::tuple::{self, Extent, Location, Unassigned};
use super::{IpVersion, ReplyType};

/// Which of the three replies it is.
pub(super) fn reply_type(status: &RuleStatus) -> ReplyType {
    match status {
        RuleStatus::Reserved { .. } => ReplyType::ReserveStatus,
        RuleStatus::Enabled { .. } => ReplyType::EnableStatus,
        RuleStatus::Disabled { .. } => ReplyType::DisableStatus,
    }
}

/// Writes the attributes; `version` is the one outside, for a reservation without an address.
pub(super) fn write(writer: &mut Writer<'_>, status: &RuleStatus, version: IpVersion) {
    match status {
        RuleStatus::Reserved { prid, group, lifetime, outside, protocol, inside, owner } => {
            writer.prid(*prid);
            writer.gid(*group);
            writer.lifetime(*lifetime);
            match outside {
                Some(outside) => writer.tuple(Location::Outside, outside),
                None => writer.protocols_only(Location::Outside, Unassigned { version, protocol: *protocol }),
            }
            inside.iter().for_each(|inside| writer.tuple(Location::Inside, inside));
            writer.owner(owner);
        }
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
        } => {
            writer.prid(*prid);
            writer.gid(*group);
            writer.enable_set(*parity, *direction);
            writer.tuple(Location::Internal, internal);
            writer.tuple(Location::Inside, inside);
            writer.tuple(Location::Outside, outside);
            writer.tuple(Location::External, external);
            writer.lifetime(*lifetime);
            writer.owner(owner);
        }
        RuleStatus::Disabled { prid, internal, external, lifetime, owner } => {
            writer.prid(*prid);
            writer.tuple(Location::Internal, internal);
            writer.tuple(Location::External, external);
            writer.lifetime(*lifetime);
            writer.owner(owner);
        }
    }
}

/// PRS.
pub(super) fn reserved(attributes: &Attributes<'_>) -> Result<RuleStatus, Failure> {
    let places = attributes.places()?;
    let outside = places.outside.ok_or(Failure::BadlyFormed)?;
    Ok(RuleStatus::Reserved {
        prid: attributes.prid()?,
        group: attributes.gid()?,
        lifetime: attributes.lifetime()?,
        outside: outside.full(),
        protocol: outside.protocol(),
        inside: places.inside.and_then(Extent::full),
        owner: attributes.owner(),
    })
}

/// PES.
pub(super) fn enabled(attributes: &Attributes<'_>) -> Result<RuleStatus, Failure> {
    let EnableSet { parity, direction } = attributes.enable_set()?;
    let places = attributes.places()?;
    Ok(RuleStatus::Enabled {
        prid: attributes.prid()?,
        group: attributes.gid()?,
        parity,
        direction,
        internal: tuple::end(places.internal)?,
        inside: tuple::end(places.inside)?,
        outside: tuple::end(places.outside)?,
        external: tuple::end(places.external)?,
        lifetime: attributes.lifetime()?,
        owner: attributes.owner(),
    })
}

/// PDS.
pub(super) fn disabled(attributes: &Attributes<'_>) -> Result<RuleStatus, Failure> {
    let places = attributes.places()?;
    Ok(RuleStatus::Disabled {
        prid: attributes.prid()?,
        internal: tuple::end(places.internal)?,
        external: tuple::end(places.external)?,
        lifetime: attributes.lifetime()?,
        owner: attributes.owner(),
    })
}
