//! SIMCO from those who may not, and nonsense from those who may: the agent's session, its call and the gate stay.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::raw::{Noise, connect_to};
use crate::witness::{Witness, expect};
use crate::world::{BORDER_OUTSIDE, CONFIG, Named, OUTSIDE, Outcome, Postern, World, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("hostile_simco::noise_on_the_unix_socket", unix_noise),
        ("hostile_simco::half_messages_on_the_unix_socket", unix_halves),
        ("hostile_simco::another_user_may_not_connect", another_user),
        ("hostile_simco::noise_from_a_peer_over_tcp", tcp_noise),
        ("hostile_simco::a_peer_opens_only_what_it_may", peer_requests),
        ("hostile_simco::a_stranger_over_tcp_is_told_no", stranger),
        ("hostile_simco::a_thousand_strangers_keep_nobody_out", thousand_strangers),
        ("hostile_simco::a_thousand_sessions_of_a_peer_keep_nobody_out", thousand_sessions),
    ]
}

/// SE with version 3.0.
const ESTABLISH: &[u8] = &[1, 1, 0, 8, 0, 0, 0, 1, 0, 1, 0, 4, 3, 0, 0, 0];
/// PRL.
const LIST: &[u8] = &[1, 0x22, 0, 0, 0, 0, 0, 2];
/// Somebody else on the outside network.
const STRANGER: &str = "198.51.100.21";

/// Where SIMCO over TCP is served, to the outside phone's host alone.
fn with_tcp() -> String {
    format!("{CONFIG}\n[middlebox]\nlisten = [\"{BORDER_OUTSIDE}:7626\"]\npeers = [\"{OUTSIDE}\"]\n")
}

fn with_a_call(config: &str, attack: impl FnOnce(&World, &Postern<'_>) -> io::Result<()>) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(config)?;
    let witness = Witness::start(&world, &postern)?;
    attack(&world, &postern)?;
    postern
        .wait_for("only the agent half has a session", || Ok(sessions(&postern)? == 1 && postern.is_up()?))?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// How many connections the middlebox half has.
fn sessions(postern: &Postern<'_>) -> io::Result<u64> {
    let status = postern.json(&["status"])?;
    status["middlebox"]["sessions"]
        .as_u64()
        .ok_or_else(|| io::Error::other(format!("no sessions in {status}")))
}

fn unix(world: &World) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(world.folder.join("run/simco.sock"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// A TCP connection to the middlebox from an address of the outside host.
fn tcp(world: &World, from: &str) -> io::Result<TcpStream> {
    if from == OUTSIDE {
        return Ok(connect_to(&world.outside, &format!("{BORDER_OUTSIDE}:7626"))?.0);
    }
    Ok(connect_to(&world.third, &format!("{BORDER_OUTSIDE}:7626"))?.0)
}

/// The first octets of what comes back: a SIMCO header.
fn header(stream: &mut impl Read) -> io::Result<[u8; 8]> {
    let mut header = [0; 8];
    stream.read_exact(&mut header)?;
    Ok(header)
}

/// Everything up to the end of the stream.
fn drain(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(all),
    }
}

/// What begins like a request and goes on at random, at every place of a session.
fn noise(mut open: impl FnMut() -> io::Result<Box<dyn Wire>>) -> io::Result<()> {
    for seed in 0..60 {
        let mut noise = Noise::new(seed);
        let mut stream = open()?;
        if seed % 2 == 0 {
            stream.write_all(ESTABLISH)?;
            expect(header(&mut stream)?[..2].to_vec(), vec![2, 1], "reply to SE")?;
        }
        if seed % 3 == 0 {
            for _ in 0..50 {
                let length = noise.below(64);
                let body = noise.bytes(length);
                let sub_type = [0x11, 0x12, 0x13, 0x14, 0x15, 0x21, 0x22, 0x23][noise.below(8)];
                let tid = (noise.next() as u32).to_be_bytes();
                let head = [[1, sub_type, 0, length as u8], tid].concat();
                if stream.write_all(&[head, body].concat()).is_err() {
                    break;
                }
            }
        }
        let bytes = noise.bytes(5_000);
        // It may be closed before all is written.
        let _ = stream.write_all(&bytes);
    }
    Ok(())
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

fn unix_noise() -> Outcome {
    with_a_call(CONFIG, |world, _| noise(|| Ok(Box::new(unix(world)?))))
}

fn tcp_noise() -> Outcome {
    with_a_call(&with_tcp(), |world, _| noise(|| Ok(Box::new(tcp(world, OUTSIDE)?))))
}

fn unix_halves() -> Outcome {
    with_a_call(CONFIG, |world, postern| {
        let mut half = Vec::new();
        for cut in 0..ESTABLISH.len() {
            let mut stream = unix(world)?;
            stream.write_all(&ESTABLISH[..cut])?;
            half.push(stream);
        }
        // A length above every limit is answered at once: BFM, and the end.
        let mut long = unix(world)?;
        long.write_all(&[1, 1, 0xff, 0xff, 0, 0, 0, 9])?;
        expect(drain(&mut long)?.get(..2).map(<[u8]>::to_vec), Some(vec![4, 1]), "BFM")?;
        postern.wait_for("the halves are waited for", || Ok(sessions(postern)? == 1 + half.len() as u64))
    })
}

fn another_user() -> Outcome {
    with_a_call(CONFIG, |world, _| {
        let socket = world.folder.join("run/simco.sock").display().to_string();
        let script = "IO::Socket::UNIX->new(shift) or die $!";
        let other =
            ["--reuid", "1", "--regid", "1", "--clear-groups", "/usr/bin/perl", "-MIO::Socket::UNIX", "-e"];
        let other = [other.as_slice(), &[script, &socket]].concat();
        let tried = Command::new("setpriv").args(other).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        // In a user namespace of our own there is no other user.
        let alone = said.contains("setpriv: ");
        expect(alone || said.contains("Permission denied"), true, &said)
    })
}

/// A peer's session is a full one, but it sees only its own rules and opens only what the firewall protects.
fn peer_requests() -> Outcome {
    with_a_call(&with_tcp(), |world, _| {
        let mut stream = tcp(world, OUTSIDE)?;
        stream.write_all(ESTABLISH)?;
        let reply = header(&mut stream)?;
        expect(reply[..2].to_vec(), vec![2, 1], "reply to SE")?;
        stream.read_exact(&mut vec![0; usize::from(reply[3])])?;
        stream.write_all(LIST)?;
        expect(header(&mut stream)?, [2, 0x22, 0, 0, 0, 0, 0, 2], "list of the peer's rules")?;
        Ok(())
    })
}

fn stranger() -> Outcome {
    with_a_call(&with_tcp(), |world, postern| {
        let mut stream = tcp(world, STRANGER)?;
        stream.write_all(&[ESTABLISH, LIST].concat())?;
        // 0x0324, no authorization, and the end.
        expect(drain(&mut stream)?, vec![3, 0x24, 0, 0, 0, 0, 0, 1], "reply to SE")?;
        let mut noise = tcp(world, STRANGER)?;
        let _ = noise.write_all(&Noise::new(7).bytes(10_000));
        let told = drain(&mut noise)?;
        expect(told.len() < 100, true, "a short answer to noise")?;
        expect(postern.log().contains("may not open a session"), true, "a line in the log")
    })
}

/// Those who may not open a session cannot keep out those who may, however many they are.
fn thousand_strangers() -> Outcome {
    crowd(STRANGER, &[])
}

/// Nor can one who may.
fn thousand_sessions() -> Outcome {
    crowd(OUTSIDE, ESTABLISH)
}

fn crowd(from: &str, say: &[u8]) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&with_tcp())?;
    let mut crowd = Vec::new();
    for _ in 0..1_000 {
        let mut stream = tcp(&world, from)?;
        // Those too many are closed.
        let _ = stream.write_all(say);
        crowd.push(stream);
    }
    let witness = Witness::start(&world, &postern)?;
    witness.is_unharmed_and_alone()?;
    // A restarted agent half finds its place.
    drop(witness);
    signal(postern.half("agent")?, "KILL")?;
    postern.wait_for("the new agent half has a session", || postern.is_up())?;
    let count = sessions(&postern)?;
    assert!(count <= 1 + 64 + 16, "{count} connections are kept");
    assert!(postern.log().len() < 50_000, "the log grows with each of them");
    drop(crowd);
    postern.wait_for("the crowd is forgotten", || Ok(sessions(&postern)? == 1))?;
    Ok(())
}
