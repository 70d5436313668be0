//! Other hands on the firewall while a call runs: the administrator's, and those of software that knows nothing of us.

use std::io;

use netns::Host;

use crate::media::{RTP_INSIDE, RTP_OUTSIDE};
use crate::raw::bind;
use crate::witness::{Witness, expect};
use crate::world::{CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("meddlers::everything_is_flushed", flushed),
        ("meddlers::our_table_is_not_theirs", not_theirs),
        ("meddlers::looking_changes_nothing", looking),
        ("meddlers::other_software_sets_our_mark", foreign_mark),
        ("meddlers::a_third_network_with_a_stolen_address", spoofed),
        ("meddlers::crossed_ports_where_sources_are_strict", crossed_ports),
        ("meddlers::a_neighbour_where_sources_are_addresses", neighbour),
        ("meddlers::large_datagrams_pass", large),
    ]
}

/// Sends one datagram from here, which nobody is to receive.
fn shout(host: &Host, from: &str, to: (&str, u16)) -> io::Result<()> {
    bind(host, from)?.send_to(b"stray", to).map(drop)
}

/// Sends to everything the call has open, and beside it, from other machines.
fn shout_at_the_call(world: &World, beside: &[u16]) -> io::Result<()> {
    for (host, from) in [(&world.outside, "198.51.100.21:0"), (&world.third, "192.0.2.20:0")] {
        for port in [RTP_INSIDE, RTP_INSIDE + 1].iter().chain(beside) {
            shout(host, from, (INSIDE, *port))?;
        }
    }
    Ok(())
}

fn flushed() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    for _ in 0..5 {
        world.nft("flush ruleset")?;
        witness.more_media()?;
    }
    // Nothing but our gate stands now, and it holds: no media passes but that of the call.
    let extra = bind(&world.inside, &format!("{INSIDE}:{}", RTP_INSIDE + 2))?;
    extra.set_nonblocking(true)?;
    shout_at_the_call(&world, &[RTP_INSIDE + 2])?;
    witness.is_unharmed_and_alone()?;
    expect(extra.recv(&mut [0; 64]).is_err(), true, "silence beside the call")?;
    world.nft(crate::world::FIREWALL)?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

fn not_theirs() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let listed = world.command(&world.firewall, "nft", &["list", "table", "inet", "postern"])?;
    let mut words = listed.lines().filter_map(|line| line.trim().strip_prefix("set ")?.strip_suffix(" {"));
    let set = words.next().unwrap_or("none").to_owned();
    for command in [
        "delete table inet postern".to_owned(),
        "flush table inet postern".to_owned(),
        format!("flush set inet postern {set}"),
        "add chain inet postern mine { type filter hook prerouting priority -400; policy accept; }"
            .to_owned(),
        "add table inet postern { flags dormant; }".to_owned(),
        format!("add element inet postern {set} {{ udp . 198.51.100.21 . 33333 . {INSIDE} . {RTP_INSIDE} }}"),
    ] {
        let refusal = world.nft(&command).err().map(|error| error.to_string()).unwrap_or_default();
        expect(refusal.contains("Operation not permitted"), true, &format!("{command}: {refusal}"))?;
    }
    shout_at_the_call(&world, &[RTP_INSIDE + 2, 5_060, 40_000])?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// Who asks what is open, and who changes tables of their own, must not make Postern write its gate anew: the packets of
/// that moment would be lost.
fn looking() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let chains = || {
        let listed =
            world.command(&world.firewall, "nft", &["-a", "-s", "list", "table", "inet", "postern"])?;
        let rules = listed.lines().filter(|line| line.contains("# handle") && !line.contains("expires"));
        Ok::<_, io::Error>(rules.map(str::to_owned).collect::<Vec<_>>())
    };
    let before = chains()?;
    expect(before.len() > 10, true, "rules of the gate")?;
    for number in 0..20 {
        postern.text(&["pinholes", "--kernel"])?;
        world.nft(&format!("table inet other {{\nchain c{number} {{\n}}\n}}"))?;
    }
    witness.is_unharmed_and_alone()?;
    expect(chains()?, before, "rules of the gate")?;
    witness.hang_up()?;
    Ok(())
}

/// Marks set before our chain are cleared by it; those set after it are no proof, since the packets are tracked.
fn foreign_mark() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let extra = [RTP_INSIDE + 2, 40_000].map(|port| bind(&world.inside, &format!("{INSIDE}:{port}")));
    for (number, priority) in ["-450", "raw", "mangle", "dstnat"].iter().enumerate() {
        world.nft(&format!(
            "table inet other{number} {{\nchain pre {{\ntype filter hook prerouting priority {priority}\n\
             meta mark set meta mark | 0x01000000\n}}\n}}"
        ))?;
    }
    shout_at_the_call(&world, &[RTP_INSIDE + 2, 5_060, 40_000])?;
    witness.is_unharmed_and_alone()?;
    for socket in extra {
        let socket = socket?;
        socket.set_nonblocking(true)?;
        expect(socket.recv(&mut [0; 64]).is_err(), true, "silence beside the call")?;
    }
    witness.hang_up()?;
    Ok(())
}

/// A machine in a third network sends as if it were the caller.
fn spoofed() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    world.third.address("eth0", crate::world::net(&format!("{OUTSIDE}/32"))?)?;
    world.third.address("eth0", crate::world::net(&format!("{INSIDE}/32"))?)?;
    for _ in 0..10 {
        for port in [RTP_OUTSIDE, RTP_OUTSIDE + 1, 33_333] {
            shout(&world.third, &format!("{OUTSIDE}:{port}"), (INSIDE, RTP_INSIDE))?;
            shout(&world.third, &format!("{OUTSIDE}:{port}"), (INSIDE, RTP_INSIDE + 1))?;
        }
        // Nor the other way: as if it were the callee.
        let socket = bind(&world.third, &format!("{INSIDE}:{RTP_INSIDE}"))?;
        socket.send_to(b"stray", (OUTSIDE, RTP_OUTSIDE)).map(drop).or_else(ignore_local)?;
    }
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// The address is also one of the sender's own: it keeps the packet to itself, which is as good.
fn ignore_local(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::ConnectionRefused { Ok(()) } else { Err(error) }
}

/// RTP must come from the peer's RTP port to ours, RTCP from its RTCP port to ours; nothing from any other.
fn crossed_ports() -> Outcome {
    let strict = CONFIG.replace("listen =", "source = \"strict\"\nlisten =");
    let world = World::new()?;
    let postern = world.postern(&strict)?;
    let witness = Witness::start_with(&world, &postern, 4)?;
    let [rtp_a, rtcp_a, rtp_b, rtcp_b] = &witness.media.sockets;
    for _ in 0..10 {
        rtp_a.send_to(b"stray", (INSIDE, RTP_INSIDE + 1))?;
        rtcp_a.send_to(b"stray", (INSIDE, RTP_INSIDE))?;
        rtp_b.send_to(b"stray", (OUTSIDE, RTP_OUTSIDE + 1))?;
        rtcp_b.send_to(b"stray", (OUTSIDE, RTP_OUTSIDE))?;
        shout(&world.outside, &format!("{OUTSIDE}:33333"), (INSIDE, RTP_INSIDE))?;
        shout(&world.inside, &format!("{INSIDE}:23333"), (OUTSIDE, RTP_OUTSIDE))?;
    }
    witness.is_unharmed_and_alone()?;
    rtcp_a.send_to(b"report", (INSIDE, RTP_INSIDE + 1))?;
    rtcp_b.send_to(b"report", (OUTSIDE, RTP_OUTSIDE + 1))?;
    let wanted = [(6, format!("{OUTSIDE}:{}", RTP_OUTSIDE + 1)), (6, format!("{INSIDE}:{}", RTP_INSIDE + 1))];
    arrives(&witness, &wanted)?;
    witness.hang_up()?;
    Ok(())
}

/// Any port of the peer may send, but no other address, and to no other port.
fn neighbour() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    shout_at_the_call(&world, &[RTP_INSIDE + 2, 5_060, 40_000])?;
    for port in [RTP_INSIDE - 1, RTP_INSIDE + 2] {
        shout(&world.outside, &format!("{OUTSIDE}:33333"), (INSIDE, port))?;
    }
    witness.is_unharmed_and_alone()?;
    shout(&world.outside, &format!("{OUTSIDE}:33333"), (INSIDE, RTP_INSIDE))?;
    arrives(&witness, &[(5, format!("{OUTSIDE}:33333"))])?;
    witness.hang_up()?;
    Ok(())
}

/// Datagrams that travel in pieces pass whole, in both directions; so do the largest there are.
fn large() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let [rtp_a, _, rtp_b, _] = &witness.media.sockets;
    for length in [1_473, 3_000, 65_507] {
        rtp_a.send_to(&vec![7; length], (INSIDE, RTP_INSIDE))?;
        arrives(&witness, &[(length, format!("{OUTSIDE}:{RTP_OUTSIDE}"))])?;
        rtp_b.send_to(&vec![7; length], (OUTSIDE, RTP_OUTSIDE))?;
        arrives(&witness, &[(length, format!("{INSIDE}:{RTP_INSIDE}"))])?;
    }
    // Past the pinhole they do not pass.
    rtp_a.send_to(&[7; 3_000], (INSIDE, RTP_INSIDE + 2))?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// Waits until exactly these packets have come beside the streams.
fn arrives(witness: &Witness<'_>, wanted: &[(usize, String)]) -> io::Result<()> {
    witness.postern.wait_for("what was sent through a pinhole has arrived", || {
        Ok(witness.media.tally().strange.len() >= wanted.len())
    })?;
    let mut found = witness.media.take_strange();
    found.sort();
    let mut wanted = wanted.to_vec();
    wanted.sort();
    expect(found, wanted, "packets beside the streams")
}
