//! `postern deny`

use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::{Common, Complaint, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{
    DenialLine, Denials, Denied, Deny as Asked, End, Lift, Request, middlebox_socket,
};
use crate::config::parse_time;

/// The longest time a disable rule is made for: a hundred years.
const FOR_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Refuse pinholes to and from an address for a while, and close those there are
///
/// A denial ends early if the middlebox half is started anew, unless [middlebox] has a `journal`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern deny 198.51.100.9                        everything between this host and the inside, for 10 minutes
  postern deny 198.51.100.0/24 --for 24h           a network, for a day
  postern deny 10.0.40.7:20000-20001               two ports of an inside phone (UDP)
  postern deny 10.0.40.7 198.51.100.9              only between these two
  postern deny --list
  postern deny --lift 198.51.100.9                 by what was denied, or by PID as listed

Calls whose pinholes are closed end on both sides with Reason \"firewall temporarily closed\" as far as SIP can say \
                 it. What the administrator's own rules let pass is theirs to stop.

Exit codes: 0 it is denied (nothing of it passes any more), or lifted; 1 it could not be, or no middlebox half answers.")]
pub(super) struct Deny {
    /// ADDRESS, NETWORK/PREFIX, either with :PORT or :LOW-HIGH behind it; IPv6 with a port in brackets
    #[arg(value_name = "END", num_args = 1..=2, required_unless_present = "list")]
    ends: Vec<String>,
    /// For how long: a number and ms, s, m, h or d
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = time)]
    time: Duration,
    /// Only this protocol: udp, tcp or a number [default: all, or udp where a port is named]
    #[arg(long, value_name = "NAME", value_parser = protocol)]
    protocol: Option<u8>,
    /// Show what is denied
    #[arg(long, conflicts_with_all = ["ends", "lift"])]
    list: bool,
    /// No longer deny it: END as it was denied, or its PID
    #[arg(long)]
    lift: bool,
}

impl Deny {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let socket = middlebox_socket(&common.sockets()?);
        if self.list {
            let denials: Denials = client::ask(&socket, &Request::Denials)?;
            return if common.json { print::json(&denials) } else { print::say(&list(&denials.denials)) };
        }
        if self.lift {
            let which = match self.pid() {
                Some(pid) => Lift::Pid(pid),
                None => Lift::Same(self.asked()?),
            };
            let said = format!("{which} is no longer denied\n");
            let pids: Vec<u32> = client::ask(&socket, &Request::Lift(which))?;
            return if common.json { print::json(&pids) } else { print::say(&said) };
        }
        let denied: Denied = client::ask(&socket, &Request::Deny(self.asked()?))?;
        if common.json { print::json(&denied) } else { print::say(&text(&denied)) }
    }

    /// A lone number is an identifier.
    fn pid(&self) -> Option<u32> {
        match self.ends.as_slice() {
            [only] => only.parse().ok(),
            _ => None,
        }
    }

    fn asked(&self) -> Result<Asked, Complaint> {
        let ends: Result<Vec<End>, String> = self.ends.iter().map(|text| end(text)).collect();
        let mut ends = ends.map_err(Complaint::usage)?.into_iter();
        let end = ends.next().ok_or_else(|| Complaint::usage("nothing is named"))?;
        let other = ends.next();
        let ports = end.port != 0 || other.is_some_and(|end| end.port != 0);
        let protocol = self.protocol.unwrap_or(if ports { 17 } else { 0 });
        if ports && !matches!(protocol, 6 | 17) {
            return Err(Complaint::usage("only UDP and TCP have ports"));
        }
        let lifetime_s = u32::try_from(self.time.as_secs()).unwrap_or(u32::MAX);
        Ok(Asked { end, other, protocol, lifetime_s })
    }
}

fn text(denied: &Denied) -> String {
    let Denied { pid, inside, outside, lifetime_s } = denied;
    format!("denied for {}: {inside} - {outside} (rule {pid})\n", print::age(*lifetime_s))
}

fn list(denials: &[DenialLine]) -> String {
    if denials.is_empty() {
        return "nothing is denied\n".into();
    }
    let row = |line: &DenialLine| {
        let left = print::age(line.remaining_s);
        [line.pid.to_string(), line.owner.clone(), line.inside.clone(), line.outside.clone(), left]
    };
    print::table(["PID", "OWNER", "INSIDE", "OUTSIDE", "LEFT"], &denials.iter().map(row).collect::<Vec<_>>())
}

/// `198.51.100.9`, `198.51.100.0/24`, `198.51.100.9:5004`, `10.0.40.0/24:20000-20003`, `[2001:db8::9]:5004`.
fn end(text: &str) -> Result<End, String> {
    let wrong = || format!("`{text}` is not ADDRESS, NETWORK/PREFIX, ADDRESS:PORT or ADDRESS:LOW-HIGH");
    if let Ok(network) = network(text) {
        return Ok(End { network, port: 0, range: 1 });
    }
    let (address, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    let network = network(address).map_err(|()| wrong())?;
    let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
    let (low, high): (u16, u16) = (low.parse().map_err(|_| wrong())?, high.parse().map_err(|_| wrong())?);
    let range = high.checked_sub(low).and_then(|more| more.checked_add(1)).filter(|_| low > 0);
    Ok(End { network, port: low, range: range.ok_or_else(wrong)? })
}

fn network(text: &str) -> Result<ipnet::IpNet, ()> {
    let host = || std::net::IpAddr::from_str(text).map(ipnet::IpNet::from);
    text.parse::<ipnet::IpNet>().or_else(|_| host()).map(|network| network.trunc()).map_err(drop)
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let time = days.and_then(|days| days.checked_mul(86_400)).map(Duration::from_secs);
    let time =
        time.or_else(|| parse_time(text)).filter(|time| (Duration::from_secs(1)..=FOR_MAX).contains(time));
    time.ok_or_else(|| "a number with ms, s, m, h or d, from 1s to 36500d".into())
}

fn protocol(text: &str) -> Result<u8, String> {
    match text {
        "udp" => Ok(17),
        "tcp" => Ok(6),
        number => number.parse().map_err(|_| "udp, tcp or the number of a protocol".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        end(text).map_or_else(|_| "wrong".into(), |end| end.to_string())
    }

    #[test]
    fn ends_are_written_as_people_write_them() {
        for (text, meaning) in [
            ("198.51.100.9", "198.51.100.9"),
            ("198.51.100.9/24", "198.51.100.0/24"),
            ("198.51.100.9:5004", "198.51.100.9:5004"),
            ("10.0.40.0/24:20000-20003", "10.0.40.0/24:20000-20003"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]:5004", "[2001:db8::9]:5004"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("198.51.100.9:0", "wrong"),
            ("198.51.100.9:7-5", "wrong"),
            ("198.51.100.9:65536", "wrong"),
            ("example.net", "wrong"),
            ("", "wrong"),
        ] {
            assert_eq!(shown(text), meaning, "{text}");
        }
        assert_eq!(end("10.0.40.7:1-65535").map(|end| end.range), Ok(65_535));
    }

    #[test]
    fn times_reach_from_a_second_to_a_century() {
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(time("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["0s", "10", "ten", "99999999d", "18446744073709551615d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
