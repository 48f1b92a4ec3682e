//! The errors and warnings of a configuration: all of them at once, each with its place and a remedy.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::declarations::Declarations;
use super::document::{Document, Origin};
use super::excerpt::{Excerpt, SourceFile, without_keys};
use super::fingerprints::{Fingerprints, SourcesRead};
use super::named_file::NamedFile;
use crate::domain::Sanitized;

/// How many errors are shown at most. A file with more errors is not a configuration, and a longer list would hide the
/// first errors.
const MOST_SHOWN: usize = 100;

/// All errors of a configuration; never empty. Displays one block for each error, and their number.
///
/// Errors of the file come first, by line, then errors of the environment, then errors of the flags.
#[derive(Debug, thiserror::Error)]
pub struct Errors(Vec<Problem>);

/// An error, or a warning of a setting that works but is perhaps a mistake: its text, its place, and a remedy. Displays
/// on one line; with `{:#}` as a block that shows the line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    place: ProblemPlace,
    message: String,
    help: Option<String>,
}

/// The place of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ProblemPlace {
    Line(PathBuf, Excerpt),
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
    Nowhere,
}

impl Errors {
    /// The problems, in the order of the display.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    /// All errors in one line, each with its place and its remedy.
    pub fn in_one_line(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        lines.join(" | ")
    }

    /// A single error that belongs to no place.
    pub fn one(message: &str, help: &str) -> Self {
        Self(vec![Problem::new(ProblemPlace::Nowhere, message.to_owned(), help)])
    }
}

impl Problem {
    fn new(place: ProblemPlace, message: String, help: &str) -> Self {
        let help = Some(help.to_owned()).filter(|help| !help.is_empty());
        let shown = |text: String| Sanitized::line(&without_keys(&text)).to_string();
        Self { place, message: shown(message), help: help.map(shown) }
    }

    /// A problem of the file as a whole.
    pub fn of_file(path: PathBuf, message: String, help: &str) -> Self {
        Self::new(ProblemPlace::File(path), message, help)
    }

    /// The file with the line, the variable or the flag that the problem is about; `None` if it is about no single
    /// place.
    pub fn place(&self) -> Option<String> {
        let place = self.place.to_string();
        place.strip_suffix(": ").map(ToOwned::to_owned)
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do, if there is advice.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl From<Problem> for Errors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl ProblemPlace {
    /// Problems are listed in the order of these values.
    fn rank(&self) -> (u8, usize, usize, &str) {
        match self {
            Self::File(_) => (0, 0, 0, ""),
            Self::Line(_, excerpt) => (1, excerpt.line, excerpt.indent, ""),
            Self::Variable(name) => (2, 0, 0, name),
            Self::Flag(name) => (3, 0, 0, name),
            Self::Nowhere => (4, 0, 0, ""),
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0.iter().take(MOST_SHOWN) {
            writeln!(out, "{problem:#}\n")?;
        }
        let count = self.0.len();
        if count > MOST_SHOWN {
            writeln!(out, "... and {} more", count - MOST_SHOWN)?;
        }
        write!(out, "{count} error{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, message, help } = self;
        write!(out, "{place}{message}")?;
        if !out.alternate() {
            return help.iter().try_for_each(|help| write!(out, "; {help}"));
        }
        let mut margin = 0;
        if let ProblemPlace::Line(_, Excerpt { line, text, indent, width }) = place {
            margin = line.to_string().len();
            write!(out, "\n{:margin$} |\n{line} | {text}\n", "")?;
            write!(out, "{:margin$} | {:indent$}{:^<width$}", "", "", "")?;
        }
        help.iter().try_for_each(|help| write!(out, "\n{:margin$} = {help}", ""))
    }
}

impl fmt::Display for ProblemPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, excerpt) => write!(out, "{}:{}: ", Sanitized::line(&path.display()), excerpt.line),
            Self::File(path) => write!(out, "{}: ", Sanitized::line(&path.display())),
            Self::Variable(name) => write!(out, "{}: ", Sanitized::line(name)),
            Self::Flag(name) => write!(out, "{name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// Gathers problems while a configuration is read. A problem that is found twice is kept once.
pub struct Complaints {
    declared: &'static Declarations,
    file: Option<SourceFile>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Lines that have a syntax error, or follow from one. Other errors on these lines are doubtful, and are not
    /// reported.
    doubtful: BTreeSet<usize>,
    incomplete: bool,
    /// True if the file is not TOML.
    broken: bool,
    /// Variables that are set and empty.
    empty: Vec<Origin>,
    /// The sources from which values were read.
    pub(super) read: SourcesRead,
    /// The files that the configuration file names.
    pub(super) named_files: Vec<NamedFile>,
}

impl Complaints {
    /// A report without problems.
    pub fn new(declared: &'static Declarations) -> Self {
        Self {
            declared,
            file: None,
            problems: Vec::new(),
            warnings: Vec::new(),
            doubtful: BTreeSet::new(),
            incomplete: false,
            broken: false,
            empty: Vec::new(),
            read: SourcesRead::default(),
            named_files: Vec::new(),
        }
    }

    /// The fingerprint of each value in the document, after all keys were read.
    pub fn fingerprints(&self, document: &Document) -> Fingerprints {
        Fingerprints::of(document, &self.read)
    }

    /// The files from which secrets were read.
    pub fn secret_files(&self) -> &BTreeSet<PathBuf> {
        self.read.files()
    }

    /// The files that the configuration file names.
    pub fn named_files(&self) -> &[NamedFile] {
        &self.named_files
    }

    /// The declarations of the program.
    pub(super) fn declared(&self) -> &'static Declarations {
        self.declared
    }

    /// The path of the file that was read.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(SourceFile::path)
    }

    /// Sets the file whose lines are shown from now on.
    pub(super) fn set_file(&mut self, file: SourceFile) {
        self.file = Some(file);
    }

    /// Whether everything that was written could be read. If not, a key that seems to be missing may stand in the part
    /// that could not be read.
    pub fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Notes that something that was written could not be read.
    pub fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Whether a value at this place may be shown. In a file that is not TOML, anything may stand there, even a secret.
    pub(super) fn may_show(&self, origin: &Origin) -> bool {
        !(self.broken && matches!(origin, Origin::File(_)))
    }

    /// Notes that a variable is set and empty. Errors about the variable then get a hint, because the mistake may be
    /// in the place that sets the variable.
    pub(super) fn note_empty(&mut self, variable: &Origin) {
        self.empty.push(variable.clone());
    }

    /// Reports an error of a key without showing a value. `help` says what to do, or is "".
    pub fn error(&mut self, origin: &Origin, message: String, help: &str) {
        self.push(origin, false, message, help);
    }

    /// Reports an error of a value that may be shown.
    pub fn error_with_value(&mut self, origin: &Origin, message: String, help: &str) {
        self.push(origin, true, message, help);
    }

    /// Reports a warning.
    pub fn warn(&mut self, origin: &Origin, message: String, help: &str) {
        self.warnings.push(Problem::new(self.place(origin, false), message, help));
    }

    /// Reports that the file as a whole cannot be used.
    pub fn file_error(&mut self, path: PathBuf, message: String, help: &str) {
        self.incomplete = true;
        self.problems.push(Problem::new(ProblemPlace::File(path), message, help));
    }

    /// Reports that the file is not TOML at this byte. Only the first such error of a line is reported, because the
    /// other errors of the line follow from it.
    pub(super) fn syntax_error(&mut self, at: usize, message: String) {
        self.incomplete = true;
        self.broken = true;
        let Some(file) = &self.file else { return };
        let excerpt = file.excerpt_of_broken(self.declared, at);
        let first = self.doubtful.insert(excerpt.line);
        self.doubtful.extend(file.doubtful_lines(excerpt.line));
        if first {
            let place = ProblemPlace::Line(file.path().to_owned(), excerpt);
            self.problems.push(Problem::new(place, message, ""));
        }
    }

    /// Returns `value` and the warnings, if there is no error.
    ///
    /// # Errors
    /// All errors, in the order of their places.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Problem>), Errors> {
        let mut problems = distinct(self.problems);
        problems.sort_by(|left, right| left.place.rank().cmp(&right.place.rank()));
        match value {
            Some(value) if problems.is_empty() => Ok((value, distinct(self.warnings))),
            _ => Err(Errors(problems)),
        }
    }

    fn push(&mut self, origin: &Origin, reveal: bool, message: String, help: &str) {
        let place = self.place(origin, reveal);
        let mut help = help.to_owned();
        if self.empty.contains(origin) {
            help += if help.is_empty() { "" } else { "; " };
            help += "the variable is set but empty: unset it; if its value comes from another variable (`${…}`), set \
                     that one";
        }
        if !matches!(&place, ProblemPlace::Line(_, excerpt) if self.doubtful.contains(&excerpt.line)) {
            self.problems.push(Problem::new(place, message, &help));
        }
    }

    fn place(&self, origin: &Origin, reveal: bool) -> ProblemPlace {
        match (origin, &self.file) {
            (Origin::File(span), Some(file)) => {
                let excerpt = if self.broken {
                    file.excerpt_of_broken(self.declared, span.start)
                } else {
                    file.excerpt(span, reveal)
                };
                ProblemPlace::Line(file.path().to_owned(), excerpt)
            }
            (Origin::Variable(name), _) => ProblemPlace::Variable(without_keys(name)),
            (Origin::Flag(name), _) => ProblemPlace::Flag(name),
            (Origin::File(_), None) | (Origin::Default, _) => ProblemPlace::Nowhere,
        }
    }
}

/// Removes each problem that was found before. For example, each sink that needs the proxy finds the same error in the
/// variable that names the proxy.
fn distinct(mut problems: Vec<Problem>) -> Vec<Problem> {
    let mut found = HashSet::new();
    problems.retain(|problem| found.insert(problem.clone()));
    problems
}
