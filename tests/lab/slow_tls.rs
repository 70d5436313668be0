//! Peers over TLS and WebSocket that are slow, silent or many: what each costs the others, and when it is let go.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};

use netns::again;

use crate::raw::{Request, Wire, connect_to, read_to_close, sdp, status};
use crate::secure::{Office, Secure};
use crate::sip_tls::{DOOR, NAME, certified, config};
use crate::witness::expect;
use crate::world::{BORDER_OUTSIDE, INSIDE, Named, OUTSIDE, Outcome, Postern, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("slow_tls::silent_peers_keep_nobody_out", flood),
        ("slow_tls::a_handshake_without_end_is_ended", endless),
        ("slow_tls::a_phone_that_does_not_read_delays_nobody", stalled),
        ("slow_tls::a_server_that_never_greets_delays_nobody", mute),
        ("slow_tls::one_address_gets_so_many_connections", many),
    ]
}

fn connections(postern: &Postern<'_>) -> io::Result<Option<u64>> {
    Ok(postern.json(&["status"])?["agent"]["connections"].as_u64())
}

fn start<'w>(world: &'w World, office: &Office, more: &str) -> io::Result<Postern<'w>> {
    world.postern(&(config(&office.keys("border"), &format!("sip:{OUTSIDE}")) + more))
}

fn options(phone: &mut Secure) -> io::Result<()> {
    let options = Request::new("OPTIONS", phone.local).tls();
    expect(status(&phone.ask(&options)?), 200, "the answer to OPTIONS over TLS")
}

/// Peers that connect and say nothing are pushed out by others, oldest first; whoever speaks is served at once.
fn flood() -> Outcome {
    let (world, office) = certified()?;
    let postern = start(&world, &office, "[limits]\nhandshakes = 10\n[timers]\nhandshake = \"60s\"\n")?;
    let silent = (0..60).map(|_| connect_to(&world.third, DOOR).map(|(stream, _)| stream));
    let silent: Vec<TcpStream> = silent.collect::<io::Result<_>>()?;
    let mut phone = Secure::connect(&office, (&world.outside, DOOR), NAME, None)?;
    options(&mut phone)?;
    let wire = Wire::open(&world.outside, OUTSIDE)?;
    expect(wire.is_not_answered()?, true, "the answer to OPTIONS over UDP")?;
    // The first ones have been closed: reading them ends at once.
    for mut stream in silent.into_iter().take(50) {
        read_to_close(&mut stream)?;
    }
    let connections = connections(&postern)?;
    expect(
        connections.is_some_and(|all| all <= 11),
        true,
        &format!("at most 11 connections: {connections:?}"),
    )?;
    Ok(())
}

/// Silence, the beginning of a ClientHello, one octet after the other; and the same of HTTP where WebSocket is served.
fn endless() -> Outcome {
    let (world, office) = certified()?;
    world.nft("insert rule inet filter input tcp dport 8080 accept")?;
    let web = format!("\"ws:{BORDER_OUTSIDE}:8080\", \"tls:{BORDER_OUTSIDE}\"");
    let config = config(&office.keys("border"), &format!("sip:{OUTSIDE}"))
        .replace(&format!("\"tls:{BORDER_OUTSIDE}\""), &web);
    let postern = world.postern(&format!("log = \"debug\"\n{config}[timers]\nhandshake = \"500ms\"\n"))?;
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for (door, begun) in [(DOOR, &hello[..0]), (DOOR, &hello), ("198.51.100.1:8080", b"GET / HTTP/1.1\r\n")] {
        let (mut stream, _) = connect_to(&world.outside, door)?;
        stream.write_all(begun)?;
        read_to_close(&mut stream)?;
    }
    let (mut stream, _) = connect_to(&world.outside, DOOR)?;
    stream.write_all(&hello)?;
    // Octets that trickle in do not prolong it: in the end writing fails.
    while stream.write_all(&[0]).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    postern.wait_for("nobody is connected any more", || Ok(connections(&postern)? == Some(0)))?;
    expect(postern.log().matches("the handshake was never finished").count(), 4, "lines of the log")?;
    Ok(())
}

/// A phone over TLS asks and asks and reads nothing: others are answered meanwhile, and in the end it is let go.
fn stalled() -> Outcome {
    let (world, office) = certified()?;
    let postern = start(&world, &office, "[timers]\nmessage = \"2s\"\n")?;
    let mut slow = Secure::connect(&office, (&world.third, DOOR), NAME, None)?;
    let mut phone = Secure::connect(&office, (&world.outside, DOOR), NAME, None)?;
    let wire = Wire::open(&world.outside, OUTSIDE)?;
    loop {
        let asked: String = (0..200).map(|_| Request::new("OPTIONS", slow.local).tls().text()).collect();
        if slow.send(asked).is_err() {
            break;
        }
        options(&mut phone)?;
        expect(wire.is_not_answered()?, true, "the answer to OPTIONS over UDP")?;
    }
    postern.wait_for("the slow one is gone", || Ok(connections(&postern)? == Some(1)))?;
    options(&mut phone)?;
    Ok(())
}

/// A next hop accepts the connection and says nothing: its call fails, and another call does not wait for that.
fn mute() -> Outcome {
    let (world, office) = certified()?;
    let routes = format!(
        "[[route]]\nto = \"inside\"\nusers = [\"carol\"]\nnext-hop = \"sip:{INSIDE}\"\n\n\
         [[route]]\nto = \"inside\"\nnext-hop = \"sip:{INSIDE};transport=tls\"\n\n[timers]\nhandshake = \"2s\"\n"
    );
    let config = format!(
        "[realm.outside]\nlisten = [\"udp:{BORDER_OUTSIDE}\"]\n\n[realm.inside]\nlisten = [\"udp:10.0.40.1\", \"tls:10.0.40.1\"]\n\
         media = [\"10.0.40.0/24\"]\n{}\n{routes}",
        office.keys("border")
    );
    let postern = world.postern(&config)?;
    let listener = world.inside.run(|| TcpListener::bind((INSIDE, 5061)))?;
    let caller = Wire::open(&world.outside, OUTSIDE)?;
    caller.send(Request::new("INVITE", caller.local).sdp(sdp(OUTSIDE, 20_000)).text())?;
    let (mut server, _) = again(|| listener.accept())?;
    let desk = Wire::bind(&world.inside, &format!("{INSIDE}:5060"))?;
    let other = Wire::open(&world.outside, OUTSIDE)?;
    let invite = Request::new("INVITE", other.local).sdp(sdp(OUTSIDE, 20_002)).text();
    other.send(invite.replacen("sip:bob@", "sip:carol@", 1))?;
    let heard = desk.next()?;
    expect(heard.starts_with("INVITE sip:carol@"), true, &format!("carol's INVITE in {heard}"))?;
    // The first call is still on its way: its answer has not come.
    let answer = caller.next()?;
    expect(status(&answer), 500, &format!("a call to a server that never greets: {answer}"))?;
    read_to_close(&mut server)?;
    let why = "the handshake was never finished";
    postern.wait_for(why, || Ok(postern.log().contains(why)))?;
    Ok(())
}

/// `connections-per-peer` and `connections`: one more is closed, and those that are there go on.
fn many() -> Outcome {
    let (world, office) = certified()?;
    let _postern = start(&world, &office, "[limits]\nconnections-per-peer = 2\nconnections = 3\n")?;
    let closed = |host| -> io::Result<()> {
        let (mut stream, _) = connect_to(host, DOOR)?;
        expect(read_to_close(&mut stream)?, String::new(), "one connection too many is closed")
    };
    let connect = |host| Secure::connect(&office, (host, DOOR), NAME, None);
    let mut first = connect(&world.outside)?;
    let mut second = connect(&world.outside)?;
    closed(&world.outside)?;
    let mut third = connect(&world.third)?;
    closed(&world.third)?;
    for phone in [&mut first, &mut second, &mut third] {
        options(phone)?;
    }
    Ok(())
}
