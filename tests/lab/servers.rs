//! Next hops that are names: a real name server (dnsmasq), SRV and NAPTR records, servers that are not there.

use std::io;
use std::process::{Command, Stdio};

use crate::raw::{Wire, header};
use crate::sipp::Callee;
use crate::world::{
    BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, Postern, Program, World,
};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("servers::the_domain_chooses_tcp", the_domain_chooses_tcp),
        ("servers::the_next_server_gets_the_call", the_next_server_gets_the_call),
        ("servers::check_says_where_calls_go", check_says_where_calls_go),
        ("servers::routes_choose_by_number", routes_choose_by_number),
        ("servers::next_hops_are_asked_whether_they_are_there", asked),
    ]
}

/// The inside network's name server; it listens on the firewall's own loopback.
pub(crate) const NAME_SERVER: &str = "127.0.0.53:5353";
/// Another address of the inside phone's host, on which nothing listens.
const DEAD: &str = "10.0.40.21";

fn config() -> String {
    format!("name-servers = [\"{NAME_SERVER}\"]\n{}", CONFIG.replace("sip:10.0.40.20", "sip:pbx.example"))
}

/// Serves these records from the firewall.
pub(crate) fn name_server(world: &World, records: &[&str]) -> io::Result<Program> {
    let (address, port) = NAME_SERVER.split_once(':').unwrap_or_default();
    world.command(&world.firewall, "ip", &["link", "set", "lo", "up"])?;
    let child = world.firewall.spawn(
        Command::new("dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"])
            .args([format!("--listen-address={address}"), format!("--port={port}"), "--user=root".into()])
            .arg(format!("--pid-file={}", world.folder.join("dnsmasq.pid").display()))
            .arg("--local=/example/")
            .args(records)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let server = Program::of(child);
    // It serves once its socket is there.
    let listens = ["-Hlnu", "sport", "=", ":5353"];
    while world.command(&world.firewall, "ss", &listens)?.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(server)
}

/// Calls bob.
fn call(world: &World, postern: &Postern<'_>, count: u32) -> io::Result<()> {
    dial(world, "bob", count).map_err(|error| io::Error::other(format!("{error}\n{}", postern.log())))?;
    postern.wait_for("no call and no pinhole is left", || {
        let calls = postern.json(&["calls"])?;
        Ok(calls["calls"].as_array().is_some_and(Vec::is_empty) && postern.pinholes()? == (0, 0))
    })
}

/// SIPp's own caller; fails if a call does.
fn dial(world: &World, user: &str, count: u32) -> io::Result<String> {
    let (border, count) = (format!("{BORDER_OUTSIDE}:5060"), count.to_string());
    let arguments =
        ["-sn", "uac", &border, "-i", OUTSIDE, "-p", "5060", "-mp", "20000", "-m", &count, "-r", "10"];
    let rest = ["-d", "100", "-s", user, "-nostdin", "-timeout", "60s", "-timeout_error"];
    let all = [arguments.as_slice(), rest.as_slice()].concat();
    world.command(&world.outside, "sipp", &all)
}

/// NAPTR prefers TCP: the INVITE of a caller over UDP arrives over TCP, at the port of the SRV record.
fn the_domain_chooses_tcp() -> Outcome {
    let world = World::new()?;
    let host = format!("--host-record=one.pbx.example,{INSIDE}");
    let _names = name_server(
        &world,
        &[
            &host,
            "--naptr-record=pbx.example,20,10,s,SIP+D2U,,_sip._udp.pbx.example",
            "--naptr-record=pbx.example,10,10,s,SIP+D2T,,_sip._tcp.pbx.example",
            "--srv-host=_sip._tcp.pbx.example,one.pbx.example,5060,0,0",
            "--srv-host=_sip._udp.pbx.example,one.pbx.example,5090,0,0",
        ],
    )?;
    let postern = world.postern(&config())?;
    // It listens on TCP only: over UDP nobody would answer.
    let callee = Callee::start(&world, &world.inside, INSIDE, "t1")?;
    call(&world, &postern, 5)?;
    assert_eq!(callee.finish()?, (5, 0), "calls that the callee saw succeed and fail");
    Ok(())
}

/// The best server is not there: the kernel says so, and the next one gets the call; then calls begin with that one.
fn the_next_server_gets_the_call() -> Outcome {
    let world = World::new()?;
    let (dead, alive) =
        (format!("--host-record=dead.example,{DEAD}"), format!("--host-record=alive.example,{INSIDE}"));
    let _names = name_server(
        &world,
        &[
            &dead,
            &alive,
            "--srv-host=_sip._udp.pbx.example,dead.example,5060,10,0",
            "--srv-host=_sip._udp.pbx.example,alive.example,5060,20,0",
        ],
    )?;
    let postern = world.postern(&config())?;
    let callee = Callee::start(&world, &world.inside, INSIDE, "u1")?;
    call(&world, &postern, 3)?;
    assert_eq!(callee.finish()?, (3, 0), "calls that the callee saw succeed and fail");
    Ok(())
}

/// `postern check` looks the name up as a call would, and says so when nobody serves it.
fn check_says_where_calls_go() -> Outcome {
    let world = World::new()?;
    let host = format!("--host-record=one.pbx.example,{INSIDE}");
    let records = [host.as_str(), "--srv-host=_sip._udp.pbx.example,one.pbx.example,5062,0,0"];
    let file = world.folder.join("postern.toml");
    std::fs::write(&file, config())?;
    let check = || {
        let child = world.firewall.spawn(
            Command::new(env!("CARGO_BIN_EXE_postern"))
                .args(["check", "--config"])
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )?;
        let output = child.wait_with_output()?;
        Ok::<_, io::Error>(
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let names = name_server(&world, &records)?;
    let said = check()?;
    assert!(said.contains("pbx.example is served at UDP 10.0.40.20:5062"), "{said}");
    drop(names);
    let _none = name_server(&world, &[])?;
    let said = check()?;
    assert!(
        said.contains("sip:pbx.example: nobody serves SIP there that realm inside can send to"),
        "{said}"
    );
    Ok(())
}

/// Numbers decide: one is refused, others go to the first next hop that works, the rest has no route.
fn routes_choose_by_number() -> Outcome {
    let world = World::new()?;
    let routes = format!(
        "[[route]]\nusers = [\"+49900*\"]\nrefuse = 403\n\n[[route]]\nto = \"inside\"\nusers = [\"+49*\"]\n\
         next-hop = [\"sip:{DEAD}\", \"sip:{INSIDE}\"]\n"
    );
    let realms = CONFIG.split("[[route]]").next().unwrap_or_default();
    let postern = world.postern(&format!("{realms}{routes}"))?;
    let callee = Callee::start(&world, &world.inside, INSIDE, "u1")?;
    dial(&world, "+49301234", 2)?;
    for (user, status) in [("%2B49-900-1", "403"), ("+44123", "404")] {
        let said = dial(&world, user, 1).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(status), "{user}: {said}");
    }
    postern.wait_for("no call is left", || {
        Ok(postern.json(&["calls"])?["calls"].as_array().is_some_and(Vec::is_empty))
    })?;
    assert_eq!(callee.finish()?, (2, 0), "calls that the callee saw succeed and fail");
    Ok(())
}

/// One next hop has nobody, then somebody who answers 200, then 503: each is seen, and calls go past it meanwhile.
fn asked() -> Outcome {
    let world = World::new()?;
    let routes = CONFIG.replace("\"sip:10.0.40.20\"", "[\"sip:10.0.40.21\", \"sip:10.0.40.20\"]");
    let postern = world.postern(&format!("{routes}\n[timers]\nping = \"1s\"\n"))?;
    let down = || Ok::<_, io::Error>(postern.json(&["status"])?["agent"]["next_hops_down"].clone());
    let is_down =
        || Ok(down()?.as_array().is_some_and(|down| down.iter().any(|one| *one == "UDP 10.0.40.21:5060")));
    let callee = Callee::start(&world, &world.inside, INSIDE, "u1")?;
    postern.wait_for("the next hop without anybody is down", is_down)?;
    call(&world, &postern, 3)?;
    assert_eq!(callee.finish()?, (3, 0), "calls that the callee saw succeed and fail");
    let server = Wire::bind(&world.inside, &format!("{DEAD}:5060"))?;
    let answer = |status: &str| -> io::Result<()> {
        let asked = server.next()?;
        assert!(asked.starts_with("OPTIONS sip:10.0.40.21:5060 "), "{asked}");
        let lines = ["Via", "From", "To", "Call-ID", "CSeq"]
            .map(|name| format!("{name}: {}\r\n", header(&asked, name)));
        let text = format!("SIP/2.0 {status}\r\n{}Content-Length: 0\r\n\r\n", lines.concat());
        server.socket.send_to(text.as_bytes(), (BORDER_INSIDE, 5060)).map(drop)
    };
    answer("200 OK")?;
    postern.wait_for("it is there", || Ok(!is_down()?))?;
    answer("503 Service Unavailable")?;
    postern.wait_for("it takes no calls", is_down)?;
    for line in ["UDP 10.0.40.21:5060 does not answer OPTIONS", "UDP 10.0.40.21:5060 answers again"] {
        assert!(postern.log().contains(line), "{line}: {}", postern.log());
    }
    Ok(())
}
