//! Two baresip phones call each other through the firewall; the kernels of both hosts count their RTP.

use std::io;

use netns::Host;
use serde_json::Value;

use crate::baresip::Baresip;
use crate::phone::{Answer, Phone as _};
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, Postern, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("phones::baresip_calls_baresip_from_outside", || talk(true)),
        ("phones::baresip_calls_baresip_from_inside", || talk(false)),
    ]
}

/// Enough sound in one direction to call it a conversation: one second.
pub(crate) const CONVERSATION: u64 = 50;

/// Every RTP packet that one phone sends while the call lasts reaches the other; when it is over nothing is open.
fn talk(from_outside: bool) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let mut call = Conversation::begin(&world, &postern, from_outside)?;
    assert_eq!(postern.json(&["calls"])?["calls"].as_array().map(Vec::len), Some(1), "one call is listed");
    nothing_is_missing(&world, &postern)?;
    call.hang_up()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

/// Waits for a moment between two packets, when each phone has heard exactly what the other has sent since the call
/// began. One packet lost, and it never comes. (After the BYE baresip sends one more, which must not arrive.)
pub(crate) fn nothing_is_missing(world: &World, postern: &Postern<'_>) -> io::Result<()> {
    postern.wait_for("each phone has heard all that the other has sent", || {
        let before = rtp(world, &world.outside)?;
        let (sent, heard) = rtp(world, &world.inside)?;
        Ok(rtp(world, &world.outside)? == before && before == (heard, sent))
    })
}

/// Two baresip phones in a call, sound flowing both ways.
pub(crate) struct Conversation {
    caller: Baresip,
    callee: Baresip,
}

impl Conversation {
    /// A call from outside.
    pub(crate) fn start(world: &World, postern: &Postern<'_>) -> io::Result<Self> {
        Self::begin(world, postern, true)
    }

    fn begin(world: &World, postern: &Postern<'_>, from_outside: bool) -> io::Result<Self> {
        for host in [&world.outside, &world.inside] {
            count_rtp(world, host)?;
        }
        let outside = Baresip::start(world, &world.outside, "alice", OUTSIDE, Answer::AtOnce)?;
        let inside = Baresip::start(world, &world.inside, "bob", INSIDE, Answer::AtOnce)?;
        let (caller, callee, called) = if from_outside {
            (outside, inside, format!("sip:bob@{BORDER_OUTSIDE}"))
        } else {
            (inside, outside, format!("sip:alice@{BORDER_INSIDE}"))
        };
        Self::between(world, postern, (caller, callee), &called)
    }

    /// One phone calls the other at this URI; the RTP of both hosts is being counted.
    pub(crate) fn between(
        world: &World,
        postern: &Postern<'_>,
        (mut caller, mut callee): (Baresip, Baresip),
        called: &str,
    ) -> io::Result<Self> {
        caller.call(called)?;
        caller.wait_for("CALL_ESTABLISHED")?;
        callee.wait_for("CALL_ESTABLISHED")?;
        postern.wait_for("both phones have heard a second of sound", || {
            Ok(rtp(world, &world.outside)?.1 >= CONVERSATION && rtp(world, &world.inside)?.1 >= CONVERSATION)
        })?;
        Ok(Self { caller, callee })
    }

    /// The caller hangs up; the callee hears of it.
    pub(crate) fn hang_up(&mut self) -> io::Result<()> {
        self.caller.hang_up()?;
        self.callee.wait_for("CALL_CLOSED")
    }

    /// Both phones are told that the call is over.
    pub(crate) fn both_end(&mut self) -> io::Result<()> {
        self.caller.wait_for("CALL_CLOSED")?;
        self.callee.wait_for("CALL_CLOSED")
    }
}

/// Makes the kernel of a phone's host count RTP (even ports) as it leaves and arrives, from nothing: the last packet of the call before,
/// which has not arrived, is not of the next one.
pub(crate) fn count_rtp(world: &World, host: &Host) -> io::Result<()> {
    let rules = "table inet count
        delete table inet count
        table inet count {
        counter sent {}
        counter heard {}
        chain out { type filter hook output priority 0; udp dport 16384-32767 udp dport & 1 == 0 counter name sent; }
        chain in { type filter hook input priority 0; udp dport 16384-32767 udp dport & 1 == 0 counter name heard; }
    }";
    world.command(host, "nft", &[rules]).map(drop)
}

/// RTP packets sent and heard by a host so far.
pub(crate) fn rtp(world: &World, host: &Host) -> io::Result<(u64, u64)> {
    let listed = world.command(host, "nft", &["-j", "list", "counters"])?;
    let listed: Value = serde_json::from_str(&listed)?;
    let count = |name: &str| {
        let mut all = listed["nftables"].as_array().into_iter().flatten();
        all.find(|one| one["counter"]["name"] == name)
            .and_then(|one| one["counter"]["packets"].as_u64())
            .unwrap_or(0)
    };
    Ok((count("sent"), count("heard")))
}
