//! What an agent sends: RFC 4540 §5.2.1, §5.2.4, §5.2.5 and §5.3.2 to §5.3.8.

use midcom::{Failure, Request, Tuple};

use super::attribute::{Attributes, Form, Kind, Opaque, Writer};
use super::counters;
use super::parameters::{EnableSet, ReserveSet, Version};
use super::tuple::Location;
use super::{BasicType, Header, RequestType};

/// A request message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentMessage<'a> {
    /// SE: opens the session.
    Establish {
        /// The version the agent wants to speak.
        version: Version,
        /// With it, the agent wants the middlebox to prove who it is.
        challenge: Option<Opaque<'a>>,
    },
    /// SA: goes on with opening it.
    Authenticate {
        /// The proof the middlebox asked for.
        token: Option<Opaque<'a>>,
    },
    /// ST: ends it.
    Terminate,
    /// Everything about rules.
    Rule(Request),
}

impl AgentMessage<'_> {
    /// Which request it is.
    #[must_use]
    pub fn request_type(&self) -> RequestType {
        match self {
            Self::Establish { .. } => RequestType::Establish,
            Self::Authenticate { .. } => RequestType::Authenticate,
            Self::Terminate => RequestType::Terminate,
            Self::Rule(Request::Reserve { .. }) => RequestType::Reserve,
            Self::Rule(Request::Enable { .. }) => RequestType::Enable,
            Self::Rule(Request::EnableReserved { .. }) => RequestType::EnableReserved,
            Self::Rule(Request::Disable { .. }) => RequestType::Disable,
            Self::Rule(Request::Lifetime { .. }) => RequestType::Lifetime,
            Self::Rule(Request::Status { .. }) => RequestType::Status,
            Self::Rule(Request::List) => RequestType::List,
            Self::Rule(Request::Count { .. }) => RequestType::Count,
        }
    }

    /// Appends the message to `out`.
    pub fn encode(&self, tid: u32, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out, BasicType::Request, self.request_type().octet(), tid);
        match self {
            Self::Establish { version, challenge } => {
                writer.version(*version);
                writer.opaque(Kind::Challenge, *challenge);
            }
            Self::Authenticate { token } => writer.opaque(Kind::Token, *token),
            Self::Terminate => {}
            Self::Rule(request) => write_rule(&mut writer, request),
        }
        writer.finish();
    }
}

impl<'a> AgentMessage<'a> {
    /// Reads a request, steps 3 to 5 of RFC 4540 §6.
    ///
    /// # Errors
    /// The failure to answer with: a wrong basic type, a wrong sub-type, or whatever [`Self::decode_as`] finds.
    pub fn decode(header: Header, payload: &'a [u8]) -> Result<Self, Failure> {
        if header.basic_type != BasicType::Request.octet() {
            return Err(Failure::WrongMessageType);
        }
        let request_type = RequestType::from_octet(header.sub_type).ok_or(Failure::WrongMessageSubType)?;
        Self::decode_as(request_type, payload)
    }

    /// Reads the attributes of a request, step 5 of RFC 4540 §6.
    ///
    /// # Errors
    /// The failure to answer with: [`Failure::BadlyFormed`] for attributes that this request does not have or whose
    /// values mean nothing; then [`Failure::Inconsistent`] for tuples at the wrong place and
    /// [`Failure::IllegalPortCount`] for a range of zero ports.
    pub fn decode_as(request_type: RequestType, payload: &'a [u8]) -> Result<Self, Failure> {
        // PRC has any number of PIDs; every other request has each attribute at its place.
        let sorted = if request_type == RequestType::Count { &[] } else { payload };
        let attributes = Attributes::read(sorted, form(request_type))?;
        Ok(match request_type {
            RequestType::Establish => Self::Establish {
                version: attributes.version()?,
                challenge: attributes.opaque(Kind::Challenge),
            },
            RequestType::Authenticate => Self::Authenticate { token: attributes.opaque(Kind::Token) },
            RequestType::Terminate => Self::Terminate,
            RequestType::Reserve => Self::Rule(reserve(&attributes)?),
            RequestType::Enable | RequestType::EnableReserved => {
                Self::Rule(enable(&attributes, request_type)?)
            }
            RequestType::Disable => {
                let (internal, external) = attributes.ends()?;
                Self::Rule(Request::Disable { internal, external, lifetime: attributes.lifetime()? })
            }
            RequestType::Lifetime => {
                Self::Rule(Request::Lifetime { prid: attributes.prid()?, lifetime: attributes.lifetime()? })
            }
            RequestType::Status => Self::Rule(Request::Status { prid: attributes.prid()? }),
            RequestType::List => Self::Rule(Request::List),
            RequestType::Count => Self::Rule(Request::Count { prids: counters::asked(payload)? }),
        })
    }
}

/// The attributes each request has.
const fn form(request_type: RequestType) -> Form {
    use Kind::{Challenge, EnableSet, Gid, Lifetime, Prid, ReserveSet, Token, Tuple, Version};
    match request_type {
        RequestType::Establish => const { Form::of(&[Version], &[Challenge]) },
        RequestType::Authenticate => const { Form::of(&[], &[Token]) },
        RequestType::Terminate | RequestType::List | RequestType::Count => Form::EMPTY,
        RequestType::Reserve => const { Form::of(&[ReserveSet, Lifetime], &[Gid]) },
        RequestType::Enable => const { Form::of(&[EnableSet, Tuple, Tuple, Lifetime], &[Gid]) },
        RequestType::EnableReserved => const { Form::of(&[EnableSet, Tuple, Tuple, Lifetime, Prid], &[]) },
        RequestType::Disable => const { Form::of(&[Tuple, Tuple, Lifetime], &[]) },
        RequestType::Lifetime => const { Form::of(&[Prid, Lifetime], &[]) },
        RequestType::Status => const { Form::of(&[Prid], &[]) },
    }
}

fn reserve(attributes: &Attributes<'_>) -> Result<Request, Failure> {
    let ReserveSet { service, parity, inside, outside, protocol, ports } = attributes.reserve_set()?;
    let (lifetime, group) = (attributes.lifetime()?, attributes.group());
    Ok(Request::Reserve { service, inside, outside, protocol, ports, parity, lifetime, group })
}

/// PER and PEA differ in their last attribute only.
fn enable(attributes: &Attributes<'_>, request_type: RequestType) -> Result<Request, Failure> {
    let EnableSet { parity, direction } = attributes.enable_set()?;
    let (internal, external) = attributes.ends()?;
    let lifetime = attributes.lifetime()?;
    if request_type == RequestType::EnableReserved {
        let prid = attributes.prid()?;
        return Ok(Request::EnableReserved { prid, parity, direction, internal, external, lifetime });
    }
    let group = attributes.group();
    Ok(Request::Enable { parity, direction, internal, external, lifetime, group })
}

fn write_rule(writer: &mut Writer<'_>, request: &Request) {
    match request {
        &Request::Reserve { service, inside, outside, protocol, ports, parity, lifetime, group } => {
            writer.reserve_set(ReserveSet { service, parity, inside, outside, protocol, ports });
            writer.lifetime(lifetime);
            group.into_iter().for_each(|group| writer.gid(group));
        }
        Request::Enable { parity, direction, internal, external, lifetime, group } => {
            writer.enable_set(*parity, *direction);
            write_ends(writer, internal, external);
            writer.lifetime(*lifetime);
            group.iter().for_each(|group| writer.gid(*group));
        }
        Request::EnableReserved { prid, parity, direction, internal, external, lifetime } => {
            writer.enable_set(*parity, *direction);
            write_ends(writer, internal, external);
            writer.lifetime(*lifetime);
            writer.prid(*prid);
        }
        Request::Disable { internal, external, lifetime } => {
            write_ends(writer, internal, external);
            writer.lifetime(*lifetime);
        }
        Request::Lifetime { prid, lifetime } => {
            writer.prid(*prid);
            writer.lifetime(*lifetime);
        }
        Request::Status { prid } => writer.prid(*prid),
        Request::List => {}
        Request::Count { prids } => prids.iter().for_each(|prid| writer.prid(*prid)),
    }
}

fn write_ends(writer: &mut Writer<'_>, internal: &Tuple, external: &Tuple) {
    writer.tuple(Location::Internal, internal);
    writer.tuple(Location::External, external);
}
