//! The page as a whole: its head, the notice after a form, and the sections in their order.

use crate::control::handle::Handle;
use crate::page::escape::escape;
use crate::page::forms::Form;
use crate::page::{sections, steering};

/// The result of the last form.
pub(crate) enum Notice<'a> {
    Done(&'a str),
    Failed(&'a str),
}

impl Notice<'_> {
    fn html(&self) -> String {
        match self {
            Self::Done(text) => format!("<p class=\"notice\" role=\"status\">{}</p>", escape(text)),
            Self::Failed(text) => {
                format!("<p class=\"notice failed\" role=\"alert\">Nothing was changed. {}</p>", escape(text))
            }
        }
    }
}

/// Returns the HTML of the page. `form` is a form that failed, whose fields keep their texts.
pub(crate) fn page(handle: &Handle, notice: Option<&Notice<'_>>, form: &Form) -> String {
    let notice = notice.map(Notice::html).unwrap_or_default();
    let body = [
        sections::send(handle, form),
        sections::messages(handle),
        sections::requests(handle),
        sections::numbers(handle, form),
        sections::keys(handle, form),
        steering::time(form),
        steering::faults(handle, form),
        steering::switches(handle),
    ]
    .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>JoltSMS simulator</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/_simulator/page.css\">\n\
         <script src=\"/_simulator/page.js\" defer></script>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#send\">To the form</a>\n\
         <header>\n<h1>JoltSMS simulator</h1>\n{summary}\n\
         <p id=\"connection\" role=\"status\"></p>\n</header>\n<main>\n{notice}\n{body}</main>\n\
         <footer><p>A simulated account: nothing here is real, and nothing leaves this machine. Times are UTC. \
         Everything on this page can be done with <code>curl</code>, too: <a href=\"/_simulator\">the routes</a>.</p>\
         </footer>\n</body>\n</html>\n",
        summary = sections::summary(handle),
    )
}
