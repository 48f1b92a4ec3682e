//! The web page of the simulator at `/`: what the account looks like, and forms that change it.
//!
//! Invariants: the page needs no script, loads nothing from elsewhere, and contains no inline script and no inline
//! style. Its requests are not counted, not logged, and have no faults. A form of another website is refused.

mod escape;
mod forms;
mod frame;
mod presets;
mod sections;
mod steering;

use crate::api::exchange::Reply;
use crate::control::handle::Handle;
use crate::http::answer::{Answer, Content};
use crate::http::body::ReplyBody;
use crate::http::request::Request;
use crate::page::forms::Form;

/// Everything on the page comes from the simulator itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Returns the answer to a request for the page or for one of its two assets; `None` for all other requests.
pub(crate) fn reply(handle: &Handle, request: &Request) -> Option<Reply> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/") => {
            let done = request.parameter("done");
            let notice = done.as_deref().and_then(forms::success).map(frame::Notice::Done);
            Some(page(200, frame::page(handle, notice.as_ref(), &Form::default())))
        }
        ("POST", "/") => Some(post(handle, request)),
        ("GET" | "HEAD", "/_simulator/page.css") => Some(asset("text/css; charset=utf-8", include_str!("page.css"))),
        ("GET" | "HEAD", "/_simulator/page.js") => {
            Some(asset("text/javascript; charset=utf-8", include_str!("page.js")))
        }
        _ => None,
    }
}

/// Carries out a form. A success leads back to the page; a mistake is shown on the page, with the form as it was sent.
fn post(handle: &Handle, request: &Request) -> Reply {
    let form = Form::read(&request.body);
    let done = match request.fetch_site.as_deref() {
        None | Some("same-origin" | "none") => forms::carry_out(handle, &form),
        Some(_) => Err("The form came from another website, so it was refused".to_owned()),
    };
    match done {
        Ok(section) => {
            let mut reply = Reply::plain(Answer { status: 303, content: Content::Empty });
            reply.headers = vec![("location".to_owned(), format!("/?done={}#{section}", form.action()))];
            reply
        }
        Err(why) => page(400, frame::page(handle, Some(&frame::Notice::Failed(&why)), &form)),
    }
}

fn page(status: u16, html: String) -> Reply {
    let mut reply = Reply::plain(Answer { status, content: Content::Html(html) });
    for (name, value) in
        [("content-security-policy", POLICY), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")]
    {
        reply.headers.push((name.to_owned(), value.to_owned()));
    }
    reply
}

fn asset(kind: &str, text: &'static str) -> Reply {
    let headers = [("content-type", kind), ("x-content-type-options", "nosniff"), ("cache-control", "no-cache")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Reply { status: 200, headers, body: ReplyBody::text(text) }
}
