//! Kinds of values: how each is written, checked and described.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::problem::{Problems, did_you_mean};

/// A kind of value.
pub(crate) trait Kind: Debug {
    /// What it becomes.
    type Value;
    /// Reads one value; `None` after a complaint.
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self::Value>;
    /// Type, unit and range in words, for documentation and complaints.
    fn describe(&self) -> String;
}

/// True or false.
#[derive(Debug)]
pub(crate) struct Bool;

impl Kind for Bool {
    type Value = bool;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<bool> {
        value.get_ref().as_bool().or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        "true or false".into()
    }
}

/// A whole number. `unit` is what is counted; empty for a bare number.
#[derive(Debug)]
pub(crate) struct Integer {
    pub range: RangeInclusive<u32>,
    pub unit: &'static str,
}

impl Kind for Integer {
    type Value = u32;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<u32> {
        let number = value.get_ref().as_integer().and_then(|integer| {
            i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
        });
        number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| self.range.contains(number))
            .or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" of {}", self.unit) };
        format!("number{unit}, {} to {}", self.range.start(), self.range.end())
    }
}

/// A status code for a failure of ours (RFC 3261 §21.4 to §21.6).
#[derive(Debug)]
pub(crate) struct FailureCode;

impl FailureCode {
    /// What a code that is none for that would mean.
    fn misleads(code: u32) -> Option<&'static str> {
        Some(match code {
            401 | 407 => "it asks the phone for credentials",
            405 | 415 | 420 | 421 | 422 | 423 | 424 | 428 | 429 | 489 | 494 => {
                "it says what the request lacks, in a header field of its own"
            }
            408 | 481 => "inside a call it says that the call is over (RFC 5057)",
            482 | 483 => "it speaks of a loop",
            484 | 485 => "it asks for another number",
            487 => "it says that the caller has given up",
            491 => "phones try again at once (RFC 3261 §14.1)",
            503 => "whoever sends us calls would stop sending any (RFC 3261 §21.5.4)",
            _ => return None,
        })
    }
}

impl Kind for FailureCode {
    type Value = u16;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<u16> {
        let all = Integer { range: 400..=699, unit: "" };
        let Some(code) = value.get_ref().as_integer().and_then(|_| all.read(value, &mut Problems::default()))
        else {
            return complain(self, value, problems);
        };
        match Self::misleads(code) {
            Some(why) => {
                problems.push(
                    value.span(),
                    format!("{code} cannot stand for a failure of the firewall"),
                    why.to_owned(),
                );
                None
            }
            None => u16::try_from(code).ok(),
        }
    }
    fn describe(&self) -> String {
        "status code, 400 to 699, but none that means something else".into()
    }
}

/// One bit of a packet mark.
#[derive(Debug)]
pub(crate) struct MarkBit;

impl Kind for MarkBit {
    type Value = u32;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<u32> {
        let number = Integer { range: 1..=u32::MAX, unit: "" }.read(value, problems)?;
        if number.is_power_of_two() {
            return Some(number);
        }
        complain(self, value, problems)
    }
    fn describe(&self) -> String {
        "number with exactly one bit set, 0x1 to 0x80000000".into()
    }
}

/// A length of time with its unit.
#[derive(Debug)]
pub(crate) struct Time {
    pub range: RangeInclusive<Duration>,
}

impl Kind for Time {
    type Value = Duration;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Duration> {
        value
            .get_ref()
            .as_str()
            .and_then(parse_time)
            .filter(|time| self.range.contains(time))
            .or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        format!(
            "time with unit (ms, s, m, h), \"{}\" to \"{}\"",
            time_text(*self.range.start()),
            time_text(*self.range.end())
        )
    }
}

pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let millis = match text.get(digits..)? {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _other => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// As it would be written in the file.
pub(crate) fn time_text(time: Duration) -> String {
    let millis = time.as_millis();
    match millis {
        0 => "0s".into(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// One word of a list.
#[derive(Debug)]
pub(crate) struct OneOf<T: 'static> {
    pub words: &'static [(&'static str, T)],
}

impl<T: Copy + Debug> Kind for OneOf<T> {
    type Value = T;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<T> {
        let Some(word) = value.get_ref().as_str() else { return complain(self, value, problems) };
        if let Some((_, meaning)) = self.words.iter().find(|(known, _)| *known == word) {
            return Some(*meaning);
        }
        let title = format!("`{word}` is not one of the words allowed here");
        match did_you_mean(word, self.words.iter().map(|(known, _)| *known)) {
            Some(near) => {
                problems.push_with_help(
                    value.span(),
                    title,
                    self.describe(),
                    format!("did you mean \"{near}\"?"),
                );
            }
            None => problems.push(value.span(), title, self.describe()),
        }
        None
    }
    fn describe(&self) -> String {
        self.words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
    }
}

/// One word of a list, kept as it is written.
#[derive(Debug)]
pub(crate) struct Word {
    pub words: &'static [&'static str],
}

impl Kind for Word {
    type Value = String;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<String> {
        let word = value.get_ref().as_str().filter(|word| self.words.contains(word));
        word.map(str::to_owned).or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        self.words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
    }
}

/// A length of time, or `"off"`.
#[derive(Debug)]
pub(crate) struct OrOff(pub Time);

impl Kind for OrOff {
    type Value = Option<Duration>;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self::Value> {
        if value.get_ref().as_str() == Some("off") {
            return Some(None);
        }
        let time = value.get_ref().as_str().and_then(parse_time).filter(|time| self.0.range.contains(time));
        time.map(Some).or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        format!("\"off\" or {}", self.0.describe())
    }
}

/// A list of the second kind, or one value of the first.
#[derive(Debug)]
pub(crate) struct Either<K, L>(pub K, pub L);

/// What was written where either kind may stand.
#[derive(Debug)]
pub(crate) enum Chosen<K, L> {
    /// A value of the first kind.
    One(K),
    /// A list.
    Other(L),
}

impl<K: Kind, L: Kind> Kind for Either<K, L> {
    type Value = Chosen<K::Value, L::Value>;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self::Value> {
        match value.get_ref() {
            DeValue::Array(_) => self.1.read(value, problems).map(Chosen::Other),
            DeValue::String(_) => self.0.read(value, problems).map(Chosen::One),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => complain(self, value, problems),
        }
    }
    fn describe(&self) -> String {
        format!("{}, or a {}", self.0.describe(), self.1.describe())
    }
}

/// Free text that is not empty. `what` says what it names.
#[derive(Debug)]
pub(crate) struct Text {
    pub what: &'static str,
}

impl Kind for Text {
    type Value = String;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<String> {
        let text =
            value.get_ref().as_str().filter(|text| !text.is_empty() && !text.contains(char::is_control));
        text.map(str::to_owned).or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        self.what.into()
    }
}

/// An absolute path.
#[derive(Debug)]
pub(crate) struct AbsolutePath;

impl Kind for AbsolutePath {
    type Value = PathBuf;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<PathBuf> {
        let path = value.get_ref().as_str().map(PathBuf::from).filter(|path| path.is_absolute());
        path.or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        "absolute path".into()
    }
}

/// The name of a realm; whether it exists is checked where all realms are known.
#[derive(Debug)]
pub(crate) struct Place<K>(pub K);

impl<K: Kind> Kind for Place<K> {
    type Value = (K::Value, std::ops::Range<usize>);
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self::Value> {
        self.0.read(value, problems).map(|inner| (inner, value.span()))
    }
    fn describe(&self) -> String {
        self.0.describe()
    }
}

/// An address with a prefix length, or a single address.
#[derive(Debug)]
pub(crate) struct Network;

impl Kind for Network {
    type Value = IpNet;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<IpNet> {
        let text = value.get_ref().as_str().unwrap_or_default();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        let Some(network) = network else { return complain(self, value, problems) };
        if network.trunc() != network {
            problems.push_with_help(
                value.span(),
                format!("{network} has bits set behind its prefix"),
                "an address of a host, not of a network",
                format!("the network is \"{}\"; one host is \"{}\"", network.trunc(), network.addr()),
            );
            return None;
        }
        Some(network)
    }
    fn describe(&self) -> String {
        "network such as \"10.0.40.0/24\"".into()
    }
}

/// One IP address.
#[derive(Debug)]
pub(crate) struct Address;

impl Kind for Address {
    type Value = IpAddr;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<IpAddr> {
        let address = value.get_ref().as_str().and_then(|text| text.parse().ok());
        address.or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        "IP address such as \"192.0.2.7\"".into()
    }
}

/// An address with a port.
#[derive(Debug)]
pub(crate) struct AddressAndPort;

impl Kind for AddressAndPort {
    type Value = SocketAddr;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<SocketAddr> {
        let address = value.get_ref().as_str().and_then(|text| text.parse().ok());
        address.or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        "IP address with port such as \"192.0.2.1:7626\" or \"[2001:db8::1]:7626\"".into()
    }
}

/// A range of ports, `low-high`.
#[derive(Debug)]
pub(crate) struct Ports {
    pub min: u16,
}

impl Kind for Ports {
    type Value = RangeInclusive<u16>;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<RangeInclusive<u16>> {
        let range = value.get_ref().as_str().and_then(|text| {
            let (low, high) = text.split_once('-')?;
            Some(low.trim().parse().ok()?..=high.trim().parse().ok()?)
        });
        range
            .filter(|range| *range.start() >= self.min && range.start() <= range.end())
            .or_else(|| complain(self, value, problems))
    }
    fn describe(&self) -> String {
        format!("range of ports \"LOW-HIGH\", {} to 65535", self.min)
    }
}

/// A list, at most `max` long.
#[derive(Debug)]
pub(crate) struct List<K> {
    pub of: K,
    pub max: usize,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self::Value> {
        let Some(array) = value.get_ref().as_array() else { return complain(self, value, problems) };
        if array.len() > self.max {
            return complain(self, value, problems);
        }
        let before = problems.len();
        let list = array.iter().filter_map(|element| self.of.read(element, problems)).collect();
        (problems.len() == before).then_some(list)
    }
    fn describe(&self) -> String {
        format!("list of at most {}: {}", self.max, self.of.describe())
    }
}

/// The usual complaint: what was found, what is wanted.
pub(super) fn complain<T>(
    kind: &impl Kind,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems,
) -> Option<T> {
    let found = match value.get_ref() {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(_) => "this list".into(),
        DeValue::Table(_) => "this table".into(),
    };
    problems.push(value.span(), format!("{found} does not fit here"), format!("wanted: {}", kind.describe()));
    None
}
