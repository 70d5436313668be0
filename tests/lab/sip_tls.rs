//! SIP over TLS: phones, certificates and names, with the real binary between.

use std::fs;
use std::io;
use std::thread;

use certificates::{Ca, Leaf, now};

use crate::baresip::{Baresip, Tls};
use crate::hostile_host::run;
use crate::linphone::{self, Linphone};
use crate::phone::{Answer, Phone as _};
use crate::phones::{CONVERSATION, Conversation, count_rtp, nothing_is_missing, rtp};
use crate::raw::{Request, Wire, header, sdp, status};
use crate::secure::{Office, Secure, Server};
use crate::servers::{NAME_SERVER, name_server};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("sip_tls::a_phone_over_tls_calls_one_over_udp", || talk(true, false)),
        ("sip_tls::a_phone_over_udp_calls_one_over_tls", || talk(false, false)),
        ("sip_tls::sound_encrypted_with_keys_in_sdp_passes", || talk(true, true)),
        ("sip_tls::linphone_calls_over_tls", linphone_calls),
        ("sip_tls::certificates_are_replaced_while_a_call_runs", replaced),
        ("sip_tls::a_server_with_another_name_gets_no_call", names),
        ("sip_tls::a_sips_call_goes_over_tls_or_not_at_all", sips),
        ("sip_tls::peers_show_certificates_and_ask_for_ours_by_name", mutual),
        ("sip_tls::a_connection_that_a_server_has_made_is_used_for_calls_to_it", alias),
        ("sip_tls::check_names_the_file_and_its_line", check),
    ]
}

/// Where Postern serves TLS outside, and the name in its certificate.
pub(crate) const DOOR: &str = "198.51.100.1:5061";
pub(crate) const NAME: &str = "sip.example.net";

/// Lets TLS in as well.
fn open(world: &World) -> io::Result<()> {
    world.nft("insert rule inet filter input tcp dport 5061 accept").map(drop)
}

/// TLS outside with these keys, UDP inside and outside.
pub(crate) fn config(keys: &str, to_outside: &str) -> String {
    format!(
        "[realm.outside]\nlisten = [\"udp:{BORDER_OUTSIDE}\", \"tls:{BORDER_OUTSIDE}\"]\n{keys}\n\
         [realm.inside]\nlisten = [\"udp:{BORDER_INSIDE}\"]\nmedia = [\"10.0.40.0/24\"]\n\n\
         [[route]]\nto = \"inside\"\nnext-hop = \"sip:{INSIDE}\"\n\n\
         [[route]]\nto = \"outside\"\nnext-hop = \"{to_outside}\"\n"
    )
}

/// A world with a certificate of ours, and one for the phone outside that proves its address.
pub(crate) fn certified() -> io::Result<(World, Office)> {
    let world = World::new()?;
    open(&world)?;
    let office = Office::open(&world)?;
    office.issue("border", &Leaf { names: &[NAME, BORDER_OUTSIDE, BORDER_INSIDE], ..Leaf::valid() })?;
    let phone = office.issue("phone", &Leaf { names: &[OUTSIDE], ..Leaf::valid() })?;
    fs::write(office.file("phone", "both"), phone.certificate + &phone.key)?;
    Ok((world, office))
}

fn phone_files(office: &Office) -> Tls {
    Tls { certificate: office.file("phone", "both"), ca: office.ca_file() }
}

/// baresip over TLS outside, baresip over UDP inside: all sound arrives, and nothing stays open.
fn talk(from_outside: bool, sdes: bool) -> Outcome {
    let (world, office) = certified()?;
    let postern =
        world.postern(&config(&office.keys("border"), &format!("sip:{OUTSIDE}:5061;transport=tls")))?;
    let mut call = conversation(&world, &postern, &office, (from_outside, sdes))?;
    nothing_is_missing(&world, &postern)?;
    expect(postern.pinholes()?.0, 2, "pinholes of the call")?;
    call.hang_up()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

fn conversation(
    world: &World,
    postern: &crate::world::Postern<'_>,
    office: &Office,
    (from_outside, sdes): (bool, bool),
) -> io::Result<Conversation> {
    for host in [&world.outside, &world.inside] {
        count_rtp(world, host)?;
    }
    let files = phone_files(office);
    let sound = (Answer::AtOnce, sdes);
    let outside = Baresip::over(world, (&world.outside, OUTSIDE), "alice", sound, Some(&files))?;
    let inside = Baresip::over(world, (&world.inside, INSIDE), "bob", sound, None)?;
    match from_outside {
        true => {
            let called = format!("sip:bob@{DOOR};transport=tls");
            Conversation::between(world, postern, (outside, inside), &called)
        }
        false => {
            Conversation::between(world, postern, (inside, outside), &format!("sip:alice@{BORDER_INSIDE}"))
        }
    }
}

/// linphone calls over TLS; the callee hangs up, and the BYE finds its way down the caller's connection.
fn linphone_calls() -> Outcome {
    let (world, office) = certified()?;
    let postern = world.postern(&config(&office.keys("border"), &format!("sip:{OUTSIDE}")))?;
    for host in [&world.outside, &world.inside] {
        count_rtp(&world, host)?;
    }
    let mut callee = Baresip::start(&world, &world.inside, "bob", INSIDE, Answer::AtOnce)?;
    let (host, own) = (&world.outside, linphone::TLS);
    let mut caller = Linphone::start(&world, host, "alice", OUTSIDE, Answer::WhenTold, own)?;
    caller.call(&format!("sip:bob@{DOOR};transport=tls"))?;
    callee.wait_for("CALL_ESTABLISHED")?;
    postern.wait_for("both phones have heard a second of sound", || {
        Ok(rtp(&world, &world.outside)?.1 >= CONVERSATION && rtp(&world, &world.inside)?.1 >= CONVERSATION)
    })?;
    callee.hang_up()?;
    postern.wait_for("the call is over at both ends", || {
        let over = postern.json(&["calls"])?["calls"].as_array().is_some_and(Vec::is_empty);
        Ok(over && postern.pinholes()? == (0, 0))
    })?;
    let ended = postern.json(&["calls", "--ended"])?;
    expect(ended["calls"][0]["established"].as_bool(), Some(true), "an established call")?;
    Ok(())
}

/// A new certificate is shown to new connections; a call and an idle connection go on with the old one.
fn replaced() -> Outcome {
    let (world, office) = certified()?;
    let first = office.issue("border", &Leaf { names: &[NAME], ..Leaf::valid() })?;
    let postern =
        world.postern(&config(&office.keys("border"), &format!("sip:{OUTSIDE}:5061;transport=tls")))?;
    let mut call = conversation(&world, &postern, &office, (true, false))?;
    let old = Secure::connect(&office, (&world.third, DOOR), NAME, None)?;
    expect(old.shown() == first.der, true, "the first certificate is shown")?;
    let second =
        office.issue("border", &Leaf { names: &[NAME], not_after: now() + 900 * 86_400, ..Leaf::valid() })?;
    // A key that is not the certificate's changes nothing.
    fs::rename(office.file("border", "pem"), office.file("border", "later"))?;
    fs::write(office.file("border", "pem"), &first.certificate)?;
    postern.text(&["reload"])?;
    postern.wait_for("the log says what is wrong with the files", || {
        Ok(postern.log().contains("this key is not that of the certificate"))
    })?;
    let between = Secure::connect(&office, (&world.third, DOOR), NAME, None)?;
    expect(between.shown() == first.der, true, "the first certificate is still shown")?;
    fs::rename(office.file("border", "later"), office.file("border", "pem"))?;
    postern.text(&["reload"])?;
    let new = Secure::connect(&office, (&world.third, DOOR), NAME, None)?;
    expect(new.shown() == second.der, true, "the second certificate is shown")?;
    for mut connection in [old, new] {
        let options = Request::new("OPTIONS", connection.local).tls();
        expect(status(&connection.ask(&options)?), 200, "the answer to OPTIONS")?;
    }
    nothing_is_missing(&world, &postern)?;
    call.hang_up()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

/// TLS towards a server inside that is found by its name.
fn to_a_name(office: &Office, next_hop: &str) -> String {
    let keys = office.keys("border");
    format!(
        "name-servers = [\"{NAME_SERVER}\"]\n\
         [realm.outside]\nlisten = [\"udp:{BORDER_OUTSIDE}\", \"tls:{BORDER_OUTSIDE}\"]\n{keys}\n\
         [realm.inside]\nlisten = [\"udp:{BORDER_INSIDE}\", \"tls:{BORDER_INSIDE}\"]\nmedia = [\"10.0.40.0/24\"]\n{keys}\n\
         [[route]]\nto = \"inside\"\nnext-hop = \"{next_hop}\"\n"
    )
}

/// The records of `pbx.example`: TLS at a host of another name.
fn records() -> [String; 2] {
    [
        format!("--host-record=one.pbx.example,{INSIDE}"),
        "--srv-host=_sips._tcp.pbx.example,one.pbx.example,5061,0,0".to_owned(),
    ]
}

fn invite(from: std::net::SocketAddr) -> Request {
    Request::new("INVITE", from).sdp(sdp(OUTSIDE, 20_000))
}

/// RFC 5922 §7.3: the certificate must be for the name that was looked for, not for the host that the DNS made of it.
fn names() -> Outcome {
    let (world, office) = certified()?;
    let records = records();
    let _names = name_server(&world, &records.each_ref().map(String::as_str))?;
    let postern = world.postern(&to_a_name(&office, "sip:pbx.example;transport=tls"))?;
    let wire = Wire::open(&world.outside, OUTSIDE)?;
    let place = format!("{INSIDE}:5061");
    let stranger = Ca::new("somebody else's").sign(&Leaf { names: &["pbx.example"], ..Leaf::valid() });
    let host = office.issue("host", &Leaf { names: &["one.pbx.example", "*.example"], ..Leaf::valid() })?;
    for (shown, why) in [(host, "is not for pbx.example"), (stranger, "was signed by nobody we trust")] {
        let server = Server::listen(&world.inside, &place, &shown)?;
        let refused = thread::scope(|scope| {
            let waiting = scope.spawn(|| server.accept().is_err());
            let answer = wire.ask(&invite(wire.local))?;
            expect(status(&answer), 500, "a call to a server that is somebody else")?;
            waiting.join().map_err(|_| io::Error::other("the server panicked"))
        })?;
        expect(refused, true, "the connection is refused")?;
        postern.wait_for(why, || Ok(postern.log().contains(why)))?;
    }
    // The name of the domain in a SIP URI.
    let domain =
        office.issue("domain", &Leaf { names: &["one.pbx.example", "sip:PBX.example"], ..Leaf::valid() })?;
    let server = Server::listen(&world.inside, &place, &domain)?;
    let heard = busy(&server, || wire.ask(&invite(wire.local)))?;
    expect(
        header(&heard, "Via").starts_with("SIP/2.0/TLS 10.0.40.1:5061"),
        true,
        &format!("Via of {heard}"),
    )?;
    let contact = header(&heard, "Contact");
    expect(contact, "<sip:10.0.40.1:5061;transport=tls>", "Contact towards a server over TLS")?;
    Ok(())
}

/// Runs a call that the server answers 486, and gives the INVITE it got.
fn busy(server: &Server, call: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut peer = server.accept()?;
            let invite = peer.next()?;
            peer.answer(&invite, "486 Busy Here", "", "")?;
            let ack = peer.next()?;
            expect(ack.starts_with("ACK "), true, &format!("an ACK in {ack}"))?;
            Ok::<_, io::Error>(invite)
        });
        let answer = call()?;
        expect(status(&answer), 486, &format!("the answer of a busy server: {answer}"))?;
        waiting.join().map_err(|_| io::Error::other("the server panicked"))?
    })
}

/// RFC 5630 §5.3: a SIPS URI never leaves TLS; where it would have to it is refused, with 480 and Warning 380.
fn sips() -> Outcome {
    let (world, office) = certified()?;
    let records = records();
    let _names = name_server(&world, &records.each_ref().map(String::as_str))?;
    let domain = office.issue("domain", &Leaf { names: &["pbx.example"], ..Leaf::valid() })?;
    let secure = |from: std::net::SocketAddr| invite(from).tls().text().replace("sip:bob@", "sips:bob@");
    {
        let postern = world.postern(&to_a_name(&office, "sips:pbx.example"))?;
        let server = Server::listen(&world.inside, &format!("{INSIDE}:5061"), &domain)?;
        let mut phone = Secure::connect(&office, (&world.outside, DOOR), NAME, None)?;
        let heard = busy(&server, || {
            phone.send(secure(phone.local))?;
            phone.next()
        })
        .map_err(|error| io::Error::other(format!("{error}\n{}", postern.log())))?;
        expect(heard.starts_with("INVITE sips:bob@"), true, &format!("the Request-URI of {heard}"))?;
        expect(header(&heard, "Contact"), "<sips:10.0.40.1:5061>", "Contact of a call to a SIPS URI")?;
    }
    let _postern = world.postern(&to_a_name(&office, &format!("sip:{INSIDE};transport=udp")))?;
    let mut phone = Secure::connect(&office, (&world.outside, DOOR), NAME, None)?;
    phone.send(secure(phone.local))?;
    let answer = phone.next()?;
    expect(status(&answer), 480, &format!("a SIPS URI towards UDP: {answer}"))?;
    expect(header(&answer, "Warning").starts_with("380 "), true, &format!("Warning of {answer}"))?;
    Ok(())
}

/// Mutual TLS, and several certificates on one listener.
fn mutual() -> Outcome {
    let (world, office) = certified()?;
    let second = office.issue("second", &Leaf { names: &["sip.example.org"], ..Leaf::valid() })?;
    let list = |ending| ["border", "second"].map(|name| office.file(name, ending));
    let keys = |more: &str| {
        let (pem, key, ca) = (list("pem"), list("key"), office.ca_file());
        format!("certificate = {pem:?}\nkey = {key:?}\nca = {ca:?}\nclient-ca = {ca:?}\n{more}")
    };
    let own = office.issue("own", &Leaf { names: &["phone.example.net"], ..Leaf::valid() })?;
    let foreign = Ca::new("somebody else's").sign(&Leaf { names: &["phone.example.net"], ..Leaf::valid() });
    let door = (&world.outside, DOOR);
    let served = |name: &str, own| -> io::Result<Vec<u8>> {
        let mut phone = Secure::connect(&office, door, name, own)?;
        // With TLS 1.3 a client hears only after its own handshake that it is refused.
        let answer = phone.ask(&Request::new("OPTIONS", phone.local).tls())?;
        expect(status(&answer), 200, "the answer to OPTIONS")?;
        Ok(phone.shown())
    };
    {
        let _postern = world.postern(&config(&keys(""), &format!("sip:{OUTSIDE}")))?;
        expect(served("sip.example.org", Some(&own))? == second.der, true, "the certificate for the name")?;
        expect(served(NAME, Some(&own))? == second.der, false, "the certificate for the other name")?;
        expect(served(NAME, None).is_err(), true, "a phone without a certificate is refused")?;
        expect(served(NAME, Some(&foreign)).is_err(), true, "a phone of another CA is refused")?;
    }
    let _postern =
        world.postern(&config(&keys("client-certificate = \"optional\"\n"), &format!("sip:{OUTSIDE}")))?;
    served(NAME, None)?;
    served(NAME, Some(&own))?;
    expect(served(NAME, Some(&foreign)).is_err(), true, "a phone of another CA is refused")?;
    Ok(())
}

/// RFC 5923: nobody listens where the name leads, but its server has connected to us and proven to be it.
fn alias() -> Outcome {
    let (world, office) = certified()?;
    let records = records();
    let _names = name_server(&world, &records.each_ref().map(String::as_str))?;
    let next_hop = "sip:pbx.example;transport=tls";
    let config =
        to_a_name(&office, next_hop).replace("ca = ", &format!("client-ca = {:?}\nca = ", office.ca_file()));
    let postern = world.postern(&config)?;
    let wire = Wire::open(&world.outside, OUTSIDE)?;
    let door = format!("{BORDER_INSIDE}:5061");
    for (name, wanted) in [("other.example", 500), ("pbx.example", 486)] {
        let own = office.issue("server", &Leaf { names: &[name], ..Leaf::valid() })?;
        let mut server = Secure::connect(&office, (&world.inside, &door), "10.0.40.1", Some(&own))?;
        let options = Request {
            from: format!("{INSIDE}:5061").parse().map_err(io::Error::other)?,
            ..Request::new("OPTIONS", server.local)
        };
        let text = options.tls().text().replace(";rport", ";alias").replace(BORDER_OUTSIDE, BORDER_INSIDE);
        server.send(text)?;
        expect(status(&server.next()?), 200, "the answer to OPTIONS")?;
        let answer = thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                if wanted == 486 {
                    let invite = server.next()?;
                    server.answer(&invite, "486 Busy Here", "", "")?;
                }
                Ok::<_, io::Error>(())
            });
            let answer = wire.ask(&invite(wire.local));
            waiting.join().map_err(|_| io::Error::other("the server panicked"))??;
            answer
        })?;
        expect(status(&answer), wanted, &format!("a call to a server that is {name}\n{}", postern.log()))?;
    }
    Ok(())
}

/// `postern check` before anything runs: each file that is of no use, with its line in the configuration.
fn check() -> Outcome {
    let (world, office) = certified()?;
    let file = world.folder.join("check.toml");
    let text = config(&office.keys("border"), &format!("sip:{OUTSIDE}"));
    fs::write(&file, &text)?;
    let line = |key: &str| text.lines().position(|line| line.starts_with(key)).map_or(0, |line| line + 1);
    let says = |key: &str, what: &str| -> io::Result<()> {
        let (code, said) = run(&world.firewall, &[], &["check", &file.display().to_string()])?;
        let (line, file) = (line(key), file.display());
        let found =
            said.lines().any(|found| found.contains(&format!("{file}:{line}: ")) && found.contains(what));
        expect((found, code == Some(0)), (true, false), &format!("{file}:{line}, {what}: {said}"))
    };
    let valid = Leaf { names: &[NAME], ..Leaf::valid() };
    office.issue("border", &Leaf { names: &[NAME], ..Leaf::expired() })?;
    says("certificate", "the certificate expired on ")?;
    let first = office.issue("border", &valid)?;
    office.issue("border", &valid)?;
    fs::write(office.file("border", "pem"), &first.certificate)?;
    says("key", "this key is not that of the certificate in ")?;
    fs::write(office.file("border", "pem"), "nothing")?;
    says("certificate", "no certificate in PEM")?;
    office.issue("border", &valid)?;
    fs::remove_file(office.file("border", "key"))?;
    says("key", "no such file")?;
    office.issue("border", &valid)?;
    fs::remove_file(office.ca_file())?;
    says("ca", "no such file")?;
    Ok(())
}
