//! Carries out the forms of the page.
//!
//! Invariant: a form that is not understood changes nothing, and the error describes the mistake.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::clock::duration_in_words;
use crate::control::handle::Handle;
use crate::control::routes::{BEFORE_OUTAGE, change_switches};
use crate::faults::rule::Rule;
use crate::feed::number::NewNumber;
use crate::feed::sms::Sms;
use crate::feed::traffic::Traffic;
use crate::page::presets::Preset;

/// The fields of a form. A field without a text counts as missing.
#[derive(Debug, Default)]
pub(crate) struct Form {
    fields: BTreeMap<String, String>,
}

impl Form {
    pub(crate) fn read(body: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(body).into_owned();
        let pairs = pairs.map(|(name, value)| (name, value.trim().replace("\r\n", "\n")));
        Self { fields: pairs.filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// Returns the name of the action that the form asks for.
    pub(crate) fn action(&self) -> &str {
        self.get("action").unwrap_or_default()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn required(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("{name} is missing"))
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.required(name)?;
        text.parse().map_err(|_| format!("{name}: {text:?} is not a number that fits here"))
    }

    fn duration(&self, name: &str) -> Result<Duration, String> {
        let text = self.required(name)?;
        duration_in_words(text).map_err(|wrong| format!("{name}: {wrong}"))
    }
}

/// The actions, each with the sentence that the page shows after it.
const ACTIONS: &[(&str, &str)] = &[
    ("send", "Sent."),
    ("remove", "The message is no longer in the list."),
    ("clear-messages", "All messages are gone."),
    ("traffic", "The stream of messages has changed."),
    ("number", "The number is rented."),
    ("share", "The account has access to the number."),
    ("withdraw", "The account has lost access to the number."),
    ("key", "The key is made."),
    ("revoke", "The key is revoked. It is still accepted for a while: see the switch keyCache."),
    ("foreign", "The pace of the other program has changed."),
    ("fault-on", "The fault is on."),
    ("fault-off", "The fault is off."),
    ("rule", "The rule is added."),
    ("remove-rule", "The rule is removed."),
    ("clear-rules", "No fault is left."),
    ("switch", "The switch is set."),
    ("clock", "The clock has moved ahead."),
    ("outage", "The outage begins. This page is down for as long as it lasts."),
    ("clear-requests", "The log of requests is empty."),
];

/// Returns the sentence after a successful action.
pub(crate) fn success(action: &str) -> Option<&'static str> {
    ACTIONS.iter().find(|(known, _)| *known == action).map(|(_, sentence)| *sentence)
}

/// Carries out a form. Returns the section of the page that shows the result.
pub(crate) fn carry_out(handle: &Handle, form: &Form) -> Result<&'static str, String> {
    let found = |found: bool, what: &str| if found { Ok(()) } else { Err(format!("There is no such {what}")) };
    match form.action() {
        "send" => {
            handle.send(&sms(form)?);
            Ok("messages")
        }
        "remove" => found(handle.vanish(form.required("id")?), "message in the list").map(|()| "messages"),
        "clear-messages" => {
            handle.clear_messages();
            Ok("messages")
        }
        "traffic" => {
            handle.set_traffic(Traffic { per_minute: pace(form)?, ..handle.traffic() });
            Ok("messages")
        }
        "number" => {
            let service_name = form.text("service");
            handle.add_number(NewNumber { phone_number: phone(form)?, service_name, ..NewNumber::default() });
            Ok("numbers")
        }
        "share" => {
            let name = form.required("number")?;
            if !handle.numbers().iter().any(|number| number.id == name || number.phone_number == name) {
                check_phone(name)?;
            }
            let count = form.get("count").map_or(Ok(0), |_| count(form))?;
            let history = form.get("length").map_or(Ok(Duration::ZERO), |_| form.duration("length"))?;
            handle.share_number(name, count, history);
            Ok("numbers")
        }
        "withdraw" => found(handle.withdraw_number(form.required("number")?), "number in the list").map(|()| "numbers"),
        "key" => {
            let created = handle.create_key(form.required("name")?, None);
            created.map(|_| "keys").map_err(|too_many| too_many.to_string())
        }
        "revoke" => found(handle.revoke_key(form.required("key")?), "key").map(|()| "keys"),
        "foreign" => {
            handle.set_foreign_client(pace(form)?);
            Ok("keys")
        }
        "fault-on" | "fault-off" => {
            let preset = Preset::find(form.required("fault")?).ok_or("There is no such fault")?;
            let rules = handle.faults();
            for (number, ..) in rules.iter().filter(|(_, rule, _)| preset.is(rule)) {
                handle.remove_fault(*number);
            }
            if form.action() == "fault-on" {
                handle.add_fault(preset.rule());
            }
            Ok("faults")
        }
        "rule" => {
            let rule: Rule = serde_json::from_str(form.required("rule")?).map_err(|error| format!("rule: {error}"))?;
            handle.add_fault(rule);
            Ok("faults")
        }
        "remove-rule" => found(handle.remove_fault(form.number("number")?), "rule").map(|()| "faults"),
        "clear-rules" => {
            handle.clear_faults();
            Ok("faults")
        }
        "switch" => {
            let (name, value) = (form.required("name")?, form.required("value")?);
            let set = |value| change_switches(handle, &[(name.to_owned(), value)].into_iter().collect());
            // For some switches the text `null` is a JSON value, for other switches it is a word.
            let text = Value::from(value);
            let done = match serde_json::from_str(value) {
                Ok(json) => set(json).or_else(|error| set(text).map_err(|_| error)),
                Err(_) => set(text),
            };
            done.map(|_| "switches").map_err(|error| format!("{name}: {error}"))
        }
        "clock" => {
            handle.advance(form.duration("advance")?);
            Ok("time")
        }
        "outage" => {
            handle.plan_outage(BEFORE_OUTAGE, form.duration("length")?);
            Ok("time")
        }
        "clear-requests" => {
            handle.clear_requests();
            Ok("requests")
        }
        _ => Err("The form asks for nothing that the simulator can do".to_owned()),
    }
}

fn sms(form: &Form) -> Result<Sms, String> {
    let (late, old) = match form.get("timing") {
        None | Some("now") => (None, None),
        Some("late") => (Some(form.duration("by")?), None),
        Some("old") => (None, Some(form.duration("by")?)),
        Some(other) => return Err(format!("timing: {other:?} is not now, late or old")),
    };
    if let Some(to) = form.get("to") {
        check_phone(to)?;
    }
    let text = |name| form.text(name);
    Ok(Sms {
        from: text("from"),
        to: text("to"),
        body: text("body"),
        code: text("code"),
        late,
        old,
        count: count(form)?,
    })
}

fn count(form: &Form) -> Result<usize, String> {
    let count = form.number("count")?;
    if count <= Sms::MOST { Ok(count) } else { Err(format!("count: at most {} messages come at once", Sms::MOST)) }
}

fn pace(form: &Form) -> Result<f64, String> {
    let pace: f64 = form.number("perMinute")?;
    if (0.0..=60_000.0).contains(&pace) { Ok(pace) } else { Err("perMinute lies between 0 and 60000".to_owned()) }
}

fn phone(form: &Form) -> Result<Option<String>, String> {
    if let Some(phone) = form.get("phone") {
        check_phone(phone)?;
    }
    Ok(form.text("phone"))
}

fn check_phone(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let fits = (7..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    if fits { Ok(()) } else { Err(format!("{text:?} is not a phone number such as +16505550123")) }
}
