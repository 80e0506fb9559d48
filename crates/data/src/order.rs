//! The order of rows as arithmetic: nothing is stored, any position can be asked for.
//!
//! Blocks are permuted, laid end to end and cut into groups; inside a group all rows are permuted. Both permutations
//! are functions of (seed, epoch). This order is part of the state's format: a change here is a new format version.

use std::ops::Range;

/// The finaliser of `SplitMix64`: a bijection of 64-bit words that mixes well.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// A key from a list of numbers: `SplitMix64` steps that take one number each.
pub(crate) fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |state, part| mix((state ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15)))
}

/// A keyed permutation of `0..length`: a Feistel network over the next power of four, walked until it lands inside.
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    length: u64,
    half_bits: u32,
    key: u64,
}

impl Permutation {
    const ROUNDS: u64 = 6;
    /// Halves narrower than this mix badly; short ranges walk a little longer instead.
    const MIN_HALF_BITS: u32 = 3;

    /// The permutation of `0..length` under `key`.
    ///
    /// # Panics
    /// If `length` is 0 or above 2^62.
    pub fn new(length: u64, key: u64) -> Self {
        assert!((1..=1 << 62).contains(&length), "cannot permute {length} things");
        let bits = 64 - (length - 1).leading_zeros();
        Self { length, half_bits: bits.div_ceil(2).max(Self::MIN_HALF_BITS), key }
    }

    /// Where `index` goes.
    ///
    /// # Panics
    /// If `index` is not below the length.
    pub fn apply(&self, index: u64) -> u64 {
        assert!(index < self.length, "{index} is not below {}", self.length);
        let mut at = index;
        loop {
            at = self.shuffle(at);
            if at < self.length {
                return at;
            }
        }
    }

    fn shuffle(&self, word: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (word >> self.half_bits, word & mask);
        for round in 0..Self::ROUNDS {
            let scrambled = mix(right ^ mix(self.key.wrapping_add(round)));
            (left, right) = (right, left ^ (scrambled & mask));
        }
        left << self.half_bits | right
    }
}

/// The rows and bytes of a block, as far as the order needs them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSize {
    pub(crate) rows: u32,
    pub(crate) bytes: u64,
}

/// A group closes before the block that would take it past this many bytes: its blocks are in memory together.
const MAX_GROUP_BYTES: u64 = 256 << 20;

/// What all epochs of one pool of files share.
#[derive(Debug)]
pub(crate) struct Order {
    key: u64,
    shuffle_blocks: usize,
    blocks: Vec<BlockSize>,
    /// Runs of blocks that move together: one block, or all those of a file that cannot seek.
    units: Vec<Range<u32>>,
    num_rows: u64,
}

impl Order {
    pub(crate) fn new(
        key: u64,
        shuffle_blocks: usize,
        blocks: Vec<BlockSize>,
        units: Vec<Range<u32>>,
    ) -> Self {
        let num_rows = blocks.iter().map(|block| u64::from(block.rows)).sum();
        Self { key, shuffle_blocks, blocks, units, num_rows }
    }

    /// Rows of one epoch.
    pub(crate) fn num_rows(&self) -> u64 {
        self.num_rows
    }

    /// Lays out one epoch; costs one pass over the block table.
    ///
    /// # Panics
    /// If there are no blocks.
    pub(crate) fn epoch(&self, epoch: u64) -> Epoch {
        let permutation = Permutation::new(self.units.len() as u64, key(&[self.key, epoch, 0]));
        let mut laid = Epoch {
            number: epoch,
            key: self.key,
            blocks: Vec::new(),
            starts: Vec::new(),
            groups: Vec::new(),
        };
        let (mut row, mut group_bytes) = (0, 0);
        for place in 0..self.units.len() as u64 {
            for block in self.units[permutation.apply(place) as usize].clone() {
                let size = self.blocks[block as usize];
                let members = laid.groups.last().map_or(usize::MAX, |first| laid.blocks.len() - first);
                if members >= self.shuffle_blocks || group_bytes + size.bytes > MAX_GROUP_BYTES {
                    laid.groups.push(laid.blocks.len());
                    group_bytes = 0;
                }
                laid.blocks.push(block);
                laid.starts.push(row);
                row += u64::from(size.rows);
                group_bytes += size.bytes;
            }
        }
        laid.starts.push(row);
        laid.groups.push(laid.blocks.len());
        laid
    }
}

/// One epoch's order.
#[derive(Debug)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    key: u64,
    /// Blocks in their order.
    blocks: Vec<u32>,
    /// First row of each of them, and the number of rows.
    starts: Vec<u64>,
    /// First block (by place) of each group, and the number of blocks.
    groups: Vec<usize>,
}

/// A row found by its place in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) group: usize,
    pub(crate) block: u32,
    pub(crate) row: u32,
}

impl Epoch {
    /// The row that comes at `index`.
    pub(crate) fn locate(&self, index: u64) -> Located {
        let place = self.starts.partition_point(|start| *start <= index) - 1;
        let group = self.groups.partition_point(|first| *first <= place) - 1;
        let members = self.groups[group]..self.groups[group + 1];
        let (first, end) = (self.starts[members.start], self.starts[members.end]);
        let permutation = Permutation::new(end - first, key(&[self.key, self.number, 1, group as u64]));
        let row = first + permutation.apply(index - first);
        let place = members.start + self.starts[members].partition_point(|start| *start <= row) - 1;
        Located { group, block: self.blocks[place], row: (row - self.starts[place]) as u32 }
    }

    /// The blocks of a group, in their order.
    pub(crate) fn group(&self, group: usize) -> &[u32] {
        &self.blocks[self.groups[group]..self.groups[group + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors_pin_the_order() {
        assert_eq!(
            mix(0x9E37_79B9_7F4A_7C15),
            0xE220_A839_7B1D_CDAF,
            "first output of SplitMix64 seeded with 0"
        );
        let permutation = Permutation::new(10, key(&[1, 2, 3]));
        let order: Vec<u64> = (0..10).map(|index| permutation.apply(index)).collect();
        assert_eq!(order, [4, 9, 3, 2, 8, 6, 7, 1, 0, 5], "agrees with an independent Python version");
    }

    fn orders() -> impl Strategy<Value = Order> {
        let file = (prop::collection::vec((1u32..30, 0u64..(100 << 20)), 1..6), any::<bool>());
        (prop::collection::vec(file, 1..6), 1usize..5, any::<u64>()).prop_map(
            |(files, shuffle_blocks, key)| {
                let (mut blocks, mut units) = (Vec::new(), Vec::new());
                for (sizes, seekable) in files {
                    let first = blocks.len() as u32;
                    blocks.extend(sizes.iter().map(|&(rows, bytes)| BlockSize { rows, bytes }));
                    if seekable {
                        units.extend((first..blocks.len() as u32).map(|block| block..block + 1));
                    } else {
                        units.push(first..blocks.len() as u32);
                    }
                }
                Order::new(key, shuffle_blocks, blocks, units)
            },
        )
    }

    proptest! {
        #[test]
        fn feistel_is_a_bijection(length in 1u64..3000, key: u64) {
            let permutation = Permutation::new(length, key);
            let mut seen = vec![false; length as usize];
            for index in 0..length {
                let to = permutation.apply(index) as usize;
                prop_assert!(!std::mem::replace(&mut seen[to], true));
            }
        }

        #[test]
        fn feistel_covers_wide_ranges(length in 1u64..=1 << 62, index: u64, key: u64) {
            prop_assert!(Permutation::new(length, key).apply(index % length) < length);
        }

        #[test]
        fn an_epoch_is_a_permutation_of_all_rows(order in orders(), number in 0u64..5) {
            let epoch = order.epoch(number);
            let mut rows: Vec<(u32, u32)> = Vec::new();
            for index in 0..order.num_rows() {
                let located = epoch.locate(index);
                prop_assert!(epoch.group(located.group).contains(&located.block));
                rows.push((located.block, located.row));
            }
            rows.sort_unstable();
            let all = (0u32..).zip(&order.blocks).flat_map(|(block, size)| (0..size.rows).map(move |row| (block, row)));
            prop_assert_eq!(rows, all.collect::<Vec<_>>());
        }

        #[test]
        fn groups_stay_in_bounds(order in orders(), number in 0u64..5) {
            let epoch = order.epoch(number);
            for group in 0..epoch.groups.len() - 1 {
                let blocks = epoch.group(group);
                let bytes: u64 = blocks.iter().map(|block| order.blocks[*block as usize].bytes).sum();
                prop_assert!(blocks.len() <= order.shuffle_blocks);
                prop_assert!(blocks.len() == 1 || bytes <= MAX_GROUP_BYTES);
            }
        }
    }

    #[test]
    fn epochs_differ() {
        let blocks = vec![BlockSize { rows: 50, bytes: 1 }; 4];
        let order = Order::new(7, 2, blocks, (0..4).map(|block| block..block + 1).collect());
        let rows = |epoch: u64| (0..200).map(|index| order.epoch(epoch).locate(index)).collect::<Vec<_>>();
        assert_ne!(rows(0), rows(1));
        assert_eq!(rows(1), rows(1));
    }
}
