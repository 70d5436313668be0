//! Middleboxes as they are configured for the cases of `tests/simco-peer`.

/// A middlebox as it is configured for the cases.
pub(crate) struct Subject {
    pub(crate) config: &'static str,
    pub(crate) lifetime_max: u32,
    /// An address of its `deny`.
    pub(crate) denied: &'static str,
    /// IIV and EIV (RFC 4540 §4.3.3).
    pub(crate) versions: [u8; 2],
    /// Whether its agents have rights of their own.
    pub(crate) rights: bool,
    /// How its agents are known beyond their addresses.
    pub(crate) way: Way,
}

/// How the two ends know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the connection alone.
    Plain,
    /// By secrets, over plain TCP.
    Secret,
    /// By certificates.
    Tls,
    /// By both.
    TlsWithSecret,
}

impl Way {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsWithSecret)
    }

    pub(crate) fn has_secrets(self) -> bool {
        matches!(self, Self::Secret | Self::TlsWithSecret)
    }
}

pub(crate) const LARGE: Subject = Subject {
    config: r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24", "2001:db8:b::/64"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[middlebox]
listen = ["198.51.100.1:7626", "[2001:db8:a::1]:7626"]
peers = ["198.51.100.20", "198.51.100.21", "2001:db8:a::20"]
deny = ["10.0.40.66"]
max-lifetime = "2h"
"#,
    lifetime_max: 7200,
    denied: "10.0.40.66",
    versions: [3, 3],
    rights: false,
    way: Way::Plain,
};

/// Agents with rights of their own: the first may disable, one is kept short, one sees everything.
pub(crate) const GUARDED: Subject = Subject {
    config: r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24", "2001:db8:b::/64"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[middlebox]
listen = ["198.51.100.1:7626"]
peers = ["198.51.100.21"]
deny = ["10.0.40.66"]
max-lifetime = "2h"

[middlebox.agent.first]
peers = ["198.51.100.20"]
disable = true

[middlebox.agent.bound]
peers = ["198.51.100.24"]
internal = ["10.0.40.20"]
ports = "20000-20009"
max-rules = 1
max-lifetime = "30s"

[middlebox.agent.warden]
peers = ["198.51.100.23"]
administer = true
"#,
    lifetime_max: 7200,
    denied: "10.0.40.66",
    versions: [3, 3],
    rights: true,
    way: Way::Plain,
};

/// One with a public address for everybody inside.
pub(crate) const TRANSLATING: Subject = Subject {
    config: r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24", "2001:db8:b::/64"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[middlebox]
listen = ["198.51.100.1:7626"]
peers = ["198.51.100.21"]
max-lifetime = "2h"
nat-addresses = ["198.51.100.1"]
nat-ports = "24000-24399"

[middlebox.agent.first]
peers = ["198.51.100.20"]
disable = true
"#,
    lifetime_max: 7200,
    denied: "10.0.40.66",
    versions: [3, 3],
    rights: false,
    way: Way::Plain,
};

pub(crate) const SMALL: Subject = Subject {
    config: r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[middlebox]
listen = ["198.51.100.1:7626"]
peers = ["198.51.100.20", "198.51.100.21"]
deny = ["::/0", "198.51.100.66"]
max-rules = 2
max-lifetime = "10s"
"#,
    lifetime_max: 10,
    denied: "198.51.100.66",
    versions: [1, 3],
    rights: false,
    way: Way::Plain,
};

/// Agents that have to prove who they are: two from their addresses, two from anywhere; one that need not.
pub(crate) const PROVEN: Subject = Subject {
    config: r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24", "2001:db8:b::/64"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[middlebox]
listen = ["198.51.100.1:7626"]
max-lifetime = "2h"

[middlebox.agent.own]
peers = ["198.51.100.20"]
secret = "FOLDER/own.secret"

[middlebox.agent.other]
peers = ["198.51.100.21"]
secret = "FOLDER/other.secret"

[middlebox.agent.plain]
peers = ["198.51.100.23"]

[middlebox.agent.roamer]
secret = "FOLDER/roamer.secret"

[middlebox.agent.wanderer]
secret = "FOLDER/wanderer.secret"
"#,
    lifetime_max: 7200,
    denied: "10.0.40.66",
    versions: [3, 3],
    rights: false,
    way: Way::Secret,
};

/// The same agents over TLS: those with a place in the file are known by their certificates as well.
pub(crate) const BOTH: Subject = Subject {
    config: r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24", "2001:db8:b::/64"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[middlebox]
listen = ["tls:198.51.100.1:7626"]
certificate = "FOLDER/middlebox.pem"
key = "FOLDER/middlebox.key"
client-ca = "FOLDER/ca.pem"
max-lifetime = "2h"

[middlebox.agent.own]
certificates = ["own.example.net"]
secret = "FOLDER/own.secret"

[middlebox.agent.other]
certificates = ["other.example.net"]
secret = "FOLDER/other.secret"

[middlebox.agent.plain]
certificates = ["plain.example.net"]

[middlebox.agent.roamer]
secret = "FOLDER/roamer.secret"

[middlebox.agent.wanderer]
secret = "FOLDER/wanderer.secret"
"#,
    lifetime_max: 7200,
    denied: "10.0.40.66",
    versions: [3, 3],
    rights: false,
    way: Way::TlsWithSecret,
};

/// As the large one, over TLS.
pub(crate) const ENCRYPTED: Subject = Subject {
    config: r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24", "2001:db8:b::/64"]

[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"

[middlebox]
listen = ["tls:198.51.100.1:7626", "tls:[2001:db8:a::1]:7626"]
certificate = "FOLDER/middlebox.pem"
key = "FOLDER/middlebox.key"
client-ca = "FOLDER/ca.pem"
deny = ["10.0.40.66"]
max-lifetime = "2h"

[middlebox.agent.own]
certificates = ["own.example.net"]

[middlebox.agent.other]
certificates = ["other.example.net"]
"#,
    lifetime_max: 7200,
    denied: "10.0.40.66",
    versions: [3, 3],
    rights: false,
    way: Way::Tls,
};
