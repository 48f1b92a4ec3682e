//! Signals: the first asks for a drain, the second for an end at once.

use std::time::Duration;

use futures_util::StreamExt as _;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook_tokio::Signals;
use tokio::sync::watch;

use crate::time::Clock;

/// What was asked for so far. It only ever goes up, so it cannot be missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Nothing.
    #[default]
    No,
    /// Begin nothing more; let what is in flight end, for a while.
    Drain(StopSignal),
    /// End now.
    AtOnce(StopSignal),
}

/// Which signal asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopSignal {
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// SIGTERM, or SIGHUP where there is no configuration file.
    Terminate,
}

impl Stop {
    /// The signal, if there was one.
    pub fn signal(self) -> Option<StopSignal> {
        match self {
            Self::No => None,
            Self::Drain(signal) | Self::AtOnce(signal) => Some(signal),
        }
    }
}

/// The same signal twice within this time is one wish: `timeout` sends it to a process and to its group.
const TOGETHER: Duration = Duration::from_millis(20);

/// Turns the process's signals into [`Stop`]. Without a configuration file SIGHUP (a terminal that was closed) stops
/// too; with one it would mean a reload, which this version does not know.
///
/// SIGXFSZ is taken over too: a write beyond the limit on file sizes (`ulimit -f`) is an error then, like a full disk,
/// and not the end of the process.
///
/// # Errors
/// If the signals cannot be taken over.
pub fn on_signals(has_file: bool, clock: Clock) -> std::io::Result<watch::Receiver<Stop>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?;
    let (sender, receiver) = watch::channel(Stop::No);
    tokio::spawn(async move {
        let mut first = None;
        while let Some(signal) = signals.next().await {
            if signal == SIGXFSZ {
                continue;
            }
            if signal == SIGHUP && has_file {
                tracing::warn!("SIGHUP: this version cannot reload its configuration; restart it instead");
                continue;
            }
            let signal = if signal == SIGINT { StopSignal::Interrupt } else { StopSignal::Terminate };
            let now = clock.monotonic();
            let together = now.saturating_duration_since(*first.get_or_insert(now)) < TOGETHER;
            sender.send_modify(|stop| {
                *stop = match *stop {
                    Stop::No => Stop::Drain(signal),
                    earlier if together && earlier.signal() == Some(signal) => earlier,
                    _ => Stop::AtOnce(signal),
                }
            });
        }
    });
    Ok(receiver)
}
