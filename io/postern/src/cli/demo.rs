//! `postern demo`

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::{Common, Complaint, OK, Outcome, PROBLEM, print};
use crate::demo::{self, Figure};

/// Show real calls through a real firewall, in private network namespaces
#[derive(Debug, Args)]
#[command(
    after_help = "Builds outside phone - firewall - inside phone on this kernel, with a default-drop nftables ruleset and Postern on \
            the firewall, places the calls of figures 3 to 8 of draft-kiesel-mmusic-firewall-sip with two-way RTP, and one \
            that a reservation ends; draws each ladder as it happens and counts packets at both phones, and once more on both \
            cables of the firewall. Then it counts the phones that ring for nothing without and with what prevents it. Needs no \
            configuration, no installed tool, and no root where unprivileged user namespaces are allowed. Nothing of this \
            machine is changed.

Examples:
  postern demo
  postern demo --figure 5
  postern demo --figure reservation
  postern demo --svg ladders
  postern demo -j

Exit codes: 0 every promise held; 1 one did not, or the demo could not be built; 2 the command line is \
            wrong; 130 interrupted."
)]
pub(super) struct Demo {
    /// Show only this figure of the draft, 3 to 8, or `reservation`
    #[arg(long, value_name = "N", value_parser = figure)]
    figure: Option<Figure>,

    /// Write each ladder as a picture into this directory
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

fn figure(text: &str) -> Result<Figure, String> {
    Figure::from_name(text).ok_or_else(|| "there are figures 3 to 8, and `reservation`".to_owned())
}

impl Demo {
    pub(super) fn run(self, common: &Common) -> Outcome {
        netns::become_root().map_err(|error| {
            Complaint::from(format!(
                "this kernel gives no private network to an ordinary user: {error}\nrun the demo as root, or allow it: \
                 sysctl -w kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)"
            ))
        })?;
        let complain = |error: io::Error| Complaint::from(error.to_string());
        // Before anything is played: a folder that cannot be made would be heard of a minute later.
        self.svg.as_deref().map_or(Ok(()), demo::make_folder).map_err(complain)?;
        let figures = self.figure.map_or_else(|| Figure::ALL.to_vec(), |figure| vec![figure]);
        let json = common.json;
        let mut show = |text: &str| {
            if !json {
                // A reader who has gone away does not stop the demo: the exit status still counts.
                let _ = writeln!(io::stdout(), "{text}");
            }
        };
        let report = demo::run(&figures, &mut show).map_err(complain)?;
        if let Some(directory) = &self.svg {
            report.draw(directory).map_err(complain)?;
        }
        if json {
            print::json(&report)?;
        } else {
            show(&format!("\n{}", report.summary()));
        }
        Ok(if report.holds() { OK } else { PROBLEM })
    }
}
