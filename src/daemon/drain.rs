//! The drain: after a stop signal, attempts under way get some time to end (the *grace*), and then the relay ends.
//! Results that are not on the disk after the grace get two more seconds (`delivery/supervisor/shutdown.rs`).

use std::time::Duration;

use tokio::sync::watch;

use super::log_sentences::{STOPPED, STOPPED_AT_ONCE};
use super::signals::Stop;
use crate::delivery::Delivery;
use crate::time::Clock;

/// How long attempts under way may go on after the signal to stop.
pub(super) const GRACE: Duration = Duration::from_secs(8);

/// Ends the deliveries: waits for attempts under way for at most `grace`, or until a second signal ends the relay at
/// once.
pub(super) async fn drain(delivery: Delivery, stop: &mut watch::Receiver<Stop>, clock: &Clock, grace: Duration) {
    let began = clock.monotonic();
    let at_once = async {
        if stop.wait_for(|stop| matches!(stop, Stop::AtOnce(_))).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        drained = delivery.drain(grace) => {
            let seconds = ((clock.monotonic() - began).as_secs_f64() * 1e3).round() / 1e3;
            if drained.cut_off + drained.unrecorded == 0 {
                tracing::info!(seconds, "{STOPPED}");
            } else {
                tracing::warn!(
                    seconds,
                    cut_off = drained.cut_off,
                    unrecorded = drained.unrecorded,
                    "stopped; what was cut off or could not be recorded is delivered again after the next start"
                );
            }
        }
        () = at_once => tracing::warn!("{STOPPED_AT_ONCE}"),
    }
}
