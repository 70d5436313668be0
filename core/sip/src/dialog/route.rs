//! The route set: RFC 3261 §12.1, §12.2.1.1.

use machine::Text;

use crate::message::{Defect, Name, NameAddr, Uri};

use super::LEN_MAX;

/// Route values in the order in which they are written, in one allocation.
#[derive(Debug, Clone, Default)]
pub(super) struct RouteSet {
    /// Values, each followed by a line feed, which no value contains.
    bytes: Text<Box<[u8]>>,
    /// Where the URI of the first value stands.
    first_uri: (u16, u16),
    /// The first router is one of RFC 2543.
    is_strict: bool,
}

impl RouteSet {
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a [u8]>, name: Name) -> Result<Self, Defect> {
        let mut bytes = Vec::new();
        for value in values {
            // A strict router's becomes a Request-URI.
            NameAddr::parse(value, Defect::Malformed(name))?
                .parsed_uri()
                .map_err(|_| Defect::Malformed(name))?;
            bytes.extend(value.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
            bytes.push(b'\n');
            if bytes.len() > LEN_MAX {
                return Err(Defect::HeadTooLong);
            }
        }
        let bytes: Text<Box<[u8]>> = Text(bytes.into());
        let mut set = Self { first_uri: (0, 0), is_strict: false, bytes };
        let first = set.values().next().and_then(|value| NameAddr::parse(value, Defect::Uri).ok());
        if let Some(first) = first {
            let start = first.uri().as_ptr() as usize - set.bytes.as_ptr() as usize;
            let uri = (start as u16, (start + first.uri().len()) as u16);
            let is_loose = first.parsed_uri().is_ok_and(|uri| uri.is_loose_router());
            (set.first_uri, set.is_strict) = (uri, !is_loose);
        }
        Ok(set)
    }

    pub(super) fn reversed<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Self, Defect> {
        let mut values: Vec<&[u8]> = values.collect();
        values.reverse();
        Self::of(values.into_iter(), Name::RecordRoute)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == b'\n').filter(|value| !value.is_empty())
    }

    pub(super) fn first_uri(&self) -> Option<&str> {
        let (start, end) = self.first_uri;
        let uri = &self.bytes[usize::from(start)..usize::from(end)];
        std::str::from_utf8(uri).ok().filter(|uri| !uri.is_empty())
    }

    /// The URI of the first router if that is a strict one.
    pub(super) fn strict_uri(&self) -> Option<&str> {
        self.first_uri().filter(|_| self.is_strict)
    }
}

/// A URI as it may stand in a request line.
///
//= RFC 3261 §19.1.1 table 1: no `method` parameter and no headers.
pub(super) fn as_request_uri(uri: &str) -> String {
    let without_headers = match uri.contains('?').then(|| Uri::parse(uri)) {
        Some(Ok(parsed)) if parsed.headers().next().is_some() => uri.split('?').next().unwrap_or(uri),
        Some(_) | None => uri,
    };
    let has_method = || Uri::parse(without_headers).is_ok_and(|uri| uri.param("method").is_some());
    if !without_headers.contains(';') || !has_method() {
        return without_headers.to_owned();
    }
    let kept = without_headers.split(';').enumerate().filter(|(index, part)| {
        let name = part.split('=').next().unwrap_or_default();
        *index == 0 || !name.eq_ignore_ascii_case("method")
    });
    kept.map(|(_, part)| part).collect::<Vec<_>>().join(";")
}
