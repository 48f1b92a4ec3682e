//! Makes the sinks of a configuration ready for delivery.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::work_permit::WorkPermit;
use crate::admin::{SinkInEffect, SinksInEffect};
use crate::codes::CodeFinder;
use crate::config::{Config, ConfiguredSink};
use crate::delivery::Setup;
use crate::metrics::Metrics;
use crate::sinks::{Sink, SinkBuildError};
use crate::time::Clock;

/// Builds sinks. Clones share one writer of standard output. So after a reload, the lines of the old and of the new
/// configuration never mix.
#[derive(Clone)]
pub(super) struct SinkBuilder {
    metrics: Metrics,
    stdout: Arc<Mutex<Option<Arc<dyn Sink>>>>,
    sinks_in_effect: SinksInEffect,
    codes: watch::Sender<CodeFinder>,
    permit: WorkPermit,
}

impl SinkBuilder {
    /// Makes a builder of sinks that count in `metrics`.
    pub(super) fn new(metrics: Metrics) -> Self {
        let (stdout, sinks_in_effect, codes) = (Arc::default(), SinksInEffect::default(), watch::Sender::default());
        Self { metrics, stdout, sinks_in_effect, codes, permit: WorkPermit::default() }
    }

    /// Makes a builder of sinks that begin attempts only while `permit` allows work.
    pub(super) fn under(&self, permit: &WorkPermit) -> Self {
        Self { permit: permit.clone(), ..self.clone() }
    }

    /// Returns the sinks of the configuration in effect, for the admin endpoint.
    pub(super) fn sinks_in_effect(&self) -> SinksInEffect {
        self.sinks_in_effect.clone()
    }

    /// Returns the finder of one-time codes in messages, as the configuration in effect defines it.
    pub(super) fn codes(&self) -> watch::Receiver<CodeFinder> {
        self.codes.subscribe()
    }

    /// Tells the admin endpoint which configuration is in effect from now on.
    pub(super) fn note_config(&self, config: &Config) {
        self.codes.send_replace(config.codes.clone());
        self.sinks_in_effect.replace(config.sinks.iter().map(|sink| SinkInEffect {
            name: sink.name.to_string(),
            takes_events: sink.delivery.events,
            format: sink.format.clone(),
            mask: sink.mask.clone(),
            target: Arc::clone(&sink.target),
        }));
    }

    /// Makes a configured sink ready for delivery. Nothing is sent.
    ///
    /// # Errors
    /// [`SinkBuildError`] if the sink cannot be opened.
    pub(super) fn setup(&self, sink: &ConfiguredSink, clock: &Clock) -> Result<Setup, SinkBuildError> {
        Ok(Setup {
            name: sink.name.to_string(),
            selection: sink.selection.clone(),
            options: sink.delivery.clone(),
            format: sink.format.clone(),
            mask: sink.mask.clone(),
            sink: self.permit.guard(self.open(sink, clock)?),
            metrics: self.metrics.sink(sink.name.as_str()),
        })
    }

    fn open(&self, sink: &ConfiguredSink, clock: &Clock) -> Result<Arc<dyn Sink>, SinkBuildError> {
        if !sink.target.is_stdout() {
            return sink.target.build(clock);
        }
        let mut stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        match &*stdout {
            Some(open) => Ok(Arc::clone(open)),
            None => {
                let opened = sink.target.build(clock)?;
                *stdout = Some(Arc::clone(&opened));
                Ok(opened)
            }
        }
    }
}
