//! Requests, replies and notifications: RFC 5189 §2.2 to §2.4.

use crate::{Lifetime, Protocol, Tuple};

/// Policy rule identifier, unique per middlebox (RFC 5189 §2.1.6; SIMCO calls it PID).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prid(pub u32);

/// Policy rule group identifier, unique per middlebox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(pub u32);

/// Which way packets may pass. For TCP: which side may send the first SYN (RFC 5189 §2.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From outside to inside: A3 sends, A0 receives.
    Inbound,
    /// From inside to outside: A0 sends, A3 receives.
    Outbound,
    /// Both. Never together with a wildcard.
    Bidirectional,
}

/// Parity of an enable rule: whether A2 keeps the parity of A0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parity {
    /// No wish.
    Any,
    /// Even stays even, odd stays odd.
    Same,
}

/// Parity of the lowest port that a reservation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortParity {
    /// No wish.
    Any,
    /// Odd.
    Odd,
    /// Even, as RTP wants it.
    Even,
}

/// The NAT service a reservation asks for; a pure firewall ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatService {
    /// Traditional NAT: one side is rewritten.
    Traditional,
    /// Twice NAT: both sides are. The default where an agent has no wish (RFC 5189 §2.3.8).
    Twice,
}

/// The IP version of one side of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpVersionChoice {
    /// The middlebox chooses.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// PRR: takes what a later enable rule will need.
    Reserve {
        /// Traditional or twice NAT.
        service: NatService,
        /// IP version inside (SIMCO IPi).
        inside: IpVersionChoice,
        /// IP version outside (SIMCO IPo).
        outside: IpVersionChoice,
        /// Transport protocol.
        protocol: Protocol,
        /// Number of consecutive ports; `u16::MAX` means all.
        ports: u16,
        /// Parity of the lowest.
        parity: PortParity,
        /// Lifetime asked for.
        lifetime: Lifetime,
        /// The group to join; `None` makes a new one.
        group: Option<Gid>,
    },
    /// PER without a reservation: lets packets pass.
    Enable {
        /// Whether A2 keeps A0's parity.
        parity: Parity,
        /// Which way.
        direction: Direction,
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
        /// Lifetime asked for.
        lifetime: Lifetime,
        /// The group to join; `None` makes a new one.
        group: Option<Gid>,
    },
    /// PEA: PER on a reservation; the rule keeps its identifier and group.
    EnableReserved {
        /// The reservation.
        prid: Prid,
        /// Whether A2 keeps A0's parity.
        parity: Parity,
        /// Which way.
        direction: Direction,
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
        /// Lifetime asked for.
        lifetime: Lifetime,
    },
    /// PDR (SIMCO): forbids; outranks enable rules.
    Disable {
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
        /// Lifetime asked for.
        lifetime: Lifetime,
    },
    /// RLC (SIMCO PLC): a new lifetime; zero ends the rule.
    Lifetime {
        /// The rule.
        prid: Prid,
        /// Lifetime asked for.
        lifetime: Lifetime,
    },
    /// PRS: everything about one rule.
    Status {
        /// The rule.
        prid: Prid,
    },
    /// PRL: the rules this agent may access.
    List,
    /// How many packets rules have let pass. No RFC has it; SIMCO carries it in a message of our own, PRC
    /// (`docs/simco.md`).
    Count {
        /// The rules; none twice.
        prids: Vec<Prid>,
    },
}

/// What a middlebox answers when it did what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Reserve`].
    Reserved {
        /// The new rule.
        prid: Prid,
        /// Its group.
        group: Gid,
        /// Lifetime granted.
        lifetime: Lifetime,
        /// A2; `None` on a pure firewall, which takes no address ("protocols only" in SIMCO).
        outside: Option<Tuple>,
        /// A1, with twice NAT only.
        inside: Option<Tuple>,
    },
    /// To [`Request::Enable`] and [`Request::EnableReserved`].
    Enabled {
        /// The rule.
        prid: Prid,
        /// Its group.
        group: Gid,
        /// Lifetime granted.
        lifetime: Lifetime,
        /// A2; equals A0 on a pure firewall.
        outside: Tuple,
        /// A1; equals A3 unless twice NAT.
        inside: Option<Tuple>,
    },
    /// To [`Request::Disable`].
    Disabled {
        /// The rule.
        prid: Prid,
        /// Lifetime granted.
        lifetime: Lifetime,
    },
    /// To [`Request::Lifetime`] above zero: lifetime granted.
    Lifetime(Lifetime),
    /// To [`Request::Lifetime`] zero: the rule is gone (SIMCO PRD).
    Ended,
    /// To [`Request::Status`].
    Status(RuleStatus),
    /// To [`Request::List`].
    List(Vec<Prid>),
    /// To [`Request::Count`], in the order in which the rules were named. A rule that the agent may not access, or
    /// whose packets cannot be counted now, is left out.
    Counted(Vec<Passed>),
}

/// What one rule has let pass. Where rules share what lets packets pass, each counts the packets of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Passed {
    /// The rule.
    pub prid: Prid,
    /// Packets. It never stands still while packets pass, but may begin anew at zero.
    pub packets: u64,
}

/// What PRS tells about a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleStatus {
    /// A reservation.
    Reserved {
        /// The rule.
        prid: Prid,
        /// Its group.
        group: Gid,
        /// Remaining lifetime.
        lifetime: Lifetime,
        /// A2, as in [`Reply::Reserved`].
        outside: Option<Tuple>,
        /// The protocol it was made for; a pure firewall knows nothing more.
        protocol: Protocol,
        /// A1, with twice NAT only.
        inside: Option<Tuple>,
        /// Who made it.
        owner: String,
    },
    /// An enable rule.
    Enabled {
        /// The rule.
        prid: Prid,
        /// Its group.
        group: Gid,
        /// Parity asked for.
        parity: Parity,
        /// Which way.
        direction: Direction,
        /// A0.
        internal: Tuple,
        /// A1.
        inside: Tuple,
        /// A2.
        outside: Tuple,
        /// A3.
        external: Tuple,
        /// Remaining lifetime.
        lifetime: Lifetime,
        /// Who made it.
        owner: String,
    },
    /// A disable rule.
    Disabled {
        /// The rule.
        prid: Prid,
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
        /// Remaining lifetime.
        lifetime: Lifetime,
        /// Who made it.
        owner: String,
    },
}

/// What a middlebox says unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notification {
    /// ARE: a rule's lifetime changed; zero means it is gone (RFC 5189 §2.3.13).
    RuleEvent {
        /// The rule.
        prid: Prid,
        /// Its remaining lifetime.
        lifetime: Lifetime,
    },
    /// AST: the middlebox ends the session. Rules live on.
    SessionTermination,
}

/// What a middlebox says of itself when a session opens (RFC 5189 §2.1.6, RFC 4540 §4.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Packet filter.
    pub firewall: bool,
    /// Network address translation.
    pub nat: bool,
    /// Port translation (needs `nat`).
    pub port_translation: bool,
    /// Protocol translation (needs `nat`).
    pub protocol_translation: bool,
    /// Twice NAT (needs `nat`).
    pub twice_nat: bool,
    /// PDR is offered.
    pub disable_rules: bool,
    /// A0 may be a network.
    pub internal_wildcards: bool,
    /// A3 may be a network.
    pub external_wildcards: bool,
    /// Ports may be 0.
    pub port_wildcards: bool,
    /// Rules survive a restart of the middlebox.
    pub persistent: bool,
    /// IP versions inside.
    pub inside: IpVersions,
    /// IP versions outside.
    pub outside: IpVersions,
    /// The longest lifetime granted.
    pub lifetime_max: Lifetime,
}

/// IP versions a side can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpVersions {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Both,
}
