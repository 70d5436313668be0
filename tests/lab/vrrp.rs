//! The pair of `docs/standby.md` with real keepalived: the routers' shared address follows the middlebox half.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use netns::Host;

use crate::row::{AGENT_AT_CORE, AGENT_AT_EDGE, CORE, EDGE, Half, Row, SHARED, Talk};
use crate::witness::expect;
use crate::world::{Named, Outcome, Program, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![("vrrp::keepalived_follows_the_middlebox_half", follows)]
}

/// As `docs/standby.md` has it, but for times.
const KEEPALIVED: &str = r#"
global_defs {
  script_user root
}
vrrp_script postern {
  script "POSTERN status --middlebox --config FILE"
  interval 1
  timeout 2
  fall 2
  rise 1
}
vrrp_sync_group both_sides {
  group {
    outside
    inside
  }
}
vrrp_instance outside {
  state BACKUP
  interface WAN
  virtual_router_id 51
  priority PRIORITY
  advert_int 0.3
  virtual_ipaddress {
    198.51.100.SHARED/24
  }
  track_script {
    postern
  }
}
vrrp_instance inside {
  state BACKUP
  interface inside0
  virtual_router_id 52
  priority PRIORITY
  advert_int 0.3
  virtual_ipaddress {
    10.0.40.SHARED/24
  }
  track_script {
    postern
  }
}
"#;

fn keepalived(row: &Row, host: &Host, half: &Half<'_>, wan: &str, priority: &str) -> io::Result<Program> {
    let path = |ending: &str| row.world.folder.join(format!("keepalived-{priority}{ending}"));
    let text = KEEPALIVED
        .replace("POSTERN", env!("CARGO_BIN_EXE_postern"))
        .replace("FILE", &half.file().display().to_string())
        .replace("WAN", wan)
        .replace("PRIORITY", priority)
        .replace("SHARED", &SHARED.to_string());
    fs::write(path(".conf"), text)?;
    let log = fs::File::create(path(".log"))?;
    let mut command = Command::new("keepalived");
    command.args(["--dont-fork", "--log-console", "--vrrp", "-f"]).arg(path(".conf"));
    command.arg("-p").arg(path(".pid")).arg("-r").arg(path(".vrrp.pid")).stdin(Stdio::null());
    Ok(Program::of(host.spawn(command.stdout(log.try_clone()?).stderr(log))?))
}

/// Waits until this host, and not the other, has the shared addresses.
fn wait_master(row: &Row, agent: &Half<'_>, master: &Host, other: &Host) -> io::Result<()> {
    let has = |host: &Host| {
        let all = row.world.command(host, "ip", &["-4", "addr"])?;
        Ok::<_, io::Error>(["198.51.100", "10.0.40"].map(|net| all.contains(&format!("{net}.{SHARED}/"))))
    };
    agent.wait_for("the shared addresses are where they belong", || {
        Ok(has(master)? == [true, true] && has(other)? == [false, false])
    })
}

fn left(row: &Row) -> io::Result<Half<'_>> {
    row.edge(&format!("listen = [\"{EDGE}:7626\"]\npeers = [\"{AGENT_AT_EDGE}\"]\n"))
}

fn follows() -> Outcome {
    let row = Row::on_segments()?;
    let first = left(&row)?;
    let right = row.core(&format!("listen = [\"{CORE}:7626\"]\npeers = [\"{AGENT_AT_CORE}\"]\n"))?;
    let agent = row.agent(&format!(
        "[[middlebox]]\nname = \"left\"\nconnect = \"{EDGE}\"\n\n\
         [[middlebox]]\nname = \"right\"\nconnect = \"{CORE}\"\nstandby-for = \"left\"\n"
    ))?;
    agent.wait_up(&["left", "right"])?;
    let (edge, core) = (&row.world.firewall, &row.core);
    let _left = keepalived(&row, edge, &first, "outside0", "150")?;
    let _right = keepalived(&row, core, &right, "middle0", "100")?;
    wait_master(&row, &agent, edge, core)?;
    let talk = Talk::start(&row)?;
    talk.goes_on(&agent)?;
    // Only the middlebox half dies: the machine, and keepalived on it, are well.
    signal(first.program.id(), "KILL")?;
    drop(first);
    wait_master(&row, &agent, core, edge)?;
    agent.wait_up(&["right"])?;
    talk.goes_on(&agent)?;
    talk.hang_up()?;
    right.wait_rules(0)?;
    drop(talk);
    // A call that begins now crosses the right one alone, and goes on when the left one is master again.
    let talk = Talk::start(&row)?;
    talk.goes_on(&agent)?;
    let again = left(&row)?;
    wait_master(&row, &agent, edge, core)?;
    agent.wait_up(&["left", "right"])?;
    again.wait_rules(2)?;
    talk.goes_on(&agent)?;
    talk.hang_up()?;
    again.wait_rules(0)?;
    right.wait_rules(0)?;
    expect(talk.media.tally().strange, Vec::new(), "packets of nobody")?;
    Ok(())
}
