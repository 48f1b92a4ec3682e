//! `check --online`: tries everything outside the program that the relay needs, and says how to mend each fault.
//!
//! Invariants: no message is sent to a sink, and nothing is changed. The requests to the API are counted in the budget
//! of the state. No secret is shown.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::fs::{Access, access, statvfs};

use super::api_access::{ApiAccess, NoAccess, refuses_key};
use super::exit::Exit;
use super::global_flags::Flags;
use super::output::answer;
use super::relay::{complain, store_exit};
use super::screen::{Screen, Tone};
use super::state_access::explained;
use crate::api::budget::RateHeaders;
use crate::api::{self, Response};
use crate::config::Config;
use crate::domain::{CheckVerdict, Finding, UnixMs};
use crate::http::client::{ClientOptions, KEEP_IDLE};
use crate::http::connect;
use crate::humanize::{bytes, count, harmless, span};
use crate::secret::Secret;
use crate::store;
use crate::time::Clock;

/// How long the check waits for a free slot of the request budget.
const PATIENCE: Duration = Duration::from_secs(10);

/// If the clocks differ by no more than this, they count as equal.
const USUAL_SKEW: Duration = Duration::from_secs(5);

/// If the clocks differ by this much or more, receivers may refuse signed requests. Standard Webhooks allows five
/// minutes; one of them is left for the time that a request takes.
const LARGE_SKEW: Duration = Duration::from_secs(240);

/// The width of the word that judges a finding, in columns.
const VERDICT_WIDTH: usize = 7;

/// The findings, and the exit codes that some of them ask for.
#[derive(Default)]
struct Findings {
    found: Vec<Finding>,
    exits: Vec<Exit>,
}

impl Findings {
    fn add(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// Returns the exit code for the fault that must be mended first.
    fn exit(&self) -> Exit {
        let first = [Exit::Damaged, Exit::NoKey].into_iter().find(|exit| self.exits.contains(exit));
        let fails = self.found.iter().any(|finding| matches!(finding.verdict, CheckVerdict::Fails(_)));
        match first {
            Some(exit) => exit,
            None if fails => Exit::Failure,
            None => self.exits.first().copied().unwrap_or(Exit::Done),
        }
    }
}

/// Tries everything, and prints the findings after `summary`.
pub(super) fn check(flags: &Flags, config: &Config, summary: &str) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(Exit::Failure, &error),
    };
    let findings = runtime.block_on(look(config));
    runtime.shutdown_background();
    match answer(&format!("{summary}\n{}", text(&findings.found, &Screen::stdout(flags)))) {
        Exit::Done => findings.exit(),
        failed => failed,
    }
}

async fn look(config: &Config) -> Findings {
    let clock = Clock::system();
    let mut findings = Findings::default();
    state(config, &mut findings);
    let sinks = config.sinks.iter().map(|sink| sink.target.check_online(sink.name.as_str(), &clock));
    let (of_sinks, ()) = tokio::join!(join_all(sinks), the_api(config, &clock, &mut findings));
    findings.found.extend(of_sinks.into_iter().flatten());
    findings
}

/// Looks at the state, its directory and the directory's disk.
fn state(config: &Config, findings: &mut Findings) {
    if config.state.database.is_some() {
        opens(config, findings);
    }
    let dir = &config.state.dir;
    let shown = dir.display();
    let there = dir.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or_else(|| Path::new("."));
    if !there.is_dir() {
        let remedy = "choose another state.dir, or move what is in the way";
        findings.add(Finding::fails("state", format!("{} is no directory", there.display()), remedy));
        return;
    }
    if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
        let why = std::io::Error::from(error);
        let detail = format!("this user may not write to {}: {why}", there.display());
        let remedy = "run the check as the user of the relay (root for a systemd service), or choose another state.dir";
        findings.add(Finding::fails("state", detail, remedy));
        return;
    }
    if there != dir {
        findings.add(Finding::works("state", format!("{shown} is not there yet; the first start makes it")));
    } else if let Some(mode) = fs::metadata(dir).ok().and_then(|found| writable_by_others(&found)) {
        let detail = format!("other users may write to {shown} (mode {mode:04o}), and replace what is in it");
        findings.add(Finding::doubtful("state", detail, format!("chmod 700 {shown}")));
    } else if config.state.database.is_none() {
        opens(config, findings);
    }
    match statvfs(there) {
        Ok(disk) => findings.add(space(disk.f_bavail.saturating_mul(disk.f_frsize), size(config), config)),
        Err(error) => findings.add(Finding::not_tried("disk", std::io::Error::from(error).to_string())),
    }
}

/// Returns the size of the state in its directory, in bytes.
fn size(config: &Config) -> u64 {
    if config.state.database.is_some() { 0 } else { store::size_of_files(&config.state.dir) }
}

/// Returns the mode of a directory to which all users may write; `None` for other directories.
fn writable_by_others(found: &fs::Metadata) -> Option<u32> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o7777;
    (mode & 0o002 != 0).then_some(mode)
}

/// Tries to open the state, as `status` does.
fn opens(config: &Config, findings: &mut Findings) {
    let at = config.state.location();
    let shown = &at;
    match store::open_snapshot(&at) {
        Ok(None) if at.is_shared() => {
            findings.add(Finding::works("state", format!("{shown} is not there yet; the first start makes it")));
        }
        Ok(None) => {
            findings.add(Finding::works("state", format!("{shown}: this user may write; no relay has run on it")));
        }
        Ok(Some(snapshot)) => {
            let relay = if snapshot.running == Some(true) { "a relay runs on it" } else { "no relay runs on it now" };
            findings.add(Finding::works("state", format!("{shown}: this user may read and write it; {relay}")));
        }
        Err(error) => {
            let remedy = match (&error, store_exit(&error)) {
                (store::Error::Unreachable(_), _) => "start the database server, or correct state.url",
                (_, Exit::Damaged) => {
                    "docs/events.md tells what to do about the state; `state export` saves its messages"
                }
                (_, Exit::Temporary) => "run the check again in a moment",
                _ => "see the reason",
            };
            findings.exits.push(store_exit(&error));
            findings.add(Finding::fails("state", explained(&error), remedy));
        }
    }
}

/// Judges the space on the disk of the state, in bytes.
fn space(free: u64, used: u64, config: &Config) -> Finding {
    let (min_free, max_size) = (config.state.min_free, config.state.max_size);
    let detail = format!("{} free, the state takes {}", bytes(free), bytes(used));
    if free < min_free {
        let remedy = format!("make room: below {} (state.min_free) the relay stops polling", bytes(min_free));
        Finding::fails("disk", detail, remedy)
    } else if used >= max_size {
        let remedy = format!("raise state.max_size ({}), or lower state.keep_delivered", bytes(max_size));
        Finding::fails("disk", detail, remedy)
    } else if free - min_free < max_size.saturating_sub(used) {
        let remedy =
            format!("the state may grow to {} (state.max_size), and the disk is full before that", bytes(max_size));
        Finding::doubtful("disk", detail, remedy)
    } else {
        Finding::works("disk", detail)
    }
}

/// Tries the connection to the API and each key, and learns about the clock and the budget from the answers.
async fn the_api(config: &Config, clock: &Clock, findings: &mut Findings) {
    let api::Options { url, timeout, connect_timeout, transport, .. } = &config.api;
    let (timeout, connect_timeout) = (*timeout, *connect_timeout);
    let options = ClientOptions { timeout, connect_timeout, keep_idle: KEEP_IDLE, gzip: true };
    let connection = connect::check(("API", "api"), &options, transport, url, clock).await;
    let is_there = !connection.iter().any(|finding| matches!(finding.verdict, CheckVerdict::Fails(_)));
    findings.found.extend(connection);
    if !is_there {
        findings.add(Finding::not_tried("key", "the API cannot be reached"));
        return;
    }
    let mut access = match ApiAccess::open(config) {
        Ok(access) => access,
        Err(error) => {
            let said = match &error {
                NoAccess::Store(error) => explained(error),
                other => other.to_string(),
            };
            findings.add(Finding::fails("key", said, "run the check as the user of the relay, or as root"));
            return;
        }
    };
    keys(config, &mut access, clock, findings).await;
}

async fn keys(config: &Config, access: &mut ApiAccess, clock: &Clock, findings: &mut Findings) {
    let several = config.api.keys.len() > 1;
    let (mut accepted, mut refused) = (0, 0);
    for key in &config.api.keys {
        let subject = if several { format!("key {}", ending(key)) } else { "key".to_owned() };
        let before = clock.machine_time();
        let response = match access.fetch(None, 1, PATIENCE).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => {
                findings.exits.push(Exit::Temporary);
                let why =
                    "the request budget has no room now (api.requests_per_minute); run the check again in a minute";
                findings.add(Finding::not_tried(subject, why));
                return;
            }
            Err(error) => {
                findings.add(Finding::fails(subject, error.to_string(), "see the reason"));
                return;
            }
        };
        let after = clock.machine_time();
        match &response.page {
            Ok(_) => {
                accepted += 1;
                findings.add(Finding::works(subject, format!("the API accepts the key that ends in {}", ending(key))));
            }
            Err(error) => {
                refused += usize::from(refuses_key(error));
                findings.add(refusal(subject, error, key));
            }
        }
        if accepted == 1 || (accepted == 0 && response.date.is_some() && !has(findings, "clock")) {
            findings.found.retain(|finding| finding.subject != "clock");
            findings.found.extend(response.date.map(|date| skew(date, before, after)));
        }
        if response.page.is_ok() && !has(findings, "budget") {
            findings.add(budget(&response, config.api.requests_per_minute));
        }
        access.client().next_key();
    }
    if refused > 0 && accepted == 0 {
        findings.exits.push(Exit::NoKey);
    }
}

fn has(findings: &Findings, subject: &str) -> bool {
    findings.found.iter().any(|finding| finding.subject == subject)
}

/// Returns the end of a key, by which its owner recognises the key. No part of a short key is shown.
fn ending(key: &Secret) -> String {
    let text = key.expose();
    let characters: Vec<char> = text.chars().collect();
    match characters.len() {
        16.. => format!("…{}", harmless(&characters[characters.len() - 4..].iter().collect::<String>())),
        _ => "…".to_owned(),
    }
}

fn refusal(subject: String, error: &api::Error, key: &Secret) -> Finding {
    let remedy = match error {
        api::Error::KeyRefused(_) => {
            format!(
                "make a new key in the dashboard, and put it where api.key points to; this key ends in {}",
                ending(key)
            )
        }
        api::Error::Blocked => {
            "a network in front of the API blocks this machine: ask its support, or use a proxy".to_owned()
        }
        api::Error::RateLimited => "wait a minute; do other programs use the same key?".to_owned(),
        api::Error::Server(_) => "the API has a fault of its own: try again later".to_owned(),
        _ => "is api.url right? It is the address without /v1".to_owned(),
    };
    Finding::fails(subject, error.to_string(), remedy)
}

/// Compares the machine's clock with the API's clock, which showed `date` at a time between `before` and `after`.
fn skew(date: UnixMs, before: UnixMs, after: UnixMs) -> Finding {
    // A `Date` has only whole seconds, so the API's clock may have been up to 999 ms after `date`.
    let earliest = date.0;
    let latest = date.0.saturating_add(999);
    let (least, most) = (before.0.saturating_sub(latest), after.0.saturating_sub(earliest));
    let ahead = if least > 0 { least } else { most.min(0) };
    let span_of = Duration::from_millis(ahead.unsigned_abs());
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let detail = format!("this machine's clock is {} {side} the API's", span(span_of));
    if span_of <= USUAL_SKEW {
        return Finding::works("clock", "this machine's clock agrees with the API's");
    }
    let remedy = "synchronize the clock: timedatectl set-ntp true";
    if span_of < LARGE_SKEW {
        return Finding::doubtful("clock", detail, remedy);
    }
    let remedy = format!("{remedy}; receivers refuse signatures that are minutes old");
    Finding::fails("clock", detail, remedy)
}

/// Compares the limit that the API states with the configured limit.
fn budget(response: &Response, configured: u32) -> Finding {
    let RateHeaders { limit, remaining, reset, .. } = response.rate;
    let Some(limit) = limit else {
        return Finding::works("budget", format!("{configured} requests a minute; the API states no limit"));
    };
    let left = remaining.map(|left| format!(", {left} are left")).unwrap_or_default();
    let window = reset.map(|reset| format!(" for {}", span(reset))).unwrap_or_default();
    let detail = format!(
        "{} a minute configured; the API allows {limit} in a window{left}{window}",
        count(u64::from(configured), "request")
    );
    match remaining {
        Some(0) => {
            Finding::doubtful("budget", detail, "do other programs use the same key? The relay leaves room for them")
        }
        _ => Finding::works("budget", detail),
    }
}

/// Formats the findings as text: a line for each finding, and its remedy below. Long lines are broken between words.
fn text(findings: &[Finding], screen: &Screen) -> String {
    let width = findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
    let indent = VERDICT_WIDTH + width + 4;
    let mut text = String::new();
    let mut fails = 0;
    for Finding { subject, verdict, detail } in findings {
        let (word, tone, remedy) = match verdict {
            CheckVerdict::Works => ("ok", Tone::Good, None),
            CheckVerdict::Doubtful(remedy) => ("warning", Tone::Warning, Some(remedy)),
            CheckVerdict::Fails(remedy) => ("FAILED", Tone::Bad, Some(remedy)),
            CheckVerdict::NotTried => ("-", Tone::Faint, None),
        };
        fails += u64::from(matches!(verdict, CheckVerdict::Fails(_)));
        let word = screen.paint(tone, &format!("{word:<VERDICT_WIDTH$}"));
        let remedy = remedy.map(|remedy| format!("fix: {}", harmless(remedy)));
        let texts = std::iter::once(harmless(detail)).chain(remedy);
        let mut lines = texts.flat_map(|said| screen.behind(indent, &said));
        text += &format!("{word}  {subject:<width$}  {}\n", lines.next().unwrap_or_default());
        text += &lines.map(|line| format!("{:indent$}{line}\n", "")).collect::<String>();
    }
    text += &match fails {
        0 => "\nno fault was found\n".to_owned(),
        _ => format!("\n{}\n", count(fails, "fault")),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_within_the_rounding_of_a_date() {
        let at = UnixMs(1_000_000);
        let verdict = |before: i64, after: i64| skew(at, UnixMs(before), UnixMs(after)).verdict;
        for (before, after) in
            [(1_000_000, 1_000_050), (1_000_900, 1_001_500), (995_100, 995_200), (1_005_900, 1_006_000)]
        {
            assert_eq!(verdict(before, after), CheckVerdict::Works, "{before}");
        }
        assert!(matches!(verdict(1_007_000, 1_007_100), CheckVerdict::Doubtful(_)));
        assert!(matches!(verdict(900_000, 900_100), CheckVerdict::Doubtful(_)));
        let wrong = skew(at, UnixMs(0), UnixMs(10));
        assert_eq!(wrong.detail, "this machine's clock is 16 min behind the API's");
        assert!(matches!(wrong.verdict, CheckVerdict::Fails(_)));
    }

    #[test]
    fn a_long_key_is_known_by_its_end_and_a_short_key_is_not_shown() {
        assert_eq!(ending(&Secret::from("jolt_sk_0123456789abcdef")), "…cdef");
        assert_eq!(ending(&Secret::from("hunter2")), "…");
    }

    #[test]
    fn the_fault_that_must_be_mended_first_decides_the_exit_code() {
        let exit = |found: Vec<Finding>, exits: &[Exit]| Findings { found, exits: exits.to_vec() }.exit();
        let fault = || vec![Finding::fails("x", "y", "z")];
        assert_eq!(exit(vec![Finding::doubtful("x", "y", "z")], &[]), Exit::Done);
        assert_eq!(exit(fault(), &[]), Exit::Failure);
        assert_eq!(exit(fault(), &[Exit::Temporary]), Exit::Failure);
        assert_eq!(exit(vec![], &[Exit::Temporary]), Exit::Temporary);
        assert_eq!(exit(fault(), &[Exit::NoKey]), Exit::NoKey);
        assert_eq!(exit(fault(), &[Exit::NoKey, Exit::Damaged]), Exit::Damaged);
    }

    #[test]
    fn each_finding_has_a_line_and_its_remedy_has_another_line() {
        let findings = [Finding::works("key", "fine\x1b[2J"), Finding::fails("crm: name", "gone", "mend it")];
        let expected = "ok       key        fine\\u001b[2J\nFAILED   crm: name  gone\n                    fix: mend it\n\n1 fault\n";
        let plain = Screen { columns: None, colored: false };
        assert_eq!(text(&findings, &plain), expected);
        let colored = Screen { colored: true, ..plain };
        assert!(text(&findings, &colored).starts_with("\x1b[32mok     \x1b[0m  key"));
    }

    #[test]
    fn a_finding_fits_the_terminal() {
        let findings = [
            Finding::works(
                "helpdesk-eu: connection",
                "connected with https://hooks.example.com/… in 120 ms, and closed",
            ),
            Finding::fails("disk", "full", "make room: below 64.0 MiB (state.min_free) the relay stops polling"),
        ];
        let expected = "\
ok       helpdesk-eu: connection  connected with https://hooks.example.com/… in
                                  120 ms, and closed
FAILED   disk                     full
                                  fix: make room: below 64.0 MiB
                                  (state.min_free) the relay stops polling

1 fault
";
        assert_eq!(text(&findings, &Screen { columns: Some(80), colored: false }), expected);
    }
}
