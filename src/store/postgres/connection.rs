//! An opened state, and the three ways to use it: a transaction that reads, a write transaction, and a *side
//! transaction*, which changes only the lease, the list of replicas and their requests.
//!
//! A transaction gathers the statements whose answers it does not need ([`Statements::later`]). It sends them together
//! with the next statement whose answer it needs. So the beginning of a transaction costs no round trip of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{MaybeDone, maybe_done, poll_immediate};
use tokio::runtime::Runtime;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, Row as PgRow};

use super::database::Database;
use super::notifications::notify;
use super::statement::{Failure, Param, ROUND_TRIP, get, params};
use super::waiting::{runtime, wait_for};
use crate::store::error::Error;
use crate::store::recipient::Recipient;
use crate::store::sink_id::SinkId;

/// How long one statement may take, in milliseconds.
const STATEMENT_MS: u64 = 30_000;

/// How long the server waits for the next statement of a transaction, and how long a statement waits for a lock, in
/// milliseconds. After this time the server ends the transaction. So a relay that hangs does not keep a lock for
/// longer.
const WAIT_MS: u64 = 5_000;

/// Commits a transaction. The server puts no time limit on the commit, because the commit waits for the server's disks.
const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// If the answer to a commit did not arrive, a relay asks the server up to this many times whether the transaction was
/// committed. [`RESOLVE_INTERVAL`] is the time between two of these questions.
const RESOLVE_TRIES: u32 = 20;
const RESOLVE_INTERVAL: Duration = Duration::from_millis(500);

/// The state in a schema of a PostgreSQL database.
pub(in crate::store) struct PostgresBackend {
    database: Database,
    /// The connection; `None` before the first use, and after the connection broke.
    client: RefCell<Option<Client>>,
    /// The sinks for which deliveries are made when messages are released.
    pub(super) recipients: Arc<[Recipient]>,
    /// Whether a text is removed as soon as every sink has the message, in the same transaction.
    pub(super) erase_on_delivery: bool,
    /// Whether texts stay for a short time although [`Self::erase_on_delivery`] is on, because a reader waits for
    /// messages.
    pub(super) keep_for_readers: bool,
    /// The number of write transactions of the state, as this backend last saw it; `None` if it has not seen it yet.
    commits: Cell<Option<i64>>,
    /// Whether this backend noticed, since the last call of `changed_by_others`, that another process changed the
    /// state.
    pub(super) changed_by_others: bool,
    /// The epoch of the lease that the caller has; `None` for a command and for a reader, which need no lease.
    pub(super) epoch: Option<i64>,
    /// Why this backend refuses to change the state; `None` if it does not refuse.
    unusable: Option<Unusable>,
    /// How often this backend has waited for an answer of the server.
    pub(super) round_trips: Cell<u64>,
    /// For each sink, a place in the order of release. Every live delivery up to this place is over, so the search for
    /// live deliveries begins after it. This matters while somebody holds a transaction open: the server then cannot
    /// remove finished deliveries from the index, and each search from the beginning would read all of them.
    pub(super) live_over: RefCell<HashMap<SinkId, i64>>,
}

/// Why a backend refuses to change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusable {
    /// It is unknown how the last transaction ended.
    Uncertain,
    /// The database was restored to an earlier moment.
    WentBack,
}

impl From<Unusable> for Error {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::Uncertain => Self::Uncertain,
            Unusable::WentBack => Self::WentBack,
        }
    }
}

impl PostgresBackend {
    /// Makes the backend of a relay that has the lease of this epoch. Every change fails once the relay no longer
    /// has this lease.
    pub(in crate::store) fn under_lease(self, epoch: i64) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    /// Opens a second connection to the same state, for reading beside the writer.
    pub(in crate::store) fn another(&self) -> Self {
        Self::on(&self.database)
    }

    /// Makes a backend without a connection. The first use of the backend connects.
    pub(super) fn on(database: &Database) -> Self {
        Self {
            database: database.clone(),
            client: RefCell::new(None),
            recipients: Arc::default(),
            erase_on_delivery: false,
            keep_for_readers: false,
            commits: Cell::new(None),
            changed_by_others: false,
            epoch: None,
            unusable: None,
            round_trips: Cell::new(0),
            live_over: RefCell::default(),
        }
    }

    /// Returns the name of the schema.
    pub(super) fn namespace(&self) -> &str {
        self.database.namespace()
    }

    /// Returns whether texts are removed on delivery now: [`Self::erase_on_delivery`] is on, and no reader waits for
    /// messages.
    pub(super) fn erases_at_once(&self) -> bool {
        self.erase_on_delivery && !self.keep_for_readers
    }

    /// Runs `work`, which only reads, in one transaction. `work` sees the state as it was at one moment.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Statements<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        let begin = self.begin("ISOLATION LEVEL REPEATABLE READ READ ONLY");
        self.with_client(|client, runtime| {
            let statements = Statements::new(client, runtime, &self.round_trips);
            statements.send(&begin);
            let done = work(&statements);
            statements.send("COMMIT");
            done
        })
    }

    /// Runs `work` in one write transaction. An error rolls the transaction back.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Statements<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        if let Some(why) = self.unusable {
            return Err(why.into());
        }
        let known = self.commits.get();
        let (begin, epoch) = (self.begin("ISOLATION LEVEL READ COMMITTED READ WRITE"), self.epoch);
        // The transaction of a command notifies the relays that the state has changed. A transaction of the active
        // relay notifies nobody.
        let commit =
            if epoch.is_some() { COMMIT.to_owned() } else { format!("{}; {COMMIT}", notify(self.namespace())) };
        let changed = self.with_client(|client, runtime| {
            let statements = Statements::new(client, runtime, &self.round_trips);
            statements.send(&begin);
            let changed = (|| {
                statements.later("SELECT transaction, commits FROM begin_change($1)", params![epoch]);
                let value = work(&statements)?;
                statements.flush()?;
                let first = statements.first.take();
                let begun = first.ok_or_else(|| Failure::unreadable("the function begin_change"))?;
                let commits: i64 = get(&begun, 1)?;
                if known.is_some_and(|known| commits <= known) {
                    return Err(Failure::WentBack);
                }
                Ok((value, get::<String>(&begun, 0)?, commits))
            })();
            match changed {
                Ok((value, transaction, commits)) => Ok((value, transaction, commits, statements.command(&commit))),
                Err(failure) => {
                    statements.send("ROLLBACK");
                    Err(failure)
                }
            }
        });
        if let Err(Error::WentBack) = changed {
            self.unusable = Some(Unusable::WentBack);
        }
        let (value, transaction, commits, committed) = changed?;
        if let Err(failure) = committed {
            self.resolve(&transaction, failure)?;
        }
        self.note_commit(commits);
        Ok(value)
    }

    /// Runs `work` in a side transaction. Such a transaction may change only the tables `lease`, `replica` and
    /// `request`. It does not wait for write transactions, and is not counted as one. If the connection breaks during
    /// the commit, an error is returned, although the transaction may have been committed.
    pub(super) fn side_transaction<T>(
        &self,
        work: impl FnOnce(&Statements<'_>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let begin = self.begin("ISOLATION LEVEL READ COMMITTED READ WRITE");
        self.with_client(|client, runtime| {
            let statements = Statements::new(client, runtime, &self.round_trips);
            statements.send(&begin);
            let done = work(&statements).and_then(|value| statements.command("COMMIT").map(|()| value));
            if done.is_err() {
                statements.send("ROLLBACK");
            }
            done
        })
    }

    /// Finds out whether a transaction was committed, after the answer to its commit has failed to arrive. `failure` is
    /// the reason why the answer did not arrive. Returns `failure` as an error if the transaction was rolled back, and
    /// [`Error::Uncertain`] if the database does not tell.
    pub(super) fn resolve(&mut self, transaction: &str, failure: Failure) -> Result<(), Error> {
        self.client.replace(None);
        for tried in 0..RESOLVE_TRIES {
            if tried > 0 {
                std::thread::park_timeout(RESOLVE_INTERVAL);
            }
            let status = self.read(|statements| {
                statements.value::<Option<String>>("SELECT pg_xact_status($1::text::xid8)", params![transaction])
            });
            match status.as_ref().map(|status| status.as_ref().and_then(Option::as_deref)) {
                Ok(Some("committed")) => return Ok(()),
                Ok(Some("aborted")) => return Err(self.database.explain(failure)),
                // The transaction is still in progress, or this server does not know it, or the server did not answer.
                _ => {}
            }
        }
        self.unusable = Some(Unusable::Uncertain);
        Err(Error::Uncertain)
    }

    /// Runs `work` with the connection. If there is none, connects first. A connection is not used again if it broke,
    /// or if the server did not answer in time.
    pub(super) fn with_client<T>(
        &self,
        work: impl FnOnce(&Client, &Runtime) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let runtime = runtime().map_err(|error| Error::Database(error.into()))?;
        let kept = self.client.take().filter(|client| !client.is_closed());
        let client = match kept {
            Some(client) => client,
            None => {
                // The server may have lost commits since the last connection. Then deliveries that were over may wait
                // again.
                self.live_over.borrow_mut().clear();
                self.database.connect()?
            }
        };
        let done = work(&client, runtime);
        if done.as_ref().map_or_else(Failure::keeps_connection, |_| true) {
            self.client.replace(Some(client));
        }
        done.map_err(|failure| self.database.explain(failure))
    }

    /// Returns the statements that begin a transaction. Every statement of the relay needs few records. So the server
    /// is told to use indexes instead of reading whole tables (`enable_seqscan`), and to compile no plans (`jit`).
    /// Otherwise, if the statistics of the server come from a time with few messages, the server would read the whole
    /// table of messages for each claim.
    fn begin(&self, mode: &str) -> String {
        format!(
            "BEGIN {mode}; SET LOCAL search_path TO \"{}\", pg_temp; SET LOCAL statement_timeout = {STATEMENT_MS};
             SET LOCAL lock_timeout = {WAIT_MS}; SET LOCAL idle_in_transaction_session_timeout = {WAIT_MS};
             SET LOCAL enable_seqscan = off; SET LOCAL jit = off;",
            self.namespace()
        )
    }

    /// Records that this backend has made a write transaction, and that it was the write transaction number `commits`
    /// of the state. If the number has grown by more than one, others have changed the state in between.
    fn note_commit(&mut self, commits: i64) {
        let before = self.commits.replace(Some(commits));
        self.changed_by_others |= before.is_some_and(|before| before + 1 != commits);
    }

    /// Records how many write transactions the state has now. Returns whether this number has changed since this
    /// backend last recorded it; `false` the first time.
    pub(super) fn note_commits(&self, commits: i64) -> bool {
        self.commits.replace(Some(commits)).is_some_and(|before| before != commits)
    }
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PostgresBackend").field("database", &self.database).finish_non_exhaustive()
    }
}

/// A statement that was gathered and not sent yet.
type Gathered = (String, Vec<Param>);

/// The statements of one transaction.
pub(super) struct Statements<'c> {
    client: &'c Client,
    runtime: &'c Runtime,
    gathered: RefCell<Vec<Gathered>>,
    /// The first record that the first statement of the transaction returned. In a write transaction it is the answer
    /// of `begin_change`.
    first: Cell<Option<PgRow>>,
    is_first: Cell<bool>,
    round_trips: &'c Cell<u64>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(client: &'c Client, runtime: &'c Runtime, round_trips: &'c Cell<u64>) -> Self {
        let (gathered, first) = (RefCell::default(), Cell::new(None));
        Self { client, runtime, gathered, first, is_first: Cell::new(true), round_trips }
    }

    /// Sends statements without waiting for an answer. If one of them fails, this shows later: every further statement
    /// of the transaction fails.
    pub(super) fn send(&self, statements: &str) {
        let mut sending = std::pin::pin!(self.client.batch_execute(statements));
        let _ = wait_for(self.runtime, ROUND_TRIP, poll_immediate(sending.as_mut()));
    }

    /// Runs statements without parameters, and waits until they are done.
    pub(super) fn command(&self, statements: &str) -> Result<(), Failure> {
        self.flush()?;
        self.wait(self.client.batch_execute(statements))
    }

    /// Gathers a statement whose answer is not needed. The statement is sent right before the next statement whose
    /// answer is needed, or at the end of the transaction.
    pub(super) fn later(&self, sql: impl Into<String>, params: Vec<Param>) {
        self.gathered.borrow_mut().push((sql.into(), params));
    }

    /// Runs the gathered statements, and then `sql`. Returns the records that `sql` returns.
    pub(super) fn rows(&self, sql: &str, params: Vec<Param>) -> Result<Vec<PgRow>, Failure> {
        self.later(sql, params);
        Ok(self.run_gathered()?.pop().unwrap_or_default())
    }

    /// Does what [`Self::rows`] does, and returns the first record.
    pub(super) fn row(&self, sql: &str, params: Vec<Param>) -> Result<Option<PgRow>, Failure> {
        Ok(self.rows(sql, params)?.into_iter().next())
    }

    /// Does what [`Self::rows`] does, and returns the first column of the first record.
    pub(super) fn value<T: FromSqlOwned>(&self, sql: &str, params: Vec<Param>) -> Result<Option<T>, Failure> {
        self.row(sql, params)?.map(|row| get(&row, 0)).transpose()
    }

    /// Does what [`Self::rows`] does, and returns whether there is a record.
    pub(super) fn exists(&self, sql: &str, params: Vec<Param>) -> Result<bool, Failure> {
        Ok(self.row(sql, params)?.is_some())
    }

    /// Runs the gathered statements, and then `sql`, which changes records. Returns how many records `sql` changed.
    pub(super) fn change(&self, sql: &str, params: Vec<Param>) -> Result<usize, Failure> {
        let counted = format!("WITH changed AS ({sql} RETURNING 1) SELECT count(*) FROM changed");
        let changed: i64 = self.value(&counted, params)?.unwrap_or(0);
        Ok(usize::try_from(changed).unwrap_or(0))
    }

    /// Runs the gathered statements.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.run_gathered().map(drop)
    }

    fn run_gathered(&self) -> Result<Vec<Vec<PgRow>>, Failure> {
        let gathered = mem::take(&mut *self.gathered.borrow_mut());
        if gathered.is_empty() {
            return Ok(Vec::new());
        }
        let params: Vec<Vec<_>> =
            gathered.iter().map(|(_, params)| params.iter().map(Param::typed).collect()).collect();
        let running = gathered
            .iter()
            .zip(&params)
            .map(|((sql, _), params)| Box::pin(self.client.query_typed(sql, params)))
            .collect();
        self.round_trips.update(|before| before + 1);
        let answers = wait_for(self.runtime, ROUND_TRIP, all_in_order(running)).ok_or(Failure::TooSlow)?;
        // After the first failure all further statements of the transaction fail as well.
        let answers = answers.into_iter().collect::<Result<Vec<Vec<PgRow>>, _>>()?;
        if self.is_first.replace(false) {
            self.first.set(answers.first().and_then(|rows| rows.first().cloned()));
        }
        Ok(answers)
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
        self.round_trips.update(|before| before + 1);
        Ok(wait_for(self.runtime, ROUND_TRIP, answer).ok_or(Failure::TooSlow)??)
    }
}

/// Waits until all statements are done. Each future sends its statement when it is first polled, so the statements are
/// sent in the order of the list.
async fn all_in_order<F: Future + Unpin>(running: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<MaybeDone<F>> = running.into_iter().map(maybe_done).collect();
    poll_fn(|context| {
        let pending =
            running.iter_mut().filter_map(|one| Pin::new(one).poll(context).is_pending().then_some(())).count();
        if pending > 0 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.iter_mut().filter_map(|one| Pin::new(one).take_output()).collect()
}
