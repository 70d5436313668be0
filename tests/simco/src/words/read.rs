//! Words to values.

use midcom::{
    Direction, Failure, Gid, IpVersionChoice, Lifetime, NatService, Parity, Passed, PortParity, Prid,
    Protocol, Reply, Request, RuleStatus, Tuple,
};
use simco::wire::failure_of;

/// `key=value` words behind the first ones.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.split_whitespace().filter_map(|word| word.split_once('=')).collect())
    }

    fn optional(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn text(&self, key: &str) -> Result<&'a str, String> {
        self.optional(key).ok_or_else(|| format!("no {key}"))
    }

    fn number(&self, key: &str) -> Result<u32, String> {
        number(self.text(key)?)
    }

    fn lifetime(&self) -> Result<Lifetime, String> {
        self.number("lifetime").map(Lifetime)
    }

    fn prid(&self) -> Result<Prid, String> {
        self.number("prid").map(Prid)
    }

    fn gid(&self) -> Result<Gid, String> {
        self.number("group").map(Gid)
    }

    fn group(&self) -> Result<Option<Gid>, String> {
        self.optional("group").map(|text| number(text).map(Gid)).transpose()
    }

    fn tuple(&self, key: &str) -> Result<Tuple, String> {
        tuple(self.text(key)?)
    }

    fn optional_tuple(&self, key: &str) -> Result<Option<Tuple>, String> {
        self.optional(key).map(tuple).transpose()
    }

    fn choice(&self, key: &str) -> Result<IpVersionChoice, String> {
        match self.text(key)? {
            "any" => Ok(IpVersionChoice::Any),
            "v4" => Ok(IpVersionChoice::V4),
            "v6" => Ok(IpVersionChoice::V6),
            other => Err(format!("{key}={other}")),
        }
    }

    fn parity(&self) -> Result<Parity, String> {
        match self.text("parity")? {
            "any" => Ok(Parity::Any),
            "same" => Ok(Parity::Same),
            other => Err(format!("parity={other}")),
        }
    }

    fn port_parity(&self) -> Result<PortParity, String> {
        match self.text("parity")? {
            "any" => Ok(PortParity::Any),
            "odd" => Ok(PortParity::Odd),
            "even" => Ok(PortParity::Even),
            other => Err(format!("parity={other}")),
        }
    }

    fn direction(&self) -> Result<Direction, String> {
        match self.text("direction")? {
            "inbound" => Ok(Direction::Inbound),
            "outbound" => Ok(Direction::Outbound),
            "both" => Ok(Direction::Bidirectional),
            other => Err(format!("direction={other}")),
        }
    }

    fn owner(&self) -> Result<String, String> {
        self.text("owner").map(str::to_owned)
    }

    fn protocol(&self) -> Result<Protocol, String> {
        protocol(self.text("protocol")?)
    }
}

/// A request from its words.
///
/// # Errors
/// What is missing or not understood.
pub fn request(text: &str) -> Result<Request, String> {
    let fields = Fields::new(text);
    Ok(match first(text) {
        "reserve" => Request::Reserve {
            service: match fields.text("service")? {
                "traditional" => NatService::Traditional,
                _ => NatService::Twice,
            },
            inside: fields.choice("inside")?,
            outside: fields.choice("outside")?,
            protocol: fields.protocol()?,
            ports: u16::try_from(fields.number("ports")?).map_err(|error| error.to_string())?,
            parity: fields.port_parity()?,
            lifetime: fields.lifetime()?,
            group: fields.group()?,
        },
        "enable" => Request::Enable {
            parity: fields.parity()?,
            direction: fields.direction()?,
            internal: fields.tuple("A0")?,
            external: fields.tuple("A3")?,
            lifetime: fields.lifetime()?,
            group: fields.group()?,
        },
        "enable-reserved" => Request::EnableReserved {
            prid: fields.prid()?,
            parity: fields.parity()?,
            direction: fields.direction()?,
            internal: fields.tuple("A0")?,
            external: fields.tuple("A3")?,
            lifetime: fields.lifetime()?,
        },
        "disable" => Request::Disable {
            internal: fields.tuple("A0")?,
            external: fields.tuple("A3")?,
            lifetime: fields.lifetime()?,
        },
        "lifetime" => Request::Lifetime { prid: fields.prid()?, lifetime: fields.lifetime()? },
        "status" => Request::Status { prid: fields.prid()? },
        "list" => Request::List,
        "count" => Request::Count { prids: prids(text)? },
        other => return Err(format!("no request {other:?}")),
    })
}

/// A reply from its words; `refused 0350` is a negative one.
///
/// # Errors
/// What is missing or not understood.
pub fn reply(text: &str) -> Result<Result<Reply, Failure>, String> {
    let fields = Fields::new(text);
    Ok(Ok(match first(text) {
        "refused" => return refused(text).map(Err),
        "reserved" => Reply::Reserved {
            prid: fields.prid()?,
            group: fields.gid()?,
            lifetime: fields.lifetime()?,
            outside: fields.optional_tuple("A2")?,
            inside: fields.optional_tuple("A1")?,
        },
        "enabled" => Reply::Enabled {
            prid: fields.prid()?,
            group: fields.gid()?,
            lifetime: fields.lifetime()?,
            outside: fields.tuple("A2")?,
            inside: fields.optional_tuple("A1")?,
        },
        "disabled" => Reply::Disabled { prid: fields.prid()?, lifetime: fields.lifetime()? },
        "lifetime" => Reply::Lifetime(fields.lifetime()?),
        "ended" => Reply::Ended,
        "rules" => Reply::List(prids(text)?),
        "counted" => Reply::Counted(passed(text)?),
        "many-rules" => Reply::List((1..=fields.number("count")?).map(Prid).collect()),
        "reserve-rule" | "enable-rule" | "disable-rule" => Reply::Status(status(first(text), &fields)?),
        other => return Err(format!("no reply {other:?}")),
    }))
}

fn status(kind: &str, fields: &Fields<'_>) -> Result<RuleStatus, String> {
    let (prid, lifetime, owner) = (fields.prid()?, fields.lifetime()?, fields.owner()?);
    Ok(match kind {
        "reserve-rule" => RuleStatus::Reserved {
            prid,
            group: fields.gid()?,
            lifetime,
            outside: fields.optional_tuple("A2")?,
            protocol: fields.protocol()?,
            inside: fields.optional_tuple("A1")?,
            owner,
        },
        "enable-rule" => RuleStatus::Enabled {
            prid,
            group: fields.gid()?,
            parity: fields.parity()?,
            direction: fields.direction()?,
            internal: fields.tuple("A0")?,
            inside: fields.tuple("A1")?,
            outside: fields.tuple("A2")?,
            external: fields.tuple("A3")?,
            lifetime,
            owner,
        },
        _ => RuleStatus::Disabled {
            prid,
            internal: fields.tuple("A0")?,
            external: fields.tuple("A3")?,
            lifetime,
            owner,
        },
    })
}

fn refused(text: &str) -> Result<Failure, String> {
    let code = text.split_whitespace().nth(1).ok_or("no code")?;
    let code = u16::from_str_radix(code, 16).map_err(|error| error.to_string())?;
    let [_, code] = code.to_be_bytes();
    Ok(failure_of(code))
}

fn prids(text: &str) -> Result<Vec<Prid>, String> {
    text.split_whitespace().skip(1).map(|word| number(word).map(Prid)).collect()
}

/// `17:1000 18:0`: rules and what passed them.
fn passed(text: &str) -> Result<Vec<Passed>, String> {
    let one = |word: &str| {
        let (prid, packets) = word.split_once(':').ok_or_else(|| format!("{word}: rule:packets"))?;
        let packets = packets.parse().map_err(|error| format!("{packets}: {error}"))?;
        Ok(Passed { prid: Prid(number(prid)?), packets })
    };
    text.split_whitespace().skip(1).map(one).collect()
}

fn first(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn protocol(text: &str) -> Result<Protocol, String> {
    Ok(match text {
        "any" => Protocol::Any,
        "udp" => Protocol::Udp,
        "tcp" => Protocol::Tcp,
        other => {
            let number = other.strip_prefix("proto-").ok_or_else(|| format!("protocol {other}"))?;
            Protocol::from_number(number.parse().map_err(|_| format!("protocol {other}"))?)
        }
    })
}

/// `udp:10.1.8.3/32:20000+2`
fn tuple(text: &str) -> Result<Tuple, String> {
    let wrong = || format!("tuple {text}");
    let (name, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (network, ports) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let (port, range) = ports.split_once('+').ok_or_else(wrong)?;
    Ok(Tuple {
        network: network.parse().map_err(|_| wrong())?,
        protocol: protocol(name)?,
        port: port.parse().map_err(|_| wrong())?,
        range: range.parse().map_err(|_| wrong())?,
    })
}
