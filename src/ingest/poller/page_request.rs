//! A request for messages that is under way: what it asks for, and the values with which it was sent.

use super::api_link::InFlightRequest;
use crate::api::{PAGE_ROWS, Response};
use crate::domain::{Cursor, WalkId};
use crate::ingest::feed::PageFuture;

/// The kind of page that a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PageKind {
    /// A page of a head poll. Without a `cursor` it is the newest page. With a `cursor` it is a deeper page: the pages
    /// above it have only rows dated ahead, or no rows.
    Head { cursor: Option<Cursor> },
    /// A page of a walk. `pages_left` is the number of pages that the head lane may still read of this walk, this page
    /// included. In the background lane it is 0.
    Walk { id: WalkId, pages_left: u32 },
}

impl PageKind {
    pub(super) fn walk(&self) -> Option<WalkId> {
        match self {
            Self::Walk { id, .. } => Some(*id),
            Self::Head { .. } => None,
        }
    }
}

/// A request for messages under way.
pub(super) struct PageRequest {
    pub(super) kind: PageKind,
    /// The cursor that is sent with the request; `None` for the newest page.
    pub(super) cursor: Option<Cursor>,
    /// How many rows the request asks for.
    pub(super) limit: u32,
    pub(super) request: InFlightRequest<PageFuture>,
}

/// Waits for the answer to a request. Without a request this future never ends.
pub(super) async fn answer_of(in_flight: &mut Option<PageRequest>) -> Response {
    match in_flight {
        Some(in_flight) => in_flight.request.answer().await,
        None => std::future::pending().await,
    }
}

/// Returns how many rows are asked for after a page of `limit` rows could not be read: first one row, then one more
/// each time. A page of another length may be readable. For example, if the last row of a page makes the cursor
/// unreadable, a page with another last row has another cursor.
pub(super) fn next_smaller(limit: u32) -> u32 {
    if limit >= PAGE_ROWS { 1 } else { limit + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_of_page_is_tried() {
        let sizes: Vec<u32> =
            std::iter::successors(Some(PAGE_ROWS), |limit| Some(next_smaller(*limit))).take(12).collect();
        assert_eq!(sizes, [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1]);
    }
}
