//! Names that the other end of a secure connection must prove to be its own: RFC 5922 §7.3.
//!
//! A [`Hop`](sip::transport::Hop) carries the number, whoever makes the connection asks for the name.

use std::collections::BTreeMap;

use sip::transport::NameId;

use crate::limits::NAMES_MAX;

/// Every name that a secure place was looked up for, since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    listed: Vec<Box<str>>,
    by_name: BTreeMap<Box<str>, NameId>,
}

impl Names {
    /// The number of a name; `None` at the limit.
    pub(crate) fn id(&mut self, name: &str) -> Option<NameId> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if let Some(id) = self.by_name.get(name.as_str()) {
            return Some(*id);
        }
        let id =
            u32::try_from(self.listed.len()).ok().filter(|_| self.listed.len() < NAMES_MAX).map(NameId)?;
        let name: Box<str> = name.into();
        self.listed.push(name.clone());
        self.by_name.insert(name, id);
        Some(id)
    }

    /// The name of a number.
    pub(crate) fn name(&self, id: NameId) -> Option<&str> {
        self.listed.get(usize::try_from(id.0).ok()?).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_there_is_an_end_to_them() {
        let mut names = Names::default();
        let first = names.id("Trunk.Example.net.").unwrap();
        assert_eq!(names.id("trunk.example.net"), Some(first));
        assert_eq!(names.name(first), Some("trunk.example.net"));
        for number in 1..NAMES_MAX {
            assert!(names.id(&format!("{number}.example.net")).is_some());
        }
        assert_eq!(names.id("one.more.example.net"), None);
        assert_eq!(names.id("trunk.example.net"), Some(first));
    }
}
