//! The packet: an empty-handed UDP datagram with right checksums.

use std::net::{IpAddr, SocketAddr};

const PAYLOAD: &[u8; 20] = b"postern checks a way";
const UDP: u8 = 17;
const HOPS: u8 = 64;

/// An IP packet; `None` if the ends differ in IP version.
pub(super) fn udp(source: SocketAddr, destination: SocketAddr) -> Option<Vec<u8>> {
    let length = u16::try_from(8 + PAYLOAD.len()).ok()?;
    let mut datagram = Vec::with_capacity(28);
    for field in [source.port(), destination.port(), length, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(PAYLOAD);
    let (mut packet, addresses) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let mut header = vec![0x45, 0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 1, 0, 0, HOPS, UDP, 0, 0]);
            header.extend(&addresses);
            let checksum = checksum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            (header, addresses)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([UDP, HOPS]);
            header.extend(&addresses);
            (header, addresses)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    let pseudo = [&addresses[..], &[0, UDP], &length.to_be_bytes(), &datagram].concat();
    // Zero would say "no checksum".
    let checksum = Some(checksum(&pseudo)).filter(|sum| *sum != 0).unwrap_or(u16::MAX);
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(datagram);
    Some(packet)
}

/// The Internet checksum (RFC 1071) of an even number of octets.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksummed_header_sums_to_nothing() {
        let packet = udp("198.51.100.9:17000".parse().unwrap(), "10.0.40.99:20000".parse().unwrap()).unwrap();
        assert_eq!(packet.len(), 48);
        assert_eq!(checksum(&packet[..20]), 0);
    }
}
