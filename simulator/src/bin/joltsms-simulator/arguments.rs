//! The command line, and the simulator's options that follow from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use joltsms_simulator::{Options, Switches, Traffic, parse_duration};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  Port 5658, three numbers, 100 messages; the page is at http://127.0.0.1:5658:
    joltsms-simulator
  Messages come by themselves, some of them late:
    joltsms-simulator --rate 30/m --late 0.1
  The same key each time, no message, a free port:
    joltsms-simulator --seed 7 --messages 0 --port 0
  A small budget, indented JSON:
    joltsms-simulator --limit 20 --switch pretty=true

While it runs (all routes: curl $url/_simulator):
  curl -s $url/_simulator/send -d '{\"from\": \"SHOPLY\", \"body\": \"Your code is {code}\"}'
  curl -s $url/_simulator/faults -d '{\"effects\": [{\"status\": {\"status\": 503}}], \"times\": 3}'";

/// A JoltSMS API on this machine, to build and test an integration without renting a number.
///
/// When the simulator is ready, it prints one line, `url=… key=… session=…`, and logs requests on stderr. Open the url in
/// a browser to send test messages, to see keys, numbers and requests, and to switch faults on and off. Ctrl-C ends the
/// simulator.
#[derive(Debug, Parser)]
#[command(version, name = "joltsms-simulator", after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Listen on this port of 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 5658)]
    port: u16,

    /// Draw keys, ids and messages from this seed: the same seed gives the same ones [default: a new one each time]
    #[arg(long)]
    seed: Option<u64>,

    /// Rent this many numbers
    #[arg(long, default_value_t = 3)]
    numbers: usize,

    /// Add this many messages at the start
    #[arg(long, default_value_t = 100)]
    messages: usize,

    /// Spread these messages over this time before the start
    #[arg(long, default_value = "30d", value_parser = parse_duration)]
    history: Duration,

    /// Add messages at this rate: 30/m, 2/s, 100/h
    #[arg(long, default_value = "0/m", value_parser = per_minute)]
    rate: f64,

    /// Let this share of the messages show up late, behind newer ones
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "0..1")]
    late: f64,

    /// The longest delay of late messages
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    late_by: Duration,

    /// Date this share of the messages in the future
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "0..1")]
    future: f64,

    /// Give this share of the messages the same time as the message before
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "0..1")]
    equal: f64,

    /// For this share of the messages, remove one of the newest messages once the message is added
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "0..1")]
    vanish: f64,

    /// Allow this many requests in a window of the rate limit
    #[arg(long, default_value_t = 120)]
    limit: u32,

    /// The length of that window
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    window: Duration,

    /// Go on accepting a revoked or expired key for this long
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    key_cache: Duration,

    /// Let another program make this many requests a minute with the same key
    #[arg(long, default_value_t = 0.0)]
    pub(crate) foreign: f64,

    /// Set any switch: --switch sortBy=ingestedAt --switch pretty=true
    #[arg(long = "switch", value_parser = switch, value_name = "NAME=VALUE")]
    switches: Vec<(String, Value)>,

    /// Begin with the fault script in this file (a JSON list of rules)
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,

    /// Do not log requests
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Arguments {
    /// Returns the options of the simulator. If no seed was given, a seed is drawn here.
    pub(crate) fn options(&self) -> Result<Options, serde_json::Error> {
        let switches =
            Switches { limit: self.limit, window: self.window, key_cache: self.key_cache, ..Switches::default() };
        let mut fields = json!(switches);
        for (name, value) in &self.switches {
            fields[name] = value.clone();
        }
        Ok(Options {
            port: self.port,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            switches: serde_json::from_value(fields)?,
            numbers: self.numbers,
            messages: self.messages,
            history: self.history,
            traffic: Traffic {
                per_minute: self.rate,
                late: self.late,
                late_by: Some(self.late_by),
                future: self.future,
                equal: self.equal,
                vanish: self.vanish,
            },
            ..Options::default()
        })
    }
}

fn per_minute(text: &str) -> Result<f64, String> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "m"));
    let factor = match unit {
        "s" => 60.0,
        "m" => 1.0,
        "h" => 1.0 / 60.0,
        _ => return Err("a rate is a number and s, m or h: 30/m".to_owned()),
    };
    match count.parse::<f64>() {
        Ok(count) if count >= 0.0 && count.is_finite() => Ok(count * factor),
        _ => Err(format!("{count:?} is not a number")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share lies between 0 and 1".to_owned())
}

/// Reads a switch. The value is read as JSON, or else as a text.
fn switch(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("a switch is set as NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(per_minute("30/m"), Ok(30.0));
        assert_eq!(per_minute("2/s"), Ok(120.0));
        assert_eq!(per_minute("90/h"), Ok(1.5));
        assert_eq!(per_minute("7"), Ok(7.0));
        for wrong in ["", "x/m", "1/d", "-1/m", "inf/m", "NaN"] {
            assert!(per_minute(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_argument_arrives() {
        let line = "x --port 1 --seed 2 --numbers 3 --messages 4 --history 5h --rate 6/s --late 0.7 --late-by 8m \
                    --future 0.09 --equal 0.1 --vanish 0.11 --limit 12 --window 13s --key-cache 14s \
                    --switch sortBy=ingestedAt --switch cursorLifetime=15s --switch pretty=true";
        let options = Arguments::parse_from(line.split_whitespace()).options().unwrap();
        assert_eq!((options.port, options.seed, options.numbers, options.messages), (1, 2, 3, 4));
        assert_eq!(options.history, Duration::from_secs(5 * 3600));
        let traffic = options.traffic;
        assert_eq!((traffic.per_minute, traffic.late, traffic.future), (360.0, 0.7, 0.09));
        assert_eq!((traffic.late_by, traffic.equal, traffic.vanish), (Some(Duration::from_secs(480)), 0.1, 0.11));
        let expected = Switches {
            limit: 12,
            window: Duration::from_secs(13),
            key_cache: Duration::from_secs(14),
            sort_by: joltsms_simulator::SortBy::IngestedAt,
            cursor_lifetime: Some(Duration::from_secs(15)),
            pretty: true,
            ..Switches::default()
        };
        assert_eq!(options.switches, expected);
        let wrong = Arguments::parse_from(["x", "--switch", "sortBY=ingestedAt"]).options();
        assert!(wrong.unwrap_err().to_string().contains("unknown field `sortBY`"));
    }
}
