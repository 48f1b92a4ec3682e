//! What is thrown at the parts that read what somebody else wrote, and what must hold whatever it is.
//!
//! Each function takes bytes and panics where a promise is broken. They are called by the fuzz targets of the same names
//! in `fuzz/` (`just fuzz`), and by the tests below with every file of `fuzz/corpus/`, so that what was once found stays
//! found. Compiled for those two only.

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

    /// Every file of the corpus of `target`; there must be some.
    fn replay(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            // The panic itself says what is wrong; this says with which file.
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
