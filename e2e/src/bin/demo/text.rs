//! Text for a terminal. In: long lines. Out: lines of a width.

/// Most columns of a line.
pub(crate) const WIDTH: usize = 80;

/// Breaks `text` between words into lines of at most `width` characters. Spaces within the text stay; a word that is longer than a line
/// is broken where the line ends.
pub(crate) fn wrapped(text: &str, first: &str, others: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut rest, mut indent) = (format!("{first}{text}"), first.len());
    while let Some((limit, beyond)) = rest.char_indices().nth(width) {
        let before = rest.get(..limit).unwrap_or_default();
        let has_words = |at: &usize| before.get(indent..*at).is_some_and(|words| !words.trim().is_empty());
        let at = if beyond == ' ' { limit } else { before.rfind(' ').filter(has_words).unwrap_or(limit) };
        let (line, tail) = rest.split_at(at);
        lines.push(line.trim_end().to_owned());
        (rest, indent) = (format!("{others}{}", tail.trim_start()), others.len());
    }
    lines.push(rest.trim_end().to_owned());
    lines
}

/// The text if it fits, else its beginning and an ellipsis.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The text without characters that a terminal would obey: what others wrote is shown and never acts.
pub(crate) fn inert(text: &str) -> String {
    text.chars().map(|it| if it.is_control() && it != '\t' { '\u{fffd}' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_line_stays_as_it_is() {
        assert_eq!(wrapped("a  b", "> ", "  ", 10), ["> a  b"]);
    }

    #[test]
    fn a_long_line_breaks_between_words_and_goes_on_indented() {
        assert_eq!(wrapped("one two three four", "- ", "  ", 10), ["- one two", "  three", "  four"]);
    }

    #[test]
    fn a_line_that_fits_exactly_is_not_broken() {
        assert_eq!(wrapped("1234567890", "", " ", 10), ["1234567890"]);
        assert_eq!(wrapped("12345 7890 x", "", " ", 10), ["12345 7890", " x"]);
    }

    #[test]
    fn a_word_longer_than_a_line_is_broken_where_the_line_ends() {
        assert_eq!(wrapped("abcdefghij", "", "  ", 6), ["abcdef", "  ghij"]);
        assert_eq!(wrapped("ab abcdefghij", "", "  ", 6), ["ab", "  abcd", "  efgh", "  ij"]);
    }

    #[test]
    fn no_line_is_ever_wider_than_asked_for_and_no_word_is_lost() {
        let text =
            "Namespace:    acme and ünïcödé wörds that gö ön for quite a while, with-a-very-long-word-in-between";
        for width in 12..60 {
            let lines = wrapped(text, "   ", "      ", width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text), "{width}");
        }
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(inert("a\u{1b}[2J\r\u{9b}b\tü"), "a\u{fffd}[2J\u{fffd}\u{fffd}b\tü");
    }
}
