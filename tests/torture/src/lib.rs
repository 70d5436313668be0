//! The torture messages and what becomes of them: `outcomes.txt` says it, the tests hold the parser to it, and
//! `docs/sip-torture.md` is made from it.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use sip::message::{Message, Name, ParseError};

/// One line of `outcomes.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Folder and file without its ending: `rfc4475/wsinv`.
    pub message: String,
    /// The section that has the message.
    pub section: String,
    /// What the parser does: `accepted`, the status and phrase of a refusal, or `dropped` and why.
    pub parser: String,
    /// Which typed fields of an accepted message say that they are broken when they are read; `-` for none.
    pub fields: String,
    /// What the layers above the parser make of it.
    pub above: String,
    /// Why, in a line.
    pub why: String,
}

/// This crate's folder.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every line of `outcomes.txt`.
///
/// # Panics
/// If the file is missing or a line has not six columns: the table itself is wrong then.
#[must_use]
pub fn cases() -> Vec<Case> {
    let table =
        fs::read_to_string(folder().join("outcomes.txt")).expect("outcomes.txt stands beside Cargo.toml");
    table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let columns: Vec<String> = line.split(" | ").map(|column| column.trim().to_owned()).collect();
    let [message, section, parser, fields, above, why] =
        columns.try_into().unwrap_or_else(|_| panic!("six columns: {line}"));
    Case { message, section, parser, fields, above, why }
}

/// The bytes of a message.
///
/// # Panics
/// If the file is missing.
#[must_use]
pub fn bytes(message: &str) -> Bytes {
    let path = folder().join(format!("{message}.dat"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// Every message in the folders, sorted.
///
/// # Panics
/// If a folder cannot be read.
#[must_use]
pub fn messages() -> Vec<String> {
    let mut messages = Vec::new();
    for rfc in ["rfc4475", "rfc5118"] {
        for entry in fs::read_dir(folder().join(rfc)).expect("the folder stands beside Cargo.toml") {
            let path = entry.expect("the folder can be read").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("file names are ASCII");
            messages.push(format!("{rfc}/{stem}"));
        }
    }
    messages.sort();
    messages
}

/// What the parser does with these bytes, in the words of the `parser` column.
#[must_use]
pub fn parser_outcome(parsed: &Result<Message, ParseError>) -> String {
    match parsed {
        Ok(_) => "accepted".to_owned(),
        Err(ParseError { what, partial: Some(_) }) => format!("{} {what}", what.status()),
        Err(ParseError { what, partial: None }) => format!("dropped: {what}"),
    }
}

/// The typed fields that are broken, in the words of the `fields` column.
#[must_use]
pub fn broken_fields(message: &Message) -> String {
    let mut broken = Vec::new();
    let mut note = |name: Name, is_ok: bool| {
        if !is_ok {
            broken.push(name.text());
        }
    };
    for name in [Name::Contact, Name::Route, Name::RecordRoute, Name::ReferTo, Name::ReplyTo] {
        note(name, message.addresses(name).all(|address| address.is_ok()));
    }
    note(Name::ContentType, message.content_type().is_ok());
    note(Name::Expires, message.expires().is_ok());
    note(Name::MinSe, message.min_se().is_ok());
    note(Name::SessionExpires, message.session_expires().is_ok());
    note(Name::RetryAfter, message.retry_after().is_ok());
    note(Name::Warning, message.warnings().all(|warning| warning.is_ok()));
    note(Name::Reason, message.reasons().all(|reason| reason.is_ok()));
    if broken.is_empty() { "-".to_owned() } else { broken.join(", ") }
}

/// The documentation page made from the table.
#[must_use]
pub fn page(cases: &[Case]) -> String {
    let mut page = HEADING.to_owned();
    for case in cases {
        let (rfc, name) = case.message.split_once('/').unwrap_or(("", &case.message));
        page += &format!(
            "| {} §{} | `{name}` | {} | {} | {} | {} |\n",
            rfc.trim_start_matches("rfc"),
            case.section,
            case.parser,
            case.fields,
            case.above,
            case.why
        );
    }
    page
}

const HEADING: &str = "\
# SIP torture messages

What becomes of every message of RFC 4475 §3 and RFC 5118 §4 when it arrives over UDP. The bytes are those of the RFCs'
archives, except that bare line feeds (all of RFC 5118's) became line ends and that three files (`baddn` and the two of
RFC 5118 §4.10) got the empty line that theirs lack: `tests/torture/rfc*/*.dat`. This page is made from
`tests/torture/outcomes.txt`; the test fails when they differ (`UPDATE_DOCS=1 cargo test -p postern-torture` writes it
again).

*Parser* is what `sip::message` decides by itself: accepted, or the answer to a request, or dropped (responses are never
answered). *Broken fields* are read only if somebody asks for them; whoever does gets an error and answers 400.
*Above* is what endpoint and B2BUA make of an accepted message.

| RFC | message | parser | broken fields | above | why |
|---|---|---|---|---|---|
";
