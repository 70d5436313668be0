//! What one entry lets pass at most: `docs/decisions/0030-cap.md`.

use engine_contract::{Bench, INSIDE, OUTSIDE, Shot, realms};
use libtest_mimic::Failed;
use middlebox::Counter;
use nftables::{Features, GateConfig};

use crate::firewall::Kernel;
use crate::promises::{add, permit, shot};

/// Octets a second; the packets of the test have 200 each.
const CAP: u32 = 2_000;

fn config() -> GateConfig {
    GateConfig { cap: Some(CAP), ..GateConfig::new(realms()) }
}

/// A flood through one entry is cut down, what another lets pass is not, and what is kept out is not counted. The counter
/// outlives an extension and another middlebox.
pub(crate) fn flood() -> Result<(), Failed> {
    for limit in [Features::ALL, Features { extend: false, destroy: false, owner: false }] {
        let mut kernel = Kernel::with(config(), limit)?;
        let [flooded, other] = [20_000, 20_010].map(|port| shot(true, (OUTSIDE, 17_000), (INSIDE, port)));
        assert_eq!(kernel.engine().apply(&[add(flooded), add(other)]), [Ok(()), Ok(())]);
        let passed = kernel.send(flooded, 1_000);
        // Two seconds' worth at once; for half of them it would have to take 48 s.
        assert!((20..500).contains(&passed), "{passed} of 1,000 passed");
        assert_eq!(kernel.send(other, 10), 10);
        assert_eq!(counted(&mut kernel, flooded), Some(u64::from(passed)));
        assert_eq!(kernel.engine().apply(&[add(flooded)]), [Ok(())]);
        assert_eq!(counted(&mut kernel, flooded), Some(u64::from(passed)), "after an extension");
        kernel.die();
        kernel.rise(config())?;
        assert_eq!(counted(&mut kernel, flooded), Some(u64::from(passed)), "at the next middlebox");
    }
    Ok(())
}

/// A middlebox with another cap makes the sets anew: nobody keeps the old one.
pub(crate) fn changed() -> Result<(), Failed> {
    let mut kernel = Kernel::with(config(), Features::ALL)?;
    let flooded = shot(true, (OUTSIDE, 17_000), (INSIDE, 20_000));
    assert_eq!(kernel.engine().apply(&[add(flooded)]), [Ok(())]);
    kernel.die();
    kernel.rise(GateConfig::new(realms()))?;
    assert_eq!(kernel.engine().apply(&[add(flooded)]), [Ok(())]);
    assert_eq!(kernel.send(flooded, 100), 100);
    Ok(())
}

fn counted(kernel: &mut Kernel, shot: Shot) -> Option<u64> {
    let found = kernel.engine().counters(&[permit(shot).key()]);
    found[0].map(|Counter { packets, .. }| packets)
}
