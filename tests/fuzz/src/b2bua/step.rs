//! What an input can make happen.
//!
//! | step | behind it |
//! |---|---|
//! | `INVITE` | who (bit 0), TCP (bit 1); body; bits |
//! | `RESPOND` | who; to which request; status; body; bits |
//! | `REQUEST` | who; in which dialog; method; body; bits |
//! | `ACK` | who; to which response; body |
//! | `CANCEL`, `AGAIN` | who; which |
//! | `MUTATE` | where (two octets), how, how much: the next message that is sent is not as it should be |
//! | `HEADER` | which: the next message has one more field |
//! | `RAW` | who; how many octets follow |
//! | `MIDCOM` | which open request; what the answer is |
//! | `EVENT` | which rule; lifetime |
//! | `LINK` | which middlebox (bit 0); up, or down (bit 2) without (bit 1) having done what was asked |
//! | `TIME` | how long |
//! | `KICK` | which call |
//! | `RESOLVED` | how many addresses |
//! | `BROKEN` | who (bit 0), TCP (bit 1) |

use std::time::Duration;

use b2bua::Input;
use bytes::Bytes;
use midcom::{Lifetime, Notification, Prid};

use super::phone::{EXTRA, METHODS, STATUS, Shape};
use super::world::World;
use crate::reader::{Reader, choose, recent};

pub(super) const INVITE: u8 = 0;
pub(super) const RESPOND: u8 = 1;
pub(super) const REQUEST: u8 = 2;
pub(super) const ACK: u8 = 3;
pub(super) const CANCEL: u8 = 4;
pub(super) const AGAIN: u8 = 5;
pub(super) const MUTATE: u8 = 6;
pub(super) const HEADER: u8 = 7;
pub(super) const RAW: u8 = 8;
pub(super) const MIDCOM: u8 = 9;
pub(super) const EVENT: u8 = 10;
pub(super) const LINK: u8 = 11;
pub(super) const TIME: u8 = 12;
pub(super) const KICK: u8 = 13;
pub(super) const SHUTDOWN: u8 = 14;
pub(super) const RESOLVED: u8 = 15;
pub(super) const BROKEN: u8 = 16;
const STEPS: u8 = 17;

/// Milliseconds.
pub(super) const TIMES: [u64; 12] =
    [0, 1, 100, 500, 1_000, 2_000, 5_000, 10_000, 33_000, 190_000, 400_000, 4_000_000];

/// What the next message has that it should not have.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    header: Option<u8>,
    mutation: Option<(u16, u8, u8)>,
}

impl Oddities {
    fn apply(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        if let Some(number) = self.header.take() {
            let line = format!("{}\r\n", choose(&EXTRA, number));
            let at = bytes.windows(2).position(|pair| pair == b"\r\n").map_or(0, |end| end + 2);
            bytes.splice(at..at, line.into_bytes());
        }
        if let Some((place, how, much)) = self.mutation.take() {
            let at = usize::from(place) % (bytes.len() + 1);
            let end = (at + usize::from(much)).min(bytes.len());
            match how {
                0..32 => drop(bytes.drain(at..end)),
                32..64 => bytes.truncate(at),
                64..96 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                96..128 => bytes[at..end].iter_mut().for_each(|byte| *byte ^= 1 << (how & 7)),
                _ => {
                    let words = crate::sip_message::TARGET.words;
                    bytes.splice(at..at, choose(words, how).iter().copied());
                }
            }
        }
        bytes
    }
}

impl World {
    /// Lets one thing happen.
    pub(super) fn step(&mut self, reader: &mut Reader<'_>) {
        match reader.octet() % STEPS {
            INVITE => {
                let flags = reader.octet();
                let shape = Shape { body: reader.octet(), bits: reader.octet() };
                let text = self.phone(flags).invite(flags & 2 != 0, shape);
                self.send(flags, text);
            }
            RESPOND => {
                let (flags, which, status) = (reader.octet(), reader.octet(), reader.octet());
                let shape = Shape { body: reader.octet(), bits: reader.octet() };
                let text = self.phone(flags).response(which, *choose(&STATUS, status), shape);
                text.into_iter().for_each(|text| self.send(flags, text));
            }
            REQUEST => {
                let (flags, which, method) = (reader.octet(), reader.octet(), reader.octet());
                let shape = Shape { body: reader.octet(), bits: reader.octet() };
                let text = self.phone(flags).request(which, choose::<&str>(&METHODS, method), shape);
                text.into_iter().for_each(|text| self.send(flags, text));
            }
            ACK => {
                let (flags, which) = (reader.octet(), reader.octet());
                let shape = Shape { body: reader.octet(), bits: 0 };
                let text = self.phone(flags).ack(which, shape);
                text.into_iter().for_each(|text| self.send(flags, text));
            }
            CANCEL => {
                let (flags, which) = (reader.octet(), reader.octet());
                if let Some((hop, text)) = self.phone(flags).cancel(which) {
                    self.send_to(flags, hop, text.as_bytes());
                }
            }
            AGAIN => {
                let (flags, which) = (reader.octet(), reader.octet());
                if let Some((hop, bytes)) = recent(&self.phone(flags).sent, which).cloned() {
                    self.send_to(flags, hop, &bytes);
                }
            }
            MUTATE => {
                self.oddities.mutation = Some((reader.number(), reader.octet(), reader.octet()));
            }
            HEADER => self.oddities.header = Some(reader.octet()),
            RAW => {
                let (flags, len) = (reader.octet(), reader.octet());
                let bytes = reader.take(len.into());
                let hop = self.hop(flags);
                self.send_to(flags, hop, bytes);
            }
            other => self.step_beside(other, reader),
        }
    }

    /// What happens that is no SIP message.
    fn step_beside(&mut self, step: u8, reader: &mut Reader<'_>) {
        match step {
            MIDCOM => {
                let (which, how) = (reader.octet(), reader.octet());
                self.answer(which, how);
            }
            EVENT => {
                let (which, lifetime) = (reader.octet(), reader.octet());
                self.rule_event(which, Lifetime(lifetime.into()));
            }
            LINK => {
                let how = reader.octet();
                let number = usize::from(how & 1) % self.firewalls.len();
                if how & 4 == 0 { self.link_up(number) } else { self.link_down(number, how & 2 == 0) }
            }
            TIME => {
                let time = *choose(&TIMES, reader.octet());
                self.pass(Duration::from_millis(time));
            }
            KICK => {
                let which = usize::from(reader.octet());
                let calls: Vec<_> = self.b2bua.calls().map(|call| call.id).collect();
                if !calls.is_empty() {
                    self.handle(Input::Kick { call: *choose(&calls, which) });
                }
            }
            SHUTDOWN => self.handle(Input::Shutdown),
            RESOLVED => {
                let count = reader.octet();
                self.resolve(count % 3);
            }
            _ => {
                let hop = self.hop(reader.octet());
                self.excuse(hop);
                self.handle(Input::TransportFailed { hop });
            }
        }
    }

    fn send(&mut self, flags: u8, text: String) {
        let hop = self.hop(flags);
        self.send_to(flags, hop, text.as_bytes());
    }

    fn send_to(&mut self, flags: u8, hop: sip::transport::Hop, text: &[u8]) {
        let bytes = Bytes::from(self.oddities.apply(text));
        self.track(hop, &bytes);
        self.phone(flags).sent.push((hop, bytes.clone()));
        self.handle(Input::Message { hop, bytes });
    }

    /// A middlebox changes the lifetime of a rule by itself, one of its own or one nobody knows.
    fn rule_event(&mut self, which: u8, lifetime: Lifetime) {
        let number = usize::from(which & 1) % self.firewalls.len();
        let rules: Vec<Prid> = self.firewalls[number].rules.keys().copied().collect();
        let prid = if rules.is_empty() { Prid(77) } else { *choose(&rules, which >> 1) };
        let firewall = &mut self.firewalls[number];
        if lifetime == Lifetime::END {
            firewall.rules.remove(&prid);
        } else if let Some(ends) = firewall.rules.get_mut(&prid) {
            *ends = self.now + Duration::from_secs(lifetime.0.into());
        }
        if self.firewalls[number].up {
            self.notify(number, Notification::RuleEvent { prid, lifetime });
        }
    }
}
