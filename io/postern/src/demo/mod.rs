//! `postern demo`: phone – firewall – phone in private network namespaces, real calls with real media, and a count of what
//! passed when.
//!
//! ```text
//!  outside phone ──outside0─ firewall: default-drop nftables, `postern run` ─inside0── inside phone
//!  198.51.100.20            198.51.100.1                    10.0.40.1                  10.0.40.20
//! ```
//!
//! Phones count what they send and hear, and [`wires`] what crosses both cables: each must say the same.
//!
//! Nothing of the machine it runs on is touched: hosts, cables, rules and processes are its own and end with it.

mod caller;
mod ghosts;
mod interrupt;
mod media;
mod network;
mod play;
mod scene;
mod stage;
mod verdict;
mod wires;

use std::io;
use std::path::Path;

use serde::Serialize;

use ghosts::GhostRings;
use network::Network;
pub(crate) use scene::Figure;
use verdict::Verdict;

/// What was shown.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    figures: Vec<Verdict>,
    /// With the reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    ghost_rings: Option<GhostRings>,
}

impl Report {
    /// True if every promise held.
    pub(crate) fn holds(&self) -> bool {
        let figures = self.figures.iter().all(Verdict::holds);
        figures && self.ghost_rings.as_ref().is_none_or(GhostRings::hold)
    }

    /// Writes the ladder of each call as a picture into a directory that is there.
    ///
    /// # Errors
    /// What the file system says, with the file.
    pub(crate) fn draw(&self, directory: &Path) -> io::Result<()> {
        for verdict in &self.figures {
            let file = directory.join(verdict.figure.file());
            std::fs::write(&file, verdict.picture()).map_err(|error| at(&file, &error))?;
        }
        Ok(())
    }

    /// The last line.
    pub(crate) fn summary(&self) -> String {
        let good = self.figures.iter().filter(|verdict| verdict.holds()).count();
        format!("{good} of {} calls kept every promise", self.figures.len())
    }
}

/// Makes the folder that [`Report::draw`] draws into.
///
/// # Errors
/// What the file system says, with the folder.
pub(crate) fn make_folder(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| at(directory, &error))
}

fn at(file: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

/// Plays scenes one after the other on one network; `show` gets every line as it happens.
///
/// # Errors
/// If the network cannot be built or Postern does not start: then nothing was shown that could be judged.
pub(crate) fn run(figures: &[Figure], show: &mut (dyn FnMut(&str) + Send)) -> io::Result<Report> {
    let mut network = Network::new()?;
    show(&network.picture());
    let mut report = Report { figures: Vec::new(), ghost_rings: None };
    for figure in figures {
        let scene = figure.scene();
        network.set_up(scene.house)?;
        report.figures.push(play::play(&network, scene, show)?);
    }
    if figures.contains(&Figure::Reservation) {
        let counts = GhostRings::count(&mut network)?;
        show("");
        show(&counts.text());
        report.ghost_rings = Some(counts);
    }
    Ok(report)
}
