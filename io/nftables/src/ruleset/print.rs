//! A table in nft's language.

use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::held;
use super::intervals::Interval;
use super::statement::{End, Family, Field, HELD_S, Statement, Verdict};
use super::table::{COLLECT_MS, Chain, ElementSet, HELD_MAX, Set, SetKind, Table};
use crate::netlink::uapi;

/// The table in nft's language, without entries; `nft -f` accepts it.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", self.name)?;
        for set in &self.sets {
            set.fmt(f)?;
        }
        for chain in &self.chains {
            chain.fmt(f)?;
        }
        f.write_str("}\n")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.flags() & uapi::SET_F_MAP != 0 { "map" } else { "set" };
        writeln!(f, "\t{kind} {} {{", self.name)?;
        match &self.kind {
            SetKind::Entries(set) | SetKind::Banned(set) => {
                let data = set.data.map(|data| format!(" : {}", data.type_name())).unwrap_or_default();
                writeln!(f, "\t\t{}{data}\n\t\tsize {}", declared(set), set.size)?;
                writeln!(f, "\t\tflags timeout")?;
                match (set.cap, set.counter) {
                    (Some(cap), _) => {
                        writeln!(f, "\t\tlimit rate {cap} bytes/second burst {cap} bytes counter")?;
                    }
                    (None, true) => writeln!(f, "\t\tcounter")?,
                    (None, false) => {}
                }
                if set.data.is_none() {
                    writeln!(f, "\t\tgc-interval {}s", COLLECT_MS / 1000)?;
                }
            }
            SetKind::Held(family) => {
                writeln!(f, "\t\ttype {}\n\t\tsize {HELD_MAX}", types(&held::fields(*family)))?;
                writeln!(f, "\t\tflags dynamic,timeout\n\t\ttimeout {HELD_S}s")?;
                writeln!(f, "\t\tgc-interval {}s", COLLECT_MS / 1000)?;
            }
            SetKind::Interfaces(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
                writeln!(f, "\t\ttype ifname\n\t\telements = {{ {} }}", names.join(", "))?;
            }
            SetKind::Networks(family, intervals) => {
                let all: Vec<_> = intervals.iter().map(|i| span(*family, i.first..=i.last)).collect();
                let name = Field::Address(*family, End::Source).type_name();
                writeln!(f, "\t\ttype {name}\n\t\tflags interval\n\t\telements = {{ {} }}", all.join(", "))?;
            }
            SetKind::Verdicts(family, intervals) => {
                let one =
                    |i: &Interval<Verdict>| format!("{} : {}", span(*family, i.first..=i.last), i.value);
                let all: Vec<_> = intervals.iter().map(one).collect();
                let name = Field::Address(*family, End::Source).type_name();
                writeln!(f, "\t\ttype {name} : verdict\n\t\tflags interval")?;
                writeln!(f, "\t\telements = {{ {} }}", all.join(", "))?;
            }
        }
        f.write_str("\t}\n\n")
    }
}

fn types(fields: &[Field]) -> String {
    fields.iter().map(|field| field.type_name()).collect::<Vec<_>>().join(" . ")
}

/// How a set's key is declared.
fn declared(set: &ElementSet) -> String {
    if !set.is_raw() {
        return format!("type {}", types(&set.fields));
    }
    let place = |field: &Field| match *field {
        // What is left out of a pair is no matter of the place.
        Field::Raw { header, offset, length, .. } => Field::raw(header, offset, length).to_string(),
        other => other.to_string(),
    };
    format!("typeof {}", set.fields.iter().map(place).collect::<Vec<_>>().join(" . "))
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(hook) = self.hook {
            let policy = if hook.drop { "drop" } else { "accept" };
            let name = hook_name(hook.number);
            writeln!(f, "\t\ttype filter hook {name} priority {}; policy {policy};", hook.priority)?;
        }
        for rule in &self.rules {
            let words: Vec<_> = rule.iter().map(Statement::to_string).collect();
            writeln!(f, "\t\t{}", words.join(" "))?;
        }
        f.write_str("\t}\n\n")
    }
}

/// A protocol family's name in nft's language.
pub(crate) fn family_name(number: u8) -> Option<&'static str> {
    match number {
        uapi::INET => Some("inet"),
        uapi::IPV4 => Some("ip"),
        uapi::IPV6 => Some("ip6"),
        uapi::BRIDGE => Some("bridge"),
        _ => None,
    }
}

/// A hook's name in nft's language.
pub(crate) fn hook_name(number: u32) -> &'static str {
    match number {
        uapi::PRE_ROUTING => "prerouting",
        uapi::LOCAL_IN => "input",
        uapi::FORWARD => "forward",
        uapi::LOCAL_OUT => "output",
        uapi::POST_ROUTING => "postrouting",
        _ => "unknown",
    }
}

/// An interval as a network where it is one, else as a range.
fn span(family: Family, interval: RangeInclusive<u128>) -> String {
    let address = |number: u128| -> std::net::IpAddr {
        match family {
            Family::V4 => std::net::Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Family::V6 => std::net::Ipv6Addr::from(number).into(),
        }
    };
    let (first, last) = (address(*interval.start()), address(*interval.end()));
    let bits = u8::try_from(family.width() * 8).unwrap_or(0);
    let network = (0..=bits)
        .filter_map(|length| IpNet::new(first, length).ok())
        .find(|network| network.network() == first && network.broadcast() == last);
    match network {
        Some(network) if network.prefix_len() == bits => first.to_string(),
        Some(network) => network.to_string(),
        None => format!("{first}-{last}"),
    }
}
