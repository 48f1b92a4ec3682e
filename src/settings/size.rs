//! Sizes as people write them: `64MiB`, `1.5GiB`, `500MB`.

use bytesize::ByteSize;

/// Examples of sizes, for error texts.
pub(super) const EXAMPLES: &str = "a size is written like \"500MB\", \"64MiB\" or \"1.5GiB\"";

/// Reads a number with a unit, or a number of bytes; `None` if it is neither.
pub(super) fn parse(text: &str) -> Option<u64> {
    text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// Writes a size, rounded to one decimal, in a form that [`parse`] can read.
pub(super) fn show(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// Writes a size without spaces and without `.0`: `64MiB`.
pub(super) fn write(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { show(bytes).replace(".0 ", "").replace(' ', "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_of_both_kinds() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1GiB", 1 << 30),
            ("64 MiB", 64 << 20),
            (" 500MB ", 500_000_000),
            ("1.5GiB", 3 << 29),
            ("1B", 1),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "-1GiB", "1 GiB 2 MiB", "1XiB", "1,5GiB", "lots", "1.2.3MB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn shows_them_as_they_are_read() {
        for (bytes, text) in [(0, "0 B"), (64 << 20, "64.0 MiB"), (1 << 30, "1.0 GiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(show(bytes), text);
            assert_eq!(parse(text), Some(bytes));
            assert_eq!(parse(&write(bytes)), Some(bytes));
        }
        assert_eq!([0, 64 << 20, 3 << 29].map(write), ["0", "64MiB", "1.5GiB"]);
    }
}
