//! A call that goes on while something bad happens, and notices when it is harmed.

use std::io;

use crate::callee::Callee;
use crate::media::{Media, RTP_INSIDE, RTP_OUTSIDE};
use crate::raw::{Request, Wire, header, sdp, status};
use crate::world::{OUTSIDE, Postern, World, read};

/// Enough packets, in each direction, to say that media flows.
const FLOWING: u64 = 20;
/// No half of Postern grows beyond this under attack, kB: idle it has a quarter.
const SIZE_MAX_KB: u64 = 40_000;

/// A call between a hand-made caller and callee, with media in both directions, none of which may be lost.
pub(crate) struct Witness<'w> {
    world: &'w World,
    pub(crate) postern: &'w Postern<'w>,
    pub(crate) caller: Wire,
    pub(crate) callee: Callee,
    pub(crate) media: Media,
    pub(crate) invite: Request,
    /// The To tag of Postern, as a parameter.
    pub(crate) to_tag: String,
    processes: [u32; 3],
    /// Rules, and elements in the kernel.
    pinholes: (usize, usize),
}

impl<'w> Witness<'w> {
    /// A call from outside to inside.
    pub(crate) fn start(world: &'w World, postern: &'w Postern<'w>) -> io::Result<Self> {
        Self::start_with(world, postern, 2)
    }

    /// The same where its pinholes take so many elements.
    pub(crate) fn start_with(
        world: &'w World,
        postern: &'w Postern<'w>,
        elements: usize,
    ) -> io::Result<Self> {
        let callee = Callee::start(world, RTP_INSIDE)?;
        let caller = Wire::open(&world.outside, OUTSIDE)?;
        let invite = Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, RTP_OUTSIDE));
        let response = caller.ask(&invite)?;
        if status(&response) != 200 {
            return Err(io::Error::other(format!("the witness' call was refused: {response}")));
        }
        let tag = header(&response, "To").split_once(";tag=").map_or("", |(_, tag)| tag);
        let to_tag = format!(";tag={tag}");
        let ack =
            Request { to_tag: to_tag.clone(), id: format!("{}ack", invite.id), ..in_call(&invite, "ACK", 1) };
        // The From tag is still that of the INVITE.
        caller.send(ack.text().replace(&format!("tag={}ack", invite.id), &format!("tag={}", invite.id)))?;
        let media = Media::start(world)?;
        let processes = [postern.child.id(), postern.half("agent")?, postern.half("middlebox")?];
        let pinholes = (2, elements);
        let witness = Self { world, postern, caller, callee, media, invite, to_tag, processes, pinholes };
        postern.wait_for("what the call needs is open", || Ok(postern.pinholes()? == pinholes))?;
        witness.more_media()?;
        Ok(witness)
    }

    /// Waits until more media has arrived on both sides, from now on.
    pub(crate) fn more_media(&self) -> io::Result<()> {
        let before = self.media.heard();
        self.postern.wait_for("media of the running call arrives on both sides", || {
            let now = self.media.heard();
            Ok(now.0 >= before.0 + FLOWING && now.1 >= before.1 + FLOWING)
        })
    }

    /// The call goes on, nothing of it was lost, nothing else was opened or let through, and nobody fell over.
    pub(crate) fn is_unharmed(&self) -> io::Result<()> {
        let postern = self.postern;
        self.more_media()?;
        let tally = self.media.tally();
        expect(tally.lost, Vec::new(), "packets of the running call lost")?;
        expect(tally.strange, Vec::new(), "packets that are not of the running call")?;
        postern.wait_for("no pinhole but those of the running call is open", || {
            Ok(postern.pinholes()? == self.pinholes)
        })?;
        let processes = [postern.child.id(), postern.half("agent")?, postern.half("middlebox")?];
        expect(processes, self.processes, "processes")?;
        if postern.log().contains("panicked") {
            return Err(io::Error::other(postern.log()));
        }
        for half in &processes[1..] {
            let size = resident_kb(*half)?;
            if size > SIZE_MAX_KB {
                return Err(io::Error::other(format!("process {half} has {size} kB")));
            }
        }
        Ok(())
    }

    /// The call goes on as ever and the callee has heard of no other.
    pub(crate) fn is_unharmed_and_alone(&self) -> io::Result<()> {
        self.is_unharmed()?;
        expect(self.callee.asked(), vec!["INVITE".to_owned()], "requests the callee has got")
    }

    /// The call still ends as calls do, and nothing stays open.
    pub(crate) fn hang_up(self) -> io::Result<()> {
        let bye = Request { to_tag: self.to_tag.clone(), ..in_call(&self.invite, "BYE", 2) };
        let response = self.caller.ask(&bye)?;
        expect(status(&response), 200, "status of the answer to BYE")?;
        expect(self.callee.asked().iter().any(|asked| asked == "BYE"), true, "BYE at the callee")?;
        self.postern.wait_for("no pinhole is left", || Ok(self.postern.pinholes()? == (0, 0)))?;
        let firewall =
            self.world.command(&self.world.firewall, "nft", &["list", "table", "inet", "postern"])?;
        // Bans are no pinholes.
        let mut others = firewall.split("\n\n").filter(|block| !block.contains("set banned"));
        expect(others.any(|block| block.contains("expires")), false, "an element in the kernel")
    }
}

/// A further request of the caller in the call.
fn in_call(invite: &Request, method: &'static str, cseq: u32) -> Request {
    Request { method, cseq, lines: String::new(), body: String::new(), ..invite.clone() }
}

pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T, what: &str) -> io::Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(io::Error::other(format!("{what}: {found:?} instead of {wanted:?}")))
}

fn resident_kb(process: u32) -> io::Result<u64> {
    let status = read(format!("/proc/{process}/status").as_ref())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_err(io::Error::other)
}
