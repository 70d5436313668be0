//! The `Debug` form of a value as a tree, so that a state can be found in it by its name.

/// A value: its name, or its text if it is none, and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The struct's or variant's name; a number, a text.
    pub name: String,
    /// Field names (empty in tuples and lists, the key's text in maps) and values.
    pub fields: Vec<(String, Self)>,
}

impl Tree {
    /// Reads a `Debug` form.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Reader { text, at: 0 }.value()
    }

    /// A field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A field, and what is in it if it is an `Option`.
    #[must_use]
    pub fn some(&self, name: &str) -> Option<&Self> {
        let field = self.field(name)?;
        match field.name.as_str() {
            "Some" => field.fields.first().map(|(_, value)| value),
            "None" => None,
            _ => Some(field),
        }
    }

    /// Every value of this name, in order.
    pub fn all<'t>(&'t self, name: &str, found: &mut Vec<&'t Self>) {
        if self.name == name {
            found.push(self);
        }
        for (_, value) in &self.fields {
            value.all(name, found);
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn value(&mut self) -> Tree {
        if self.skip("b\"") || self.skip("\"") {
            return self.string();
        }
        for (open, close) in [("[", "]"), ("{", "}"), ("(", ")")] {
            if self.skip(open) {
                let mut tree = Tree { name: String::new(), fields: self.fields(close) };
                // The port behind an address in brackets.
                tree.name += &self.word();
                return tree;
            }
        }
        let name = self.word();
        let fields = if self.skip(" { ") {
            self.fields("}")
        } else if self.skip("(") {
            self.fields(")")
        } else {
            Vec::new()
        };
        Tree { name, fields }
    }

    /// Up to a delimiter; a colon belongs to it unless a space follows.
    fn word(&mut self) -> String {
        let rest = self.rest();
        let is_end = |(at, letter): &(usize, char)| match letter {
            ' ' | ',' | '(' | ')' | '[' | ']' | '{' | '}' | '"' => true,
            ':' => rest[at + 1..].starts_with(' '),
            _ => false,
        };
        let len = rest.char_indices().find(is_end).map_or(rest.len(), |(at, _)| at);
        let word = rest[..len].to_owned();
        self.at += len;
        word
    }

    fn string(&mut self) -> Tree {
        let (mut len, mut is_escaped) = (0, false);
        for byte in self.rest().bytes() {
            len += 1;
            match byte {
                b'"' if !is_escaped => break,
                b'\\' => is_escaped = !is_escaped,
                _ => is_escaped = false,
            }
        }
        let name = self.rest()[..len].trim_end_matches('"').to_owned();
        self.at += len;
        Tree { name, fields: Vec::new() }
    }

    fn fields(&mut self, close: &str) -> Vec<(String, Tree)> {
        let mut fields = Vec::new();
        loop {
            while self.skip(" ") || self.skip(",") {}
            if self.skip(close) || self.rest().is_empty() {
                return fields;
            }
            let before = self.at;
            let start = self.value();
            if self.skip(": ") {
                let key = self.text[before..self.at - 2].to_owned();
                fields.push((key, self.value()));
            } else {
                fields.push((String::new(), start));
            }
            if self.at == before {
                // Nothing that a derived form contains: not worth a panic.
                self.at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[allow(dead_code, reason = "seen by Debug")]
    struct Sample {
        state: Option<Result<u8, (u8, &'static str)>>,
        bytes: Vec<u8>,
        at: std::net::SocketAddr,
        map: std::collections::BTreeMap<u8, char>,
    }

    #[test]
    fn finds_what_is_there() {
        let sample = Sample {
            state: Some(Err((7, "a \"b\", {c"))),
            bytes: vec![1, 2],
            at: ([0; 16], 5060).into(),
            map: [(1, 'x')].into(),
        };
        let tree = Tree::parse(&format!("{sample:?}"));
        assert_eq!(tree.name, "Sample");
        assert_eq!(tree.some("state").map(|state| state.name.as_str()), Some("Err"));
        assert_eq!(tree.field("bytes").map(|bytes| bytes.fields.len()), Some(2));
        assert_eq!(tree.field("map").and_then(|map| map.field("1")).map(|x| x.name.as_str()), Some("'x'"));
    }
}
