//! "Did you mean": the nearest of the valid spellings.

/// The candidate that a slip of the fingers away from `written` may have been meant, if there is one.
///
/// One slip for each three letters, at least one and at most three: more is not a slip but another word.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slips = (written.chars().count() / 3).clamp(1, 3);
    let distances = candidates.into_iter().map(|candidate| (distance(written, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= slips).min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
}

/// Optimal string alignment: insertions, deletions, replacements and swapped neighbours count one each.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    // Rows for the first `row` characters of `left`: the two before, then the current one.
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for row in 1..=left.len() {
        let mut current = vec![row];
        for column in 1..=right.len() {
            let replaced = last[column - 1] + usize::from(left[row - 1] != right[column - 1]);
            let mut best = replaced.min(last[column] + 1).min(current[column - 1] + 1);
            if row > 1 && column > 1 && left[row - 1] == right[column - 2] && left[row - 2] == right[column - 1] {
                best = best.min(before_last[column - 2] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
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
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
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
