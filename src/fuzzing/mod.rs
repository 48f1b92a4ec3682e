//! Fuzz targets for the parts that read what others wrote, each with the promises that must hold for any input.
//!
//! Each function takes bytes, and panics where a promise is broken. The fuzz targets of the same names in `fuzz/` call
//! it (`just fuzz`), and so do the tests below, with every file of `fuzz/corpus/`, so that a bug that was found once
//! cannot come back. This module is compiled for these two only.

mod budget;
mod bytes;
mod configuration;
mod coverage;
mod page;
mod words;

pub use budget::{budget, rate_headers};
pub use configuration::configuration;
pub use coverage::coverage;
pub use page::page;
pub use words::{retry_after, words};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Runs every file of the corpus of `target`; there must be some.
    fn replay(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            // The panic says what is wrong; the message here says with which file.
            let held = std::panic::catch_unwind(|| run(&bytes));
            assert!(held.is_ok(), "broken by {}", path.display());
            count += 1;
        }
        assert!(count > 10, "{count} files in {}", folder.display());
        println!("{count} files of {target}");
    }

    #[test]
    fn budget() {
        replay("budget", super::budget);
    }

    #[test]
    fn configuration() {
        replay("configuration", super::configuration);
    }

    #[test]
    fn coverage() {
        replay("coverage", super::coverage);
    }

    #[test]
    fn page() {
        replay("page", super::page);
    }

    #[test]
    fn rate_headers() {
        replay("rate_headers", super::rate_headers);
    }

    #[test]
    fn retry_after() {
        replay("retry_after", super::retry_after);
    }

    #[test]
    fn words() {
        replay("words", super::words);
    }
}
