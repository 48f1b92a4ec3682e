//! `check`: validates the configuration and shows a summary.

use super::commands::CheckFlags;
use super::exit::Exit;
use super::global_flags::Flags;
use super::online;
use super::output::answer;
use super::preview::preview;
use super::relay::complain;
use crate::config::{self, Config, ConfiguredSink, Sources, show_duration};
use crate::delivery::Order;
use crate::domain::filter::Clause;
use crate::http::RedactedUrl;

/// Validates the configuration and prints a summary. With a message, prints instead what each sink would get for the
/// message.
pub(super) fn check(flags: &Flags, how: &CheckFlags) -> Exit {
    let config = match config::load(&Sources::from_process(flags.overrides())) {
        Ok(config) => config,
        Err(errors) => return complain(Exit::Configuration, &errors),
    };
    for warning in &config.warnings {
        complain(Exit::Done, &format_args!("warning: {warning}"));
    }
    match &how.message {
        Some(file) => preview(&config, file, how.number.as_deref()),
        None if how.online => online::check(flags, &config, &summary(&config)),
        None => answer(&summary(&config)),
    }
}

fn summary(config: &Config) -> String {
    let file = config.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let keys = config.api.keys.len();
    let mut lines = vec![
        format!("configuration  valid ({file})"),
        format!(
            "api            {}, {keys} key{}, {} requests a minute",
            RedactedUrl(&config.api.url),
            if keys == 1 { "" } else { "s" },
            config.api.requests_per_minute
        ),
        format!(
            "poll           every {}, first run from {}, the last {} again every {}",
            show_duration(config.poll.interval),
            config.poll.start,
            show_duration(config.poll.lookback),
            show_duration(config.poll.sweep_interval)
        ),
        format!("state          {}", config.state.location()),
    ];
    if let Some(admin) = &config.admin {
        let token = if admin.token.is_some() { "with a token" } else { "without a token" };
        lines.push(format!("admin          {}, {token}", admin.listen));
    }
    if let Some(heartbeat) = &config.heartbeat {
        let every = show_duration(heartbeat.interval);
        lines.push(format!("heartbeat      {} every {every}", RedactedUrl(&heartbeat.url)));
    }
    lines.extend(proxies(config));
    for sink in &config.sinks {
        lines.push(format!("sink           {}: {}", sink.name, sink.target.describe()));
        lines.push(format!("               {}", treatment(sink)));
    }
    lines.join("\n") + "\n"
}

/// Describes the proxy for the API and for each sink, and the variable that names it.
fn proxies(config: &Config) -> impl Iterator<Item = String> {
    let sinks = config.sinks.iter().filter_map(|sink| Some((sink.name.as_str(), sink.target.proxy()?)));
    let ends = std::iter::once(("the API", &config.api.transport.proxy)).chain(sinks);
    ends.enumerate().map(|(place, (end, proxy))| {
        let label = if place == 0 { "proxy" } else { "" };
        format!("{label:<15}{end}: {proxy}")
    })
}

/// Describes which messages a sink gets, and how. Patterns are not shown, since a pattern may come from a secret.
fn treatment(sink: &ConfiguredSink) -> String {
    let delivery = &sink.delivery;
    let filter = match &sink.selection.filter {
        None => "all messages".to_owned(),
        Some(filter) => {
            let clauses: Vec<String> = filter.clauses().iter().map(conditions).collect();
            format!("filter on {}", clauses.join(" or on "))
        }
    };
    let order = (delivery.order == Order::Number).then(|| "in the order of each number".to_owned());
    let rate = Some(delivery.requests_per_minute).filter(|rate| *rate > 0);
    let rate = rate.map(|rate| format!("at most {rate} requests a minute"));
    let age = delivery.max_age.map(|age| format!("none older than {}", show_duration(age)));
    let off = (!delivery.enabled).then(|| "switched off (enabled = false)".to_owned());
    let parts = [Some(format!("format {}", sink.format.name())), Some(filter), order, rate, age, off];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Lists the keys of a clause that are set.
fn conditions(clause: &Clause) -> String {
    let Clause { to, from, body, has_code, service, tags, exclude } = clause;
    let keys = [
        ("to", to.is_some()),
        ("from", from.is_some()),
        ("body", body.is_some()),
        ("service", service.is_some()),
        ("tags", tags.is_some()),
    ];
    let keys = keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key.to_owned());
    let code = has_code.map(|wanted| format!("has_code = {wanted}"));
    let exclude = exclude.as_ref().map(|clause| format!("exclude ({})", conditions(clause)));
    keys.chain(code).chain(exclude).collect::<Vec<_>>().join(" + ")
}
