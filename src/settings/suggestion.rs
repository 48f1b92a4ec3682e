//! Words that error texts propose: the nearest valid spelling of a name ("did you mean"), and all valid words.

/// The candidate that was probably meant by `written`, if one is near enough.
///
/// A candidate is near enough if it differs by at most one slip for each three letters of `written`. One slip is always
/// allowed, and more than three never are. A slip is a letter too many, a missing letter, a wrong letter, or two
/// neighbours swapped.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slips = (written.chars().count() / 3).clamp(1, 3);
    let distances = candidates.into_iter().map(|candidate| (strsim::osa_distance(written, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= slips).min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
}

/// Lists words in quotes: `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub fn alternatives<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let mut quoted: Vec<String> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
    let last = quoted.pop().unwrap_or_default();
    if quoted.is_empty() { last } else { format!("{} or {last}", quoted.join(", ")) }
}

#[cfg(test)]
mod tests {
    use strsim::osa_distance;

    use super::*;

    #[test]
    fn counts_slips() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("url", "ulr", 1),
            ("url", "uri", 1),
            ("interval", "intervall", 1),
            ("a", "b", 1),
        ] {
            assert_eq!(osa_distance(left, right), expected, "{left} {right}");
            assert_eq!(osa_distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn suggests_slips_only() {
        let keys = ["url", "timeout", "concurrency"];
        assert_eq!(nearest("ulr", keys), Some("url"));
        assert_eq!(nearest("time_out", keys), Some("timeout"));
        assert_eq!(nearest("concurency", keys), Some("concurrency"));
        assert_eq!(nearest("headers", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("x", []), None);
    }
}
