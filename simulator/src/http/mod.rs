//! HTTP as values: requests, answers, pages and their texts.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod json;
pub(crate) mod page;
pub(crate) mod request;
