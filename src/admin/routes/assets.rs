//! `/assets/…`: the files of the page. The addresses in the page have a hash of the content, so browsers may keep the
//! files for ever.

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use super::super::page::{ICON, PageAsset, SCRIPT, STYLES};

pub(in crate::admin) async fn styles() -> Response {
    asset(&STYLES)
}

pub(in crate::admin) async fn script() -> Response {
    asset(&SCRIPT)
}

pub(in crate::admin) async fn icon() -> Response {
    asset(&ICON)
}

fn asset(asset: &PageAsset) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.media_type)),
        (CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable")),
    ];
    (headers, asset.content).into_response()
}
