//! The sections that change how the API behaves: faults, time and switches.

use serde_json::{Value, json};

use crate::control::handle::Handle;
use crate::page::escape::escape;
use crate::page::forms::Form;
use crate::page::presets::PRESETS;
use crate::page::sections::{as_json, button, field, live, section};

/// An example of a rule.
const EXAMPLE: &str = r#"{"when": {"path": "/v1/messages", "skip": 2}, "effects": [{"latency": "1s"}, {"status": {"status": 503}}], "times": 3}"#;

/// The faults that are on, and the ones that can be switched on.
pub(crate) fn faults(handle: &Handle, form: &Form) -> String {
    let rules = handle.faults();
    let presets: String = PRESETS
        .iter()
        .map(|preset| {
            let on = rules.iter().any(|(_, rule, _)| preset.is(rule));
            let (action, class, state) = if on { ("fault-off", "on", "on") } else { ("fault-on", "off", "off") };
            format!(
                "<li><form method=\"post\" action=\"/\"><input type=\"hidden\" name=\"action\" value=\"{action}\">\
                 <input type=\"hidden\" name=\"fault\" value=\"{}\"><button class=\"toggle {class}\" aria-pressed=\"{on}\">{} \
                 <span>{state}</span></button></form></li>\n",
                preset.name, preset.label,
            )
        })
        .collect();
    let list: String = rules
        .iter()
        .map(|(number, rule, acted)| {
            let name = number.to_string();
            let remove = button("remove-rule", &[("number", &name)], "Remove", &format!("Remove rule {name}"));
            format!(
                "<li><b>Rule {number}</b>, acts so far: {acted} {remove}<pre tabindex=\"0\">{}</pre></li>\n",
                as_json(rule)
            )
        })
        .collect();
    let list = match list.is_empty() {
        true => "<p>No fault is on.</p>".to_owned(),
        false => {
            format!(
                "<ul class=\"rules\">{list}</ul>{}",
                button("clear-rules", &[], "All off", "All off: no fault is left")
            )
        }
    };
    let kept = form.get("rule").filter(|_| form.action() == "rule").unwrap_or(EXAMPLE);
    let content = format!(
        "<p class=\"hint\">A fault acts on every request below <code>/v1</code> until it is switched off. If several are on, the first \
         one in the list that fits a request acts on it.</p>\n{toggles}\n{list}\n\
         <form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"rule\">\
         <label class=\"wide\">Any rule, as the README describes it <textarea name=\"rule\" rows=\"3\" spellcheck=\"false\">{rule}</textarea></label>\
         <button>Add</button></form>",
        toggles = live("fault-toggles", &format!("<ul class=\"toggles\">\n{presets}</ul>")),
        list = live("rule-list", &list),
        rule = escape(kept),
    );
    section("faults", "Faults", &content)
}

/// The clock, and outages.
pub(crate) fn time(form: &Form) -> String {
    let content = format!(
        "<form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"clock\">{advance}<button>Advance</button></form>\n\
         <form method=\"post\" action=\"/\" class=\"fields\"><input type=\"hidden\" name=\"action\" value=\"outage\">{length}<button>Go down</button></form>",
        advance = field(form, "clock", "advance", "Move the clock ahead by", "1h", "required"),
        length = field(form, "outage", "length", "Be down, this page too, for", "10s", "required"),
    );
    section("time", "Clock and outage", &content)
}

/// The switches.
pub(crate) fn switches(handle: &Handle) -> String {
    let Value::Object(switches) = json!(handle.switches()) else { return String::new() };
    let rows: String = switches
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!(
                "<form method=\"post\" action=\"/\" class=\"line\"><input type=\"hidden\" name=\"action\" value=\"switch\">\
                 <input type=\"hidden\" name=\"name\" value=\"{name}\"><label><code>{name}</code> \
                 <input name=\"value\" value=\"{}\" autocomplete=\"off\" spellcheck=\"false\" required></label>\
                 <button aria-label=\"Set {name}\">Set</button></form>\n",
                escape(&value)
            )
        })
        .collect();
    let content = format!(
        "<p class=\"hint\">How the API behaves where its documentation leaves a point open. The README has the values of each switch.</p>\n\
         <details><summary>All {} switches</summary>\n<div class=\"switches\">{rows}</div></details>",
        switches.len()
    );
    section("switches", "Switches", &content)
}
