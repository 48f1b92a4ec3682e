//! The log lines at the start, which say where polling begins.

use crate::domain::{Coverage, Start};

/// Logs that this is a first run. On a later run, logs the time up to which rows were read (the frontier). `begun_with`
/// is the `poll.start` of the first run.
pub(super) fn log_start(coverage: Option<&Coverage>, begun_with: Option<&str>, start: Start) {
    let configured = start.to_string();
    let Some(coverage) = coverage else {
        tracing::info!(poll.start = configured, "first run on this state");
        return;
    };
    tracing::info!(
        read_up_to = %coverage.marks.frontier,
        stretches_to_read = Some(coverage.walks.len()).filter(|stretches| *stretches > 0),
        "resuming where the state left off"
    );
    if begun_with.is_some_and(|begun_with| begun_with != configured) {
        tell_start_is_ignored(start);
    }
}

/// Logs that `poll.start` was changed after the first run.
pub(super) fn tell_start_is_ignored(start: Start) {
    tracing::info!(poll.start = start.to_string(), "poll.start only counts on a first run and is ignored now");
}

/// After the first page of a first run: logs from which time on messages are relayed. `total` is the number of messages
/// of the account, if the API states it.
pub(super) fn log_begun(coverage: &Coverage, start: Start, total: Option<u64>) {
    match (start, total) {
        (Start::Now, Some(total)) => tracing::info!(
            older_messages = total,
            "relaying what comes from now on; older messages are not relayed (only a first run with poll.start = \
             \"beginning\" relays them)"
        ),
        (Start::Now, None) => tracing::info!("relaying what comes from now on"),
        _ => {
            tracing::info!(from = %coverage.marks.watermark, "relaying messages that were received at this time or later");
        }
    }
}
