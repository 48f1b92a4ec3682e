//! Watches the relay for the streams of events, and keeps the history of the last hour.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::state::{Endpoint, Observed};
use crate::status::StatusReading;

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Watches the relay until the future is dropped. While no stream of events is open, the state is not read.
pub(super) async fn watch(endpoint: Endpoint) {
    let clock = endpoint.state.access.clock().clone();
    let began = clock.monotonic();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        endpoint.observe_metrics((clock.monotonic() - began).as_secs() / 60);
        if endpoint.observed.receiver_count() == 0 {
            continue;
        }
        let Ok(observed) = look(&endpoint).await else { continue };
        endpoint.observed.send_if_modified(|last| {
            let is_new = **last != observed;
            if is_new {
                *last = Arc::new(observed);
            }
            is_new
        });
    }
}

/// Looks at the relay once. The error is the reason why its status cannot be read.
pub(super) async fn look(endpoint: &Endpoint) -> Result<Observed, String> {
    let reading = endpoint.state.status.read().await.map_err(|error| error.to_string())?;
    Ok(Observed { status: status(&reading).to_string(), released: reading.last_released })
}

fn status(StatusReading { status, .. }: &StatusReading) -> Value {
    let sinks = status.sinks.iter().map(|sink| {
        let (view, live) = (&sink.stored.view, sink.live.as_ref());
        json!({
            "name": view.name,
            "paused": view.pause.map(|pause| pause.reason),
            "waiting": view.waiting,
            "retrying": view.retrying,
            "dead": view.dead,
            "delivered": live.map(|live| live.delivered.count),
            "last_failure": live.and_then(|live| live.last_failure.as_deref()),
        })
    });
    let walks = status.coverage.as_ref().map_or(0, |coverage| coverage.walks.len());
    json!({
        "healthy": status.healthy,
        "problems": status.problems,
        "walks": walks,
        "sinks": sinks.collect::<Vec<Value>>(),
    })
}
