//! The command `state export`: saves the messages of a state, even of a damaged one.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, IntoInnerError, IsTerminal as _, StdoutLock, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::NamedTempFile;

use super::exit::Exit;
use super::global_flags::Flags;
use super::relay::complain;
use super::state_access::{Absent, location};
use crate::domain::UnixMs;
use crate::formats::one_line;
use crate::humanize::{count, harmless};
use crate::store::{SalvageReport, SalvagedDelivery, SalvagedMessage, save};

/// Writes the messages as one JSON object a line to `output` (`-`: stdout). An existing file is never changed. A new
/// file gets its name only when it is complete.
pub(super) fn state_export(flags: &Flags, output: &Path) -> Exit {
    let state = match location(flags) {
        Ok(state) => state,
        Err(exit) => return exit,
    };
    if state.is_shared() {
        let hint = "`pg_dump` saves a database; `joltsms-relay state copy` makes a file of the state";
        return complain(
            Exit::Usage,
            &format_args!("state export reads a state in a directory, not in {state}: {hint}"),
        );
    }
    let dir = state.dir();
    let mut to = match Output::begin(output) {
        Ok(to) => to,
        Err(error) => return complain(Exit::Failure, &unwritable(output, &error)),
    };
    let (mut lines, mut unwritten) = (0_u64, false);
    let saved = save(dir, |saved| {
        lines += 1;
        to.write(&line(saved)?).inspect_err(|_| unwritten = true)
    });
    let saved = match saved {
        Ok(Some(salvage)) => to.end(output).inspect_err(|_| unwritten = true).map(|()| salvage),
        Ok(None) => return complain(Exit::Failure, &Absent(&state)),
        Err(error) => Err(error),
    };
    match saved {
        Ok(salvage) => tell(&salvage),
        // The program at the other end of the pipe has read enough, and has closed the pipe. Nothing is reported.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Failure,
        Err(error) if unwritten => complain(Exit::Failure, &unwritable(output, &error)),
        Err(error) => {
            let is_some = output == Path::new("-") && lines > 0;
            let saved = if is_some { "not everything was saved" } else { "nothing was saved" };
            let dir = dir.display();
            complain(Exit::Failure, &format_args!("{saved}: the state in {dir} cannot be read: {error}"))
        }
    }
}

fn named(output: &Path) -> String {
    if output == Path::new("-") { "to standard output".to_owned() } else { output.display().to_string() }
}

fn unwritable(output: &Path, error: &io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::AlreadyExists => "; nothing is overwritten: name another file, or move that one away first",
        _ => "",
    };
    format!("cannot write {}: {error}{hint}", named(output))
}

/// The place to which the lines are written.
enum Output {
    Stdout {
        to: BufWriter<StdoutLock<'static>>,
        is_terminal: bool,
    },
    /// A file that has a temporary name until it is complete. Otherwise an incomplete export would look like a complete
    /// one, and its file would prevent the next export.
    File {
        to: BufWriter<NamedTempFile>,
        draft: SharedDraft,
    },
}

/// What the thread that receives signals must know about the file.
#[derive(Debug, Default)]
enum ExportDraft {
    /// There is no file yet.
    #[default]
    NotMade,
    /// The file has this temporary name.
    Unfinished(PathBuf),
    /// The file has its final name.
    Complete,
}

/// An [`ExportDraft`] with a lock. The file is made and renamed only under the lock. The thread that receives signals
/// takes the lock, too, before it removes the file. So it always knows the present name of the file.
#[derive(Clone, Debug, Default)]
struct SharedDraft(Arc<Mutex<ExportDraft>>);

impl SharedDraft {
    fn lock(&self) -> MutexGuard<'_, ExportDraft> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn begin(output: &Path) -> io::Result<Self> {
        if output == Path::new("-") {
            let to = io::stdout().lock();
            let is_terminal = to.is_terminal();
            return Ok(Self::Stdout { to: BufWriter::new(to), is_terminal });
        }
        if output.symlink_metadata().is_ok() {
            return Err(Errno::EXIST.into());
        }
        let dir = output.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = SharedDraft::default();
        // The signals are caught before the file is made. Otherwise a signal that comes right after the making would
        // leave the file behind.
        remove_if_interrupted(draft.clone())?;
        let mut made = draft.lock();
        // The file contains texts of messages, so only its own user may read it.
        let file = tempfile::Builder::new().prefix(DRAFT).tempfile_in(dir)?;
        *made = ExportDraft::Unfinished(file.path().to_owned());
        drop(made);
        Ok(Self::File { to: BufWriter::new(file), draft })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stdout { to, is_terminal: true } => writeln!(to, "{}", harmless(line)),
            Self::Stdout { to, is_terminal: false } => writeln!(to, "{line}"),
            Self::File { to, .. } => writeln!(to, "{line}"),
        }
    }

    /// Completes the output. If this method is not called, the file is removed.
    fn end(self, output: &Path) -> io::Result<()> {
        match self {
            Self::Stdout { mut to, .. } => to.flush(),
            Self::File { to, draft } => {
                let file = to.into_inner().map_err(IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                let mut draft = draft.lock();
                file.persist_noclobber(output).map_err(|refused| refused.error)?;
                *draft = ExportDraft::Complete;
                Ok(())
            }
        }
    }
}

/// The beginning of the names of temporary files.
const DRAFT: &str = ".joltsms-relay-export-";

/// Receives the signals that end this process, and removes the unfinished file before the process ends. If the file is
/// complete, the command is about to end anyway, so the first signal is ignored. A second one ends the process.
fn remove_if_interrupted(draft: SharedDraft) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    std::thread::Builder::new().spawn(move || {
        let mut came_late = false;
        for signal in signals.forever() {
            let draft = draft.lock();
            match &*draft {
                ExportDraft::Unfinished(file) => drop(fs::remove_file(file)),
                ExportDraft::Complete if !std::mem::replace(&mut came_late, true) => continue,
                ExportDraft::NotMade | ExportDraft::Complete => {}
            }
            drop(emulate_default_handler(signal));
        }
    })?;
    Ok(())
}

fn tell(salvage: &SalvageReport) -> Exit {
    let SalvageReport { messages, altered, unreadable, wrong } = salvage;
    let saved = count(*messages, "message");
    match wrong {
        None => complain(Exit::Done, &format_args!("saved {saved}: all that have a text")),
        Some(wrong) => complain(
            Exit::Failure,
            &format_args!(
                "saved {saved}, {altered} of them not as stored (\"intact\": false); {} could not be read, and more may \
                 be missing: {wrong}",
                count(*unreadable, "row")
            ),
        ),
    }
}

fn line(saved: &SalvagedMessage) -> io::Result<String> {
    let SalvagedMessage { seq, id, received, standing, raw, intact, deliveries } = saved;
    let deliveries: Vec<Value> = deliveries.iter().map(delivery).collect();
    let mut line = json!({ "id": id, "seq": seq, "received": received.to_string(), "standing": standing.as_str() });
    line["intact"] = json!(intact);
    line["deliveries"] = Value::Array(deliveries);
    let line = line.to_string();
    // A text that is valid JSON is written as it came, so that its numbers keep their precision; any other text is
    // written as a JSON string.
    let raw = match RawValue::from_string(one_line(raw)) {
        Ok(message) => format!("\"message\":{message}"),
        Err(_) => format!("\"text\":{}", serde_json::to_string(raw)?),
    };
    Ok(format!("{},{raw}}}", line.strip_suffix('}').unwrap_or(&line)))
}

fn delivery(delivery: &SalvagedDelivery) -> Value {
    let SalvagedDelivery { sink, state, attempts, first_attempt, due, settled_at, status, reason, answer } = delivery;
    let time = |at: &Option<UnixMs>| at.map(|at| Value::String(at.to_string()));
    let fields = [
        ("sink", sink.clone().map(Value::String)),
        ("state", Some(Value::from(state.as_str()))),
        ("attempts", Some(json!(attempts))),
        ("first_attempt", time(first_attempt)),
        ("due", time(due)),
        ("settled_at", time(settled_at)),
        ("status", status.map(Value::from)),
        ("reason", reason.clone().map(Value::String)),
        ("answer", answer.clone().map(Value::String)),
    ];
    let known = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(known.collect::<Map<String, Value>>())
}
