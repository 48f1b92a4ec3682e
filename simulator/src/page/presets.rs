//! The faults that the page can switch on and off with one button.

use serde_json::json;

use crate::faults::effect::{BadRow, Effect, ErrorBody, Malformed, RateHeaders};
use crate::faults::rule::Rule;

/// A fault that acts on every request until it is switched off.
pub(crate) struct Preset {
    /// The name in the form.
    pub(crate) name: &'static str,
    /// What a person reads.
    pub(crate) label: &'static str,
    effect: fn() -> Effect,
    /// The share of the requests on which the fault acts.
    share: f64,
}

const fn preset(name: &'static str, label: &'static str, effect: fn() -> Effect) -> Preset {
    Preset { name, label, effect, share: 1.0 }
}

/// All presets, in the order of the page.
pub(crate) const PRESETS: &[Preset] = &[
    preset("503", "503 with JSON", || Effect::status(503)),
    Preset { share: 0.2, ..preset("flaky", "503 for one request in five", || Effect::status(503)) },
    preset("502-html", "502 with HTML, as a CDN answers", || Effect::html(502)),
    preset("429", "429: the limit is reached", || Effect::status(429)),
    preset("401", "401: the key is refused", || Effect::status(401)),
    preset("403-html", "403 with HTML, as a firewall answers", || Effect::html(403)),
    preset("500-empty", "500 without a body", || Effect::Status { status: 500, body: ErrorBody::Empty }),
    preset("slow", "Two seconds late", || Effect::Latency(std::time::Duration::from_secs(2))),
    preset("hang", "No answer, ever", || Effect::Hang),
    preset("reset", "Connection reset", Effect::reset),
    preset("cut", "Body cut off after 100 bytes", || Effect::cut(100)),
    preset("half", "Half of the JSON is missing", || Effect::Malformed(Malformed::Half)),
    preset("bad-row", "The first row has no id", || Effect::bad_row(BadRow::WithoutId)),
    preset("empty", "Every page is empty", || Effect::EmptyPage { more: false }),
    preset("no-headers", "No rate-limit headers", || Effect::RateHeaders(RateHeaders::Missing)),
];

impl Preset {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    pub(crate) fn rule(&self) -> Rule {
        Rule::always((self.effect)()).path("/v1/*").share(self.share)
    }

    /// Whether a rule of the script is this preset.
    pub(crate) fn is(&self, rule: &Rule) -> bool {
        json!(self.rule()) == json!(rule)
    }
}
