//! A PostgreSQL server. A kill is a SIGKILL.

use std::path::Path;

use super::{Peer, try_kills};
use crate::support::servers::postgres::PostgresDatabase;

/// A database server with a table.
#[derive(Default)]
struct PostgresPeer(Option<PostgresDatabase>);

impl Peer for PostgresPeer {
    fn keys(&mut self, dir: &Path) -> String {
        let database = self.0.insert(PostgresDatabase::start(dir));
        database.query("CREATE TABLE sms (id text PRIMARY KEY, received_at timestamptz, sender text, recipient text, code text, payload text)");
        format!("type = \"postgres\"\nurl = \"{}\"\ntable = \"sms\"", database.url())
    }

    fn arrived(&self) -> Vec<String> {
        self.0.as_ref().unwrap().query("SELECT id FROM sms").lines().map(str::to_owned).collect()
    }

    fn kill_server(&mut self) -> bool {
        let database = self.0.as_mut().unwrap();
        database.kill();
        database.start_again();
        true
    }

    fn repeats_of_a_kill(&self) -> usize {
        0
    }
}

#[test]
fn postgres() {
    if PostgresDatabase::is_installed() {
        try_kills("postgres", 200, &mut PostgresPeer::default());
    }
}
