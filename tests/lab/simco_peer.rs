//! Conformance to RFC 4540: `postern middlebox` and `postern agent`, each with the other end in Python, which was written
//! from the RFC alone (`tests/simco-peer`). One trial for each part of the cases; `docs/conformance.md` lists them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use certificates::{Ca, Leaf, Signed};
use netns::Host;
use nix::unistd::{User, chown};
use serde_json::{Value, json};

use crate::simco_subject::{BOTH, ENCRYPTED, GUARDED, LARGE, PROVEN, SMALL, Subject, TRANSLATING, Way};
use crate::world::{Named, Outcome, Program, World, net, text};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("simco_peer::silence", || conforms(LARGE, &["patience"])),
        ("simco_peer::mutations", || conforms(LARGE, &["mutations"])),
        ("simco_peer::messages", || conforms(LARGE, &["framing"])),
        ("simco_peer::sessions", || conforms(LARGE, &["session", "capabilities", "shutdown"])),
        ("simco_peer::rules", || {
            conforms(LARGE, &["reserve", "enable", "enable_reserved", "groups", "disable"])
        }),
        ("simco_peer::lives_of_rules", || conforms(LARGE, &["lifetimes", "status", "notifications"])),
        ("simco_peer::packets", || conforms(LARGE, &["packets"])),
        ("simco_peer::a_small_middlebox", || conforms(SMALL, &["small"])),
        ("simco_peer::rights_of_agents", || conforms(GUARDED, &["authority", "disable"])),
        ("simco_peer::translation", || conforms(TRANSLATING, &["nat"])),
        ("simco_peer::authentication", || conforms(PROVEN, &["authentication"])),
        ("simco_peer::over_tls_sessions", || {
            conforms(ENCRYPTED, &["session", "capabilities", "mutations", "shutdown"])
        }),
        ("simco_peer::over_tls_messages", || conforms(ENCRYPTED, &["framing", "patience"])),
        ("simco_peer::over_tls_rules", || {
            conforms(
                ENCRYPTED,
                &["reserve", "enable", "enable_reserved", "groups", "disable", "lifetimes", "status"],
            )
        }),
        ("simco_peer::over_tls_packets", || conforms(ENCRYPTED, &["notifications", "packets"])),
        ("simco_peer::over_tls_with_secrets", || conforms(BOTH, &["authentication"])),
        ("simco_peer::agent_sessions", || serves("reserve = false", &["agent_sessions"])),
        ("simco_peer::agent_authentication", || {
            serves_over(Way::Secret, "reserve = false", &["agent_authentication"])
        }),
        ("simco_peer::agent_over_tls", || {
            serves_over(Way::Tls, "reserve = false", &["agent_sessions", "agent_replies", "agent_mutations"])
        }),
        ("simco_peer::agent_over_tls_with_a_secret", || {
            serves_over(Way::TlsWithSecret, "reserve = false", &["agent_authentication"])
        }),
        ("simco_peer::agent_refusals", || serves("reserve = false", &["agent_refusals"])),
        ("simco_peer::agent_replies", || serves("reserve = false", &["agent_replies"])),
        ("simco_peer::agent_mutations", || serves("reserve = false", &["agent_mutations"])),
        ("simco_peer::agent_events", || serves("reserve = false", &["agent_events"])),
        ("simco_peer::agent_reserves", || serves("reserve = true", &["agent_reserves"])),
        ("simco_peer::agent_counters", || {
            serves(
                "reserve = false\nmedia-timeout = \"10s\"\n[timers]\nrule-lifetime = \"10s\"",
                &["agent_counters"],
            )
        }),
    ]
}

/// An agent whose middlebox and phones are in the Python peer.
const AGENT: &str = r#"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]

[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24"]

[[route]]
to = "inside"
next-hop = "sip:10.9.0.2"

[[route]]
to = "outside"
next-hop = "sip:10.9.0.1"

[middlebox]
connect = "CONNECT"
"#;

/// The folder of the Python peer.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/simco-peer")
}

/// Starts a program of the Python peer on a host.
fn python(host: &Host, program: &str, arguments: &[&str]) -> io::Result<Program> {
    let child = host.spawn(
        Command::new("python3")
            .arg("-B")
            .arg(folder().join(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit()),
    )?;
    Ok(Program::of(child))
}

/// Waits for a file; the time only bounds a failure.
fn wait_for(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{} does not appear", path.display())));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// One half of Postern alone on the firewall, its log in the world's folder.
fn half(world: &World, name: &str, config: &str) -> io::Result<Program> {
    let run = world.folder.join("run");
    let file = world.folder.join("postern.toml");
    fs::write(&file, format!("run-dir = {:?}\n{config}", run.display().to_string()))?;
    let log = fs::File::create(world.folder.join("postern.log"))?;
    let child = world.firewall.spawn(
        Command::new(env!("CARGO_BIN_EXE_postern"))
            .args([name, "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log),
    )?;
    Ok(Program::of(child))
}

/// Runs the cases of these groups from the outside host.
fn conforms(subject: Subject, groups: &[&str]) -> Outcome {
    let world = World::new()?;
    // A stranger, and more agents.
    for address in ["198.51.100.22/24", "198.51.100.23/24", "198.51.100.24/24"] {
        world.outside.address("eth0", net(address)?)?;
    }
    let known = papers(&world, subject.way)?;
    let folder = world.folder.display().to_string();
    let postern = half(&world, "middlebox", &subject.config.replace("FOLDER", &folder))?;
    let post = |host: &Host, name: &str| {
        let socket = world.folder.join(name);
        let program = python(host, "post.py", &[&socket.display().to_string()])?;
        wait_for(&socket)?;
        Ok::<_, io::Error>((program, socket))
    };
    let (_inside, inside) = post(&world.inside, "inside.post")?;
    let (_outside, outside) = post(&world.outside, "outside.post")?;
    let mut around = json!({
        "middlebox": ["198.51.100.1", 7626],
        "middlebox_v6": ["2001:db8:a::1", 7626],
        "socket": world.folder.join("run/simco.sock"),
        "process": postern.id(),
        "posts": { "inside": inside, "outside": outside },
        "own": "198.51.100.20",
        "other": "198.51.100.21",
        "stranger": "198.51.100.22",
        "inside": "10.0.40.20",
        "inside_other": "10.0.40.21",
        "inside_v6": "2001:db8:b::20",
        "inside_network": "10.0.40.0/24",
        "outside": "198.51.100.20",
        "outside_v6": "2001:db8:a::20",
        "denied": subject.denied,
        "last_port": 32767,
        "lifetime_max": subject.lifetime_max,
        "versions": subject.versions,
        "may_disable": subject.rights,
        "nat_address": "198.51.100.1",
        "nat_ports": [24000, 24399],
    });
    if subject.rights {
        around["bound"] = "198.51.100.24".into();
        around["warden"] = "198.51.100.23".into();
    }
    if subject.way.has_secrets() {
        for (who, address) in
            [("plain", "198.51.100.23"), ("roamer", "198.51.100.22"), ("wanderer", "198.51.100.22")]
        {
            around[who] = address.into();
        }
        around["secrets"] = known["secrets"].clone();
    }
    if subject.way.is_tls() {
        around["tls"] = known["tls"].clone();
    }
    let file = world.folder.join("world.json");
    fs::write(&file, around.to_string())?;
    let file = file.display().to_string();
    let arguments = [&[file.as_str()], groups].concat();
    verdict(&world, python(&world.outside, "run.py", &arguments)?)?;
    let alive = Path::new(&format!("/proc/{}/exe", postern.id())).exists();
    assert!(alive || groups.contains(&"shutdown"), "the middlebox has ended");
    Ok(())
}

/// What the cases say in the end, or why they have failed, with Postern's side of it.
fn verdict(world: &World, cases: Program) -> Outcome {
    match text(cases.output()?) {
        Ok(cases) => Ok(fs::write(world.folder.join("cases.log"), cases)?),
        Err(error) => {
            let log = fs::read_to_string(world.folder.join("postern.log")).unwrap_or_default();
            Err(format!("{error}\nPostern says:\n{log}").into())
        }
    }
}

/// Everybody in the certificates and secrets of the cases; the stranger is known to the CA and to nobody else.
const PEOPLE: [&str; 6] = ["own", "other", "plain", "roamer", "wanderer", "stranger"];

/// Certificates and secrets as files in the world's folder, and what the peer is told of them.
fn papers(world: &World, way: Way) -> io::Result<Value> {
    let at = |name: String| world.folder.join(name).display().to_string();
    let mut told = json!({});
    if way.has_secrets() {
        for who in PEOPLE.iter().filter(|who| !["plain", "stranger"].contains(*who)) {
            let secret = format!("{who}'s secret, which is long enough for all that it is for");
            let path = at(format!("{who}.secret"));
            fs::write(&path, format!("{secret}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            told["secrets"][*who] = secret.into();
        }
    }
    if way.is_tls() {
        let ca = Ca::new("site");
        fs::write(at("ca.pem".into()), &ca.certificate)?;
        let put = |name: &str, signed: &Signed| {
            fs::write(at(format!("{name}.pem")), &signed.certificate)?;
            fs::write(at(format!("{name}.key")), &signed.key)
        };
        let addresses = ["198.51.100.1", "2001:db8:a::1", "127.0.0.1"];
        put("middlebox", &ca.sign(&Leaf { names: &addresses, ..Leaf::valid() }))?;
        for who in PEOPLE {
            put(who, &ca.sign(&Leaf { names: &[&format!("{who}.example.net")], ..Leaf::valid() }))?;
        }
        for who in PEOPLE.into_iter().chain(["middlebox"]) {
            told["tls"][who] = json!({
                "ca": at("ca.pem".into()),
                "certificate": at(format!("{who}.pem")),
                "key": at(format!("{who}.key")),
            });
        }
    }
    Ok(told)
}

/// Runs the cases of these groups for `postern agent`: middlebox and both phones are one Python program beside it.
fn serves(calls: &str, groups: &[&str]) -> Outcome {
    serves_over(Way::Plain, calls, groups)
}

fn serves_over(way: Way, calls: &str, groups: &[&str]) -> Outcome {
    let world = World::new()?;
    for address in ["10.9.0.1/32", "10.9.0.2/32"] {
        world.firewall.address("lo", net(address)?)?;
    }
    let known = papers(&world, way)?;
    let ready = world.folder.join("ready");
    let mut around = json!({
        "ready": ready,
        "middlebox": ["127.0.0.1", 7626],
        "phone_a": ["10.9.0.1", 5060],
        "phone_b": ["10.9.0.2", 5060],
        "border_a": ["198.51.100.1", 5060],
        "border_b": ["10.0.40.1", 5060],
    });
    let folder = world.folder.display();
    let mut section = String::new();
    if way.has_secrets() {
        around["secret"] = known["secrets"]["own"].clone();
        // Where another user than root exists, the agent half becomes one, and has to be able to read it.
        chown_to_nobody(&world.folder.join("own.secret"));
        section += &format!("secret = \"{folder}/own.secret\"\n");
    }
    if way.is_tls() {
        around["tls"] = known["tls"]["middlebox"].clone();
        section += &format!(
            "certificate = \"{folder}/own.pem\"\nkey = \"{folder}/own.key\"\nca = \"{folder}/ca.pem\"\n"
        );
    }
    let file = world.folder.join("world.json");
    fs::write(&file, around.to_string())?;
    let file = file.display().to_string();
    let cases = python(&world.firewall, "play.py", &[&[file.as_str()], groups].concat())?;
    wait_for(&ready)?;
    let agent = AGENT.replace("CONNECT", if way.is_tls() { "tls:127.0.0.1:7626" } else { "127.0.0.1:7626" });
    let postern = half(&world, "agent", &format!("user = \"nobody\"\n{agent}{section}\n[calls]\n{calls}\n"))?;
    verdict(&world, cases)?;
    assert!(Path::new(&format!("/proc/{}/exe", postern.id())).exists(), "the agent has ended");
    Ok(())
}

/// In a user namespace there is nobody else, and the file stays root's.
fn chown_to_nobody(path: &Path) {
    let nobody = User::from_name("nobody").ok().flatten();
    let _ = nobody.map(|user| chown(path, Some(user.uid), Some(user.gid)));
}
