//! Requests of commands to the API. A command shares the request budget with a relay on the same state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::relay::complain;
use super::state_access::relay_clock;
use crate::api::budget::CommandBudget;
use crate::api::{self, Client, Response};
use crate::config::Config;
use crate::domain::Cursor;
use crate::http::client::ClientBuildError;
use crate::store::{self, Error, StateLocation};
use crate::time::Clock;

/// The longest time between two looks at the budget by a command that waits for a free slot. The budget changes when a
/// relay starts or ends.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// If a command must wait longer than this for the budget, the command says so.
const SAID_AFTER: Duration = Duration::from_secs(3);

/// The API client of a command, and the request budget for the command.
pub(super) struct ApiAccess {
    client: Client,
    /// `None`: no relay has run on the state yet, so there is no directory in which requests could be recorded.
    budget: Option<CommandBudget>,
    state: StateLocation,
    clock: Clock,
}

/// Why commands cannot use the API.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAccess {
    #[error(transparent)]
    Store(#[from] Error),
    #[error(transparent)]
    Client(#[from] ClientBuildError),
    #[error("the request budget cannot be recorded in {}, so no request is sent: {source}", dir.display())]
    Budget { dir: PathBuf, source: std::io::Error },
}

/// The budget has no free slot for the command within the time that the command may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BudgetIsSpent;

impl ApiAccess {
    /// Prepares requests. Nothing is sent yet.
    pub(super) fn open(config: &Config) -> Result<Self, NoAccess> {
        let state = config.state.location();
        let client = Client::build(&config.api)?;
        // The requests are dated by the relay's time, or by the machine's clock if the state cannot be read.
        let clock = store::open_snapshot(&state).ok().flatten().and_then(|snapshot| relay_clock(&*snapshot.spool).ok());
        let clock = clock.unwrap_or_else(Clock::system);
        let limit = config.api.requests_per_minute;
        let budget = match state.dir().is_dir() {
            true => Some(open_budget(state.dir(), limit)?),
            false => None,
        };
        Ok(Self { client, budget, state, clock })
    }

    /// The client, with its keys.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Requests a page of up to `limit` rows at `cursor`, or at the head, as soon as the budget has a free slot. Waits
    /// for a slot for at most `patience`.
    pub(super) async fn fetch(
        &mut self,
        cursor: Option<&Cursor>,
        limit: u32,
        patience: Duration,
    ) -> Result<Result<Response, BudgetIsSpent>, NoAccess> {
        let failed = |dir: &Path, source| NoAccess::Budget { dir: dir.to_owned(), source };
        let begun = self.clock.monotonic();
        let mut said = false;
        let ticket = loop {
            let Some(budget) = &self.budget else { break None };
            // Beside a running relay, a command leaves some slots free. It also does so if it cannot know whether a
            // relay runs, because this user may not look, or because the database of the state does not answer.
            let running = match store::is_running(&self.state) {
                Err(Error::Unreachable(_) | Error::Database(_)) => None,
                known => known?,
            };
            let beside_relay = running.unwrap_or(true);
            let reserved = budget.reserve(self.clock.relay_time(), beside_relay);
            match reserved.map_err(|source| failed(self.state.dir(), source))? {
                Ok(ticket) => break Some(ticket),
                Err(wait) => {
                    let waited = self.clock.monotonic().saturating_duration_since(begun);
                    if waited + wait > patience {
                        return Ok(Err(BudgetIsSpent));
                    }
                    if wait > SAID_AFTER && !std::mem::replace(&mut said, true) {
                        let seconds = wait.as_secs();
                        complain(super::Exit::Done, &format_args!("waiting {seconds} s for the request budget"));
                    }
                    tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
                }
            }
        };
        let response = self.client.fetch(cursor, limit, self.clock.relay_time()).await;
        if let (Some(budget), Some(ticket)) = (&self.budget, ticket) {
            let recorded = budget.answered(ticket, self.clock.relay_time());
            recorded.map_err(|source| failed(self.state.dir(), source))?;
        }
        Ok(Ok(response))
    }
}

fn open_budget(dir: &Path, limit: u32) -> Result<CommandBudget, NoAccess> {
    CommandBudget::open(dir, limit).map_err(|source| NoAccess::Budget { dir: dir.to_owned(), source })
}

/// Returns whether the next key may be tried after this error.
pub(super) fn refuses_key(error: &api::Error) -> bool {
    matches!(error, api::Error::KeyRefused(_))
}
