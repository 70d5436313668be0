//! Two private hosts and a cable, and a signal, on the real kernel.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use postern_netns::{Host, again};

fn main() {
    let arguments = Arguments::from_args();
    // Before any thread exists: this process becomes root in a user namespace of its own where it is not root already.
    postern_netns::become_root().expect("these tests need root or unprivileged user namespaces");
    let trials = vec![
        Trial::test("two_hosts_talk_over_a_cable", two_hosts_talk_over_a_cable),
        Trial::test("a_read_outlives_a_stop", a_read_outlives_a_stop),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn two_hosts_talk_over_a_cable() -> Result<(), Failed> {
    let (left, right) = (Host::new("left")?, Host::new("right")?);
    left.cable("eth0", &right, "eth0")?;
    left.address("eth0", "192.0.2.1/24".parse()?)?;
    right.address("eth0", "192.0.2.2/24".parse()?)?;
    left.address("eth0", "2001:db8::1/64".parse()?)?;
    right.address("eth0", "2001:db8::2/64".parse()?)?;
    left.route("198.51.100.0/24".parse()?, "192.0.2.2".parse()?)?;
    left.forward()?;
    for (from, to) in [("192.0.2.1:0", "192.0.2.2:4000"), ("[2001:db8::1]:0", "[2001:db8::2]:4000")] {
        let receiver = right.run(|| UdpSocket::bind(to))?;
        let sender = left.run(|| UdpSocket::bind(from))?;
        sender.send_to(b"hello", to)?;
        let mut buffer = [0; 8];
        assert_eq!(again(|| receiver.recv(&mut buffer))?, 5);
    }
    Ok(())
}

/// This process is stopped and goes on, as with a machine that is put to sleep: the kernel ends a read with a time-out.
fn a_read_outlives_a_stop() -> Result<(), Failed> {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    receiver.set_read_timeout(Some(Duration::from_secs(60)))?;
    let attempts = AtomicU32::new(0);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            again(|| {
                attempts.fetch_add(1, Ordering::Relaxed);
                receiver.recv(&mut [0; 8])
            })
        });
        while attempts.load(Ordering::Relaxed) < 2 {
            Command::new("sh").args(["-c", "kill -STOP $PPID; kill -CONT $PPID"]).status()?;
        }
        UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", receiver.local_addr()?)?;
        assert_eq!(reading.join().expect("no panic")?, 5);
        Ok(())
    })
}
