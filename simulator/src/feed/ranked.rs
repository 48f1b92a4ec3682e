//! A sorted sequence of slots that knows how many slots lie before a place, so that `total` needs no counting.
//!
//! A tree of the standard library finds a place as fast, but does not know the rank of the place. Invariants: no block
//! is empty, and no block is longer than [`BLOCK`]. The caller defines the order and passes it as a predicate ("lies
//! before the place") that is true for a prefix of the sequence and false for the rest.

/// The longest block. It is so long that a million slots are a thousand blocks, and so short that an insertion moves a
/// few kilobytes.
const BLOCK: usize = 1024;

/// Slots in an order that the caller defines.
#[derive(Debug, Default)]
pub(crate) struct Ranked {
    blocks: Vec<Vec<u32>>,
    length: usize,
}

/// A place between two slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    block: usize,
    offset: usize,
}

impl Ranked {
    pub(crate) const EMPTY: Self = Self { blocks: Vec::new(), length: 0 };

    /// Makes a sequence from slots that are already in order.
    pub(crate) fn from_sorted(slots: &[u32]) -> Self {
        // Blocks begin half full, so that the next insertions need not split them.
        Self { blocks: slots.chunks(BLOCK / 2).map(<[u32]>::to_vec).collect(), length: slots.len() }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Returns the place after all slots for which `before` holds.
    pub(crate) fn place(&self, before: impl Fn(u32) -> bool) -> Place {
        let block = self.blocks.partition_point(|block| block.last().is_some_and(|&slot| before(slot)));
        let offset = self.blocks.get(block).map_or(0, |block| block.partition_point(|&slot| before(slot)));
        Place { block, offset }
    }

    /// Returns how many slots lie before `place`.
    pub(crate) fn rank(&self, place: Place) -> usize {
        self.blocks[..place.block].iter().map(Vec::len).sum::<usize>() + place.offset
    }

    /// Returns the slots from `place` to the end.
    pub(crate) fn from(&self, place: Place) -> impl Iterator<Item = u32> {
        let (first, rest) = match self.blocks.get(place.block..) {
            Some([first, rest @ ..]) => (&first[place.offset..], rest),
            _ => (&[][..], &[][..]),
        };
        first.iter().chain(rest.iter().flatten()).copied()
    }

    /// Returns all slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.blocks.iter().flatten().copied()
    }

    /// Inserts a slot after the slots for which `before` holds.
    pub(crate) fn insert(&mut self, slot: u32, before: impl Fn(u32) -> bool) {
        self.length += 1;
        let Some(last) = self.blocks.len().checked_sub(1) else {
            self.blocks.push(vec![slot]);
            return;
        };
        let mut place = self.place(before);
        if place.block > last {
            place = Place { block: last, offset: self.blocks[last].len() };
        }
        let block = &mut self.blocks[place.block];
        block.insert(place.offset, slot);
        if block.len() > BLOCK {
            let tail = block.split_off(BLOCK / 2);
            self.blocks.insert(place.block + 1, tail);
        }
    }

    /// Removes the slot if it follows directly after the slots for which `before` holds. Returns whether it did.
    pub(crate) fn remove(&mut self, slot: u32, before: impl Fn(u32) -> bool) -> bool {
        let place = self.place(before);
        let Some(block) = self.blocks.get_mut(place.block) else { return false };
        if block.get(place.offset) != Some(&slot) {
            return false;
        }
        block.remove(place.offset);
        if block.is_empty() {
            self.blocks.remove(place.block);
        }
        self.length -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain sorted vector gives the same results for the same operations. The operations include insertions that
    /// split blocks and removals that empty blocks.
    #[test]
    fn agrees_with_a_sorted_vector() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut ranked = Ranked::default();
        let mut plain: Vec<u32> = Vec::new();
        for step in 0..20_000_u32 {
            let value = random.u32(0..8_000);
            let place = plain.partition_point(|&other| other < value);
            let present = plain.get(place) == Some(&value);
            if present {
                assert!(ranked.remove(value, |other| other < value));
                plain.remove(place);
            } else {
                assert!(!ranked.remove(value, |other| other < value));
                ranked.insert(value, |other| other < value);
                plain.insert(place, value);
            }
            assert_eq!(ranked.len(), plain.len());
            let probe = random.u32(0..8_001);
            let found = ranked.place(|other| other < probe);
            let expected = plain.partition_point(|&other| other < probe);
            assert_eq!(ranked.rank(found), expected, "step {step}");
            assert_eq!(ranked.from(found).next(), plain.get(expected).copied());
        }
        assert!(ranked.blocks.len() > 3, "the test must split blocks");
        assert_eq!(ranked.iter().collect::<Vec<_>>(), plain);
        assert_eq!(Ranked::from_sorted(&plain).iter().collect::<Vec<_>>(), plain);
        for &value in &plain.clone() {
            assert!(ranked.remove(value, |other| other < value));
        }
        assert_eq!((ranked.len(), ranked.iter().next()), (0, None));
    }
}
