//! `state export`: saves what a state holds, whatever became of it.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::exit::Exit;
use super::flags::Flags;
use super::relay::complain;
use super::state::{Absent, directory};
use super::words::count;
use crate::domain::UnixMs;
use crate::formats::one_line;
use crate::store::{Salvage, Saved, SavedDelivery, save};

/// Writes one JSON object a line to `output`, `-` for stdout. A file that is there is left as it is; one that cannot be
/// written to its end does not stay.
pub(super) fn export(flags: &Flags, output: &Path) -> Exit {
    let dir = match directory(flags) {
        Ok(dir) => dir,
        Err(exit) => return exit,
    };
    let is_file = output != Path::new("-");
    let shown = if is_file { output.display().to_string() } else { "to standard output".to_owned() };
    let to: Box<dyn Write> = if is_file {
        // The texts of messages: for its user only.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(output) {
            Ok(file) => Box::new(file),
            Err(error) => return complain(Exit::Failure, &format_args!("cannot write {shown}: {error}")),
        }
    } else {
        Box::new(io::stdout().lock())
    };
    let mut to = BufWriter::new(to);
    let mut unwritten = false;
    let saved = save(&dir, |saved| writeln!(to, "{}", line(saved)?).inspect_err(|_| unwritten = true));
    let saved = saved.and_then(|saved| to.flush().inspect_err(|_| unwritten = true).map(|()| saved));
    if is_file && !matches!(saved, Ok(Some(_))) {
        // It would be taken for a whole one, and be in the way of the next. Why it is not whole matters more.
        drop(fs::remove_file(output));
    }
    match saved {
        Ok(Some(salvage)) => tell(&salvage),
        Ok(None) => complain(Exit::Failure, &Absent(&dir)),
        // Whoever reads has enough of it.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Failure,
        Err(error) if unwritten => complain(Exit::Failure, &format_args!("cannot write {shown}: {error}")),
        Err(error) => complain(
            Exit::Failure,
            &format_args!("nothing was saved: the state in {} cannot be read: {error}", dir.display()),
        ),
    }
}

fn tell(salvage: &Salvage) -> Exit {
    let Salvage { messages, altered, unreadable, wrong } = salvage;
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

fn line(saved: &Saved) -> io::Result<String> {
    let Saved { seq, id, received, standing, raw, intact, deliveries } = saved;
    let deliveries: Vec<Value> = deliveries.iter().map(delivery).collect();
    let mut line = json!({ "id": id, "seq": seq, "received": received.to_string(), "standing": standing });
    line["intact"] = json!(intact);
    line["deliveries"] = Value::Array(deliveries);
    let line = line.to_string();
    // The text goes in as it came, numbers and all; one that is no JSON any more, as a text.
    let raw = match RawValue::from_string(one_line(raw)) {
        Ok(message) => format!("\"message\":{message}"),
        Err(_) => format!("\"text\":{}", serde_json::to_string(raw)?),
    };
    Ok(format!("{},{raw}}}", line.strip_suffix('}').unwrap_or(&line)))
}

fn delivery(delivery: &SavedDelivery) -> Value {
    let SavedDelivery { sink, state, attempts, first_attempt, due, settled_at, status, reason, answer } = delivery;
    let time = |at: &Option<UnixMs>| at.map(|at| Value::String(at.to_string()));
    let fields = [
        ("sink", sink.clone().map(Value::String)),
        ("state", Some(Value::String(state.clone()))),
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
