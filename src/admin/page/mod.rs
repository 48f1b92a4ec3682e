//! The status page. The server writes the whole page, which works without JavaScript; `page.js` keeps it up to date.
//!
//! | file | what it has |
//! |---|---|
//! | `layout.html`, `status.html`, `login.html` | the templates, which escape every value |
//! | `page.css`, `page.js`, `icon.svg` | the files that the page loads |
//! | `query` | the parameters in the address of the page |
//! | `view` | the values of `status.html`, made from the status and the stored messages |
//! | `plot` | the plots of the last hour |
//!
//! Invariant: codes and texts of messages are in the page only if its address asks for them.

mod asset;
mod plot;
mod query;
mod view;

use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

pub(super) use asset::{ICON, PageAsset, SCRIPT, STYLES};
pub(super) use query::{NAMES, NOTICE, PageQuery};
pub(super) use view::PageInput;

use super::settings::Options;
use view::StatusView;

const TEMPLATES: [(&str, &str); 3] = [
    ("layout.html", include_str!("layout.html")),
    ("status.html", include_str!("status.html")),
    ("login.html", include_str!("login.html")),
];

/// The templates. Their names end in `.html`, so minijinja escapes the values that it inserts.
static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
});

/// Why a page cannot be written. Every cause is a bug of a template.
#[derive(Debug, thiserror::Error)]
#[error("the page cannot be written: {0}")]
pub(super) struct UnrenderablePage(String);

#[derive(Serialize)]
struct Layout<'a> {
    base: &'a str,
    title: &'a str,
    styles: &'a str,
    script: &'a str,
    icon: &'a str,
    /// The page without its frame. The body is HTML already, so `layout.html` inserts it unescaped.
    body: String,
}

#[derive(Serialize)]
struct LoginView<'a> {
    base: &'a str,
    mistake: Option<&'a str>,
}

/// Writes the page of the login. `mistake` says what was wrong with the last try to log in.
pub(super) fn login(options: &Options, mistake: Option<&str>) -> Result<String, UnrenderablePage> {
    let body = rendered("login.html", LoginView { base: &options.base_path, mistake })?;
    in_layout(options, "Log in", body)
}

/// Writes the status page.
pub(super) fn status(input: &PageInput<'_>) -> Result<String, UnrenderablePage> {
    let view = StatusView::of(input);
    let title = if view.is_healthy() { "Healthy" } else { "Not healthy" };
    in_layout(input.options, title, rendered("status.html", view)?)
}

fn in_layout(options: &Options, title: &str, body: String) -> Result<String, UnrenderablePage> {
    let [styles, script, icon] = [&STYLES, &SCRIPT, &ICON].map(|asset| asset.address(&options.base_path));
    let (styles, script, icon) = (styles.as_str(), script.as_str(), icon.as_str());
    rendered("layout.html", Layout { base: &options.base_path, title, styles, script, icon, body })
}

fn rendered(name: &str, view: impl Serialize) -> Result<String, UnrenderablePage> {
    let explain = |error: &minijinja::Error| UnrenderablePage(error.to_string());
    let environment = ENVIRONMENT.as_ref().map_err(explain)?;
    let view = Value::from(Serde(view));
    environment.get_template(name).and_then(|template| template.render(view)).map_err(|error| explain(&error))
}
