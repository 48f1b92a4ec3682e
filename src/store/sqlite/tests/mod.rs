//! Tests of the properties that only the backend for SQLite has: its file, its query plans, and states of earlier
//! versions.

mod damage;
mod earlier_versions;
mod erasure;
mod order;
mod space;
mod statements;

pub(super) use damage::{Random, contents, make as make_state};

use std::path::Path;

use rusqlite::Connection;

use super::connection::SqliteBackend;
use crate::domain::{DeliveryClass, Outcome, PollChange, RowStanding, Seq, UnixMs, WalkId};
use crate::store::tests::{ALL, DELIVERED, dead, gap, insert, marks, register, release, scratch, settled};
use crate::store::{
    ClaimLimits, CoverageTransactions as _, DeadLetterAction, DeadLetterSelection, DeliveryState,
    DeliveryTransactions as _, DiskMaintenance as _, DropPermission, Error, ForgottenUpTo, NumberTransactions as _,
    OperatorTransactions as _, PastDelivery, RegistrationTransactions as _, RelayTimeTransactions as _,
    ReplayTransactions as _, Replayable, ResolvedUpTo, RetentionCutoffs, RetentionTransactions as _, Settlement,
    SinkId, SinkSetup, UndecidedScope, ViewTransactions as _,
};
