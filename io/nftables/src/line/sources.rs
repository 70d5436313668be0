//! Who else translates source addresses here, and to which ports: an outside pool is nobody else's. `docs/pinholes.md` §4.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::{Place, is_ours, place, rules};
use crate::Error;
use crate::netlink::{Attributes, Socket, be32, be64, text, uapi};

/// In `linux/netfilter/nf_tables.h`: the type of "nat" that writes sources, and the attributes of "nat" and "masq".
const SNAT: u32 = 0;
const NAT_TYPE: u16 = 1;
const NAT_ADDRESS_MIN: u16 = 3;
const NAT_PORT_MIN: u16 = 5;
const NAT_PORT_MAX: u16 = 6;
const MASQUERADE_PORT_MIN: u16 = 2;
const MASQUERADE_PORT_MAX: u16 = 3;
/// In `linux/netfilter/nf_nat.h`: a range of ports is given.
const PORTS_GIVEN: u32 = 2;
const ADDRESSES_GIVEN: u32 = 1;
const UDP: u8 = 17;

/// A rule that may give a UDP packet another source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTranslation {
    /// Where the rule is.
    pub place: Place,
    /// Its handle.
    pub rule: u64,
    /// The first address it gives; `None` for the one of the interface by which the packet leaves ("masquerade"), or one
    /// that cannot be read.
    pub address: Option<IpAddr>,
    /// The ports it gives; `None` for any: it keeps the sender's where it can.
    pub ports: Option<RangeInclusive<u16>>,
}

impl SourceTranslation {
    /// True if it may take one of these ports of one of these addresses.
    #[must_use]
    pub fn may_take(&self, addresses: &[IpAddr], ports: &RangeInclusive<u16>) -> bool {
        let address = self.address.is_none_or(|address| addresses.contains(&address));
        let meets = |own: &RangeInclusive<u16>| own.start() <= ports.end() && ports.start() <= own.end();
        address && self.ports.as_ref().is_none_or(meets)
    }
}

impl fmt::Display for SourceTranslation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rule with handle {} of {}", self.rule, self.place)
    }
}

/// All of them in this thread's network namespace.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn source_translations() -> Result<Vec<SourceTranslation>, Error> {
    let failed = "cannot read the firewall's rules";
    let mut socket = Socket::netfilter(0).map_err(Error::kernel(failed))?;
    let mut found = Vec::new();
    for message in rules::dump(&mut socket, uapi::GETRULE).map_err(Error::kernel(failed))? {
        let message = message.received();
        let Some(place) = place(&message, uapi::RULE_TABLE, uapi::RULE_CHAIN) else { continue };
        let attributes = message.attributes();
        let rule = attributes.find(uapi::RULE_HANDLE).and_then(be64).unwrap_or(0);
        let translation = Reader::default().rule(&attributes).filter(|_| !is_ours(&place));
        found.extend(translation.map(|(address, ports)| SourceTranslation { place, rule, address, ports }));
    }
    Ok(found)
}

type Translation = (Option<IpAddr>, Option<RangeInclusive<u16>>);

/// Reads one rule.
#[derive(Debug, Default)]
struct Reader<'a> {
    /// What was written into registers.
    values: BTreeMap<u32, &'a [u8]>,
    /// The last that was loaded is the protocol.
    protocol: bool,
    /// It is for another protocol than UDP.
    other: bool,
}

impl<'a> Reader<'a> {
    fn rule(mut self, attributes: &Attributes<'a>) -> Option<Translation> {
        let mut found = None;
        for expression in attributes.nested(uapi::RULE_EXPRESSIONS) {
            let expression = expression.nested();
            let name = expression.find(uapi::EXPR_NAME).map(text).unwrap_or_default();
            let data = expression.nested(uapi::EXPR_DATA);
            match name.as_str() {
                "immediate" => self.immediate(&data),
                "meta" => self.protocol = number(&data, uapi::META_KEY) == Some(uapi::META_L4PROTO),
                "cmp" => self.compare(&data),
                "masq" => found = Some((None, self.ports(&data, MASQUERADE_PORT_MIN, MASQUERADE_PORT_MAX))),
                "nat" if number(&data, NAT_TYPE) == Some(SNAT) => {
                    let address = self.value(&data, NAT_ADDRESS_MIN).and_then(address);
                    found = Some((address, self.ports(&data, NAT_PORT_MIN, NAT_PORT_MAX)));
                }
                "target" => found = target(&data).or(found),
                _ => {}
            }
        }
        found.filter(|_| !self.other)
    }

    fn immediate(&mut self, data: &Attributes<'a>) {
        let register = number(data, uapi::IMMEDIATE_DREG);
        let value = data.nested(uapi::IMMEDIATE_DATA).find(uapi::DATA_VALUE);
        self.values.extend(register.zip(value));
    }

    fn compare(&mut self, data: &Attributes<'a>) {
        let wanted = data.nested(uapi::CMP_DATA).find(uapi::DATA_VALUE).unwrap_or_default();
        let equal = number(data, uapi::CMP_OP) == Some(uapi::CMP_EQ);
        self.other |= self.protocol && equal && wanted.first() != Some(&UDP);
        self.protocol = false;
    }

    fn value(&self, data: &Attributes<'a>, kind: u16) -> Option<&'a [u8]> {
        self.values.get(&number(data, kind)?).copied()
    }

    fn ports(&self, data: &Attributes<'a>, min: u16, max: u16) -> Option<RangeInclusive<u16>> {
        let port = |kind| Some(u16::from_be_bytes(self.value(data, kind)?.get(..2)?.try_into().ok()?));
        let first = port(min)?;
        Some(first..=port(max).unwrap_or(first))
    }
}

fn number(attributes: &Attributes<'_>, kind: u16) -> Option<u32> {
    attributes.find(kind).and_then(be32)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

/// iptables' own: `nf_nat_ipv4_multi_range_compat`, or for IPv6 and in later revisions `nf_nat_range`.
fn target(data: &Attributes<'_>) -> Option<Translation> {
    let name = data.find(uapi::XT_NAME).map(text).unwrap_or_default();
    if name != "MASQUERADE" && name != "SNAT" {
        return None;
    }
    let info = data.find(uapi::XT_INFO).unwrap_or_default();
    let (flags, address_at, port_at, width) = if info.len() < 40 { (4, 8, 16, 4) } else { (0, 4, 36, 16) };
    let flags = u32::from_ne_bytes(info.get(flags..flags + 4)?.try_into().ok()?);
    let port = |at: usize| Some(u16::from_be_bytes(info.get(at..at + 2)?.try_into().ok()?));
    let ports = match flags & PORTS_GIVEN != 0 {
        true => Some(port(port_at)?..=port(port_at + 2)?),
        false => None,
    };
    let octets = info.get(address_at..address_at + width).filter(|_| flags & ADDRESSES_GIVEN != 0);
    // An IPv4 address stands in the first four octets of the wider range too.
    let v4 = octets.filter(|octets| octets.iter().skip(4).all(|octet| *octet == 0)).and_then(|o| o.get(..4));
    Some((v4.or(octets).and_then(address), ports))
}
