//! Functions that take any bytes and panic if a promise is broken. Each function tests a part of the relay that reads
//! data from outside.
//!
//! The fuzz targets of the same names in `fuzz/` call these functions (`just fuzz`). The tests below call them with
//! every input in `fuzz/corpus/` and `fuzz/regressions/`. So a fault that a fuzzer once found is noticed if it comes
//! back. The module is compiled only for the fuzz targets and the tests.

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
    use std::path::{Path, PathBuf};

    /// The most inputs in the corpus of a target, so that the repository stays small. `just fuzz-minimise` chooses the
    /// inputs that are kept.
    const MOST_INPUTS: usize = 60;

    /// Returns the files in a folder of `fuzz/`; no files if the folder does not exist.
    fn files(folder: &str) -> Vec<PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        fs::read_dir(path).into_iter().flatten().map(|file| file.unwrap().path()).collect()
    }

    /// Runs every stored input of a target.
    fn replay(target: &str, run: fn(&[u8])) {
        let corpus = files(&format!("corpus/{target}"));
        assert!((10..=MOST_INPUTS).contains(&corpus.len()), "{} inputs in the corpus of {target}", corpus.len());
        let regressions = files(&format!("regressions/{target}"));
        for path in corpus.iter().chain(&regressions) {
            let bytes = fs::read(path).unwrap();
            // The panic itself prints the fault. The message below names the input.
            let held = std::panic::catch_unwind(|| run(&bytes));
            assert!(held.is_ok(), "a promise was broken by {}", path.display());
        }
        println!("{} inputs and {} regressions of {target}", corpus.len(), regressions.len());
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

    #[test]
    fn every_folder_of_regressions_belongs_to_a_target() {
        let folders = files("regressions");
        assert!(!folders.is_empty(), "the regressions were not found");
        for folder in folders {
            let target = folder.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(!files(&format!("corpus/{target}")).is_empty(), "no test replays {}", folder.display());
        }
    }
}
