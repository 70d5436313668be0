//! From the request to close to silence, while the phone outside keeps sending.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use midcom::{Direction, Reply};

use crate::client::{Client, enable};
use crate::stage::Stage;
use crate::{Outcome, show};

const TIMES: usize = 300;
/// What is sent this long after the confirmation would have arrived by now.
const QUIET: Duration = Duration::from_millis(3);

/// Opens and closes a pinhole under fire.
pub(crate) fn close() -> Outcome {
    let stage = Stage::new()?;
    let mut client = Client::unix(&stage)?;
    let (near, far): (SocketAddr, SocketAddr) = ("10.0.40.20:20000".parse()?, "198.51.100.20:17000".parse()?);
    let heard = stage.inside.run(|| UdpSocket::bind(near))?;
    heard.set_read_timeout(Some(Duration::from_millis(20)))?;
    let sender = stage.outside.run(|| UdpSocket::bind(far))?;
    let (stop, last, count) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let begin = Instant::now();
    let nanos = || u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let (mut silences, mut replies, mut late) = (Vec::new(), Vec::new(), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = sender.send_to(&[0; 172], near);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if heard.recv(&mut [0; 256]).is_ok() {
                    last.store(nanos(), Ordering::Relaxed);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let mut rounds = || {
            for _ in 0..TIMES {
                let mut rule = None;
                let any = SocketAddr::new(far.ip(), 0);
                client.ask(std::iter::once(enable(near, any, Direction::Inbound)), 1, |reply| {
                    if let Reply::Enabled { prid, .. } = reply {
                        rule = Some(prid);
                    }
                })?;
                let before = count.load(Ordering::Relaxed);
                while count.load(Ordering::Relaxed) < before + 20 {
                    thread::yield_now();
                }
                let asked = nanos();
                client.end(&rule.into_iter().collect::<Vec<_>>(), 1)?;
                let confirmed = nanos();
                thread::sleep(QUIET);
                let silent = last.load(Ordering::Relaxed);
                // What was on its way when the commit came is read a moment later.
                late += usize::from(silent > confirmed);
                silences.push(Duration::from_nanos(silent.saturating_sub(asked)));
                replies.push(Duration::from_nanos(confirmed - asked));
            }
            Ok::<_, io::Error>(())
        };
        let result = rounds();
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    show("PLC 0 to the last packet that was read", &mut silences);
    show("PLC 0 to its confirmation", &mut replies);
    println!("of {TIMES} closes, {late} had a packet read after the confirmation (it had passed before)");
    Ok(())
}
