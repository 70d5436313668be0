//! A middlebox that is killed with a million rules in its journal, and the next one. A phone sends all the while.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use midcom::Direction;

use crate::Outcome;
use crate::client::{Client, Phones, enable};
use crate::stage::Stage;

const PAUSE: Duration = Duration::from_millis(1);

/// From the kill to the first confirmation, and what was lost of a stream meanwhile.
pub(crate) fn restart() -> Outcome {
    for rules in [100_000, 1_000_000] {
        let stage = Stage::with("journal = \"FOLDER/journal\"")?;
        let mut client = Client::unix(&stage)?;
        client.enable(&mut Phones::new(1 << 16), rules, 4000)?;
        let (near, far): (SocketAddr, SocketAddr) =
            ("10.0.40.20:20000".parse()?, "198.51.100.20:17000".parse()?);
        let other = SocketAddr::new(far.ip(), 0);
        client.ask(std::iter::once(enable(near, other, Direction::Inbound)), 1, |_| {})?;
        let heard = stage.inside.run(|| UdpSocket::bind(near))?;
        heard.set_read_timeout(Some(Duration::from_secs(2)))?;
        let sender = stage.outside.run(|| UdpSocket::bind(far))?;
        let (stop, sent, count) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let took = thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if sender.send_to(&[0; 172], near).is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(PAUSE);
                }
            });
            let receiver = scope.spawn(|| {
                // Ends two seconds after the last packet.
                while heard.recv(&mut [0; 256]).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            let result = (|| {
                let begin = Instant::now();
                let stage = stage.restart()?;
                // It answers once what it has found is in force.
                let mut client = Client::unix(&stage)?;
                client.ask(
                    std::iter::once(enable(
                        "10.0.40.21:20000".parse().map_err(io::Error::other)?,
                        other,
                        Direction::Inbound,
                    )),
                    1,
                    |_| {},
                )?;
                Ok::<_, io::Error>((begin.elapsed(), stage))
            })();
            stop.store(true, Ordering::Relaxed);
            receiver.join().expect("no panic");
            result
        })?;
        let (own, kernel) = took.1.cpu_s()?;
        println!(
            "{rules} rules in the journal: a PER is confirmed {:.2} s after the kill ({own:.2} + {kernel:.2} s of a processor, own and in the kernel); {} of {} packets lost meanwhile",
            took.0.as_secs_f64(),
            sent.load(Ordering::Relaxed) - count.load(Ordering::Relaxed),
            sent.load(Ordering::Relaxed)
        );
    }
    Ok(())
}
