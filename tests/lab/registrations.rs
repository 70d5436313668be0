//! A phone outside that registers through Postern with a registrar inside, Kamailio, and is called through it.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use netns::Host;

use crate::baresip::Baresip;
use crate::line::{End, Line};
use crate::observer::{Packet, Way};
use crate::phone::{Answer, Phone};
use crate::world::{BORDER_OUTSIDE, INSIDE, Named, OUTSIDE, Outcome, Program, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![("registrations::baresip_is_called_through_kamailio_before_and_after_a_restart", called)]
}

/// Where Kamailio is.
const REGISTRAR: &str = "10.0.40.21";

fn config(world: &World) -> String {
    format!(
        "registrations = {:?}\n\
         [realm.outside]\nlisten = [\"udp:198.51.100.1:5060\"]\npass = [\"REGISTER\"]\n\
         [realm.inside]\nlisten = [\"udp:10.0.40.1:5060\"]\nmedia = [\"10.0.40.0/24\"]\n\
         [[route]]\nto = \"inside\"\nnext-hop = \"sip:{REGISTRAR}\"\n",
        world.folder.join("registrations").display().to_string()
    )
}

/// A registrar whose users have a password, and a proxy for whoever is registered and for a desk phone, bob.
pub(crate) fn kamailio(world: &World) -> io::Result<Program> {
    let file = world.folder.join("kamailio.cfg");
    fs::write(
        &file,
        format!(
            r#"
debug=2
log_stderror=yes
fork=no
children=2
listen=udp:{REGISTRAR}:5060
alias="{BORDER_OUTSIDE}"
auto_aliases=no
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
request_route {{
  if ($rm == "REGISTER") {{
    if (!pv_www_authenticate("pbx", "secret", "0")) {{
      www_challenge("pbx", "1");
      exit;
    }}
    save("location");
    exit;
  }}
  if ($rm == "INVITE" && !lookup("location")) {{
    if ($rU != "bob") {{
      sl_send_reply("404", "Not registered");
      exit;
    }}
    # A desk phone that the registrar knows without being told.
    $ru = "sip:bob@{INSIDE}";
  }}
  t_relay();
}}
"#
        ),
    )?;
    start(world, &world.inside, &file)
}

/// Runs a Kamailio with this configuration. It leads a group, because its children outlive it when it is killed.
pub(crate) fn start(world: &World, host: &Host, file: &Path) -> io::Result<Program> {
    let log = fs::File::create(world.folder.join("kamailio.log"))?;
    let runtime = world.folder.join("kamailio");
    fs::create_dir_all(&runtime)?;
    let mut command = Command::new("kamailio");
    command.args(["-DD", "-E", "-Y"]).arg(&runtime).arg("-f").arg(file);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Program::of(host.spawn(command.process_group(0))?))
}

fn called() -> Outcome {
    let world = World::new()?;
    let _registrar = kamailio(&world)?;
    let postern = world.postern(&config(&world))?;
    let line = Line::watch(&world, &postern)?;
    let account = format!("<sip:alice@{BORDER_OUTSIDE}>;auth_user=alice;auth_pass=secret;regint=60");
    let alice =
        Baresip::with_account(&world, (&world.outside, OUTSIDE), ("alice", &account), Answer::AtOnce, None)?;
    let mut bob = Baresip::start(&world, &world.inside, "bob", INSIDE, Answer::AtOnce)?;
    let is_registered = || {
        let list = postern.json(&["registrations"])?;
        let lines = list["registrations"].as_array().cloned().unwrap_or_default();
        Ok(lines.len() == 1
            && lines[0]["aor"] == "sip:alice@198.51.100.1"
            && lines[0]["address"] == "198.51.100.20:5060")
    };
    line.wait_for("alice is registered", is_registered)?;
    call(&line, &mut bob, 1)?;
    let agent = postern.half("agent")?.to_string();
    world.command(&world.firewall, "kill", &["-9", &agent])?;
    postern.wait_for("another agent is there", || {
        Ok(postern.half("agent")?.to_string() != agent && postern.is_up()?)
    })?;
    line.wait_for("alice is still registered", is_registered)?;
    call(&line, &mut bob, 2)?;
    // From and To are what people call themselves; everything else that names a host names ours.
    for (end, other) in [(End::Outside, "10.0.40."), (End::Inside, OUTSIDE)] {
        for text in
            line.at(end).seen()?.iter().filter(|packet| packet.way == Way::Heard).filter_map(Packet::sip)
        {
            let head = text.split("\r\n\r\n").next().unwrap_or_default();
            let mut lines =
                head.lines().filter(|line| !line.starts_with("From:") && !line.starts_with("To:"));
            assert!(!lines.any(|line| line.contains(other)), "{end:?} heard where the other side is: {text}");
        }
    }
    drop(alice);
    Ok(())
}

/// Whoever is inside calls the phone outside, as the registrar knows it; both hear each other.
fn call(line: &Line<'_>, bob: &mut Baresip, nth: usize) -> io::Result<()> {
    bob.call(&format!("sip:alice@{REGISTRAR}"))?;
    line.until_seen(End::Inside, Way::Sent, "ACK", nth)?;
    line.talk()?;
    bob.hang_up()?;
    line.until_seen(End::Inside, Way::Heard, "200 BYE", nth)?;
    line.is_over()
}
