//! The files that the page loads.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// A file that the page loads.
#[derive(Debug)]
pub(in crate::admin) struct PageAsset {
    name: &'static str,
    pub(in crate::admin) media_type: &'static str,
    pub(in crate::admin) content: &'static str,
    hash: LazyLock<String>,
}

/// The styles of the page.
pub(in crate::admin) static STYLES: PageAsset = PageAsset {
    name: "page.css",
    media_type: "text/css; charset=utf-8",
    content: include_str!("page.css"),
    hash: LazyLock::new(|| hash_of(include_str!("page.css"))),
};

/// The script of the page.
pub(in crate::admin) static SCRIPT: PageAsset = PageAsset {
    name: "page.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_str!("page.js"),
    hash: LazyLock::new(|| hash_of(include_str!("page.js"))),
};

/// The icon of the page.
pub(in crate::admin) static ICON: PageAsset = PageAsset {
    name: "icon.svg",
    media_type: "image/svg+xml",
    content: include_str!("icon.svg"),
    hash: LazyLock::new(|| hash_of(include_str!("icon.svg"))),
};

impl PageAsset {
    /// Returns the address of the file below the base path. The address changes with the content.
    pub(super) fn address(&self, base: &str) -> String {
        format!("{base}/assets/{}?{}", self.name, *self.hash)
    }
}

fn hash_of(content: &str) -> String {
    hex::encode(&Sha256::digest(content)[..8])
}
