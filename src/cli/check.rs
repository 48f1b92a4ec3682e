//! `check`: validates the configuration and shows a summary.

use super::commands::CheckFlags;
use super::exit::Exit;
use super::global_flags::Flags;
use super::online;
use super::output::answer;
use super::preview::preview;
use super::relay::{PROGRAM_PREFIX, complain};
use super::screen::Screen;
use super::service_access::{ServiceUser, closed_files, service_user};
use super::systemd_journal::{WithoutSinks, without_sinks};
use crate::config::{self, Config, ConfiguredSink, Problem, Sources, show_duration};
use crate::delivery::Order;
use crate::domain::filter::Clause;
use crate::http::RedactedUrl;
use crate::store;

/// The width of the labels of the summary, such as `poll`, with the space after them.
const LABEL_WIDTH: usize = 15;

/// Validates the configuration and prints a summary. With a message, prints what each sink would get for the message,
/// and no summary.
pub(super) fn check(flags: &Flags, how: &CheckFlags) -> Exit {
    let sources = Sources::from_process(flags.overrides());
    let config = match config::load(&sources) {
        Ok(config) => config,
        Err(errors) => return complain(Exit::Configuration, &errors),
    };
    let screen = Screen::stdout(flags);
    let warn = |warning: &Problem| complain(Exit::Done, &folded_warning(warning, &screen));
    for warning in &config.warnings {
        warn(warning);
    }
    match without_sinks(&config, &sources.etc, sd_notify::booted().unwrap_or(false)) {
        WithoutSinks::Meant => {}
        WithoutSinks::Odd(warning) => {
            warn(&warning);
        }
        WithoutSinks::Refused(errors) => return complain(Exit::Configuration, &errors),
    }
    // Root may use every file. So if root runs the check, only the modes of the files show which files the user of the
    // service may not use.
    let is_root = rustix::process::geteuid().is_root() && sd_notify::booted().unwrap_or(false);
    let user = service_user(&config, &sources.etc).filter(|_| is_root);
    for warning in user.iter().flat_map(|user| closed_files(&config, &sources.etc, *user)) {
        warn(&warning);
    }
    match &how.message {
        Some(file) => preview(&config, file, how.number.as_deref()),
        None => {
            let summary = fitted(&summary(&config, user), &screen);
            if how.online { online::check(flags, &config, &summary) } else { answer(&summary) }
        }
    }
}

/// Breaks a warning into lines that fit the terminal. The first line has less room, because the name of the program
/// stands before it.
fn folded_warning(warning: &impl std::fmt::Display, screen: &Screen) -> String {
    let folded = screen.folded(&format!("{PROGRAM_PREFIX}warning: {warning}"));
    folded.trim_end().trim_start_matches(PROGRAM_PREFIX).to_owned()
}

/// Breaks the lines of the summary that are wider than the terminal.
fn fitted(summary: &str, screen: &Screen) -> String {
    let mut text = String::new();
    for line in summary.lines() {
        let (label, value) = line.split_at_checked(LABEL_WIDTH).unwrap_or((line, ""));
        text += &screen.labelled(label, LABEL_WIDTH, value);
    }
    text
}

/// Describes the settings. `service_user`: the user for whom the modes of the files were looked at, if root runs the
/// check.
fn summary(config: &Config, service_user: Option<ServiceUser>) -> String {
    let file = config.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let keys = config.api.keys.len();
    let mut lines = vec![format!("configuration  valid ({file})")];
    if let Some(other) = &config.source.passed_over {
        lines.push(format!("               {} is there, too, and is not read", other.display()));
    }
    if let Some(user) = service_user {
        lines.push(format!("user           root; the modes of all files were looked at for {user}"));
    }
    lines.extend([
        format!(
            "api            {}, {keys} key{}, {} requests a minute",
            RedactedUrl(&config.api.url),
            if keys == 1 { "" } else { "s" },
            config.api.requests_per_minute
        ),
        format!(
            "poll           every {}, {}the last {} again every {}",
            show_duration(config.poll.interval),
            first_run(config),
            show_duration(config.poll.lookback),
            show_duration(config.poll.sweep_interval)
        ),
        format!("state          {}", config.state.location()),
    ]);
    if let Some(admin) = &config.admin {
        let token = if admin.token.is_some() { "with a token" } else { "without a token" };
        lines.push(format!("admin          {}, {token}", admin.listen));
    }
    if let Some(heartbeat) = &config.heartbeat {
        let every = show_duration(heartbeat.interval);
        lines.push(format!("heartbeat      {} every {every}", RedactedUrl(&heartbeat.url)));
    }
    lines.extend(events(config));
    lines.extend(proxies(config));
    for sink in &config.sinks {
        lines.push(format!("sink           {}: {}", sink.name, sink.target.describe()));
        lines.push(format!("               {}", treatment(sink)));
    }
    lines.join("\n") + "\n"
}

/// Says where a first run begins. Empty if the state directory has a state already: then the next run is not the first
/// one.
fn first_run(config: &Config) -> String {
    let has_run = config.state.database.is_none() && store::size_of_files(&config.state.dir) > 0;
    if has_run { String::new() } else { format!("first run from {}, ", config.poll.start) }
}

/// Describes the events that the relay makes, and names the sinks that get them. `None` if no events are configured.
fn events(config: &Config) -> Option<String> {
    let terms: Vec<String> = config.expiry_terms.iter().map(|term| show_duration(*term)).collect();
    let takers: Vec<&str> =
        config.sinks.iter().filter(|sink| sink.delivery.events).map(|sink| sink.name.as_str()).collect();
    let takers = if takers.is_empty() { "no sink".to_owned() } else { takers.join(", ") };
    let terms = Some(terms.join(" or ")).filter(|terms| !terms.is_empty())?;
    Some(format!("events         a number expires within {terms}: to {takers}"))
}

/// Describes the proxy for the API and for each sink, with the environment variable that names the proxy.
fn proxies(config: &Config) -> impl Iterator<Item = String> {
    let sinks = config.sinks.iter().filter_map(|sink| Some((sink.name.as_str(), sink.target.proxy()?)));
    let ends = std::iter::once(("the API", &config.api.transport.proxy)).chain(sinks);
    ends.enumerate().map(|(place, (end, proxy))| {
        let label = if place == 0 { "proxy" } else { "" };
        format!("{label:<LABEL_WIDTH$}{end}: {proxy}")
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
    let events = delivery.events.then(|| "and events".to_owned());
    let off = (!delivery.enabled).then(|| "switched off (enabled = false)".to_owned());
    let parts = [Some(format!("format {}", sink.format.name())), Some(filter), events, order, rate, age, off];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_warning_is_broken_between_words() {
        let folded = |columns| folded_warning(&"a file that nobody may read", &Screen { columns, colored: false });
        assert_eq!(folded(None), "warning: a file that nobody may read");
        assert_eq!(folded(Some(45)), "warning: a file that nobody\n  may read");
    }

    #[test]
    fn the_lines_of_a_long_value_begin_after_the_label() {
        let summary = "sink           crm: POST https://crm.example.com/\n               format slack, filter on to + body, in order\n";
        let wide = Screen { columns: None, colored: false };
        assert_eq!(fitted(summary, &wide), summary);
        let narrow = Screen { columns: Some(45), ..wide };
        let found = fitted(summary, &narrow);
        assert!(found.lines().all(|line| line.chars().count() <= 45), "{found}");
        assert_eq!(found.split_whitespace().collect::<Vec<_>>(), summary.split_whitespace().collect::<Vec<_>>());
        assert!(found.lines().skip(1).all(|line| line.starts_with(&" ".repeat(LABEL_WIDTH))), "{found}");
    }
}
