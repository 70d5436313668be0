//! What the gate must know: plain data, checked before it comes here.

use std::net::SocketAddr;

use middlebox::{Nat, Realms, Transport};

/// The bit (or bits) by which the administrator's rules recognise packets that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What the masked mark of such a packet is; never 0, and within `mask`.
    pub value: u32,
    /// The bits that are ours to clear and to set; we touch no others.
    pub mask: u32,
}

impl Mark {
    /// A mark of its own mask.
    #[must_use]
    pub fn bit(bit: u32) -> Self {
        Self { value: bit, mask: bit }
    }
}

/// Clear of mwan3, Cilium, Tailscale and kube-proxy.
impl Default for Mark {
    fn default() -> Self {
        Self::bit(0x0100_0000)
    }
}

/// Whether the gate acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It marks what may pass and drops the rest of what it manages.
    #[default]
    Enforce,
    /// It counts what it would let in and what it would drop, and changes nothing on any packet.
    Observe,
}

/// Everything about a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// Who lives where; the machine must have been given the same.
    pub realms: Realms,
    /// The outside addresses, where addresses are translated; the machine must have been given the same.
    pub nat: Nat,
    /// See [`Mark`].
    pub mark: Mark,
    /// See [`Mode`].
    pub mode: Mode,
    /// Whether phones or a PBX live on this very host: what it sends itself passes the same entries and the same drops.
    pub local: bool,
    /// The DSCP that packets get which an entry lets pass, 0 to 63 (RFC 2474 §3); `None` leaves it as it came.
    pub dscp: Option<u8>,
    /// How many octets a second one entry lets pass, IP headers included, and twice as many at once; `None` for any number.
    pub cap: Option<u32>,
    /// Where SIP is served on this host, by transport: what [`crate::Nft::ban`] keeps away from. Empty: nobody can be banned.
    pub sip: Vec<(Transport, SocketAddr)>,
    /// How many entries each set may hold; the next one is refused as [`middlebox::EngineFailure::Full`].
    pub entries_max: u32,
}

impl GateConfig {
    /// The usual gate for these realms: default mark, room for a million entries per set.
    #[must_use]
    pub fn new(realms: Realms) -> Self {
        let (nat, mark) = (Nat::default(), Mark::default());
        Self {
            realms,
            nat,
            mark,
            mode: Mode::Enforce,
            local: false,
            dscp: None,
            cap: None,
            sip: Vec::new(),
            entries_max: 1 << 20,
        }
    }
}
