//! The result of the last reload of the configuration.

use serde::{Deserialize, Serialize};

use crate::domain::UnixMs;

/// The outcome of reloads: fields of `relay` in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadReport {
    /// When a configuration last took effect by SIGHUP.
    pub reloaded_at: Option<UnixMs>,
    /// When the last reload failed. `None` if no reload has failed since the last one that took effect.
    pub reload_failed_at: Option<UnixMs>,
    /// Why the last reload failed.
    pub reload_error: Option<String>,
    /// Whether the failure concerns only files with secrets. Such a failure ends when the files can be used.
    #[serde(skip)]
    is_of_secrets: bool,
}

/// The most characters that the status shows of a reload's error.
const LONGEST_ERROR: usize = 300;

impl ReloadReport {
    /// Notes that a configuration took effect by SIGHUP.
    pub fn reloaded(&mut self, now: UnixMs) {
        *self = Self { reloaded_at: Some(now), ..Self::default() };
    }

    /// Notes that a reload by SIGHUP failed.
    pub fn reload_failed(&mut self, now: UnixMs, why: &str) {
        self.note_failure(now, why, false);
    }

    /// Notes that files with secrets have changed and cannot be used. If a reload by SIGHUP has failed before, its
    /// error stays.
    pub fn secrets_failed(&mut self, now: UnixMs, why: &str) {
        if self.reload_failed_at.is_none() || self.is_of_secrets {
            self.note_failure(now, why, true);
        }
    }

    /// Notes that the files with secrets can be used.
    pub fn secrets_recovered(&mut self) {
        if self.is_of_secrets {
            *self = Self { reloaded_at: self.reloaded_at, ..Self::default() };
        }
    }

    fn note_failure(&mut self, now: UnixMs, why: &str, is_of_secrets: bool) {
        self.reload_failed_at = Some(now);
        self.reload_error = Some(why.chars().take(LONGEST_ERROR).collect());
        self.is_of_secrets = is_of_secrets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_failed_counts_until_another_one_takes_effect() {
        let mut report = ReloadReport::default();
        report.secrets_failed(UnixMs(1), "empty");
        report.secrets_recovered();
        assert_eq!(report, ReloadReport::default());
        report.reload_failed(UnixMs(2), "unknown key");
        report.secrets_failed(UnixMs(3), "empty");
        report.secrets_recovered();
        let shown = (report.reload_failed_at, report.reload_error.as_deref());
        assert_eq!(shown, (Some(UnixMs(2)), Some("unknown key")));
    }
}
