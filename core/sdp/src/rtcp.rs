//! Where RTCP goes: RFC 3550 §11, the `rtcp` attribute of RFC 3605, `rtcp-mux` of RFC 5761, and `rtcp-mux-only`.

use std::net::IpAddr;

use crate::Why;
use crate::flows::connection_address;
use crate::line::{Lines, port};
use crate::media::Rtcp;

/// What a stream's attributes say about RTCP.
pub(crate) struct Attributes {
    /// `a=rtcp`: the port, and the address if it names one.
    pub(crate) explicit: Option<(u16, Option<IpAddr>)>,
    /// RTCP may share RTP's port.
    pub(crate) mux: bool,
    /// RTCP shares RTP's port, whatever the other side says.
    only_mux: bool,
}

impl Attributes {
    //= RFC 3605 §2.1: a media-level attribute; one at session level means nothing and is not looked at.
    pub(crate) fn parse(lines: Lines<'_>) -> Result<Self, Why> {
        let mut found = Self { explicit: None, mux: false, only_mux: false };
        for line in lines {
            let only = line.attribute("rtcp-mux-only").is_some();
            found.only_mux |= only;
            // Who can do nothing else says rtcp-mux too, or means it.
            found.mux |= only || line.attribute("rtcp-mux").is_some();
            if let Some(value) = line.attribute("rtcp") {
                let explicit = explicit(value)?;
                if found.explicit.replace(explicit).is_some() {
                    return Err(Why::MalformedRtcp);
                }
            }
        }
        Ok(found)
    }

    /// Where RTCP is received for RTP at `stream` and `rtp`.
    pub(crate) fn place(&self, stream: IpAddr, rtp: u16) -> Result<Option<Rtcp>, Why> {
        if self.only_mux {
            return Ok(None);
        }
        let (port, address) = match self.explicit {
            Some((port, other)) => (port, other.unwrap_or(stream)),
            //= RFC 3605 §2.1: without the attribute RTCP uses the next higher port.
            None => (rtp.checked_add(1).ok_or(Why::ImpossiblePorts)?, stream),
        };
        if address.is_ipv4() != stream.is_ipv4() {
            return Err(Why::MalformedRtcp);
        }
        // The same number on another host is a port of its own.
        let of_its_own = port != 0 && (address, port) != (stream, rtp) && !address.is_unspecified();
        Ok(of_its_own.then_some(Rtcp { address, port }))
    }
}

/// `port [SP nettype SP addrtype SP connection-address]`.
fn explicit(value: &[u8]) -> Result<(u16, Option<IpAddr>), Why> {
    let mut parts = value.splitn(2, |byte| *byte == b' ');
    let port = parts.next().and_then(port).ok_or(Why::MalformedRtcp)?;
    let address = parts.next().filter(|rest| rest.iter().any(|byte| *byte != b' '));
    Ok((port, address.map(connection_address).transpose()?))
}
