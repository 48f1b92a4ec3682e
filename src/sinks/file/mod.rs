//! Sinks of type `file`: each message becomes a line of a file.
//!
//! Invariants, in addition to those of [`super::lines`]:
//!
//! - A line is delivered when its file was flushed to the disk and, if the file is new, the directory of the file, too.
//! - Each line goes to the end of the file that now has the configured name. So a file that was renamed or removed gets
//!   no further line. If a file was truncated, the next line stands at its new end.
//! - Only the relay's user may read the files that the relay makes, unless the operator asks for other permissions. A
//!   symbolic link in place of a file is not followed.

mod dated_file;
mod name;
mod place;
mod settings;

use std::sync::Arc;

use self::dated_file::DatedFile;
use self::name::NamePattern;
use super::lines::{LineSink, StreamState};
use super::{OnlineCheck, Outgoing, Preview, ReadContext, Sink, SinkBuildError, SinkType, Target};
use crate::domain::Finding;
use crate::settings::{DeclaredKey, Reader, Settings as _};
use crate::time::Clock;

/// The type `file`.
#[derive(Debug)]
pub(super) struct FileType;

/// The file of a sink.
#[derive(Clone, Debug)]
struct FileTarget {
    path: NamePattern,
    /// The permissions of files that the relay makes.
    mode: u32,
}

impl SinkType for FileType {
    fn name(&self) -> &'static str {
        "file"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn lacks(&self) -> &'static [&'static str] {
        &["requests_per_minute"]
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context.is_meant)?))
    }
}

impl Target for FileTarget {
    fn takes_lines(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        format!("file {}", self.path)
    }

    fn preview(&self, outgoing: Outgoing, clock: &Clock) -> Result<Preview, String> {
        let head = format!("file {}\n\n", self.path.at(clock.relay_time()).display());
        Ok(Preview { head, body: outgoing.body })
    }

    fn check_online<'t>(&'t self, name: &'t str, clock: &'t Clock) -> OnlineCheck<'t> {
        let path = self.path.at(clock.relay_time());
        let finding = match place::look(&path) {
            Ok(detail) => Finding::works(name, detail),
            Err(why) => Finding::fails(name, why, format!("set another `sinks.{name}.path`, or mend what is there")),
        };
        Box::pin(std::future::ready(vec![finding]))
    }

    fn build(&self, clock: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        let (pattern, clock) = (self.path.clone(), clock.clone());
        let file = DatedFile::new(move || pattern.at(clock.relay_time()), self.mode);
        let state = StreamState { is_flushed_together: true, ..StreamState::default() };
        Ok(Arc::new(LineSink::new(file, state, "file sink").map_err(SinkBuildError::File)?))
    }
}
