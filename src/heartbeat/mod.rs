//! Reports to a monitoring service, such as healthchecks.io, that the relay works: a request to a secret URL in each
//! interval. If the requests stop, the monitoring service raises the alarm.
//!
//! Invariants: a request is sent only while the API is polled, every sink makes progress, and every loop turns. No
//! other part of the relay waits for the monitoring service. The URL is never logged.

mod settings;

use std::time::Duration;

use reqwest::Client;
use tokio::time::sleep;

use crate::http::client::{self, ClientBuildError, ClientOptions};
use crate::http::failure;
use crate::status::{LoopProgress, StatusSource, is_at_work};

pub use settings::{Options, Settings};

/// The longest time for one request. The body of the answer is not read.
const TIMEOUT: Duration = Duration::from_secs(10);

/// While the relay does not work, the pinger checks after this time (or after the interval, if that is shorter) whether
/// the relay works again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The options of the HTTP client for the monitoring service.
const CLIENT: ClientOptions =
    ClientOptions { timeout: TIMEOUT, connect_timeout: TIMEOUT, keep_idle: client::KEEP_IDLE, gzip: false };

/// Sends the requests to the monitoring service.
#[derive(Debug)]
pub struct Pinger {
    client: Client,
    options: Options,
    /// Whether the log has reported a failure since the last success.
    told_failure: bool,
}

impl Pinger {
    /// Makes a pinger that has sent nothing yet.
    ///
    /// # Errors
    /// An error if HTTPS cannot be set up.
    pub fn new(options: &Options) -> Result<Self, ClientBuildError> {
        let client = client::build(&CLIENT, &options.transport, &options.url)?;
        Ok(Self { client, options: options.clone(), told_failure: false })
    }

    /// Sends a request in each interval while the relay works, until the future is dropped.
    pub async fn run(mut self, status: StatusSource, progress: LoopProgress) {
        loop {
            let wait = if works(&status, &progress).await {
                self.ping().await;
                self.options.interval
            } else {
                self.options.interval.min(LOOK_AGAIN)
            };
            sleep(wait).await;
        }
    }

    /// Sends one request. Logs the first of several failures in a row, and the first success after failures.
    async fn ping(&mut self) {
        let sent = self.client.get(self.options.url.clone()).send().await;
        let failed = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the monitoring service answers {}", answer.status().as_u16())),
            Err(error) => Some(failure::describe_through(&self.options.transport.proxy, &error, &CLIENT)),
        };
        match failed {
            Some(error) if !self.told_failure => {
                self.told_failure = true;
                tracing::warn!(error, "the heartbeat cannot be sent; trying again every interval");
            }
            Some(error) => tracing::debug!(error, "the heartbeat still cannot be sent"),
            None if self.told_failure => {
                self.told_failure = false;
                tracing::info!("the heartbeat can be sent again");
            }
            None => {}
        }
    }
}

/// Returns whether the relay works: its loops turn, the API is polled, and every sink makes progress.
async fn works(status: &StatusSource, progress: &LoopProgress) -> bool {
    if progress.is_stopping() || progress.standstill().is_some() {
        return false;
    }
    match status.read().await {
        Ok(reading) => is_at_work(&reading.status),
        Err(error) => {
            tracing::debug!(%error, "no heartbeat: the status cannot be read");
            false
        }
    }
}
