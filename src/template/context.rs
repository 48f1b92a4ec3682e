//! Makes the values of the names that a template can use: `message`, `number`, `account`.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object};
use minijinja::{Value, context};

use crate::codes::CodeFinder;
use crate::domain::surrogates;

/// The fields that `message` always has in a template. If the message lacks such a field, the value of the field is
/// none. Other fields exist only if the message has them.
const MESSAGE: [&str; 10] =
    ["id", "numberId", "from", "to", "body", "parsedCode", "encrypted", "isRead", "receivedAt", "ingestedAt"];

/// The fields that `number` always has in a template: the fields of one number in the API's list of numbers.
const NUMBER: [&str; 16] = [
    "id",
    "phoneNumber",
    "status",
    "displayStatus",
    "serviceName",
    "notes",
    "createdAt",
    "updatedAt",
    "rentedAt",
    "expiresAt",
    "nextBillingDate",
    "messageCount",
    "unreadCount",
    "lastMessageAt",
    "subscriptionId",
    "autoRenewEnabled",
];

/// The fields of a number that a message contains, too, each with its name in the number and its name in the message.
const OF_THE_MESSAGE: [(&str, &str); 2] = [("id", "numberId"), ("phoneNumber", "to")];

/// The samples with which every template is tried: a description, a message, and the message's number if it is known.
/// The code begins with a zero, which JSON does not accept as a number. The text contains characters that break the
/// output if they are not escaped.
pub(super) const SAMPLES: [(&str, &str, Option<&str>); 2] = [
    (
        "a message that has everything",
        r#"{"id":"0b1f7a52-33c6-4d0e-9d5e-6f0f4f7f1a11","numberId":"num_abc456","number":{"id":"num_abc456","phoneNumber":"+16505551234"},"from":"+18005559876","to":"+16505551234","body":"012345 is your \"Acme\" code\nC:\\temp & <b>'x'</b>","parsedCode":"012345","encrypted":false,"isRead":false,"receivedAt":"2026-01-31T08:00:00.000Z","ingestedAt":"2026-01-31T08:00:00.412Z"}"#,
        Some(
            r#"{"id":"num_abc456","phoneNumber":"+16505551234","status":"active","displayStatus":"Active","serviceName":"\"Acme\"","tags":["prod","a \"b\""],"notes":"two\nlines","createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z","rentedAt":"2026-01-01T00:00:00.000Z","expiresAt":"2026-12-31T00:00:00.000Z","nextBillingDate":"2026-02-28T00:00:00.000Z","messageCount":2,"unreadCount":1,"lastMessageAt":"2026-01-31T08:00:00.000Z","subscriptionId":"sub_1","autoRenewEnabled":true}"#,
        ),
    ),
    ("a message that has no more than an id", r#"{"id":"msg_1"}"#, None),
];

/// The name of the attribute of `message` that holds the code of the message: the code that the API found, or else the
/// code that the operator's pattern finds.
const CODE: &str = "code";

/// The value of `message`: the fields of the message as the API sent them. The code is an attribute beside the fields,
/// so that `message | tojson` is the API's object. If the API sends a field of this name, the field takes precedence
/// over the attribute.
#[derive(Debug)]
struct TemplateMessage {
    fields: BTreeMap<String, Value>,
    code: Value,
}

impl Object for TemplateMessage {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        self.fields.get(name).or((name == CODE).then_some(&self.code)).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.fields.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// Makes the names that a template can use, with their values; `None` if the message cannot be read. `codes` finds the
/// code of the message.
pub(super) fn of(raw: &str, number: Option<&str>, account: &str, codes: &CodeFinder) -> Option<Value> {
    let mut message = object(raw)?;
    let mut details = match number.and_then(object) {
        Some(details) => details,
        // The details of the number are not known, or not yet. But the message itself contains two fields of the
        // number.
        None => {
            let own = message.get("number").map(own_number).unwrap_or_default();
            let known =
                OF_THE_MESSAGE.map(|(name, field)| (name.to_owned(), message.get(field).cloned().unwrap_or_default()));
            known.into_iter().chain(own).collect()
        }
    };
    for name in MESSAGE {
        message.entry(name.to_owned()).or_insert_with(none);
    }
    for name in NUMBER {
        details.entry(name.to_owned()).or_insert_with(none);
    }
    let tags = details.entry("tags".to_owned()).or_insert_with(none);
    if tags.is_none() {
        *tags = Value::from(Vec::<Value>::new());
    }
    // A value is undefined if the message has no such field from which it could be copied.
    details.values_mut().filter(|value| value.is_undefined()).for_each(|value| *value = none());
    let code = codes.find(raw).map_or_else(none, Value::from);
    let message = Value::from_object(TemplateMessage { fields: message, code });
    Some(context! { message, number => Value::from(details), account })
}

/// Whether a variable of a template shows details of the number that the message itself does not contain. `number.tags`
/// and the whole `number` do; `number.id` does not.
pub(super) fn is_detail(variable: &str) -> bool {
    let (name, field) = variable.split_once('.').unwrap_or((variable, ""));
    let field = field.split('.').next().unwrap_or_default();
    name == "number" && OF_THE_MESSAGE.iter().all(|(own, _)| *own != field)
}

fn object(json: &str) -> Option<BTreeMap<String, Value>> {
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&surrogates::mended(json))).ok()
}

fn own_number(number: &Value) -> BTreeMap<String, Value> {
    ["id", "phoneNumber"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), number.get_attr(name).ok().filter(|value| !value.is_undefined())?)))
        .collect()
}

fn none() -> Value {
    Value::from(())
}
