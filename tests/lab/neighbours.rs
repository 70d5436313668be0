//! The firewalls that others keep on the same host, each with its own tool: `check` names what is missing in that tool's
//! words, its text is all that is needed, and a reload in the middle of a call harms nobody.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::hostile_host::run;
use crate::witness::{Witness, expect};
use crate::world::{CONFIG, FIREWALL, Named, Outcome, Postern, Program, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("neighbours::nftables_service", nftables_service),
        ("neighbours::iptables", iptables),
        ("neighbours::docker", docker),
        ("neighbours::ufw", ufw),
        ("neighbours::firewalld", firewalld),
        ("neighbours::openwrt", openwrt),
        ("neighbours::a_gate_that_only_observes", observe),
        ("neighbours::a_routing_rule_with_our_mark", routing_rule),
    ]
}

/// A firewall that drops, as its tool makes it.
struct Neighbour<'w> {
    world: &'w World,
    postern: Postern<'w>,
    environment: Vec<(&'static str, String)>,
}

impl<'w> Neighbour<'w> {
    /// In the place of the lab's own firewall.
    fn new(world: &'w World) -> io::Result<Self> {
        world.nft("flush ruleset")?;
        Ok(Self { world, postern: world.postern(CONFIG)?, environment: Vec::new() })
    }

    /// What the administrator types on the firewall.
    fn shell(&self, script: &str) -> io::Result<String> {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = self.world.firewall.spawn(&mut command)?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(said),
            false => {
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(io::Error::other(format!("{script}: {said}{error}")))
            }
        }
    }

    /// What `postern check` finds about a place, as grade and advice; its first finding counts.
    fn check(&self, place: &str) -> io::Result<(String, String)> {
        let file = self.postern.file.display().to_string();
        let (_, said) = run(&self.world.firewall, &[], &["check", "-j", &file])?;
        let findings: Value =
            serde_json::from_str(&said).map_err(|e| io::Error::other(format!("{e}: {said}")))?;
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let mut found = findings.as_array().into_iter().flatten();
        let found = found.find(|one| word(one, "text").contains(place));
        let found = found.ok_or_else(|| io::Error::other(format!("nothing about {place}: {said}")))?;
        Ok((word(found, "grade"), word(found, "advice")))
    }

    /// `check` misses the line there, and gives this for it.
    fn misses(&self, place: &str, words: &str) -> io::Result<String> {
        let (grade, advice) = self.check(place)?;
        expect(grade, "problem".to_owned(), place)?;
        match advice.contains(words) {
            true => Ok(advice),
            false => Err(io::Error::other(format!("{place}: no {words:?} in {advice}"))),
        }
    }

    /// `check` is content with that place.
    fn is_content(&self, place: &str) -> io::Result<()> {
        expect(self.check(place)?.0, "ok".to_owned(), place)
    }

    /// A call, in the middle of which the tool does this more than once. Packets are lost only while a tool has none of
    /// its rules in place.
    fn call(&self, reload: &str, loses: bool) -> io::Result<()> {
        let witness = Witness::start(self.world, &self.postern)?;
        for _ in 0..3 {
            self.shell(reload)?;
            witness.more_media()?;
        }
        expect(loses || witness.media.tally().lost.is_empty(), true, "nothing is lost")?;
        expect(witness.media.tally().strange, Vec::new(), "packets that are not of the running call")?;
        expect(self.postern.pinholes()?, (2, 2), "pinholes")?;
        witness.hang_up()
    }
}

/// `systemctl reload nftables` is `nft -f /etc/nftables.conf`, whose first line is `flush ruleset`.
fn nftables_service() -> Outcome {
    let world = World::new()?;
    let neighbour = Neighbour::new(&world)?;
    let line = "    ct state untracked meta mark & 0x01000000 == 0x01000000 accept\n";
    let file = world.folder.join("nftables.conf");
    let write = |rules: &str| fs::write(&file, format!("#!/usr/sbin/nft -f\nflush ruleset\n{rules}"));
    let reload = format!("nft -f {}", file.display());
    write(&FIREWALL.replace(line, ""))?;
    neighbour.shell(&reload)?;
    let place = "table inet filter, chain forward";
    let advice = neighbour.misses(place, "nft 'insert rule inet filter forward ct state untracked")?;
    neighbour.shell(&advice)?;
    neighbour.is_content(place)?;
    // The tool forgets what was typed; the file is what counts.
    neighbour.shell(&reload)?;
    neighbour.misses(place, "/etc/nftables.conf")?;
    write(&FIREWALL.replace(line, "").replace("    \n", &format!("    drop\n{line}")))?;
    neighbour.shell(&reload)?;
    let (grade, _) = neighbour.check(&format!("{place} has the line too late: the rule with handle"))?;
    expect(grade, "problem".to_owned(), "a line behind a drop")?;
    write(FIREWALL)?;
    neighbour.shell(&reload)?;
    neighbour.is_content(place)?;
    neighbour.call(&reload, false)?;
    Ok(())
}

const IPTABLES: &str = "
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -i inside0 -j ACCEPT
";

fn iptables() -> Outcome {
    let world = World::new()?;
    let neighbour = Neighbour::new(&world)?;
    neighbour.shell(IPTABLES)?;
    let place = "table ip filter, chain FORWARD";
    let advice = neighbour.misses(place, "iptables -I FORWARD -m conntrack --ctstate UNTRACKED")?;
    neighbour.shell(&advice)?;
    neighbour.is_content(place)?;
    let rules = world.folder.join("rules.v4").display().to_string();
    neighbour.shell(&format!("iptables-save > {rules}"))?;
    neighbour
        .call(&format!("iptables-restore {rules}; iptables -t nat -F; ip6tables -P FORWARD DROP"), false)?;
    // Somebody restores marks from connections, ours among them.
    neighbour.shell("iptables -t mangle -A PREROUTING -j CONNMARK --restore-mark")?;
    let (grade, _) = neighbour.check("table ip mangle, chain PREROUTING writes the mark")?;
    expect(grade, "problem".to_owned(), "a mark that is written")?;
    neighbour.shell(
        "iptables -t mangle -F; iptables -t mangle -A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff",
    )?;
    expect(neighbour.check("somebody else uses bit").is_err(), true, "others' bits are theirs")?;
    Ok(())
}

/// What Docker puts in front of the administrator's rules, and the chain that it leaves to them.
const DOCKER: &str = "
iptables -N DOCKER
iptables -N DOCKER-ISOLATION-STAGE-1
iptables -N DOCKER-ISOLATION-STAGE-2
iptables -N DOCKER-USER
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -o docker0 -j DOCKER
iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
iptables -A DOCKER-USER -j RETURN
iptables -P FORWARD DROP
";

fn docker() -> Outcome {
    let world = World::new()?;
    let neighbour = Neighbour::new(&world)?;
    neighbour.shell(DOCKER)?;
    let place = "table ip filter, chain FORWARD";
    let advice = neighbour.misses(place, "iptables -I DOCKER-USER -m conntrack")?;
    neighbour.shell(&advice)?;
    neighbour.is_content(place)?;
    // A daemon that starts again makes its chains anew, and leaves that one alone.
    neighbour.call(
        "iptables -F FORWARD; iptables -F DOCKER; iptables -A FORWARD -j DOCKER-USER
         iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1; iptables -P FORWARD DROP",
        true,
    )?;
    // Behind the RETURN that Docker writes there it does nothing.
    neighbour.shell(
        "iptables -F DOCKER-USER; iptables -A DOCKER-USER -j RETURN
         iptables -A DOCKER-USER -m conntrack --ctstate UNTRACKED -m mark --mark 0x1000000/0x1000000 -j ACCEPT",
    )?;
    neighbour.misses(&format!("{place} has the line too late"), "DOCKER-USER")?;
    Ok(())
}

/// A copy of a folder of the system's, in its place for this lab only.
fn own_copy(world: &World, folder: &str, name: &str) -> io::Result<()> {
    let copy = world.folder.join(name).display().to_string();
    world.command(&world.firewall, "cp", &["-a", folder, &copy])?;
    world.command(&world.firewall, "mount", &["--bind", &copy, folder]).map(drop)
}

fn ufw() -> Outcome {
    let world = World::new()?;
    let neighbour = Neighbour::new(&world)?;
    own_copy(&world, "/etc/ufw", "ufw")?;
    neighbour.shell("ufw allow 5060; ufw --force enable")?;
    let place = "table ip filter, chain FORWARD";
    let advice = neighbour.misses(place, "-A ufw-before-forward -m conntrack --ctstate UNTRACKED")?;
    let lines: Vec<&str> = advice.lines().collect();
    expect(lines.len(), 3, "file, line, reload")?;
    expect(lines[0].contains("/etc/ufw/before.rules, behind \"# End required lines\""), true, lines[0])?;
    let rules = fs::read_to_string("/etc/ufw/before.rules")?;
    let end = "# End required lines\n";
    expect(rules.contains(end), true, "ufw's own words")?;
    fs::write("/etc/ufw/before.rules", rules.replacen(end, &format!("{end}{}\n", lines[1]), 1))?;
    neighbour.shell(lines[2].strip_prefix("# then: ").unwrap_or("false"))?;
    neighbour.is_content(place)?;
    neighbour.call("ufw reload; ufw allow 7; ufw --force disable; ufw --force enable", true)?;
    // So that nothing of ufw's remembers this lab.
    world.command(&world.firewall, "umount", &["/etc/ufw"])?;
    Ok(())
}

fn firewalld() -> Outcome {
    let world = World::new()?;
    let mut neighbour = Neighbour::new(&world)?;
    own_copy(&world, "/etc/firewalld", "firewalld")?;
    let bus = format!("unix:path={}", world.folder.join("bus").display());
    let config = world.folder.join("bus.conf");
    fs::write(
        &config,
        format!(
            "<busconfig><type>system</type><listen>{bus}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow user=\"*\"/><allow own=\"*\"/><allow send_type=\"method_call\"/><allow send_type=\"signal\"/>\
             <allow send_type=\"method_return\"/><allow send_type=\"error\"/><allow receive_type=\"method_call\"/>\
             <allow receive_type=\"signal\"/><allow receive_type=\"method_return\"/><allow receive_type=\"error\"/>\
             </policy></busconfig>"
        ),
    )?;
    neighbour.environment = vec![("DBUS_SYSTEM_BUS_ADDRESS", bus.clone())];
    let spawn = |program: &str, arguments: &[&str]| -> io::Result<Program> {
        let mut command = Command::new(program);
        command.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", &bus).stdin(Stdio::null());
        let log = fs::File::create(world.folder.join(format!("{program}.log")))?;
        Ok(Program::of(world.firewall.spawn(command.stdout(log.try_clone()?).stderr(log))?))
    };
    let config = format!("--config-file={}", config.display());
    let _bus = spawn("dbus-daemon", &["--nofork", "--nopidfile", &config])?;
    neighbour.postern.wait_for("there is a bus", || Ok(world.folder.join("bus").exists()))?;
    let _firewalld = spawn("firewalld", &["--nofork", "--nopid"])?;
    neighbour.postern.wait_for("firewalld runs", || neighbour.shell("firewall-cmd --state").map(|_| true))?;
    neighbour.shell(
        "firewall-cmd --permanent --zone=public --add-interface=outside0 --add-interface=third0
         firewall-cmd --permanent --zone=internal --add-interface=inside0
         firewall-cmd --permanent --zone=public --add-port=5060/udp
         firewall-cmd --permanent --zone=internal --add-port=5060/udp
         firewall-cmd --reload",
    )?;
    let place = "table inet firewalld, chain filter_FORWARD";
    let advice = neighbour.misses(place, "firewall-cmd --permanent --new-policy postern")?;
    neighbour.shell(&advice)?;
    if fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok() {
        neighbour.is_content(place)?;
    }
    neighbour.call("firewall-cmd --reload; firewall-cmd --complete-reload", true)?;
    world.command(&world.firewall, "umount", &["/etc/firewalld"])?;
    Ok(())
}

/// What OpenWrt's fw4 makes of its zones `lan` and `wan`, in its own chains; it writes includes with the position `chain-pre`
/// where `PRE` is. fw4 itself needs OpenWrt.
const FW4: &str = r#"
flush ruleset
table inet fw4 {
  chain handle_reject {
    meta l4proto tcp reject with tcp reset
    reject with icmpx type port-unreachable
  }
  chain accept_to_lan {
    oifname "inside0" counter accept
  }
  chain accept_to_wan {
    meta nfproto ipv4 oifname "outside0" ct state invalid counter drop
    oifname "outside0" counter accept
  }
  chain reject_from_wan {
    iifname "outside0" counter jump handle_reject
  }
  chain reject_to_wan {
    oifname "outside0" counter jump handle_reject
  }
  chain input_wan {
    meta nfproto ipv4 udp dport 68 counter accept
    icmp type echo-request counter accept
    udp dport 5060 counter accept
    jump reject_from_wan
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "lo" accept
    ct state established,related accept
    tcp flags & (fin | syn | rst | ack) == syn limit rate 25/second burst 50 packets return
    iifname "outside0" jump input_wan
  }
  chain forward_lan {
    jump accept_to_wan
    jump accept_to_lan
  }
  chain forward_wan {
    meta l4proto esp counter jump accept_to_lan
    udp dport 500 counter jump accept_to_lan
    jump reject_to_wan
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    PRE
    ct state established,related accept
    iifname "inside0" jump forward_lan
    iifname "outside0" jump forward_wan
    jump handle_reject
  }
  chain mangle_prerouting {
    type filter hook prerouting priority mangle; policy accept;
  }
}
"#;

fn openwrt() -> Outcome {
    let world = World::new()?;
    let neighbour = Neighbour::new(&world)?;
    world.nft(&FW4.replace("PRE", ""))?;
    let place = "table inet fw4, chain forward";
    let advice = neighbour.misses(place, "uci set firewall.@include[-1].position='chain-pre'")?;
    expect(advice.contains("uci set firewall.@include[-1].chain='forward'"), true, &advice)?;
    // What uci stands for here: the file is included where it says.
    let line = advice.lines().next().and_then(|line| line.split('\'').nth(1)).ok_or("no line")?;
    let included = FW4.replace("PRE", line);
    world.nft(&included)?;
    neighbour.is_content(place)?;
    let file = world.folder.join("fw4.nft");
    fs::write(&file, &included)?;
    neighbour.call(&format!("nft -f {}", file.display()), false)?;
    // In a chain where no such packet comes.
    world.nft(&FW4.replace("PRE", "").replace("    tcp flags", &format!("    {line}\n    tcp flags")))?;
    neighbour.misses(place, "chain-pre")?;
    Ok(())
}

/// In `observe` mode the firewall decides as ever, and `status` tells what would have become of its decisions.
fn observe() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}\n[middlebox]\nmode = \"observe\"\n"))?;
    let status = |key: &str| Ok::<_, io::Error>(postern.json(&["status"])?["middlebox"][key].clone());
    expect(status("observes")?, true.into(), "observes")?;
    // Everything the inside sends passes, and the answers to it: a firewall without pinholes, and a call on it.
    let witness = Witness::start(&world, &postern)?;
    postern.wait_for("what passes is counted", || Ok(status("passed")?.as_u64() >= Some(40)))?;
    expect(status("dropped")?, 0.into(), "packets it would have dropped")?;
    // The same packets without a call, counted as what they are, and not kept from passing.
    let (media, tally) = (witness.media.heard(), witness.media.tally());
    expect(tally.strange, Vec::new(), "packets that are not of the running call")?;
    let stray = crate::raw::bind(&world.inside, "10.0.40.21:30000")?;
    stray.send_to(b"stray", (crate::world::OUTSIDE, crate::media::RTP_OUTSIDE))?;
    postern.wait_for("it is let out as ever", || Ok(witness.media.tally().strange.len() == 1))?;
    expect(status("dropped")?, 1.into(), "packets it would have dropped")?;
    expect(witness.media.heard() >= media, true, "media goes on")?;
    let file = postern.file.display().to_string();
    let (_, said) = run(&world.firewall, &[], &["check", &file])?;
    expect(said.contains("the gate only observes"), true, &said)?;
    witness.hang_up()?;
    Ok(())
}

fn routing_rule() -> Outcome {
    let world = World::new()?;
    let neighbour = Neighbour::new(&world)?;
    expect(neighbour.check("routing rule").is_err(), true, "no such rule yet")?;
    neighbour.shell("ip rule add fwmark 0x1000000/0xff000000 priority 77 lookup 100")?;
    let (grade, _) = neighbour.check("routing rule 77 asks for the mark")?;
    expect(grade, "warning".to_owned(), "a routing rule with our mark")?;
    Ok(())
}
