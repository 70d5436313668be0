//! `docs/states.md`: a picture of each state machine, drawn from its table where it has one, and otherwise from what was
//! seen while every flow was played. Nothing in the machines knows of it.

mod observe;
mod tables;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

pub use observe::Observer;
pub use tables::tables;
pub use tree::Tree;

const HEAD: &str = "\
# State machines

<!-- Generated: UPDATE_DOCS=1 cargo test -p postern-model --test states -->

The first machines are drawn from the tables in the code, whole. The others are what was seen while every flow of `tests/flows`
was played: from one state at rest to the next, with what arrived in between (`A`, `B`: a message of that side, `M`: what the
middlebox said, `R`: the operator, `time`: a timer). An arrow that is missing has not been seen; one that surprises is a question.
";

/// One machine: from, to, and why.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    edges: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Picture {
    /// Adds an arrow.
    pub fn add(&mut self, from: &str, to: &str, why: &str) {
        let edge = (from.to_owned(), to.to_owned());
        self.edges.entry(edge).or_default().insert(why.to_owned());
    }

    /// As Mermaid draws it. States that begin or end are `[*]`.
    fn draw(&self, page: &mut String) {
        page.push_str("```mermaid\nstateDiagram-v2\n");
        for ((from, to), why) in &self.edges {
            let why: Vec<&str> = why.iter().map(String::as_str).collect();
            // Writing into a String does not fail.
            let _written = writeln!(page, "    {from} --> {to}: {}", why.join(", "));
        }
        page.push_str("```\n");
    }
}

/// The page.
#[must_use]
pub fn page(pictures: &[(&str, &str, &Picture)]) -> String {
    let mut page = String::from(HEAD);
    for (title, about, picture) in pictures {
        let _written = write!(page, "\n## {title}\n\n{about}\n\n");
        picture.draw(&mut page);
    }
    page
}
