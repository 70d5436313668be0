//! What a trunk says, for people to read.

/// Characters that are kept.
const WORDS_MAX: usize = 200;

/// A reason phrase as it may be shown on a terminal: the peer chose its octets.
pub(super) fn words(phrase: &[u8]) -> String {
    let text = String::from_utf8_lossy(phrase);
    let tame = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().take(WORDS_MAX).map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_characters_and_no_end_of_words() {
        assert_eq!(words(b"No\x1b[2J\x07 \xff"), "No\u{fffd}[2J\u{fffd} \u{fffd}");
        assert_eq!(words("Zugang gesperrt (\u{9b}31m)".as_bytes()), "Zugang gesperrt (\u{fffd}31m)");
        assert_eq!(words(&[b'a'; 1000]), "a".repeat(200));
    }
}
