//! One life of a relay. A seed decides what happens in the life.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use joltsms_simulator::{BadRow, Effect, Ending, Malformed, NewMessage, NewNumber, Options, Place, Rule};

use crate::support::random::Random;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::receiver::{Receiver, Reply};
use crate::support::waiting::wait_within;

/// The number of concurrent deliveries of each sink.
pub(super) const WORKERS: usize = 4;

/// The longest wait in a life. At that time the waits between attempts have grown, and there are many messages.
const PATIENCE: Duration = Duration::from_secs(120);

/// A relay with three receivers and a file. `crm` accepts and refuses messages, and gets some of them again; `shop`
/// keeps the order of each number; `codes` has a filter.
pub(super) struct Life {
    pub(super) seed: u64,
    pub(super) scene: Scene,
    pub(super) crm: Receiver,
    pub(super) shop: Receiver,
    pub(super) codes: Receiver,
    /// The file to which the fourth sink, stdout, writes.
    pub(super) lines: PathBuf,
    pub(super) kills: usize,
    pub(super) commands: usize,
    pub(super) faults: usize,
    relay: Relay,
    random: Random,
}

impl Life {
    /// Starts a first run while the feed already has some messages, and waits until the relay has polled once.
    pub(super) fn begin(seed: u64) -> Self {
        let mut options = Options { numbers: 3, ..Options::default() };
        options.switches.limit = 100_000;
        options.switches.page_cap = 5;
        let scene = Scene::of(options);
        scene.add_past(23);
        let lines = scene.dir().join("lines.jsonl");
        let (crm, shop, codes) = (Receiver::in_background(), Receiver::in_background(), Receiver::in_background());
        let relay = start(&scene, [&crm, &shop, &codes], &lines);
        scene.wait_for_polls(1);
        relay.wait_for_log("relaying");
        let random = Random::new(seed);
        Self { seed, scene, crm, shop, codes, lines, kills: 0, commands: 0, faults: 0, relay, random }
    }

    /// Does one step, chosen at random.
    pub(super) fn turn(&mut self) {
        match self.random.below(20) {
            0..=5 => self.messages_come(),
            6..=8 => self.the_api_fails(),
            9..=11 => self.receivers_change(),
            12..=13 => self.dies(),
            14 => self.stops(),
            15 => self.command(&["sinks", "pause", "shop"]),
            16 => self.command(&["sinks", "resume", "shop"]),
            17 => self.command(&["replay", "--sink", "crm", "--since", "10m"]),
            18 => self.command(&["dead-letters", "retry", "--all"]),
            _ => self.looks(),
        }
        if self.random.below(3) > 0 {
            self.time_passes();
        }
    }

    fn messages_come(&mut self) {
        let numbers: Vec<String> = self.scene.handle().numbers().into_iter().map(|number| number.id).collect();
        let now = self.scene.handle().now();
        for _ in 0..1 + self.random.below(18) {
            let off = match self.random.below(8) {
                0 => -SignedDuration::from_secs(i64::try_from(self.random.below(40)).unwrap()),
                1 => SignedDuration::from_mins(90),
                // The message gets the same millisecond as other messages.
                _ => SignedDuration::ZERO,
            };
            let number = &numbers[usize::try_from(self.random.below(3)).unwrap()];
            let message = NewMessage::new().number(number).received_at(now + off).ingested_at(now);
            let with_code = self.random.below(2) == 0;
            self.scene.handle().add(if with_code { message.code("482913") } else { message.body("no code") });
        }
        if self.random.below(10) == 0 {
            self.scene.handle().add_number(NewNumber::default());
        }
    }

    fn the_api_fails(&mut self) {
        let cut = self.random.below(2000);
        let effects = [
            Effect::status(500),
            Effect::html(502),
            Effect::reset(),
            Effect::cut(cut),
            Effect::Malformed(Malformed::Half),
            Effect::bad_row(BadRow::Null),
            Effect::ReverseRows,
            Effect::EmptyPage { more: false },
            Effect::EmptyPage { more: true },
            Effect::RepeatCursor,
            Effect::MoreWithoutCursor,
            Effect::RefuseCursor,
            Effect::LateRow(Duration::from_secs(cut % 40)),
            Effect::FutureRow(Duration::from_secs(3600)),
            Effect::EqualRow,
            Effect::Break { at: Place::Body(cut), ending: Ending::Reset },
        ];
        let effect = &effects[usize::try_from(self.random.below(effects.len() as u64)).unwrap()];
        let rule = match self.random.below(4) {
            0 => Rule::once(effect.clone()).and(Effect::Latency(Duration::from_millis(300))),
            1 => Rule::once(Effect::status(429)).and(Effect::RetryAfter("1".to_owned())),
            _ => Rule::once(effect.clone()),
        };
        self.faults += 1;
        self.scene.handle().add_fault(rule);
    }

    fn receivers_change(&mut self) {
        let status = self.random.pick(&[200, 200, 503, 429, 422, 410, 308]);
        match self.random.below(3) {
            0 => self.crm.answer_with(status),
            // If these receivers refused a message for good, the message would be missing at the end. Only messages to
            // `crm` are sent again by a command.
            1 => self.shop.answer_with(if status == 200 { 200 } else { 503 }),
            _ => {
                let every = usize::try_from(1 + self.random.below(4)).unwrap();
                self.codes.reply(move |place| match place % every {
                    0 => Reply::status(200),
                    _ => Reply::status(503).header("retry-after", "0"),
                });
            }
        }
    }

    /// Sends SIGKILL, whatever the relay is doing.
    fn dies(&mut self) {
        self.relay.kill();
        self.kills += 1;
        if self.random.below(3) == 0 {
            self.command(&["sinks", "resume", "crm", "shop", "codes", "lines"]);
        }
        self.relay = start(&self.scene, [&self.crm, &self.shop, &self.codes], &self.lines);
    }

    fn stops(&mut self) {
        let ended = self.relay.stop();
        // A relay that has just been started does not handle signals yet.
        let too_early = ended.signal() == Some(15);
        assert!(too_early || ended.code() == Some(0), "seed {}: {ended}: {}", self.seed, self.relay.log());
        self.relay = start(&self.scene, [&self.crm, &self.shop, &self.codes], &self.lines);
    }

    fn looks(&mut self) {
        let rows = self.scene.handle().rows();
        let row = &rows[usize::try_from(self.random.below(rows.len() as u64)).unwrap()];
        let copy = self.scene.dir().join(format!("copy-{}.jsonl", self.commands));
        match self.random.below(3) {
            0 => self.command(&["status", "--json"]),
            1 => self.command(&["state", "export", "--output", &copy.display().to_string()]),
            // The relay may not have read the message yet, so the exit code is ignored.
            _ => drop(Setup::bare(self.scene.dir()).args(&["trace", &row.id]).output()),
        }
    }

    fn command(&mut self, arguments: &[&str]) {
        self.commands += 1;
        let (code, said, log) = Setup::bare(self.scene.dir()).args(arguments).output();
        assert_eq!(code, 0, "seed {}: {arguments:?}: {said}\n{log}", self.seed);
    }

    /// Waits until the API got some more requests. If the API gets none, because waits may have grown, waits for a
    /// while only.
    fn time_passes(&mut self) {
        let asked = || self.scene.handle().requests().len();
        let until = asked() + 1 + usize::try_from(self.random.below(4)).unwrap();
        let mut looks = 0;
        let enough = || {
            looks += 1;
            asked() >= until || looks > 60
        };
        wait_within(PATIENCE, "a request", enough, || self.relay.log());
    }

    /// Ends all faults, and waits until every delivery is settled.
    pub(super) fn let_all_be_well(&mut self) {
        self.scene.handle().clear_faults();
        for receiver in [&self.crm, &self.shop, &self.codes] {
            receiver.answer_with(200);
        }
        self.command(&["sinks", "resume", "crm", "shop", "codes", "lines"]);
        self.command(&["dead-letters", "retry", "--all"]);
        // The waits for failed messages may have become long, but a start tries these messages at once.
        self.stops();
        let waiting = "SELECT count(*) FROM delivery WHERE state NOT IN ('delivered')";
        let rows = self.scene.handle().rows().len();
        let done = || {
            let stored = "SELECT count(*) FROM message WHERE release_no IS NOT NULL AND standing = 'news'";
            usize::try_from(self.scene.count(stored)).unwrap() >= rows && self.scene.count(waiting) == 0
        };
        let seed = self.seed;
        wait_within(PATIENCE, &format!("the end of life {seed}"), done, || self.relay.log());
        let ended = self.relay.stop();
        assert_eq!(ended.code(), Some(0), "seed {}: {}", self.seed, self.relay.log());
    }
}

fn start(scene: &Scene, [crm, shop, codes]: [&Receiver; 3], lines: &PathBuf) -> Relay {
    let mut setup = scene.setup_from_beginning();
    for (name, receiver) in [("CRM", crm), ("SHOP", shop), ("CODES", codes)] {
        let set = |key: &str| format!("SINKS__{name}__{key}");
        setup = setup
            .set(&set("TYPE"), "http")
            .set(&set("URL"), &receiver.url())
            .set(&set("CONCURRENCY"), &WORKERS.to_string())
            .set(&set("RETRY__INITIAL"), "100ms")
            .set(&set("RETRY__MAX"), "1s");
    }
    let stdout: File = OpenOptions::new().append(true).create(true).open(lines).unwrap();
    setup
        .set("SINKS__CRM__RETRY__GIVE_UP_AFTER", "2s")
        .set("SINKS__SHOP__ORDER", "number")
        .set("SINKS__CODES__FILTER__HAS_CODE", "true")
        .set("SINKS__LINES__TYPE", "stdout")
        .set("POLL__LOOKBACK", "2m")
        .set("POLL__SWEEP_INTERVAL", "1s")
        .start_with_stdout(stdout)
}
