//! Makes believable messages: the texts of services, and an endless stream of messages.
//!
//! Invariants: everything is drawn from the seed, so the same seed gives the same stream. No task makes the messages:
//! each message has a time at which it is due, and the first access to the state after that time adds the messages that
//! are due. So a manual clock governs the stream, too.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{Now, later, optional_duration_text};
use crate::feed::message::NewMessage;

/// The settings of a stream of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traffic {
    /// The number of messages a minute, on average; zero means no messages.
    pub per_minute: f64,
    /// The share of messages, from 0 to 1, that show up late, behind newer ones.
    pub late: f64,
    /// The longest delay of late messages; `None` means five minutes.
    #[serde(with = "optional_duration_text")]
    pub late_by: Option<Duration>,
    /// Of the messages that are not late, the share that carries a time in the future.
    pub future: f64,
    /// Of the messages that are neither late nor in the future, the share that carries the same time as the message
    /// before.
    pub equal: f64,
    /// The share of messages after which one of the ten newest messages vanishes.
    pub vanish: f64,
}

/// A running stream.
#[derive(Debug)]
pub(crate) struct Stream {
    traffic: Traffic,
    random: fastrand::Rng,
    next: Option<Duration>,
    last_received: Option<Timestamp>,
}

/// A message of the stream that is due.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) message: NewMessage,
    /// Whether one of the newest messages vanishes after this message.
    pub(crate) vanish: bool,
}

impl Stream {
    pub(crate) fn new(seed: u64) -> Self {
        // The stream has its own random numbers, so it stays the same whatever else the simulator draws.
        let random = fastrand::Rng::with_seed(seed ^ 0x7261_6666_6963);
        Self { traffic: Traffic::default(), random, next: None, last_received: None }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    pub(crate) fn set(&mut self, traffic: Traffic, now: Now) {
        self.traffic = traffic;
        self.next = None;
        self.next = self.pause().map(|pause| now.elapsed.saturating_add(pause));
    }

    /// Returns the next message that is due by now.
    pub(crate) fn due(&mut self, now: Now) -> Option<Due> {
        let time = self.next.filter(|&next| next <= now.elapsed)?;
        self.next = self.pause().map(|pause| time.saturating_add(pause));
        let ingested = earlier(now.wall, now.elapsed - time);
        let traffic = self.traffic;
        let received = if self.random.f64() < traffic.late {
            let most = traffic.late_by.unwrap_or(Duration::from_secs(300)).as_secs_f64();
            earlier(ingested, Duration::from_secs_f64(most * self.random.f64()))
        } else if self.random.f64() < traffic.future {
            later(ingested, Duration::from_secs_f64(86_400.0 * self.random.f64()))
        } else if self.random.f64() < traffic.equal {
            self.last_received.unwrap_or(ingested)
        } else {
            earlier(ingested, Duration::from_millis(self.random.u64(50..2000)))
        };
        self.last_received = Some(received);
        let message = invent(&mut self.random).received_at(received).ingested_at(ingested);
        Some(Due { message, vanish: self.random.f64() < traffic.vanish })
    }

    /// Returns the time to the next message. Messages come independently of each other, so the pauses are distributed
    /// exponentially.
    fn pause(&mut self) -> Option<Duration> {
        let seconds = 60.0 / self.traffic.per_minute * -(1.0 - self.random.f64()).ln();
        // A pause is never zero: otherwise `due` could return messages of the same moment for ever.
        let pause = Duration::try_from_secs_f64(seconds).ok().map(|pause| pause.max(Duration::from_micros(1)));
        pause.filter(|_| self.traffic.per_minute > 0.0)
    }
}

/// Makes messages of the past, oldest first, as a history of this length that ends now.
pub(crate) fn history(count: usize, length: Duration, now: Timestamp, random: &mut fastrand::Rng) -> Vec<NewMessage> {
    let mut ages: Vec<f64> = (0..count).map(|_| random.f64()).collect();
    ages.sort_unstable_by(|left, right| right.total_cmp(left));
    ages.into_iter()
        .map(|age| {
            let ingested = earlier(now, length.mul_f64(age));
            let received = earlier(ingested, Duration::from_millis(random.u64(50..2000)));
            invent(random).received_at(received).ingested_at(ingested)
        })
        .collect()
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(time)
}

/// A service: a sender and its texts. In a text, `{code}` becomes a one-time code of the given number of digits.
struct Service {
    name: &'static str,
    from: &'static str,
    digits: usize,
    texts: &'static [&'static str],
}

/// The services. All of them are made up, so that nobody takes a log of the simulator for a real person's messages.
const SERVICES: &[Service] = &[
    Service {
        name: "Northgate Bank",
        from: "+18005550142",
        digits: 6,
        texts: &[
            "Northgate Bank: your security code is {code}. It expires in 10 minutes. Never share it.",
            "{code} is your Northgate Bank sign-in code. We will never call you for it.",
            "Northgate Bank: a payment of $48.20 at HARBOR GROCERY was approved.",
        ],
    },
    Service {
        name: "Parcelway",
        from: "72752",
        digits: 4,
        texts: &[
            "Parcelway: your parcel is at locker 114. Pick-up PIN {code}, until Friday.",
            "Parcelway: your parcel will arrive today between 2 and 4 pm.",
        ],
    },
    Service {
        name: "Shoply",
        from: "SHOPLY",
        digits: 6,
        texts: &[
            "{code} is your Shoply verification code.",
            "Shoply: use {code} to confirm your order. Not you? Ignore this message.",
            "Shoply: your order is on its way 📦 Thank you!",
        ],
    },
    Service {
        name: "Chatterbox",
        from: "+447700900321",
        digits: 6,
        texts: &[
            "Your Chatterbox code: {code}\nDon't share this code with others",
            "<#> Chatterbox: {code}\nqX9/kd3LpZe",
        ],
    },
    Service {
        name: "Ridewell",
        from: "+18885550117",
        digits: 4,
        texts: &["Your Ridewell code is {code}. Reply STOP to unsubscribe."],
    },
    Service {
        name: "Cloudkeep",
        from: "CLOUDKEEP",
        digits: 8,
        texts: &["Cloudkeep: \"{code}\" is your backup code — valid for 15 min.", "G-{code} is your Cloudkeep code."],
    },
    Service {
        name: "Praxis Müller",
        from: "+4915735550199",
        digits: 5,
        texts: &[
            "Praxis Müller: Ihr Termin ist bestätigt für Montag, 9:30 Uhr.",
            "Ihr Bestätigungscode lautet {code}.",
        ],
    },
];

/// Makes a believable message: sender, text, code.
pub(crate) fn invent(random: &mut fastrand::Rng) -> NewMessage {
    let service = &SERVICES[random.usize(..SERVICES.len())];
    let text = service.texts[random.usize(..service.texts.len())];
    let message = NewMessage::new().from(service.from);
    if !text.contains("{code}") {
        return message.body(text);
    }
    let code: String = (0..service.digits).map(|_| random.digit(10)).collect();
    message.body(text.replace("{code}", &code)).code(code)
}

/// Makes the name of a service for which a number may have been rented.
pub(crate) fn service_name(random: &mut fastrand::Rng) -> String {
    SERVICES[random.usize(..SERVICES.len())].name.to_owned()
}
