//! The TAP interface and the redirection of what is written into it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use nix::net::if_::if_nametoindex;

use crate::netlink::{Attributes, Message, Socket, Writer, uapi};
use crate::os;

const NAME: &str = "pstcheck";
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
const IFLA_ADDRESS: u16 = 1;
const IFF_UP: u32 = 1;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const MATCHALL_ACT: u16 = 2;
const U32_SEL: u16 = 5;
const U32_ACT: u16 = 7;
const U32_TERMINAL: u8 = 1;
const ACT_KIND: u16 = 1;
const ACT_OPTIONS: u16 = 2;
const MIRRED_PARMS: u16 = 2;
const ACTION_STOLEN: u32 = 4;
const INGRESS_REDIRECT: u32 = 3;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const ALL_PROTOCOLS: u16 = 3;

/// An interface that exists as long as this value.
pub(super) struct Tap {
    file: File,
    address: [u8; 6],
}

impl Tap {
    /// Whatever is written to it comes in through `interface`.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let target =
            if_nametoindex(interface).map_err(|errno| failed("interface", interface, errno.into()))?;
        let device = "/dev/net/tun";
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(device)
            .map_err(|error| failed("cannot open", device, error))?;
        os::tap(&file, NAME).map_err(|error| failed("cannot make interface", NAME, error))?;
        let index = if_nametoindex(NAME)?;
        let mut route = Socket::route()?;
        up(&mut route, index)?;
        redirect(&mut route, index, target)
            .map_err(|error| failed("cannot redirect to", interface, error))?;
        let address = address(&mut route, index)?;
        Ok(Self { file, address })
    }

    /// Writes an IP packet as a frame to the interface itself.
    pub(super) fn write(&mut self, packet: &[u8]) -> io::Result<()> {
        let kind =
            if packet.first().is_some_and(|byte| byte >> 4 == 4) { [0x08, 0x00] } else { [0x86, 0xdd] };
        let frame = [&self.address[..], &[2, 0, 0, 0, 0, 1], &kind, packet].concat();
        self.file.write_all(&frame)
    }
}

fn failed(what: &str, which: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {which}: {error}"))
}

fn change(route: &mut Socket, kind: u16, flags: u16, fill: impl FnOnce(&mut Writer)) -> io::Result<()> {
    let mut message = Message::new(kind, flags | uapi::NLM_F_ACK, route.next_sequence());
    fill(message.attributes());
    route.ask(message, |_| {})
}

fn up(route: &mut Socket, index: u32) -> io::Result<()> {
    change(route, RTM_NEWLINK, 0, |writer| {
        writer.raw(&[0; 4]);
        writer.raw(&index.to_ne_bytes());
        writer.raw(&IFF_UP.to_ne_bytes());
        writer.raw(&IFF_UP.to_ne_bytes());
    })
}

fn redirect(route: &mut Socket, index: u32, target: u32) -> io::Result<()> {
    let flags = uapi::NLM_F_CREATE | uapi::NLM_F_EXCL;
    change(route, RTM_NEWQDISC, flags, |writer| {
        traffic_header(writer, index, CLSACT_HANDLE, CLSACT, 0);
        writer.text(TCA_KIND, "clsact");
    })?;
    // Kernels are built with the one, the other, or both.
    match filter(route, index, target, Classifier::All) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            filter(route, index, target, Classifier::Fields)
        }
        result => result,
    }
}

/// The two classifiers that can say "everything".
#[derive(Clone, Copy)]
enum Classifier {
    /// matchall.
    All,
    /// u32, with one comparison that is always true.
    Fields,
}

fn filter(route: &mut Socket, index: u32, target: u32, classifier: Classifier) -> io::Result<()> {
    let information = 1 << 16 | u32::from(ALL_PROTOCOLS.to_be());
    change(route, RTM_NEWTFILTER, uapi::NLM_F_CREATE | uapi::NLM_F_EXCL, |writer| {
        traffic_header(writer, index, 0, CLSACT_INGRESS, information);
        let (name, actions) = match classifier {
            Classifier::All => ("matchall", MATCHALL_ACT),
            Classifier::Fields => ("u32", U32_ACT),
        };
        writer.text(TCA_KIND, name);
        writer.nest(TCA_OPTIONS, |options| {
            match classifier {
                Classifier::All => {}
                Classifier::Fields => {
                    // struct tc_u32_sel: "terminal", one key; the key compares nothing under a mask of zeros.
                    let mut selector = [0; 32];
                    selector[0] = U32_TERMINAL;
                    selector[2] = 1;
                    options.bytes(U32_SEL, &selector);
                }
            }
            options.nest(actions, |actions| {
                // The first of a numbered list.
                actions.nest(1, |action| mirred(action, target));
            });
        });
    })
}

fn mirred(action: &mut Writer, target: u32) {
    action.text(ACT_KIND, "mirred");
    action.nest(ACT_OPTIONS, |options| {
        // struct tc_mirred: index, capabilities, action, two reference counts, what to do, to which interface.
        let parameters = [0, 0, ACTION_STOLEN, 0, 0, INGRESS_REDIRECT, target];
        options.bytes(MIRRED_PARMS, &parameters.map(u32::to_ne_bytes).concat());
    });
}

/// struct tcmsg.
fn traffic_header(writer: &mut Writer, index: u32, handle: u32, parent: u32, information: u32) {
    writer.raw(&[0; 4]);
    for field in [index, handle, parent, information] {
        writer.raw(&field.to_ne_bytes());
    }
}

/// The interface's own hardware address: frames to it are ours to route.
fn address(route: &mut Socket, index: u32) -> io::Result<[u8; 6]> {
    let mut question = Message::new(RTM_GETLINK, uapi::NLM_F_ACK, route.next_sequence());
    let writer = question.attributes();
    writer.raw(&[0; 4]);
    writer.raw(&index.to_ne_bytes());
    writer.raw(&[0; 8]);
    let mut address = None;
    route.ask(question, |message| {
        let attributes = Attributes::new(message.payload.get(16..).unwrap_or_default());
        address = attributes.find(IFLA_ADDRESS).and_then(|value| value.try_into().ok()).or(address);
    })?;
    address.ok_or_else(|| io::Error::other("the test interface has no address"))
}
