//! Bans in the kernel, for the agent half of this machine: it has a socket of its own, on which it can ask for nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use admission::Source;
use ipnet::IpNet;
use machine::Instant;
use nix::unistd::Uid;
use tokio::sync::mpsc;

use super::Gate;
use crate::admin::protocol::{Answer, Ban, BanLine, Bans, Request};
use crate::admin::server::Question;
use crate::admin::{protocol, server};
use crate::config::{Config, Host, NextHop, Then};
use crate::log;
use crate::runtime::unix::{self, Whose};
use crate::sandbox::Identity;

/// What the kernel was told, so that it can be told again.
pub(super) struct Banned {
    /// What the agent half asks.
    pub(super) questions: mpsc::Receiver<Question>,
    until: BTreeMap<IpNet, Instant>,
    /// Somebody may have taken our table away.
    pub(super) disturbed: bool,
}

/// Opens the socket of bans.
pub(super) fn listen(config: &Config, agent: &Identity) -> Result<UnixListener, String> {
    unix::listen(&protocol::bans_socket(&config.run_dir), Some(agent.uid), Whose::Owners)
}

impl Banned {
    /// Serves it.
    pub(super) fn serve(socket: UnixListener, agent: &Identity) -> Result<Self, String> {
        let questions = server::serve(socket, vec![Uid::effective().as_raw(), agent.uid.as_raw()])
            .map_err(|error| format!("cannot serve bans: {error}"))?;
        Ok(Self { questions, until: BTreeMap::new(), disturbed: false })
    }
}

impl Gate {
    /// Answers the agent half.
    pub(super) fn asked_of_bans(&mut self, now: Instant, question: Question) {
        let answer = match question.request {
            Request::Bans => self.bans(),
            Request::Ban(ban) => self.ban(now, ban),
            Request::Unban { source } => self.unban(source),
            _anything_else => Answer::Error("only bans are asked for here".into()),
        };
        // One who no longer waits for the answer does not need it.
        let _ = question.reply.try_send(answer);
    }

    /// All bans that the kernel has.
    pub(super) fn bans(&mut self) -> Answer {
        let line = |ban: nftables::Ban| BanLine {
            source: ban.source,
            remaining_s: ban.remaining.as_secs(),
            why: String::new(),
            packets: Some(ban.packets),
        };
        match self.engine.bans() {
            Ok(bans) => Answer::of(&Bans { bans: bans.into_iter().map(line).collect() }),
            Err(error) => Answer::Error(error.to_string()),
        }
    }

    fn ban(&mut self, now: Instant, ban: Ban) -> Answer {
        // The agent half knows that too; this half believes nobody.
        // What the kernel would ban, however it was spelt.
        let source = Source::of(ban.source.addr());
        if let Some(spared) = source.part_of(never_banned(&self.config)) {
            return Answer::Error(format!("{source}: {spared} is never banned"));
        }
        let lasts = Duration::from_secs(ban.lasts_s);
        match self.engine.ban(ban.source.addr(), lasts) {
            Ok(()) => {
                self.banned.until.retain(|_, until| now < *until);
                self.banned.until.insert(source.network(), now + lasts);
                Answer::of(&Ban { source: source.network(), ..ban })
            }
            Err(error) => Answer::Error(error.to_string()),
        }
    }

    fn unban(&mut self, source: IpNet) -> Answer {
        let source = Source::of(source.addr()).network();
        self.banned.until.remove(&source);
        match self.engine.unban(source.addr()) {
            Ok(()) => Answer::of(&source),
            Err(error) => Answer::Error(error.to_string()),
        }
    }

    /// Tells the kernel again, if somebody may have taken what it knew.
    pub(super) fn ban_again(&mut self, now: Instant) {
        if !std::mem::take(&mut self.banned.disturbed) {
            return;
        }
        self.banned.until.retain(|_, until| now < *until);
        for (source, until) in &self.banned.until {
            if let Err(error) = self.engine.ban(source.addr(), until.since(now)) {
                return log::warn(format_args!("bans are lost: {error}"));
            }
        }
    }
}

/// What is never banned.
fn never_banned(config: &Config) -> impl Iterator<Item = IpNet> + '_ {
    let next_hops = config.routes.iter().flat_map(|route| match &route.then {
        Then::Call { next_hops, .. } => next_hops.as_slice(),
        Then::Registered { .. } | Then::Refuse { .. } => &[],
    });
    let address = |next_hop: &NextHop| match &next_hop.host {
        Host::Address(address) => Some(*address),
        Host::Name(_) => None,
    };
    let trunks = config.trunks.iter();
    let addresses = next_hops.chain(trunks.clone().map(|trunk| &trunk.next_hop)).filter_map(address);
    let networks =
        config.protection.never_ban.iter().chain(trunks.flat_map(|trunk| &trunk.addresses)).copied();
    networks.chain(addresses.map(|address: IpAddr| IpNet::from(address)))
}
