//! What is kept out where nothing is managed, while packets fly.

use engine_contract::{Bench, INSIDE, OUTSIDE, unmanaged};
use libtest_mimic::Failed;
use middlebox::Operation;
use nftables::{Features, GateConfig};

use crate::firewall::Kernel;
use crate::media::Stream;
use crate::promises::{add, permit, shot, wait_until};

const NEAR: u16 = 51000;
const FAR: u16 = 61000;

/// Both phones send before and after; everybody inside may send out, and connections are known. Not one packet of
/// those that were sent after the commit has returned arrives.
pub(crate) fn close_a_call() -> Result<(), Failed> {
    for v4 in [true, false] {
        let mut kernel = Kernel::with(GateConfig::new(unmanaged()), Features::ALL)?;
        let shots = [shot(v4, (OUTSIDE, FAR), (INSIDE, NEAR)), shot(v4, (INSIDE, NEAR), (OUTSIDE, FAR))];
        assert_eq!(kernel.engine().apply(&shots.map(add)), [Ok(()), Ok(())]);
        let streams = Stream::call(&kernel.network, shots)?;
        wait_until(|| streams.iter().all(|stream| stream.count() > 50));
        let keys = shots.map(|shot| Operation::Remove { key: permit(shot).key() });
        assert_eq!(kernel.engine().apply(&keys), [Ok(()), Ok(())]);
        let closed = streams.each_ref().map(Stream::next_number);
        wait_until(|| streams.iter().zip(closed).all(|(stream, closed)| stream.next_number() > closed + 50));
        for (stream, closed) in streams.into_iter().zip(closed) {
            let last = stream.stop()?;
            assert!(last <= closed, "packet {last} passed, but the gate was closed before {closed}");
        }
    }
    Ok(())
}

/// A middlebox that dies takes the hold neither with it nor away from its successor.
pub(crate) fn adoption() -> Result<(), Failed> {
    let mut kernel = Kernel::with(GateConfig::new(unmanaged()), Features::ALL)?;
    for v4 in [true, false] {
        let outward = shot(v4, (INSIDE, NEAR), (OUTSIDE, FAR));
        assert_eq!(kernel.engine().apply(&[add(outward)]), [Ok(())]);
        assert_eq!(kernel.send(outward, 10), 10);
        assert_eq!(kernel.engine().apply(&[Operation::Remove { key: permit(outward).key() }]), [Ok(())]);
        assert_eq!(kernel.send(outward, 10), 0);
        kernel.die();
        assert_eq!(kernel.send(outward, 10), 0);
        kernel.rise(GateConfig::new(unmanaged()))?;
        assert_eq!(kernel.send(outward, 10), 0);
    }
    Ok(())
}
