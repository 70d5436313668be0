//! The same by other means on the same machine: `nft` as a program, and PCP (RFC 6887) with miniupnpd.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use netns::again;

use crate::stage::Stage;
use crate::{Outcome, show};

const TIMES: u16 = 1000;

pub(crate) fn others() -> Outcome {
    let stage = Stage::new()?;
    stage.nft("table inet other { set s { type ipv4_addr . ipv4_addr . inet_service; flags timeout; }; }")?;
    let mut times = Vec::new();
    for port in 0..TIMES / 4 {
        let element =
            format!("add element inet other s {{ 198.51.100.20 . 10.0.40.20 . {port} timeout 60s }}");
        let begin = Instant::now();
        stage.nft(&element)?;
        times.push(begin.elapsed());
    }
    show("nft as a program: one element", &mut times);
    match pcp(&stage) {
        Ok(times) => {
            for held in [0, 90, 180] {
                let mut some = times.get(held..held + 20).unwrap_or_default().to_vec();
                show(&format!("miniupnpd: one PCP MAP, {held} to {} held", held + 20), &mut some);
            }
            let all: Duration = times.iter().sum();
            println!(
                "miniupnpd: {:.0} mappings/s, the first {}",
                times.len() as f64 / all.as_secs_f64(),
                times.len()
            );
        }
        Err(error) => println!("miniupnpd: {error}"),
    }
    Ok(())
}

fn pcp(stage: &Stage) -> io::Result<Vec<Duration>> {
    let file = std::env::temp_dir().join(format!("miniupnpd-{}.conf", std::process::id()));
    fs::write(
        &file,
        "ext_ifname=outside0\next_ip=1.2.3.4\nlistening_ip=inside0\nenable_natpmp=yes\nenable_upnp=no\n\
         min_lifetime=60\nmax_lifetime=86400\nsecure_mode=no\nallow 1024-65535 10.0.0.0/8 1024-65535\n",
    )?;
    // What its nft_init.sh makes.
    stage.nft(
        "table inet filter { chain miniupnpd { }; chain prerouting_miniupnpd { }; chain postrouting_miniupnpd { };
         chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; };
         chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; };
         chain forward { jump miniupnpd; }; }",
    )?;
    let mut command = Command::new("miniupnpd");
    command.args(["-d", "-f"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = stage.firewall.spawn(&mut command)?;
    let asked = maps(stage);
    let _ = daemon.kill();
    let _ = daemon.wait();
    let _ = fs::remove_file(&file);
    asked
}

fn maps(stage: &Stage) -> io::Result<Vec<Duration>> {
    let socket = stage.inside.run(|| {
        let socket = UdpSocket::bind("10.0.40.20:0")?;
        socket.connect("10.0.40.1:5351")?;
        Ok(socket)
    })?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut room = [0; 1100];
    // Until it is up the host answers "port unreachable".
    let up = Instant::now() + Duration::from_secs(5);
    while ask(&socket, 20_000, &mut room).is_err() {
        if Instant::now() > up {
            return Err(io::Error::other("it does not answer"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    let mut times = Vec::new();
    for port in 0..TIMES / 5 {
        let begin = Instant::now();
        ask(&socket, 21_000 + port, &mut room)?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// One MAP request for a UDP port of ours: RFC 6887 §7.1, §11.1.
fn ask(socket: &UdpSocket, port: u16, room: &mut [u8]) -> io::Result<()> {
    let mapped = |address: [u8; 4]| [&[0; 10][..], &[0xff, 0xff], &address].concat();
    let head = [&[2, 1, 0, 0][..], &3600_u32.to_be_bytes(), &mapped([10, 0, 40, 20])].concat();
    let nonce = [&[7; 10][..], &port.to_be_bytes()].concat();
    let ports = [port.to_be_bytes(), port.to_be_bytes()].concat();
    let request = [&head[..], &nonce, &[17, 0, 0, 0], &ports, &mapped([0, 0, 0, 0])].concat();
    socket.send(&request)?;
    let length = again(|| socket.recv(room))?;
    match room[..length].get(3) {
        Some(0) => Ok(()),
        other => Err(io::Error::other(format!("PCP result {other:?}"))),
    }
}
