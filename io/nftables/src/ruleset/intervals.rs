//! Networks as disjoint intervals, because the kernel's interval sets know no overlaps.

use std::net::IpAddr;

use ipnet::IpNet;

use super::statement::Family;

/// A run of addresses, both ends included, as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interval<T> {
    pub(crate) first: u128,
    pub(crate) last: u128,
    pub(crate) value: T,
}

/// Cuts networks of one family into intervals that do not overlap. Where networks overlap the one given first wins.
/// Neighbours with equal values become one.
pub(crate) fn disjoint<T: Clone + PartialEq>(family: Family, networks: &[(IpNet, T)]) -> Vec<Interval<T>> {
    let ours: Vec<_> = networks
        .iter()
        .filter(|(network, _)| Family::of(network.addr()) == family)
        .map(|(network, value)| (number(network.network()), number(network.broadcast()), value))
        .collect();
    let mut cuts: Vec<u128> =
        ours.iter().flat_map(|(first, last, _)| [Some(*first), last.checked_add(1)]).flatten().collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut intervals: Vec<Interval<T>> = Vec::new();
    for (position, first) in cuts.iter().enumerate() {
        let Some((_, end, value)) = ours.iter().find(|(low, high, _)| low <= first && first <= high) else {
            continue;
        };
        let last = cuts.get(position + 1).map_or(*end, |next| next - 1);
        match intervals.last_mut() {
            Some(before) if before.last + 1 == *first && before.value == **value => before.last = last,
            _ => intervals.push(Interval { first: *first, last, value: (*value).clone() }),
        }
    }
    intervals
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// A number as the octets of an address.
pub(crate) fn octets(family: Family, number: u128) -> Vec<u8> {
    number.to_be_bytes()[16 - family.width()..].to_vec()
}

/// The number after the last address.
pub(crate) fn end_of(family: Family) -> u128 {
    match family {
        Family::V4 => 1 << 32,
        // No interval of IPv6 ends there as a number; the caller compares for equality only.
        Family::V6 => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(networks: &[(&str, char)]) -> String {
        let networks: Vec<_> = networks.iter().map(|(net, value)| (net.parse().unwrap(), *value)).collect();
        let intervals = disjoint(Family::V4, &networks);
        let text = |i: &Interval<char>| format!("{:x}-{:x}{}", i.first, i.last, i.value);
        intervals.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_longest_match_given_first_wins_and_splits_the_rest() {
        assert_eq!(
            cut(&[("10.0.40.0/24", 'i'), ("0.0.0.0/0", 'o'), ("2001:db8::/32", 'x')]),
            "0-a0027ffo a002800-a0028ffi a002900-ffffffffo"
        );
    }

    #[test]
    fn neighbours_and_overlaps_of_equal_value_are_joined() {
        assert_eq!(
            cut(&[("10.0.0.0/25", 'm'), ("10.0.0.128/25", 'm'), ("10.0.0.0/24", 'm')]),
            "a000000-a0000ffm"
        );
    }
}
