//! SIPp's own caller and callee through `postern run`.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use netns::Host;

use crate::world::{
    BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, CONFIG_IPV6, INSIDE, Named, OUTSIDE, Outcome, Program, World,
    read, signal, text,
};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("sipp::calls_from_outside_over_udp", || calls(&Call { from: Side::Outside, over: Over::Udp })),
        ("sipp::calls_from_inside_over_udp", || calls(&Call { from: Side::Inside, over: Over::Udp })),
        ("sipp::calls_from_outside_over_tcp", || calls(&Call { from: Side::Outside, over: Over::Tcp })),
        ("sipp::calls_from_outside_over_ipv6", || calls(&Call { from: Side::Outside, over: Over::Ipv6 })),
        ("sipp::calls_from_inside_over_ipv6", || calls(&Call { from: Side::Inside, over: Over::Ipv6 })),
    ]
}

enum Side {
    Outside,
    Inside,
}

enum Over {
    Udp,
    Tcp,
    Ipv6,
}

struct Call {
    from: Side,
    over: Over,
}

impl Over {
    /// SIPp's word for the transport.
    fn transport(&self) -> &'static str {
        match self {
            Self::Udp | Self::Ipv6 => "u1",
            Self::Tcp => "t1",
        }
    }

    fn config(&self) -> String {
        match self {
            Self::Udp => CONFIG.to_owned(),
            Self::Tcp => CONFIG.replace(INSIDE, &format!("{INSIDE};transport=tcp")),
            Self::Ipv6 => CONFIG_IPV6.to_owned(),
        }
    }

    /// Outside phone, Postern outside, inside phone, Postern inside.
    fn addresses(&self) -> [&'static str; 4] {
        match self {
            Self::Udp | Self::Tcp => [OUTSIDE, BORDER_OUTSIDE, INSIDE, BORDER_INSIDE],
            Self::Ipv6 => ["2001:db8:a::20", "[2001:db8:a::1]", "2001:db8:b::20", "[2001:db8:b::1]"],
        }
    }
}

const CALLS: u32 = 100;

/// A hundred calls, fifty a second, each 200 ms long: none fails on either side, and no pinhole stays.
fn calls(call: &Call) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&call.over.config())?;
    let [outside, border_outside, inside, border_inside] = call.over.addresses();
    let (caller, caller_address, callee, callee_address, border) = match call.from {
        Side::Outside => (&world.outside, outside, &world.inside, inside, border_outside),
        Side::Inside => (&world.inside, inside, &world.outside, outside, border_inside),
    };
    let uas = Callee::start(&world, callee, callee_address, call.over.transport())?;
    let border = format!("{border}:5060");
    let count = CALLS.to_string();
    let arguments = [
        "-sn",
        "uac",
        &border,
        "-i",
        caller_address,
        "-p",
        "5060",
        "-mp",
        "20000",
        "-m",
        &count,
        "-r",
        "50",
        "-d",
        "200",
        "-t",
        call.over.transport(),
        "-s",
        "bob",
        "-nostdin",
        "-timeout",
        "60s",
        "-timeout_error",
    ];
    world
        .command(caller, "sipp", &arguments)
        .map_err(|e| io::Error::other(format!("the caller's SIPp: {e}\n{}", postern.log())))?;
    postern.wait_for("no call and no pinhole is left", || {
        Ok(postern.json(&["calls"])?["calls"].as_array().is_some_and(Vec::is_empty)
            && postern.pinholes()? == (0, 0))
    })?;
    let (successful, failed) = uas.finish()?;
    assert_eq!(
        (successful, failed),
        (u64::from(CALLS), 0),
        "calls that the callee's SIPp saw succeed and fail"
    );
    let (_, status) = postern.terminate()?;
    assert_eq!(status, Some(0), "exit status of postern run");
    Ok(())
}

/// SIPp's own answering scenario.
pub(crate) struct Callee {
    program: Program,
    statistics: PathBuf,
}

impl Callee {
    pub(crate) fn start(world: &World, host: &Host, address: &str, transport: &str) -> io::Result<Self> {
        let statistics = world.folder.join(format!("uas-{address}.csv"));
        let child = host.spawn(
            Command::new("sipp")
                .args([
                    "-sn", "uas", "-i", address, "-p", "5060", "-mp", "22000", "-t", transport, "-nostdin",
                ])
                .args(["-trace_stat", "-fd", "1", "-stf"])
                .arg(&statistics)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        )?;
        let callee = Self { program: Program::of(child), statistics };
        callee.listens(world, host)?;
        Ok(callee)
    }

    /// Waits until it can be called: a call before that is told by the kernel that nobody is there.
    fn listens(&self, world: &World, host: &Host) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while world.command(host, "ss", &["-Hlntu", "sport", "=", ":5060"])?.is_empty() {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("SIPp {} does not listen", self.program.id())));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it and reads how many calls succeeded and failed on its side.
    pub(crate) fn finish(self) -> io::Result<(u64, u64)> {
        signal(self.program.id(), "USR1")?;
        text(self.program.output()?)?;
        let statistics = read(&self.statistics)?;
        let mut lines = statistics.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
        let values: Vec<&str> = lines.next_back().unwrap_or_default().split(';').collect();
        let value = |wanted: &str| {
            names
                .iter()
                .position(|name| *name == wanted)
                .and_then(|at| values.get(at)?.parse().ok())
                .ok_or_else(|| io::Error::other(format!("SIPp's statistics have no {wanted}")))
        };
        Ok((value("SuccessfulCall(C)")?, value("FailedCall(C)")?))
    }
}
