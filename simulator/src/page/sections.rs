//! The sections that show the account: the summary, the messages, the requests, the numbers and the keys.

use serde_json::json;

use crate::account::request_log::LoggedRequest;
use crate::control::handle::Handle;
use crate::feed::message::Row;
use crate::page::escape::{escape, time};
use crate::page::forms::Form;

/// How many messages and requests the page shows.
const SHOWN: usize = 30;

/// Returns a section with a heading. The content may have parts that the script keeps up to date.
pub(crate) fn section(id: &str, heading: &str, content: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-heading\">\n<h2 id=\"{id}-heading\">{heading}</h2>\n{content}\n</section>\n"
    )
}

/// Returns a part of the page that the script keeps up to date.
pub(crate) fn live(id: &str, content: &str) -> String {
    format!("<div id=\"{id}\" data-live>\n{content}\n</div>")
}

/// Returns a form that is one button. `fields` are the hidden fields.
pub(crate) fn button(action: &str, fields: &[(&str, &str)], label: &str, description: &str) -> String {
    let hidden =
        |(name, value): &(&str, &str)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value));
    let hidden: String = fields.iter().map(hidden).collect();
    format!(
        "<form method=\"post\" action=\"/\"><input type=\"hidden\" name=\"action\" value=\"{action}\">{hidden}\
         <button aria-label=\"{}\">{label}</button></form>",
        escape(description)
    )
}

/// Returns a text field with its label. A form that failed keeps its text.
pub(crate) fn field(form: &Form, action: &str, name: &str, label: &str, default: &str, attributes: &str) -> String {
    let kept = form.get(name).filter(|_| form.action() == action);
    format!(
        "<label>{label} <input name=\"{name}\" value=\"{}\" autocomplete=\"off\" {attributes}></label>",
        escape(kept.unwrap_or(default))
    )
}

/// Returns a table with its head. Tables scroll sideways on a narrow screen.
fn table(label: &str, columns: &[&str], rows: &str) -> String {
    let head: String = columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>")).collect();
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{label}\" tabindex=\"0\"><table><thead><tr>{head}</tr></thead>\
         <tbody>\n{rows}</tbody></table></div>"
    )
}

/// The state of the account in one line.
pub(crate) fn summary(handle: &Handle) -> String {
    let counters = handle.counters();
    let faults = handle.faults().len();
    let budget = handle.budgets().into_iter().next();
    let budget = budget.map_or(String::new(), |budget| {
        format!("<li><b>{} of {}</b> requests left</li>", budget.remaining, budget.limit)
    });
    live(
        "summary",
        &format!(
            "<ul class=\"summary\"><li><b>{}</b> messages</li><li><b>{}</b> requests</li>{budget}\
             <li class=\"{}\"><b>{faults}</b> fault{}</li><li>Now {}</li></ul>",
            handle.message_count(),
            counters.requests,
            if faults > 0 { "warning" } else { "" },
            if faults == 1 { "" } else { "s" },
            time(handle.now(), handle.now()),
        ),
    )
}

/// The form that sends a test message.
pub(crate) fn send(handle: &Handle, form: &Form) -> String {
    let numbers: String =
        handle.numbers().iter().map(|number| format!("<option value=\"{}\">", escape(&number.phone_number))).collect();
    let kept = |name| form.get(name).filter(|_| form.action() == "send").unwrap_or_default();
    let timing: String =
        [("now", "now"), ("late", "late: it was on its way for"), ("old", "old: it has been in the list for")]
            .iter()
            .map(|(value, label)| {
                let chosen = if kept("timing") == *value { " selected" } else { "" };
                format!("<option value=\"{value}\"{chosen}>{label}</option>")
            })
            .collect();
    let content = format!(
        "<form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"send\">\n\
         {from}\n{to}<datalist id=\"known-numbers\">{numbers}</datalist>\n\
         <label class=\"wide\">Text <textarea name=\"body\" rows=\"3\" placeholder=\"made up\" aria-describedby=\"body-hint\">{body}</textarea></label>\n\
         <p class=\"hint wide\" id=\"body-hint\"><code>{{code}}</code> becomes a random code, <code>{{n}}</code> the number within a burst.</p>\n\
         {code}\n{count}\n<label>Arrives <select name=\"timing\">{timing}</select></label>\n{by}\n\
         <button class=\"main\">Send</button></form>",
        from = field(form, "send", "from", "From", "", "placeholder=\"made up\""),
        to = field(
            form,
            "send",
            "to",
            "To",
            "",
            "list=\"known-numbers\" inputmode=\"tel\" placeholder=\"first number\""
        ),
        body = escape(kept("body")),
        code = field(form, "send", "code", "Code", "", "placeholder=\"found in the text\""),
        count = field(form, "send", "count", "How many", "1", "type=\"number\" min=\"1\" max=\"100000\" required"),
        by = field(form, "send", "by", "Late or old by", "5m", "placeholder=\"90s, 5m, 2d\""),
    );
    section("send", "Send a test SMS", &content)
}

/// The newest messages.
pub(crate) fn messages(handle: &Handle) -> String {
    let now = handle.now();
    let row = |row: &Row| {
        let code = row.code.as_ref().map_or(String::new(), |code| format!("<code>{}</code>", escape(code)));
        let read = if row.is_read { "read" } else { "unread" };
        let remove = button("remove", &[("id", &row.id)], "Remove", &format!("Remove the message {}", row.id));
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}</td><td>{code}</td><td>{read}</td><td>{remove}</td></tr>\n",
            time(row.received_at, now),
            escape(&row.from),
            escape(&row.to),
            escape(&row.body),
        )
    };
    let rows: String = handle.newest_rows(SHOWN).iter().map(row).collect();
    let list = if rows.is_empty() {
        "<p>No message yet.</p>".to_owned()
    } else {
        table(
            "Newest messages",
            &["Received", "From", "To", "Text", "Code", "Read", "<span class=\"hidden\">Action</span>"],
            &rows,
        )
    };
    let per_minute = handle.traffic().per_minute.to_string();
    let traffic = format!(
        "<form method=\"post\" action=\"/\" class=\"line\"><input type=\"hidden\" name=\"action\" value=\"traffic\">{}<button>Set</button></form>",
        field(
            &Form::default(),
            "traffic",
            "perMinute",
            "New messages a minute",
            &per_minute,
            "inputmode=\"decimal\" size=\"6\""
        ),
    );
    let clear = button("clear-messages", &[], "Remove all messages for good", "Remove all messages for good");
    let content = format!("{}\n<div class=\"line\">{traffic}{clear}</div>", live("message-list", &list));
    section("messages", "Messages", &content)
}

/// The requests that came last.
pub(crate) fn requests(handle: &Handle) -> String {
    let now = handle.now();
    let keys = handle.keys();
    let row = |request: &LoggedRequest| {
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let caller = match &request.key {
            Some(id) => keys.iter().find(|key| key.id == *id).map_or(id.as_str(), |key| key.name.as_str()),
            None if request.session => "session",
            None => "nobody",
        };
        let (class, status) = match request.status {
            Some(status) if status < 400 => ("good", status.to_string()),
            Some(status) => ("bad", status.to_string()),
            None => ("bad", "none".to_owned()),
        };
        let remaining = request.remaining.map_or(String::new(), |remaining| remaining.to_string());
        let fault = request.fault.map_or(String::new(), |rule| format!("rule {rule}"));
        format!(
            "<tr><td>{}</td><td class=\"target\">{} {}</td><td>{}</td><td class=\"{class}\">{status}</td>\
             <td class=\"count\" data-label=\"rows\">{}</td><td class=\"count\" data-label=\"left\">{remaining}</td><td>{fault}</td></tr>\n",
            time(request.wall, now),
            escape(&request.method),
            escape(&format!("{}{query}", request.path)),
            escape(caller),
            request.rows,
        )
    };
    let newest = handle.shared.look(|state, _| state.log.newest(SHOWN).cloned().collect::<Vec<_>>());
    let rows: String = newest.iter().map(row).collect();
    let list = if rows.is_empty() {
        "<p>No request yet. A program that sends requests to this address and this key shows up here.</p>".to_owned()
    } else {
        table("Newest requests", &["Time", "Request", "Key", "Status", "Rows", "Left", "Fault"], &rows)
    };
    let clear = button("clear-requests", &[], "Empty the log", "Empty the log of requests");
    let content = format!(
        "{}\n<div class=\"line\">{clear}<a href=\"/_simulator/requests\">All as JSON</a></div>",
        live("request-list", &list)
    );
    section("requests", "Requests", &content)
}

/// The numbers of the account.
pub(crate) fn numbers(handle: &Handle, form: &Form) -> String {
    let counts: Vec<_> =
        handle.shared.look(|state, _| (0..state.numbers.all().len()).map(|index| state.feed.counts(index)).collect());
    let rows: String = handle
        .numbers()
        .iter()
        .zip(counts)
        .map(|(number, counts)| {
            let withdrawn = handle.is_withdrawn(&number.id);
            let phone = number.phone_number.as_str();
            let access = match (withdrawn, number.details.shared) {
                (true, _) => "withdrawn",
                (false, true) => "shared",
                (false, false) => "owned",
            };
            let fields = [("number", number.id.as_str())];
            let change = if withdrawn {
                button("share", &fields, "Share again", &format!("Share again: {phone}"))
            } else {
                button("withdraw", &fields, "Withdraw", &format!("Withdraw {phone}"))
            };
            format!(
                "<tr><td>{}</td><td>{}</td><td>{access}</td><td>{}</td><td class=\"count\">{}</td><td class=\"count\">{}</td><td>{change}</td></tr>\n",
                escape(phone),
                escape(&number.status),
                escape(number.details.service_name.as_deref().unwrap_or_default()),
                counts.messages,
                counts.unread,
            )
        })
        .collect();
    let columns =
        ["Number", "Status", "Access", "Service", "Messages", "Unread", "<span class=\"hidden\">Action</span>"];
    let content = format!(
        "{list}\n<p class=\"hint\">A withdrawn number takes its messages out of the list, and brings them back when it is shared again.</p>\n\
         <form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"share\">\n\
         {number}\n{count}\n{length}\n<button>Share with its history</button></form>\n\
         <form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"number\">\n\
         {phone}\n{service}\n<button>Rent</button></form>",
        list = live("number-list", &table("List of numbers", &columns, &rows)),
        number = field(form, "share", "number", "Share a number", "+16505550123", "inputmode=\"tel\" required"),
        count = field(form, "share", "count", "Messages", "25", "type=\"number\" min=\"0\" max=\"100000\""),
        length = field(form, "share", "length", "Going back", "30d", ""),
        phone = field(form, "number", "phone", "Rent a number", "", "inputmode=\"tel\" placeholder=\"made up\""),
        service = field(form, "number", "service", "Service", "", "placeholder=\"none\""),
    );
    section("numbers", "Numbers", &content)
}

/// The keys of the account.
pub(crate) fn keys(handle: &Handle, form: &Form) -> String {
    let now = handle.now();
    let budgets = handle.budgets();
    let mut first = String::new();
    let rows: String = handle
        .keys()
        .iter()
        .map(|key| {
            let secret = handle.shared.look(|state, _| state.keys.secret(&key.id).unwrap_or_default().to_owned());
            let state = match (key.revoked_at, key.expires_at) {
                (Some(at), _) => format!("revoked {}", time(at, now)),
                (None, Some(at)) if at <= now => format!("expired {}", time(at, now)),
                (None, Some(at)) => format!("until {}", time(at, now)),
                (None, None) => "active".to_owned(),
            };
            let left = budgets.iter().find(|budget| budget.key == key.id);
            let left = left.map_or(String::new(), |left| format!("{} of {}, {} s", left.remaining, left.limit, left.reset));
            let used = key.last_used_at.map_or("never".to_owned(), |at| time(at, now));
            let revoke = match key.revoked_at {
                Some(_) => String::new(),
                None => button("revoke", &[("key", &key.id)], "Revoke", &format!("Revoke the key {}", key.name)),
            };
            let row = format!(
                "<tr><td>{}</td><td><code>{secret}</code></td><td>{state}</td><td>{left}</td><td>{used}</td><td>{revoke}</td></tr>\n",
                escape(&key.name),
            );
            if first.is_empty() {
                first = secret;
            }
            row
        })
        .collect();
    let columns = ["Name", "Key", "State", "Budget left", "Last used", "<span class=\"hidden\">Action</span>"];
    let session = handle.shared.look(|state, _| state.session.clone());
    let foreign = handle.foreign_clients();
    let foreign = foreign.iter().find(|(key, _)| *key == handle.shared.key).map_or(0.0, |(_, per_minute)| *per_minute);
    let content = format!(
        "{list}\n<p class=\"hint\">Programs take the address of this page, without the slash at its end, as the URL of the API.</p>\n<p class=\"hint\">A browser session, for the paths that refuse a key: <code>{session}</code></p>\n\
         <form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"key\">{name}<button>Make</button></form>\n\
         <form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"foreign\">{pace}<button>Set</button></form>",
        list = live("key-list", &table("List of keys", &columns, &rows)),
        name = field(form, "key", "name", "Make a key called", "", "required"),
        pace = field(
            form,
            "foreign",
            "perMinute",
            "Another program with the first key: requests a minute",
            &foreign.to_string(),
            "inputmode=\"decimal\""
        ),
    );
    section("keys", "Keys", &content)
}

/// Returns a value as JSON in HTML.
pub(crate) fn as_json(value: &impl serde::Serialize) -> String {
    escape(&json!(value).to_string())
}
