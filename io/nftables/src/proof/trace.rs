//! Who dropped the packet: the kernel's own report about a packet marked for tracing.

use std::io;

use crate::netlink::{Received, Socket, be32, text, uapi};
use crate::ruleset::family_name;

/// Listens to what becomes of traced packets.
pub(super) struct Trace {
    socket: Socket,
}

impl Trace {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::netfilter(uapi::NFTABLES_TRACES)? })
    }

    /// The rule or the policy that dropped the last packet heard of, if one did.
    pub(super) fn dropper(&mut self) -> Option<String> {
        let mut found = None;
        // A report that was lost is only a hint that was lost.
        while let Ok(Some(messages)) = self.socket.event() {
            found = messages.filter_map(|message| dropped(&message)).last().or(found);
        }
        found
    }
}

fn dropped(message: &Received<'_>) -> Option<String> {
    if message.kind != uapi::nftables(uapi::TRACE) {
        return None;
    }
    let attributes = message.attributes();
    let number = |kind| attributes.find(kind).and_then(be32);
    let (table, chain) =
        (text(attributes.find(uapi::TRACE_TABLE)?), text(attributes.find(uapi::TRACE_CHAIN)?));
    let place = format!("table {} {table}, chain {chain}", family_name(message.family()).unwrap_or("?"));
    let verdict = attributes.nested(uapi::TRACE_VERDICT).find(uapi::VERDICT_CODE).and_then(be32);
    match number(uapi::TRACE_TYPE)? {
        uapi::TRACE_TYPE_POLICY if number(uapi::TRACE_POLICY) == Some(uapi::DROP) => {
            Some(format!("the policy of {place}"))
        }
        uapi::TRACE_TYPE_RULE if verdict == Some(uapi::DROP) => {
            let handle = attributes.find(uapi::TRACE_RULE_HANDLE).and_then(crate::netlink::be64);
            Some(format!("the rule with handle {} of {place}", handle.unwrap_or(0)))
        }
        _ => None,
    }
}
