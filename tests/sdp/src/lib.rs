//! Runs the text cases of this folder. A case is a description, a line of three dashes, and what came of it: the
//! flows, one a line, its preconditions, or the refusal, or the error. Lines with `#` before the description are comments.
//!
//! All cases are checked against one policy: media networks 10.0.0.0/24 and 2001:db8:40::/64, media ports
//! 16384 to 32767, 10.0.0.1 and 2001:db8:40::1 are the firewall's own, at most eight flows.
//!
//! `UPDATE_CASES=1 cargo test -p postern-sdp-cases` writes what came out into the files.

use std::fmt::Write as _;

use sdp::precondition::{Place, Table, attributes};
use sdp::{MediaPolicy, Session};

/// One case as its file has it.
#[derive(Debug)]
pub struct Case<'a> {
    /// Comment lines, as they are.
    pub comment: &'a str,
    /// The description.
    pub description: &'a str,
    /// What is expected.
    pub expected: &'a str,
}

impl<'a> Case<'a> {
    /// Takes a file apart.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let comments = text.split_inclusive('\n').take_while(|line| line.starts_with('#'));
        let (comment, rest) = text.split_at(comments.map(str::len).sum());
        let (description, expected) = rest.split_once("---\n").unwrap_or((rest, ""));
        Self { comment, description, expected }
    }
}

/// What comes of a description, as the case files write it.
#[must_use]
pub fn outcome(description: &[u8]) -> String {
    let session = match Session::parse(description) {
        Ok(session) => session,
        Err(error) => return format!("error: {error}\n"),
    };
    let flows = match sdp::flows(&session) {
        Ok(flows) => flows,
        Err(refusal) => return format!("refused: {refusal}\n"),
    };
    let mut out = String::new();
    for flow in &flows {
        let shut = flow.ice.is_candidate() && !policy().admits(flow);
        let _ = writeln!(out, "{flow}{}", if shut { ", opens nothing" } else { "" });
    }
    if flows.is_empty() {
        out.push_str("no media\n");
    }
    if let Err(refusal) = sdp::check(&flows, &policy()) {
        let _ = writeln!(out, "refused: {refusal}");
    }
    for stream in 0..session.streams() {
        write_preconditions(&session, stream, &mut out);
    }
    out
}

/// `stream 1 fw: e2e send no mandatory, e2e recv yes mandatory confirm; not met`, a line for each type.
fn write_preconditions(session: &Session<'_>, stream: u16, out: &mut String) {
    let mut types = Vec::new();
    for attribute in attributes(session, stream) {
        if !types.contains(&attribute.of) {
            types.push(attribute.of);
        }
    }
    for (of, table) in types.into_iter().filter_map(|of| Some((of, Table::of(session, stream, of)?))) {
        let rows = ROWS.iter().filter_map(|(place, name)| {
            let row = table.row(*place);
            let strength =
                row.desired.map_or(String::new(), |desired| format!(" {desired:?}").to_lowercase());
            let confirm = if row.confirm { " confirm" } else { "" };
            let is_said = row.current || row.desired.is_some() || row.confirm;
            is_said.then(|| format!("{name} {}{strength}{confirm}", if row.current { "yes" } else { "no" }))
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        let met = if table.is_met() { "met" } else { "not met" };
        let _ = writeln!(out, "stream {} {of}: {rows}; {met}", stream + 1);
    }
}

const ROWS: [(Place, &str); 6] = [
    (Place::E2eSend, "e2e send"),
    (Place::E2eRecv, "e2e recv"),
    (Place::LocalSend, "local send"),
    (Place::LocalRecv, "local recv"),
    (Place::RemoteSend, "remote send"),
    (Place::RemoteRecv, "remote recv"),
];

fn policy() -> MediaPolicy {
    let parse = |networks: &[&str]| networks.iter().filter_map(|network| network.parse().ok()).collect();
    MediaPolicy {
        networks: parse(&["10.0.0.0/24", "2001:db8:40::/64"]),
        ports: 16384..=32767,
        own_addresses: ["10.0.0.1", "2001:db8:40::1"].iter().filter_map(|own| own.parse().ok()).collect(),
        outside_places: Vec::new(),
        flows_max: 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_comes_out_as_written() {
        let update = std::env::var_os("UPDATE_CASES").is_some();
        let mut paths: Vec<_> = std::fs::read_dir(env!("CARGO_MANIFEST_DIR"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "sdp"))
            .collect();
        paths.sort();
        assert!(paths.len() > 30, "the cases are gone");
        let mut wrong = String::new();
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            let case = Case::parse(&text);
            let found = outcome(case.description.as_bytes());
            // The ends of lines make no difference to what a description means.
            let with_crlf = case.description.replace('\n', "\r\n");
            assert_eq!(outcome(with_crlf.as_bytes()), found, "{}", path.display());
            if found == case.expected {
                continue;
            }
            if update {
                std::fs::write(&path, format!("{}{}---\n{found}", case.comment, case.description)).unwrap();
            } else {
                writeln!(wrong, "{}\nexpected:\n{}found:\n{found}", path.display(), case.expected).unwrap();
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}
