//! `postern demo`: phone – firewall – phone in private network namespaces, real calls with real media, and a count of what
//! passed when.
//!
//! ```text
//!  outside phone ──outside0─ firewall: default-drop nftables, `postern run` ─inside0── inside phone
//!  198.51.100.20            198.51.100.1                    10.0.40.1                  10.0.40.20
//! ```
//!
//! Nothing of the machine it runs on is touched: hosts, cables, rules and processes are its own and end with it.

mod caller;
mod interrupt;
mod media;
mod network;
mod play;
mod scene;
mod verdict;

use std::io;

use network::Network;
pub(crate) use scene::Figure;
pub(crate) use verdict::Verdict;

/// Plays scenes one after the other on one network; `show` gets every line as it happens.
///
/// # Errors
/// If the network cannot be built or Postern does not start: then nothing was shown that could be judged.
pub(crate) fn run(figures: &[Figure], show: &mut (dyn FnMut(&str) + Send)) -> io::Result<Vec<Verdict>> {
    let network = Network::new()?;
    show(&network.picture());
    figures.iter().map(|figure| play::play(&network, figure.scene(), show)).collect()
}
