//! Other things on this machine that an administrator of a gate should know of. `docs/pinholes.md` §4, "Also in check".

use std::fmt;
use std::fs;
use std::io;

use crate::netlink::{Attributes, Message, Socket, be32, text, uapi};
use crate::ruleset::family_name;

const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

/// Something noteworthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A flowtable: established flows bypass the rules at forward. Ours are never tracked, so never in it.
    Flowtable(String),
    /// A SIP helper of connection tracking, which rewrites SIP on its own.
    SipHelper(String),
    /// A VRF: routes back to senders are looked up in its table.
    Vrf(String),
    /// A bridge whose packets pass the rules of IP too.
    BridgedFilter,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flowtable(name) => {
                write!(
                    f,
                    "flowtable {name}: tracked flows bypass the rules; entries of the gate are never tracked"
                )
            }
            Self::SipHelper(name) => {
                write!(f, "connection tracking helper {name} rewrites SIP: remove it, Postern does its work")
            }
            Self::Vrf(name) => {
                write!(f, "VRF {name}: name the realms' interfaces, the route back is not enough")
            }
            Self::BridgedFilter => {
                f.write_str("bridged packets pass IP rules (br_netfilter): bridges need the line as well")
            }
        }
    }
}

/// Looks for everything noteworthy in this thread's network namespace.
pub(super) fn notes(socket: &mut Socket, route: &mut Socket) -> io::Result<Vec<Note>> {
    let mut notes = Vec::new();
    named(socket, uapi::GETFLOWTABLE, |_, name| notes.push(Note::Flowtable(name)))?;
    named(socket, uapi::GETOBJ, |attributes, name| {
        let is_helper = attributes.find(uapi::OBJ_TYPE).and_then(be32) == Some(uapi::OBJECT_CT_HELPER);
        let helper = attributes.nested(uapi::OBJ_DATA).find(uapi::CT_HELPER_NAME).map(text);
        if is_helper && helper.as_deref() == Some("sip") {
            notes.push(Note::SipHelper(name));
        }
    })?;
    if switched_on("net/netfilter/nf_conntrack_helper") && fs::exists("/sys/module/nf_conntrack_sip")? {
        notes.push(Note::SipHelper("nf_conntrack_sip (automatic)".into()));
    }
    let mut bridged = false;
    links(route, |name, kind| match kind.as_str() {
        "vrf" => notes.push(Note::Vrf(name)),
        "bridge" => bridged = true,
        _ => {}
    })?;
    let filtered = ["iptables", "ip6tables"].map(|name| format!("net/bridge/bridge-nf-call-{name}"));
    if bridged && filtered.iter().any(|key| switched_on(key)) {
        notes.push(Note::BridgedFilter);
    }
    Ok(notes)
}

fn switched_on(key: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/{key}")).is_ok_and(|value| value.trim() == "1")
}

/// Objects and flowtables have their table's name first and their own second.
fn named(socket: &mut Socket, kind: u8, mut each: impl FnMut(&Attributes<'_>, String)) -> io::Result<()> {
    let question = Message::nftables(kind, uapi::NLM_F_DUMP, 0, socket.next_sequence());
    socket.ask(question, |message| {
        let attributes = message.attributes();
        let part = |kind| attributes.find(kind).map(text).unwrap_or_default();
        let family = family_name(message.family()).unwrap_or("netdev");
        each(&attributes, format!("{family} {} {}", part(uapi::OBJ_TABLE), part(uapi::OBJ_NAME)));
    })
}

fn links(route: &mut Socket, mut each: impl FnMut(String, String)) -> io::Result<()> {
    let mut question = Message::new(RTM_GETLINK, uapi::NLM_F_DUMP, route.next_sequence());
    question.attributes().raw(&[0; 16]);
    route.ask(question, |message| {
        let attributes = Attributes::new(message.payload.get(16..).unwrap_or_default());
        let kind = attributes.nested(IFLA_LINKINFO).find(IFLA_INFO_KIND).map(text);
        let name = attributes.find(IFLA_IFNAME).map(text);
        each(name.unwrap_or_default(), kind.unwrap_or_default());
    })
}
