//! Says what every key means: `postern check --keys`, and `docs/configuration.md` around it.

use std::fmt::Write as _;

use super::SECTIONS;
use super::key::{Absent, Described, Section};
use super::reload::{Class, class};

#[cfg(test)]
const HEAD: &str = "# Configuration

<!-- Generated from the code: UPDATE_DOCS=1 cargo test -p postern configuration -->

One TOML file, `/etc/postern/postern.toml` unless `--config` names another. Unknown keys are errors. `postern check`
says what is wrong with a file, with line and advice.

`postern reload` (or SIGHUP to `postern run`, or to a half that runs alone) reads the file again. Keys marked *by reload* then
take effect at once, and what the middlebox half no longer allows ends; a change of any other is refused with its line. So is a file with a
mistake: what runs stays as it is.

The smallest file that works:

```toml
";

/// The whole page; `smallest` is the example it begins with.
#[cfg(test)]
pub(super) fn page(smallest: &str) -> String {
    format!("{HEAD}{smallest}```\n{}", keys())
}

/// Every section and key.
pub(crate) fn keys() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        section_text(&mut text, section);
    }
    text
}

fn section_text(page: &mut String, section: &Section) {
    let heading =
        if section.heading.is_empty() { "Top of the file".into() } else { format!("`{}`", section.heading) };
    let _ = write!(page, "\n## {heading}\n\n{}\n", section.text);
    for key in section.keys {
        key_text(page, section.heading, *key);
    }
}

fn key_text(page: &mut String, heading: &str, key: &dyn Described) {
    let absent = match key.absent() {
        Absent::Required => "must be given".into(),
        Absent::Literal(text) => format!("default `{text}`"),
        Absent::Derived(words) => format!("default: {words}"),
    };
    let changes = match class(heading, key.name()) {
        Class::Reload => " Changes *by reload*.",
        Class::Restart => "",
    };
    let (name, values, text) = (key.name(), key.values(), key.text());
    let _ = write!(page, "\n### `{name}`\n\n{values}; {absent}.{changes}\n\n{text}\n");
}
