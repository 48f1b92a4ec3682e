//! Finds one page of messages: its rows, whether more rows follow, and the total number of rows.
//!
//! Invariant: for a page with at most one filter, about as many messages are read as the page shows, however many
//! messages there are. Only two cases may read more. A search with several filters at once reads the shortest order
//! that contains all wanted messages. If the list is sorted by another time than the one that `since` is compared with,
//! the last pages of a long result read the whole result or the rest of the list.

use crate::feed::cursor::Cursor;
use crate::feed::list::Feed;
use crate::feed::ranked::Ranked;
use crate::switches::{Since, Switches};

/// A request for a page, after its parameters were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    pub(crate) number: Option<usize>,
    pub(crate) from: Option<String>,
    pub(crate) since_ms: Option<i64>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) limit: usize,
}

/// The page that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) slots: Vec<u32>,
    pub(crate) more: bool,
    pub(crate) total: usize,
}

impl Feed {
    pub(crate) fn search(&self, search: &Search, switches: &Switches) -> Found {
        match (search.since_ms, switches.since) {
            (Some(_), Since::MatchesNothing) => Found { slots: Vec::new(), more: false, total: 0 },
            (Some(since), Since::ReceivedAt | Since::IngestedAt) => {
                let least = if switches.since_inclusive { since } else { since.saturating_add(1) };
                self.search_since(search, least)
            }
            _ => self.search_all(search),
        }
    }

    fn search_all(&self, search: &Search) -> Found {
        let base = self.base(search);
        let slots = base.from(self.start(base, search)).filter(|&slot| self.matches(slot, search));
        let slots = slots.take(search.limit + 1).collect();
        let two_filters = search.number.is_some() && search.from.is_some();
        let total =
            if two_filters { base.iter().filter(|&slot| self.matches(slot, search)).count() } else { base.len() };
        found(slots, search.limit, total)
    }

    /// Walks along two orders at once, one step each, until one of the walks has found the page. One walk goes down the
    /// list and skips messages that are too old. The other goes down the messages that are recent enough. The second
    /// walk is short if few messages are recent; the first is short if most messages are recent.
    fn search_since(&self, search: &Search, least: i64) -> Found {
        let recent = |slot: u32| self.entries.since_ms(slot) >= least;
        let base = self.base(search);
        let recent_count = self.recent.rank(self.recent.place(recent));
        let total = if search.number.is_none() && search.from.is_none() {
            recent_count
        } else if recent_count < base.len() {
            self.recent.iter().take(recent_count).filter(|&slot| self.matches(slot, search)).count()
        } else {
            base.iter().filter(|&slot| recent(slot) && self.matches(slot, search)).count()
        };

        let sorted = self.entries.sorted_by_since();
        let start = self.start(base, search);
        let mut listed = base.from(start);
        let mut recents = self.recent.iter().take(recent_count);
        let (mut by_list, mut by_time) = (Vec::new(), Vec::new());
        loop {
            match listed.next() {
                Some(slot) if recent(slot) && self.matches(slot, search) => by_list.push(slot),
                Some(slot) if sorted && !recent(slot) => return found(by_list, search.limit, total),
                Some(_) => {}
                None => return found(by_list, search.limit, total),
            }
            if by_list.len() > search.limit {
                return found(by_list, search.limit, total);
            }
            match recents.next() {
                Some(slot) if self.matches(slot, search) && self.behind_cursor(slot, search) => by_time.push(slot),
                Some(_) => {}
                None => {
                    by_time.sort_unstable_by(|&left, &right| self.entries.compare(left, right));
                    return found(by_time, search.limit, total);
                }
            }
        }
    }

    /// Returns the shortest order that contains all wanted messages.
    fn base(&self, search: &Search) -> &Ranked {
        static EMPTY: Ranked = Ranked::EMPTY;
        let of_number = search.number.map(|number| self.of_number.get(number).unwrap_or(&EMPTY));
        let of_sender = search.from.as_deref().map(|from| self.of_sender.get(from).unwrap_or(&EMPTY));
        match (of_number, of_sender) {
            (Some(number), Some(sender)) if number.len() < sender.len() => number,
            (_, Some(sender)) => sender,
            (Some(number), None) => number,
            (None, None) => &self.order,
        }
    }

    fn start(&self, base: &Ranked, search: &Search) -> crate::feed::ranked::Place {
        base.place(|slot| !self.behind_cursor(slot, search))
    }

    fn behind_cursor(&self, slot: u32, search: &Search) -> bool {
        search.cursor.as_ref().is_none_or(|cursor| !self.entries.up_to(slot, cursor, self.find(&cursor.id)))
    }

    fn matches(&self, slot: u32, search: &Search) -> bool {
        let message = self.entries.message(slot);
        search.number.is_none_or(|number| message.number == number)
            && search.from.as_deref().is_none_or(|from| *message.from == *from)
    }
}

fn found(mut slots: Vec<u32>, limit: usize, total: usize) -> Found {
    let more = slots.len() > limit;
    slots.truncate(limit);
    Found { slots, more, total }
}
