//! All messages, and the orders in which they can be read.
//!
//! Invariants: a message keeps its slot for ever, even after it has vanished. Every message that has not vanished is
//! exactly once in `order`, in `recent`, in the order of its number and in the order of its sender, at the place that
//! the switches give to the message. When a switch that decides about places changes, all orders are built again.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use crate::feed::message::Message;
use crate::feed::number::Counts;
use crate::feed::ranked::Ranked;
use crate::switches::{Since, SortBy, Switches, Ties};

/// The messages of the account.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) entries: Entries,
    /// The messages in the order of the list, newest first.
    pub(crate) order: Ranked,
    /// The messages by the time that `since` is compared with, newest first.
    pub(crate) recent: Ranked,
    pub(crate) of_number: Vec<Ranked>,
    pub(crate) of_sender: HashMap<Box<str>, Ranked>,
    unread: Vec<usize>,
    by_id: HashMap<Box<str>, u32>,
    arrivals: u64,
}

/// The messages in their slots, and the rules of their order.
#[derive(Debug)]
pub(crate) struct Entries {
    list: Vec<Entry>,
    rules: Rules,
    /// Whether a message was ever moved by hand.
    moved: bool,
    /// For each number: whether the account has lost access to the number, so that none of its messages is in the list.
    withdrawn: Vec<bool>,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    /// The time by which the list is sorted.
    sort_ms: i64,
    /// The time under which the message is listed, if a test has moved the message.
    moved_ms: Option<i64>,
    arrival: u64,
    vanished: bool,
}

/// The switches that decide about places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    sort_by: SortBy,
    ties: Ties,
    disorder_ms: i64,
    since: Since,
}

impl Rules {
    fn of(switches: &Switches) -> Self {
        Self {
            sort_by: switches.sort_by,
            ties: switches.ties,
            disorder_ms: i64::try_from(switches.disorder.as_millis()).unwrap_or(i64::MAX / 4),
            since: switches.since,
        }
    }

    fn sort_ms(self, message: &Message) -> i64 {
        let ms = match self.sort_by {
            SortBy::ReceivedAt => message.received_ms,
            SortBy::IngestedAt => message.ingested_ms,
        };
        if self.disorder_ms == 0 {
            return ms;
        }
        // The error depends only on the id, so that a message stays in its place from one page to the next.
        let seed = message.id.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        ms.saturating_add(fastrand::Rng::with_seed(seed).i64(-self.disorder_ms..=self.disorder_ms))
    }
}

impl Entries {
    pub(crate) fn message(&self, slot: u32) -> &Message {
        &self.entry(slot).message
    }

    /// Returns whether a message is not in the list, because it has vanished, or because its number was withdrawn.
    pub(crate) fn vanished(&self, slot: u32) -> bool {
        let entry = self.entry(slot);
        entry.vanished || self.is_withdrawn(entry.message.number)
    }

    fn is_withdrawn(&self, number: usize) -> bool {
        self.withdrawn.get(number).copied().unwrap_or(false)
    }

    /// Returns the time by which this message is sorted. The cursor that names this message contains it.
    pub(crate) fn sort_ms(&self, slot: u32) -> i64 {
        self.entry(slot).sort_ms
    }

    /// Returns the time that `since` is compared with.
    pub(crate) fn since_ms(&self, slot: u32) -> i64 {
        let message = self.message(slot);
        if self.rules.since == Since::IngestedAt { message.ingested_ms } else { message.received_ms }
    }

    /// Whether the list is sorted by the time that `since` is compared with. In such a list, the first row that is too
    /// old ends the search: all rows after it are too old as well.
    pub(crate) fn sorted_by_since(&self) -> bool {
        let same = matches!(
            (self.rules.sort_by, self.rules.since),
            (SortBy::ReceivedAt, Since::ReceivedAt) | (SortBy::IngestedAt, Since::IngestedAt)
        );
        same && self.rules.disorder_ms == 0 && !self.moved
    }

    /// Compares two messages by the order of the list, newest first.
    pub(crate) fn compare(&self, left: u32, right: u32) -> Ordering {
        let (one, two) = (self.entry(left), self.entry(right));
        two.sort_ms.cmp(&one.sort_ms).then_with(|| match self.rules.ties {
            Ties::IdDescending => two.message.id.cmp(&one.message.id),
            Ties::IdAscending => one.message.id.cmp(&two.message.id),
            Ties::NewestFirst => two.arrival.cmp(&one.arrival),
            Ties::OldestFirst => one.arrival.cmp(&two.arrival),
        })
    }

    /// Whether a message stands in the list before the row that a cursor names, or is that row. `known` is the message
    /// of that row, if the feed knows it.
    pub(crate) fn up_to(&self, slot: u32, cursor: &crate::feed::cursor::Cursor, known: Option<u32>) -> bool {
        let entry = self.entry(slot);
        let arrival = known.map(|known| self.entry(known).arrival);
        let tie = match self.rules.ties {
            Ties::IdDescending => cursor.id.as_str().cmp(&entry.message.id),
            Ties::IdAscending => entry.message.id.as_ref().cmp(&cursor.id),
            // If the message of that row is not known, neither is its arrival. Then no message with the same time
            // counts as standing before that row: such a message is rather shown twice than skipped.
            Ties::NewestFirst => arrival.map_or(Ordering::Greater, |arrival| arrival.cmp(&entry.arrival)),
            Ties::OldestFirst => arrival.map_or(Ordering::Greater, |arrival| entry.arrival.cmp(&arrival)),
        };
        cursor.ms.cmp(&entry.sort_ms).then(tie) != Ordering::Greater
    }

    fn compare_recent(&self, left: u32, right: u32) -> Ordering {
        (Reverse(self.since_ms(left)), left).cmp(&(Reverse(self.since_ms(right)), right))
    }

    fn entry(&self, slot: u32) -> &Entry {
        &self.list[slot as usize]
    }
}

impl Feed {
    pub(crate) fn new(switches: &Switches) -> Self {
        Self {
            entries: Entries { list: Vec::new(), rules: Rules::of(switches), moved: false, withdrawn: Vec::new() },
            order: Ranked::default(),
            recent: Ranked::default(),
            of_number: Vec::new(),
            of_sender: HashMap::new(),
            unread: Vec::new(),
            by_id: HashMap::new(),
            arrivals: 0,
        }
    }

    /// Returns the number of messages in the list.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns all slots, including slots of vanished messages, in the order in which the messages were first added.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + use<> {
        // `add` adds no more messages than a slot can count.
        0..u32::try_from(self.entries.list.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn counts(&self, number: usize) -> Counts {
        let newest = self.of_number.get(number).and_then(|order| order.iter().next());
        Counts {
            messages: self.of_number.get(number).map_or(0, Ranked::len),
            unread: self.unread.get(number).copied().unwrap_or(0),
            last_ms: newest.map(|slot| self.entries.message(slot).received_ms),
        }
    }

    /// Adds messages. A message whose id exists already replaces the existing message.
    pub(crate) fn add(&mut self, messages: Vec<Message>) {
        // Building all orders costs as much as inserting about a quarter of the messages.
        let rebuild = messages.len() > 1000 && messages.len() > self.len() / 4;
        for message in messages {
            self.arrivals += 1;
            let sort_ms = self.entries.rules.sort_ms(&message);
            let entry = Entry { message, sort_ms, moved_ms: None, arrival: self.arrivals, vanished: false };
            let slot = match self.find(&entry.message.id) {
                Some(slot) => {
                    if !rebuild && !self.entries.vanished(slot) {
                        self.take_out(slot);
                    }
                    self.entries.list[slot as usize] = entry;
                    slot
                }
                None => {
                    let Ok(slot) = u32::try_from(self.entries.list.len()) else { return };
                    self.by_id.insert(entry.message.id.clone(), slot);
                    self.entries.list.push(entry);
                    slot
                }
            };
            if !rebuild && !self.entries.vanished(slot) {
                self.put_in(slot);
            }
        }
        if rebuild {
            self.build_orders();
        }
    }

    /// Removes a message from the list. Returns whether the message was there.
    pub(crate) fn vanish(&mut self, id: &str) -> bool {
        let Some(slot) = self.find(id).filter(|&slot| !self.entries.vanished(slot)) else { return false };
        self.take_out(slot);
        self.entries.list[slot as usize].vanished = true;
        true
    }

    /// Puts a vanished message back. Returns whether the message had vanished.
    pub(crate) fn restore(&mut self, id: &str) -> bool {
        let Some(slot) = self.find(id).filter(|&slot| self.entries.entry(slot).vanished) else { return false };
        self.entries.list[slot as usize].vanished = false;
        if !self.entries.vanished(slot) {
            self.put_in(slot);
        }
        true
    }

    /// Lists a message as if it had this time, whatever time the message shows. Returns whether the message is there.
    pub(crate) fn relocate(&mut self, id: &str, ms: i64) -> bool {
        let Some(slot) = self.find(id).filter(|&slot| !self.entries.vanished(slot)) else { return false };
        self.take_out(slot);
        let entry = &mut self.entries.list[slot as usize];
        (entry.moved_ms, entry.sort_ms) = (Some(ms), ms);
        self.entries.moved = true;
        self.put_in(slot);
        true
    }

    /// Removes all messages for good.
    pub(crate) fn clear(&mut self, switches: &Switches) {
        let withdrawn = std::mem::take(&mut self.entries.withdrawn);
        *self = Self::new(switches);
        self.entries.withdrawn = withdrawn;
    }

    /// Whether the account has lost access to a number.
    pub(crate) fn is_withdrawn(&self, number: usize) -> bool {
        self.entries.is_withdrawn(number)
    }

    /// Takes all messages of a number out of the list, or puts them back. A message that has vanished by itself does
    /// not come back. Returns whether this changes anything.
    pub(crate) fn withdraw(&mut self, number: usize, withdrawn: bool) -> bool {
        let changed = self.is_withdrawn(number) != withdrawn;
        if changed {
            *grow(&mut self.entries.withdrawn, number) = withdrawn;
            self.build_orders();
        }
        changed
    }

    /// Marks a message as read. Returns whether the message was unread, or `None` if the message is not in the list.
    pub(crate) fn mark_read(&mut self, id: &str) -> Option<bool> {
        let slot = self.find(id).filter(|&slot| !self.entries.vanished(slot))?;
        Some(self.read(slot))
    }

    /// Marks all messages in the list as read, or all messages of one number. Returns how many of the messages were
    /// unread.
    pub(crate) fn mark_all_read(&mut self, number: Option<usize>) -> usize {
        let order = number.map_or(Some(&self.order), |number| self.of_number.get(number));
        let slots: Vec<u32> = order.map(|order| order.iter().collect()).unwrap_or_default();
        slots.into_iter().filter(|&slot| self.read(slot)).count()
    }

    fn read(&mut self, slot: u32) -> bool {
        let message = &mut self.entries.list[slot as usize].message;
        let was_unread = !std::mem::replace(&mut message.is_read, true);
        self.unread[message.number] -= usize::from(was_unread);
        was_unread
    }

    /// Applies new switches.
    pub(crate) fn obey(&mut self, switches: &Switches) {
        let rules = Rules::of(switches);
        if rules != self.entries.rules {
            self.entries.rules = rules;
            for entry in &mut self.entries.list {
                entry.sort_ms = entry.moved_ms.unwrap_or_else(|| rules.sort_ms(&entry.message));
            }
            self.build_orders();
        }
    }

    fn build_orders(&mut self) {
        let mut slots: Vec<u32> = self.slots().filter(|&slot| !self.entries.vanished(slot)).collect();
        slots.sort_unstable_by(|&left, &right| self.entries.compare_recent(left, right));
        self.recent = Ranked::from_sorted(&slots);
        slots.sort_unstable_by(|&left, &right| self.entries.compare(left, right));
        self.order = Ranked::from_sorted(&slots);
        let mut of_number: Vec<Vec<u32>> = Vec::new();
        let mut of_sender: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        self.unread.fill(0);
        for slot in slots {
            let message = self.entries.message(slot);
            grow(&mut of_number, message.number).push(slot);
            *grow(&mut self.unread, message.number) += usize::from(!message.is_read);
            match of_sender.get_mut(&message.from) {
                Some(order) => order.push(slot),
                None => drop(of_sender.insert(message.from.clone(), vec![slot])),
            }
        }
        self.of_number = of_number.iter().map(|slots| Ranked::from_sorted(slots)).collect();
        self.of_sender = of_sender.into_iter().map(|(from, slots)| (from, Ranked::from_sorted(&slots))).collect();
    }

    fn put_in(&mut self, slot: u32) {
        let Self { entries, order, recent, of_number, of_sender, unread, .. } = self;
        let message = entries.message(slot);
        let before = |other: u32| entries.compare(other, slot).is_lt();
        order.insert(slot, before);
        grow(of_number, message.number).insert(slot, before);
        match of_sender.get_mut(&message.from) {
            Some(order) => order.insert(slot, before),
            None => drop(of_sender.insert(message.from.clone(), Ranked::from_sorted(&[slot]))),
        }
        recent.insert(slot, |other| entries.compare_recent(other, slot).is_lt());
        *grow(unread, message.number) += usize::from(!message.is_read);
    }

    fn take_out(&mut self, slot: u32) {
        let Self { entries, order, recent, of_number, of_sender, unread, .. } = self;
        let message = entries.message(slot);
        let before = |other: u32| entries.compare(other, slot).is_lt();
        let mut found = order.remove(slot, before);
        found &= of_number[message.number].remove(slot, before);
        found &= of_sender.get_mut(&message.from).is_some_and(|order| order.remove(slot, before));
        found &= recent.remove(slot, |other| entries.compare_recent(other, slot).is_lt());
        unread[message.number] -= usize::from(!message.is_read);
        debug_assert!(found, "a message in the list is in every order");
    }
}

/// Returns the element at an index of a list. A list that is too short grows.
fn grow<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    if list.len() <= index {
        list.resize_with(index + 1, T::default);
    }
    &mut list[index]
}
