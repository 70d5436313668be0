//! The files of TLS and those with secrets: whether they are there, belong together, are still valid, and can be read by
//! the half that needs them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use super::{Finding, Grade};
use crate::config::{Config, Placed, SipTls, Tls};
use crate::runtime::Failure;
use crate::runtime::agent::users;
use crate::sandbox::Identity;
use crate::tls::sip::Ends;
use crate::tls::{self, Certificate, date};

/// From this many days before its end on, a certificate is worth a warning.
const SOON_DAYS: u64 = 21;

/// Looks at all of them; `file` is the configuration, whose lines are named.
pub(super) fn look(config: &Config, file: &Path, findings: &mut Vec<Finding>) {
    let source = fs::read_to_string(file).unwrap_or_default();
    let place = |at: usize| {
        let line = 1 + source.bytes().take(at).filter(|byte| *byte == b'\n').count();
        format!("{}:{line}", file.display())
    };
    let ours = (geteuid().as_raw(), getegid().as_raw());
    // As root the agent half changes its user before it reads anything.
    let agents = Identity::find(config.user.as_deref()).ok().filter(|_| geteuid().is_root());
    let agents = agents.map_or(ours, |user| (user.uid.as_raw(), user.gid.as_raw()));
    for realm in &config.realms {
        if let Some(files) = &realm.tls {
            sip(files, agents, &place, findings);
        }
    }
    if let Err(Failure::Start(wrong)) = users::read(config, agents.0) {
        let at = place(config.users_place.start);
        findings.push(Finding::new(Grade::Problem, format!("{at}: {wrong}")));
    }
    for trunk in &config.trunks {
        if let Err(wrong) = crate::secret::password(&trunk.password_file, agents.0) {
            let at = place(trunk.password_place.start);
            findings.push(Finding::new(Grade::Problem, format!("{at}: {wrong}")));
        }
    }
    for middlebox in &config.middleboxes {
        if let Some(files) = &middlebox.serve_tls {
            end(files, ours, "the middlebox half", &place, tls::is_a_server, findings);
        }
        if let Some(files) = &middlebox.connect_tls {
            end(files, agents, "the agent half", &place, tls::is_a_client, findings);
        }
        if let Some((path, at)) = &middlebox.secret {
            secret(path, agents, "the agent half", &place(at.start), findings);
        }
        for agent in &middlebox.agents {
            if let Some(path) = &agent.secret {
                secret(path, ours, "the middlebox half", &place(agent.secret_place.start), findings);
            }
        }
    }
}

/// A file with a secret.
fn secret(path: &Path, reader: (u32, u32), who: &str, at: &str, findings: &mut Vec<Finding>) {
    if path.exists() && !may_read(path, reader) {
        let text = format!("{at}: {} may not be read by {who} (user {})", path.display(), reader.0);
        findings.push(Finding::new(Grade::Problem, text).advise("chown, or chgrp and chmod g+r"));
    }
    if let Err(wrong) = crate::secret::read(path, reader.0) {
        findings.push(Finding::new(Grade::Problem, format!("{at}: {wrong}")));
    }
}

type Proof = fn(tls::Stored) -> Result<(), rustls::Error>;

fn end(
    files: &Tls,
    reader: (u32, u32),
    who: &str,
    place: &dyn Fn(usize) -> String,
    proof: Proof,
    findings: &mut Vec<Finding>,
) {
    let at = |file: &Path| {
        let known = files.paths().into_iter().zip(&files.places).find(|(path, _)| *path == file);
        known.map_or_else(String::new, |(_, range)| format!("{}: ", place(range.start)))
    };
    for path in files.paths() {
        findings.extend(unreadable(path, &at(path), (reader, who)));
    }
    let stored = match tls::Stored::read(files) {
        Ok(stored) => stored,
        Err(wrong) => {
            return findings.push(Finding::new(Grade::Problem, format!("{}{wrong}", at(&wrong.file))));
        }
    };
    let own = stored.own.clone();
    if let Err(error) = proof(stored) {
        let wrong = tls::Wrong::of(&error, files);
        return findings.push(Finding::new(Grade::Problem, format!("{}{wrong}", at(&wrong.file))));
    }
    findings.push(validity(&own, &at(&files.certificate), &files.certificate));
}

/// The files of a realm.
fn sip(files: &SipTls, reader: (u32, u32), place: &dyn Fn(usize) -> String, findings: &mut Vec<Finding>) {
    let at =
        |path: &Path| files.place(path).map_or_else(String::new, |range| format!("{}: ", place(range.start)));
    for Placed { path, .. } in files.files() {
        findings.extend(unreadable(path, &at(path), (reader, "the agent half")));
    }
    match Ends::read(files) {
        Ok(ends) => {
            for ((certificate, _), own) in files.own.iter().zip(ends.own.iter()) {
                findings.push(validity(own, &at(&certificate.path), &certificate.path));
            }
        }
        Err(wrong) => findings.push(Finding::new(Grade::Problem, format!("{}{wrong}", at(&wrong.file)))),
    }
}

/// Complains about a file that is there, but not for its reader.
fn unreadable(path: &Path, at: &str, (reader, who): ((u32, u32), &str)) -> Option<Finding> {
    if !path.exists() || may_read(path, reader) {
        return None;
    }
    let text = format!("{at}{} may not be read by {who} (user {})", path.display(), reader.0);
    Some(Finding::new(Grade::Problem, text).advise("chown, or chgrp and chmod g+r"))
}

fn validity(own: &Certificate, at: &str, path: &Path) -> Finding {
    let path = path.display();
    let until = date(own.not_after);
    match tls::days_left(own) {
        _ if tls::is_over(own) => {
            Finding::new(Grade::Problem, format!("{at}{path}: the certificate expired on {until}"))
                .advise("no session is possible with it; replace the file, nothing need be started again")
        }
        days @ ..SOON_DAYS => Finding::new(
            Grade::Warning,
            format!("{at}{path}: the certificate expires in {days} days, on {until}"),
        ),
        SOON_DAYS.. => {
            let names = own.names.join(", ");
            Finding::new(Grade::Ok, format!("the certificate {path} of {names} is valid until {until}"))
        }
    }
}

/// True if a user with this number and group, and no right beyond, may read a file.
fn may_read(path: &Path, (uid, gid): (u32, u32)) -> bool {
    let may = |path: &Path, bit: u32| {
        let Ok(found) = fs::metadata(path) else { return false };
        let shift = match (found.uid() == uid, found.gid() == gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        found.mode() >> shift & bit != 0
    };
    may(path, 4) && path.ancestors().skip(1).all(|folder| may(folder, 1))
}
