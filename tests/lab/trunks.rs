//! A provider outside that asks for a password and wants to be told where we are: Kamailio, over TLS.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::baresip::Baresip;
use crate::phone::{Answer, Phone as _};
use crate::phones::{Conversation, count_rtp, nothing_is_missing};
use crate::registrations::start;
use crate::secure::Office;
use crate::sip_tls::{certified, config};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, INSIDE, Named, OUTSIDE, Outcome, Postern, Program, World};
use certificates::Leaf;

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("trunks::kamailio_over_tls_asks_for_a_password_and_calls_both_ways", both_ways),
        ("trunks::kamailio_does_not_take_another_password", refused),
        ("trunks::phones_register_with_us_and_call_through_the_provider", phones),
    ]
}

/// Where the provider is.
const PROVIDER: &str = "198.51.100.21";

/// Of Kamailio; words in capitals are replaced.
const SETTINGS: &str = r#"
debug=2
log_stderror=yes
fork=no
children=2
tcp_children=2
enable_tls=yes
listen=udp:PROVIDER:5060
listen=tls:PROVIDER:5061
auto_aliases=no
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "tls.so"
modparam("usrloc", "db_mode", 0)
modparam("tls", "certificate", "CERTIFICATE")
modparam("tls", "private_key", "KEY")
modparam("tls", "tls_method", "TLSv1.2+")
request_route {
  if ($rm == "CANCEL" || $rm == "ACK") {
    if (has_totag()) { loose_route(); }
    t_relay();
    exit;
  }
  if ($rm == "REGISTER") {
    if (!pv_www_authenticate("provider", "open sesame", "0")) {
      www_challenge("provider", "1");
      exit;
    }
    save("location");
    exit;
  }
  if ($si == "BORDER") {
    if (!pv_proxy_authenticate("provider", "open sesame", "0")) {
      proxy_challenge("provider", "1");
      exit;
    }
    consume_credentials();
  }
  if (has_totag()) {
    loose_route();
    t_relay();
    exit;
  }
  record_route();
  if ($rU == "alice") {
    $ru = "sip:alice@ALICE:5060";
    t_relay();
    exit;
  }
  if (!lookup("location")) {
    sl_send_reply("404", "Not registered");
    exit;
  }
  t_relay();
}
"#;

/// A registrar and proxy for one account, who asks for its password in every request that comes from the border but ACK and CANCEL, and
/// for one phone of its own.
fn provider(world: &World, office: &Office) -> io::Result<Program> {
    office.issue("provider", &Leaf { names: &[PROVIDER], ..Leaf::valid() })?;
    let [certificate, key] =
        ["pem", "key"].map(|ending| office.file("provider", ending).display().to_string());
    let file = world.folder.join("kamailio.cfg");
    let words = [
        ("PROVIDER", PROVIDER),
        ("CERTIFICATE", &certificate),
        ("KEY", &key),
        ("BORDER", BORDER_OUTSIDE),
        ("ALICE", OUTSIDE),
    ];
    let settings = words.iter().fold(SETTINGS.to_owned(), |text, (word, value)| text.replace(word, value));
    fs::write(&file, settings)?;
    let kamailio = start(world, &world.outside, &file)?;
    until_it_listens(world)?;
    Ok(kamailio)
}

/// Whoever registers before is told to come again much later.
fn until_it_listens(world: &World) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match world.outside.run(|| TcpStream::connect((PROVIDER, 5061))) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The configuration of `docs/examples/trunk-with-registration.toml`, with the addresses of the lab.
fn with_trunk(world: &World, office: &Office, password: &str) -> io::Result<String> {
    let file = world.folder.join("password");
    fs::write(&file, password)?;
    world.command(&world.firewall, "chmod", &["600", &file.display().to_string()])?;
    let routes = config(&office.keys("border"), "sip:192.0.2.1");
    let routes = routes.split("[[route]]").next().unwrap_or_default();
    Ok(format!(
        "{routes}[trunk.provider]\nrealm = \"outside\"\nnext-hop = \"sips:{PROVIDER}\"\nuser = \"account\"\n\
         password-file = {file:?}\nregister = true\ncontact-user = \"bob\"\n\n\
         [[route]]\nfrom = \"outside\"\nto = \"inside\"\nnext-hop = \"sip:{INSIDE}\"\n\n\
         [[route]]\nfrom = \"inside\"\ntrunk = \"provider\"\n"
    ))
}

fn state(postern: &Postern<'_>) -> io::Result<String> {
    Ok(postern.json(&["trunks"])?["trunks"][0]["state"].as_str().unwrap_or_default().to_owned())
}

fn both_ways() -> Outcome {
    let (world, office) = certified()?;
    let _provider = provider(&world, &office)?;
    let postern = world.postern(&with_trunk(&world, &office, "open sesame\n")?)?;
    postern.wait_for("the provider knows where we are", || Ok(state(&postern)? == "registered"))?;
    let phones = || -> io::Result<(Baresip, Baresip)> {
        let alice = Baresip::start(&world, &world.outside, "alice", OUTSIDE, Answer::AtOnce)?;
        Ok((alice, Baresip::start(&world, &world.inside, "bob", INSIDE, Answer::AtOnce)?))
    };
    for inside_calls in [true, false] {
        for host in [&world.outside, &world.inside] {
            count_rtp(&world, host)?;
        }
        let (alice, bob) = phones()?;
        let mut call = match inside_calls {
            true => {
                Conversation::between(&world, &postern, (bob, alice), &format!("sip:alice@{BORDER_INSIDE}"))?
            }
            false => {
                Conversation::between(&world, &postern, (alice, bob), &format!("sip:account@{PROVIDER}"))?
            }
        };
        nothing_is_missing(&world, &postern)?;
        expect(postern.pinholes()?.0, 2, "pinholes of the call")?;
        call.hang_up()?;
        postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
        postern.wait_for("no call is left", || {
            Ok(postern.json(&["calls"])?["calls"].as_array().is_some_and(Vec::is_empty))
        })?;
    }
    let log = postern.log();
    assert!(log.contains("trunk provider: registered at"), "{log}");
    assert!(!log.contains("refused"), "{log}");
    Ok(())
}

/// The configuration of `docs/examples/phones-and-trunk.toml`: bob and carol inside register with us. Of their passwords there are MD5
/// hashes only: baresip 1.0 gives up where it is asked with SHA-256 as well (it must ignore that: RFC 8760 §2.4).
fn with_phones(world: &World, office: &Office) -> io::Result<String> {
    let users = world.folder.join("users");
    let mut lines = String::new();
    for name in ["bob", "carol"] {
        let hash = format!("printf %s '{name}:site.example:{name}-secret' | md5sum");
        let hash = world.command(&world.firewall, "sh", &["-c", &hash])?;
        lines += &format!("{name} md5 {}\n", hash.split(' ').next().unwrap_or_default());
    }
    fs::write(&users, lines)?;
    world.command(&world.firewall, "chmod", &["600", &users.display().to_string()])?;
    let text = with_trunk(world, office, "open sesame\n")?;
    let to_phones = "to = \"inside\"\nregistered = true\n";
    let text = text
        .replace("media = [", "registrar = true\nauthenticate = [\"REGISTER\", \"INVITE\"]\ndigest-realm = \"site.example\"\nmedia = [")
        .replace(&format!("to = \"inside\"\nnext-hop = \"sip:{INSIDE}\"\n"), to_phones)
        .replace(
            "[[route]]\nfrom = \"inside\"",
            &format!("[[route]]\nusers = [\"bob\", \"carol\"]\n{to_phones}\n[[route]]\nfrom = \"inside\""),
        );
    Ok(format!("users = {users:?}\n{text}"))
}

fn phones() -> Outcome {
    let (world, office) = certified()?;
    let _provider = provider(&world, &office)?;
    let postern = world.postern(&with_phones(&world, &office)?)?;
    postern.wait_for("the provider knows where we are", || Ok(state(&postern)? == "registered"))?;
    // The second bob is another program than the first, who is still in the list: known by a longer time.
    for (inside_calls, time) in [(true, 60), (false, 600)] {
        for host in [&world.outside, &world.inside] {
            count_rtp(&world, host)?;
        }
        let account = format!("<sip:bob@{BORDER_INSIDE}>;auth_user=bob;auth_pass=bob-secret;regint={time}");
        let bob =
            Baresip::with_account(&world, (&world.inside, INSIDE), ("bob", &account), Answer::AtOnce, None)?;
        let alice = Baresip::start(&world, &world.outside, "alice", OUTSIDE, Answer::AtOnce)?;
        postern.wait_for("bob is registered with us", || {
            let list = postern.json(&["registrations"])?;
            let mut lines = list["registrations"].as_array().into_iter().flatten();
            let until = |line: &Value| line["expires_s"].as_u64().unwrap_or_default();
            Ok(lines.any(|line| line["aor"] == "bob" && until(line) > time - 60))
        })?;
        let mut call = match inside_calls {
            true => {
                Conversation::between(&world, &postern, (bob, alice), &format!("sip:alice@{BORDER_INSIDE}"))?
            }
            false => {
                Conversation::between(&world, &postern, (alice, bob), &format!("sip:account@{PROVIDER}"))?
            }
        };
        nothing_is_missing(&world, &postern)?;
        expect(postern.pinholes()?.0, 2, "pinholes of the call")?;
        call.hang_up()?;
        postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    }
    let account = format!("<sip:carol@{BORDER_INSIDE}>;auth_user=carol;auth_pass=bob-secret;regint=60");
    let _carol =
        Baresip::with_account(&world, (&world.inside, INSIDE), ("carol", &account), Answer::AtOnce, None)?;
    postern.wait_for("carol has not the right password", || {
        let line =
            format!("authentication failed: from {INSIDE}, REGISTER in inside as \"carol\": wrong password");
        Ok(postern.log().contains(&line))
    })?;
    Ok(())
}

fn refused() -> Outcome {
    let (world, office) = certified()?;
    let _provider = provider(&world, &office)?;
    let postern = world.postern(&with_trunk(&world, &office, "open says me")?)?;
    postern.wait_for("the provider will not have us", || Ok(state(&postern)? == "failed"))?;
    let list = postern.json(&["trunks"])?;
    let pause = list["trunks"][0]["seconds"].as_u64().unwrap_or_default();
    assert!((600..=1800).contains(&pause), "not asked again soon: {list}");
    let mut bob = Baresip::start(&world, &world.inside, "bob", INSIDE, Answer::AtOnce)?;
    bob.call(&format!("sip:alice@{BORDER_INSIDE}"))?;
    let told = bob.wait_for("CALL_ESTABLISHED").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(told.contains("502"), "the phone is told: {told}");
    let log = postern.log();
    assert!(log.contains("trunk provider: INVITE refused: the trunk does not take the credentials"), "{log}");
    Ok(())
}
