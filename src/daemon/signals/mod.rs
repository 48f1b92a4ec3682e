//! Handles signals: the first signal asks for a drain, the second signal for an end at once.
//!
//! Invariant: a thread of its own receives the signals, so that no other part of the relay can delay them.

mod hangup;

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::time::Clock;
use hangup::{Meaning, Terminals};
pub use hangup::{Surroundings, ignores_hangups};

/// The stop that was asked for so far. The value only ever becomes more urgent, so a part of the relay that looks at it
/// late still sees the most urgent one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// No stop was asked for.
    #[default]
    No,
    /// The relay begins nothing new, and gives deliveries in flight some time to end.
    Drain(StopSignal),
    /// The relay ends at once.
    AtOnce(StopSignal),
}

/// The signal that asked for the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopSignal {
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// SIGTERM, or a SIGHUP that does not ask for a reload but ends the relay.
    Terminate,
}

impl Stop {
    /// Returns the signal that asked for the stop; `None`: no stop was asked for.
    pub fn signal(self) -> Option<StopSignal> {
        match self {
            Self::No => None,
            Self::Drain(signal) | Self::AtOnce(signal) => Some(signal),
        }
    }
}

/// What the signals have asked for so far.
#[derive(Clone, Debug)]
pub struct SignalReceivers {
    /// The stop that was asked for.
    pub stop: watch::Receiver<Stop>,
    /// How often a reload was asked for so far.
    pub reloads: watch::Receiver<u64>,
}

/// If the same signal comes twice within this time, it counts once. The program `timeout` sends each signal to the
/// process and to its group, so the process gets the signal twice.
const TOGETHER: Duration = Duration::from_millis(20);

/// If the relay has not ended this long after it was told to end at once, it counts as stuck, for example on a disk
/// that does not answer.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Starts a thread that turns the signals of the process into [`SignalReceivers`]. `surroundings` decide what SIGHUP
/// means.
///
/// `overdue` is called if the process has still not ended some seconds after it was asked to end at once.
///
/// SIGXFSZ is caught, too. So a write beyond the limit on file sizes (`ulimit -f`) is an error, as on a full disk, and
/// does not end the process.
///
/// # Errors
/// An error if the signals cannot be caught.
pub fn on_signals(
    surroundings: Surroundings,
    clock: Clock,
    overdue: impl FnOnce(StopSignal) + Send + 'static,
) -> io::Result<SignalReceivers> {
    let terminals = Terminals::now();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?;
    let (sender, stop) = watch::channel(Stop::No);
    let (reload, reloads) = watch::channel(0);
    let listen = move || {
        let signals = signals.forever().filter_map(|signal| match signal {
            SIGXFSZ => None,
            SIGHUP if !surroundings.hangup(terminals.are_gone()).ends(&reload) => None,
            SIGINT => Some(StopSignal::Interrupt),
            _ => Some(StopSignal::Terminate),
        });
        if let Some(signal) = listen(signals, &sender, &clock) {
            let until = clock.monotonic() + AT_ONCE;
            while clock.monotonic() < until {
                thread::park_timeout(AT_ONCE);
            }
            tracing::warn!("a part of the relay is stuck; the relay ends without waiting for it");
            overdue(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    Ok(SignalReceivers { stop, reloads })
}

/// Passes on each stop that a signal asks for. Returns the first signal that asks for an end at once; `None` if the
/// signals end without one.
fn listen(
    signals: impl Iterator<Item = StopSignal>,
    sender: &watch::Sender<Stop>,
    clock: &Clock,
) -> Option<StopSignal> {
    let mut first = None;
    for signal in signals {
        let now = clock.monotonic();
        let together = now.saturating_duration_since(*first.get_or_insert(now)) < TOGETHER;
        sender.send_modify(|stop| *stop = stop.and(signal, together));
        if let Stop::AtOnce(signal) = *sender.borrow() {
            return Some(signal);
        }
    }
    None
}

impl Meaning {
    /// Passes on a signal that asks for a reload, and logs that the terminal is gone. Returns whether the signal ends
    /// the relay.
    fn ends(self, reload: &watch::Sender<u64>) -> bool {
        match self {
            Self::End => return true,
            Self::Reload => reload.send_modify(|count| *count += 1),
            Self::TerminalGone => tracing::warn!("the terminal is gone; the relay goes on without it"),
            Self::Nothing => {}
        }
        false
    }
}

impl Stop {
    /// Returns the stop that is asked for after a further signal. `together`: the signal came within [`TOGETHER`] of
    /// the first one.
    fn and(self, signal: StopSignal, together: bool) -> Self {
        match self {
            Self::No => Self::Drain(signal),
            earlier if together && earlier.signal() == Some(signal) => earlier,
            _ => Self::AtOnce(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_asks_for_a_drain_and_another_one_for_an_end() {
        use StopSignal::{Interrupt, Terminate};
        let clock = Clock::starting_at(UnixMs(0));
        let after = |signals: &[StopSignal]| {
            let (sender, receiver) = watch::channel(Stop::No);
            let at_once = listen(signals.iter().copied(), &sender, &clock);
            (*receiver.borrow(), at_once)
        };
        // The clock of the test stands still. So the same signal twice in a row counts once.
        for (signals, stop, at_once) in [
            (vec![], Stop::No, None),
            (vec![Terminate], Stop::Drain(Terminate), None),
            (vec![Terminate, Terminate], Stop::Drain(Terminate), None),
            (vec![Terminate, Interrupt], Stop::AtOnce(Interrupt), Some(Interrupt)),
            (vec![Interrupt, Terminate, Interrupt], Stop::AtOnce(Terminate), Some(Terminate)),
        ] {
            assert_eq!(after(&signals), (stop, at_once), "{signals:?}");
        }
        assert_eq!(Stop::Drain(Terminate).and(Terminate, false), Stop::AtOnce(Terminate), "two signals, not one");
    }
}
