//! The control API: most methods of [`Handle`] over HTTP, under `/_simulator`. The README lists its routes with
//! examples.
//!
//! Invariants: control requests are not counted, not logged, and have no faults, whatever the switches and the script
//! say. A request that is not understood changes nothing, and the answer to it describes the mistake.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::duration_text;
use crate::control::handle::Handle;
use crate::faults::rule::Rule;
use crate::feed::message::{NewMessage, Row};
use crate::feed::number::{NewNumber, Number};
use crate::http::answer::{Answer, Content};
use crate::http::request::Request;
use crate::switches::Switches;

/// Returns the part of the path after `/_simulator`, if this is a control request.
pub(crate) fn route(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/_simulator")?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/'))
}

/// Carries out a control request.
pub(crate) fn answer(handle: &Handle, request: &Request, route: &str) -> Answer {
    match control(handle, request, route) {
        Ok(value) => Answer { status: 200, content: Content::Json(value) },
        Err(Problem::Unknown(what)) => Answer::error(404, "NOT_FOUND", &format!("there is no {what}"), false),
        Err(Problem::Wrong(why)) => Answer::error(400, "BAD_REQUEST", &why, false),
        Err(Problem::Route) => Answer::json(404, &json!({"error": "NOT_FOUND", "routes": ROUTES}), true),
    }
}

/// Why a control request was refused.
enum Problem {
    /// There is no such key, message or other thing. The text names the kind of thing.
    Unknown(&'static str),
    /// The body or the query is not understood. The text describes the mistake.
    Wrong(String),
    /// There is no such route: the path, or the method on this path.
    Route,
}

/// All routes, which are the answer to `GET /_simulator`.
const ROUTES: &[&str] = &[
    "GET /_simulator/state",
    "GET|PATCH /_simulator/switches",
    "GET|POST|DELETE /_simulator/faults",
    "DELETE /_simulator/faults/NUMBER",
    "GET|POST|DELETE /_simulator/messages",
    "GET|DELETE /_simulator/messages/ID",
    "POST /_simulator/messages/ID/restore",
    "POST /_simulator/messages/ID/relocate",
    "POST /_simulator/send",
    "POST /_simulator/history",
    "PUT /_simulator/traffic",
    "GET|POST /_simulator/numbers",
    "POST /_simulator/numbers/ID/share",
    "POST /_simulator/numbers/ID/withdraw",
    "GET|POST /_simulator/keys",
    "PATCH|DELETE /_simulator/keys/ID",
    "GET /_simulator/budgets",
    "POST|PUT /_simulator/foreign",
    "POST /_simulator/outage",
    "POST /_simulator/clock",
    "GET|DELETE /_simulator/requests",
];

fn control(handle: &Handle, request: &Request, route: &str) -> Result<String, Problem> {
    let segments: Vec<String> = route.split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let body = &request.body;
    let value = match (request.method.as_str(), segments.as_slice()) {
        ("GET", [""]) => json!({"routes": ROUTES}),
        ("GET", ["state"]) => state(handle),
        ("GET", ["switches"]) => json!(handle.switches()),
        ("PATCH", ["switches"]) => json!(change_switches(handle, &read(body)?).map_err(wrong)?),

        ("GET", ["faults"]) => handle
            .faults()
            .into_iter()
            .map(|(number, rule, acted)| json!({"number": number, "acted": acted, "rule": rule}))
            .collect(),
        ("POST", ["faults"]) => {
            let rules = one_or_many::<Rule>(body)?;
            let numbers: Vec<u64> = rules.into_iter().map(|rule| handle.add_fault(rule)).collect();
            json!({"numbers": numbers})
        }
        ("DELETE", ["faults"]) => {
            handle.clear_faults();
            done()
        }
        ("DELETE", ["faults", number]) => {
            let number = number.parse().map_err(|_| Problem::Unknown("such rule"))?;
            found(handle.remove_fault(number), "such rule")?
        }

        ("GET", ["messages"]) => return messages(handle, parameter(request, "limit", 100)?),
        ("POST", ["messages"]) => json!({"ids": handle.add_many(one_or_many::<NewMessage>(body)?)}),
        ("DELETE", ["messages"]) => {
            handle.clear_messages();
            done()
        }
        ("GET", ["messages", id]) => return text(&handle.row(id).ok_or(Problem::Unknown("such message"))?),
        ("DELETE", ["messages", id]) => found(handle.vanish(id), "such message in the list")?,
        ("POST", ["messages", id, "restore"]) => found(handle.restore(id), "such vanished message")?,
        ("POST", ["messages", id, "relocate"]) => {
            let Relocation { to } = read(body)?;
            found(handle.relocate(id, to), "such message in the list")?
        }
        ("POST", ["send"]) => json!({"ids": handle.send(&read(body)?)}),
        ("POST", ["history"]) => {
            let History { count, length } = read(body)?;
            handle.add_history(count, length);
            done()
        }
        ("PUT", ["traffic"]) => {
            handle.set_traffic(read(body)?);
            json!(handle.traffic())
        }

        ("GET", ["numbers"]) => handle.numbers().iter().map(|known| number(handle, known)).collect(),
        ("POST", ["numbers"]) => number(handle, &handle.add_number(read::<NewNumber>(body)?)),
        ("POST", ["numbers", name, "share"]) => {
            let SharedHistory { count, length } = if body.is_empty() { SharedHistory::default() } else { read(body)? };
            number(handle, &handle.share_number(name, count, length))
        }
        ("POST", ["numbers", name, "withdraw"]) => found(handle.withdraw_number(name), "such number in the list")?,

        ("GET", ["budgets"]) => json!(handle.budgets()),
        ("GET", ["keys"]) => json!(handle.keys()),
        ("POST", ["keys"]) => {
            let NewKey { name, expires_at } = read(body)?;
            let created = handle.create_key(&name, expires_at).map_err(|error| Problem::Wrong(error.to_string()))?;
            json!({"id": created.id, "key": created.secret})
        }
        ("PATCH", ["keys", key]) => {
            let Expiry { expires_at } = read(body)?;
            found(handle.expire_key(key, expires_at), "such key")?
        }
        ("DELETE", ["keys", key]) => found(handle.revoke_key(key), "such key")?,

        ("POST", ["foreign"]) => {
            let Spent { requests, key } = read(body)?;
            match key {
                Some(key) => {
                    handle.spend_with(&key, requests);
                    done()
                }
                None => {
                    handle.spend(requests);
                    done()
                }
            }
        }
        ("PUT", ["foreign"]) => {
            let Pace { per_minute, key } = read(body)?;
            match key {
                Some(key) => {
                    handle.set_foreign_client_with(&key, per_minute);
                    done()
                }
                None => {
                    handle.set_foreign_client(per_minute);
                    done()
                }
            }
        }
        ("POST", ["outage"]) => {
            let Outage { length } = read(body)?;
            handle.plan_outage(BEFORE_OUTAGE, length);
            done()
        }
        ("POST", ["clock"]) => {
            let Advance { advance } = read(body)?;
            handle.advance(advance);
            json!({"now": handle.now()})
        }
        ("GET", ["requests"]) => json!(handle.requests_after(parameter(request, "after", 0)?)),
        ("DELETE", ["requests"]) => {
            handle.clear_requests();
            done()
        }
        _ => return Err(Problem::Route),
    };
    Ok(value.to_string())
}

/// The pause before an outage. It is long enough to send the answer to the request that asked for the outage.
pub(crate) const BEFORE_OUTAGE: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relocation {
    to: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    count: usize,
    #[serde(with = "duration_text")]
    length: Duration,
}

/// The history that comes with a number that is shared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SharedHistory {
    count: usize,
    #[serde(with = "duration_text")]
    length: Duration,
}

impl Default for SharedHistory {
    fn default() -> Self {
        Self { count: 0, length: Duration::from_secs(30 * 86_400) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    name: String,
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expiry {
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spent {
    requests: u32,
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pace {
    per_minute: f64,
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outage {
    #[serde(with = "duration_text")]
    length: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    #[serde(with = "duration_text")]
    advance: Duration,
}

fn state(handle: &Handle) -> Value {
    let foreign = handle.foreign_clients().into_iter();
    json!({
        "now": handle.now(),
        "messages": handle.message_count(),
        "numbers": handle.numbers().len(),
        "keys": handle.keys(),
        "faults": handle.faults().len(),
        "traffic": handle.traffic(),
        "foreign": foreign.map(|(key, per_minute)| json!({"key": key, "perMinute": per_minute})).collect::<Value>(),
        "counters": handle.counters(),
    })
}

/// Changes some of the switches. Returns all switches.
pub(crate) fn change_switches(
    handle: &Handle,
    changes: &serde_json::Map<String, Value>,
) -> Result<Switches, serde_json::Error> {
    // The changes are checked before anything changes, and merged again under the lock, so that two simultaneous
    // requests both take effect.
    merged(&handle.switches(), changes)?;
    handle.set_switches(|switches| {
        if let Ok(merged) = merged(switches, changes) {
            *switches = merged;
        }
    });
    Ok(handle.switches())
}

fn merged(switches: &Switches, changes: &serde_json::Map<String, Value>) -> Result<Switches, serde_json::Error> {
    let mut fields = json!(switches);
    for (name, value) in changes {
        fields[name] = value.clone();
    }
    serde_json::from_value(fields)
}

/// Returns the JSON that shows a message: whether it has vanished, and its text byte for byte.
fn row(row: &Row) -> Result<Box<RawValue>, Problem> {
    #[derive(serde::Serialize)]
    struct Shown {
        vanished: bool,
        message: Box<RawValue>,
    }
    let message = RawValue::from_string(row.json.clone()).map_err(wrong)?;
    serde_json::value::to_raw_value(&Shown { vanished: row.vanished, message }).map_err(wrong)
}

fn text(shown: &Row) -> Result<String, Problem> {
    Ok(row(shown)?.get().to_owned())
}

fn messages(handle: &Handle, limit: usize) -> Result<String, Problem> {
    let rows: Vec<_> = handle.newest_rows(limit).iter().map(row).collect::<Result<_, _>>()?;
    serde_json::to_string(&rows).map_err(wrong)
}

/// Returns the JSON that shows a number, with the details that were given with the number.
fn number(handle: &Handle, number: &Number) -> Value {
    let NewNumber { service_name, tags, shared, expires_at, next_billing_date, auto_renew_enabled, .. } =
        &number.details;
    json!({
        "id": number.id,
        "phoneNumber": number.phone_number,
        "status": number.status,
        "serviceName": service_name,
        "tags": tags,
        "expiresAt": expires_at,
        "nextBillingDate": next_billing_date,
        "autoRenewEnabled": auto_renew_enabled,
        "shared": shared,
        "withdrawn": handle.is_withdrawn(&number.id),
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(wrong)
}

/// Reads a list. A single value is read as a list with one element.
fn one_or_many<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Problem> {
    if body.trim_ascii_start().starts_with(b"[") { read(body) } else { Ok(vec![read(body)?]) }
}

fn parameter<T: std::str::FromStr>(request: &Request, name: &str, default: T) -> Result<T, Problem> {
    match request.parameter(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| Problem::Wrong(format!("{name} is not a number"))),
    }
}

fn found(found: bool, what: &'static str) -> Result<Value, Problem> {
    if found { Ok(done()) } else { Err(Problem::Unknown(what)) }
}

fn done() -> Value {
    json!({"done": true})
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn wrong(error: serde_json::Error) -> Problem {
    Problem::Wrong(error.to_string())
}

/// Decodes a segment of a path. Unlike in a query, a `+` stays a plus.
fn decode(segment: &str) -> String {
    let pair = format!("={}", segment.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
