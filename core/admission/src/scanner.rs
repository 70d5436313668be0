//! Programs that look for open doors, by what they call themselves in User-Agent.

/// True if one of the patterns, which are in small letters, is in the text.
pub(crate) fn is_one(text: &[u8], patterns: &[String]) -> bool {
    let lower = text.to_ascii_lowercase();
    patterns.iter().any(|pattern| memchr::memmem::find(&lower, pattern.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_in_any_case() {
        let patterns = ["friendly-scanner".to_owned(), "sipcli".to_owned()];
        assert!(is_one(b"Friendly-Scanner", &patterns));
        assert!(is_one(b"sipcli/v1.8", &patterns));
        assert!(!is_one(b"baresip v1.0.0", &patterns));
        assert!(!is_one(b"", &patterns));
    }
}
