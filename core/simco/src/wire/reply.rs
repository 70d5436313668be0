//! What a middlebox sends: RFC 4540 §5.1, §5.2.2, §5.2.3, §5.2.5 to §5.2.7, §5.3.9 to §5.3.12 and §5.3.16 to §5.3.19.

use midcom::{Capabilities, Failure, Notification, Prid, Reply};

use super::attribute::{self, Attributes, Form, Kind, Opaque, Writer};
use super::counters;
use super::parameters::Version;
use super::tuple::{Extent, Location, Unassigned};
use super::{BasicType, Header, NotificationType, ReplyType, code_of, failure_of, status};

/// Most rules a PRL reply can name: 65,528 octets of eight each.
pub const PRIDS_MAX: usize = 8_191;

/// A reply or a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MiddleboxMessage<'a> {
    /// SE: the session is open.
    Established(Capabilities),
    /// SA: opening it goes on. At least one of the two is there.
    Authentication {
        /// With it, the middlebox wants the agent to prove who it is.
        challenge: Option<Opaque<'a>>,
        /// The proof the agent asked for; empty if the middlebox has none.
        token: Option<Opaque<'a>>,
    },
    /// ST: the session is over.
    Terminated,
    /// A positive reply to a request about rules.
    Positive(Reply),
    /// A negative reply.
    Negative(Failure),
    /// The negative reply 0x0322, with a version that the middlebox speaks.
    VersionMismatch(Version),
    /// BFM: something arrived that is no message.
    BadlyFormedMessage,
    /// AST or ARE.
    Notification(Notification),
}

impl MiddleboxMessage<'_> {
    /// Appends the message to `out`. A reservation without an address is written as for [`Unassigned::default`]; see
    /// [`encode_reply`].
    pub fn encode(&self, tid: u32, out: &mut Vec<u8>) {
        match self {
            Self::Positive(reply) => encode_reply(tid, reply, Unassigned::default(), out),
            Self::Negative(failure) => {
                Writer::new(out, BasicType::NegativeReply, code_of(*failure), tid).finish();
            }
            Self::VersionMismatch(version) => {
                let code = code_of(Failure::VersionMismatch);
                let mut writer = Writer::new(out, BasicType::NegativeReply, code, tid);
                writer.version(*version);
                writer.finish();
            }
            Self::Established(capabilities) => {
                let mut writer = positive(out, ReplyType::Established, tid);
                writer.capabilities(capabilities);
                writer.finish();
            }
            Self::Authentication { challenge, token } => {
                let mut writer = positive(out, ReplyType::Authentication, tid);
                writer.opaque(Kind::Challenge, *challenge);
                writer.opaque(Kind::Token, *token);
                writer.finish();
            }
            Self::Terminated => positive(out, ReplyType::Terminated, tid).finish(),
            Self::BadlyFormedMessage => {
                notification(out, NotificationType::BadlyFormedMessage, tid).finish();
            }
            Self::Notification(Notification::SessionTermination) => {
                notification(out, NotificationType::SessionTermination, tid).finish();
            }
            Self::Notification(Notification::RuleEvent { prid, lifetime }) => {
                let mut writer = notification(out, NotificationType::RuleEvent, tid);
                writer.prid(*prid);
                writer.lifetime(*lifetime);
                writer.finish();
            }
        }
    }
}

/// Appends a positive reply to `out`. `unassigned` says what a reservation was made for where no address was assigned.
///
/// A list of more than [`PRIDS_MAX`] rules becomes the negative reply 0x0313.
pub fn encode_reply(tid: u32, reply: &Reply, unassigned: Unassigned, out: &mut Vec<u8>) {
    //= RFC 4540 §8.7: a list that does not fit into a message is answered 0x0313.
    if matches!(reply, Reply::List(prids) if prids.len() > PRIDS_MAX) {
        return MiddleboxMessage::Negative(Failure::ReplyTooBig).encode(tid, out);
    }
    let mut writer = positive(out, reply_type(reply), tid);
    match reply {
        Reply::Reserved { prid, group, lifetime, outside, inside } => {
            writer.prid(*prid);
            writer.gid(*group);
            writer.lifetime(*lifetime);
            match outside {
                Some(outside) => writer.tuple(Location::Outside, outside),
                None => writer.protocols_only(Location::Outside, unassigned),
            }
            inside.iter().for_each(|inside| writer.tuple(Location::Inside, inside));
        }
        Reply::Enabled { prid, group, lifetime, outside, inside } => {
            writer.prid(*prid);
            writer.gid(*group);
            writer.lifetime(*lifetime);
            writer.tuple(Location::Outside, outside);
            inside.iter().for_each(|inside| writer.tuple(Location::Inside, inside));
        }
        Reply::Disabled { prid, lifetime } => {
            writer.prid(*prid);
            writer.lifetime(*lifetime);
        }
        Reply::Lifetime(lifetime) => writer.lifetime(*lifetime),
        Reply::Ended => {}
        Reply::Status(rule) => status::write(&mut writer, rule, unassigned.version),
        Reply::List(prids) => prids.iter().for_each(|prid| writer.prid(*prid)),
        Reply::Counted(passed) => counters::write(&mut writer, passed),
    }
    writer.finish();
}

fn positive(out: &mut Vec<u8>, reply_type: ReplyType, tid: u32) -> Writer<'_> {
    Writer::new(out, BasicType::PositiveReply, reply_type.octet(), tid)
}

fn notification(out: &mut Vec<u8>, notification_type: NotificationType, tid: u32) -> Writer<'_> {
    Writer::new(out, BasicType::Notification, notification_type.octet(), tid)
}

fn reply_type(reply: &Reply) -> ReplyType {
    match reply {
        Reply::Reserved { .. } => ReplyType::Reserved,
        Reply::Enabled { .. } => ReplyType::Enabled,
        Reply::Disabled { .. } => ReplyType::Disabled,
        Reply::Lifetime(_) => ReplyType::Lifetime,
        Reply::Ended => ReplyType::Ended,
        Reply::Status(rule) => status::reply_type(rule),
        Reply::List(_) => ReplyType::List,
        Reply::Counted(_) => ReplyType::Counted,
    }
}

impl<'a> MiddleboxMessage<'a> {
    /// Reads a reply or a notification.
    ///
    /// # Errors
    /// What is wrong with it, in the words of a middlebox: [`Failure::WrongMessageType`],
    /// [`Failure::WrongMessageSubType`], [`Failure::BadlyFormed`], [`Failure::IllegalPortCount`].
    pub fn decode(header: Header, payload: &'a [u8]) -> Result<Self, Failure> {
        match BasicType::from_octet(header.basic_type) {
            Some(BasicType::PositiveReply) => {
                let kind = ReplyType::from_octet(header.sub_type).ok_or(Failure::WrongMessageSubType)?;
                Self::decode_positive(kind, payload)
            }
            Some(BasicType::NegativeReply) => Self::decode_negative(header.sub_type, payload),
            Some(BasicType::Notification) => {
                let kind =
                    NotificationType::from_octet(header.sub_type).ok_or(Failure::WrongMessageSubType)?;
                Self::decode_notification(kind, payload)
            }
            Some(BasicType::Request) | None => Err(Failure::WrongMessageType),
        }
    }

    fn decode_positive(kind: ReplyType, payload: &'a [u8]) -> Result<Self, Failure> {
        // PRL and PRC have any number of attributes; every other reply has each at its place.
        let sorted = if matches!(kind, ReplyType::List | ReplyType::Counted) { &[] } else { payload };
        let attributes = Attributes::read(sorted, form(kind))?;
        Ok(match kind {
            ReplyType::Established => Self::Established(attributes.capabilities()?),
            ReplyType::Authentication => authentication(&attributes)?,
            ReplyType::Terminated => Self::Terminated,
            ReplyType::Reserved => Self::Positive(reserved(&attributes)?),
            ReplyType::Enabled => Self::Positive(enabled(&attributes)?),
            ReplyType::Disabled => {
                Self::Positive(Reply::Disabled { prid: attributes.prid()?, lifetime: attributes.lifetime()? })
            }
            ReplyType::Lifetime => Self::Positive(Reply::Lifetime(attributes.lifetime()?)),
            ReplyType::Ended => Self::Positive(Reply::Ended),
            ReplyType::ReserveStatus => Self::Positive(Reply::Status(status::reserved(&attributes)?)),
            ReplyType::EnableStatus => Self::Positive(Reply::Status(status::enabled(&attributes)?)),
            ReplyType::DisableStatus => Self::Positive(Reply::Status(status::disabled(&attributes)?)),
            ReplyType::List => Self::Positive(Reply::List(prids(payload)?)),
            ReplyType::Counted => Self::Positive(Reply::Counted(counters::passed(payload)?)),
        })
    }

    fn decode_negative(code: u8, payload: &'a [u8]) -> Result<Self, Failure> {
        let failure = failure_of(code);
        //= RFC 4540 §5.2.6: 0x0322 alone has an attribute, the version.
        if failure == Failure::VersionMismatch {
            let attributes = Attributes::read(payload, const { Form::of(&[Kind::Version], &[]) })?;
            return Ok(Self::VersionMismatch(attributes.version()?));
        }
        Attributes::read(payload, Form::EMPTY)?;
        Ok(Self::Negative(failure))
    }

    fn decode_notification(kind: NotificationType, payload: &'a [u8]) -> Result<Self, Failure> {
        match kind {
            NotificationType::BadlyFormedMessage => {
                Attributes::read(payload, Form::EMPTY)?;
                Ok(Self::BadlyFormedMessage)
            }
            NotificationType::SessionTermination => {
                Attributes::read(payload, Form::EMPTY)?;
                Ok(Self::Notification(Notification::SessionTermination))
            }
            NotificationType::RuleEvent => {
                let form = const { Form::of(&[Kind::Prid, Kind::Lifetime], &[]) };
                let attributes = Attributes::read(payload, form)?;
                let (prid, lifetime) = (attributes.prid()?, attributes.lifetime()?);
                Ok(Self::Notification(Notification::RuleEvent { prid, lifetime }))
            }
        }
    }
}

/// The attributes each positive reply has; those of PRL are not sorted.
const fn form(kind: ReplyType) -> Form {
    use Kind::{Capabilities, Challenge, EnableSet, Gid, Lifetime, Owner, Prid, Token, Tuple};
    match kind {
        ReplyType::Established => const { Form::of(&[Capabilities], &[]) },
        ReplyType::Authentication => const { Form::of(&[], &[Challenge, Token]) },
        ReplyType::Terminated | ReplyType::Ended | ReplyType::List | ReplyType::Counted => Form::EMPTY,
        ReplyType::Reserved | ReplyType::Enabled => {
            const { Form::of(&[Prid, Gid, Lifetime, Tuple], &[Tuple]) }
        }
        ReplyType::Disabled => const { Form::of(&[Prid, Lifetime], &[]) },
        ReplyType::Lifetime => const { Form::of(&[Lifetime], &[]) },
        ReplyType::ReserveStatus => const { Form::of(&[Prid, Gid, Lifetime, Tuple, Owner], &[Tuple]) },
        ReplyType::EnableStatus => {
            const { Form::of(&[Prid, Gid, EnableSet, Tuple, Tuple, Tuple, Tuple, Lifetime, Owner], &[]) }
        }
        ReplyType::DisableStatus => const { Form::of(&[Prid, Tuple, Tuple, Lifetime, Owner], &[]) },
    }
}

fn authentication<'a>(attributes: &Attributes<'a>) -> Result<MiddleboxMessage<'a>, Failure> {
    let (challenge, token) = (attributes.opaque(Kind::Challenge), attributes.opaque(Kind::Token));
    //= RFC 4540 §5.2.3: both are optional, but one of them must be there.
    if challenge.is_none() && token.is_none() {
        return Err(Failure::BadlyFormed);
    }
    Ok(MiddleboxMessage::Authentication { challenge, token })
}

fn reserved(attributes: &Attributes<'_>) -> Result<Reply, Failure> {
    let places = attributes.places()?;
    let outside = places.outside.ok_or(Failure::BadlyFormed)?;
    Ok(Reply::Reserved {
        prid: attributes.prid()?,
        group: attributes.gid()?,
        lifetime: attributes.lifetime()?,
        outside: outside.full(),
        inside: places.inside.and_then(Extent::full),
    })
}

fn enabled(attributes: &Attributes<'_>) -> Result<Reply, Failure> {
    let places = attributes.places()?;
    //= RFC 4540 §8.3.2: A0 "is reported as" A2 and A3 as A1; whether the location octet changes too is open, so both
    // readings are understood.
    let outside = places.outside.or(places.internal);
    let inside = places.inside.or(places.external);
    Ok(Reply::Enabled {
        prid: attributes.prid()?,
        group: attributes.gid()?,
        lifetime: attributes.lifetime()?,
        outside: super::tuple::end(outside)?,
        inside: inside.and_then(Extent::tuple),
    })
}

/// The PIDs of a PRL reply, or of a PRC request.
pub(super) fn prids(mut payload: &[u8]) -> Result<Vec<Prid>, Failure> {
    let mut prids = Vec::with_capacity(payload.len() / 8);
    while !payload.is_empty() {
        let (number, value, rest) = attribute::split(payload).ok_or(Failure::BadlyFormed)?;
        let octets = value.try_into().map_err(|_| Failure::BadlyFormed)?;
        if number != Kind::Prid as u16 {
            return Err(Failure::BadlyFormed);
        }
        prids.push(Prid(u32::from_be_bytes(octets)));
        payload = rest;
    }
    Ok(prids)
}
