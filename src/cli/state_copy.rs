//! The command `state copy`: copies a whole state, for example from a directory into a database.

use std::path::Path;

use super::exit::Exit;
use super::global_flags::Flags;
use super::output::answer;
use super::relay::complain;
use super::state_access::{Absent, fails, location};
use crate::config::{self, Sources};
use crate::humanize::count;
use crate::secret::Secret;
use crate::store::{CopyEnd, Database, StateLocation, copy_state};

/// How the addresses of a database begin. Every other destination is a directory.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// The environment variable from which PostgreSQL's own programs read a password. Unlike the flag `--to`, a variable is
/// not shown in the list of processes.
const PASSWORD: &str = "PGPASSWORD";

pub(super) fn state_copy(flags: &Flags, to: &str, namespace: Option<&str>) -> Exit {
    try_copy(flags, to, namespace).unwrap_or_else(|exit| exit)
}

fn try_copy(flags: &Flags, to: &str, namespace: Option<&str>) -> Result<Exit, Exit> {
    let from = location(flags)?;
    let to = destination(flags, &from, to, namespace)?;
    match copy_state(&from, &to).map_err(|error| fails(&error))? {
        CopyEnd::Copied { messages, deliveries } => Ok(answer(&format!(
            "copied {} and {} from {from} to {to}\n",
            count(messages, "message"),
            deliveries_of(deliveries)
        ))),
        CopyEnd::NoState => Err(complain(Exit::Failure, &Absent(&from))),
        CopyEnd::NotEmpty => {
            let said = format_args!("there is a state in {to} already; nothing was changed");
            Err(complain(Exit::Failure, &said))
        }
    }
}

/// Says how many deliveries there are.
fn deliveries_of(number: u64) -> String {
    if number == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", crate::humanize::grouped(number)) }
}

/// Returns the place to which the state is copied.
fn destination(flags: &Flags, from: &StateLocation, to: &str, namespace: Option<&str>) -> Result<StateLocation, Exit> {
    if !SCHEMES.iter().any(|scheme| to.starts_with(scheme)) {
        return Ok(StateLocation::from(Path::new(to)));
    }
    let configured = config::load_state(&Sources::from_process(flags.overrides()))
        .map_err(|errors| complain(Exit::Configuration, &errors))?;
    let namespace = namespace.unwrap_or(&configured.options.namespace);
    let database = Database::new(&Secret::from(to), namespace)
        .map_err(|wrong| complain(Exit::Usage, &format_args!("--to {wrong}")))?;
    let database = match std::env::var(PASSWORD) {
        Ok(password) => database.or_password(&Secret::from(password)),
        Err(_) => database,
    };
    Ok(StateLocation::new(from.dir(), Some(database)))
}
