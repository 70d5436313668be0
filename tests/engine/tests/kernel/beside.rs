//! Starts while a call is under way: over what is there, and with entries written beside it (a large journal).

use engine_contract::{Bench, INSIDE, OUTSIDE, realms};
use libtest_mimic::Failed;
use middlebox::Key;
use nftables::{Features, GateConfig};

use crate::firewall::Kernel;
use crate::media::Stream;
use crate::promises::{add, permit, shot, wait_until};

const FAR: u16 = 17000;
const NEAR: u16 = 20000;

/// Nothing of it counts before it takes the place, although a middlebox is killed while it writes; then what was written
/// again passes on without a gap, and what was not is closed. Twice, because the names of the sets change and change back.
pub(crate) fn beside() -> Result<(), Failed> {
    for limit in [Features::ALL, Features { owner: false, ..Features::ALL }] {
        let mut kernel = Kernel::new(limit)?;
        let call = [shot(true, (OUTSIDE, FAR), (INSIDE, NEAR)), shot(true, (INSIDE, NEAR), (OUTSIDE, FAR))];
        let [left_out, later] = [NEAR + 10, NEAR + 20].map(|port| shot(true, (OUTSIDE, FAR), (INSIDE, port)));
        assert_eq!(kernel.engine().apply(&call.map(add)), [Ok(()), Ok(())]);
        for _ in 0..2 {
            assert_eq!(kernel.engine().apply(&[add(left_out)]), [Ok(())]);
            kernel.die();
            kernel.rise(GateConfig::new(realms()))?;
            kernel.gate().begin_beside()?;
            assert_eq!(kernel.engine().apply(&[add(later)]), [Ok(())]);
            assert_eq!(
                (kernel.send(left_out, 10), kernel.send(later, 10)),
                (10, 0),
                "the old sets are in force"
            );
            kernel.die();
            kernel.rise(GateConfig::new(realms()))?;
            assert_eq!(
                (kernel.send(left_out, 10), kernel.send(later, 10)),
                (10, 0),
                "what was begun counts for nothing"
            );
            kernel.gate().begin_beside()?;
            let running = Stream::call(&kernel.network, call)?;
            assert_eq!(kernel.engine().apply(&call.map(add)), [Ok(()), Ok(())]);
            kernel.gate().take_over()?;
            let now = running.each_ref().map(Stream::count);
            wait_until(|| running.iter().zip(now).all(|(stream, before)| stream.count() > before + 50));
            for stream in running {
                assert_eq!(stream.lost()?, 0, "packets lost");
            }
            assert_eq!(
                (kernel.send(left_out, 10), kernel.send(later, 10)),
                (0, 0),
                "what was not written is closed"
            );
            let mut there: Vec<Key> = call.map(|shot| permit(shot).key()).to_vec();
            there.sort();
            let found = kernel.engine().entries().map_err(|failure| failure.to_string())?;
            assert_eq!(found.iter().map(|entry| entry.key).collect::<Vec<_>>(), there);
        }
    }
    Ok(())
}

/// Starts over a table that is there, while both phones send without pause: chains stay and only their rules change.
pub(crate) fn restarts() -> Result<(), Failed> {
    const TIMES: usize = 300;
    let mut kernel = Kernel::new(Features::ALL)?;
    let call = [shot(true, (OUTSIDE, FAR), (INSIDE, NEAR)), shot(true, (INSIDE, NEAR), (OUTSIDE, FAR))];
    assert_eq!(kernel.engine().apply(&call.map(add)), [Ok(()), Ok(())]);
    let running = Stream::call(&kernel.network, call)?;
    for _ in 0..TIMES {
        kernel.die();
        kernel.rise(GateConfig::new(realms()))?;
    }
    for stream in running {
        assert_eq!(stream.lost()?, 0, "packets lost");
    }
    Ok(())
}
