//! Writes texts and times into HTML.

use jiff::Timestamp;

/// Returns a text as it stands in HTML, between tags or between the quotes of an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Writes a time of the present day as a clock time, and any other time as a date with a clock time. The attributes of
/// the element have the full time.
pub(crate) fn time(time: Timestamp, now: Timestamp) -> String {
    let whole = format!("{time:.3}");
    let (date, clock) = whole.split_once('T').unwrap_or((&whole, ""));
    let today = format!("{now:.3}").starts_with(date);
    let clock = clock.trim_end_matches('Z');
    let shown = if today { clock.to_owned() } else { format!("{date} {}", clock.get(..5).unwrap_or(clock)) };
    format!("<time datetime=\"{whole}\" title=\"{whole}\">{shown}</time>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_tag_or_leaves_its_attribute() {
        assert_eq!(escape("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2025-06-15T12:00:00Z");
        assert!(time(at("2025-06-15T01:02:03.456Z"), now).contains(">01:02:03.456<"));
        assert!(time(at("2025-06-14T01:02:03.456Z"), now).contains(">2025-06-14 01:02<"));
    }
}
