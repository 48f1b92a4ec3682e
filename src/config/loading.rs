//! One reading of the configuration: the layers are merged, then each component may read its section.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sources::{Sources, apply_flags};
use super::{Log, declarations, locate};
use crate::codes::{self, CodeFinder};
use crate::secret::Secret;
use crate::settings::{self, Complaints, Document, FileUsage, Origin, Reader, Settings};
use crate::{api, ingest, store};

/// A configuration while it is read. Errors are gathered in the report, and do not end the reading.
pub(super) struct Loading<'s> {
    pub(super) sources: &'s Sources,
    pub(super) document: Document,
    pub(super) report: Complaints,
    /// The text of the file.
    pub(super) text: Option<Secret>,
}

impl<'s> Loading<'s> {
    /// Finds the file, and merges file, environment and flags.
    pub(super) fn start(sources: &'s Sources) -> Self {
        let mut report = Complaints::new(declarations());
        let file = locate::config_file(sources, &mut report);
        Self::merge(sources, file, report)
    }

    /// Merges this file, the environment and the flags.
    pub(super) fn merge(sources: &'s Sources, file: Option<(PathBuf, String)>, mut report: Complaints) -> Self {
        let text = file.as_ref().map(|(_, text)| Secret::from(text.as_str()));
        let mut document = match file {
            Some((path, text)) => settings::read_file(path, &text, &mut report),
            None => Document::default(),
        };
        settings::apply_environment(&sources.env, &mut document, &mut report);
        apply_flags(&sources.flags, &mut document, &mut report);
        Self { sources, document, report, text }
    }

    /// The path of the file that was read.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.report.path().map(Path::to_owned)
    }

    /// Reads a section. `resolve` checks its values, and makes the options of the component.
    pub(super) fn section<S: Settings, T>(
        &mut self,
        name: &'static str,
        resolve: impl FnOnce(S, &mut Reader<'_>) -> T,
    ) -> T {
        let table = self.document.section(name);
        let mut at = Reader::new(name.to_owned(), table, &self.sources.env, &mut self.report);
        let settings = S::read(&mut at);
        resolve(settings, &mut at)
    }

    /// Reads `[api]`, and returns the name of the account, too.
    pub(super) fn api(&mut self) -> (Option<api::Options>, Arc<str>) {
        self.section("api", api::settings::Settings::resolve)
    }

    /// Reads `[poll]`.
    pub(super) fn poll(&mut self) -> ingest::Options {
        self.section("poll", |options, _| options)
    }

    /// Reads `[codes]`.
    pub(super) fn codes(&mut self) -> CodeFinder {
        self.section("codes", codes::Settings::resolve)
    }

    /// Reads `[log]`.
    pub(super) fn log(&mut self) -> Log {
        self.section("log", |log: Log, at| {
            if let (Some(dir), Some(origin)) = (&log.dir, at.origin("dir")) {
                at.note_file("dir", origin, dir, FileUsage::Write);
            }
            log
        })
    }

    /// Reads `[state]`. `--state-dir` takes precedence.
    pub(super) fn state(&mut self) -> Option<store::Options> {
        let sources = self.sources;
        let file = self.file();
        self.section("state", |state: store::Settings, at| {
            let dir = match (&sources.flags.state_dir, at.origin("dir")) {
                (Some(dir), _) if dir.as_os_str().is_empty() => {
                    let help = "name a directory, or leave it out";
                    at.error(&Origin::Flag("--state-dir"), "is empty".to_owned(), help);
                    None
                }
                (Some(dir), _) => Some(dir.clone()),
                (None, Some(origin)) => {
                    at.note_file("dir", origin, state.written_dir(), FileUsage::Write);
                    Some(state.written_dir().clone())
                }
                (None, None) => {
                    let found = locate::state_dir(sources, file.as_deref());
                    if found.is_none() && at.is_complete() {
                        let message = "there is no state directory: neither $STATE_DIRECTORY nor $HOME is set";
                        let help = "set `state.dir`, JOLTSMS_RELAY_STATE__DIR or --state-dir";
                        at.error(&Origin::Default, message.to_owned(), help);
                    }
                    found
                }
            }?;
            // The path is shown to people, and they may look for the directory from another working directory.
            let dir = std::path::absolute(&dir).unwrap_or(dir);
            state.resolve(dir, at)
        })
    }
}
