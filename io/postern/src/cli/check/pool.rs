//! Whether anybody else on this host uses the outside ports of the NAT. `docs/pinholes.md` §4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use middlebox::Nat;
use nftables::line;

use super::{Finding, Grade};
use crate::config::Config;
use crate::sandbox;

const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/// Sockets that are told one by one; of the others only how many there are.
const SOCKETS_TOLD: usize = 5;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    let nat = &config.middlebox.nat;
    if nat.is_empty() || !config.middlebox.is_local() {
        return;
    }
    let before = findings.len();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    findings.extend(own_connections(nat, &read(PORT_RANGE), &read(RESERVED)));
    findings.extend(sockets(nat, &[read("/proc/net/udp"), read("/proc/net/udp6")]));
    if sandbox::has_net_admin() {
        findings.extend(translations(nat));
    }
    if findings.len() == before {
        findings.push(Finding::new(
            Grade::Ok,
            format!("nobody else here uses outside ports {}", shown(&nat.ports)),
        ));
    }
}

fn shown(ports: &RangeInclusive<u16>) -> String {
    format!("{}-{}", ports.start(), ports.end())
}

/// The ports that the kernel takes for who does not ask for one.
fn own_connections(nat: &Nat, range: &str, reserved: &str) -> Option<Finding> {
    let mut ends = range.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else { return None };
    let (first, last): (u16, u16) = (first, last);
    let reserved: Vec<RangeInclusive<u16>> = reserved.trim().split(',').filter_map(ports).collect();
    let taken = |port: &u16| (first..=last).contains(port) && !reserved.iter().any(|of| of.contains(port));
    let own = nat.ports.clone().filter(taken).count();
    (own > 0).then(|| {
        let text = format!(
            "{own} of the outside ports {} are among those that this host takes for what it asks itself \
             (net.ipv4.ip_local_port_range {first}-{last}): the answers would be dropped",
            shown(&nat.ports)
        );
        let mut wanted: Vec<String> = reserved.iter().map(shown).collect();
        wanted.push(shown(&nat.ports));
        let advice = format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", wanted.join(","));
        Finding::new(Grade::Warning, text).advise(advice)
    })
}

/// `7000` or `7000-7099`.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// Sockets that would not hear what is sent to them.
fn sockets(nat: &Nat, tables: &[String]) -> Vec<Finding> {
    let local = |line: &str| line.split_whitespace().nth(1).and_then(socket);
    let deaf = |address: &SocketAddr| {
        let any = address.ip().is_unspecified() && nat.ports.contains(&address.port());
        any || nat.owns(address.ip().to_canonical(), address.port())
    };
    let mut deaf: Vec<SocketAddr> =
        tables.iter().flat_map(|table| table.lines().filter_map(local)).filter(deaf).collect();
    deaf.sort_unstable();
    deaf.dedup();
    let more = deaf.len().saturating_sub(SOCKETS_TOLD);
    let mut findings: Vec<Finding> = deaf
        .iter()
        .take(SOCKETS_TOLD)
        .map(|address| {
            let text = format!(
                "UDP socket {address} is on an outside port: it does not hear what comes from outside"
            );
            let advice = format!(
                "`ss -ulnp sport = {}` shows whose it is; use another port, or other `nat-ports`",
                address.port()
            );
            Finding::new(Grade::Warning, text).advise(advice)
        })
        .collect();
    if more > 0 {
        findings.push(Finding::new(Grade::Warning, format!("{more} more UDP sockets are on outside ports")));
    }
    findings
}

/// An address as `/proc/net/udp` has it: words of four octets in this host's order.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (at, place) in octets.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Rules of others that may give a packet one of our ports.
fn translations(nat: &Nat) -> Vec<Finding> {
    let all = match line::source_translations() {
        Ok(all) => all,
        Err(error) => return vec![Finding::new(Grade::NotProven, error.to_string())],
    };
    let taking = all.into_iter().filter(|rule| rule.may_take(&nat.addresses, &nat.ports));
    taking
        .map(|rule| {
            let ports = match &rule.ports {
                Some(ports) => format!("ports {}", shown(ports)),
                None => "any port".to_owned(),
            };
            let text = format!(
                "{rule} translates sources to {ports}: what gets one of the outside ports {} is dropped",
                shown(&nat.ports)
            );
            let (first, last) = rest(nat);
            let advice = format!(
                "give it the other ports, for example in nftables `meta l4proto {{ tcp, udp }} masquerade to :{first}-{last}`, \
                 in iptables `-p udp -j MASQUERADE --to-ports {first}-{last}` before it"
            );
            Finding::new(Grade::Warning, text).advise(advice)
        })
        .collect()
}

/// The wider of what is left below the outside ports and above them.
fn rest(nat: &Nat) -> (u16, u16) {
    let (first, last) = (*nat.ports.start(), *nat.ports.end());
    match first - 1024 > u16::MAX - last {
        true => (1024, first - 1),
        false => (last.saturating_add(1), u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat() -> Nat {
        Nat::new(vec!["203.0.113.1".parse().unwrap()], 40_000..=40_099).unwrap()
    }

    #[test]
    fn ports_that_the_host_takes_itself_are_told_unless_they_are_reserved() {
        let told = |range, reserved| own_connections(&nat(), range, reserved).map(|finding| finding.text);
        assert!(told("32768\t60999\n", "\n").unwrap().starts_with("100 of"));
        assert!(told("32768\t40009\n", "\n").unwrap().starts_with("10 of"));
        assert!(told("32768 60999", "8080,40000-40097").unwrap().starts_with("2 of"));
        assert_eq!(told("32768 60999", "40000-40099,8080"), None);
        assert_eq!(told("32768 39999", ""), None);
        let advice = own_connections(&nat(), "1024 65535", "8080").unwrap().advice.unwrap();
        assert!(advice.ends_with("=8080-8080,40000-40099"), "{advice}");
    }

    #[test]
    fn sockets_on_outside_ports_are_told() {
        let word = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let line = |address: &str, port: u16| format!("  1: {address}:{port:04X} 00000000:0000 07\n");
        let table = [
            "  sl  local_address rem_address\n".to_owned(),
            line(&word([0, 0, 0, 0]), 40_001),
            line(&word([203, 0, 113, 1]), 40_002),
            line(&word([10, 0, 0, 1]), 40_003),
            line(&word([0, 0, 0, 0]), 39_999),
            line(&format!("{0}{0}{0}{0}", word([0; 4])), 40_004),
        ];
        let told: Vec<_> =
            sockets(&nat(), &[table.concat()]).into_iter().map(|finding| finding.text).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        for (text, address) in told.iter().zip(["0.0.0.0:40001", "203.0.113.1:40002", "[::]:40004"]) {
            assert!(text.contains(address), "{text}");
        }
        let many: String = (40_010..40_020).map(|port| line(&word([0; 4]), port)).collect();
        assert_eq!(sockets(&nat(), &[many]).len(), SOCKETS_TOLD + 1);
    }
}
